//! The audit journal: `journal.jsonl` in `state_dir`, one line for each decision, written and
//! flushed to disk before the answer leaves the process.
//!
//! ```json
//! {"seq":2,"time":"2026-11-20T10:06:00Z","prev":"9f…","event":{"kind":"package-signed","header":"ab…",…}}
//! ```
//!
//! `prev` is the SHA-256 of the line before, without its line feed (64 zeros in the first line), so
//! no line can be changed, dropped or put in without breaking every line after it. What a chain
//! alone cannot show is that lines were cut off at its end.
//!
//! A crash can leave the last line without its line feed: no answer went out for it, so it is cut
//! off at the next start. Anything else that does not fit is refused, and the signer with it.

mod record;

pub(crate) use self::record::clipped;
pub use self::record::{Event, HeaderSignature, PolicyInUse, Record, recorded};
use crate::flush::{Flusher, Ticket};
use repo_model::{FileDigest, Timestamp};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File name in `state_dir`.
pub const FILE_NAME: &str = "journal.jsonl";
/// Longest line that is written or read, bytes with its line feed.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// `prev` of the first line.
const NOTHING: FileDigest = FileDigest::from_bytes([0; 32]);

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Disk trouble: the request was not answered and may be sent again once it is mended.
    #[error("cannot {task} the journal {}", path.display())]
    Io {
        /// `read`, `write`, ...
        task: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody changed the journal, or the disk did. An operator must look before the signer may
    /// run again.
    #[error("line {line} of the journal {}: {problem}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What does not fit.
        problem: String,
    },
    /// Another signer runs on the same state directory.
    #[error("another process writes the journal {}: stop the signer that runs there first", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A record that could not be read back. Nothing was written; asking again fails again.
    #[error("a record of {bytes} bytes is too long for the journal {}: the limit is {MAX_LINE_BYTES}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The record's length.
        bytes: u64,
    },
    /// An earlier write failed half-way; the signer must be started again.
    #[error("the journal is closed: an earlier write failed")]
    Closed,
}

/// What a check of the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Whole lines.
    pub records: u64,
    /// SHA-256 of the last one; 64 zeros when there is none.
    pub last: FileDigest,
    /// Bytes of whole lines.
    pub whole_bytes: u64,
    /// Bytes after the last line feed: a line that a crash cut short.
    pub torn_bytes: u64,
}

/// The journal, open for appending; one process at a time.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    seq: u64,
    last: FileDigest,
    end_bytes: u64,
    closed: bool,
    flusher: Arc<Flusher>,
}

/// A record that is in the file but perhaps not on the disk yet.
#[derive(Debug)]
#[must_use = "what the record allows may leave the process only once it is on the disk"]
pub struct Written {
    ticket: Ticket,
    path: PathBuf,
}

impl Written {
    /// Returns once the record, and every one before it, is on the disk. Waits together with all
    /// others who wait: hold no lock meanwhile.
    pub fn durable(self) -> Result<(), JournalError> {
        self.ticket.durable().map_err(|source| JournalError::Io {
            task: "flush",
            path: self.path,
            source,
        })
    }
}

