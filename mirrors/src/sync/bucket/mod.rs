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

mod finish;

use super::claim::{Claim, Sum};
use super::fetch::{Fetcher, check_signature};
use super::peer::Peer;
use super::plan::{self, Item, Packages};
use super::pointer::{self, Pointer, Said};
use super::request::{Action, Request, Rewrite, Verify, Watch};
use super::round::{Ended, Got, Job, Tally, all_here, is_rewritten};
use super::site::{Found, Known, Site};
use super::state::{Row, State};
use super::workers::each;
use super::{OWN_DIRECTORY, ROUNDS_MAX, Summary, SyncError};
use crate::bucket::{Bucket, BucketError, Listed, Marks, When};
use crate::reading::REPOMD;
use repo_model::FileDigest;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Files that the sync remembers, below the copy.
const STATE: &str = ".hallmark/state";
const KEPT: [&str; 2] = [
    ".hallmark/upstream/repomd.xml",
    ".hallmark/upstream/repomd.xml.asc",
];
/// Largest state that is read, bytes: some millions of files.
const STATE_MAX_BYTES: u64 = 1 << 30;

/// A copy in a bucket under way.
struct Copy<'a> {
    job: Job<'a>,
    bucket: &'a Bucket,
    /// What was there when the round began, by path.
    there: HashMap<Box<str>, Listed>,
}

/// Brings a copy in a bucket up to date.
///
/// * `request`: its directory is where files lie on their way.
/// * `rewrite`: writes metadata for a part of the packages; needed where filters are active and the request wants it so.
///
/// An error leaves what was served before in its place.
pub fn sync_to_bucket(
    request: &Request,
    bucket: &Bucket,
    verify: Verify<'_>,
    rewrite: Option<&dyn Rewrite>,
    watch: &dyn Watch,
) -> Result<Summary, SyncError> {
    let mut site = Site::open(request)?;
    let peers = Peer::all(request);
    let job = Job {
        request,
        peers: &peers,
        verify,
        rewrite,
        watch,
    };
    watch.step("looking at the bucket");
    let mut copy = Copy {
        job,
        bucket,
        there: bucket.list()?,
    };
    copy.recall(&mut site)?;
    watch.step("asking upstream");
    let Known {
        pointer: known,
        newest,
    } = site.known(verify);
    let said = pointer::ask(request, &peers, verify, known.as_ref(), newest, watch)?;
    let mut pointer = match (said, known) {
        (Said::New(pointer), _) => *pointer,
        (Said::Same, Some(known)) => {
            if copy.is_whole(&site) {
                return copy.unchanged(site, &known);
            }
            known
        }
        // Nothing was known, so nothing can be the same.
        (Said::Same, None) => {
            return Err(SyncError::NoMetadata {
                problems: Vec::new(),
            });
        }
    };
    for _ in 0..ROUNDS_MAX {
        match copy.round(&mut site, pointer)? {
            Ended::Done(summary) => {
                copy.tidy(site)?;
                return Ok(*summary);
            }
            Ended::Republished(newer) => {
                watch.note("upstream has published anew; going on with what it has now");
                copy.list_anew()?;
                pointer = *newer;
            }
        }
    }
    Err(SyncError::Restless)
}

/// What is known of a copy in a bucket, for a dry run: its state, and what was kept of upstream's pointer.
pub(super) fn recalled(
    bucket: &Bucket,
    own: &Path,
) -> Result<(State, HashMap<Box<str>, Listed>), SyncError> {
    let there = bucket.list()?;
    bring(bucket, &there, own)?;
    let path = own.join("state");
    let state = State::load(&path).map_err(SyncError::local(path))?;
    Ok((state, there))
}

