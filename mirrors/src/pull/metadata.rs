//! The metadata of a repository that is served from upstream: asked for when it has grown old, read, kept for when upstream
//! is away. One caller asks; the others go on with what is known, and few wait while nothing is.

use super::{Pull, PullError, flight, locked};
use crate::reading::{ModularPackages, Packed, REPOMD};
use crate::sync::peer::Peer;
use crate::sync::plan::{self, Item};
use crate::sync::pointer::{self, Pointer, Said};
use crate::sync::site::{keep_newest, keep_pointer, kept_newest, kept_pointer};
use crate::sync::{Filters, SyncError, Unwatched, Verify};
use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// Callers that wait at once for the first metadata; a further one is asked to come back.
pub(super) const WAITING_MAX: usize = 16;
/// Each of them waits this long.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3);
/// Between two looks at whether it is there.
const WAIT_EACH: Duration = Duration::from_millis(20);
/// While nothing is known, whoever asks this soon after upstream failed hears of that, and upstream is left alone.
const FAILED_FOR: Duration = Duration::from_secs(3);

/// What the metadata of one moment names.
pub(super) struct Known {
    pub pointer: Pointer,
    pub items: HashMap<Box<str>, Item>,
}

/// The current metadata, and the one before it: clients may be in the middle of that.
#[derive(Default)]
pub(super) struct Current {
    pub known: Option<Arc<Known>>,
    pub before: Option<Arc<Known>>,
}

/// What came of asking upstream last.
#[derive(Default)]
pub(super) struct Asked {
    /// When it was asked, if something has been known since.
    at: Option<Instant>,
    /// When it failed with nothing known, and how.
    failed: Option<(Instant, Arc<SyncError>)>,
}

/// One of those who wait for the first metadata.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// None when enough wait already.
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn try_locked<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Pull {
    fn verify(&self) -> Verify<'_> {
        match &self.settings.signatures {
            None => Verify::Nothing,
            Some(signatures) => Verify::Repomd(&**signatures),
        }
    }

    fn current(&self) -> Option<Arc<Known>> {
        locked(&self.current).known.clone()
    }

    /// The metadata: as it is upstream, or as it was when upstream was last there. While somebody else asks, what is
    /// known does; when nothing is, few wait, and not for long.
    pub(super) fn known(&self) -> Result<Arc<Known>, PullError> {
        let until = Instant::now() + WAIT_MAX;
        let mut waiting = None;
        loop {
            if let Some(mut asked) = try_locked(&self.asked) {
                return self.known_now(&mut asked);
            }
            if let Some(known) = self.current() {
                return Ok(known);
            }
            if waiting.is_none() {
                waiting = Some(Waiting::begin(&self.waiting).ok_or(PullError::Busy)?);
            }
            if Instant::now() >= until {
                return Err(PullError::Busy);
            }
            std::thread::sleep(WAIT_EACH);
        }
    }

    fn known_now(&self, asked: &mut Asked) -> Result<Arc<Known>, PullError> {
        let known = self.current();
        let is_fresh = asked
            .at
            .is_some_and(|at| at.elapsed() < self.settings.fresh);
        if let Some(known) = known.clone().filter(|_| is_fresh) {
            return Ok(known);
        }
        if known.is_none()
            && let Some((at, error)) = &asked.failed
            && at.elapsed() < FAILED_FOR
        {
            return Err(PullError::Upstream(Arc::clone(error)));
        }
        let known = match known {
            Some(known) => Some(known),
            None => self.restore(),
        };
        let outcome = self.ask(known.as_deref());
        *asked = Asked {
            at: Some(Instant::now()),
            failed: None,
        };
        let error = match (outcome, known) {
            (Ok(None), Some(known)) => return Ok(known),
            (Ok(Some(fresh)), _) => return Ok(self.take(fresh)),
            (Err(error), Some(known)) => {
                let problem = pointer::with_causes(&error);
                tracing::warn!("what is kept is served on: {problem}");
                return Ok(known);
            }
            (Ok(None), None) => SyncError::Restless,
            (Err(error), None) => error,
        };
        // Who asks a little later tries anew.
        let error = Arc::new(error);
        *asked = Asked {
            at: None,
            failed: Some((Instant::now(), Arc::clone(&error))),
        };
        Err(PullError::Upstream(error))
    }

    fn take(&self, fresh: Known) -> Arc<Known> {
        let fresh = Arc::new(fresh);
        let mut current = locked(&self.current);
        current.before = current.known.replace(Arc::clone(&fresh));
        fresh
    }

    /// What was known before the server started, if it can still be read.
    fn restore(&self) -> Option<Arc<Known>> {
        let pointer = kept_pointer(&self.settings.directory, self.verify())?;
        let known = self.read(pointer);
        let known = known
            .inspect_err(|error| tracing::warn!("what was kept cannot be read: {error}"))
            .ok()?;
        let known = Arc::new(known);
        locked(&self.current).known = Some(Arc::clone(&known));
        Some(known)
    }

    /// Upstream's metadata when it is another one.
    fn ask(&self, known: Option<&Known>) -> Result<Option<Known>, SyncError> {
        let peers = Peer::all(&self.request);
        let pointer = known.map(|known| &known.pointer);
        let directory = &self.settings.directory;
        // What was signed once is not forgotten when the kept pair is damaged, or the keys are others now.
        let signatures = self.settings.signatures.as_ref();
        let newest = signatures.and_then(|_| kept_newest(directory));
        let floor = pointer.map(|pointer| pointer.newest).max(newest);
        let said = pointer::ask(
            &self.request,
            &peers,
            self.verify(),
            pointer,
            floor,
            &Unwatched,
        )?;
        let Said::New(pointer) = said else {
            return Ok(None);
        };
        let fresh = self.read(*pointer)?;
        self.settle();
        if signatures.is_some() {
            keep_newest(directory, fresh.pointer.newest)
                .map_err(SyncError::local(directory.clone()))?;
        }
        keep_pointer(directory, &fresh.pointer).map_err(SyncError::local(directory.clone()))?;
        Ok(Some(fresh))
    }

    /// Reads what a pointer names; primary is fetched unless it is kept.
    fn read(&self, pointer: Pointer) -> Result<Known, SyncError> {
        let metadata = plan::metadata(&pointer.repomd, |_| true)?;
        let mut record = plan::primary(&pointer.repomd)?.clone();
        let item = metadata
            .iter()
            .find(|item| record.href.ends_with(&*item.path));
        let item = item.ok_or_else(|| SyncError::Metadata {
            file: REPOMD.to_owned(),
            why: "it names no primary that could be fetched".to_owned(),
        })?;
        let path = match self.look(item) {
            Some((_, path, _)) => path,
            None => {
                let fetched = flight::fetch(self, item);
                let (digest, path, size_bytes) = fetched.map_err(|why| SyncError::Files {
                    count: 1,
                    first: item.path.to_string(),
                    why,
                })?;
                self.came(item, digest, size_bytes, &path);
                path
            }
        };
        // The file itself was checked when it came.
        (record.checksum, record.open_checksum) = (None, None);
        let file = File::open(&path).map_err(SyncError::local(path.clone()))?;
        let packed = Packed::new(Box::new(file), &record).map_err(SyncError::local(path))?;
        let all = (&Filters::default(), &ModularPackages::default());
        let packages = plan::packages(packed, &record.href, all, &metadata)?;
        let all = metadata.into_iter().chain(packages.items);
        let items = all.map(|item| (item.path.clone(), item)).collect();
        Ok(Known { pointer, items })
    }
}
