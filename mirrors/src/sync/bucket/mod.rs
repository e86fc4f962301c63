//! A copy in a bucket (`s3://…`), to be served from there.
//!
//! A bucket has no links, no directories and no step that changes two names at once, but it has conditions: a new name
//! is put only where nothing is, and a name that moves only while it is what it was when the sync looked, so of two
//! syncs one gives way. The order is that of every copy: content first, names last, `repomd.xml` the very last.
//!
//! ```text
//! s3://B/P/repodata/…, s3://B/P/Packages/…    what is served
//! s3://B/P/.hallmark/state                    what the copy is (see `state`); with it, nothing new is known by one
//!                                             request to upstream
//! s3://B/P/.hallmark/upstream/                upstream's repomd.xml and its signature, as they came
//! ```
//!
//! The request's `directory` is where files lie on their way, a few at a time; a sync that was cut off goes on with
//! what is there, and with what objects say of themselves (`Marks`).

mod switch;

use super::claim::{Claim, Sum};
use super::destination::{Destination, Made, Rows};
use super::plan::{Item, Kind};
use super::proofs::{beside, package_of};
use super::round::Job;
use super::site::{Found, Site, remove_tree};
use super::state::{Look, Proof, Row, State, of_another_kind};
use super::store::{make_parent, remove_if_there};
use super::{OWN_DIRECTORY, SyncError};
use crate::bucket::{Bucket, BucketError, Listed, Marks, When};
use crate::reading::REPOMD;
use repo_model::FileDigest;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// Files that the sync remembers, below the copy.
const STATE: &str = ".hallmark/state";
const KEPT: [&str; 2] = [
    ".hallmark/upstream/repomd.xml",
    ".hallmark/upstream/repomd.xml.asc",
];
/// Largest state that is read, bytes: some millions of files.
const STATE_MAX_BYTES: u64 = 1 << 30;

/// A place in a bucket, as it was when the round began.
pub(super) struct InBucket<'a> {
    bucket: &'a Bucket,
    /// What was there, by path; but for proofs that were there as the state tells.
    there: HashMap<Box<str>, Listed>,
}

/// What is known of a copy in a bucket, for a dry run: its state, and what was kept of upstream's pointer.
pub(super) fn recalled(
    bucket: &Bucket,
    own: &Path,
) -> Result<(State, HashMap<Box<str>, Listed>), SyncError> {
    let mut there = bucket.list()?;
    bring(bucket, &there, own)?;
    there.retain(|path, _| package_of(path).is_none());
    there.shrink_to_fit();
    let path = own.join("state");
    let state = State::load_copy(&path).map_err(SyncError::local(path))?;
    Ok((state, there))
}

/// Brings what the bucket remembers of the copy to a directory of ours.
fn bring(bucket: &Bucket, there: &HashMap<Box<str>, Listed>, own: &Path) -> Result<(), SyncError> {
    for path in [STATE, KEPT[0], KEPT[1]] {
        let name = path.strip_prefix(OWN_DIRECTORY).unwrap_or(path);
        let target = own.join(name.trim_start_matches('/'));
        let fail = || SyncError::local(target.clone());
        make_parent(&target).map_err(fail())?;
        if !there.contains_key(path) {
            remove_if_there(&target).map_err(fail())?;
            continue;
        }
        let (reader, _) = bucket.open_file(path)?;
        let mut file = fs::File::create(&target).map_err(fail())?;
        let copied = io::copy(&mut reader.take(STATE_MAX_BYTES), &mut file);
        copied.map_err(|error| whose(error, target.clone()))?;
    }
    Ok(())
}

/// A failure between the bucket, which is read, and a file of this machine, which is written.
fn whose(error: io::Error, file: PathBuf) -> SyncError {
    match error.downcast::<BucketError>() {
        Ok(error) => SyncError::Bucket(error),
        Err(error) => SyncError::local(file)(error),
    }
}

impl<'a> InBucket<'a> {
    /// Nothing is known of it before it is recalled.
    pub fn new(bucket: &'a Bucket) -> Self {
        Self {
            bucket,
            there: HashMap::new(),
        }
    }
}

