//! One package of a repository as the publisher lists it, and where its header is read from.

use super::checksum::{ChecksumType, Sha512Digest};
use super::error::SourceError;
use mirrors::reading::Href;
use repo_model::rpm::Package;
use repo_model::{FileDigest, Nevra, Timestamp};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

/// One package of a repository: all that must be in memory while nothing about it changes.
///
/// The header itself is loaded through [`PackageSource`], and only for groups that are not cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Identity; must equal the loaded package's. Shared, since whoever lists packages knows it too.
    pub nevra: Arc<Nevra>,
    /// SHA-256 of the file as served (after signing): the `pkgid`, unless the options want SHA-512.
    pub file_digest: FileDigest,
    /// SHA-512 of the same bytes: the `pkgid` when the options say so, else not needed.
    pub sha512: Option<Box<Sha512Digest>>,
    /// Bytes of the file as served.
    pub file_size_bytes: u64,
    /// Where the file is, relative to the repository's root.
    pub href: Href,
    /// When a release first held this file; written as `<time file=>` and never re-stamped.
    pub added_at: Timestamp,
}

impl Entry {
    /// The `pkgid` in lowercase hex digits; SHA-256 too when a SHA-512 that is wanted is missing,
    /// which [`build`](super::build) refuses.
    pub(super) fn pkgid(&self, checksum: ChecksumType) -> String {
        match (checksum, &self.sha512) {
            (ChecksumType::Sha512, Some(sha512)) => sha512.to_hex(),
            (ChecksumType::Sha256 | ChecksumType::Sha512, _) => self.file_digest.to_hex(),
        }
    }

    /// The order of packages in a repository: name (bytewise), EVR as rpm orders it, arch, digest.
    pub fn order(&self, other: &Self) -> Ordering {
        self.nevra
            .cmp(&other.nevra)
            .then_with(|| self.file_digest.cmp(&other.file_digest))
    }
}

/// Sorts as [`build`](super::build) wants it: name, EVR, arch, file digest.
pub fn sort(entries: &mut [Entry]) {
    // In one pass where it is sorted already, or is two sorted runs.
    entries.sort_by(Entry::order);
}

/// Where the headers of packages come from: the served file's first kilobytes, or a test's map.
///
/// Called from several threads, and only for packages of groups that are not cached.
pub trait PackageSource: Sync {
    /// The header of the file that `entry` names.
    ///
    /// An error ends the build: a package is never left out silently.
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError>;
}

impl PackageSource for HashMap<FileDigest, Package> {
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
        self.get(&entry.file_digest)
            .map(Cow::Borrowed)
            .ok_or_else(|| format!("no package with file digest {}", entry.file_digest).into())
    }
}
