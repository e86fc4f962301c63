//! The end of a round towards a bucket: new metadata, then what replaces served files, then the pointers, then what
//! is written down; and what is removed.

use super::{Copy, KEPT, STATE, marks};
use crate::bucket::{BucketError, Listed, Marks, When};
use crate::reading::{REPOMD, SIGNATURE_MAX_BYTES};
use crate::sync::beside::Beside;
use crate::sync::claim::Claim;
use crate::sync::plan::{Item, Packages};
use crate::sync::pointer::Pointer;
use crate::sync::request::{Action, FileReport};
use crate::sync::round::Got;
use crate::sync::site::Site;
use crate::sync::state::Row;
use crate::sync::tree::{METADATA_GRACE, below_repodata, files_below, is_due};
use crate::sync::{Summary, SyncError, freshness};
use repo_model::FileDigest;
use repo_model::freshness::{FILE, MAX_BYTES};
use repo_model::manifest::MANIFEST;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

type Rows = Vec<(Box<str>, Row)>;

/// A file on this machine that is to be in the bucket.
struct Bound {
    path: Box<str>,
    source: PathBuf,
    row: Row,
    claim: Claim,
}

impl Copy<'_> {
    /// Puts everything that the round came to; what the copy consists of then.
    pub(super) fn switch(
        &self,
        site: &Site,
        pointer: &Pointer,
        metadata: &[(&Item, &Got)],
        packages: &Packages,
        got: &[Got],
    ) -> Result<Rows, SyncError> {
        let (metadata, mut pointers) = match self.job.rewrites() {
            true => self.rewritten(site, pointer, metadata, packages, got)?,
            false => (
                metadata
                    .iter()
                    .filter_map(|(item, got)| bound(site, item, got))
                    .collect(),
                self.pointers(pointer),
            ),
        };
        let mut rows: Rows = Vec::new();
        let mut replacing = Vec::new();
        for file in metadata {
            match self.there.contains_key(&file.path) {
                true => replacing.push(file),
                false => rows.push(self.put(file, &When::Absent)?),
            }
        }
        for (item, got) in packages.items.iter().zip(got) {
            match got {
                Got::Here {
                    place_last: true, ..
                } => replacing.extend(bound(site, item, got)),
                Got::Here { row, .. } => rows.push((item.path.clone(), row.clone())),
                Got::Missing { .. } => {}
            }
        }
        for file in replacing {
            let when = match self.there.get(&file.path) {
                Some(listed) => When::Still(listed.clone()),
                None => When::Absent,
            };
            rows.push(self.put(file, &when)?);
        }
        self.put_twins(site, packages, &mut rows)?;
        // The last one is `repomd.xml`, which names all the rest.
        pointers.sort_by_key(|(path, _)| path == REPOMD);
        self.put_pointers(pointers, &mut rows)?;
        Ok(rows)
    }

    /// Puts the names that move. One that cannot be put leaves the old `repomd.xml` with its signature.
    fn put_pointers(&self, pointers: Vec<Beside>, rows: &mut Rows) -> Result<(), SyncError> {
        let signature = format!("{REPOMD}.asc");
        let before = match self.there.contains_key(signature.as_str()) {
            true => self.bucket.read_small(&signature, SIGNATURE_MAX_BYTES)?,
            false => None,
        };
        let put = self.put_in_order(pointers, rows);
        if put.is_err() {
            self.put_signature_back(&signature, before, rows);
        }
        put
    }

    fn put_in_order(&self, pointers: Vec<Beside>, rows: &mut Rows) -> Result<(), SyncError> {
        self.remove_pointers_but(&pointers)?;
        for (path, bytes) in pointers {
            rows.push(self.put_pointer(path, bytes)?);
        }
        Ok(())
    }

    /// Undoes what was done to the signature, as far as that goes, where the `repomd.xml` that it belongs to is in
    /// place still.
    fn put_signature_back(&self, path: &str, before: Option<Vec<u8>>, rows: &[(Box<str>, Row)]) {
        // That it was put, and its answer alone was lost, looks the same from here.
        let is_old = match (self.there.get(REPOMD), self.bucket.marks(REPOMD)) {
            (Some(old), Ok((now, _))) => old.etag.is_some() && *old == now,
            (None, Err(BucketError::Missing { .. })) => true,
            _ => false,
        };
        let ours = rows.iter().find(|(other, _)| &**other == path);
        let ours = ours.map(|(_, row)| Listed {
            size_bytes: row.size_bytes,
            etag: row.etag.clone(),
        });
        let undone = match (before, ours) {
            _ if !is_old => return,
            (Some(before), ours) => {
                let when = ours.map_or(When::Absent, When::Still);
                self.bucket.put(path, before, None, &when).map(drop)
            }
            (None, Some(_)) => self.bucket.delete(path),
            (None, None) => return,
        };
        match undone {
            // It was not reached yet, or is somebody else's by now.
            Ok(()) | Err(BucketError::Changed { .. }) => {}
            Err(error) => self.job.watch.note(&format!(
                "{path} in the bucket is not that of the repomd.xml there until the next sync: {error}"
            )),
        }
    }

    fn put(&self, file: Bound, when: &When) -> Result<(Box<str>, Row), SyncError> {
        let marks = marks(&file.row, &file.claim);
        if let Some(listed) = self.is_there(&file.path, &marks)? {
            return Ok((file.path, listed.row(file.row.sha256, &file.claim)));
        }
        let put = self
            .bucket
            .put_file(&file.path, &file.source, Some(&marks), when);
        let listed = match put {
            // An earlier round of this sync, or a try whose answer was lost.
            Err(BucketError::Changed { url }) => {
                let (listed, found) = self.bucket.marks(&file.path)?;
                match found.is_some_and(|found| found == marks) {
                    true => listed,
                    false => return Err(BucketError::Changed { url }.into()),
                }
            }
            put => put?,
        };
        Ok((file.path, listed.row(file.row.sha256, &file.claim)))
    }

    /// How the bucket lists an object that was there before and is this very file.
    fn is_there(&self, path: &str, marks: &Marks) -> Result<Option<Listed>, SyncError> {
        if !self.there.contains_key(path) {
            return Ok(None);
        }
        let (listed, found) = self.bucket.marks(path)?;
        Ok(found.is_some_and(|found| found == *marks).then_some(listed))
    }

    /// The places of packages that have the content of another one.
    fn put_twins(
        &self,
        site: &Site,
        packages: &Packages,
        rows: &mut Rows,
    ) -> Result<(), SyncError> {
        let firsts: HashMap<&str, &Row> = match packages.twins.is_empty() {
            true => return Ok(()),
            false => rows.iter().map(|(path, row)| (&**path, row)).collect(),
        };
        let mut twins: Rows = Vec::new();
        for (path, number) in &packages.twins {
            let item = &packages.items[*number];
            let Some(row) = firsts.get(&*item.path) else {
                continue;
            };
            let known = site.state.files.get(path);
            let known = known.filter(|known| known.sha256 == row.sha256);
            if let Some(known) = known.filter(|known| self.is_untouched(path, known)) {
                let dropped_at = None;
                let known = known.clone();
                twins.push((
                    path.clone(),
                    Row {
                        dropped_at,
                        ..known
                    },
                ));
                continue;
            }
            self.bucket.copy(&item.path, path)?;
            let (listed, _) = self.bucket.marks(path)?;
            twins.push((path.clone(), listed.row(row.sha256, &item.claim)));
        }
        rows.extend(twins);
        Ok(())
    }

    /// Upstream's `repomd.xml` and what belongs to it.
    fn pointers(&self, pointer: &Pointer) -> Vec<Beside> {
        let mut all = self.job.beside(pointer);
        let signature = pointer.signature.clone();
        all.extend(signature.map(|signature| (format!("{REPOMD}.asc"), signature)));
        all.push((REPOMD.to_owned(), pointer.text.clone()));
        all
    }

    /// Metadata that is written anew on this machine: its files, and its `repomd.xml`.
    fn rewritten(
        &self,
        site: &Site,
        pointer: &Pointer,
        metadata: &[(&Item, &Got)],
        packages: &Packages,
        got: &[Got],
    ) -> Result<(Vec<Bound>, Vec<Beside>), SyncError> {
        let repodata = self.job.rewritten(site, pointer, metadata, packages, got)?;
        let fail = || SyncError::local(repodata.clone());
        let (mut files, mut pointers) = (Vec::new(), Vec::new());
        for name in files_below(&repodata).map_err(fail())? {
            let source = repodata.join(&name);
            let bytes = fs::read(&source).map_err(fail())?;
            let path = format!("repodata/{name}");
            if path == REPOMD {
                pointers.push((path, bytes));
                continue;
            }
            let digest = FileDigest::of(&bytes);
            let data = fs::metadata(&source).map_err(fail())?;
            let claim = Claim::of(digest);
            files.push(Bound {
                row: Row::of(&data, digest, &claim),
                path: path.into_boxed_str(),
                source,
                claim,
            });
        }
        Ok((files, pointers))
    }

    /// Files that belonged to the pointer before and have no successor go before it does: an old signature beside new
    /// metadata would be wrong.
    fn remove_pointers_but(&self, pointers: &[Beside]) -> Result<(), SyncError> {
        let stays = |path: &str| pointers.iter().any(|(other, _)| other == path);
        let belongs = |path: &str| path.starts_with(REPOMD) || path.starts_with(MANIFEST);
        for path in self.there.keys() {
            if belongs(path) && !stays(path) {
                self.bucket.delete(path)?;
            }
        }
        Ok(())
    }

    /// Puts a name that moves, while it is what it was when the sync began.
    fn put_pointer(&self, path: String, bytes: Vec<u8>) -> Result<(Box<str>, Row), SyncError> {
        let digest = FileDigest::of(&bytes);
        let when = match self.there.get(path.as_str()) {
            Some(listed) => When::Still(listed.clone()),
            None => When::Absent,
        };
        let listed = self.bucket.put(&path, bytes, None, &when)?;
        Ok((
            path.into_boxed_str(),
            listed.row(digest, &Claim::of(digest)),
        ))
    }

    /// Writes down, in the bucket, what the copy is now; removes what nobody needs.
    pub(super) fn remember(
        &self,
        site: &mut Site,
        pointer: &Pointer,
        rows: Rows,
        summary: &mut Summary,
    ) -> Result<(), SyncError> {
        let is_whole = !self.job.rewrites();
        let fresh = is_whole
            .then(|| self.freshness(pointer.digest, true))
            .transpose()?;
        site.state = self.job.state(site, pointer, rows, summary);
        let freshness_goes = fresh.is_some_and(|there| !there) && self.there.contains_key(FILE);
        if freshness_goes {
            // It is about another state, and would be believed by nobody.
            self.bucket.delete(FILE)?;
        }
        self.drop_strays(site)?;
        summary.deleted = self.delete_due(site)?;
        let kept = [Some(&pointer.text), pointer.signature.as_ref()];
        for (path, bytes) in KEPT.iter().zip(kept) {
            match bytes {
                Some(bytes) => {
                    self.bucket.put(path, bytes.clone(), None, &When::Always)?;
                }
                None => self.bucket.delete(path)?,
            }
        }
        self.save(site)
    }

    /// Writes the state, while it is the one that was read.
    fn save(&self, site: &Site) -> Result<(), SyncError> {
        let path = site.own.join("state");
        site.state
            .save(&path)
            .map_err(SyncError::local(path.clone()))?;
        let when = match self.there.get(STATE) {
            Some(listed) => When::Still(listed.clone()),
            None => When::Absent,
        };
        // In one request, however large: files that come in parts have no conditions.
        let bytes = fs::read(&path).map_err(SyncError::local(path))?;
        self.bucket.put(STATE, bytes, None, &when)?;
        Ok(())
    }

    /// Keeps upstream's word about how fresh the copy is. `changed`: whether the copy is another one than before;
    /// returns whether there is a statement about it.
    fn freshness(&self, repomd: FileDigest, changed: bool) -> Result<bool, SyncError> {
        let job = &self.job;
        let known = match self.there.contains_key(FILE) {
            true => self.bucket.read_small(FILE, MAX_BYTES)?,
            false => None,
        };
        let now = job.request.now;
        let newer = freshness::newer(known.as_deref(), job.peers, repomd, changed, now, job.watch);
        match newer {
            Some(json) => {
                self.bucket.put(FILE, json, None, &When::Always)?;
                Ok(true)
            }
            None => Ok(known.is_some_and(|json| freshness::is_about(&json, repomd))),
        }
    }

    /// The end of a sync that found nothing new.
    pub(super) fn unchanged(&self, mut site: Site, known: &Pointer) -> Result<Summary, SyncError> {
        if !self.job.rewrites() {
            self.freshness(known.digest, false)?;
        }
        let strays = self.drop_strays(&mut site)?;
        let deleted = self.delete_due(&mut site)?;
        if strays || deleted > 0 {
            self.save(&site)?;
        }
        self.tidy(site)?;
        Ok(Summary {
            changed: deleted > 0,
            deleted,
            ..Summary::of(known)
        })
    }

    /// What was put for a `repomd.xml` that upstream has replaced meanwhile, and that nothing names now: it counts as
    /// dropped. Whether there was any.
    fn drop_strays(&self, site: &mut Site) -> Result<bool, SyncError> {
        let placed = site.journal.placed();
        let placed = placed.map_err(SyncError::local(site.own.join("journal")))?;
        let mut any = false;
        for (path, digest) in placed {
            if site.state.files.contains_key(&path) {
                continue;
            }
            let (listed, found) = match self.bucket.marks(&path) {
                Err(BucketError::Missing { .. }) => continue,
                found => found?,
            };
            // Somebody may have put a file of his own there since.
            if let Some(found) = found.filter(|found| found.sha256 == digest) {
                let mut row = listed.row(digest, &found.claim);
                row.dropped_at = Some(self.job.request.now.unix_secs());
                site.state.files.insert(path, row);
                any = true;
            }
        }
        Ok(any)
    }

    /// Removes what upstream dropped long enough ago; how many files. One that somebody has put there since is not
    /// ours any more, and stays.
    fn delete_due(&self, site: &mut Site) -> Result<u64, SyncError> {
        let request = self.job.request;
        let due = site.state.files.iter().filter(|(path, row)| {
            let after = match below_repodata(path) {
                Some(_) => Some(METADATA_GRACE),
                None => request.delete_after,
            };
            is_due(row, after, request.now)
        });
        let due: Vec<Box<str>> = due.map(|(path, _)| path.clone()).collect();
        let mut deleted = 0;
        for path in due {
            let Some(row) = site.state.files.remove(&path) else {
                continue;
            };
            let is_ours = match self.there.contains_key(&path) {
                true => self.is_untouched(&path, &row),
                // It was put by this sync.
                false => true,
            };
            if !is_ours {
                continue;
            }
            self.bucket.delete(&path)?;
            deleted += 1;
            self.job.watch.file(&FileReport {
                path: &path,
                action: Action::Deleted,
                size_bytes: Some(row.size_bytes),
                sha256: Some(row.sha256.to_hex()),
                upstream: None,
                fetched_bytes: None,
                problems: &[],
            });
        }
        Ok(deleted)
    }

    /// Leaves nothing on this machine that the next sync does not need.
    pub(super) fn tidy(&self, site: Site) -> Result<(), SyncError> {
        let path = site.own.join("work");
        crate::sync::site::remove_tree(&path).map_err(SyncError::local(path))?;
        site.store
            .sweep()
            .map_err(SyncError::local(site.own.join("store")))?;
        let path = site.own.join("journal");
        site.journal.finish().map_err(SyncError::local(path))
    }
}

fn bound(site: &Site, item: &Item, got: &Got) -> Option<Bound> {
    match got {
        Got::Here { row, .. } => Some(Bound {
            path: item.path.clone(),
            source: site.store.object(row.sha256),
            row: row.clone(),
            claim: item.claim.clone(),
        }),
        Got::Missing { .. } => None,
    }
}
