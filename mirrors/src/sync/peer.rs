//! The upstreams of one sync: what each says, how each behaves, and whose turn it is.

use super::fetch::Setback;
use super::pace::Paced;
use super::request::{Patience, Place, Request, Upstream};
use crate::http::{Answer, HttpError, Validators};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Wrong files from one upstream after which nothing more is asked of it.
const WRONG_FILES_MAX: u32 = 8;
/// A small file may take so many times the window in which slowness is measured.
const SMALL_FILE_WINDOWS: u32 = 4;
/// Read at once of a file that is not held in memory.
const SPOOLED_BYTES: usize = 32 << 10;
/// Failures in a row after which an upstream is asked only when the others cannot help.
const FAILURES_MAX: u32 = 5;

/// Why an upstream did not give a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("it does not exist")]
    Missing,
    #[error("the server answers {0}")]
    Refused(u16),
    #[error("{0}")]
    Unusable(String),
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("it broke off after {got_bytes} bytes: {why}")]
    BrokeOff { got_bytes: u64, why: String },
    #[error("it is too slow: {0} bytes a second")]
    TooSlow(u64),
    #[error("it has {found} bytes, want {want}")]
    Size { found: u64, want: u64 },
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("its checksum is {found}, want {want}")]
    Checksum { found: String, want: String },
    #[error("it gives no ranges of files")]
    NoRanges,
    #[error("its bytes {0} are wrong")]
    WrongRanges(String),
    #[error("its signature: {0}")]
    Signature(String),
}

impl Problem {
    /// Whether the same upstream may do better in a moment.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::BrokeOff { .. } | Self::TooSlow(_)
        )
    }

    /// Whether the upstream gave something that it should not have. A package that nobody signed and that the
    /// metadata names by its digest is the repository's own, whoever gives it.
    fn is_wrong_content(&self) -> bool {
        matches!(
            self,
            Self::Size { .. } | Self::TooLarge(_) | Self::Checksum { .. } | Self::WrongRanges(_)
        )
    }
}

impl From<HttpError> for Problem {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Missing => Self::Missing,
            HttpError::Refused { status } => Self::Refused(status),
            HttpError::Unusable(why) => Self::Unusable(why),
            HttpError::Unreachable(why) => Self::Unreachable(why),
        }
    }
}

fn from_io(error: io::Error) -> Problem {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Problem::Missing,
        _ => Problem::Unusable(error.to_string()),
    }
}

/// One upstream, as this sync knows it.
pub(crate) struct Peer {
    pub upstream: Upstream,
    pub patience: Patience,
    in_flight: AtomicUsize,
    failures: AtomicU32,
    wrong_files: AtomicU32,
}

impl Peer {
    pub fn new(upstream: Upstream, patience: Patience) -> Self {
        Self {
            upstream,
            patience,
            in_flight: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            wrong_files: AtomicU32::new(0),
        }
    }

    /// All upstreams of a request.
    pub fn all(request: &Request) -> Vec<Self> {
        let upstreams = request.upstreams.iter().cloned();
        upstreams
            .map(|upstream| Self::new(upstream, request.patience))
            .collect()
    }

    pub fn label(&self) -> &str {
        &self.upstream.label
    }

    /// A file from byte `from` on, or all of it.
    pub fn open(&self, path: &str, from: u64) -> Result<Answer, Problem> {
        match &self.upstream.place {
            Place::Http(client) => Ok(client.get(path, from)?),
            Place::Directory(root) => open_file(root, path, from).map_err(from_io),
        }
    }

    /// The bytes of a file from `from` up to `to`; more may come.
    pub fn open_range(&self, path: &str, from: u64, to: u64) -> Result<Answer, Problem> {
        match &self.upstream.place {
            Place::Http(client) => client.get_range(path, from, to)?.ok_or(Problem::NoRanges),
            Place::Directory(root) => open_file(root, path, from).map_err(from_io),
        }
    }

