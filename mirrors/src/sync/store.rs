//! Files by digest, and files on their way there.
//!
//! ```text
//! sha256/ab/cdef…          a whole file; never changes, is hard-linked to wherever it is served
//! partial/ab/sha256-abcd…  the first bytes of a file with that claim; goes on where it stopped
//! partial/ab/….ranges      which of its ranges are there, when it comes in ranges (see `ranges`)
//! lock                     held shared by every sync, alone by whoever removes objects
//! ```
//!
//! Both are spread over many directories: a directory is changed by one thread at a time, so in a single one files would be
//! begun one after the other.

use super::claim::{Claim, Sum, hash_rest};
use repo_model::FileDigest;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Partial files that nobody has touched for so long are removed from a shared store.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A directory of files by digest.
pub(crate) struct Store {
    root: PathBuf,
    lock: File,
    is_shared: bool,
}

/// A file that is being fetched. Locked: no other sync writes it.
pub(crate) struct Partial {
    pub file: File,
    path: PathBuf,
    /// Bytes that were there when it was opened.
    pub size_bytes: u64,
}

impl Store {
    /// Opens or makes one. `is_shared`: other copies may use it too.
    pub fn open(root: &Path, is_shared: bool) -> io::Result<Self> {
        fs::create_dir_all(root.join("sha256"))?;
        fs::create_dir_all(root.join("partial"))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        flock(&lock, FlockOperation::LockShared)?;
        Ok(Self {
            root: root.to_owned(),
            lock,
            is_shared,
        })
    }

    /// Whether other copies may use it too.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Where an object is, or would be.
    pub fn object(&self, digest: FileDigest) -> PathBuf {
        let hex = digest.to_hex();
        let (fan, rest) = hex.split_at(2);
        let mut path = self.root.join("sha256");
        path.push(fan);
        path.push(rest);
        path
    }

    /// What an object looks like, when it is there with the right size.
    pub fn look(&self, digest: FileDigest, size_bytes: Option<u64>) -> Option<fs::Metadata> {
        let data = fs::symlink_metadata(self.object(digest)).ok()?;
        let fits = data.is_file() && size_bytes.is_none_or(|size| size == data.len());
        fits.then_some(data)
    }

