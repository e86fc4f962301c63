//! What a directory has: its files by path, size and digest, and the list of digests for the other side.

use super::{BundleError, Listed};
use crate::sync::OWN_DIRECTORY;
use crate::sync::claim::{Claim, Sum, hash_rest};
use crate::sync::state::State;
use crate::sync::tree::files_below;
use repo_model::FileDigest;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

const HAVE_SCHEMA: &str = "# hallmark-have/1";

/// Every file below a directory, sorted by path; what we keep for ourselves is left out. Files that an export or
/// a bundle put there and nobody has touched since are not read again. Nothing is there when the directory is not.
pub(super) fn survey(directory: &Path) -> Result<Vec<Listed>, BundleError> {
    let remembered = directory.join(OWN_DIRECTORY).join("export");
    let state = State::load(&remembered).map_err(BundleError::local(&remembered))?;
    let paths = files_below(directory).map_err(BundleError::local(directory))?;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        if path.split('/').any(|part| part == OWN_DIRECTORY) {
            continue;
        }
        let place = directory.join(&path);
        let look = || -> io::Result<(FileDigest, u64)> {
            let data = fs::symlink_metadata(&place)?;
            let row = state.files.get(path.as_str());
            match row.filter(|row| row.is_untouched(&data)) {
                Some(row) => Ok((row.sha256, row.size_bytes)),
                None => digest_of(&place),
            }
        };
        let (digest, size_bytes) = look().map_err(BundleError::local(&place))?;
        files.push(Listed {
            path,
            digest,
            size_bytes,
        });
    }
    Ok(files)
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
