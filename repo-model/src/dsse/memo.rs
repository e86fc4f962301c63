//! Signatures that were found good before. A builder's provenance, and a rebuilder's commitment and reveal,
//! are about a whole build and come with each of its packages; and what was judged is looked up in the log
//! next. Checking the same signature over the same bytes with the same key again is then a look-up.
//!
//! Only good ones are kept, under a digest of all that a check looks at, so nothing that was never checked
//! can be found here. Bounded: the older half goes when there are too many.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Signatures in each of the two halves, 32 bytes each.
const HALF: usize = 32_768;

static GOOD: Mutex<Memo> = Mutex::new(Memo::new());

type Name = [u8; 32];

#[derive(Debug)]
struct Memo {
    young: BTreeSet<Name>,
    old: BTreeSet<Name>,
}

impl Memo {
    const fn new() -> Self {
        Self {
            young: BTreeSet::new(),
            old: BTreeSet::new(),
        }
    }

    /// One that is asked for again lives on.
    fn knows(&mut self, name: &Name, half: usize) -> bool {
        let known = self.young.contains(name) || self.old.contains(name);
        if known {
            self.add(*name, half);
        }
        known
    }

    fn add(&mut self, name: Name, half: usize) {
        if self.young.len() >= half && !self.young.contains(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }
}

/// What `check` says about a signature, which is not asked again when it said yes before.
///
/// * `point`: the key, of a fixed length.
pub(super) fn verified(
    point: &[u8],
    message: &[u8],
    der: &[u8],
    check: impl FnOnce() -> bool,
) -> bool {
    let name = name(point, message, der);
    // No code that holds the lock can panic half-way through a change.
    let good = || GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    if good().knows(&name, HALF) {
        return true;
    }
    let is_good = check();
    if is_good {
        good().add(name, HALF);
    }
    is_good
}

fn name(point: &[u8], message: &[u8], der: &[u8]) -> Name {
    let mut hasher = Sha256::new();
    for part in [point, der] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.update(message);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn only_good_signatures_are_remembered_and_only_whole() {
        let asked = Cell::new(0);
        let check = |parts: [&[u8]; 3], says: bool| {
            verified(parts[0], parts[1], parts[2], || {
                asked.set(asked.get() + 1);
                says
            })
        };
        let good: [&[u8]; 3] = [b"memo key", b"message", b"der"];
        // A bad one is asked about each time.
        assert!(!check(good, false) && !check(good, false));
        assert!(check(good, true) && check(good, false));
        assert_eq!(asked.get(), 3);
        for other in [
            [b"memo kez".as_slice(), b"message", b"der"],
            [b"memo key", b"messagf", b"der"],
            [b"memo key", b"message", b"deq"],
            // The same bytes, cut elsewhere.
            [b"memo keyd", b"message", b"er"],
            [b"memo key", b"rmessage", b"de"],
        ] {
            assert!(!check(other, false), "{other:?}");
        }
    }

    #[test]
    fn the_memo_stays_small_and_keeps_what_is_asked_for() {
        let mut memo = Memo::new();
        let numbered = |n: u32| name(&n.to_be_bytes(), b"", b"");
        let often = numbered(0);
        for n in 0..1_000 {
            memo.add(numbered(n), 10);
            assert!(memo.young.len() <= 10 && memo.old.len() <= 10);
            assert!(memo.knows(&often, 10), "{n}");
        }
        assert!(!memo.knows(&numbered(1), 10));
        assert!(memo.knows(&numbered(999), 10));
    }
}
