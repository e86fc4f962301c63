//! Reading packages: identity and digests of each, by several threads, without keeping headers.

use super::Watch;
use super::error::{BadPackage, PackageError};
use super::scan::{Found, Look};
use super::state::{Known, KnownFiles};
use crate::repocheck::{Algorithm, Tap, drain};
use crate::repodata::{ChecksumType, Entry, PackageSource, SourceError, check_package};
use repo_model::FileDigest;
use repo_model::rpm::{Head, HeadLimits, Package, tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What reading gave, in the order of the files.
pub(super) struct Outcome {
    pub files: Vec<Known>,
    pub bad: Vec<BadPackage>,
    /// Paths that were really read, the others were known.
    pub read: Vec<String>,
}

/// The file's number, whether it was read, and what came of it.
type Done = (usize, bool, Result<Known, PackageError>);

/// Reads the packages that are not known already.
pub(super) fn read_all(
    root: &Path,
    found: &[Found],
    known: &KnownFiles,
    checksum: ChecksumType,
    workers: NonZeroUsize,
    watch: &dyn Watch,
) -> Outcome {
    watch.packages(found.len() as u64);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Done>> = Mutex::new(Vec::with_capacity(found.len()));
    std::thread::scope(|scope| {
        for _ in 0..workers.get().min(found.len()) {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = found.get(number) else { break };
                    let (is_read, outcome) = match known.find(file) {
                        Some(known) => (false, Ok(known)),
                        None => (true, read_package(root, file, checksum)),
                    };
                    mine.push((number, is_read, outcome));
                    watch.package_done();
                }
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .append(&mut mine);
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _, _)| *number);
    let mut outcome = Outcome {
        files: Vec::with_capacity(done.len()),
        bad: Vec::new(),
        read: Vec::new(),
    };
    for (number, is_read, result) in done {
        let path = &found[number].relative;
        if is_read {
            outcome.read.push(path.clone());
        }
        match result {
            Ok(known) => outcome.files.push(known),
            Err(error) => outcome.bad.push(BadPackage {
                path: path.clone(),
                error,
            }),
        }
    }
    outcome
}

/// Hashes a whole package and reads its head on the way.
fn read_package(root: &Path, found: &Found, checksum: ChecksumType) -> Result<Known, PackageError> {
    let path = root.join(&found.relative);
    let file = File::open(&path).map_err(PackageError::Read)?;
    let longer = match checksum {
        ChecksumType::Sha256 => None,
        ChecksumType::Sha512 => Some(Algorithm::Sha512),
    };
    let (tap, longer) = Tap::new(file, longer, u64::MAX);
    let (tap, meter) = Tap::new(tap, Some(Algorithm::Sha256), u64::MAX);
    let mut reader = BufReader::with_capacity(128 << 10, tap);
    let head = Head::read(&mut reader, &HeadLimits::default())?;
    let package = Package::from_head(&head)?;
    check_package(&package)?;
    drain(&mut reader).map_err(PackageError::Read)?;
    let have_bytes = meter.size_bytes();
    if let Some(want_bytes) = announced_size(&head).filter(|want| have_bytes < *want) {
        return Err(PackageError::Truncated {
            want_bytes,
            have_bytes,
        });
    }
    let look = Look::at(&path).map_err(PackageError::Read)?;
    if look != found.look || have_bytes != look.size_bytes {
        return Err(PackageError::Changed);
    }
    let digest = meter.take_hex().unwrap_or_default();
    let file_digest = digest.parse().map_err(|_| PackageError::Changed)?;
    Ok(Known {
        path: found.relative.clone(),
        look,
        file_digest,
        sha512: longer.take_hex(),
        header_digest: head.header_digest(),
        nevra: package.nevra,
        built_at: package.build_time.unix_secs(),
    })
}

/// Bytes of the whole file by the signature header: main header and payload after it.
fn announced_size(head: &Head) -> Option<u64> {
    let size = [tag::SIG_LONGSIZE, tag::SIG_SIZE]
        .into_iter()
        .find_map(|tag| head.signature().u64s(tag).first().copied())?;
    head.header_range().start.checked_add(size)
}

/// Headers read again from the package files while metadata is rendered.
pub(super) struct Headers<'a> {
    root: &'a Path,
    by_digest: HashMap<FileDigest, &'a Known>,
}

impl<'a> Headers<'a> {
    pub fn new(root: &'a Path, files: impl Iterator<Item = &'a Known>) -> Self {
        Self {
            root,
            by_digest: files.map(|file| (file.file_digest, file)).collect(),
        }
    }
}

impl PackageSource for Headers<'_> {
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
        let known = self
            .by_digest
            .get(&entry.file_digest)
            .ok_or("it is not among the packages that were read")?;
        let in_file = |error: PackageError| format!("{}: {error}", known.path);
        let file = File::open(self.root.join(&known.path))
            .map_err(|error| in_file(PackageError::Read(error)))?;
        let head = Head::read(BufReader::new(file), &HeadLimits::default())
            .map_err(|error| in_file(error.into()))?;
        if head.header_digest() != known.header_digest {
            return Err(in_file(PackageError::Changed).into());
        }
        let package = Package::from_head(&head).map_err(|error| in_file(error.into()))?;
        Ok(Cow::Owned(package))
    }
}
