//! Whether a copy holds what a manifest lists: each file by its SHA-256, and which files are there besides.

use crate::bucket::BucketError;
use crate::evidence::beside::COMMON;
use crate::reading::{Algorithm, Hasher, Source, SourceError, Stream};
use crate::sync::OWN_DIRECTORY;
use crate::sync::tree::each_below;
use repo_model::FileDigest;
use repo_model::manifest::{MANIFEST, Manifest};
use serde::Serialize;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Who has the copy can no longer be reached; retry later.
#[derive(Debug, thiserror::Error)]
#[error("the server cannot be reached: {0}")]
pub struct Away(pub String);

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

/// A copy whose files are read once: what somebody else reads to its end need not be read again to be compared.
pub struct ReadOnce<'a> {
    source: &'a dyn Source,
    read: Mutex<HashMap<Box<str>, FileDigest>>,
}

impl<'a> ReadOnce<'a> {
    /// The files of `source`.
    pub fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            read: Mutex::default(),
        }
    }

    fn is_known(&self, path: &str, digest: FileDigest) -> bool {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.get(path) == Some(&digest)
    }

    fn digest(&self, path: &str) -> Result<FileDigest, SourceError> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut reader = self.source.open(path)?.reader;
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(finished(hasher)),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // A bucket that goes away in the middle of a file is away.
                    let error = error.downcast::<BucketError>();
                    return Err(error.map_or_else(SourceError::Read, SourceError::from));
                }
            }
        }
    }
}

fn finished(hasher: Hasher) -> FileDigest {
    let mut raw = [0; 32];
    // SHA-256 has 32 bytes.
    raw.copy_from_slice(&hasher.raw()[..32]);
    FileDigest::from_bytes(raw)
}

impl Source for ReadOnce<'_> {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let Stream { reader, size_bytes } = self.source.open(path)?;
        let noting = Noting {
            reader,
            of: self,
            path: path.into(),
            hasher: Some(Hasher::new(Algorithm::Sha256)),
        };
        Ok(Stream {
            reader: Box::new(noting),
            size_bytes,
        })
    }

    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        self.source.size_bytes(path)
    }

    fn tells_sizes_cheaply(&self) -> bool {
        self.source.tells_sizes_cheaply()
    }
}

/// A file under way, whose digest is noted at its end.
struct Noting<'a> {
    reader: Box<dyn Read + 'a>,
    of: &'a ReadOnce<'a>,
    path: Box<str>,
    hasher: Option<Hasher>,
}

impl Read for Noting<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(into)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&into[..count]);
            }
        } else if !into.is_empty()
            && let Some(hasher) = self.hasher.take()
        {
            let mut read = self.of.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.insert(self.path.clone(), finished(hasher));
        }
        Ok(count)
    }
}

/// Shows the paths of all files of a copy in a directory, in no order.
pub fn each_file(root: &Path, see: &mut dyn FnMut(&str)) -> io::Result<()> {
    each_below(root, see)
}

/// Whether a file of a copy is too much: neither listed, nor a document about what is, nor the copy's own.
pub fn is_extra(manifest: &Manifest, path: &str) -> bool {
    !manifest.files.contains_key(path)
        && !path.starts_with(MANIFEST)
        && !is_ours(path)
        && !is_beside(manifest, path)
}

/// Compares every file that the manifest lists, reading those that were not read before or not as listed.
///
/// * `extra`: paths of files of the copy that [are too much](is_extra). There are several times as many files as are listed, so
///   whoever shows them holds no others.
/// * The first file for which the copy cannot be reached ends it: the others would each wait as long.
pub fn compare(
    copy: &ReadOnce<'_>,
    mut extra: Vec<String>,
    manifest: &Manifest,
) -> Result<Differences, Away> {
    extra.sort();
    let mut found = Differences {
        extra,
        ..Differences::default()
    };
    for (path, digest) in &manifest.files {
        if copy.is_known(path, *digest) {
            continue;
        }
        match copy.digest(path) {
            Ok(is) if is == *digest => {}
            Ok(_) => found.differing.push(path.to_string()),
            Err(SourceError::Unreachable(why)) => return Err(Away(why)),
            Err(SourceError::Missing) => found.missing.push(path.to_string()),
            Err(error) => found.unreadable.push((path.to_string(), why(&error))),
        }
    }
    Ok(found)
}

