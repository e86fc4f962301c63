//! One sync towards one `repomd.xml`: metadata, the list of packages, what is missing of them, the switch.
//! Every step can be cut off at any moment; the next sync goes through the same steps and finds done
//! what was done.

use super::destination::{Destination, Made};
use super::fetch::{Failure, Fetcher, check_signature};
use super::pace::Limit;
use super::peer::Peer;
use super::plan::{self, Item, Kind, Packages};
use super::pointer::{self, Pointer, Said};
use super::request::{
    Action, FileReport, FilteredMetadata, Request, Rewrite, Signatures, Verify, Watch,
};
use super::site::{Found, Site};
use super::state::Row;
use super::workers::each;
use super::{Summary, SyncError, evidence, freshness, proofs};
use crate::reading::{ModularPackages, Packed, REPOMD, RecordClaim};
use repo_model::FileDigest;
use std::fs::File;
use std::io::Read;
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
    pub fn renew_freshness(
        &self,
        to: &dyn Destination,
        site: &Site,
        repomd: FileDigest,
        changed: bool,
    ) -> Result<(), SyncError> {
        match self.rewrites() {
            true => Ok(()),
            false => freshness::renew(to, site, self, repomd, changed),
        }
    }

    /// Runs one round.
    pub fn round(
        &self,
        to: &mut dyn Destination,
        site: &mut Site,
        pointer: Pointer,
    ) -> Result<Ended, SyncError> {
        let mut summary = Summary::of(&pointer);
        self.watch.step("metadata");
        let wanted = |kind: &str| !self.rewrites() || is_rewritten(kind);
        let metadata = plan::metadata(&pointer.repomd, wanted)?;
        let got = self.get(to, site, &metadata, &mut summary)?;
        let Some(rows) = all_here(&got) else {
            return self.lost(&pointer, &metadata, &got);
        };
        self.watch.step("packages");
        let packages = self.packages(site, &pointer, &metadata, &rows)?;
        self.tell_of(&packages, &mut summary);
        let got_packages = self.get(to, site, &packages.items, &mut summary)?;
        if let Some(ended) = self.what_lacks(&pointer, &packages, &got_packages, &mut summary)? {
            return Ok(ended);
        }
        let proofs = proofs::are_there(self.peers, site, &packages, &got_packages)?;
        self.watch.step("switch");
        let metadata: Vec<(&Item, &Got)> = metadata.iter().zip(&got).collect();
        let made = Made {
            pointer: &pointer,
            metadata: &metadata,
            packages: &packages,
            got: &got_packages,
        };
        let rows = to.switch(self, site, &made)?;
        // The rows have all of it; nothing as long as the list of packages is in memory twice.
        drop((packages, got_packages));
        self.remember(to, site, &pointer, rows, &proofs, &mut summary)?;
        // It belongs to the new `repomd.xml`, and proofs may take long.
        self.renew_freshness(to, site, pointer.digest, true)?;
        proofs::fetch(to, site, self, proofs)?.add_to(&mut summary);
        // Its head of the log must not be older than they are.
        evidence::renew(to, site, self, true)?;
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
        let goes_on = self.request.skip_missing;
        match self.lost(pointer, &packages.items, got) {
            Err(SyncError::Files { .. }) if goes_on => {}
            Err(_) if !missing && goes_on => {}
            outcome => return outcome.map(Some),
        }
        summary.incomplete = true;
        Ok(None)
    }

    fn packages(
        &self,
        site: &Site,
        pointer: &Pointer,
        metadata: &[Item],
        rows: &[&Row],
    ) -> Result<Packages, SyncError> {
        let open = |record: &RecordClaim| opened(site, record, metadata, rows);
        let filters = &self.request.filters;
        let modules = match plan::modules(&pointer.repomd, filters) {
            Some(record) => plan::modular_packages(open(record)?, &record.href)?,
            None => ModularPackages::default(),
        };
        let record = plan::primary(&pointer.repomd)?;
        plan::packages(open(record)?, &record.href, (filters, &modules), metadata)
    }

    fn tell_of(&self, packages: &Packages, summary: &mut Summary) {
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

    fn report(&self, path: &str, action: Action, row: Option<&Row>, problems: &[String]) {
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
    fn get(
        &self,
        to: &dyn Destination,
        site: &Site,
        items: &[Item],
        summary: &mut Summary,
    ) -> Result<Vec<Got>, SyncError> {
        let workers = self.request.workers;
        let found = each(workers, items.len(), |number, _| {
            self.look(to, site, &items[number])
        })?;
        let to_fetch = found.iter().zip(items);
        let to_fetch = to_fetch.filter(|(found, _)| **found == Found::Nothing);
        let bytes = to_fetch.map(|(_, item)| item.size_bytes.unwrap_or(0));
        let bytes = bytes.fold(0, u64::saturating_add);
        to.check_room(site, bytes)?;
        self.watch.expect(bytes);
        let fetcher = self.fetcher(site);
        let tally = Tally::new(found.iter());
        let got = each(workers, items.len(), |number, buffer| {
            let (item, found) = (&items[number], &found[number]);
            self.get_one(to, site, &fetcher, (item, found), buffer, &tally)
        })?;
        tally.add_to(summary);
        Ok(got)
    }

    /// Looks for a file; a package that the keys did not sign is as good as none.
    fn look(&self, to: &dyn Destination, site: &Site, item: &Item) -> Result<Found, SyncError> {
        let found = to.look(site, item)?;
        let is_good = match (self.verify.packages(), item.kind) {
            (Some(signatures), Kind::Package) => is_signed(to, site, item, &found, signatures)?,
            _ => true,
        };
        Ok(if is_good { found } else { Found::Nothing })
    }

    fn fetcher<'s>(&'s self, site: &'s Site) -> Fetcher<'s> {
        Fetcher {
            peers: self.peers,
            store: &site.store,
            journal: &site.journal,
            limit: Limit::new(self.request.bytes_per_sec),
            patience: self.request.patience,
            unclaimed_max_bytes: self.request.unclaimed_max_bytes,
            signatures: self.verify.packages(),
            watch: self.watch,
            in_ranges: true,
        }
    }

    fn get_one(
        &self,
        to: &dyn Destination,
        site: &Site,
        fetcher: &Fetcher<'_>,
        (item, found): (&Item, &Found),
        buffer: &mut Vec<u8>,
        tally: &Tally,
    ) -> Result<Got, SyncError> {
        let (mut row, action) = match found {
            Found::Had(row) => (row.clone(), Action::Had),
            Found::Adopted(row) => (row.clone(), Action::Adopted),
            Found::Object(row) => (row.clone(), Action::Linked),
            Found::Nothing => return self.fetch_one(to, site, fetcher, item, buffer, tally),
        };
        let place_last = match action {
            Action::Linked => to.place_now(site, item, &mut row)?,
            _ => false,
        };
        self.report(&item.path, action, Some(&row), &[]);
        Ok(Got::Here { row, place_last })
    }

    fn fetch_one(
        &self,
        to: &dyn Destination,
        site: &Site,
        fetcher: &Fetcher<'_>,
        item: &Item,
        buffer: &mut Vec<u8>,
        tally: &Tally,
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
        let place_last = to.place_now(site, item, &mut row)?;
        self.watch.file(&FileReport {
            path: &item.path,
            action: Action::Fetched,
            size_bytes: Some(row.size_bytes),
            sha256: Some(row.sha256.to_hex()),
            upstream: fetched.upstream,
            fetched_bytes: Some(fetched.came_bytes),
            problems: &fetched.problems,
        });
        Ok(Got::Here { row, place_last })
    }

    /// Files are missing: because upstream has published anew, or for good.
    fn lost(&self, pointer: &Pointer, items: &[Item], got: &[Got]) -> Result<Ended, SyncError> {
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

/// A metadata file that is here; it was checked when it came.
fn opened(
    site: &Site,
    record: &RecordClaim,
    metadata: &[Item],
    rows: &[&Row],
) -> Result<Packed<'static>, SyncError> {
    let number = metadata
        .iter()
        .position(|item| record.href.trim_start_matches("./") == &*item.path)
        .or_else(|| {
            let mut items = metadata.iter();
            items.position(|item| record.href.ends_with(&*item.path))
        });
    let Some(row) = number.and_then(|number| rows.get(number)) else {
        return Err(SyncError::Metadata {
            file: REPOMD.to_owned(),
            why: format!("its `{}` was not fetched", record.record_type),
        });
    };
    let unchecked = RecordClaim {
        checksum: None,
        open_checksum: None,
        ..record.clone()
    };
    let path = site.store.object(row.sha256);
    let file = File::open(&path).map_err(SyncError::local(path.clone()))?;
    Packed::new(Box::new(file), &unchecked).map_err(SyncError::local(path))
}

/// Records that metadata which is written anew is made from, or takes over.
fn is_rewritten(kind: &str) -> bool {
    ["primary", "filelists", "other", "modules"].contains(&kind)
        || ["group", "updateinfo"].iter().any(|base| {
            kind.strip_prefix(base)
                .is_some_and(|rest| matches!(rest, "" | "_gz" | "_xz"))
        })
}

/// Whether the keys signed a package that is here.
fn is_signed(
    to: &dyn Destination,
    site: &Site,
    item: &Item,
    found: &Found,
    signatures: &dyn Signatures,
) -> Result<bool, SyncError> {
    // What was dropped before is not among what was verified last.
    let row = site.state.files.get(&item.path);
    let already = row.is_some_and(|row| row.dropped_at.is_none())
        && site.state.head.verified_by.as_deref() == Some(signatures.id());
    let file: Option<Box<dyn Read + '_>> = match found {
        Found::Nothing => return Ok(true),
        Found::Had(_) if already => return Ok(true),
        Found::Had(_) | Found::Adopted(_) => to.open(site, &item.path)?,
        Found::Object(row) => match File::open(site.store.object(row.sha256)) {
            Ok(file) => Some(Box::new(file)),
            Err(_) => None,
        },
    };
    Ok(file.is_some_and(|file| check_signature(file, signatures).is_ok()))
}

fn all_here(got: &[Got]) -> Option<Vec<&Row>> {
    got.iter()
        .map(|got| match got {
            Got::Here { row, .. } => Some(row),
            Got::Missing { .. } => None,
        })
        .collect()
}

/// Counts across workers.
struct Tally {
    had: u64,
    linked: u64,
    fetched: AtomicU64,
    came_bytes: AtomicU64,
    unreachable: AtomicUsize,
}

impl Tally {
    fn new<'f>(found: impl Iterator<Item = &'f Found>) -> Self {
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

    fn add_to(self, summary: &mut Summary) {
        summary.had += self.had;
        summary.linked += self.linked;
        summary.fetched += self.fetched.into_inner();
        summary.fetched_bytes += self.came_bytes.into_inner();
    }
}
