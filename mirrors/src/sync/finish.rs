//! The end of a round: staged metadata, the switch, what is written down, and what is removed.

use super::claim::Claim;
use super::plan::{Item, Packages};
use super::pointer::{Pointer, with_causes};
use super::request::{Request, Watch};
use super::round::{Got, Job};
use super::site::Site;
use super::state::{Head, Row, State};
use super::store::{is_file, same_file};
use super::tree::{self, Stage};
use super::{Summary, SyncError, proofs};
use crate::reading::REPOMD;
use std::collections::HashSet;
use std::fs;
use std::io;

impl Job<'_> {
    /// Puts everything together, switches, and remembers it.
    pub(super) fn assemble(
        &self,
        site: &mut Site,
        pointer: &Pointer,
        metadata: &[(&Item, &Got)],
        packages: &Packages,
        got: &[Got],
        summary: &mut Summary,
    ) -> Result<(), SyncError> {
        let mut files = placed(packages, got);
        let stage = Stage::new(site).map_err(SyncError::local(site.own.join("stage")))?;
        let fail = || SyncError::local(site.place("repodata"));
        let mut rows: Vec<(Box<str>, Row)> = Vec::new();
        if self.rewrites() {
            let rewritten = self.rewritten(site, pointer, metadata, packages, got)?;
            rows = stage.take_rewritten(&rewritten).map_err(fail())?;
        } else {
            files.extend(metadata.iter().filter_map(|(item, got)| here(item, got)));
            let beside = self.beside(pointer);
            let taken = files.iter().map(|file| (&*file.path, &file.row));
            stage.take(pointer, &beside, taken).map_err(fail())?;
        }
        stage
            .carry_over(&site.state, self.request.now)
            .map_err(fail())?;
        site.keep_pointer(pointer)
            .map_err(SyncError::local(site.own.join("upstream")))?;
        for file in files.iter().filter(|file| file.place_last) {
            file.place(site)
                .map_err(SyncError::local(site.place(&file.path)))?;
        }
        stage.switch().map_err(fail())?;
        rows.extend(files.into_iter().map(|file| (file.path, file.row)));
        self.remember(site, pointer, rows, summary)
    }

    /// Has the metadata written anew for the packages that are here; where it is.
    pub(super) fn rewritten(
        &self,
        site: &Site,
        pointer: &Pointer,
        metadata: &[(&Item, &Got)],
        packages: &Packages,
        got: &[Got],
    ) -> Result<std::path::PathBuf, SyncError> {
        let Some(rewrite) = self.rewrite else {
            return Err(SyncError::Rewrite {
                why: "nothing that writes metadata was given".to_owned(),
            });
        };
        let upstream = site.own.join("work/upstream");
        let into = site.own.join("work/rewritten");
        let fail = || SyncError::local(upstream.clone());
        for (item, got) in metadata {
            if let Got::Here { row, .. } = got {
                let target = upstream.join(&*item.path);
                site.store.place(row.sha256, &target).map_err(fail())?;
            }
        }
        fs::create_dir_all(upstream.join("repodata")).map_err(fail())?;
        fs::write(upstream.join(REPOMD), &pointer.text).map_err(fail())?;
        fs::create_dir_all(&into).map_err(fail())?;
        let here = packages.items.iter().zip(got);
        // Clients fetch these from where they are.
        let elsewhere = packages.elsewhere.iter();
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

    /// Writes down what the copy is now, and removes what nobody needs.
    fn remember(
        &self,
        site: &mut Site,
        pointer: &Pointer,
        rows: Vec<(Box<str>, Row)>,
        summary: &mut Summary,
    ) -> Result<(), SyncError> {
        proofs::drop_superseded(site, &rows).map_err(SyncError::local(site.directory.clone()))?;
        site.state = self.state(site, pointer, rows, summary);
        drop_strays(site, self.request)?;
        proofs::mark_due(site).map_err(SyncError::local(site.own.clone()))?;
        save(site)?;
        summary.deleted = delete(site, self.request, self.watch)?;
        Ok(())
    }

    /// What the copy is with these files; others that it had count as dropped.
    pub(super) fn state(
        &self,
        site: &mut Site,
        pointer: &Pointer,
        rows: Vec<(Box<str>, Row)>,
        summary: &Summary,
    ) -> State {
        let mut state = State {
            head: Head {
                version: 0,
                repomd: Some(pointer.digest),
                newest: pointer.newest,
                scope: self.scope(),
                verified_by: self.verify.packages().map(|by| by.id().to_owned()),
                incomplete: summary.incomplete,
                validators: pointer.validators.clone(),
            },
            files: rows.into_iter().collect(),
        };
        let now = self.request.now.unix_secs();
        for (path, row) in site.state.files.drain() {
            let dropped_at = match proofs::stays(&state, &path) {
                true => None,
                false => row.dropped_at.or(Some(now)),
            };
            state.files.entry(path).or_insert(Row { dropped_at, ..row });
        }
        state
    }
}

