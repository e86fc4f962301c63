//! The copy: its directory, what is remembered about it, and what of it is there already.
//!
//! ```text
//! DIR/repodata/, DIR/Packages/…   what is served
//! DIR/.hallmark/state             what the copy is (see `state`)
//! DIR/.hallmark/journal           what the sync under way has done (see `journal`)
//! DIR/.hallmark/upstream/         upstream's repomd.xml and its signature, as they came
//! DIR/.hallmark/store/            files by digest (see `store`), unless that is elsewhere
//! DIR/.hallmark/stage/            new metadata, before it takes the old one's place
//! DIR/.hallmark/work/             what is made or looked at before it goes anywhere
//! DIR/.hallmark/lock              held by the sync under way
//! ```

use super::claim::Claim;
use super::journal::Journal;
use super::plan::{Item, Kind};
use super::pointer::Pointer;
use super::request::{Place, Request, Upstream, Verify};
use super::state::{Row, State};
use super::store::{Store, is_file};
use super::{OWN_DIRECTORY, SyncError};
use repo_model::FileDigest;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Where copies made before the state told it had a file while proofs were still to be asked for.
const PROOFS_DUE: &str = "proofs-due";

/// A copy under way.
pub(crate) struct Site {
    pub directory: PathBuf,
    pub own: PathBuf,
    pub store: Store,
    pub journal: Journal,
    pub state: State,
    by_claim: HashMap<Claim, FileDigest>,
    _lock: File,
}

/// What of a file is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// All, at its place.
    Had(Row),
    /// An object; its place may hold something else.
    Object(Row),
    /// A file at its place that nobody knew.
    Adopted(Row),
    /// Nothing that can be used.
    Nothing,
}

impl Site {
    /// Opens or makes a copy, and goes on with what was cut off.
    pub fn open(request: &Request) -> Result<Self, SyncError> {
        let directory = request.directory.clone();
        let own = directory.join(OWN_DIRECTORY);
        let fail = |path: &Path| SyncError::local(path.to_owned());
        fs::create_dir_all(&own).map_err(fail(&own))?;
        let lock = lock(&own).map_err(fail(&own))?;
        let lock = lock.ok_or_else(|| SyncError::Busy {
            directory: directory.clone(),
        })?;
        for left in ["stage", "work"] {
            let path = own.join(left);
            remove_tree(&path).map_err(fail(&path))?;
        }
        let (root, is_shared) = match &request.store {
            Some(store) => (store.clone(), true),
            None => (own.join("store"), false),
        };
        let store = Store::open(&root, is_shared).map_err(fail(&root))?;
        let path = own.join("journal");
        let (journal, replayed) = Journal::open(&path).map_err(fail(&path))?;
        for digest in &replayed.doubtful {
            let object = store.object(*digest);
            if store.recheck(*digest).map_err(fail(&object))? {
                journal.read_again(*digest);
            }
        }
        journal.rechecked().map_err(fail(&path))?;
        let path = own.join("state");
        let mut state = State::load_copy(&path).map_err(fail(&path))?;
        let mark = own.join(PROOFS_DUE);
        honour_mark(&mark, &mut state, &path).map_err(fail(&mark))?;
        let mut by_claim = replayed.by_claim;
        for row in state.files.values() {
            if let Some(claim) = &row.claim {
                by_claim.insert((**claim).clone(), row.sha256);
            }
        }
        Ok(Self {
            directory,
            own,
            store,
            journal,
            state,
            by_claim,
            _lock: lock,
        })
    }

    /// Upstream's `repomd.xml` that the copy was made of, as far as it is known for sure.
    pub fn known(&self, verify: Verify<'_>) -> Known {
        Known::load(&self.own, &self.state, verify)
    }

    /// Remembers a pointer, for the next sync.
    pub fn keep_pointer(&self, pointer: &Pointer) -> io::Result<()> {
        keep_pointer(&self.own, pointer)
    }

