//! What every handler and job shares.

use crate::db::{Db, DbError};
use crate::store::{Store, StoreError};
use repo_model::config::Config;
use repo_model::policy::{Policy, PolicyError};
use repo_model::wire::signer::Identity;
use repo_model::{FileDigest, Timestamp};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// Most disk space for cached metadata frames: those of some ten repositories of 20,000 packages.
const FRAME_CACHE_BYTES: u64 = 512 << 20;

/// Uploaded packages that are checked at once.
const CHECKS: usize = 4;

/// Shared state; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The fields of [`App`].
pub struct Inner {
    /// Configuration.
    pub config: Config,
    /// State.
    pub db: Db,
    /// Objects.
    pub store: Store,
    /// The policy, the same file that the signer has.
    pub policy: Policy,
    /// SHA-256 of that file.
    pub policy_digest: FileDigest,
    /// What is inside the packages.
    pub sbom_index: crate::sbom_index::SbomIndex,
    /// What released packages are called, provide, need and hold.
    pub catalogue: crate::catalogue::Catalogue,
    /// Rung when a job may be due.
    pub jobs_changed: Notify,
    /// Jobs that run in this process now, by number.
    pub jobs_running: Mutex<HashSet<u64>>,
    /// Rung when a rebuild may be due.
    pub rebuilds_changed: Notify,
    /// Blobs that are being uploaded right now.
    pub uploads: Mutex<HashSet<PathBuf>>,
    /// Places for uploaded packages that are being checked.
    pub checks: Semaphore,
    /// Places for downloads of what is unpacked on the way.
    pub unpacking: Arc<Semaphore>,
    /// Places for packs of evidence that are being made.
    pub packing: Arc<Semaphore>,
    /// What the evidence of each repository has in common, as it was packed last.
    pub common_packs: crate::http::CommonPacks,
    /// Held by whoever adds to the log.
    pub sequencer: tokio::sync::Mutex<()>,
    /// Where the log's witnesses stand.
    pub witnesses: crate::log::Witnesses,
    /// Metadata frames of earlier releases, so that a release renders what it changes.
    pub frames: crate::repodata::DirectoryFrameCache,
    /// Counters for `/metrics`.
    pub metrics: crate::http::metrics::Metrics,
    /// Which release's `repomd.xml` each client got last.
    pub handed_out: crate::http::pairs::HandedOut,
    /// Registered mirrors.
    pub fleet: crate::fleet::Fleet,
    /// Who is logged in on the web pages.
    pub sessions: crate::http::sessions::Sessions,
    /// How builds fared, release by release, as it was counted last.
    pub tallied: tokio::sync::Mutex<Option<crate::http::Tallied>>,
    /// Mirrors and rebuilders as the first page showed them last.
    pub glanced: tokio::sync::Mutex<Option<crate::http::Glanced>>,
    /// Cancelled when the server shuts down.
    pub stop: CancellationToken,
    /// The signer's public keys, once they were seen.
    pub identity: std::sync::RwLock<Option<Identity>>,
    /// How the signer was when it was last asked after.
    pub signer_seen: tokio::sync::Mutex<Option<crate::http::keys::Seen>>,
    /// Repositories of others that are served here, too.
    pub upstreams: crate::upstreams::Upstreams,
    /// Keeps a second server out of the data directory.
    _lock: std::fs::File,
}

