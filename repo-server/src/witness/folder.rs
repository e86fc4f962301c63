//! The folder of a witness:
//!
//! | file | holds |
//! |---|---|
//! | `witness-key.pem`, `witness-key-pqc.pem` | its private keys, Ed25519 and ML-DSA-44 |
//! | `witness.pub` | their public halves, a vkey a line: for the logs' policies |
//! | `logs` | keys of the logs that it watches, a vkey a line |
//! | `heads/DIGEST` | the head of each log that it cosigned last; named by SHA-256 of the log's name |
//!
//! Heads are replaced whole and synced before they are spoken of. A folder that is put back from an older copy
//! has forgotten what it cosigned since, and could then cosign a fork: a witness that lost its heads begins
//! anew, with new keys.

use crate::log::{sync_directory, write_file};
use repo_model::FileDigest;
use repo_model::log::{
    Checkpoint, CheckpointError, LogKey, Note, NoteError, SignatureKind, VerifierKey,
};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const PUBLIC: &str = "witness.pub";
const LOGS: &str = "logs";
const HEADS: &str = "heads";
const LOCK: &str = "lock";
/// The private keys' files and kinds, in the order of the lines of `witness.pub`.
const KEYS: [(&str, SignatureKind); 2] = [
    ("witness-key.pem", SignatureKind::Cosignature),
    ("witness-key-pqc.pem", SignatureKind::MlDsa44),
];

/// The folder of a witness cannot be used. Its operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// There are keys already: they are not replaced.
    #[error("{} is the folder of a witness already", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// Another process uses it.
    #[error("another witness uses {}", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key cannot be made, read or used.
    #[error("a key cannot be used")]
    Key(#[source] NoteError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random(#[source] getrandom::Error),
    /// A kept head does not read back: it is not guessed.
    #[error("the head in {} does not read", path.display())]
    Head {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// A witness watches logs, not other witnesses.
    #[error("{name} is no key of a log")]
    NotALog {
        /// The key's name.
        name: String,
    },
}

/// Makes the folder of a new witness, with its keys; gives the public ones.
///
/// * `name`: in its signature lines; a host name of its operator's and more, without scheme:
///   `witness.example/w1`.
pub fn init(dir: &Path, name: &str) -> Result<Vec<VerifierKey>, WitnessError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WitnessError::Write { path, source }
    };
    let heads = dir.join(HEADS);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(&heads).map_err(failed(&heads))?;
    let mut public = Vec::new();
    for (file, kind) in KEYS {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(WitnessError::Random)?;
        let key = LogKey::from_seed(name, kind, &seed).map_err(WitnessError::Key)?;
        let pem = key.to_pem().map_err(WitnessError::Key)?;
        let path = dir.join(file);
        match put_new(&path, pem.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let dir = dir.to_owned();
                return Err(WitnessError::Exists { dir });
            }
            put => put.map_err(failed(&path))?,
        }
        public.push(key.public());
    }
    let lines: String = public.iter().map(|key| format!("{key}\n")).collect();
    let path = dir.join(PUBLIC);
    write_file(&path, lines.as_bytes()).map_err(failed(&path))?;
    sync_directory(dir).map_err(failed(dir))?;
    Ok(public)
}

fn put_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Adds a log to those that are watched, from the next start on; `false` when it is there already.
pub fn add_log(dir: &Path, key: &VerifierKey) -> Result<bool, WitnessError> {
    if key.kind() == SignatureKind::Cosignature {
        let name = key.name().to_owned();
        return Err(WitnessError::NotALog { name });
    }
    // Only the folder of a witness is written to.
    read(&dir.join(PUBLIC))?;
    let path = dir.join(LOGS);
    let mut known = vkeys(&path)?;
    if known.contains(key) {
        return Ok(false);
    }
    known.push(key.clone());
    let lines: String = known.iter().map(|key| format!("{key}\n")).collect();
    let failed = |source| WitnessError::Write {
        path: path.clone(),
        source,
    };
    write_file(&path, lines.as_bytes()).map_err(failed)?;
    sync_directory(dir).map_err(failed)?;
    Ok(true)
}

/// The folder of a witness, in use.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    keys: Vec<LogKey>,
    log_keys: Vec<VerifierKey>,
    /// Keeps a second process out.
    _lock: File,
}

impl Folder {
    /// Opens it.
    pub fn open(dir: &Path) -> Result<Self, WitnessError> {
        let public = vkeys(&dir.join(PUBLIC))?;
        let path = dir.join(LOCK);
        let lock = File::create(&path).map_err(|source| WitnessError::Write { path, source })?;
        if lock.try_lock().is_err() {
            let dir = dir.to_owned();
            return Err(WitnessError::InUse { dir });
        }
        let mut keys = Vec::new();
        for ((file, kind), public) in KEYS.into_iter().zip(&public) {
            let pem = read(&dir.join(file))?;
            let key = LogKey::from_pem(public.name(), kind, &String::from_utf8_lossy(&pem));
            keys.push(key.map_err(WitnessError::Key)?);
        }
        Ok(Self {
            dir: dir.to_owned(),
            keys,
            log_keys: vkeys(&dir.join(LOGS))?,
            _lock: lock,
        })
    }

    /// Its keys.
    pub fn keys(&self) -> &[LogKey] {
        &self.keys
    }

    /// Keys of the logs that it watches.
    pub fn log_keys(&self) -> &[VerifierKey] {
        &self.log_keys
    }

    /// The head of a log that was cosigned last.
    pub fn head(&self, origin: &str) -> Result<Option<Checkpoint>, WitnessError> {
        let path = self.head_path(origin);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| WitnessError::Read {
                path: path.clone(),
                source,
            })?,
        };
        let read = || {
            let head: Checkpoint = Note::parse(&bytes)?.text.parse()?;
            match head.origin == origin {
                true => Ok(head),
                false => Err(CheckpointError::Origin {
                    found: head.origin,
                    wanted: origin.to_owned(),
                }),
            }
        };
        read()
            .map(Some)
            .map_err(|source| WitnessError::Head { path, source })
    }

    /// Remembers a head for ever, with the log's signature: it is on disk when this returns.
    pub(super) fn keep(&self, head: &Checkpoint, note: &Note) -> Result<(), WitnessError> {
        let path = self.head_path(&head.origin);
        let kept = write_file(&path, note.to_string().as_bytes())
            .and_then(|()| sync_directory(&self.dir.join(HEADS)));
        kept.map_err(|source| WitnessError::Write { path, source })
    }

    fn head_path(&self, origin: &str) -> PathBuf {
        let name = FileDigest::of(origin.as_bytes());
        self.dir.join(HEADS).join(name.to_hex())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WitnessError> {
    fs::read(path).map_err(|source| WitnessError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The keys in a file, one a line; none when there is no such file.
fn vkeys(path: &Path) -> Result<Vec<VerifierKey>, WitnessError> {
    let text = match read(path) {
        Err(WitnessError::Read { source, .. })
            if source.kind() == io::ErrorKind::NotFound && path.ends_with(LOGS) =>
        {
            return Ok(Vec::new());
        }
        bytes => bytes?,
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    keys.map(|line| line.parse().map_err(WitnessError::Key))
        .collect()
}
