//! Large files come in ranges, from several upstreams at once.
//!
//! Each upstream takes the next range that is missing, so a slow one gives fewer. When all are here and the digest of the
//! whole is wrong, `repair` replaces those that are wrong and no others. What comes to nothing in this way is fetched as
//! a whole, from one upstream at a time.
//!
//! ```text
//! partial/sha256-abcd…         the file, with holes
//! partial/sha256-abcd….ranges  the ranges that are there: `1048576-2097152`, one a line
//! ```

mod parts;
mod repair;

use super::claim::{Sum, hash_rest};
use super::fetch::{Failure, Fetched, Fetcher, Setback};
use super::peer::{Peer, Problem};
use super::plan::Item;
use parts::{Giver, Parts, Span};
use repo_model::FileDigest;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller files come as a whole: requests for ranges would cost more than they save.
const RANGES_FROM_BYTES: u64 = 4 << 20;
/// Upstreams that are asked for one file at the same time.
const HANDS_MAX: usize = 4;

/// An upstream at work for a file.
struct Hand<'a> {
    number: usize,
    peer: &'a Peer,
    /// Failures in a row.
    strikes: u32,
    left: Option<Left>,
}

/// Why an upstream is no longer asked for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It gives no ranges, and may have the file all the same.
    GivesNoRanges,
    /// Another try may help, later.
    Unreachable,
    Useless,
}

/// A file on its way.
struct Spread<'s, 'a> {
    fetcher: &'s Fetcher<'a>,
    item: &'s Item,
    size_bytes: u64,
    file: &'s File,
    parts: Mutex<Parts>,
    came_bytes: AtomicU64,
    problems: Mutex<Vec<String>>,
    /// Why this machine cannot keep the file.
    failure: Mutex<Option<io::Error>>,
}

/// How it ended.
enum Ended {
    Right(FileDigest),
    /// It is to be had, if at all, as a whole.
    AsWhole,
    /// Ranges are missing; what came is kept for the next sync.
    Missing {
        unreachable: bool,
    },
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Fetcher<'a> {
    /// Gets a large file from several upstreams at once; none: it is to be fetched as a whole.
    pub(super) fn fetch_in_ranges(
        &self,
        item: &Item,
        problems: &mut Vec<String>,
        came_bytes: &mut u64,
    ) -> Result<Option<Fetched<'a>>, Failure> {
        let Some(size_bytes) = item.size_bytes.filter(|size| *size >= RANGES_FROM_BYTES) else {
            return Ok(None);
        };
        let mut hands = self.hands();
        let clean = hands.iter().filter(|hand| !hand.peer.has_lied());
        if clean.count() < 2 && !self.store.has_ranges_of(&item.claim) {
            return Ok(None);
        }
        let mut partial = self.store.partial(&item.claim)?;
        let parts = Parts::open(&mut partial, size_bytes)?;
        let spread = Spread {
            fetcher: self,
            item,
            size_bytes,
            file: &partial.file,
            parts: Mutex::new(parts),
            came_bytes: AtomicU64::new(0),
            problems: Mutex::default(),
            failure: Mutex::default(),
        };
        let ended = spread.run(&mut hands);
        let giver = locked(&spread.parts).main_giver();
        let came = spread.came_bytes.into_inner();
        *came_bytes += came;
        problems.append(&mut locked(&spread.problems));
        let fails_for_good = |problems: &mut Vec<String>, unreachable| Failure::Upstreams {
            problems: std::mem::take(problems),
            unreachable,
        };
        let digest = match ended? {
            Ended::Right(digest) => digest,
            Ended::Missing { unreachable } => return Err(fails_for_good(problems, unreachable)),
            Ended::AsWhole => {
                self.watch.take_back(came.min(size_bytes));
                partial.forget_ranges()?;
                partial.discard()?;
                return Ok(None);
            }
        };
        partial.forget_ranges()?;
        if let Err(problem) = self.check_signature(&mut partial, item) {
            // Its digest is what the metadata names, so every upstream has this one.
            problems.push(problem.to_string());
            partial.discard()?;
            return Err(fails_for_good(problems, false));
        }
        let data = partial.file.metadata()?;
        self.store.keep(partial, digest)?;
        self.journal.have(digest, &item.claim)?;
        Ok(Some(Fetched {
            digest,
            data,
            upstream: giver.map_or("", |number| self.peers[number].label()),
            came_bytes: *came_bytes,
            problems: std::mem::take(problems),
        }))
    }

    fn hands(&self) -> Vec<Hand<'a>> {
        let peers = self.peers.iter().enumerate();
        let hand = |(number, peer)| Hand {
            number,
            peer,
            strikes: 0,
            left: None,
        };
        peers
            .filter(|(_, peer)| !peer.is_given_up())
            .map(hand)
            .collect()
    }
}

