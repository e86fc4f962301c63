//! A repository of others, fetched when somebody asks for it: metadata is verified as for a sync, every other file by
//! the digest that it names, and what was fetched is kept for as long as there is room. When upstream is away, what is
//! kept is served on.
//!
//! ```text
//! DIR/upstream/   upstream's repomd.xml and its signature, as they came; and the newest timestamp that was signed
//! DIR/store/      files by digest, and the first bytes of others (see `sync::store`)
//! DIR/journal     files on their way (see `sync::journal`)
//! DIR/lock        held while the repository is served
//! ```
//!
//! A file that many ask for is fetched once ([`Flight`]). It is handed on as it comes, but the reader must hold its last bytes
//! back until all of it was found right.

mod flight;
mod kept;
mod metadata;
#[cfg(test)]
mod tests;

pub use flight::{Arrived, Flight, Progress};

use crate::reading::REPOMD;
use crate::sync::journal::Journal;
use crate::sync::plan::{Item, Kind};
use crate::sync::site::lock;
use crate::sync::store::Store;
use crate::sync::{FilteredMetadata, Filters, Patience, Request, Signatures, SyncError, Upstream};
use kept::Kept;
use metadata::{Asked, Current};
use repo_model::{FileDigest, Timestamp};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Files that are fetched at once; who asks for a further one is asked to come back.
const FLIGHTS_MAX: usize = 64;
/// The first bytes of a file that nobody has gone on with for so long are removed.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Largest file whose size no metadata tells, bytes.
const UNCLAIMED_MAX_BYTES: u64 = 1 << 30;

/// What to serve, and what to keep of it.
pub struct Settings {
    /// For what is kept.
    pub directory: PathBuf,
    /// Places that have the repository, the preferred one first; at least one.
    pub upstreams: Vec<Upstream>,
    /// Whose signature `repomd.xml` must have; none: whoever answers is believed.
    pub signatures: Option<Box<dyn Signatures + Send>>,
    /// What is served as `repomd.xml.key`, which zypper asks for; empty: nothing. Upstream's is never taken: no signature
    /// covers it, and clients trust it for good.
    pub key: Vec<u8>,
    /// `repomd.xml` is served for so long before upstream is asked again.
    pub fresh: Duration,
    /// What was not asked for the longest is removed when more than so many bytes are kept.
    pub keep_bytes: u64,
    /// What was not asked for this long is removed.
    pub keep_for: Duration,
    /// When to give an upstream up.
    pub patience: Patience,
}

