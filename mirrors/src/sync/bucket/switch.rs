//! The switch in a bucket: new metadata, then what replaces served files, then the pointers, then what the next sync
//! goes by.

use super::{InBucket, KEPT, marks};
use crate::bucket::{BucketError, Listed, Marks, When};
use crate::reading::{REPOMD, SIGNATURE_MAX_BYTES};
use crate::sync::SyncError;
use crate::sync::beside::Beside;
use crate::sync::claim::Claim;
use crate::sync::destination::{Destination as _, Made, Rows};
use crate::sync::plan::{Item, Packages};
use crate::sync::pointer::Pointer;
use crate::sync::round::{Got, Job};
use crate::sync::site::Site;
use crate::sync::state::Row;
use crate::sync::tree::files_below;
use repo_model::FileDigest;
use repo_model::manifest::MANIFEST;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// A file on this machine that is to be in the bucket.
struct Bound {
    path: Box<str>,
    source: PathBuf,
    row: Row,
    claim: Claim,
}

impl InBucket<'_> {
    /// Puts everything that the round came to; what the copy consists of then.
    pub(super) fn put_all(
        &self,
        job: &Job<'_>,
        site: &Site,
        made: &Made<'_>,
    ) -> Result<Rows, SyncError> {
        let (metadata, mut pointers) = match job.rewrites() {
            true => self.rewritten(job, site, made)?,
            false => (
                made.metadata
                    .iter()
                    .filter_map(|(item, got)| bound(site, item, got))
                    .collect(),
                pointers(job, made.pointer),
            ),
        };
        let mut rows: Rows = Vec::new();
        let mut replacing = Vec::new();
        for file in metadata {
            match self.there.contains_key(&file.path) {
                true => replacing.push(file),
                false => rows.push(self.put(file)?),
            }
        }
        for (item, got) in made.packages.items.iter().zip(made.got) {
            match got {
                Got::Here {
                    place_last: true, ..
                } => replacing.extend(bound(site, item, got)),
                Got::Here { row, .. } => rows.push((item.path.clone(), row.clone())),
                Got::Missing { .. } => {}
            }
        }
        for file in replacing {
            rows.push(self.put(file)?);
        }
        self.put_twins(site, made.packages, &mut rows)?;
        // The last one is `repomd.xml`, which names all the rest.
        pointers.sort_by_key(|(path, _)| path == REPOMD);
        self.put_pointers(job, pointers, &mut rows)?;
        self.keep(made.pointer)?;
        Ok(rows)
    }

    /// Remembers upstream's pointer, for the next sync.
    fn keep(&self, pointer: &Pointer) -> Result<(), SyncError> {
        let kept = [Some(&pointer.text), pointer.signature.as_ref()];
        for (path, bytes) in KEPT.iter().zip(kept) {
            match bytes {
                Some(bytes) => {
                    self.bucket.put(path, bytes.clone(), None, &When::Always)?;
                }
                None => self.bucket.delete(path)?,
            }
        }
        Ok(())
    }

    /// Puts the names that move. One that cannot be put leaves the old `repomd.xml` with its signature.
    fn put_pointers(
        &self,
        job: &Job<'_>,
        pointers: Vec<Beside>,
        rows: &mut Rows,
    ) -> Result<(), SyncError> {
        let signature = format!("{REPOMD}.asc");
        let before = match self.there.contains_key(signature.as_str()) {
            true => self.bucket.read_small(&signature, SIGNATURE_MAX_BYTES)?,
            false => None,
        };
        let put = self.put_in_order(pointers, rows);
        if put.is_err() {
            self.put_signature_back(job, &signature, before, rows);
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
    fn put_signature_back(
        &self,
        job: &Job<'_>,
        path: &str,
        before: Option<Vec<u8>>,
        rows: &[(Box<str>, Row)],
    ) {
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
            Err(error) => job.watch.note(&format!(
                "{path} in the bucket is not that of the repomd.xml there until the next sync: {error}"
            )),
        }
    }

    fn put(&self, file: Bound) -> Result<(Box<str>, Row), SyncError> {
        let marks = marks(&file.row, &file.claim);
        let listed = match self.is_there(&file.path, &marks)? {
            Some(listed) => listed,
            None => self.put_marked(&file.path, &file.source, &marks, &self.when(&file.path))?,
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
            if let Some(known) = known.filter(|known| self.is_untouched(site, path, known.look())) {
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

    /// Metadata that is written anew on this machine: its files, and its `repomd.xml`.
    fn rewritten(
        &self,
        job: &Job<'_>,
        site: &Site,
        made: &Made<'_>,
    ) -> Result<(Vec<Bound>, Vec<Beside>), SyncError> {
        let repodata = job.rewritten(site, made)?;
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
        let listed = self.bucket.put(&path, bytes, None, &self.when(&path))?;
        Ok((
            path.into_boxed_str(),
            listed.row(digest, &Claim::of(digest)),
        ))
    }
}

/// Upstream's `repomd.xml` and what belongs to it.
fn pointers(job: &Job<'_>, pointer: &Pointer) -> Vec<Beside> {
    let mut all = job.beside(pointer);
    let signature = pointer.signature.clone();
    all.extend(signature.map(|signature| (format!("{REPOMD}.asc"), signature)));
    all.push((REPOMD.to_owned(), pointer.text.clone()));
    all
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
