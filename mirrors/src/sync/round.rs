//! One sync towards one `repomd.xml`: metadata, the list of packages, what is missing of them, the switch.
//! Every step can be cut off at any moment; the next sync goes through the same steps and finds done
//! what was done.

use super::fetch::{Failure, Fetcher};
use super::pace::Limit;
use super::peer::Peer;
use super::plan::{self, Item, Kind, Packages};
use super::pointer::{self, Pointer, Said};
use super::request::{Action, FileReport, FilteredMetadata, Request, Rewrite, Verify, Watch};
use super::site::{Found, Site};
use super::state::Row;
use super::tree::below_repodata;
use super::workers::each;
use super::{Summary, SyncError, freshness};
use crate::reading::{Packed, REPOMD};
use repo_model::FileDigest;
use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// After so many fetched bytes everything is brought to the disk, so that a crash of the machine costs no
/// more than reading that much again.
const SETTLE_BYTES: u64 = 2 << 30;
/// Files in a row that no upstream can be reached for, for each worker, until the sync gives up.
const UNREACHABLE_MAX: usize = 3;

/// What a sync works with.
pub(super) struct Job<'a> {
    pub request: &'a Request,
    pub peers: &'a [Peer],
    pub verify: Verify<'a>,
    pub rewrite: Option<&'a dyn Rewrite>,
    pub watch: &'a dyn Watch,
}

/// How a round ended.
pub(super) enum Ended {
    /// The copy is what the pointer says.
    Done(Box<Summary>),
    /// Upstream has another pointer by now, and files of the old one are gone.
    Republished(Box<Pointer>),
}

/// What became of one file.
pub(super) enum Got {
    Here { row: Row, place_last: bool },
    Missing { why: String },
}

