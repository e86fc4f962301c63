//! Keeping the keys in memory and nowhere else: no core dumps, no reading by other processes of the
//! same user, no swap. What the libraries do themselves: sequoia keeps secret keys encrypted in memory
//! and wipes them, p256 wipes its keys, key files are read into memory that is wiped.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io;

/// No core dumps, no tracing by others of the same user. Call it before a key is read.
///
/// `Err`: the kernel refused; there should be no keys in such a process.
pub fn from_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // The service file sets it already, and takes away the call.
    if let Err(error) = setrlimit(Resource::Core, nothing) {
        tracing::debug!("the limit for core dumps stays as it is: {error}");
    }
    Ok(())
}

/// What is kept out of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// All memory, now and later.
    Everything,
    /// What there is now, the keys included; later copies may be swapped.
    Present,
    /// Nothing: the limit for locked memory is too low.
    Nothing,
}

/// Locks memory once the keys are in it, and says in the log how much.
pub fn from_swap() -> Locked {
    let locked = lock();
    match locked {
        Locked::Everything => tracing::info!("memory is locked"),
        Locked::Present => tracing::info!("memory is locked, but not what will be taken later"),
        Locked::Nothing => {
            tracing::warn!("memory cannot be locked: raise the limit (LimitMEMLOCK=infinity)");
        }
    }
    locked
}

fn lock() -> Locked {
    // Under a finite limit, locking what comes later would make allocations fail.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let everything = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if is_unlimited(&limits) && mlockall(everything).is_ok() {
        return Locked::Everything;
    }
    match mlockall(MlockAllFlags::CURRENT) {
        Ok(()) => Locked::Present,
        Err(_) => Locked::Nothing,
    }
}

/// Whether proc(5)'s `limits` allow to lock as much as one likes.
fn is_unlimited(limits: &str) -> bool {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"));
    line.is_some_and(|line| line.split_whitespace().next() == Some("unlimited"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_that_is_none_lets_later_memory_be_locked() {
        for (line, unlimited) in [
            (
                "Max locked memory         unlimited            unlimited            bytes",
                true,
            ),
            (
                "Max locked memory         8388608              unlimited            bytes",
                false,
            ),
            ("", false),
        ] {
            let limits = format!("Max file locks            unlimited\n{line}\n");
            assert_eq!(is_unlimited(&limits), unlimited, "{line}");
        }
    }
}