    /// A file for what is looked at before it goes to its place. What is left behind, the next sync removes.
    pub fn spool(&self) -> io::Result<NamedTempFile> {
        let work = self.own.join("work");
        match NamedTempFile::new_in(&work) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&work)?;
                NamedTempFile::new_in(&work)
            }
            outcome => outcome,
        }
    }

    /// Where a file of the copy is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The SHA-256 of a file, where something of it was here once.
    fn digest(&self, claim: &Claim) -> Option<FileDigest> {
        claim.sha256().or_else(|| self.by_claim.get(claim).copied())
    }

    /// Looks for a file.
    pub fn look(&self, item: &Item) -> io::Result<Found> {
        let target = self.place(&item.path);
        let data = match fs::symlink_metadata(&target) {
            Ok(data) => Some(data),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(error),
        };
        let row = self.state.files.get(&item.path);
        let row = row.filter(|row| row.fulfils(&item.claim));
        let untouched = row.filter(|row| data.as_ref().is_some_and(|data| row.is_untouched(data)));
        if let Some(row) = untouched.filter(|_| item.kind == Kind::Package) {
            return Ok(Found::Had(Row {
                dropped_at: None,
                ..row.clone()
            }));
        }
        if let Some(digest) = self.digest(&item.claim)
            && let Some(object) = self.store.look(digest, item.size_bytes)
        {
            // What was touched at its place was touched in the store, too: they are one file. What has no row
            // may have been touched or damaged anywhere, unless it has just come.
            let sound = untouched.is_some_and(|row| row.is_untouched(&object))
                || self.journal.is_sound(digest)
                || self.store.recheck(digest)?;
            if sound {
                self.journal.read_again(digest);
                return Ok(Found::Object(Row::of(&object, digest, &item.claim)));
            }
        }
        let fits = |data: &fs::Metadata| {
            data.is_file() && item.size_bytes.is_none_or(|size| size == data.len())
        };
        match data.filter(|data| item.kind == Kind::Package && fits(data)) {
            None => Ok(Found::Nothing),
            Some(data) => self.adopt(item, &target, &data),
        }
    }

    fn adopt(&self, item: &Item, target: &Path, data: &fs::Metadata) -> io::Result<Found> {
        let Some(digest) = is_file(target, &item.claim)? else {
            return Ok(Found::Nothing);
        };
        self.store.adopt(target, digest)?;
        Ok(Found::Adopted(Row::of(data, digest, &item.claim)))
    }
}

impl Upstream {
    /// The same places for who asks on behalf of others: nobody is led inside by one of them, but to another of them.
    pub(crate) fn led_within(all: &[Self]) -> Vec<Self> {
        let client = |one: &Self| match &one.place {
            Place::Http(client) => Some(client.clone()),
            Place::Directory(_) => None,
        };
        let clients: Vec<_> = all.iter().filter_map(client).collect();
        let clients: Vec<_> = clients.iter().collect();
        let led = |one: &Self| Self {
            label: one.label.clone(),
            place: match &one.place {
                Place::Http(client) => Place::Http(client.led_within(&clients)),
                Place::Directory(path) => Place::Directory(path.clone()),
            },
        };
        all.iter().map(led).collect()
    }
}

/// What is known from the syncs before.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The pointer that the copy was made of.
    pub pointer: Option<Pointer>,
    /// The newest timestamp that upstream had, also when the pointer itself is not known for sure: a sync may
    /// have been cut off between keeping the pointer and writing down the state.
    pub newest: Option<i64>,
}

impl Known {
    /// Believes what was kept only when the keys of this sync signed it: it may have come when there were
    /// none, or others.
    pub fn load(own: &Path, state: &State, verify: Verify<'_>) -> Self {
        let head = &state.head;
        let kept = kept_pointer(own, verify);
        let newest = kept.as_ref().map(|kept| kept.newest);
        Self {
            newest: newest.max(head.repomd.map(|_| head.newest)),
            pointer: kept
                .filter(|kept| head.repomd == Some(kept.digest))
                .map(|kept| Pointer {
                    validators: head.validators.clone(),
                    ..kept
                }),
        }
    }
}