impl Job<'_> {
    /// Whether the metadata is written anew.
    pub(super) fn rewrites(&self) -> bool {
        self.request.filters.is_active()
            && self.request.filtered_metadata == FilteredMetadata::Rewrite
    }

    /// What differs between copies of one repository: such a copy is another one.
    pub fn scope(&self) -> String {
        let form = match self.rewrites() {
            true => " rewritten",
            false => "",
        };
        format!("{}{form}", self.request.filters.id())
    }

    /// Keeps upstream's word about how fresh the copy is; of metadata that is written anew nobody says it.
    pub fn renew_freshness(&self, site: &Site, repomd: FileDigest, changed: bool) {
        if !self.rewrites() {
            freshness::renew(
                site,
                self.peers,
                repomd,
                changed,
                self.request.now,
                self.watch,
            );
        }
    }

    /// Runs one round.
    pub fn round(&self, site: &mut Site, pointer: Pointer) -> Result<Ended, SyncError> {
        let mut summary = Summary::of(&pointer);
        self.watch.step("metadata");
        let wanted = |kind: &str| !self.rewrites() || is_rewritten(kind);
        let metadata = plan::metadata(&pointer.repomd, wanted)?;
        let got = self.get(site, &metadata, &mut summary)?;
        let Some(rows) = all_here(&got) else {
            return self.lost(&pointer, &metadata, &got);
        };
        self.watch.step("packages");
        let packages = self.packages(site, &pointer, &metadata, &rows)?;
        self.tell_of(&packages, &mut summary);
        let got_packages = self.get(site, &packages.items, &mut summary)?;
        let missing = got_packages
            .iter()
            .any(|got| matches!(got, Got::Missing { .. }));
        if missing || !packages.contested.is_empty() {
            let lost = self.lost(&pointer, &packages.items, &got_packages);
            match lost {
                Err(SyncError::Files { .. }) if self.request.skip_missing => {}
                Err(_) if !missing && self.request.skip_missing => {}
                outcome => return outcome,
            }
            summary.incomplete = true;
        }
        self.watch.step("switch");
        let metadata: Vec<(&Item, &Got)> = metadata.iter().zip(&got).collect();
        self.assemble(
            site,
            &pointer,
            &metadata,
            &packages,
            &got_packages,
            &mut summary,
        )?;
        Ok(Ended::Done(Box::new(summary)))
    }

    pub(super) fn packages(
        &self,
        site: &Site,
        pointer: &Pointer,
        metadata: &[Item],
        rows: &[&Row],
    ) -> Result<Packages, SyncError> {
        let mut record = plan::primary(&pointer.repomd)?.clone();
        let number = metadata
            .iter()
            .position(|item| record.href.ends_with(&*item.path));
        let Some(row) = number.and_then(|number| rows.get(number)) else {
            return Err(SyncError::Metadata {
                file: REPOMD.to_owned(),
                why: "its `primary` was not fetched".to_owned(),
            });
        };
        // The file itself was checked when it came.
        (record.checksum, record.open_checksum) = (None, None);
        let path = site.store.object(row.sha256);
        let file = File::open(&path).map_err(SyncError::local(path.clone()))?;
        let packed = Packed::new(Box::new(file), &record).map_err(SyncError::local(path))?;
        plan::packages(packed, &record.href, &self.request.filters, metadata)
    }

    pub(super) fn tell_of(&self, packages: &Packages, summary: &mut Summary) {
        summary.listed = packages.listed;
        summary.weak = packages.weak;
        summary.elsewhere = packages.elsewhere.len() as u64;
        summary.taken = (packages.items.len() + packages.twins.len()) as u64;
        for package in &packages.elsewhere {
            self.report(&package.path, Action::Elsewhere, None, &[]);
        }
        for path in &packages.contested {
            let why = ["another package has the same place".to_owned()];
            self.report(path, Action::Failed, None, &why);
        }
    }

    pub(super) fn report(
        &self,
        path: &str,
        action: Action,
        row: Option<&Row>,
        problems: &[String],
    ) {
        self.watch.file(&FileReport {
            path,
            action,
            size_bytes: row.map(|row| row.size_bytes),
            sha256: row.map(|row| row.sha256.to_hex()),
            upstream: None,
            fetched_bytes: None,
            problems,
        });
    }

    /// Looks for all files, then fetches what is not there. New ones go to their places at once; what
    /// would replace a served file waits for the switch.
    pub(super) fn get(
        &self,
        site: &Site,
        items: &[Item],
        summary: &mut Summary,
    ) -> Result<Vec<Got>, SyncError> {
        let found = each(self.request.workers, items.len(), |number, _| {
            let item = &items[number];
            let found = site
                .look(item)
                .map_err(SyncError::local(site.place(&item.path)))?;
            Ok(match (self.verify.packages(), item.kind) {
                (Some(signatures), Kind::Package) if !site.is_signed(item, &found, signatures) => {
                    Found::Nothing
                }
                _ => found,
            })
        })?;
        let to_fetch = found
            .iter()
            .zip(items)
            .filter(|(found, _)| **found == Found::Nothing);
        let bytes: u64 = to_fetch
            .map(|(_, item)| item.size_bytes.unwrap_or(0))
            .fold(0, u64::saturating_add);
        check_space(site, bytes)?;
        self.watch.expect(bytes);
        let fetcher = self.fetcher(site);
        let tally = Tally::new(found.iter());
        let got = each(self.request.workers, items.len(), |number, buffer| {
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

    pub(super) fn fetcher<'s>(&'s self, site: &'s Site) -> Fetcher<'s> {
        Fetcher {
            peers: self.peers,
            store: &site.store,
            journal: &site.journal,
            limit: Limit::new(self.request.bytes_per_sec),
            patience: self.request.patience,
            unclaimed_max_bytes: self.request.unclaimed_max_bytes,
            signatures: self.verify.packages(),
            watch: self.watch,
        }
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
        let (row, action) = match found {
            Found::Had(row) => (row.clone(), Action::Had),
            Found::Adopted(row) => (row.clone(), Action::Adopted),
            Found::Object(row) => (row.clone(), Action::Linked),
            Found::Nothing => {
                let place = |row: &mut Row| place_now(site, item, row);
                return self.fetch_one(site, fetcher, item, buffer, tally, &place);
            }
        };
        let place_last = match action {
            Action::Linked => place_now(site, item, &row)?,
            _ => false,
        };
        self.report(&item.path, action, Some(&row), &[]);
        Ok(Got::Here { row, place_last })
    }

    /// Fetches a file. `place`: brings it to where it is served; whether that is left for the switch.
    pub(super) fn fetch_one(
        &self,
        site: &Site,
        fetcher: &Fetcher<'_>,
        item: &Item,
        buffer: &mut Vec<u8>,
        tally: &Tally,
        place: &dyn Fn(&mut Row) -> Result<bool, SyncError>,
    ) -> Result<Got, SyncError> {
        let fetched = match fetcher.fetch(item, buffer) {
            Ok(fetched) => fetched,
            Err(Failure::Local(error)) => {
                return Err(SyncError::local(site.place(&item.path))(error));
            }
            Err(Failure::Upstreams {
                problems,
                unreachable,
            }) => {
                self.report(&item.path, Action::Failed, None, &problems);
                let why = problems.last().cloned().unwrap_or_default();
                if unreachable
                    && tally.one_unreachable() >= UNREACHABLE_MAX * self.request.workers.get()
                {
                    return Err(SyncError::Lost { why });
                }
                return Ok(Got::Missing { why });
            }
        };
        let mut row = Row::of(&fetched.data, fetched.digest, &item.claim);
        let settle = tally.one_fetched(fetched.came_bytes);
        if settle {
            let directory =
                File::open(&site.directory).map_err(SyncError::local(site.directory.clone()))?;
            site.journal
                .settle(&directory)
                .map_err(SyncError::local(site.directory.clone()))?;
        }
        let place_last = place(&mut row)?;
        self.watch.file(&FileReport {
            path: &item.path,
            action: Action::Fetched,
            size_bytes: Some(row.size_bytes),
            sha256: Some(row.sha256.to_hex()),
            upstream: Some(fetched.upstream),
            fetched_bytes: Some(fetched.came_bytes),
            problems: &fetched.problems,
        });
        Ok(Got::Here { row, place_last })
    }

    /// Files are missing: because upstream has published anew, or for good.
    pub(super) fn lost(
        &self,
        pointer: &Pointer,
        items: &[Item],
        got: &[Got],
    ) -> Result<Ended, SyncError> {
        match pointer::ask(
            self.request,
            self.peers,
            self.verify,
            Some(pointer),
            Some(pointer.newest),
            self.watch,
        )? {
            Said::New(newer) => return Ok(Ended::Republished(newer)),
            Said::Same => {}
        }
        let missing = items.iter().zip(got).filter_map(|(item, got)| match got {
            Got::Missing { why } => Some((item, why)),
            Got::Here { .. } => None,
        });
        let missing: Vec<_> = missing.collect();
        Err(match missing.first() {
            Some((item, why)) => SyncError::Files {
                count: missing.len(),
                first: item.path.to_string(),
                why: (*why).clone(),
            },
            None => SyncError::Metadata {
                file: "primary".to_owned(),
                why: "different packages have the same place".to_owned(),
            },
        })
    }
}

/// Records that metadata which is written anew is made from, or takes over.
pub(super) fn is_rewritten(kind: &str) -> bool {
    ["primary", "filelists", "other", "modules"].contains(&kind)
        || ["group", "updateinfo"].iter().any(|base| {
            kind.strip_prefix(base)
                .is_some_and(|rest| matches!(rest, "" | "_gz" | "_xz"))
        })
}

/// Puts a file at its place unless something else is served there, or it is staged; whether that is left
/// for the switch.
fn place_now(site: &Site, item: &Item, row: &Row) -> Result<bool, SyncError> {
    if below_repodata(&item.path).is_some() {
        return Ok(false);
    }
    let target = site.place(&item.path);
    let served = site.state.files.get(&item.path);
    if served.is_some_and(|served| served.sha256 != row.sha256) {
        return Ok(true);
    }
    let placed = site.journal.place(row.sha256, &item.path);
    placed
        .and_then(|()| site.store.place(row.sha256, &target))
        .map_err(SyncError::local(target))?;
    Ok(false)
}

pub(super) fn all_here(got: &[Got]) -> Option<Vec<&Row>> {
    got.iter()
        .map(|got| match got {
            Got::Here { row, .. } => Some(row),
            Got::Missing { .. } => None,
        })
        .collect()
}

fn check_space(site: &Site, needed_bytes: u64) -> Result<(), SyncError> {
    let root = &site.directory;
    let space =
        rustix::fs::statvfs(root).map_err(|error| SyncError::local(root.clone())(error.into()))?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    match needed_bytes > free_bytes {
        true => Err(SyncError::Space {
            needed_bytes,
            free_bytes,
        }),
        false => Ok(()),
    }
}

/// Counts across workers.
pub(super) struct Tally {
    had: u64,
    linked: u64,
    fetched: AtomicU64,
    came_bytes: AtomicU64,
    unreachable: AtomicUsize,
}

impl Tally {
    pub fn new<'f>(found: impl Iterator<Item = &'f Found>) -> Self {
        let (mut had, mut linked) = (0, 0);
        for found in found {
            match found {
                Found::Had(_) => had += 1,
                Found::Object(_) | Found::Adopted(_) => linked += 1,
                Found::Nothing => {}
            }
        }
        Self {
            had,
            linked,
            fetched: AtomicU64::new(0),
            came_bytes: AtomicU64::new(0),
            unreachable: AtomicUsize::new(0),
        }
    }

    /// Whether enough has come to bring it to the disk.
    fn one_fetched(&self, bytes: u64) -> bool {
        self.unreachable.store(0, Ordering::Relaxed);
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let before = self.came_bytes.fetch_add(bytes, Ordering::Relaxed);
        before / SETTLE_BYTES != (before + bytes) / SETTLE_BYTES
    }

    /// How many in a row, this one included.
    fn one_unreachable(&self) -> usize {
        self.unreachable.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn add_to(self, summary: &mut Summary) {
        summary.had += self.had;
        summary.linked += self.linked;
        summary.fetched += self.fetched.into_inner();
        summary.fetched_bytes += self.came_bytes.into_inner();
    }
}
