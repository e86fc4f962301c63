//! What a build left behind. The build is not trusted: only usable packages count, and only so many.

use super::{BuildError, io};
use crate::{plan, scratch};
use repo_model::rpm::Package;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::fs;
use std::path::{Path, PathBuf};

/// Most packages that are taken from one build.
const MAX_PACKAGES: usize = 20_000;

/// One package that a build left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltPackage {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name from its own header: `name-version-release.arch.rpm`.
    pub file_name: String,
    /// Identity.
    pub nevra: Nevra,
    /// The file.
    pub file: FileDigest,
    /// Its main header.
    pub header: HeaderDigest,
    /// Bytes.
    pub size_bytes: u64,
    /// Its payload as its header says, packed and unpacked.
    pub payload: (Option<FileDigest>, Option<FileDigest>),
}

/// Finds the packages below `dir`, sorted by NEVRA. Links and other files are passed over: the build
/// is not trusted.
pub(crate) fn collect(dir: &Path) -> Result<Vec<BuiltPackage>, BuildError> {
    let mut found = Vec::new();
    let mut dirs = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        let entries = fs::read_dir(&dir).map_err(io(format!("list {}", dir.display())))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && depth < 2 {
                dirs.push((path, depth + 1));
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rpm")
            {
                found.push(read_built(path)?);
            }
            if found.len() > MAX_PACKAGES {
                return Err(BuildError::Output {
                    what: format!("more than {MAX_PACKAGES} packages"),
                });
            }
        }
    }
    found.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    if let Some(pair) = found.windows(2).find(|pair| pair[0].nevra == pair[1].nevra) {
        return Err(BuildError::Output {
            what: format!("{} twice", pair[0].nevra),
        });
    }
    if found.is_empty() {
        return Err(BuildError::Output {
            what: "no package".to_owned(),
        });
    }
    Ok(found)
}

fn read_built(path: PathBuf) -> Result<BuiltPackage, BuildError> {
    let unusable = |why: &dyn std::fmt::Display| BuildError::Output {
        what: format!(
            "an unusable package {}: {why}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ),
    };
    let head = plan::read_head(&path).map_err(|error| unusable(&error))?;
    let package = Package::from_head(&head).map_err(|error| unusable(&error))?;
    let file_name = package.nevra.file_name();
    if file_name.contains(['/', '\0']) || file_name.starts_with('.') {
        return Err(unusable(&"its name is no file name"));
    }
    let (file, size_bytes) =
        scratch::hash_file(&path).map_err(io(format!("read {}", path.display())))?;
    Ok(BuiltPackage {
        file_name,
        nevra: package.nevra,
        file,
        header: package.header_digest,
        size_bytes,
        payload: (
            package
                .payload_sha256
                .as_deref()
                .and_then(|hex| hex.parse().ok()),
            package
                .payload_sha256_alt
                .as_deref()
                .and_then(|hex| hex.parse().ok()),
        ),
        path,
    })
}
