//! Getting one file: from whoever has it, on from where it stopped, checked, into the store. Large ones come from
//! several at once (`ranges`).

use super::claim::{Sum, hash_rest};
use super::journal::Journal;
use super::pace::{Limit, Pace};
use super::peer::{Peer, Problem, Tries};
use super::plan::{Item, Kind};
use super::pointer::with_causes;
use super::request::{Patience, Signatures, Watch};
use super::store::{Partial, Store};
use crate::http::Answer;
use repo_model::FileDigest;
use repo_model::rpm::{Head, HeadLimits};
use std::io::{self, BufReader, ErrorKind, Seek as _, Write as _};
use std::time::Instant;

/// Read at once. Most packages come in one piece.
const PIECE_BYTES: usize = 128 << 10;

/// What fetching needs.
pub(crate) struct Fetcher<'a> {
    pub peers: &'a [Peer],
    pub store: &'a Store,
    pub journal: &'a Journal,
    pub limit: Limit,
    pub patience: Patience,
    pub unclaimed_max_bytes: u64,
    pub signatures: Option<&'a dyn Signatures>,
    pub watch: &'a dyn Watch,
    /// Whether large files may come in ranges: nobody reads them from their start while they come.
    pub in_ranges: bool,
}

/// A file that is in the store now.
pub(crate) struct Fetched<'a> {
    pub digest: FileDigest,
    pub data: std::fs::Metadata,
    /// Who gave its last byte; of a file that came in ranges, most of it; none: it was all here.
    pub upstream: Option<&'a str>,
    /// Bytes that came now.
    pub came_bytes: u64,
    /// What went wrong before.
    pub problems: Vec<String>,
}

