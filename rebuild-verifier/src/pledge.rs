//! Answers that were committed to and not told yet, on disk: a crash loses none.
//!
//! Each is a directory of mode 0700, `pledges/COMMITMENT` below the work directory, with `pledge.json` and
//! the files that it names by digest; `reveal.json` joins them before the answer is told, so that it is
//! never told in two ways. A directory is written under another name and renamed when it is whole.

use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::statement::Resource;
use repo_model::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Directory below the work directory.
const DIRECTORY: &str = "pledges";
/// Prefix of directories that are being written.
const UNFINISHED: &str = "new-";
/// Nobody asks for an answer after this time.
const MAX_AGE: Duration = Duration::from_secs(30 * 86_400);
/// Largest `pledge.json` and `reveal.json`, bytes.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pledge {
    /// The job.
    pub job: u64,
    /// The lease by which it was made.
    pub lease_epoch: u64,
    /// The signed commitment.
    pub commitment: Envelope,
    /// Opens it: 64 hex digits.
    pub salt: String,
    /// Digests of the statements' envelopes, in the job's order.
    pub statements: Vec<FileDigest>,
    /// Build log and comparison report.
    pub attachments: Vec<Resource>,
    /// Worst verdict of all packages, for the log.
    pub verdict: Verdict,
}

impl Pledge {
    /// Digest of the commitment's envelope: the pledge's name.
    pub fn name(&self) -> FileDigest {
        FileDigest::of(&self.commitment.to_json())
    }
}

/// The pledges of one rebuilder.
#[derive(Debug, Clone)]
pub struct Pledges {
    work_dir: PathBuf,
}

impl Pledges {
    /// Those below a work directory.
    pub fn of(work_dir: &Path) -> Self {
        Self {
            work_dir: work_dir.to_owned(),
        }
    }

    fn root(&self) -> PathBuf {
        self.work_dir.join(DIRECTORY)
    }

    fn dir(&self, name: FileDigest) -> PathBuf {
        self.root().join(name.to_hex())
    }

    /// Keeps a pledge with the files it names; all is on disk when this returns.
    ///
    /// * `documents`: statements and reports.
    /// * `log`: the build log, by its digest.
    pub fn keep(
        &self,
        pledge: &Pledge,
        documents: &[Vec<u8>],
        log: (&Path, FileDigest),
    ) -> io::Result<()> {
        let root = self.root();
        private().recursive(true).create(&root)?;
        let new = root.join(format!("{UNFINISHED}{}", pledge.name()));
        let _ = fs::remove_dir_all(&new);
        private().create(&new)?;
        for document in documents {
            write(&new.join(FileDigest::of(document).to_hex()), document)?;
        }
        let kept = new.join(log.1.to_hex());
        fs::copy(log.0, &kept)?;
        File::open(&kept)?.sync_all()?;
        write(&new.join("pledge.json"), &serde_json::to_vec(pledge)?)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, self.dir(pledge.name()))?;
        File::open(&root)?.sync_all()
    }

    /// The pledge of a commitment, if it is here.
    pub fn find(&self, name: FileDigest) -> io::Result<Option<Pledge>> {
        read(&self.dir(name).join("pledge.json"))
    }

    /// A file of a pledge.
    pub fn file(&self, name: FileDigest, digest: FileDigest) -> PathBuf {
        self.dir(name).join(digest.to_hex())
    }

    /// What the answer was told with, if it was.
    pub fn reveal(&self, name: FileDigest) -> io::Result<Option<Envelope>> {
        read(&self.dir(name).join("reveal.json"))
    }

    /// Keeps what the answer is about to be told with.
    pub fn keep_reveal(&self, name: FileDigest, reveal: &Envelope) -> io::Result<()> {
        let dir = self.dir(name);
        let new = dir.join("reveal.new");
        write(&new, &reveal.to_json())?;
        fs::rename(&new, dir.join("reveal.json"))?;
        File::open(&dir)?.sync_all()
    }

    /// Nobody will ask for it any more.
    pub fn forget(&self, name: FileDigest) {
        let _ = fs::remove_dir_all(self.dir(name));
        // Only when it was the last.
        let _ = fs::remove_dir(self.root());
    }

    /// All that are here; what is unfinished, damaged or too old is removed.
    pub fn all(&self, now: SystemTime) -> Vec<Pledge> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            let age = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .ok()
                .and_then(|written| now.duration_since(written).ok());
            let young = age.is_none_or(|age| age < MAX_AGE);
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.parse().ok());
            match name.map(|name| self.find(name)) {
                Some(Ok(Some(pledge))) if young => all.push(pledge),
                _ => {
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
        }
        let _ = fs::remove_dir(self.root());
        all
    }
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut json = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_JSON_BYTES), &mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};

    fn pledge(seed: u8) -> Pledge {
        let key = StatementKey::from_seed(&[seed; 32]).unwrap();
        Pledge {
            job: 1,
            lease_epoch: 2,
            commitment: key.sign(IN_TOTO_PAYLOAD_TYPE, b"{}"),
            salt: "00".repeat(32),
            statements: vec![FileDigest::of(b"statement")],
            attachments: Vec::new(),
            verdict: Verdict::Identical,
        }
    }

    #[test]
    fn a_pledge_is_there_after_a_crash_and_gone_when_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let pledges = Pledges::of(dir.path());
        let log = dir.path().join("log");
        fs::write(&log, b"log").unwrap();
        let (kept, log_digest) = (pledge(1), FileDigest::of(b"log"));
        let documents = [b"statement".to_vec()];
        pledges.keep(&kept, &documents, (&log, log_digest)).unwrap();

        let pledges = Pledges::of(dir.path());
        assert_eq!(pledges.find(kept.name()).unwrap(), Some(kept.clone()));
        assert_eq!(pledges.find(pledge(2).name()).unwrap(), None);
        for (digest, bytes) in [
            (kept.statements[0], &b"statement"[..]),
            (log_digest, b"log"),
        ] {
            assert_eq!(fs::read(pledges.file(kept.name(), digest)).unwrap(), bytes);
        }
        assert_eq!(pledges.reveal(kept.name()).unwrap(), None);
        let reveal = pledge(3).commitment;
        pledges.keep_reveal(kept.name(), &reveal).unwrap();
        assert_eq!(pledges.reveal(kept.name()).unwrap(), Some(reveal));
        assert_eq!(pledges.all(SystemTime::now()), std::slice::from_ref(&kept));
        pledges.forget(kept.name());
        assert!(!dir.path().join(DIRECTORY).exists());
    }

    #[test]
    fn what_is_unfinished_damaged_or_old_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let pledges = Pledges::of(dir.path());
        let log = dir.path().join("log");
        fs::write(&log, b"log").unwrap();
        let kept = pledge(1);
        pledges
            .keep(&kept, &[], (&log, FileDigest::of(b"log")))
            .unwrap();
        let root = dir.path().join(DIRECTORY);
        fs::create_dir(root.join("new-half")).unwrap();
        let damaged = root.join(FileDigest::of(b"x").to_hex());
        fs::create_dir(&damaged).unwrap();
        fs::write(damaged.join("pledge.json"), b"{").unwrap();
        assert_eq!(pledges.all(SystemTime::now()), [kept]);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        let later = SystemTime::now() + MAX_AGE + Duration::from_secs(60);
        assert_eq!(pledges.all(later), []);
        assert!(!root.exists());
    }
}
