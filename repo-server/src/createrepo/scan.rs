//! Which files become packages: a walk over the directory, or a list; and what a look at each file
//! tells without reading it.

use super::error::{BadPackage, CreaterepoError, PackageError};
use std::collections::HashSet;
use std::fs;
use std::io;
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

/// Lists the packages below `root`.
///
/// `look`: whether a file's size and times are wanted; without, listed files are taken as they
/// are.
pub(super) fn scan(root: &Path, selection: &Selection) -> Result<Scanned, CreaterepoError> {
    let mut scan = Scan {
        root,
        selection,
        found: Vec::new(),
        bad: Vec::new(),
        above: HashSet::new(),
    };
    match &selection.only {
        Some(paths) => {
            let mut seen = HashSet::new();
            for path in paths {
                let path = path.trim_start_matches("./");
                if seen.insert(path) {
                    scan.take(&root.join(path), None);
                }
            }
        }
        None => scan.walk(root)?,
    }
    scan.found.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok((scan.found, scan.bad))
}

struct Scan<'a> {
    root: &'a Path,
    selection: &'a Selection,
    found: Vec<Found>,
    bad: Vec<BadPackage>,
    /// Device and inode of the directories above, so that links in a circle come to an end.
    above: HashSet<(u64, u64)>,
}

impl Scan<'_> {
    fn walk(&mut self, directory: &Path) -> Result<(), CreaterepoError> {
        let fail = |source| CreaterepoError::Directory {
            path: directory.to_owned(),
            source,
        };
        let data = fs::metadata(directory).map_err(fail)?;
        let identity = (data.dev(), data.ino());
        if !self.above.insert(identity) {
            return Ok(());
        }
        let mut directories = Vec::new();
        for entry in fs::read_dir(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().map_err(fail)?;
            let is_directory = kind.is_dir() || (kind.is_symlink() && path.is_dir());
            if is_directory {
                directories.push(path);
            } else if name.as_encoded_bytes().ends_with(b".rpm")
                && !(self.selection.skip_symlinks && kind.is_symlink())
            {
                // Through the directory that is open already; a link must be followed.
                let known = kind.is_file().then(|| entry.metadata());
                self.take(&path, known);
            }
        }
        for path in directories {
            self.walk(&path)?;
        }
        self.above.remove(&identity);
        Ok(())
    }

    fn take(&mut self, path: &Path, data: Option<io::Result<fs::Metadata>>) {
        let relative = path.strip_prefix(self.root).unwrap_or(path);
        let Some(relative) = relative.to_str() else {
            return self.bad.push(BadPackage {
                path: relative.display().to_string(),
                error: PackageError::Name,
            });
        };
        let name = relative.rsplit('/').next().unwrap_or(relative);
        let excluded = self
            .selection
            .excludes
            .iter()
            .any(|pattern| matches(pattern, name) || matches(pattern, relative));
        if excluded {
            return;
        }
        let data = data.unwrap_or_else(|| fs::metadata(path));
        let looked = data.and_then(|data| {
            if data.is_file() {
                Ok(Look::of(&data))
            } else {
                Err(io::Error::other("it is not a regular file"))
            }
        });
        match looked {
            Ok(look) => self.found.push(Found {
                relative: relative.to_owned(),
                look,
            }),
            Err(source) => self.bad.push(BadPackage {
                path: relative.to_owned(),
                error: PackageError::Read(source),
            }),
        }
    }
}

/// Whether a pattern of `*` (any text) and `?` (one character) matches the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // After a `*`: where the pattern goes on, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some('?') => (at, from) = (at + 1, from + 1),
            Some(c) if *c == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (at, from) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
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
    fn patterns_match_as_in_the_shell_across_slashes() {
        for (pattern, text, wanted) in [
            ("*.src.rpm", "a/b-1.src.rpm", true),
            ("*.src.rpm", "b-1.noarch.rpm", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("*", "", true),
            ("abc", "abcd", false),
            ("*debuginfo*", "x-debuginfo-1.rpm", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn links_in_a_circle_and_broken_links_do_no_harm() {
        let root = tempfile::tempdir().unwrap();
        let sub = root.path().join("b");
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("x.rpm"), b"x").unwrap();
        fs::write(root.path().join("a.rpm"), b"y").unwrap();
        std::os::unix::fs::symlink(root.path(), sub.join("circle")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("gone.rpm")).unwrap();
        let (found, bad) = scan(root.path(), &Selection::default()).unwrap();
        let paths: Vec<&str> = found.iter().map(|f| f.relative.as_str()).collect();
        assert_eq!(paths, ["a.rpm", "b/x.rpm"]);
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].path, "gone.rpm");
    }
}