impl Destination for InBucket<'_> {
    /// Goes on from what the bucket remembers, whatever this machine does.
    fn recall(&mut self, site: &mut Site) -> Result<(), SyncError> {
        self.there = self.bucket.list()?;
        bring(self.bucket, &self.there, &site.own)?;
        let path = site.own.join("state");
        site.state = State::load_copy(&path).map_err(SyncError::local(path))?;
        settle_proofs(&mut self.there, &mut site.state);
        Ok(())
    }

    /// Nobody else may have made another copy of it meanwhile.
    fn look_anew(&mut self, site: &mut Site) -> Result<(), SyncError> {
        let mut there = self.bucket.list()?;
        for path in [STATE, REPOMD] {
            if there.get(path) != self.there.get(path) {
                return Err(self.bucket.changed(path).into());
            }
        }
        settle_proofs(&mut there, &mut site.state);
        self.there = there;
        Ok(())
    }

    fn has_pointer(&self, site: &Site) -> bool {
        site.state.files.contains_key(REPOMD)
    }

    fn is_untouched(&self, _: &Site, path: &str, look: Look<'_>) -> bool {
        match self.there.get(path) {
            Some(listed) => listed.is_that_of(look),
            // The state would not tell of it, were it not there.
            None => package_of(path).is_some(),
        }
    }

    /// Metadata is looked for on this machine alone: it is read here.
    fn look(&self, site: &Site, item: &Item) -> Result<Found, SyncError> {
        if item.kind == Kind::Metadata {
            return site
                .look(item)
                .map_err(SyncError::local(site.place(&item.path)));
        }
        let fits = |listed: &&Listed| {
            let fits = |size| size == listed.size_bytes;
            item.size_bytes.is_none_or(fits)
        };
        let Some(listed) = self.there.get(&item.path).filter(fits) else {
            return left_here(site, item);
        };
        let row = site.state.files.get(&item.path);
        let row = row.filter(|row| row.fulfils(&item.claim) && listed.is_that_of(row.look()));
        if let Some(row) = row {
            return Ok(Found::Had(Row {
                dropped_at: None,
                ..row.clone()
            }));
        }
        match self.adopt(item, listed)? {
            Some(row) => Ok(Found::Adopted(row)),
            None => left_here(site, item),
        }
    }

    fn open(&self, _: &Site, path: &str) -> Result<Option<Box<dyn Read + '_>>, SyncError> {
        let (reader, _) = self.bucket.open_file(path)?;
        Ok(Some(Box::new(reader)))
    }

    /// Files are on this machine a few at a time.
    fn check_room(&self, _: &Site, _: u64) -> Result<(), SyncError> {
        Ok(())
    }

    fn place_now(&self, site: &Site, item: &Item, row: &mut Row) -> Result<bool, SyncError> {
        if item.kind == Kind::Metadata {
            return Ok(false);
        }
        if self.there.contains_key(&item.path) {
            return Ok(true);
        }
        let object = site.store.object(row.sha256);
        // Should nothing ever name it there, it is found again by this.
        site.journal
            .place(row.sha256, &item.path)
            .map_err(SyncError::local(site.own.join("journal")))?;
        let marks = marks(row, &item.claim);
        row.etag = self
            .put_marked(&item.path, &object, &marks, &When::Absent)?
            .etag;
        if !site.store.is_shared() {
            remove_if_there(&object).map_err(SyncError::local(object))?;
        }
        Ok(false)
    }

    fn switch(&self, job: &Job<'_>, site: &Site, made: &Made<'_>) -> Result<Rows, SyncError> {
        self.put_all(job, site, made)
    }

    fn read_small(
        &self,
        _: &Site,
        path: &str,
        limit_bytes: u64,
    ) -> Result<Option<Vec<u8>>, SyncError> {
        match self.there.contains_key(path) {
            true => Ok(self.bucket.read_small(path, limit_bytes)?),
            false => Ok(None),
        }
    }

    fn modified(&self, _: &Site, path: &str) -> Result<Option<SystemTime>, SyncError> {
        match self.there.contains_key(path) {
            true => Ok(Some(self.bucket.modified(path)?)),
            false => Ok(None),
        }
    }

    fn put_small(&self, _: &Site, path: &str, bytes: &[u8]) -> Result<Proof, SyncError> {
        let put = self.bucket.put(path, bytes.to_vec(), None, &When::Always);
        Ok(put?.proof())
    }

    fn put_spooled(&self, _: &Site, path: &str, spool: NamedTempFile) -> Result<Proof, SyncError> {
        let put = self
            .bucket
            .put_file(path, spool.path(), None, &When::Always);
        Ok(put?.proof())
    }

    /// What a bucket has taken it has.
    fn settle(&self, _: &Site) -> Result<(), SyncError> {
        Ok(())
    }

    fn stray(&self, _: &Site, path: &str, digest: FileDigest) -> Result<Option<Row>, SyncError> {
        let (listed, found) = match self.bucket.marks(path) {
            Err(BucketError::Missing { .. }) => return Ok(None),
            found => found?,
        };
        // Somebody may have put a file of his own there since.
        let found = found.filter(|found| found.sha256 == digest);
        Ok(found.map(|found| listed.row(digest, &found.claim)))
    }

    fn remove(&mut self, _: &Site, path: &str, look: Look<'_>) -> Result<bool, SyncError> {
        let is_ours = match self.there.get(path) {
            Some(listed) => listed.is_that_of(look),
            // It was put by this sync.
            None => true,
        };
        if is_ours {
            self.bucket.delete(path)?;
            self.there.remove(path);
        }
        Ok(is_ours)
    }

    /// Writes the state, while it is the one that was read.
    fn save(&mut self, site: &Site) -> Result<(), SyncError> {
        let path = site.own.join("state");
        site.state
            .save(&path)
            .map_err(SyncError::local(path.clone()))?;
        // In one request, however large: files that come in parts have no conditions.
        let bytes = fs::read(&path).map_err(SyncError::local(path))?;
        let listed = self.bucket.put(STATE, bytes, None, &self.when(STATE))?;
        self.there.insert(STATE.into(), listed);
        Ok(())
    }

    fn tidy(&self, site: &Site, _: u64) -> Result<(), SyncError> {
        let path = site.own.join("work");
        remove_tree(&path).map_err(SyncError::local(path))?;
        let swept = site.store.sweep();
        swept.map_err(SyncError::local(site.own.join("store")))?;
        Ok(())
    }
}