/// Why a file is not in the store.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No upstream has it.
    Upstreams {
        /// What each said.
        problems: Vec<String>,
        /// Whether each, when it was asked last, could not be reached.
        unreachable: bool,
    },
    /// This machine cannot keep it: nothing else will go better.
    Local(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

/// An attempt that did not succeed.
pub(super) enum Setback {
    Upstream(Problem),
    Local(io::Error),
}

impl From<Problem> for Setback {
    fn from(problem: Problem) -> Self {
        Self::Upstream(problem)
    }
}

impl From<io::Error> for Setback {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

impl<'a> Fetcher<'a> {
    /// Gets a file; `buffer` is the worker's own.
    pub fn fetch(&self, item: &Item, buffer: &mut Vec<u8>) -> Result<Fetched<'a>, Failure> {
        let (mut problems, mut came_bytes) = (Vec::new(), 0);
        if self.in_ranges
            && let Some(fetched) = self.fetch_in_ranges(item, &mut problems, &mut came_bytes)?
        {
            return Ok(fetched);
        }
        let mut tries = Tries::new(self.peers, self.patience.attempts);
        let mut unreachable = None;
        while let Some(turn) = tries.next(self.peers) {
            std::thread::sleep(self.patience.pause * turn.before);
            let peer = turn.peer;
            match self.attempt(peer, item, buffer, &mut came_bytes) {
                Ok((digest, data)) => {
                    peer.judge(Ok(()));
                    return Ok(Fetched {
                        digest,
                        data,
                        upstream: Some(peer.label()),
                        came_bytes,
                        problems,
                    });
                }
                Err(Setback::Local(error)) => return Err(Failure::Local(error)),
                Err(Setback::Upstream(problem)) => {
                    peer.judge(Err(&problem));
                    unreachable = Some(problem.may_pass() && unreachable != Some(false));
                    if !problem.may_pass() {
                        tries.give_up(turn.number);
                    }
                    problems.push(format!("{}: {problem}", peer.label()));
                }
            }
        }
        if unreachable.is_none() {
            problems.push("every upstream has given too many wrong files".to_owned());
        }
        Err(Failure::Upstreams {
            problems,
            unreachable: unreachable.unwrap_or(false),
        })
    }

    fn attempt(
        &self,
        peer: &Peer,
        item: &Item,
        buffer: &mut Vec<u8>,
        came_bytes: &mut u64,
    ) -> Result<(FileDigest, std::fs::Metadata), Setback> {
        let mut partial = self.store.partial(&item.claim)?;
        let mut sum = Sum::new(&item.claim);
        let limit = item.size_bytes.unwrap_or(self.unclaimed_max_bytes);
        if partial.size_bytes > limit {
            partial.restart()?;
        }
        let resumed = partial.size_bytes > 0;
        let mut have = match resumed {
            true => hash_rest(&mut partial.file, &mut sum)?,
            false => 0,
        };
        if item.size_bytes != Some(have) || have == 0 {
            let answer = match peer.open(&item.path, have) {
                // The part that is here is not the start of what upstream has.
                Err(Problem::Refused(416)) if resumed => {
                    partial.discard()?;
                    return self.attempt(peer, item, buffer, came_bytes);
                }
                outcome => outcome?,
            };
            said_size(&answer, item.size_bytes, limit)?;
            if answer.from != have {
                partial.restart()?;
                (sum, have) = (Sum::new(&item.claim), 0);
            }
            let before = have;
            let outcome = self.copy(answer, &mut partial, &mut sum, limit, &mut have, buffer);
            *came_bytes += have - before;
            outcome?;
        }
        match item.size_bytes {
            Some(want) if want != have => {
                let why = "it ends too early".to_owned();
                return Err(Problem::BrokeOff {
                    got_bytes: have,
                    why,
                }
                .into());
            }
            _ => {}
        }
        let digest = match sum.finish(&item.claim) {
            Ok(digest) => digest,
            Err(found) => {
                self.watch.take_back(have);
                partial.discard()?;
                if resumed {
                    // Perhaps what was here before was wrong, and not what came now.
                    return self.attempt(peer, item, buffer, came_bytes);
                }
                let want = item.claim.hex();
                return Err(Problem::Checksum { found, want }.into());
            }
        };
        if let Err(problem) = self.check_signature(&mut partial, item) {
            partial.discard()?;
            return Err(problem.into());
        }
        let data = partial.file.metadata()?;
        self.store.keep(partial, digest)?;
        self.journal.have(digest, &item.claim)?;
        Ok((digest, data))
    }

    /// Copies what comes; `have` counts what the partial file holds.
    fn copy(
        &self,
        mut answer: Answer,
        partial: &mut Partial,
        sum: &mut Sum,
        limit: u64,
        have: &mut u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Setback> {
        let poured = self.pour(&mut answer.body, limit, have, buffer, |_, bytes| {
            partial.file.write_all(bytes)?;
            sum.update(bytes);
            self.watch.came(bytes.len() as u64);
            Ok(())
        });
        if let Err(Setback::Upstream(Problem::TooLarge(_))) = &poured {
            partial.restart()?;
            self.watch.take_back(*have);
        }
        poured
    }

    /// Hands on what comes, a piece and its place at a time, and counts it in `have`; what is more than `limit` or comes
    /// too slowly ends it.
    pub(super) fn pour(
        &self,
        body: &mut dyn io::Read,
        limit: u64,
        have: &mut u64,
        buffer: &mut Vec<u8>,
        mut into: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<(), Setback> {
        buffer.resize(self.limit.piece_bytes(PIECE_BYTES), 0);
        let mut pace = Pace::new(self.patience);
        loop {
            let start = Instant::now();
            let count = match body.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let why = error.to_string();
                    let got_bytes = *have;
                    return Err(Problem::BrokeOff { got_bytes, why }.into());
                }
            };
            let took = start.elapsed();
            if *have + count as u64 > limit {
                return Err(Problem::TooLarge(limit).into());
            }
            into(*have, &buffer[..count])?;
            *have += count as u64;
            self.limit.pass(count);
            if *have < limit {
                pace.read(count, took).map_err(Problem::TooSlow)?;
            }
        }
    }

    pub(super) fn check_signature(
        &self,
        partial: &mut Partial,
        item: &Item,
    ) -> Result<(), Problem> {
        match (self.signatures, item.kind) {
            (Some(signatures), Kind::Package) => {
                partial
                    .file
                    .rewind()
                    .map_err(|error| Problem::Unusable(error.to_string()))?;
                check_signature(&partial.file, signatures)
            }
            _ => Ok(()),
        }
    }
}

/// What the server says of the size beforehand.
fn said_size(answer: &Answer, claimed: Option<u64>, limit: u64) -> Result<(), Problem> {
    match (answer.size_bytes, claimed) {
        (Some(found), Some(want)) if found != want => Err(Problem::Size { found, want }),
        (Some(found), None) if found > limit => Err(Problem::TooLarge(limit)),
        _ => Ok(()),
    }
}

/// Whether the keys signed the package in this file, which stands at its start.
pub(crate) fn check_signature(
    file: impl io::Read,
    signatures: &dyn Signatures,
) -> Result<(), Problem> {
    let wrong = |error: &(dyn std::error::Error + 'static)| Problem::Signature(with_causes(error));
    let head = Head::read(BufReader::new(file), &HeadLimits::default()).map_err(|e| wrong(&e))?;
    signatures.package(&head).map_err(|e| wrong(e.as_ref()))
}