impl Journal {
    /// Opens or creates the journal, checks the whole chain and hands each record to `replay`.
    ///
    /// A torn last line is cut off, with a warning in the log.
    pub fn open(dir: &Path, replay: impl FnMut(&Record)) -> Result<Self, JournalError> {
        let path = dir.join(FILE_NAME);
        let failed = |task: &'static str| {
            let path = path.clone();
            move |source| JournalError::Io { task, path, source }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open"))?;
        let alone = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        if rustix::fs::flock(&file, alone).is_err() {
            return Err(JournalError::Busy { path });
        }
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("create"))?;
        let report = walk(&path, &file, replay)?;
        if report.torn_bytes > 0 {
            tracing::warn!(
                journal.torn_bytes = report.torn_bytes,
                journal.records = report.records,
                "the journal ends in a line that a crash cut short: {} bytes cut off",
                report.torn_bytes
            );
            file.set_len(report.whole_bytes).map_err(failed("cut"))?;
            file.sync_all().map_err(failed("cut"))?;
        }
        (&file)
            .seek(SeekFrom::Start(report.whole_bytes))
            .map_err(failed("open"))?;
        let flusher = Flusher::new(
            file.try_clone().map_err(failed("open"))?,
            report.whole_bytes,
        );
        Ok(Self {
            file,
            path,
            seq: report.records,
            last: report.last,
            end_bytes: report.whole_bytes,
            closed: false,
            flusher,
        })
    }

    /// SHA-256 of the last line; 64 zeros when there is none.
    pub fn last(&self) -> FileDigest {
        self.last
    }

    /// Appends one record and returns when it is on the disk.
    pub fn append(&mut self, time: Timestamp, event: Event) -> Result<Record, JournalError> {
        let (record, written) = self.write(time, event)?;
        written.durable()?;
        Ok(record)
    }

    /// Appends one record; it is safe only after [`Written::durable`].
    ///
    /// When that fails the half-written line is taken back; if even that fails, or a flush does,
    /// the journal closes and every later record is `Err(Closed)`.
    pub fn write(
        &mut self,
        time: Timestamp,
        event: Event,
    ) -> Result<(Record, Written), JournalError> {
        if self.closed || self.flusher.has_failed() {
            return Err(JournalError::Closed);
        }
        let record = Record {
            seq: self.seq + 1,
            time,
            prev: self.last,
            event,
        };
        let mut line = serde_json::to_vec(&record).map_err(|e| self.failed("write")(e.into()))?;
        let digest = FileDigest::of(&line);
        line.push(b'\n');
        if line.len() as u64 >= MAX_LINE_BYTES {
            return Err(JournalError::TooLong {
                path: self.path.clone(),
                bytes: line.len() as u64,
            });
        }
        if let Err(source) = self.file.write_all(&line) {
            self.take_back();
            return Err(self.failed("write")(source));
        }
        self.seq = record.seq;
        self.last = digest;
        self.end_bytes += line.len() as u64;
        let written = Written {
            ticket: self.flusher.wrote(self.end_bytes),
            path: self.path.clone(),
        };
        Ok((record, written))
    }

    fn take_back(&mut self) {
        let undone = self
            .file
            .set_len(self.end_bytes)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.end_bytes)));
        self.closed = undone.is_err();
    }

    fn failed(&self, task: &'static str) -> impl FnOnce(io::Error) -> JournalError + use<> {
        let path = self.path.clone();
        move |source| JournalError::Io { task, path, source }
    }
}

/// Checks the chain of the journal at `path` without changing anything. Works beside a running
/// signer: what it is just writing counts as torn.
pub fn verify(path: &Path) -> Result<ChainReport, JournalError> {
    read(path, |_| {})
}

/// The same, handing each record to `each`.
pub fn read(path: &Path, each: impl FnMut(&Record)) -> Result<ChainReport, JournalError> {
    let file = File::open(path).map_err(|source| JournalError::Io {
        task: "read",
        path: path.to_owned(),
        source,
    })?;
    walk(path, &file, each)
}

fn walk(
    path: &Path,
    file: &File,
    mut each: impl FnMut(&Record),
) -> Result<ChainReport, JournalError> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut report = ChainReport {
        records: 0,
        last: NOTHING,
        whole_bytes: 0,
        torn_bytes: 0,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line);
        let bytes = read.map_err(|source| JournalError::Io {
            task: "read",
            path: path.to_owned(),
            source,
        })? as u64;
        if bytes == 0 {
            return Ok(report);
        }
        let number = report.records + 1;
        let broken = |problem| JournalError::Broken {
            path: path.to_owned(),
            line: number,
            problem,
        };
        if line.pop_if(|byte| *byte == b'\n').is_none() {
            if bytes == MAX_LINE_BYTES {
                return Err(broken(format!("longer than {MAX_LINE_BYTES} bytes")));
            }
            report.torn_bytes = bytes;
            return Ok(report);
        }
        let record = next_record(&line, number, report.last).map_err(broken)?;
        each(&record);
        report.last = FileDigest::of(&line);
        report.records = number;
        report.whole_bytes += bytes;
    }
}

