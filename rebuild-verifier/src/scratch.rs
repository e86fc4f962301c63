//! Scratch directories, and reading files while hashing them.

use repo_model::FileDigest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Scratch directories are named `job-<pid of the owner>-…`; those of the dead are swept at start.
const PREFIX: &str = "job-";
/// Bytes copied at once.
const CHUNK: usize = 256 << 10;

/// A directory of one job, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Makes a new directory below `work_dir` (made too when it is not there) that other users can
    /// pass through but not list.
    pub fn create(work_dir: &Path) -> io::Result<Self> {
        if !work_dir.is_dir() {
            fs::create_dir_all(work_dir)?;
            // Whatever our umask: the build user has to get through. A directory that was there
            // before is the operator's to open.
            fs::set_permissions(work_dir, fs::Permissions::from_mode(0o711))?;
        }
        let dir = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir_in(work_dir)?
            .keep();
        let scratch = Self { dir };
        fs::set_permissions(&scratch.dir, fs::Permissions::from_mode(0o711))?;
        Ok(scratch)
    }

    /// Its absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a subdirectory that belongs to `uid` when we are root.
    pub fn dir_of(&self, name: &str, uid: u32) -> io::Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        if crate::sandbox::is_root() {
            chown(&dir, Some(uid), Some(uid))?;
        }
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_tree(&self.dir);
    }
}

/// Removes what a crash left in `work_dir`: directories with our prefix whose owner is not alive.
pub fn sweep(work_dir: &Path) {
    for dir in left_by_the_dead(work_dir, PREFIX) {
        remove_tree(&dir);
    }
}

/// What in `dir` is named `<prefix><pid>-…` by a process that is not alive.
pub(crate) fn left_by_the_dead(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_left = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix)?.split_once('-'));
        owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists())
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(is_left).map(|entry| entry.path()).collect()
}

/// Removes a tree, also one whose directories a build made unreadable.
fn remove_tree(dir: &Path) {
    if fs::remove_dir_all(dir).is_ok() {
        return;
    }
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
        }
    }
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(scratch.dir = %dir.display(), "cannot remove {}: {error}", dir.display());
    }
}

/// Copies to the end of `from`, at most `limit_bytes`, and returns the digest and the count.
///
/// More bytes than the limit are an error of kind `FileTooLarge`.
pub fn copy_hashed(
    mut from: impl Read,
    mut to: impl Write,
    limit_bytes: u64,
) -> io::Result<(FileDigest, u64)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut total = 0_u64;
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return Ok((FileDigest::from_bytes(hasher.finalize().into()), total)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += count as u64;
        if total > limit_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        hasher.update(&chunk[..count]);
        to.write_all(&chunk[..count])?;
    }
}

/// SHA-256 and length of a file.
pub fn hash_file(path: &Path) -> io::Result<(FileDigest, u64)> {
    copy_hashed(File::open(path)?, io::sink(), u64::MAX)
}

/// Copies a file so that everybody can read it, and returns the copy's digest and length.
pub fn copy_readable(from: &Path, to: &Path) -> io::Result<(FileDigest, u64)> {
    let file = File::create(to)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    copy_hashed(File::open(from)?, file, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scratch_of_the_dead_is_swept() {
        let work = tempfile::tempdir().unwrap();
        let live = Scratch::create(work.path()).unwrap();
        let dead = work.path().join("job-4294967295-abc/locked");
        fs::create_dir_all(&dead).unwrap();
        fs::write(work.path().join("letter"), "mine").unwrap();
        sweep(work.path());
        assert!(live.dir().exists() && work.path().join("letter").exists());
        assert!(!dead.parent().unwrap().exists());
        let dir = live.dir().to_owned();
        drop(live);
        assert!(!dir.exists());
    }

    #[test]
    fn a_copy_stops_at_its_limit() {
        let mut to = Vec::new();
        let error = copy_hashed(&b"0123456789"[..], &mut to, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            copy_hashed(&b"abc"[..], &mut to, 3).unwrap(),
            (FileDigest::of(b"abc"), 3)
        );
    }
}