impl InBucket<'_> {
    /// While a name is what it was when the round began.
    fn when(&self, path: &str) -> When {
        match self.there.get(path) {
            Some(listed) => When::Still(listed.clone()),
            None => When::Absent,
        }
    }

    /// Puts a file that says what it is. One that is there already and says the same is as good: an earlier try of this
    /// very request may have come through, or another sync was faster.
    fn put_marked(
        &self,
        path: &str,
        source: &Path,
        marks: &Marks,
        when: &When,
    ) -> Result<Listed, SyncError> {
        match self.bucket.put_file(path, source, Some(marks), when) {
            Err(BucketError::Changed { url }) => match self.bucket.marks(path)? {
                (listed, Some(found)) if found == *marks => Ok(listed),
                _ => Err(BucketError::Changed { url }.into()),
            },
            put => Ok(put?),
        }
    }

    /// An object that no state tells of: one of ours says itself what it is, another one is read.
    fn adopt(&self, item: &Item, listed: &Listed) -> Result<Option<Row>, SyncError> {
        let (now, marks) = self.bucket.marks(&item.path)?;
        if now != *listed {
            return Ok(None);
        }
        let sha256 = match marks {
            Some(marks) => (marks.claim == item.claim).then_some(marks.sha256),
            None => self.read_through(item)?,
        };
        Ok(sha256.map(|sha256| listed.row(sha256, &item.claim)))
    }

    /// Reads an object to its end; its SHA-256 when it is what is claimed.
    fn read_through(&self, item: &Item) -> Result<Option<FileDigest>, SyncError> {
        let (mut reader, _) = self.bucket.open_file(&item.path)?;
        let mut sum = Sum::new(&item.claim);
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(sum.finish(&item.claim).ok()),
                Ok(count) => sum.update(&buffer[..count]),
                Err(error) => return Err(BucketError::from(error).into()),
            }
        }
    }
}