/// A file of the new copy.
struct Placed {
    path: Box<str>,
    row: Row,
    place_last: bool,
    /// Where else the same content is, should the store not have it.
    twin: Option<Box<str>>,
}

impl Placed {
    fn place(&self, site: &Site) -> io::Result<()> {
        let (digest, target) = (self.row.sha256, site.place(&self.path));
        let served = site.state.files.get(&self.path);
        if served.is_some_and(|served| {
            served.sha256 == digest
                && fs::symlink_metadata(&target).is_ok_and(|data| served.is_untouched(&data))
        }) {
            return Ok(());
        }
        // The store may be a new one, or swept of what is on another file system.
        let in_store = site.store.look(digest, Some(self.row.size_bytes)).is_some();
        match &self.twin {
            Some(twin) if !in_store => {
                let source = site.place(twin);
                site.store.place_from(&source, digest, &target)
            }
            _ => site.store.place(digest, &target),
        }
    }
}

fn here(item: &Item, got: &Got) -> Option<Placed> {
    match got {
        Got::Here { row, place_last } => Some(Placed {
            path: item.path.clone(),
            row: row.clone(),
            place_last: *place_last,
            twin: None,
        }),
        Got::Missing { .. } => None,
    }
}

/// The packages that are here, under all their names.
fn placed(packages: &Packages, got: &[Got]) -> Vec<Placed> {
    let items = packages.items.iter().zip(got);
    let mut files: Vec<Placed> = items.filter_map(|(item, got)| here(item, got)).collect();
    for (path, number) in &packages.twins {
        if let Some(Got::Here { row, .. }) = got.get(*number) {
            files.push(Placed {
                path: path.clone(),
                row: row.clone(),
                place_last: true,
                twin: packages.items.get(*number).map(|item| item.path.clone()),
            });
        }
    }
    files
}

/// Writes the state.
pub(super) fn save(site: &Site) -> Result<(), SyncError> {
    let path = site.own.join("state");
    site.state.save(&path).map_err(SyncError::local(path))
}

/// What was placed for a `repomd.xml` that upstream has replaced meanwhile, and that nothing names now: it counts
/// as dropped. Whether there was any.
pub(super) fn drop_strays(site: &mut Site, request: &Request) -> Result<bool, SyncError> {
    let placed = site.journal.placed();
    let placed = placed.map_err(SyncError::local(site.own.join("journal")))?;
    let mut any = false;
    for (path, digest) in placed {
        if site.state.files.contains_key(&path) {
            continue;
        }
        // It may never have got there, or somebody has put a file of his own there since.
        let target = site.place(&path);
        if let Ok(data) = fs::symlink_metadata(&target)
            && data.is_file()
            && (same_file(&site.store.object(digest), &target)
                || is_file(&target, &Claim::of(digest)).is_ok_and(|found| found.is_some()))
        {
            let mut row = Row::of(&data, digest, &Claim::of(digest));
            row.dropped_at = Some(request.now.unix_secs());
            site.state.files.insert(path, row);
            any = true;
        }
    }
    Ok(any)
}

/// Removes what is due; how many files.
pub(super) fn delete(
    site: &mut Site,
    request: &Request,
    watch: &dyn Watch,
) -> Result<u64, SyncError> {
    let fail = SyncError::local(site.directory.clone());
    let before = site.state.files.len();
    let deleted = tree::delete_due(site, request.delete_after, request.now, watch).map_err(fail)?;
    if site.state.files.len() < before {
        save(site)?;
        site.store
            .sweep()
            .map_err(SyncError::local(site.own.join("store")))?;
    }
    Ok(deleted)
}