/// Remembers a pointer in a directory of ours.
pub(crate) fn keep_pointer(own: &Path, pointer: &Pointer) -> io::Result<()> {
    let directory = own.join("upstream");
    fs::create_dir_all(&directory)?;
    write_in_one_step(&directory.join("repomd.xml"), &pointer.text)?;
    let signature = directory.join("repomd.xml.asc");
    match &pointer.signature {
        Some(text) => write_in_one_step(&signature, text)?,
        None => super::store::remove_if_there(&signature)?,
    }
    File::open(&directory)?.sync_all()
}

/// Remembers, beside the pointer, the newest timestamp that the keys signed: it counts also when the pointer that had
/// it can no longer be read or verified. Older metadata is taken again once the file is removed.
pub(crate) fn keep_newest(own: &Path, newest: i64) -> io::Result<()> {
    let directory = own.join("upstream");
    fs::create_dir_all(&directory)?;
    let text = format!("{newest}\n");
    write_in_one_step(&directory.join("newest"), text.as_bytes())?;
    File::open(&directory)?.sync_all()?;
    File::open(own)?.sync_all()
}

/// The newest timestamp that was remembered.
pub(crate) fn kept_newest(own: &Path) -> Option<i64> {
    let text = fs::read_to_string(own.join("upstream/newest")).ok()?;
    text.trim().parse().ok()
}

/// The pointer that was remembered, when the keys signed it.
pub(crate) fn kept_pointer(own: &Path, verify: Verify<'_>) -> Option<Pointer> {
    let directory = own.join("upstream");
    let text = fs::read(directory.join("repomd.xml")).ok()?;
    let signature = fs::read(directory.join("repomd.xml.asc")).ok();
    if let Some(signatures) = verify.repomd() {
        let outcome = signatures.repomd(&text, signature.as_deref()?);
        outcome.ok()?;
    }
    Pointer::of(text, signature).ok()
}

/// Takes what the mark says into the state, and then the mark away.
fn honour_mark(mark: &Path, state: &mut State, state_path: &Path) -> io::Result<()> {
    if !mark.try_exists()? {
        return Ok(());
    }
    // The first sync of a copy asks for them in any case.
    if state.head.repomd.is_some() && !state.head.proofs_due {
        state.head.proofs_due = true;
        state.save(state_path)?;
    }
    super::store::remove_if_there(mark)
}

fn write_in_one_step(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// Locks a directory of ours; `None` when somebody else has the lock.
pub(crate) fn lock(own: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(own.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        // Some network file systems have no locks; two at work there are the user's risk.
        Err(error) => {
            tracing::warn!("cannot lock {}: {error}", own.display());
            Ok(Some(file))
        }
        Ok(()) => Ok(Some(file)),
    }
}

pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_that_an_older_copy_was_to_ask_for_are_still_asked_for() {
        let own = tempfile::tempdir().unwrap();
        let (mark, path) = (own.path().join(PROOFS_DUE), own.path().join("state"));
        let opened = || {
            let mut state = State::load(&path).unwrap();
            honour_mark(&mark, &mut state, &path).unwrap();
            assert!(!mark.exists());
            assert_eq!(State::load(&path).unwrap().head, state.head);
            state.head.proofs_due
        };
        fs::write(&mark, "").unwrap();
        assert!(!opened(), "there is no copy yet");
        let mut state = State::default();
        state.head.repomd = Some(FileDigest::of(b"r"));
        state.save(&path).unwrap();
        assert!(!opened());
        fs::write(&mark, "").unwrap();
        assert!(opened());
        assert!(opened(), "the state tells it now");
    }

    #[test]
    fn the_newest_timestamp_is_remembered_without_the_pointer() {
        let own = tempfile::tempdir().unwrap();
        assert_eq!(kept_newest(own.path()), None);
        for newest in [7, 1_700_000_000] {
            keep_newest(own.path(), newest).unwrap();
            assert_eq!(kept_newest(own.path()), Some(newest));
        }
        fs::write(own.path().join("upstream/newest"), "rubbish").unwrap();
        assert_eq!(kept_newest(own.path()), None);
    }
}
