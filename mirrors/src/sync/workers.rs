//! The same for many things by several threads.

use super::SyncError;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Calls `job` for each number below `count`; the results in their order, or the first error, after
/// which no further job begins. Each worker lends its jobs a buffer of its own.
pub(super) fn each<T: Send>(
    workers: NonZeroUsize,
    count: usize,
    job: impl Fn(usize, &mut Vec<u8>) -> Result<T, SyncError> + Sync,
) -> Result<Vec<T>, SyncError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<SyncError>> = Mutex::new(None);
    let work = || {
        let mut results = Vec::new();
        let mut buffer = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            match job(number, &mut buffer) {
                Ok(result) => results.push((number, result)),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                }
            }
        }
        results
    };
    let mut all: Vec<Option<T>> = Vec::new();
    all.resize_with(count, || None);
    let mut died = false;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.get().min(count))
            .map(|_| scope.spawn(work))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(results) => results.into_iter().for_each(|(number, result)| {
                    all[number] = Some(result);
                }),
                Err(_) => died = true,
            }
        }
    });
    if let Some(error) = failure.into_inner().ok().flatten() {
        return Err(error);
    }
    let all: Option<Vec<T>> = all.into_iter().collect();
    match all {
        Some(all) if !died => Ok(all),
        _ => Err(SyncError::Worker),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_an_error_ends_the_rest() {
        let workers = NonZeroUsize::new(4).unwrap();
        let squares = each(workers, 100, |number, _| Ok(number * number)).unwrap();
        assert_eq!(squares[99], 99 * 99);
        let done = AtomicUsize::new(0);
        let outcome = each(workers, 1_000_000, |number, _| {
            done.fetch_add(1, Ordering::Relaxed);
            match number {
                10 => Err(SyncError::Worker),
                number => Ok(number),
            }
        });
        assert!(outcome.is_err() && done.into_inner() < 1_000_000);
    }
}