impl Hand<'_> {
    fn failed(&mut self, problem: &Problem, attempts: u32) {
        self.peer.judge(Err(problem));
        self.strikes += 1;
        self.left = match problem {
            Problem::NoRanges => Some(Left::GivesNoRanges),
            problem if !problem.may_pass() => Some(Left::Useless),
            _ if self.strikes >= attempts => Some(Left::Unreachable),
            _ => None,
        };
    }
}

impl<'a> Spread<'_, 'a> {
    fn run(&self, hands: &mut [Hand<'a>]) -> io::Result<Ended> {
        self.fill(hands)?;
        if !locked(&self.parts).are_all_here() {
            let all = |left| hands.iter().all(|hand| hand.left == Some(left));
            let is_whole = |hand: &Hand<'_>| hand.left == Some(Left::GivesNoRanges);
            return Ok(match hands.iter().any(is_whole) {
                true => Ended::AsWhole,
                false => Ended::Missing {
                    unreachable: all(Left::Unreachable),
                },
            });
        }
        if let Ok(digest) = self.whole()? {
            return Ok(Ended::Right(digest));
        }
        let repaired = self.repair(hands)?;
        Ok(repaired.map_or(Ended::AsWhole, Ended::Right))
    }

    /// Has upstreams bring what is missing, until nothing is or nobody can. Those that have given something wrong
    /// before are asked when the others cannot help.
    fn fill(&self, hands: &mut [Hand<'_>]) -> io::Result<()> {
        while !locked(&self.parts).are_all_here() {
            let willing = hands.iter().filter(|hand| hand.left.is_none());
            let Some(have_lied) = willing.map(|hand| hand.peer.has_lied()).min() else {
                return Ok(());
            };
            let are_asked =
                |hand: &&mut Hand<'_>| hand.left.is_none() && hand.peer.has_lied() == have_lied;
            std::thread::scope(|scope| {
                for hand in hands.iter_mut().filter(are_asked).take(HANDS_MAX) {
                    scope.spawn(move || self.work(hand));
                }
            });
            if let Some(error) = locked(&self.failure).take() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// One upstream's part of the work.
    fn work(&self, hand: &mut Hand<'_>) {
        let _busy = hand.peer.busy();
        let patience = self.fetcher.patience;
        let mut buffer = Vec::new();
        while hand.left.is_none() && locked(&self.failure).is_none() {
            let Some((number, span)) = locked(&self.parts).take() else {
                return;
            };
            std::thread::sleep(patience.pause * hand.strikes);
            let brought = match self.bring(hand.peer, span, &mut buffer) {
                Ok(()) => {
                    hand.strikes = 0;
                    hand.peer.judge(Ok(()));
                    self.fetcher.watch.came(span.bytes());
                    locked(&self.parts).came(number, Giver::Peer(hand.number))
                }
                Err(Setback::Local(error)) => Err(error),
                Err(Setback::Upstream(problem)) => {
                    locked(&self.parts).give_back(number);
                    hand.failed(&problem, patience.attempts);
                    self.tell(hand.peer, &problem);
                    Ok(())
                }
            };
            if let Err(error) = brought {
                locked(&self.failure).get_or_insert(error);
            }
        }
    }

    /// Writes a range as an upstream has it.
    fn bring(&self, peer: &Peer, span: Span, buffer: &mut Vec<u8>) -> Result<(), Setback> {
        let answer = peer.open_range(&self.item.path, span.start, span.end)?;
        match answer.size_bytes {
            Some(found) if found != self.size_bytes => {
                let want = self.size_bytes;
                return Err(Problem::Size { found, want }.into());
            }
            _ => {}
        }
        let (mut have, most) = (0, span.bytes());
        let mut body = answer.body.take(most);
        let poured = self
            .fetcher
            .pour(&mut body, most, &mut have, buffer, |at, bytes| {
                self.file.write_all_at(bytes, span.start + at)
            });
        self.came_bytes.fetch_add(have, Ordering::Relaxed);
        poured?;
        match have == most {
            true => Ok(()),
            false => {
                let (got_bytes, why) = (have, "its range ends too early".to_owned());
                Err(Problem::BrokeOff { got_bytes, why }.into())
            }
        }
    }

    /// The file's digest when it is right.
    fn whole(&self) -> io::Result<Result<FileDigest, String>> {
        let mut file = self.file;
        file.rewind()?;
        let mut sum = Sum::new(&self.item.claim);
        hash_rest(&mut file, &mut sum)?;
        Ok(sum.finish(&self.item.claim))
    }

    fn tell(&self, peer: &Peer, problem: &Problem) {
        let text = format!("{}: {problem}", peer.label());
        locked(&self.problems).push(text);
    }
}