fn why(error: &SourceError) -> String {
    match error {
        SourceError::Read(error) => error.to_string(),
        other => other.to_string(),
    }
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
    use crate::reading::Directory;
    use repo_model::manifest::ManifestOf;
    use repo_model::{ReleaseId, Timestamp};
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_differs_is_missing_or_is_too_much_is_named() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let packages = ["Packages/a.rpm", "Packages/b.rpm", "Packages/c.rpm"];
        let listed = packages.map(|path| (path.into(), FileDigest::of(path.as_bytes())));
        let manifest = Manifest {
            of: ManifestOf {
                release: ReleaseId(1),
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                issued: Timestamp::from_unix_secs(0),
            },
            files: listed.into_iter().collect(),
        };
        for path in packages {
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
        let directory = Directory::new(root.path());
        let compared = || {
            let copy = ReadOnce::new(&directory);
            // As whoever checks the metadata reads one of them.
            let mut bytes = Vec::new();
            let read = copy.open("Packages/a.rpm").unwrap();
            { read.reader }.read_to_end(&mut bytes).unwrap();
            assert!(copy.is_known("Packages/a.rpm", FileDigest::of(&bytes)));
            let mut extra = Vec::new();
            let mut see = |path: &str| {
                if is_extra(&manifest, path) {
                    extra.push(path.to_owned());
                }
            };
            each_file(root.path(), &mut see).unwrap();
            compare(&copy, extra, &manifest).unwrap()
        };
        let whole = compared();
        assert_eq!(whole, Differences::default());
        assert!(whole.is_whole());

        put("Packages/a.rpm", "other");
        fs::remove_file(root.path().join("Packages/b.rpm")).unwrap();
        put("Packages/z.rpm", "");
        put("Packages/z.rpm.asc", "");
        let found = compared();
        assert_eq!(found.differing, ["Packages/a.rpm"]);
        assert_eq!(found.missing, ["Packages/b.rpm"]);
        assert_eq!(found.extra, ["Packages/z.rpm", "Packages/z.rpm.asc"]);
        assert!(!found.is_whole());

        for breaks_off in [false, true] {
            let gone = Gone {
                asked: AtomicUsize::new(0),
                breaks_off,
            };
            let outcome = compare(&ReadOnce::new(&gone), Vec::new(), &manifest);
            assert!(outcome.unwrap_err().0.contains("no route"), "{breaks_off}");
            assert_eq!(gone.asked.into_inner(), 1, "the others are not asked for");
        }
    }

    /// A bucket whose server has gone away, before a file or in the middle of one.
    struct Gone {
        asked: AtomicUsize,
        breaks_off: bool,
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let source = object_store::Error::Generic {
                store: "S3",
                source: "no route".into(),
            };
            Err(io::Error::other(BucketError::Unreachable {
                what: "read",
                url: "s3://b/a".to_owned(),
                source,
            }))
        }
    }

    impl Source for Gone {
        fn open(&self, _: &str) -> Result<Stream<'_>, SourceError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match self.breaks_off {
                true => Ok(Stream {
                    reader: Box::new(Broken),
                    size_bytes: None,
                }),
                false => Err(SourceError::Unreachable("no route".to_owned())),
            }
        }

        fn size_bytes(&self, _: &str) -> Result<Option<u64>, SourceError> {
            Ok(None)
        }

        fn tells_sizes_cheaply(&self) -> bool {
            true
        }
    }
}
