//! The same for many things by several threads.

use super::SyncError;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Results that a worker holds before it hands them on: as many as keep workers from waiting for each other.
const HELD: usize = 64;

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
    let mut empty: Vec<Option<T>> = Vec::new();
    empty.resize_with(count, || None);
    // There may be many results: each is in memory once.
    let all = Mutex::new(empty);
    let work = || {
        let mut held = Vec::with_capacity(HELD.min(count));
        let mut buffer = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            match job(number, &mut buffer) {
                Ok(result) => held.push((number, result)),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                }
            }
            if held.len() >= HELD {
                hand_on(&mut held, &all);
            }
        }
        hand_on(&mut held, &all);
    };
    let mut died = false;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.get().min(count))
            .map(|_| scope.spawn(work))
            .collect();
        for thread in threads {
            died |= thread.join().is_err();
        }
    });
    if let Some(error) = failure.into_inner().ok().flatten() {
        return Err(error);
    }
    let all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    let all: Option<Vec<T>> = all.into_iter().collect();
    match all {
        Some(all) if !died => Ok(all),
        _ => Err(SyncError::Worker),
    }
}

fn hand_on<T>(held: &mut Vec<(usize, T)>, all: &Mutex<Vec<Option<T>>>) {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    for (number, result) in held.drain(..) {
        all[number] = Some(result);
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