/// Proofs that are there as the state tells need not be remembered twice: there are several of each package. The others
/// the state forgets, and they are due.
fn settle_proofs(there: &mut HashMap<Box<str>, Listed>, state: &mut State) {
    let mut is_due = false;
    state.proofs.retain(|package, proofs| {
        for (number, slot) in proofs.iter_mut().enumerate() {
            let path = beside(package, number);
            let listed = there.get(&path);
            let look = slot.as_ref().map(Proof::look);
            if listed
                .zip(look)
                .is_some_and(|(listed, look)| listed.is_that_of(look))
            {
                there.remove(&path);
            } else {
                is_due |= slot.take().is_some();
            }
        }
        proofs.iter().any(Option::is_some)
    });
    state.head.proofs_due |= is_due;
    there.shrink_to_fit();
}

/// What a sync that was cut off has left of a package on this machine.
fn left_here(site: &Site, item: &Item) -> Result<Found, SyncError> {
    let Some(digest) = item.claim.sha256() else {
        return Ok(Found::Nothing);
    };
    let object = site.store.object(digest);
    let is_whole = site
        .store
        .recheck(digest)
        .map_err(SyncError::local(object))?;
    let data = site.store.look(digest, item.size_bytes);
    let data = data.filter(|_| is_whole);
    Ok(data.map_or(Found::Nothing, |data| {
        Found::Object(Row::of(&data, digest, &item.claim))
    }))
}

impl Listed {
    pub(in crate::sync) fn is_that_of(&self, look: Look<'_>) -> bool {
        self.size_bytes == look.size_bytes
            && self.etag.is_some()
            && self.etag.as_deref() == look.etag
    }

    fn proof(self) -> Proof {
        Proof {
            size_bytes: self.size_bytes,
            modified_ns: 0,
            etag: self.etag,
        }
    }

    fn row(&self, sha256: FileDigest, claim: &Claim) -> Row {
        Row {
            size_bytes: self.size_bytes,
            sha256,
            claim: of_another_kind(claim),
            modified_ns: 0,
            etag: self.etag.clone(),
            dropped_at: None,
        }
    }
}

fn marks(row: &Row, claim: &Claim) -> Marks {
    Marks {
        claim: claim.clone(),
        sha256: row.sha256,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Proofs;
    use super::*;

    #[test]
    fn proofs_are_known_by_the_state_alone_and_those_that_changed_are_due() {
        let listed = |etag: &str| Listed {
            size_bytes: 1,
            etag: Some(etag.into()),
        };
        let mut state = State::default();
        let mut came = Proofs::default();
        for slot in came.iter_mut().take(3) {
            *slot = Some(listed("a").proof());
        }
        state.add_proofs("P/a.rpm", came.clone());
        state.add_proofs("P/gone.rpm", came);
        let paths = [0, 1].map(|number| beside("P/a.rpm", number));
        let mut there = HashMap::from([
            (paths[0].clone(), listed("a")),
            (paths[1].clone(), listed("b")),
            ("P/a.rpm".into(), listed("a")),
        ]);
        settle_proofs(&mut there, &mut state);
        let left = there.len();
        assert!(left == 2 && there.contains_key("P/a.rpm") && there.contains_key(&paths[1]));
        let known = state.proofs["P/a.rpm"].each_ref().map(Option::is_some);
        assert_eq!(known, [true, false, false, false, false]);
        assert!(state.head.proofs_due && state.proofs.len() == 1);

        state.head.proofs_due = false;
        settle_proofs(
            &mut HashMap::from([(paths[0].clone(), listed("a"))]),
            &mut state,
        );
        assert!(!state.head.proofs_due, "all are as the state tells");
    }

    #[test]
    fn what_the_bucket_did_is_not_put_down_to_a_file_here() {
        let url = "s3://b/x".to_owned();
        let theirs = io::Error::other(BucketError::Changed { url });
        assert!(matches!(
            whose(theirs, PathBuf::from("f")),
            SyncError::Bucket(BucketError::Changed { .. })
        ));
        let ours = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(
            whose(ours, PathBuf::from("f")),
            SyncError::Local { .. }
        ));
    }
}
