//! The lock of a layer as a file: `{"schema":"rpm-buildroot-lock/1","packages":[{"nevra":…,"sha256":…,
//! "header_sha256":…,"size_bytes":…,"urls":[…],"signer":…}]}`.
//!
//! The same list stands in a buildinfo as `buildroot.locked`.

use super::{DNF, LayerError};
use crate::lock::{self, RootLock};
use repo_model::FileDigest;
use repo_model::buildinfo::{Buildroot, LockedPackage};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Schema of [`LockFile`].
const SCHEMA: &str = "rpm-buildroot-lock/1";

/// Packages that a layer is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    schema: String,
    /// Sorted by NEVRA.
    pub packages: Vec<LockedPackage>,
}

impl LockFile {
    /// A lock of these packages.
    pub fn new(mut packages: Vec<LockedPackage>) -> Self {
        packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
        Self {
            schema: SCHEMA.to_owned(),
            packages,
        }
    }

    /// Reads a lock, or takes it out of a buildinfo.
    pub fn read(path: &Path) -> Result<Self, LayerError> {
        let text = fs::read(path).map_err(LayerError::io(format!("read {}", path.display())))?;
        let json = |source| LayerError::Json {
            path: path.to_owned(),
            source,
        };
        if let Ok(info) = repo_model::buildinfo::BuildInfo::from_json(&text) {
            return Ok(Self::new(info.buildroot.locked));
        }
        let lock: Self = serde_json::from_slice(&text).map_err(json)?;
        if lock.schema != SCHEMA {
            return Err(json(serde::de::Error::custom(format!(
                "schema `{}`",
                lock.schema
            ))));
        }
        Ok(Self::new(lock.packages))
    }

    /// Pretty JSON with a final newline.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The buildroot of a buildinfo that asks for this lock's layer, whatever its tree.
    pub fn buildroot(&self) -> Buildroot {
        let lock = root_lock(&self.packages, String::new());
        Buildroot {
            kind: DNF.to_owned(),
            lock_sha256: lock.sha256,
            installer: lock.installer.to_owned(),
            packages: lock.packages,
            toolchain: lock.toolchain,
            tree_sha256: None,
            locked: self.packages.clone(),
        }
    }
}

/// SHA-256 over the sorted lines `nevra header_sha256`, each with its newline: the name of a layer.
///
/// The header's digest and not the file's, so that signing packages anew does not make another layer.
pub fn lock_digest(packages: &[LockedPackage]) -> FileDigest {
    let mut lines: Vec<String> = packages
        .iter()
        .map(|package| format!("{} {}", package.nevra, package.header_sha256))
        .collect();
    lines.sort_unstable();
    lock::of_lines(&lines).0
}

/// The lock as every build root has one.
pub(super) fn root_lock(packages: &[LockedPackage], rpm_version: String) -> RootLock {
    let mut lines: Vec<String> = packages
        .iter()
        .map(|package| {
            let (name, evr) = (&package.nevra.name, &package.nevra.evr);
            format!("{name} {evr} {}", package.nevra.arch)
        })
        .collect();
    lines.sort_unstable();
    RootLock {
        sha256: lock_digest(packages),
        installer: "dnf",
        packages: u32::try_from(packages.len()).unwrap_or(u32::MAX),
        toolchain: lock::of_lines(&lines).1,
        rpm_version,
        locked: packages.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::HeaderDigest;

    fn package(nevra: &str, file: &[u8]) -> LockedPackage {
        LockedPackage {
            nevra: nevra.parse().unwrap(),
            sha256: FileDigest::of(file),
            header_sha256: HeaderDigest::of(nevra.as_bytes()),
            size_bytes: 1,
            urls: Vec::new(),
            signer: None,
        }
    }

    #[test]
    fn the_digest_of_a_lock_depends_on_what_packages_hold_and_not_on_order_or_signatures() {
        let a = lock_digest(&[
            package("gcc-12-1.x86_64", b"a"),
            package("bash-5-1.x86_64", b"b"),
        ]);
        let b = lock_digest(&[
            package("bash-5-1.x86_64", b"signed"),
            package("gcc-12-1.x86_64", b"a"),
        ]);
        assert_eq!(a, b);
        assert_ne!(
            a,
            lock_digest(&[
                package("bash-5-2.x86_64", b"b"),
                package("gcc-12-1.x86_64", b"a")
            ])
        );
    }

    #[test]
    fn a_lock_is_read_back_as_it_was_written_and_other_documents_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock.json");
        let lock = LockFile::new(vec![
            package("gcc-12-1.x86_64", b"a"),
            package("bash-5-1.x86_64", b"b"),
        ]);
        fs::write(&path, lock.to_json()).unwrap();
        assert_eq!(LockFile::read(&path).unwrap(), lock);
        assert_eq!(lock.packages[0].nevra.name, "bash");
        assert_eq!(
            lock.buildroot().toolchain,
            ["bash 5-1 x86_64", "gcc 12-1 x86_64"]
        );
        for other in [
            "{}",
            "[]",
            r#"{"schema":"rpm-buildroot-lock/2","packages":[]}"#,
        ] {
            fs::write(&path, other).unwrap();
            assert!(
                matches!(LockFile::read(&path), Err(LayerError::Json { .. })),
                "{other}"
            );
        }
    }
}
