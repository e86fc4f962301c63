//! The files of a layer: made the same whenever they are installed, and hashed.

use super::LayerError;
use repo_model::FileDigest;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Where package managers write logs and caches beside the packages' files.
static EMPTIED: &[&str] = &["run", "tmp", "var/cache", "var/log", "var/tmp"];
/// What only the package manager has there: its history.
static REMOVED: &[&str] = &[
    "var/lib/dnf",
    "var/lib/PackageKit",
    "usr/lib/sysimage/libdnf5",
];
/// Directories that one DNF makes and the other does not; they go when nothing is in them.
static REMOVED_WHEN_EMPTY: &[&str] = &["etc/dnf/modules.d", "etc/dnf"];
/// Where a layer's rpm database is. It holds the packages' headers with their signatures, so it
/// differs when they are signed anew and is no part of the tree's digest; the lock says what it holds.
pub const RPM_DATABASE: &str = "usr/lib/sysimage/rpm";
/// Where older rpms look for it: a link.
const OLD_DATABASE: &str = "var/lib/rpm";
/// Directories that a sandbox mounts something on.
static MOUNT_POINTS: &[&str] = &["run", "tmp", "var/tmp", "etc"];
/// The time of directories, and of files that were made while installing: what they were given by
/// the clock says nothing.
const FIXED_TIME: i64 = 0;

/// Removes what differs from one installation to the next and sets the times that the clock gave.
///
/// * `started`: when the installation began, seconds since 1970.
pub fn settle(root: &Path, started: i64) -> Result<(), LayerError> {
    for name in EMPTIED.iter().chain(REMOVED) {
        let dir = root.join(name);
        // Never through a link that leads out of the layer.
        if fs::symlink_metadata(&dir).is_ok_and(|found| found.is_dir()) {
            fs::remove_dir_all(&dir)
                .map_err(LayerError::io(format!("remove {}", dir.display())))?;
            if EMPTIED.contains(name) {
                let make = LayerError::io(format!("make {}", dir.display()));
                fs::create_dir(&dir).map_err(make)?;
            }
        }
    }
    for name in REMOVED_WHEN_EMPTY {
        let _ = fs::remove_dir(root.join(name));
    }
    for name in MOUNT_POINTS {
        let dir = root.join(name);
        if fs::symlink_metadata(&dir).is_err() {
            fs::create_dir_all(&dir).map_err(LayerError::io(format!("make {}", dir.display())))?;
        }
    }
    settle_database(root).map_err(LayerError::io(format!(
        "settle {}",
        root.join(RPM_DATABASE).display()
    )))?;
    let fixed = Timespec {
        tv_sec: FIXED_TIME,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: fixed,
        last_modification: fixed,
    };
    walk(root, &mut |path, found| {
        if found.is_dir() || found.mtime() >= started {
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| {
                LayerError::io(format!("set times of {}", path.display()))(error.into())
            })?;
        }
        Ok(())
    })
}

