//! Where a copy is made: a directory, or a bucket. The sync tells one story for both, in the order that every copy is
//! made in; what a place can do and how is told here.

use super::SyncError;
use super::plan::{Item, Packages};
use super::pointer::Pointer;
use super::round::{Got, Job};
use super::site::{Found, Site};
use super::state::{Look, Proof, Row};
use repo_model::FileDigest;
use std::io::Read;
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// Files of a copy, by their paths.
pub(super) type Rows = Vec<(Box<str>, Row)>;

/// What a round has got, before anybody sees it.
pub(super) struct Made<'a> {
    pub pointer: &'a Pointer,
    pub metadata: &'a [(&'a Item, &'a Got)],
    pub packages: &'a Packages,
    /// Of each package, in their order.
    pub got: &'a [Got],
}

/// Where a copy is. `site` is what this machine has of it: with a copy in a directory that is all of it.
pub(super) trait Destination: Sync {
    /// Brings what is remembered of the copy to this machine, before upstream is asked.
    fn recall(&mut self, site: &mut Site) -> Result<(), SyncError>;

    /// Looks at the place again before one round more: what the last round has put there is there now.
    fn look_anew(&mut self, site: &mut Site) -> Result<(), SyncError>;

    /// Whether a `repomd.xml` is served.
    fn has_pointer(&self, site: &Site) -> bool;

    /// Whether a file lies there as it did.
    fn is_untouched(&self, site: &Site, path: &str, look: Look<'_>) -> bool;

    /// Looks for a file.
    fn look(&self, site: &Site, item: &Item) -> Result<Found, SyncError>;

    /// Opens what is served; none: it cannot be read.
    fn open(&self, site: &Site, path: &str) -> Result<Option<Box<dyn Read + '_>>, SyncError>;

    /// Refuses to begin what cannot fit.
    fn check_room(&self, site: &Site, needed_bytes: u64) -> Result<(), SyncError>;

    /// Brings an object of the store to its place, unless something else is served there or it is metadata; whether that
    /// is left for the switch.
    fn place_now(&self, site: &Site, item: &Item, row: &mut Row) -> Result<bool, SyncError>;

    /// Makes the copy what was made of it; what it consists of then.
    fn switch(&self, job: &Job<'_>, site: &Site, made: &Made<'_>) -> Result<Rows, SyncError>;

    /// A small file that is served; none when there is none.
    fn read_small(
        &self,
        site: &Site,
        path: &str,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, SyncError>;

    /// When a file was put there; none when there is none.
    fn modified(&self, site: &Site, path: &str) -> Result<Option<SystemTime>, SyncError>;

    /// Puts a small file that no metadata names, whatever is there; durably.
    fn put_small(&self, site: &Site, path: &str, bytes: &[u8]) -> Result<Proof, SyncError>;

    /// The same with one of [`Site::spool`], which is not on the disk before the caller or [`Destination::settle`] has
    /// brought it there.
    fn put_spooled(
        &self,
        site: &Site,
        path: &str,
        spool: NamedTempFile,
    ) -> Result<Proof, SyncError>;

    /// Brings everything that was put to the disk.
    fn settle(&self, site: &Site) -> Result<(), SyncError>;

    /// What lies at a place, when it is this very file of ours.
    fn stray(&self, site: &Site, path: &str, digest: FileDigest) -> Result<Option<Row>, SyncError>;

    /// Removes a file unless somebody has touched it since: then it is not ours any more. Whether it did.
    fn remove(&mut self, site: &Site, path: &str, look: Look<'_>) -> Result<bool, SyncError>;

    /// Writes down what the copy is.
    fn save(&mut self, site: &Site) -> Result<(), SyncError>;

    /// Leaves nothing on this machine that the next sync does not need. `deleted`: files that were removed.
    fn tidy(&self, site: &Site, deleted: u64) -> Result<(), SyncError>;
}
