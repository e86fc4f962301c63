//! Where new metadata waits to take the old one's place, and the lock that keeps two runs apart.

use super::error::CreaterepoError;
pub(super) use mirrors::switch::{switch, sync_directory};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Directories that a run makes and removes; only under the lock.
const STAGE_PREFIX: &str = ".repodata-hallmark-";

/// The right to change the metadata of a directory; ends when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _directory: File,
}

/// Takes the lock of `output` and sweeps what a crashed run has left.
pub(super) fn lock(output: &Path) -> Result<Lock, CreaterepoError> {
    let fail = |source| CreaterepoError::Directory {
        path: output.to_owned(),
        source,
    };
    let directory = File::open(output).map_err(fail)?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(CreaterepoError::Busy {
                path: output.to_owned(),
            });
        }
        // Some network file systems cannot lock a directory; a run there is the user's risk.
        Err(error) => tracing::warn!("cannot lock {}: {error}", output.display()),
    }
    Ok(Lock {
        _directory: directory,
    })
}

/// The place of the metadata: where `repodata` really is, if it is a symbolic link.
pub(super) fn live_directory(output: &Path) -> PathBuf {
    let repodata = output.join("repodata");
    fs::canonicalize(&repodata).unwrap_or(repodata)
}

/// A name for a new staging directory beside `live`; removes those of crashed runs.
pub(super) fn stage_path(live: &Path) -> Result<PathBuf, CreaterepoError> {
    let parent = live.parent().unwrap_or(Path::new("."));
    let fail = |source| CreaterepoError::Directory {
        path: parent.to_owned(),
        source,
    };
    for entry in fs::read_dir(parent).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let is_ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(STAGE_PREFIX.as_bytes());
        if is_ours && entry.file_type().map_err(fail)?.is_dir() {
            fs::remove_dir_all(entry.path()).map_err(fail)?;
        }
    }
    Ok(parent.join(format!("{STAGE_PREFIX}{}", std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_to_wait_and_leftovers_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let first = lock(root.path()).unwrap();
        assert!(matches!(
            lock(root.path()),
            Err(CreaterepoError::Busy { .. })
        ));
        drop(first);
        lock(root.path()).unwrap();
        let [left, other] =
            [".repodata-hallmark-1", ".repodata-of-others"].map(|name| root.path().join(name));
        for directory in [&left, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("x"), "y").unwrap();
        }
        stage_path(&root.path().join("repodata")).unwrap();
        assert!(!left.exists() && other.exists());
    }
}