    /// A file unless it is the one that `known` names.
    pub fn open_changed(&self, path: &str, known: &Validators) -> Result<Option<Answer>, Problem> {
        match &self.upstream.place {
            Place::Http(client) => Ok(client.get_changed(path, known)?),
            Place::Directory(root) => open_file(root, path, 0).map(Some).map_err(from_io),
        }
    }

    /// A whole small file.
    pub fn read_small(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, Problem> {
        self.read_to_end(self.open(path, 0)?, limit_bytes)
    }

    /// A small file that was asked for, to its end. It must not only come on, but come to its end soon.
    pub fn read_to_end(&self, answer: Answer, limit_bytes: u64) -> Result<Vec<u8>, Problem> {
        if answer.size_bytes.is_some_and(|size| size > limit_bytes) {
            return Err(Problem::TooLarge(limit_bytes));
        }
        let most = self.patience.slow_window * SMALL_FILE_WINDOWS;
        let mut body = Paced::new(answer.body, self.patience, Some(most));
        let mut bytes = Vec::new();
        let read = (&mut body).take(limit_bytes + 1).read_to_end(&mut bytes);
        match (read, body.too_slow()) {
            (Ok(_), _) if bytes.len() as u64 > limit_bytes => Err(Problem::TooLarge(limit_bytes)),
            (Ok(_), _) => Ok(bytes),
            (Err(_), Some(bytes_per_sec)) => Err(Problem::TooSlow(bytes_per_sec)),
            (Err(error), None) => Err(Problem::BrokeOff {
                got_bytes: bytes.len() as u64,
                why: error.to_string(),
            }),
        }
    }

    /// The same into a file, so that it takes no memory.
    pub(super) fn spool(
        &self,
        answer: Answer,
        limit_bytes: u64,
        into: &mut File,
    ) -> Result<(), Setback> {
        if answer.size_bytes.is_some_and(|size| size > limit_bytes) {
            return Err(Problem::TooLarge(limit_bytes).into());
        }
        let most = self.patience.slow_window * SMALL_FILE_WINDOWS;
        let mut body = Paced::new(answer.body, self.patience, Some(most));
        let mut piece = vec![0; SPOOLED_BYTES];
        let mut got_bytes = 0;
        loop {
            let count = match body.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let broke_off = || Problem::BrokeOff {
                        got_bytes,
                        why: error.to_string(),
                    };
                    let too_slow = body.too_slow().map(Problem::TooSlow);
                    return Err(too_slow.unwrap_or_else(broke_off).into());
                }
            };
            got_bytes += count as u64;
            if got_bytes > limit_bytes {
                return Err(Problem::TooLarge(limit_bytes).into());
            }
            into.write_all(&piece[..count])?;
        }
    }

    /// What came of a file.
    pub fn judge(&self, outcome: Result<(), &Problem>) {
        match outcome {
            Ok(()) => self.failures.store(0, Ordering::Relaxed),
            Err(problem) if problem.is_wrong_content() => {
                self.wrong_files.fetch_add(1, Ordering::Relaxed);
            }
            Err(problem) if problem.may_pass() => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            // That it lacks a file says nothing about the others.
            Err(_) => {}
        }
    }

    /// Worse ones are asked later.
    fn badness(&self) -> u32 {
        let wrong = self.wrong_files.load(Ordering::Relaxed);
        let failing = self.failures.load(Ordering::Relaxed) >= FAILURES_MAX;
        wrong.min(WRONG_FILES_MAX) + if failing { FAILURES_MAX } else { 0 }
    }

    /// Who is asked before whom: who behaves best, then who has least to do.
    pub fn standing(&self) -> (u32, usize) {
        (self.badness(), self.in_flight.load(Ordering::Relaxed))
    }

    /// Whether it gave something wrong.
    pub fn has_lied(&self) -> bool {
        self.wrong_files.load(Ordering::Relaxed) > 0
    }

    pub fn is_given_up(&self) -> bool {
        self.wrong_files.load(Ordering::Relaxed) >= WRONG_FILES_MAX
    }

    /// Counts as having something to do, until this is dropped.
    pub fn busy(&self) -> Busy<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }
}