    /// Reads an object again, and removes it when it is not what it should be; whether it is there
    /// now.
    pub fn recheck(&self, digest: FileDigest) -> io::Result<bool> {
        let path = self.object(digest);
        match is_file(&path, &Claim::of(digest)) {
            Ok(Some(_)) => Ok(true),
            Ok(None) => fs::remove_file(path).map(|()| false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the first bytes of a file are, when one sync alone fetches it.
    pub fn partial_path(&self, claim: &Claim) -> PathBuf {
        let hex = claim.hex();
        let (fan, _) = hex.split_at(2);
        let name = claim.to_string().replace(':', "-");
        let mut path = self.root.join("partial");
        path.push(fan);
        path.push(name);
        path
    }

    /// Whether a sync that was cut off was fetching a file in ranges.
    pub fn has_ranges_of(&self, claim: &Claim) -> bool {
        list_of_ranges(&self.partial_path(claim)).exists()
    }

    /// Opens what there is of a file, or begins it.
    pub fn partial(&self, claim: &Claim) -> io::Result<Partial> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let own = self.partial_path(claim);
        let mut path = own.clone();
        loop {
            let file = open_or_make(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    // Another sync fetches it too; ours is as good, and neither waits.
                    let number = COUNT.fetch_add(1, Ordering::Relaxed);
                    let mut other = own.clone().into_os_string();
                    other.push(format!(".{}.{number}", std::process::id()));
                    path = other.into();
                    continue;
                }
                // Some network file systems have no locks; two syncs there are the user's risk.
                Err(error) => tracing::debug!("cannot lock {}: {error}", path.display()),
            }
            let data = file.metadata()?;
            // It may have become an object, or gone, between the opening and the lock.
            let is_it = fs::symlink_metadata(&path).is_ok_and(|now| now.ino() == data.ino());
            if is_it {
                return Ok(Partial {
                    file,
                    path,
                    size_bytes: data.len(),
                });
            }
        }
    }

    /// Makes an object of a partial file, which is whole and has this digest.
    pub fn keep(&self, partial: Partial, digest: FileDigest) -> io::Result<()> {
        let object = self.object(digest);
        match fs::rename(&partial.path, &object) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_parent(&object)?;
                fs::rename(&partial.path, &object)
            }
            outcome => outcome,
        }
    }

    /// Makes an object of a file at its place, which has this digest.
    pub fn adopt(&self, path: &Path, digest: FileDigest) -> io::Result<()> {
        let object = self.object(digest);
        make_parent(&object)?;
        match fs::hard_link(path, &object) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            // Another file system, or one without links: it stays where it is.
            Err(error) if !can_link(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// Puts an object at `target`, in one step where something is there already.
    pub fn place(&self, digest: FileDigest, target: &Path) -> io::Result<()> {
        self.place_from(&self.object(digest), digest, target)
    }

    /// The same with a `source` that is known to be what the object would be.
    pub fn place_from(&self, source: &Path, digest: FileDigest, target: &Path) -> io::Result<()> {
        let mut outcome = self.link(source, digest, target);
        if matches!(&outcome, Err(error) if error.kind() == ErrorKind::NotFound) {
            make_parent(target)?;
            outcome = self.link(source, digest, target);
        }
        match outcome {
            Err(error) if !can_link(&error) => copy_beside(source, digest, target),
            outcome => outcome,
        }
    }

    fn link(&self, source: &Path, digest: FileDigest, target: &Path) -> io::Result<()> {
        match fs::hard_link(source, target) {
            // The kernel says so before it looks at whether the two are on one file system.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            outcome => return outcome,
        }
        if same_file(source, target) {
            return Ok(());
        }
        let aside = self.aside(digest);
        remove_if_there(&aside)?;
        fs::hard_link(source, &aside)?;
        let outcome = fs::rename(&aside, target);
        if outcome.is_err() {
            remove_if_there(&aside)?;
        }
        outcome
    }

    /// A name for a link on its way; swept with the partial files when it is left behind.
    fn aside(&self, digest: FileDigest) -> PathBuf {
        let name = format!("place-{digest}.{}", std::process::id());
        self.root.join("partial").join(name)
    }

    /// Removes objects that are linked nowhere, unless another sync is at work in this store; and
    /// partial files that nobody goes on with. Returns the bytes freed.
    pub fn sweep(&self) -> io::Result<u64> {
        if flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(0);
        }
        let outcome = self.sweep_alone();
        flock(&self.lock, FlockOperation::LockShared)?;
        outcome
    }

    fn sweep_alone(&self) -> io::Result<u64> {
        let mut freed = 0;
        for fan in fs::read_dir(self.root.join("sha256"))? {
            for object in fs::read_dir(fan?.path())? {
                let object = object?;
                let data = object.metadata()?;
                if data.nlink() == 1 {
                    fs::remove_file(object.path())?;
                    freed += data.len();
                }
            }
        }
        self.sweep_partials()?;
        Ok(freed)
    }

    fn sweep_partials(&self) -> io::Result<()> {
        let age_max = match self.is_shared {
            true => PARTIAL_AGE_MAX,
            false => Duration::ZERO,
        };
        self.drop_partials(age_max, |_| false).map(|_| ())
    }

    /// Removes partial files that nobody has touched for `age_max`, but for those that are in use; bytes of those
    /// that are left.
    pub fn drop_partials(
        &self,
        age_max: Duration,
        is_used: impl Fn(&Path) -> bool,
    ) -> io::Result<u64> {
        let now = SystemTime::now();
        let mut left_bytes = 0;
        for path in self.partials()? {
            let data = match fs::symlink_metadata(&path) {
                // It has become an object in between.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                outcome => outcome?,
            };
            let age = now.duration_since(data.modified()?).unwrap_or_default();
            if age >= age_max && !is_used(&path) {
                remove_if_there(&path)?;
            } else {
                left_bytes += data.len();
            }
        }
        Ok(left_bytes)
    }

    /// All partial files, and links on their way.
    fn partials(&self) -> io::Result<Vec<PathBuf>> {
        let mut open = vec![self.root.join("partial")];
        let mut all = Vec::new();
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => open.push(entry.path()),
                    false => all.push(entry.path()),
                }
            }
        }
        Ok(all)
    }
}

fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_parent(path)?;
            options.open(path)
        }
        outcome => outcome,
    }
}

impl Partial {
    /// Begins anew.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.size_bytes = 0;
        Ok(())
    }

    /// Where the ranges that are there are listed.
    pub fn list_of_ranges(&self) -> PathBuf {
        list_of_ranges(&self.path)
    }

    /// The file does not come in ranges, or no longer.
    pub fn forget_ranges(&self) -> io::Result<()> {
        remove_if_there(&self.list_of_ranges())
    }

    /// Throws it away.
    pub fn discard(self) -> io::Result<()> {
        remove_if_there(&self.path)
    }
}

fn list_of_ranges(partial: &Path) -> PathBuf {
    let mut path = partial.as_os_str().to_owned();
    path.push(".ranges");
    path.into()
}

/// Whether the file at `path` is what is claimed: its SHA-256 then.
pub(crate) fn is_file(path: &Path, claim: &Claim) -> io::Result<Option<FileDigest>> {
    let mut sum = Sum::new(claim);
    hash_rest(&mut File::open(path)?, &mut sum)?;
    Ok(sum.finish(claim).ok())
}

/// Makes the directories above a file.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Copies a file where it cannot be linked: only one beside the target can take its place in one step. It gets
/// the time of its source, by which it is known as untouched.
fn copy_beside(source: &Path, digest: FileDigest, target: &Path) -> io::Result<()> {
    let name = format!(".hallmark-{}", &digest.to_hex()[..16]);
    let aside = target.with_file_name(name);
    let copied = copy_with_time(source, &aside).and_then(|()| fs::rename(&aside, target));
    if copied.is_err() {
        remove_if_there(&aside)?;
    }
    copied
}