/// Brings what the bucket remembers of the copy to a directory of ours.
fn bring(bucket: &Bucket, there: &HashMap<Box<str>, Listed>, own: &Path) -> Result<(), SyncError> {
    for path in [STATE, KEPT[0], KEPT[1]] {
        let name = path.strip_prefix(OWN_DIRECTORY).unwrap_or(path);
        let target = own.join(name.trim_start_matches('/'));
        let fail = || SyncError::local(target.clone());
        super::store::make_parent(&target).map_err(fail())?;
        if !there.contains_key(path) {
            super::store::remove_if_there(&target).map_err(fail())?;
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

impl Copy<'_> {
    /// Goes on from what the bucket remembers, whatever this machine does.
    fn recall(&self, site: &mut Site) -> Result<(), SyncError> {
        bring(self.bucket, &self.there, &site.own)?;
        let path = site.own.join("state");
        site.state = State::load(&path).map_err(SyncError::local(path))?;
        Ok(())
    }

    /// Looks at the bucket again, for one round more: what the last one has put there is there now. Nobody else may
    /// have made another copy of it meanwhile.
    fn list_anew(&mut self) -> Result<(), SyncError> {
        let there = self.bucket.list()?;
        for path in [STATE, REPOMD] {
            if there.get(path) != self.there.get(path) {
                return Err(self.bucket.changed(path).into());
            }
        }
        self.there = there;
        Ok(())
    }

    /// Whether an object is the one that the state tells of.
    fn is_untouched(&self, path: &str, row: &Row) -> bool {
        self.there
            .get(path)
            .is_some_and(|listed| listed.is_that_of(row))
    }

    fn is_whole(&self, site: &Site) -> bool {
        let head = &site.state.head;
        let packages = self.job.verify.packages();
        let verified =
            packages.is_none_or(|signatures| head.verified_by.as_deref() == Some(signatures.id()));
        let mut served = site.state.files.iter();
        verified
            && !head.incomplete
            && head.scope == self.job.scope()
            && site.state.files.contains_key(REPOMD)
            && served.all(|(path, row)| row.dropped_at.is_some() || self.is_untouched(path, row))
    }

    /// Runs one round.
    fn round(&self, site: &mut Site, pointer: Pointer) -> Result<Ended, SyncError> {
        let (job, watch) = (&self.job, self.job.watch);
        let mut summary = Summary::of(&pointer);
        watch.step("metadata");
        let wanted = |kind: &str| !job.rewrites() || is_rewritten(kind);
        let metadata = plan::metadata(&pointer.repomd, wanted)?;
        let got = job.get(site, &metadata, &mut summary)?;
        let Some(rows) = all_here(&got) else {
            return job.lost(&pointer, &metadata, &got);
        };
        watch.step("packages");
        let packages = job.packages(site, &pointer, &metadata, &rows)?;
        job.tell_of(&packages, &mut summary);
        let got_packages = self.get(site, &packages.items, &mut summary)?;
        if let Some(ended) = self.what_lacks(&pointer, &packages, &got_packages, &mut summary)? {
            return Ok(ended);
        }
        watch.step("switch");
        let metadata: Vec<(&Item, &Got)> = metadata.iter().zip(&got).collect();
        let rows = self.switch(site, &pointer, &metadata, &packages, &got_packages)?;
        self.remember(site, &pointer, rows, &mut summary)?;
        Ok(Ended::Done(Box::new(summary)))
    }

    /// How the round ends when packages cannot be had; none: it goes on.
    fn what_lacks(
        &self,
        pointer: &Pointer,
        packages: &Packages,
        got: &[Got],
        summary: &mut Summary,
    ) -> Result<Option<Ended>, SyncError> {
        let missing = got.iter().any(|got| matches!(got, Got::Missing { .. }));
        if !missing && packages.contested.is_empty() {
            return Ok(None);
        }
        let goes_on = self.job.request.skip_missing;
        match self.job.lost(pointer, &packages.items, got) {
            Err(SyncError::Files { .. }) if goes_on => {}
            Err(_) if !missing && goes_on => {}
            outcome => return outcome.map(Some),
        }
        summary.incomplete = true;
        Ok(None)
    }

    /// Looks for all packages, then fetches what is not there and puts it. What would replace a served file waits for
    /// the switch, on this machine.
    fn get(
        &self,
        site: &Site,
        items: &[Item],
        summary: &mut Summary,
    ) -> Result<Vec<Got>, SyncError> {
        let workers = self.job.request.workers;
        let found = each(workers, items.len(), |number, _| {
            self.look(site, &items[number])
        })?;
        let to_fetch = found.iter().zip(items);
        let to_fetch = to_fetch.filter(|(found, _)| **found == Found::Nothing);
        let bytes = to_fetch.map(|(_, item)| item.size_bytes.unwrap_or(0));
        self.job.watch.expect(bytes.fold(0, u64::saturating_add));
        let fetcher = self.job.fetcher(site);
        let tally = Tally::new(found.iter());
        let got = each(workers, items.len(), |number, buffer| {
            self.get_one(
                site,
                &fetcher,
                &items[number],
                &found[number],
                buffer,
                &tally,
            )
        })?;
        tally.add_to(summary);
        Ok(got)
    }

    /// Looks for a package in the bucket, and for what a sync that was cut off has left on this machine.
    fn look(&self, site: &Site, item: &Item) -> Result<Found, SyncError> {
        let Some(listed) = self.there.get(&item.path) else {
            return self.left_here(site, item);
        };
        let fits = |size| size == listed.size_bytes;
        if !item.size_bytes.is_none_or(fits) {
            return self.left_here(site, item);
        }
        let row = site.state.files.get(&item.path);
        let row = row.filter(|row| row.fulfils(&item.claim) && listed.is_that_of(row));
        let (found, is_known) = match row {
            Some(row) => {
                let served = row.dropped_at.is_none();
                let row = Row {
                    dropped_at: None,
                    ..row.clone()
                };
                (Found::Had(row), served)
            }
            None => match self.adopt(item, listed)? {
                Some(row) => (Found::Adopted(row), false),
                None => return self.left_here(site, item),
            },
        };
        match self.is_signed(site, item, is_known)? {
            true => Ok(found),
            false => Ok(Found::Nothing),
        }
    }

    fn left_here(&self, site: &Site, item: &Item) -> Result<Found, SyncError> {
        let Some(digest) = item.claim.sha256() else {
            return Ok(Found::Nothing);
        };
        let object = site.store.object(digest);
        let fail = SyncError::local(object.clone());
        if !site.store.recheck(digest).map_err(fail)? {
            return Ok(Found::Nothing);
        }
        let Some(data) = site.store.look(digest, item.size_bytes) else {
            return Ok(Found::Nothing);
        };
        let found = Found::Object(Row::of(&data, digest, &item.claim));
        let signed = self.job.verify.packages();
        let signed = signed.is_none_or(|keys| site.is_signed(item, &found, keys));
        Ok(if signed { found } else { Found::Nothing })
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

    /// Whether the keys signed a package of the bucket. `is_known`: whether it was there for the sync before.
    fn is_signed(&self, site: &Site, item: &Item, is_known: bool) -> Result<bool, SyncError> {
        let Some(signatures) = self.job.verify.packages() else {
            return Ok(true);
        };
        if is_known && site.state.head.verified_by.as_deref() == Some(signatures.id()) {
            return Ok(true);
        }
        let (reader, _) = self.bucket.open_file(&item.path)?;
        Ok(check_signature(reader, signatures).is_ok())
    }

    fn get_one(
        &self,
        site: &Site,
        fetcher: &Fetcher<'_>,
        item: &Item,
        found: &Found,
        buffer: &mut Vec<u8>,
        tally: &Tally,
    ) -> Result<Got, SyncError> {
        let here = |row: &Row, action, place_last| {
            self.job.report(&item.path, action, Some(row), &[]);
            let row = row.clone();
            Ok(Got::Here { row, place_last })
        };
        match found {
            Found::Had(row) => here(row, Action::Had, false),
            Found::Adopted(row) => here(row, Action::Adopted, false),
            Found::Object(row) => {
                let mut row = row.clone();
                let place_last = self.put_now(site, item, &mut row)?;
                here(&row, Action::Linked, place_last)
            }
            Found::Nothing => {
                let place = |row: &mut Row| self.put_now(site, item, row);
                self.job
                    .fetch_one(site, fetcher, item, buffer, tally, &place)
            }
        }
    }

    /// Puts a package from this machine unless another file is served in its place; whether that is left for the
    /// switch.
    fn put_now(&self, site: &Site, item: &Item, row: &mut Row) -> Result<bool, SyncError> {
        if self.there.contains_key(&item.path) {
            return Ok(true);
        }
        let object = site.store.object(row.sha256);
        // Should nothing ever name it there, it is found again by this.
        site.journal
            .place(row.sha256, &item.path)
            .map_err(SyncError::local(site.own.join("journal")))?;
        let marks = marks(row, &item.claim);
        let put = self
            .bucket
            .put_file(&item.path, &object, Some(&marks), &When::Absent);
        let listed = match put {
            // An earlier try of this very request may have come through, or another sync was faster.
            Err(BucketError::Changed { url }) => match self.bucket.marks(&item.path)? {
                (listed, Some(found)) if found == marks => listed,
                _ => return Err(BucketError::Changed { url }.into()),
            },
            put => put?,
        };
        row.etag = listed.etag;
        if self.job.request.store.is_none() {
            super::store::remove_if_there(&object).map_err(SyncError::local(object))?;
        }
        Ok(false)
    }
}

impl Listed {
    pub(in crate::sync) fn is_that_of(&self, row: &Row) -> bool {
        self.size_bytes == row.size_bytes && self.etag.is_some() && self.etag == row.etag
    }

    fn row(&self, sha256: FileDigest, claim: &Claim) -> Row {
        Row {
            size_bytes: self.size_bytes,
            sha256,
            claim: claim.sha256().is_none().then(|| claim.clone()),
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
    use super::*;

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
