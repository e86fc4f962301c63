//! Which files become packages: a walk over the directory, or a list; and what a look at each file
//! tells without reading it.

use super::error::{BadPackage, CreaterepoError, PackageError};
use super::shares::in_shares;
use mirrors::pattern::matches;
use std::collections::HashSet;
use std::fs::{self, DirEntry};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which packages of the directory are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Patterns with `*` and `?` against the file name and the path below the directory; what one
    /// matches is left out. `*` matches `/` as well.
    pub excludes: Vec<String>,
    /// Only these paths below the directory, without a walk; `None` walks.
    pub only: Option<Vec<String>>,
    /// Leave out packages that are symbolic links.
    pub skip_symlinks: bool,
}

/// A package file as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Path below the directory.
    pub relative: String,
    pub look: Look,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub size_bytes: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Change of content, name count or attributes; nobody can set it back.
    pub ctime: (i64, i64),
}

impl Look {
    /// What the system says of a file.
    pub fn of(data: &fs::Metadata) -> Self {
        Self {
            size_bytes: data.len(),
            mtime: (data.mtime(), data.mtime_nsec()),
            ctime: (data.ctime(), data.ctime_nsec()),
        }
    }
}

/// The packages, sorted by path, and files that are called packages and cannot be.
pub(super) type Scanned = (Vec<Found>, Vec<BadPackage>);

/// Lists the packages below `root`; `workers` threads look at the files.
pub(super) fn scan(
    root: &Path,
    selection: &Selection,
    workers: NonZeroUsize,
) -> Result<Scanned, CreaterepoError> {
    let mut scan = Scan {
        root,
        selection,
        workers,
        found: Vec::new(),
        bad: Vec::new(),
        above: HashSet::new(),
    };
    match &selection.only {
        Some(paths) => {
            let (mut seen, mut named) = (HashSet::new(), Vec::new());
            for path in paths {
                let path = path.trim_start_matches("./");
                if seen.insert(path) {
                    // A list may say where a package is from the root of the file system on.
                    let path = root.join(path);
                    let below = path.strip_prefix(root).unwrap_or(&path);
                    named.extend(scan.name(below.as_os_str().as_bytes().to_vec(), None));
                }
            }
            scan.look_at(named);
        }
        None => scan.walk(root, b"")?,
    }
    let Scan { mut found, bad, .. } = scan;
    // Of sorted runs, which this sort puts together in one pass.
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok((found, bad))
}

struct Scan<'a> {
    root: &'a Path,
    selection: &'a Selection,
    workers: NonZeroUsize,
    found: Vec<Found>,
    bad: Vec<BadPackage>,
    /// Device and inode of the directories above, so that links in a circle come to an end.
    above: HashSet<(u64, u64)>,
}

/// A file that is called a package and was not looked at yet.
struct Named {
    relative: String,
    /// To look through the directory that is open already; none where a link must be followed.
    entry: Option<DirEntry>,
}

impl Named {
    fn look(&self, root: &Path) -> io::Result<Look> {
        let data = match &self.entry {
            Some(entry) => entry.metadata(),
            None => fs::metadata(root.join(&self.relative)),
        }?;
        match data.is_file() {
            true => Ok(Look::of(&data)),
            false => Err(io::Error::other("it is not a regular file")),
        }
    }
}