fn open_file(root: &Path, path: &str, from: u64) -> io::Result<Answer> {
    let mut file = File::open(root.join(path))?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    file.seek(SeekFrom::Start(from))?;
    Ok(Answer {
        from,
        size_bytes: Some(data.len()),
        validators: Validators::default(),
        body: Box::new(file),
    })
}

/// Attempts for one file at each upstream.
pub(crate) struct Tries {
    attempts: Vec<u32>,
    most: u32,
}

/// An upstream at work for one file.
pub(crate) struct Turn<'a> {
    pub peer: &'a Peer,
    pub number: usize,
    /// Attempts for this file before this one.
    pub before: u32,
    _busy: Busy<'a>,
}

/// Something that an upstream has to do.
pub(crate) struct Busy<'a>(&'a Peer);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tries {
    pub fn new(peers: &[Peer], most: u32) -> Self {
        Self {
            attempts: vec![0; peers.len()],
            most: most.max(1),
        }
    }

    /// Whose turn it is: whoever was asked least for this file, then who behaves best, then who has
    /// least to do, then who was named first. None: nobody is left.
    pub fn next<'a>(&mut self, peers: &'a [Peer]) -> Option<Turn<'a>> {
        let (number, peer) = peers
            .iter()
            .enumerate()
            .filter(|(number, peer)| self.attempts[*number] < self.most && !peer.is_given_up())
            .min_by_key(|(number, peer)| (self.attempts[*number], peer.standing(), *number))?;
        let before = self.attempts[number];
        self.attempts[number] += 1;
        Some(Turn {
            peer,
            number,
            before,
            _busy: peer.busy(),
        })
    }

    /// This one cannot help with this file.
    pub fn give_up(&mut self, number: usize) {
        self.attempts[number] = self.most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn peers(count: usize) -> Vec<Peer> {
        let url = |n| format!("http://h{n}/");
        (0..count)
            .map(|n| {
                let upstream = Upstream::new(&url(n), Duration::from_secs(1)).unwrap();
                Peer::new(upstream, Patience::default())
            })
            .collect()
    }

    #[test]
    fn work_is_spread_and_every_upstream_is_asked_before_one_is_asked_again() {
        let peers = peers(2);
        let mut first = Tries::new(&peers, 2);
        let a = first.next(&peers).unwrap();
        let b = Tries::new(&peers, 2).next(&peers).unwrap().number;
        assert_eq!((a.number, b), (0, 1));
        drop(a);
        let order: Vec<usize> = std::iter::from_fn(|| Some(first.next(&peers)?.number)).collect();
        assert_eq!(order, [1, 0, 1]);
    }

    #[test]
    fn whoever_gives_wrong_files_comes_last_and_then_never() {
        let peers = peers(2);
        let wrong = Problem::Size { found: 1, want: 2 };
        peers[0].judge(Err(&wrong));
        assert_eq!(Tries::new(&peers, 1).next(&peers).unwrap().number, 1);
        (0..WRONG_FILES_MAX).for_each(|_| peers[0].judge(Err(&wrong)));
        let mut tries = Tries::new(&peers, 3);
        tries.give_up(1);
        assert!(tries.next(&peers).is_none());
        // Lacking files is no offence.
        (0..100).for_each(|_| peers[1].judge(Err(&Problem::Missing)));
        // Nor is it to have what the metadata names and nobody signed.
        let unsigned = Problem::Signature("nobody signed it".to_owned());
        (0..100).for_each(|_| peers[1].judge(Err(&unsigned)));
        assert_eq!(Tries::new(&peers, 1).next(&peers).unwrap().number, 1);
    }
}