fn copy_with_time(source: &Path, target: &Path) -> io::Result<()> {
    let mut from = File::open(source)?;
    let mut to = File::create(target)?;
    io::copy(&mut from, &mut to)?;
    to.set_modified(from.metadata()?.modified()?)
}

pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::symlink_metadata(a), fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

/// Whether this was not about hard links being impossible between these two places.
fn can_link(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    !matches!(
        errno,
        Some(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn keep(store: &Store, text: &[u8]) -> FileDigest {
        let digest = FileDigest::of(text);
        let mut partial = store.partial(&Claim::of(digest)).unwrap();
        partial.restart().unwrap();
        partial.file.write_all(text).unwrap();
        store.keep(partial, digest).unwrap();
        digest
    }

    #[test]
    fn an_object_replaces_what_is_at_its_place_and_lives_while_it_is_linked() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("store"), false).unwrap();
        let (one, two) = (keep(&store, b"one"), keep(&store, b"two"));
        let target = root.path().join("a/b.rpm");
        for digest in [one, two, two] {
            store.place(digest, &target).unwrap();
            assert!(same_file(&store.object(digest), &target));
        }
        assert_eq!(store.sweep().unwrap(), 3);
        assert!(store.look(one, None).is_none());
        assert!(store.look(two, Some(3)).is_some() && store.look(two, Some(4)).is_none());
        let names: Vec<_> = fs::read_dir(root.path().join("a")).unwrap().collect();
        assert_eq!(names.len(), 1);
    }

    /// A directory on another file system than `other`; none where this machine has none.
    fn elsewhere(other: &Path) -> Option<tempfile::TempDir> {
        let own = fs::metadata(other).unwrap().dev();
        let places = ["/dev/shm", env!("CARGO_MANIFEST_DIR")];
        let found = places
            .iter()
            .find(|place| fs::metadata(place).is_ok_and(|data| data.dev() != own))?;
        tempfile::tempdir_in(found).ok()
    }

    #[test]
    fn a_store_on_another_file_system_gives_copies_whatever_is_at_their_place() {
        let root = tempfile::tempdir().unwrap();
        let Some(other) = elsewhere(root.path()) else {
            assert!(std::env::var_os("CI").is_none(), "no second file system");
            eprintln!("SKIPPED: this machine has no second file system to write to");
            return;
        };
        let store = Store::open(other.path(), false).unwrap();
        let (one, two) = (keep(&store, b"one"), keep(&store, b"two"));
        let target = root.path().join("a/b.rpm");
        for (digest, text) in [(one, b"one"), (two, b"two"), (two, b"two")] {
            store.place(digest, &target).unwrap();
            assert_eq!(fs::read(&target).unwrap(), text);
            let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
            assert_eq!(modified(&target), modified(&store.object(digest)));
        }
        let names: Vec<_> = fs::read_dir(root.path().join("a")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(store.partials().unwrap().is_empty());
    }

    #[test]
    fn partial_files_that_nobody_goes_on_with_go_and_the_others_are_counted() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), false).unwrap();
        let [one, two] = [b"1", b"2"].map(|text| Claim::of(FileDigest::of(text)));
        for (claim, text) in [(&one, "abc"), (&two, "defgh")] {
            let mut partial = store.partial(claim).unwrap();
            partial.file.write_all(text.as_bytes()).unwrap();
        }
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(store.drop_partials(day, |_| false).unwrap(), 8);
        // As older versions left them.
        fs::write(root.path().join("partial/sha256-00"), "ijkl").unwrap();
        assert_eq!(store.drop_partials(day, |_| false).unwrap(), 12);
        let used = store.partial_path(&two);
        let left = store.drop_partials(Duration::ZERO, |path| path == used);
        assert_eq!(left.unwrap(), 5);
        assert!(used.exists() && !store.partial_path(&one).exists());
    }

    #[test]
    fn what_was_changed_in_place_is_noticed_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), false).unwrap();
        let digest = keep(&store, b"one");
        assert!(store.recheck(digest).unwrap());
        fs::write(store.object(digest), b"eno").unwrap();
        assert!(!store.recheck(digest).unwrap() && !store.recheck(digest).unwrap());
    }

    #[test]
    fn two_syncs_of_one_store_do_not_write_one_partial_file_nor_sweep_each_other() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (
            Store::open(root.path(), true).unwrap(),
            Store::open(root.path(), true).unwrap(),
        );
        let claim = Claim::of(FileDigest::of(b"x"));
        let one = first.partial(&claim).unwrap();
        let two = second.partial(&claim).unwrap();
        assert_ne!(one.path, two.path);
        let digest = keep(&first, b"unlinked");
        assert_eq!(second.sweep().unwrap(), 0);
        assert!(first.look(digest, None).is_some());
    }
}
