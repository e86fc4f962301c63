//! What a sync is asked to do, who judges signatures for it, and what it tells on the way.

use super::filter::Filters;
use crate::http::{BadUrlError, Client, without_password};
use repo_model::Timestamp;
use repo_model::rpm::Head;
use std::collections::HashSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of somebody who works for the sync.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// One place that has the repository.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// As messages and reports name it, and as the state keeps validators by: without password.
    pub(super) label: String,
    pub(super) place: Place,
}

/// How an upstream is read.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Http(Client),
    Directory(PathBuf),
}

impl Upstream {
    /// * `url`: `http://`, `https://` or `file:///`, the directory that holds `repodata`.
    /// * `stall`: longest wait for a server that says nothing.
    pub fn new(url: &str, stall: Duration) -> Result<Self, BadUrlError> {
        let place = match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Place::Directory(PathBuf::from(path)),
            _ => Place::Http(Client::new(url, stall)?),
        };
        Ok(Self {
            label: without_password(url.trim_end_matches('/')),
            place,
        })
    }

    /// Its URL, without password.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// What becomes of the metadata where filters leave packages out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilteredMetadata {
    /// It is written anew for the packages that are here, and so is not signed by upstream.
    Rewrite,
    /// It stays upstream's, byte by byte, and names packages that are not here.
    Keep,
}

/// What to copy, where to, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Places that have the repository, the preferred one first; at least one.
    pub upstreams: Vec<Upstream>,
    /// The copy: gets `repodata`, the packages, and `.hallmark` for what the sync remembers.
    pub directory: PathBuf,
    /// Files by digest, to share between copies on one file system; else inside `.hallmark`.
    pub store: Option<PathBuf>,
    /// Which packages.
    pub filters: Filters,
    /// What to do with the metadata when filters leave packages out.
    pub filtered_metadata: FilteredMetadata,
    /// Files fetched at the same time.
    pub workers: NonZeroUsize,
    /// Bytes a second, all workers together; none: as fast as it goes.
    pub bytes_per_sec: Option<u64>,
    /// When to give an upstream up.
    pub patience: Patience,
    /// Packages that upstream has dropped are removed this long after; none: never.
    pub delete_after: Option<Duration>,
    /// Take metadata that is older than what is here, as after a rollback.
    pub allow_older: bool,
    /// Go on when no upstream has a package that its metadata lists.
    pub skip_missing: bool,
    /// Largest file whose size no metadata tells, bytes.
    pub unclaimed_max_bytes: u64,
    /// Now.
    pub now: Timestamp,
}

/// When an upstream is given up for a file. What it has sent by then is kept for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Slower than this, bytes a second over `slow_window`, is too slow.
    pub slowest_bytes_per_sec: u64,
    /// Over how long that is measured; only the time spent waiting for the server counts.
    pub slow_window: Duration,
    /// Attempts for one file at one upstream, where trying again may help.
    pub attempts: u32,
    /// Wait before the second attempt; twice that before the third, and so on.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            slowest_bytes_per_sec: 1 << 10,
            slow_window: Duration::from_secs(30),
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// Judges signatures.
pub trait Signatures: Sync {
    /// Names the keys: what was verified with others is verified again.
    fn id(&self) -> &str;

    /// Whether one of the keys signed this `repomd.xml`.
    fn repomd(&self, text: &[u8], signature: &[u8]) -> Result<(), BoxError>;

    /// Whether this key file, armoured or binary, holds nothing but keys of these.
    fn is_pinned(&self, key: &[u8]) -> bool;

    /// Whether the keys signed a package.
    fn package(&self, head: &Head) -> Result<(), BoxError>;
}

/// Which signatures are asked for.
#[derive(Clone, Copy)]
pub enum Verify<'a> {
    /// None: whoever answers at the URL is believed.
    Nothing,
    /// That of `repomd.xml`, which holds the digests of all else.
    Repomd(&'a dyn Signatures),
    /// And those of the packages.
    RepomdAndPackages(&'a dyn Signatures),
}

impl<'a> Verify<'a> {
    pub(crate) fn repomd(self) -> Option<&'a dyn Signatures> {
        match self {
            Self::Nothing => None,
            Self::Repomd(signatures) | Self::RepomdAndPackages(signatures) => Some(signatures),
        }
    }

    pub(crate) fn packages(self) -> Option<&'a dyn Signatures> {
        match self {
            Self::Nothing | Self::Repomd(_) => None,
            Self::RepomdAndPackages(signatures) => Some(signatures),
        }
    }
}

/// Writes metadata anew for some of a repository's packages.
pub trait Rewrite: Sync {
    /// * `upstream`: a directory that holds all of `repodata`, verified, and no packages.
    /// * `into`: an empty directory that gets a new `repodata`.
    /// * `kept`: digits of the checksums of the packages to list.
    fn rewrite(&self, upstream: &Path, into: &Path, kept: &HashSet<String>)
    -> Result<(), BoxError>;
}

/// What was done about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It was here already.
    Had,
    /// It was here from another time or another copy, by the same digest.
    Linked,
    /// A file of somebody else's making was at its place and is the right one.
    Adopted,
    /// It was fetched.
    Fetched,
    /// It would be fetched: this is a dry run.
    WouldFetch,
    /// It could not be had.
    Failed,
    /// Its metadata says that it is on another site; it is not copied.
    Elsewhere,
    /// Upstream has dropped it, and it was removed.
    Deleted,
}

/// What was done about one file, for a report.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FileReport<'a> {
    /// Below the copy's directory.
    pub path: &'a str,
    /// What was done.
    pub action: Action,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// SHA-256 in lowercase hex, whatever upstream uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Bytes of it that came over the network now; the rest was there from an earlier run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_bytes: Option<u64>,
    /// What went wrong at which upstream, also when another one helped.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub problems: &'a [String],
}

/// Told how a sync gets on; from several threads.
pub trait Watch: Sync {
    /// A new step begins.
    fn step(&self, _what: &str) {}
    /// So many bytes will be fetched.
    fn expect(&self, _bytes: u64) {}
    /// Bytes have come.
    fn came(&self, _bytes: u64) {}
    /// Bytes that have come are of no use.
    fn take_back(&self, _bytes: u64) {}
    /// Something a person should know.
    fn note(&self, _text: &str) {}
    /// A file is done with.
    fn file(&self, _file: &FileReport<'_>) {}
}

/// Not interested.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
