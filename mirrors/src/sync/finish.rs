//! The end of a round: what is written down, and what is removed.

use super::destination::{Destination, Made, Rows};
use super::pointer::{Pointer, with_causes};
use super::proofs::{self, Any};
use super::request::{Action, FileReport, Request, Watch};
use super::round::{Got, Job};
use super::site::Site;
use super::state::Head;
use super::tree::{METADATA_GRACE, below_repodata, is_due};
use super::{Summary, SyncError};
use crate::reading::REPOMD;
use std::collections::HashSet;
use std::fs;

impl Job<'_> {
    /// Has the metadata written anew for the packages that are here; where it is.
    pub(super) fn rewritten(
        &self,
        site: &Site,
        made: &Made<'_>,
    ) -> Result<std::path::PathBuf, SyncError> {
        let Some(rewrite) = self.rewrite else {
            return Err(SyncError::Rewrite {
                why: "nothing that writes metadata was given".to_owned(),
            });
        };
        let upstream = site.own.join("work/upstream");
        let into = site.own.join("work/rewritten");
        let fail = || SyncError::local(upstream.clone());
        for (item, got) in made.metadata {
            if let Got::Here { row, .. } = got {
                let target = upstream.join(&*item.path);
                site.store.place(row.sha256, &target).map_err(fail())?;
            }
        }
        fs::create_dir_all(upstream.join("repodata")).map_err(fail())?;
        fs::write(upstream.join(REPOMD), &made.pointer.text).map_err(fail())?;
        fs::create_dir_all(&into).map_err(fail())?;
        let here = made.packages.items.iter().zip(made.got);
        // Clients fetch these from where they are.
        let elsewhere = made.packages.elsewhere.iter();
        let elsewhere = elsewhere.filter_map(|package| Some(package.claim.as_ref()?.hex()));
        let kept: HashSet<String> = here
            .filter(|(_, got)| matches!(got, Got::Here { .. }))
            .map(|(item, _)| item.claim.hex())
            .chain(elsewhere)
            .collect();
        rewrite
            .rewrite(&upstream, &into, &kept)
            .map_err(|error| SyncError::Rewrite {
                why: with_causes(error.as_ref()),
            })?;
        Ok(into.join("repodata"))
    }

    /// Writes down what the copy is now, and removes what nobody needs. `proofs`: whether upstream has any.
    pub(super) fn remember(
        &self,
        to: &mut dyn Destination,
        site: &mut Site,
        pointer: &Pointer,
        rows: Rows,
        proofs: &Any,
        summary: &mut Summary,
    ) -> Result<(), SyncError> {
        proofs::drop_superseded(to, site, &rows)?;
        self.renew_state(site, pointer, rows, summary);
        site.state.head.proofs_due = !matches!(proofs, Any::No);
        drop_strays(to, site, self.request)?;
        to.save(site)?;
        summary.deleted = delete(to, site, self.request, self.watch)?;
        Ok(())
    }

    /// What the copy is with these files; others that it had count as dropped.
    fn renew_state(&self, site: &mut Site, pointer: &Pointer, rows: Rows, summary: &Summary) {
        let now = self.request.now.unix_secs();
        let files = &mut site.state.files;
        for row in files.values_mut() {
            row.dropped_at.get_or_insert(now);
        }
        // One by one: `extend` would make room for all of them once more.
        for (path, row) in rows {
            files.insert(path, row);
        }
        site.state.head = Head {
            version: 0,
            repomd: Some(pointer.digest),
            newest: pointer.newest,
            scope: self.scope(),
            verified_by: self.verify.packages().map(|by| by.id().to_owned()),
            incomplete: summary.incomplete,
            proofs_due: false,
            validators: pointer.validators.clone(),
        };
    }
}

/// What was placed for a `repomd.xml` that upstream has replaced meanwhile, and that nothing names now: it counts
/// as dropped. Whether there was any.
pub(super) fn drop_strays(
    to: &dyn Destination,
    site: &mut Site,
    request: &Request,
) -> Result<bool, SyncError> {
    let known = &site.state.files;
    let placed = site.journal.placed(|path| known.contains_key(path));
    let placed = placed.map_err(SyncError::local(site.own.join("journal")))?;
    let mut any = false;
    for (path, digest) in placed {
        if let Some(mut row) = to.stray(site, &path, digest)? {
            row.dropped_at = Some(request.now.unix_secs());
            site.state.files.insert(path, row);
            any = true;
        }
    }
    Ok(any)
}

/// Removes what upstream dropped long enough ago; how many files.
pub(super) fn delete(
    to: &mut dyn Destination,
    site: &mut Site,
    request: &Request,
    watch: &dyn Watch,
) -> Result<u64, SyncError> {
    let due = site.state.files.iter().filter(|(path, row)| {
        let after = match below_repodata(path) {
            Some(_) => Some(METADATA_GRACE),
            None => request.delete_after,
        };
        is_due(row, after, request.now)
    });
    let mut due: Vec<Box<str>> = due.map(|(path, _)| path.clone()).collect();
    let proofs = site.state.proofs.keys();
    let alone = proofs.filter(|package| !site.state.files.contains_key(*package));
    due.extend(alone.cloned());
    if due.is_empty() {
        return Ok(0);
    }
    let mut deleted = 0;
    let mut tell = |path: &str, size_bytes, sha256| {
        deleted += 1;
        watch.file(&FileReport {
            path,
            action: Action::Deleted,
            size_bytes: Some(size_bytes),
            sha256,
            upstream: None,
            fetched_bytes: None,
            problems: &[],
        });
    };
    for path in due {
        if let Some(row) = site.state.files.remove(&path)
            && to.remove(site, &path, row.look())?
        {
            tell(&path, row.size_bytes, Some(row.sha256.to_hex()));
        }
        for (proof, size_bytes) in proofs::remove_of(to, site, &path)? {
            tell(&proof, size_bytes, None);
        }
    }
    to.save(site)?;
    Ok(deleted)
}