/// Makes the database a file that can be read where nothing can be written, and that two installations
/// have in common, and links the old place to it.
///
/// SQLite marks a database with a write-ahead log by the value 2 in bytes 18 and 19 of its header, and
/// then wants to write beside it to read it (sqlite.org/fileformat2.html, 1.3.3). After rpm has closed
/// it, the log is empty and the mark can go.
fn settle_database(root: &Path) -> io::Result<()> {
    let dir = root.join(RPM_DATABASE);
    let file = dir.join("rpmdb.sqlite");
    let log = dir.join("rpmdb.sqlite-wal");
    if file.is_file() && fs::metadata(&log).map_or(0, |found| found.len()) == 0 {
        fs::File::options()
            .write(true)
            .open(&file)?
            .write_all_at(&[1, 1], 18)?;
        for name in ["rpmdb.sqlite-wal", "rpmdb.sqlite-shm", ".rpm.lock"] {
            match fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    let old = root.join(OLD_DATABASE);
    // Fails when something lies there, and then it stays.
    if !dir.is_dir() || (old.exists() && fs::remove_dir(&old).is_err()) {
        return Ok(());
    }
    if let Some(parent) = old.parent() {
        fs::create_dir_all(parent)?;
    }
    std::os::unix::fs::symlink(format!("../../{RPM_DATABASE}"), old)
}

/// SHA-256 over all entries of a layer in the order of their paths, but rpm's database: type and mode,
/// owner, group, modification time, size and digest or link target, path.
pub fn tree_digest(root: &Path) -> Result<FileDigest, LayerError> {
    let mut hasher = Sha256::new();
    walk(root, &mut |path, found| {
        let inside = path.strip_prefix(root).unwrap_or(path);
        if inside.starts_with(RPM_DATABASE) {
            return Ok(());
        }
        let read = LayerError::io(format!("read {}", path.display()));
        let content = if found.is_symlink() {
            fs::read_link(path)
                .map_err(read)?
                .as_os_str()
                .as_bytes()
                .to_vec()
        } else if found.is_file() {
            let (digest, _) = crate::scratch::hash_file(path).map_err(read)?;
            digest.to_hex().into_bytes()
        } else {
            Vec::new()
        };
        let size = if found.is_file() { found.len() } else { 0 };
        let line = format!(
            "{:o} {} {} {} {size} ",
            found.mode(),
            found.uid(),
            found.gid(),
            found.mtime()
        );
        for part in [
            line.as_bytes(),
            &content,
            b" ",
            inside.as_os_str().as_bytes(),
        ] {
            hasher.update(part);
        }
        hasher.update([0]);
        Ok(())
    })?;
    Ok(FileDigest::from_bytes(hasher.finalize().into()))
}

/// Bytes that the files below `root` take.
pub fn size_bytes(root: &Path) -> Result<u64, LayerError> {
    let mut bytes = 0_u64;
    walk(root, &mut |_, found| {
        bytes = bytes.saturating_add(found.blocks() * 512);
        Ok(())
    })?;
    Ok(bytes)
}

/// Visits everything below `dir` in the order of names, a directory after what is in it.
fn walk(
    dir: &Path,
    visit: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let list = LayerError::io(format!("list {}", dir.display()));
    let entries: Result<Vec<_>, _> = fs::read_dir(dir).and_then(Iterator::collect);
    let mut paths: Vec<PathBuf> = entries
        .map_err(list)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort_unstable();
    for path in paths {
        let read = LayerError::io(format!("read {}", path.display()));
        let found = fs::symlink_metadata(&path).map_err(read)?;
        if found.is_dir() {
            walk(&path, visit)?;
        }
        visit(&path, &found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(dir: &Path, clock: i64) {
        fs::create_dir_all(dir.join("var/log")).unwrap();
        fs::create_dir_all(dir.join("usr/bin")).unwrap();
        fs::create_dir_all(dir.join("var/lib/rpm")).unwrap();
        fs::create_dir_all(dir.join(RPM_DATABASE)).unwrap();
        fs::write(dir.join("usr/bin/tool"), "tool").unwrap();
        fs::write(dir.join("var/log/dnf.log"), format!("at {clock}")).unwrap();
        let database = dir.join(RPM_DATABASE);
        fs::write(
            database.join("rpmdb.sqlite"),
            format!("SQLite format 3 of {clock}"),
        )
        .unwrap();
        fs::write(database.join("rpmdb.sqlite-shm"), format!("{clock}")).unwrap();
        std::os::unix::fs::symlink("tool", dir.join("usr/bin/link")).unwrap();
    }

    #[test]
    fn a_layer_is_the_same_whenever_it_is_made_and_another_when_a_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        layer(&a, 1);
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        layer(&b, 2);
        assert_ne!(tree_digest(&a).unwrap(), tree_digest(&b).unwrap());
        for root in [&a, &b] {
            settle(root, 0).unwrap();
        }
        assert_eq!(tree_digest(&a).unwrap(), tree_digest(&b).unwrap());
        assert!(!a.join("var/log/dnf.log").exists() && a.join("var/tmp").is_dir());
        let database = fs::read(a.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
        assert_eq!(database[18..20], [1, 1]);
        assert!(!a.join("var/lib/rpm/rpmdb.sqlite-shm").exists());
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(b.join("usr/bin/tool"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_ne!(tree_digest(&a).unwrap(), tree_digest(&b).unwrap());
    }
}