/// A file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The client's fault: the metadata does not name it.
    #[error("there is no {path} in this repository")]
    Missing {
        /// Which.
        path: String,
    },
    /// Too much is being fetched, or the first metadata still is; retry soon.
    #[error("too much is being fetched from upstream")]
    Busy,
    /// Upstream's or the network's fault, and nothing is kept that would help; retry later.
    #[error("upstream cannot be used")]
    Upstream(#[source] Arc<SyncError>),
    /// The operator's to mend: two servers use the directory.
    #[error("another server uses {}", directory.display())]
    InUse {
        /// Which.
        directory: PathBuf,
    },
    /// This machine's fault, or its disk's.
    #[error("cannot use {}", path.display())]
    Local {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PullError {
    fn local(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Local {
            path: path.to_owned(),
            source,
        }
    }
}

/// A file of the repository.
pub enum Found {
    /// `repomd.xml`, its signature or its key: the name moves.
    Pointer(Vec<u8>),
    /// It is kept.
    Kept {
        /// The file: it may be removed at once, and can be read all the same.
        file: Arc<File>,
        /// Its SHA-256.
        digest: FileDigest,
        /// Bytes.
        size_bytes: u64,
    },
    /// It is on its way.
    Coming {
        /// Tells how far it is.
        flight: Arc<Flight>,
        /// Bytes that it will have, if the metadata says so.
        size_bytes: Option<u64>,
    },
}

/// A repository that is served from upstream. Used from several threads; every call may wait for upstream.
pub struct Pull {
    settings: Settings,
    request: Request,
    store: Store,
    journal: Journal,
    current: Mutex<Current>,
    /// Held while upstream is being asked.
    asked: Mutex<Asked>,
    /// Callers that wait for the first metadata.
    waiting: AtomicUsize,
    /// Objects that the machine may not have brought to the disk before it went down: read again before they are used.
    doubtful: Mutex<HashSet<FileDigest>>,
    /// Whether an object came that the machine may not have brought to the disk.
    unsettled: AtomicBool,
    flights: Mutex<HashMap<String, Arc<Flight>>>,
    kept: Mutex<Kept>,
    _lock: File,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pull {
    /// Opens what is kept; asks nobody, and reads no object: those that are in doubt are read when they are asked for.
    pub fn open(settings: Settings) -> Result<Self, PullError> {
        let directory = &settings.directory;
        let fail = PullError::local;
        std::fs::create_dir_all(directory).map_err(fail(directory))?;
        let held = lock(directory).map_err(fail(directory))?;
        let held = held.ok_or_else(|| PullError::InUse {
            directory: directory.clone(),
        })?;
        let root = directory.join("store");
        let store = Store::open(&root, false).map_err(fail(&root))?;
        let path = directory.join("journal");
        let (journal, replayed) = Journal::open(&path).map_err(fail(&path))?;
        let kept = Kept::open(&root, replayed.by_claim).map_err(fail(&root))?;
        Ok(Self {
            request: request(&settings),
            store,
            journal,
            current: Mutex::default(),
            asked: Mutex::default(),
            waiting: AtomicUsize::new(0),
            doubtful: Mutex::new(replayed.doubtful),
            unsettled: AtomicBool::new(true),
            flights: Mutex::default(),
            kept: Mutex::new(kept),
            _lock: held,
            settings,
        })
    }

    /// A file by its path below the repository's root.
    pub fn find(self: &Arc<Self>, path: &str) -> Result<Found, PullError> {
        let known = self.known()?;
        match path {
            REPOMD => return Ok(Found::Pointer(known.pointer.text.clone())),
            "repodata/repomd.xml.key" if !self.settings.key.is_empty() => {
                return Ok(Found::Pointer(self.settings.key.clone()));
            }
            "repodata/repomd.xml.asc" => {
                let signature = known.pointer.signature.clone();
                return signature.map(Found::Pointer).ok_or_else(|| missing(path));
            }
            _ => {}
        }
        let before = locked(&self.current).before.clone();
        let item = known
            .items
            .get(path)
            .or_else(|| before.as_ref()?.items.get(path));
        let item = item.ok_or_else(|| missing(path))?;
        if let Some((digest, path, size_bytes)) = self.look(item)
            && let Ok(file) = File::open(&path)
        {
            return Ok(Found::Kept {
                file: Arc::new(file),
                digest,
                size_bytes,
            });
        }
        Ok(Found::Coming {
            flight: self.fly(item)?,
            size_bytes: item.size_bytes,
        })
    }

    fn look(&self, item: &Item) -> Option<(FileDigest, PathBuf, u64)> {
        let digest = locked(&self.kept).digest(&item.claim)?;
        let path = self.store.object(digest);
        let data = self.store.look(digest, item.size_bytes)?;
        if !self.is_sound(digest) {
            return None;
        }
        locked(&self.kept).used(digest, data.len(), &path);
        Some((digest, path, data.len()))
    }

    /// Whether an object is beyond doubt; one that is not is read again, and removed when it is wrong.
    fn is_sound(&self, digest: FileDigest) -> bool {
        if !locked(&self.doubtful).contains(&digest) {
            return true;
        }
        let sound = match self.store.recheck(digest) {
            Ok(sound) => sound,
            Err(error) => {
                tracing::warn!("cannot read the kept file {digest} again: {error}");
                return false;
            }
        };
        if !sound {
            tracing::warn!("the kept file {digest} was damaged when the machine went down");
            locked(&self.kept).gone(digest);
        }
        let mut doubtful = locked(&self.doubtful);
        doubtful.remove(&digest);
        if doubtful.is_empty()
            && let Err(error) = self.journal.rechecked()
        {
            // They are read again after the next start.
            tracing::warn!("cannot note what was read again: {error}");
        }
        sound
    }

    /// Joins the flight of a file, or begins it.
    fn fly(self: &Arc<Self>, item: &Item) -> Result<Arc<Flight>, PullError> {
        let key = item.claim.to_string();
        let mut flights = locked(&self.flights);
        if let Some(flight) = flights.get(&key) {
            return Ok(Arc::clone(flight));
        }
        if flights.len() >= FLIGHTS_MAX {
            return Err(PullError::Busy);
        }
        let flight = Arc::new(Flight::new(self.store.partial_path(&item.claim)));
        let (pull, item, own) = (Arc::clone(self), item.clone(), Arc::clone(&flight));
        let begun = std::thread::Builder::new()
            .name("pull".to_owned())
            .spawn(move || pull.carry(&item, &own));
        begun.map_err(PullError::local(&self.settings.directory))?;
        flights.insert(key, Arc::clone(&flight));
        Ok(flight)
    }

    /// Fetches a file to its end, then removes what there is no room for.
    fn carry(&self, item: &Item, flight: &Flight) {
        let outcome = flight::fetch(self, item);
        let outcome = outcome.and_then(|(digest, path, size_bytes)| {
            self.came(item, digest, size_bytes, &path);
            // Those who wait have it although it may be removed at once.
            let file = File::open(&path).map_err(|error| format!("it is not kept: {error}"))?;
            Ok(Arrived {
                digest,
                size_bytes,
                file: Arc::new(file),
            })
        });
        // Whoever asks from now on finds it kept, or begins anew.
        flight.end(outcome);
        locked(&self.flights).remove(&item.claim.to_string());
        self.sweep();
    }

    fn came(&self, item: &Item, digest: FileDigest, size_bytes: u64, path: &Path) {
        // It was read to its end just now.
        locked(&self.doubtful).remove(&digest);
        locked(&self.kept).came(&item.claim, digest, size_bytes, path);
        self.unsettled.store(true, Ordering::Relaxed);
    }

    /// Brings what came to the disk, so that it is not in doubt after the machine went down. To be called now and then.
    pub fn settle(&self) {
        if !self.unsettled.swap(false, Ordering::Relaxed) {
            return;
        }
        let store = File::open(self.settings.directory.join("store"));
        if let Err(error) = store.and_then(|store| self.journal.settle(&store)) {
            self.unsettled.store(true, Ordering::Relaxed);
            tracing::warn!("what was fetched may not be on the disk: {error}");
        }
    }

    /// Removes the first bytes of files that nobody goes on with; bytes of those that are left.
    fn sweep_partials(&self) -> u64 {
        let flights = locked(&self.flights);
        let flying: HashSet<PathBuf> = flights
            .values()
            .map(|flight| flight.partial().to_owned())
            .collect();
        drop(flights);
        let left = self
            .store
            .drop_partials(PARTIAL_AGE_MAX, |path| flying.contains(path));
        left.unwrap_or_else(|error| {
            tracing::warn!("cannot look through files on their way: {error}");
            0
        })
    }

    /// Removes what there is no room or no time for; the current metadata stays. To be called now and then.
    pub fn sweep(&self) {
        // Files on their way take room, too.
        let room_bytes = self.settings.keep_bytes;
        let room_bytes = room_bytes.saturating_sub(self.sweep_partials());
        let known = locked(&self.current).known.clone();
        let mut kept = locked(&self.kept);
        let metadata = known.iter().flat_map(|known| known.items.values());
        let pinned: HashSet<FileDigest> = metadata
            .filter(|item| item.kind == Kind::Metadata)
            .filter_map(|item| kept.digest(&item.claim))
            .collect();
        let due = kept.due(room_bytes, self.settings.keep_for);
        for digest in due.into_iter().filter(|digest| !pinned.contains(digest)) {
            let path = self.store.object(digest);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("cannot remove {}: {error}", path.display());
                }
                _ => kept.gone(digest),
            }
        }
    }
}

fn missing(path: &str) -> PullError {
    PullError::Missing {
        path: path.chars().take(200).collect(),
    }
}

/// What the parts of a sync need to know.
fn request(settings: &Settings) -> Request {
    Request {
        upstreams: Upstream::led_within(&settings.upstreams),
        directory: settings.directory.clone(),
        store: None,
        filters: Filters::default(),
        filtered_metadata: FilteredMetadata::Keep,
        workers: NonZeroUsize::MIN,
        bytes_per_sec: None,
        patience: settings.patience,
        delete_after: None,
        allow_older: false,
        skip_missing: false,
        unclaimed_max_bytes: UNCLAIMED_MAX_BYTES,
        now: Timestamp::from_unix_secs(0),
    }
}
