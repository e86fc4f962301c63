//! Work on a long list by several threads.

use std::num::NonZeroUsize;

/// Items for which another thread is worth its start.
const SHARE_MIN: usize = 500;

/// Runs `work` over shares of `items`, on as many threads as `workers` allows and the number of items is worth;
/// the results come in the order of the items.
pub(super) fn in_shares<T: Send, R: Send>(
    mut items: Vec<T>,
    workers: NonZeroUsize,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Vec<R> {
    let threads = workers.get().min(1 + items.len() / SHARE_MIN);
    let share = items.len().div_ceil(threads);
    let work = &work;
    std::thread::scope(|scope| {
        let mut others: Vec<_> = (1..threads)
            .map(|_| items.split_off(items.len().saturating_sub(share)))
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        // The last share was split off first.
        others.reverse();
        let own = work(items);
        // A panic is a fault of ours and goes on as one.
        let join = |thread: std::thread::ScopedJoinHandle<'_, R>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(own)
            .chain(others.into_iter().map(join))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_in_order() {
        for count in [0, 1, SHARE_MIN, 2 * SHARE_MIN + 7] {
            for workers in [1, 2, 3, 64] {
                let workers = NonZeroUsize::new(workers).unwrap();
                let items: Vec<usize> = (0..count).collect();
                let done = in_shares(items.clone(), workers, |share| share);
                assert_eq!(done.concat(), items, "{workers} workers");
            }
        }
    }
}