impl Scan<'_> {
    /// `below`: the directory's path below the root, with a `/` at its end unless it is empty.
    fn walk(&mut self, directory: &Path, below: &[u8]) -> Result<(), CreaterepoError> {
        let fail = |source| CreaterepoError::Directory {
            path: directory.to_owned(),
            source,
        };
        let data = fs::metadata(directory).map_err(fail)?;
        let identity = (data.dev(), data.ino());
        if !self.above.insert(identity) {
            return Ok(());
        }
        let (mut directories, mut named) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (name, kind) = (entry.file_name(), entry.file_type().map_err(fail)?);
            let is_directory = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
            let relative = || [below, name.as_bytes()].concat();
            if is_directory {
                directories.push((entry.path(), [&relative(), b"/" as &[u8]].concat()));
            } else if name.as_bytes().ends_with(b".rpm")
                && !(self.selection.skip_symlinks && kind.is_symlink())
            {
                named.extend(self.name(relative(), kind.is_file().then_some(entry)));
            }
        }
        // Before another directory is opened: each entry keeps its own open.
        self.look_at(named);
        for (path, below) in directories {
            self.walk(&path, &below)?;
        }
        self.above.remove(&identity);
        Ok(())
    }

    /// A file of such a path below the root, when it is wanted.
    fn name(&mut self, relative: Vec<u8>, entry: Option<DirEntry>) -> Option<Named> {
        let relative = match String::from_utf8(relative) {
            Ok(relative) => relative,
            Err(error) => {
                self.bad.push(BadPackage {
                    path: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    error: PackageError::Name,
                });
                return None;
            }
        };
        let name = relative.rsplit('/').next().unwrap_or(&relative);
        let excluded = self
            .selection
            .excludes
            .iter()
            .any(|pattern| matches(pattern, name) || matches(pattern, &relative));
        (!excluded).then_some(Named { relative, entry })
    }

    fn look_at(&mut self, named: Vec<Named>) {
        let root = self.root;
        for (mut found, mut bad) in
            in_shares(named, self.workers, |share| look_at_share(root, share))
        {
            self.found.append(&mut found);
            self.bad.append(&mut bad);
        }
    }
}

/// Those of a share that are packages, sorted, and the others.
fn look_at_share(root: &Path, named: Vec<Named>) -> Scanned {
    let (mut found, mut bad) = (Vec::with_capacity(named.len()), Vec::new());
    for named in named {
        let look = named.look(root);
        let relative = named.relative;
        match look {
            Ok(look) => found.push(Found { relative, look }),
            Err(source) => bad.push(BadPackage {
                path: relative,
                error: PackageError::Read(source),
            }),
        }
    }
    found.sort_unstable_by(|a: &Found, b| a.relative.cmp(&b.relative));
    (found, bad)
}

/// Reads a package list: a path a line; empty lines do not count.
pub fn read_package_list(path: &Path) -> Result<Vec<String>, CreaterepoError> {
    let text = fs::read_to_string(path).map_err(|source| CreaterepoError::Input {
        path: PathBuf::from(path),
        source,
    })?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_a_circle_and_broken_links_do_no_harm() {
        let root = tempfile::tempdir().unwrap();
        let sub = root.path().join("b");
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("x.rpm"), b"x").unwrap();
        fs::write(root.path().join("a.rpm"), b"y").unwrap();
        std::os::unix::fs::symlink(root.path(), sub.join("circle")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("gone.rpm")).unwrap();
        let (found, bad) = scan(root.path(), &Selection::default(), NonZeroUsize::MIN).unwrap();
        let paths: Vec<&str> = found.iter().map(|f| f.relative.as_str()).collect();
        assert_eq!(paths, ["a.rpm", "b/x.rpm"]);
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].path, "gone.rpm");
    }

    #[test]
    fn several_threads_see_what_one_sees() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..1_007 {
            let path = root.path().join(format!("{number:04}.rpm"));
            fs::write(path, number.to_string()).unwrap();
        }
        fs::create_dir(root.path().join("0000.rpm.rpm")).unwrap();
        let by = |threads| {
            let threads = NonZeroUsize::new(threads).unwrap();
            scan(root.path(), &Selection::default(), threads).unwrap().0
        };
        let found = by(1);
        assert_eq!(found.len(), 1_007);
        assert!(found.is_sorted_by_key(|found| &found.relative));
        for threads in [2, 3, 64] {
            assert_eq!(by(threads), found, "{threads} threads");
        }
    }
}
