//! Whether a copy holds what a manifest lists: each file by its SHA-256, and which files are there besides.

use crate::evidence::beside::COMMON;
use crate::sync::OWN_DIRECTORY;
use crate::sync::claim::Claim;
use crate::sync::site::is_absent;
use crate::sync::store::is_file;
use crate::sync::tree::files_below;
use repo_model::manifest::{MANIFEST, Manifest};
use serde::Serialize;
use std::io;
use std::path::Path;

/// How a copy is not what a manifest lists. Paths are below the repository's root, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Listed, and not there.
    pub missing: Vec<String>,
    /// Listed, and there with other bytes.
    pub differing: Vec<String>,
    /// Listed, and not readable: path, and why.
    pub unreadable: Vec<(String, String)>,
    /// There, and not listed: files of earlier releases, or of somebody else. Documents beside a listed
    /// package are not among them.
    pub extra: Vec<String>,
}

impl Differences {
    /// Whether all that is listed is there.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.differing.is_empty() && self.unreadable.is_empty()
    }
}

/// Reads every file that the manifest lists below `root`.
///
/// Fails only when `root` cannot be listed.
pub fn compare(root: &Path, manifest: &Manifest) -> io::Result<Differences> {
    let mut found = Differences::default();
    for (path, digest) in &manifest.files {
        let name = || path.to_string();
        match is_file(&root.join(&**path), &Claim::of(*digest)) {
            Ok(Some(_)) => {}
            Ok(None) => found.differing.push(name()),
            Err(error) if is_absent(&error) => found.missing.push(name()),
            Err(error) => found.unreadable.push((name(), error.to_string())),
        }
    }
    let is_extra = |path: &String| {
        !manifest.files.contains_key(path.as_str())
            && !path.starts_with(MANIFEST)
            && !is_ours(path)
            && !is_beside(manifest, path)
    };
    found.extra = files_below(root)?.into_iter().filter(is_extra).collect();
    Ok(found)
}

/// Files that a mirror makes for itself.
fn is_ours(path: &str) -> bool {
    path.split('/').any(|part| part == OWN_DIRECTORY)
}

/// A document about a listed package, or about the repository: `…rpm.asc`, `sbom/index.json`.
fn is_beside(manifest: &Manifest, path: &str) -> bool {
    let about_all = [
        "sbom/",
        "metalink.xml",
        "freshness.json",
        COMMON,
        "repodata/repomd.xml.key",
    ];
    if about_all.iter().any(|start| path.starts_with(start)) {
        return true;
    }
    let package = path.find(".rpm.").and_then(|at| path.get(..at + 4));
    package.is_some_and(|package| manifest.files.contains_key(package))
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::manifest::ManifestOf;
    use repo_model::{FileDigest, ReleaseId, Timestamp};
    use std::fs;

    #[test]
    fn what_differs_is_missing_or_is_too_much_is_named() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let files = ["Packages/a.rpm", "Packages/b.rpm", "Packages/c.rpm"];
        let listed = files.map(|path| (path.into(), FileDigest::of(path.as_bytes())));
        let manifest = Manifest {
            of: ManifestOf {
                release: ReleaseId(1),
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                issued: Timestamp::from_unix_secs(0),
            },
            files: listed.into_iter().collect(),
        };
        for path in files {
            put(path, path);
        }
        for beside in [
            "Packages/a.rpm.asc",
            "sbom/index.json",
            "repodata/SHA256SUMS.asc",
            ".hallmark/state",
        ] {
            put(beside, "");
        }
        let whole = compare(root.path(), &manifest).unwrap();
        assert_eq!(whole, Differences::default());
        assert!(whole.is_whole());

        put("Packages/a.rpm", "other");
        fs::remove_file(root.path().join("Packages/b.rpm")).unwrap();
        put("Packages/z.rpm", "");
        put("Packages/z.rpm.asc", "");
        let found = compare(root.path(), &manifest).unwrap();
        assert_eq!(found.differing, ["Packages/a.rpm"]);
        assert_eq!(found.missing, ["Packages/b.rpm"]);
        assert_eq!(found.extra, ["Packages/z.rpm", "Packages/z.rpm.asc"]);
        assert!(!found.is_whole());
    }
}