impl std::ops::Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// The server cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be made or used. The operator's to mend.
    #[error("cannot use the data directory {path}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another server uses it.
    #[error("another server uses the data directory {path}")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The policy file cannot be read. The operator's to mend.
    #[error("cannot read the policy {path}")]
    PolicyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The policy cannot be used. The operator's to mend.
    #[error("cannot use the policy {path}")]
    Policy {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// No repository is configured. The operator's to mend.
    #[error("the configuration has no [[repo]]: name at least one repository")]
    NoRepo,
    /// A repository of others cannot be served here. The operator's to mend.
    #[error(transparent)]
    Upstream(#[from] crate::upstreams::UpstreamError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A database cannot be opened or brought up to date. The operator's to mend: a full disk, wrong rights.
    #[error("cannot use the database {path}")]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: DbError,
    },
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listener failed while serving.
    #[error("serving failed")]
    Serve(#[source] std::io::Error),
}

impl App {
    /// Opens everything below the data directory; makes what is not there.
    pub async fn open(config: Config, stop: CancellationToken) -> Result<Self, ServeError> {
        if config.repo.is_empty() {
            return Err(ServeError::NoRepo);
        }
        let data_dir = config.server.data_dir.clone();
        let lock = take_data_dir(&data_dir)?;
        let (policy, policy_digest) = read_policy(&config.server.policy_file)?;
        let db_path = crate::layout::database(&data_dir);
        let db = Db::open(&db_path).map_err(unusable(&db_path))?;
        let sbom_index = crate::sbom_index::SbomIndex::open(&data_dir)
            .map_err(unusable(&crate::layout::sbom_index(&data_dir)))?;
        let catalogue = crate::catalogue::Catalogue::open(&data_dir)
            .map_err(unusable(&crate::layout::catalogue(&data_dir)))?;
        let store = Store::local(&crate::layout::objects(&data_dir))?;
        crate::intake::drop_finished(&crate::layout::spool(&data_dir), &store)
            .await
            .map_err(|error| ServeError::DataDir {
                path: data_dir.clone(),
                source: std::io::Error::other(error),
            })?;
        let frames_dir = crate::layout::frames(&data_dir);
        let frames = crate::repodata::DirectoryFrameCache::open(&frames_dir, FRAME_CACHE_BYTES)
            .map_err(|source| ServeError::DataDir {
                path: frames_dir,
                source,
            })?;
        let upstreams = crate::upstreams::open(&config)?;
        let channels = config.server.channels.clone();
        db.write(move |tx| {
            crate::db::channels::ensure(tx, &channels)?;
            // What was made since the index was last filled, or all of it when the index is new.
            crate::sbom_index::enqueue(tx)?;
            crate::catalogue::enqueue(tx)?;
            // Whatever ran when the last server died runs again.
            crate::db::jobs::release(tx, None, &[])
        })
        .await
        .map_err(unusable(&db_path))?;
        Ok(Self(Arc::new(Inner {
            config,
            db,
            store,
            policy,
            policy_digest,
            sbom_index,
            catalogue,
            jobs_changed: Notify::new(),
            jobs_running: Mutex::default(),
            rebuilds_changed: Notify::new(),
            uploads: Mutex::default(),
            sequencer: tokio::sync::Mutex::default(),
            witnesses: crate::log::Witnesses::default(),
            checks: Semaphore::new(CHECKS),
            unpacking: Arc::new(Semaphore::new(crate::http::UNPACKING)),
            packing: Arc::new(Semaphore::new(crate::http::PACKING)),
            common_packs: crate::http::CommonPacks::default(),
            frames,
            metrics: crate::http::metrics::Metrics::default(),
            handed_out: crate::http::pairs::HandedOut::default(),
            fleet: crate::fleet::Fleet::default(),
            sessions: crate::http::sessions::Sessions::default(),
            tallied: tokio::sync::Mutex::default(),
            glanced: tokio::sync::Mutex::default(),
            stop,
            identity: std::sync::RwLock::new(crate::http::keys::remembered(&data_dir)),
            signer_seen: tokio::sync::Mutex::default(),
            upstreams,
            _lock: lock,
        })))
    }

    /// A new file in the scratch directory.
    pub fn scratch_file(&self) -> std::io::Result<tempfile::NamedTempFile> {
        tempfile::NamedTempFile::new_in(crate::layout::scratch(&self.config.server.data_dir))
    }
}

/// Names the database that failed.
fn unusable(path: &Path) -> impl FnOnce(DbError) -> ServeError {
    let path = path.to_owned();
    move |source| ServeError::Database { path, source }
}

fn take_data_dir(data_dir: &Path) -> Result<std::fs::File, ServeError> {
    let refuse = |source| ServeError::DataDir {
        path: data_dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(data_dir).map_err(refuse)?;
    let lock = std::fs::File::create(crate::layout::lock_file(data_dir)).map_err(refuse)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(ServeError::InUse {
                path: data_dir.to_owned(),
            });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(refuse(source)),
    }
    let scratch = crate::layout::scratch(data_dir);
    match std::fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refuse(error)),
        Ok(()) | Err(_) => {}
    }
    for directory in [scratch, crate::layout::spool(data_dir)] {
        std::fs::create_dir_all(directory).map_err(refuse)?;
    }
    Ok(lock)
}

fn read_policy(path: &Path) -> Result<(Policy, FileDigest), ServeError> {
    let text = std::fs::read_to_string(path).map_err(|source| ServeError::PolicyFile {
        path: path.to_owned(),
        source,
    })?;
    let policy = Policy::from_toml(&text).map_err(|source| ServeError::Policy {
        path: path.to_owned(),
        source,
    })?;
    Ok((policy, FileDigest::of(text.as_bytes())))
}

/// The time now, whole seconds.
pub fn now() -> Timestamp {
    Timestamp::from_unix_secs(now_millis() / 1_000)
}

/// The time now, milliseconds since 1970.
pub fn now_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// SHA-256 of a whole file, streamed. Blocking.
pub fn file_digest(path: &Path) -> std::io::Result<FileDigest> {
    use sha2::Digest as _;
    let mut file = std::fs::File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(FileDigest::from_bytes(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
