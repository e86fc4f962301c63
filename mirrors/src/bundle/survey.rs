//! What a directory has: its files by path, size and digest, and the list of digests for the other side.

use super::{BundleError, Listed};
use crate::sync::OWN_DIRECTORY;
use crate::sync::claim::{Claim, Sum, hash_rest};
use crate::sync::site::is_absent;
use crate::sync::state::State;
use crate::sync::tree::files_below;
use repo_model::FileDigest;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What tells, without reading it, whether a file is still the one that was read.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Seen {
    path: String,
    size_bytes: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Seen {
    fn of(path: &str, data: &fs::Metadata) -> Self {
        Self {
            path: path.to_owned(),
            size_bytes: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            inode: data.ino(),
        }
    }
}

const HAVE_SCHEMA: &str = "# hallmark-have/1";

/// Every file below a directory, sorted by path; what we keep for ourselves is left out. Files that an export or
/// a bundle put there and nobody has touched since are not read again. Nothing is there when the directory is not.
pub(super) fn survey(directory: &Path) -> Result<Vec<Listed>, BundleError> {
    look(directory).map(|(files, _)| files)
}

/// The same; fails with [`BundleError::Changed`] when anything came, went or changed meanwhile: files that were
/// read at different moments may belong to different trees.
pub(super) fn survey_steady(directory: &Path) -> Result<Vec<Listed>, BundleError> {
    let (files, seen) = look(directory)?;
    let mut again = Vec::with_capacity(seen.len());
    for path in served_below(directory)? {
        match fs::symlink_metadata(directory.join(&path)) {
            Ok(data) => again.push(Seen::of(&path, &data)),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(BundleError::local(&directory.join(&path))(error)),
        }
    }
    match differing(&seen, &again) {
        None => Ok(files),
        Some(path) => Err(BundleError::Changed { path }),
    }
}

fn differing(before: &[Seen], after: &[Seen]) -> Option<String> {
    let before: HashSet<&Seen> = before.iter().collect();
    let after: HashSet<&Seen> = after.iter().collect();
    let differing = before.symmetric_difference(&after);
    differing.map(|seen| seen.path.clone()).min()
}

/// Every directory of ours at or below a directory.
pub(super) fn own_directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut open = vec![directory.to_owned()];
    let mut found = Vec::new();
    while let Some(above) = open.pop() {
        for entry in fs::read_dir(&above)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            match entry.file_name() == OWN_DIRECTORY {
                true => found.push(entry.path()),
                false => open.push(entry.path()),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn served_below(directory: &Path) -> Result<Vec<String>, BundleError> {
    let mut paths = files_below(directory).map_err(BundleError::local(directory))?;
    paths.retain(|path| path.split('/').all(|part| part != OWN_DIRECTORY));
    Ok(paths)
}

/// Reads what has to be read, each file after it was looked at.
fn look(directory: &Path) -> Result<(Vec<Listed>, Vec<Seen>), BundleError> {
    let remembered = directory.join(OWN_DIRECTORY).join("export");
    let state = State::load(&remembered).map_err(BundleError::local(&remembered))?;
    let paths = served_below(directory)?;
    let mut files = Vec::with_capacity(paths.len());
    let mut seen = Vec::with_capacity(paths.len());
    for path in paths {
        let place = directory.join(&path);
        let look = || -> io::Result<(FileDigest, u64, Seen)> {
            let data = fs::symlink_metadata(&place)?;
            // After an export that was cut off, a row may be about what was to come.
            let row = state.files.get(path.as_str());
            let row = row.filter(|row| !state.head.incomplete && row.is_untouched(&data));
            let (digest, size_bytes) = match row {
                Some(row) => (row.sha256, row.size_bytes),
                None => digest_of(&place)?,
            };
            Ok((digest, size_bytes, Seen::of(&path, &data)))
        };
        let (digest, size_bytes, was) = look().map_err(BundleError::local(&place))?;
        seen.push(was);
        files.push(Listed {
            path,
            digest,
            size_bytes,
        });
    }
    Ok((files, seen))
}

fn digest_of(path: &Path) -> io::Result<(FileDigest, u64)> {
    let mut sum = Sum::new(&Claim::of(FileDigest::of(b"")));
    let size_bytes = hash_rest(&mut File::open(path)?, &mut sum)?;
    Ok((sum.sha256(), size_bytes))
}

/// The digests of all files below a directory, for [`super::Create::have`] on the other side.
pub fn have(directory: &Path) -> Result<BTreeSet<FileDigest>, BundleError> {
    Ok(survey(directory)?.iter().map(|file| file.digest).collect())
}

/// Writes a list of digests.
pub fn write_have(digests: &BTreeSet<FileDigest>) -> String {
    let lines: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
    format!("{HAVE_SCHEMA}\n{lines}")
}

/// Reads what [`write_have`] wrote; the number of the wrong line otherwise, from 1 on.
pub fn read_have(text: &str) -> Result<HashSet<FileDigest>, usize> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some(HAVE_SCHEMA) {
        return Err(1);
    }
    lines
        .map(|(index, line)| line.parse().map_err(|_| index + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_or_changed_between_two_looks_is_named() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let seen = || look(root.path()).unwrap().1;
        let before = seen();
        assert_eq!(differing(&before, &seen()), None);
        fs::write(root.path().join("c"), "c").unwrap();
        assert_eq!(differing(&before, &seen()).as_deref(), Some("c"));
        fs::write(root.path().join("b"), "other").unwrap();
        assert_eq!(differing(&before, &seen()).as_deref(), Some("b"));
        fs::remove_file(root.path().join("a")).unwrap();
        assert_eq!(differing(&before, &seen()).as_deref(), Some("a"));
    }
}
