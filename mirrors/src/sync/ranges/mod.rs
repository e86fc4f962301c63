//! Large files come in ranges, from several upstreams at once.
//!
//! Each upstream takes the next range that is missing, so a slow one gives fewer. When all are here and the digest of the
//! whole is wrong, `repair` replaces those that are wrong and no others. What comes to nothing in this way is fetched as
//! a whole, from one upstream at a time, on from the first range that is missing.
//!
//! ```text
//! partial/ab/sha256-abcd…         the file, with holes
//! partial/ab/sha256-abcd….ranges  the ranges that are there: `1048576-2097152`, one a line
//! ```

mod parts;
mod repair;
#[cfg(test)]
mod tests;

use super::claim::{Sum, hash_rest};
use super::fetch::{Failure, Fetched, Fetcher, Setback};
use super::peer::{Peer, Problem};
use super::plan::Item;
use parts::{Giver, Parts, Span};
use repo_model::FileDigest;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
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
    /// It gives no ranges, or none that are of use, and may have the file all the same.
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
    /// The directory that the file is in.
    directory: &'s Path,
    parts: Mutex<Parts>,
    came_bytes: AtomicU64,
    problems: Mutex<Vec<String>>,
    /// Why this machine cannot keep the file.
    failure: Mutex<Option<io::Error>>,
}

/// How it ended.
enum Ended {
    Right(FileDigest),
    /// It is to be had, if at all, as a whole, of which so much is here.
    AsWhole {
        start_bytes: u64,
    },
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
        // Upstreams that are given up are not away.
        if hands.is_empty() {
            return Ok(None);
        }
        let clean = hands.iter().filter(|hand| !hand.peer.has_lied());
        if clean.count() < 2 && !self.store.has_ranges_of(&item.claim) {
            return Ok(None);
        }
        let mut partial = self.store.partial(&item.claim)?;
        let Some(parts) = Parts::open(&mut partial, size_bytes)? else {
            partial.forget_ranges()?;
            return Ok(None);
        };
        let list = partial.list_of_ranges();
        let spread = Spread {
            fetcher: self,
            item,
            size_bytes,
            file: &partial.file,
            directory: list.parent().unwrap_or(Path::new(".")),
            parts: Mutex::new(parts),
            came_bytes: AtomicU64::new(0),
            problems: Mutex::default(),
            failure: Mutex::default(),
        };
        let ended = spread.run(&mut hands);
        *came_bytes += spread.came_bytes.load(Ordering::Relaxed);
        problems.append(&mut locked(&spread.problems));
        let parts = spread.parts.into_inner();
        let parts = parts.unwrap_or_else(PoisonError::into_inner);
        let fails_for_good = |problems: &mut Vec<String>, unreachable| Failure::Upstreams {
            problems: std::mem::take(problems),
            unreachable,
        };
        let digest = match ended? {
            Ended::Right(digest) => digest,
            Ended::Missing { unreachable } => return Err(fails_for_good(problems, unreachable)),
            Ended::AsWhole { start_bytes } => {
                self.watch.take_back(parts.came_now_bytes(start_bytes));
                // In this order: a list beside another file than its own is not believed.
                partial.file.set_len(start_bytes)?;
                partial.forget_ranges()?;
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
            upstream: parts.main_giver().map(|number| self.peers[number].label()),
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
            // What a request for a range is answered says nothing about one for the whole.
            Problem::NoRanges | Problem::Refused(_) | Problem::Unusable(_) => {
                Some(Left::GivesNoRanges)
            }
            problem if !problem.may_pass() => Some(Left::Useless),
            _ if self.strikes >= attempts => Some(Left::Unreachable),
            _ => None,
        };
    }
}

impl<'a> Spread<'_, 'a> {
    fn run(&self, hands: &mut [Hand<'a>]) -> io::Result<Ended> {
        self.fill(hands)?;
        if let Some(ended) = self.ended_early(hands) {
            return Ok(ended);
        }
        if let Ok(digest) = self.whole()? {
            return Ok(Ended::Right(digest));
        }
        let repaired = self.repair(hands)?;
        Ok(repaired.map_or(Ended::AsWhole { start_bytes: 0 }, Ended::Right))
    }

    /// How it ended where ranges are missing.
    fn ended_early(&self, hands: &[Hand<'_>]) -> Option<Ended> {
        let parts = locked(&self.parts);
        let start_bytes = parts.bytes_before_missing()?;
        let any = |left| hands.iter().any(|hand| hand.left == Some(left));
        // Who breaks off before the end of each range gets on in a whole file, which goes on where it stopped. What an
        // earlier sync has left is not put at risk for upstreams that give nothing.
        let came_to_nothing = parts.came_now_bytes(0) == 0
            && (parts.are_none_here() || self.came_bytes.load(Ordering::Relaxed) > 0);
        let may_come_whole =
            any(Left::GivesNoRanges) || (any(Left::Unreachable) && came_to_nothing);
        Some(match may_come_whole {
            true => Ended::AsWhole { start_bytes },
            false => Ended::Missing {
                unreachable: hands
                    .iter()
                    .all(|hand| hand.left == Some(Left::Unreachable)),
            },
        })
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
            // Cached: what others do changes it meanwhile.
            hands.sort_by_cached_key(|hand| (hand.peer.standing(), hand.number));
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
            let brought = match self.bring(hand.peer, span, (self.file, span.start), &mut buffer) {
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

    /// Writes a range as an upstream has it, at a place of a file.
    fn bring(
        &self,
        peer: &Peer,
        span: Span,
        (file, place): (&File, u64),
        buffer: &mut Vec<u8>,
    ) -> Result<(), Setback> {
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
                file.write_all_at(bytes, place + at)
            });
        self.came_bytes.fetch_add(have, Ordering::Relaxed);
        poured?;
        match have == most {
            true => Ok(()),
            // Servers may give less than was asked for. This one goes on giving it.
            false => Err(Problem::Unusable(format!("a range of {most} bytes has {have}")).into()),
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