fn next_record(line: &[u8], number: u64, last: FileDigest) -> Result<Record, String> {
    let record: Record =
        serde_json::from_slice(line).map_err(|error| format!("not a record: {error}"))?;
    if record.prev != last {
        return Err("does not follow from the line before: one of the two was changed".to_owned());
    }
    if record.seq != number {
        return Err(format!("has number {}", record.seq));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::HeaderDigest;

    fn refused(n: u8) -> Event {
        Event::FileRefused {
            header: HeaderDigest::of(&[n]),
            reason: format!("reason {n}"),
        }
    }

    /// A journal of four records.
    fn four(dir: &Path) -> PathBuf {
        let mut journal = Journal::open(dir, |_| {}).unwrap();
        for n in 0..4 {
            journal
                .append(Timestamp::from_unix_secs(n.into()), refused(n))
                .unwrap();
        }
        dir.join(FILE_NAME)
    }

    #[test]
    fn what_was_appended_is_replayed_in_order_and_the_chain_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = four(dir.path());
        let mut seen = Vec::new();
        let mut journal =
            Journal::open(dir.path(), |record| seen.push(record.event.clone())).unwrap();
        assert_eq!(seen, [refused(0), refused(1), refused(2), refused(3)]);
        journal
            .append(Timestamp::from_unix_secs(9), refused(9))
            .unwrap();
        let report = verify(&path).unwrap();
        assert_eq!((report.records, report.torn_bytes), (5, 0));
        let text = std::fs::read_to_string(&path).unwrap();
        let last_line = text.lines().last().unwrap();
        assert_eq!(report.last, FileDigest::of(last_line.as_bytes()));
    }

    #[test]
    fn a_torn_last_line_is_cut_off_wherever_it_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = four(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let third_end = whole
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .nth(2)
            .unwrap()
            .0
            + 1;
        for cut in third_end + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let report = verify(&path).unwrap();
            assert_eq!(report.records, 3);
            assert_eq!(report.torn_bytes as usize, cut - third_end);
        }
        let mut journal = Journal::open(dir.path(), |_| {}).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole[..third_end]);
        journal
            .append(Timestamp::from_unix_secs(3), refused(3))
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn every_changed_dropped_or_inserted_line_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = four(dir.path());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let cases = [
            (
                "changed",
                lines
                    .iter()
                    .map(|l| l.replace("reason 1", "reason X"))
                    .collect(),
                3,
            ),
            (
                "dropped",
                [lines[0], lines[2], lines[3]].map(str::to_owned).to_vec(),
                2,
            ),
            (
                "twice",
                [lines[0], lines[0], lines[1]].map(str::to_owned).to_vec(),
                2,
            ),
            (
                "swapped",
                [lines[1], lines[0]].map(str::to_owned).to_vec(),
                1,
            ),
            (
                "no JSON",
                [lines[0], "{}", lines[1]].map(str::to_owned).to_vec(),
                2,
            ),
            (
                "first dropped",
                lines[1..]
                    .iter()
                    .map(|l| (*l).to_owned())
                    .collect::<Vec<_>>(),
                1,
            ),
        ];
        for (what, tampered, at) in cases {
            std::fs::write(&path, tampered.join("\n") + "\n").unwrap();
            let error = Journal::open(dir.path(), |_| {}).unwrap_err();
            assert!(
                matches!(error, JournalError::Broken { line, .. } if line == at),
                "{what}: {error}"
            );
        }
    }

    #[test]
    fn two_signers_cannot_share_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open(dir.path(), |_| {}).unwrap();
        assert!(matches!(
            Journal::open(dir.path(), |_| {}),
            Err(JournalError::Busy { .. })
        ));
        drop(first);
        Journal::open(dir.path(), |_| {}).unwrap();
    }
}
