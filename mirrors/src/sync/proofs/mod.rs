//! Proofs beside packages (`foo.rpm.tlog-proof`, `foo.rpm.sigstore.json`), and all evidence about each
//! (`foo.rpm.evidence.tar.zst`), for who verifies without the origin: a copy of a repository of ours has them, too. They are
//! not in the metadata, so they are asked for by name once the copy
//! is whole, and only where the first package's is there: repositories of others are asked for one name more.
//!
//! They are not believed here, only handed on, but must be what they say they are: proofs that read, and of the very
//! file that is here. What upstream lacks is left out and asked for again when the repository changes. What could not be
//! asked for, because the sync was cut off or upstream failed, the next sync asks for: the state says that they are due
//! until all was asked for.
//!
//! There are several times as many of them as packages: what is known of each is little ([`State::proofs`]), they are
//! fetched some thousand packages at a time, and what came is written down on the way, so that a sync that was cut off does not
//! begin anew.

mod ask;
#[cfg(test)]
mod tests;

use super::destination::Destination;
use super::peer::Peer;
use super::plan::Packages;
use super::round::{Got, Job};
use super::site::Site;
use super::state::{Proofs, Row, State};
use super::workers::each;
use super::{Summary, SyncError, tree};
use crate::evidence::beside as evidence;
use ask::{Answer, Wanted, get};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What lies beside each package, behind its name; the first is there where any is, the last is its evidence.
pub(crate) const SUFFIXES: [&str; 5] = [
    ".tlog-proof",
    ".sigstore.json",
    ".vsa.tlog-proof",
    ".vsa.sigstore.json",
    evidence::SUFFIX,
];
/// The number of the evidence among them.
const EVIDENCE: usize = SUFFIXES.len() - 1;

/// Proofs in a row that no upstream answers for, for each worker, until no more are asked for.
const FAILURES_MAX: usize = 3;
/// Packages whose proofs are fetched before any of them is known.
const PORTION: usize = 512;
/// The state is written when so many proofs have come, and each time half as many again as before.
const SAVED_AFTER: u64 = 2_048;

/// Whether a repository has proofs at all.
pub(super) enum Any {
    Yes,
    No,
    /// Upstream could not be asked: why not.
    Unknown(String),
}

/// What became of the proofs that the copy lacked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    fetched: u64,
    incomplete: bool,
}

impl Outcome {
    pub fn add_to(self, summary: &mut Summary) {
        summary.proofs = self.fetched;
        summary.proofs_incomplete = self.incomplete;
    }
}

/// Counts across workers.
struct Failures {
    in_a_row: AtomicUsize,
    in_a_row_max: usize,
    all: AtomicUsize,
    last: Mutex<String>,
}

impl Failures {
    fn new(workers: usize) -> Self {
        Self {
            in_a_row: AtomicUsize::new(0),
            in_a_row_max: FAILURES_MAX.saturating_mul(workers),
            all: AtomicUsize::new(0),
            last: Mutex::default(),
        }
    }

    fn are_enough(&self) -> bool {
        self.in_a_row.load(Ordering::Relaxed) >= self.in_a_row_max
    }

    fn add(&self, why: String) {
        self.in_a_row.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut last) = self.last.lock() {
            *last = why;
        }
    }

    fn none_now(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// What to tell; none: there were none.
    fn told(self) -> Option<String> {
        let gave_up = self.are_enough();
        let count = self.all.into_inner();
        let last = self.last.into_inner().unwrap_or_default();
        match (count, gave_up) {
            (0, _) => None,
            (_, true) => Some(format!("gave up after {count} failures: {last}")),
            (_, false) => Some(format!("{count} could not be asked for: {last}")),
        }
    }
}

/// Whether upstream has proofs of these packages: it has when the copy has some, and else the first package and the last
/// one tell.
pub(super) fn are_there(
    peers: &[Peer],
    site: &Site,
    packages: &Packages,
    got: &[Got],
) -> Result<Any, SyncError> {
    let here = packages.items.iter().zip(got);
    let here = here.filter_map(|(item, got)| match got {
        Got::Here { row, .. } => Some((&*item.path, row)),
        Got::Missing { .. } => None,
    });
    any_of(peers, site, here)
}

/// Fetches the proofs that the copy lacks.
pub(super) fn fetch(
    to: &mut dyn Destination,
    site: &mut Site,
    job: &Job<'_>,
    any: Any,
) -> Result<Outcome, SyncError> {
    match any {
        Any::Yes => {}
        Any::No => return Ok(Outcome::default()),
        Any::Unknown(why) => {
            job.watch.note(&format!("proofs are incomplete: {why}"));
            return Ok(Outcome {
                fetched: 0,
                incomplete: true,
            });
        }
    }
    job.watch.step("proofs");
    site.state.head.proofs_due = true;
    let failures = Failures::new(job.request.workers.get());
    let (mut fetched, mut saved_at) = (0_u64, 0_u64);
    for packages in lacking(to, site).chunks(PORTION) {
        let came = match fetch_each(to, site, job, packages, &failures) {
            Ok(came) => came,
            Err(error) => {
                // What came before stays known; the first error tells more than one of this would.
                let _ = write_down(to, site);
                return Err(error);
            }
        };
        for (package, came) in packages.iter().zip(came) {
            fetched += site.state.add_proofs(package, came);
        }
        if failures.are_enough() {
            break;
        }
        if fetched >= SAVED_AFTER.max(saved_at + saved_at / 2) {
            write_down(to, site)?;
            saved_at = fetched;
        }
    }
    let all_saved = fetched == saved_at;
    let told = failures.told();
    let incomplete = told.is_some();
    if let Some(why) = told {
        job.watch.note(&format!("proofs are incomplete: {why}"));
    }
    site.state.head.proofs_due = incomplete;
    match all_saved {
        true => to.save(site)?,
        false => write_down(to, site)?,
    }
    Ok(Outcome {
        fetched,
        incomplete,
    })
}

/// Writes the state when all that it tells is on the disk.
fn write_down(to: &mut dyn Destination, site: &Site) -> Result<(), SyncError> {
    to.settle(site)?;
    to.save(site)
}

/// Fetches what the sync before did not come to.
pub(super) fn fetch_late(
    to: &mut dyn Destination,
    site: &mut Site,
    job: &Job<'_>,
) -> Result<Outcome, SyncError> {
    let files = site.state.files.iter();
    let served = files.filter(|(_, row)| row.dropped_at.is_none());
    let served = served.map(|(path, row)| (&**path, row));
    let any = any_of(job.peers, site, served)?;
    if let Any::No = any {
        site.state.head.proofs_due = false;
        to.save(site)?;
    }
    fetch(to, site, job, any)
}

/// Whether upstream has evidence about packages and a copy that has their proofs has none of it, as copies have that were
/// made before there was any. One name is asked for, and only by such copies.
pub(super) fn lacks_evidence(peers: &[Peer], site: &Site) -> Result<bool, SyncError> {
    if has_evidence(&site.state) {
        return Ok(false);
    }
    let with_proofs = served(&site.state).filter(|(_, proofs)| proofs[0].is_some());
    let first = with_proofs.map(|(package, _)| package).min();
    let Some((package, row)) = first.and_then(|first| site.state.files.get_key_value(first)) else {
        return Ok(false);
    };
    let one = Wanted {
        path: beside(package, EVIDENCE),
        package: row.sha256,
    };
    Ok(matches!(get(peers, site, &one)?, Answer::Here(_)))
}

/// Whether a package that is served has evidence beside it.
pub(super) fn has_evidence(state: &State) -> bool {
    served(state).any(|(_, proofs)| proofs[EVIDENCE].is_some())
}

/// Whether all proofs lie beside what is served as the state tells.
pub(super) fn are_untouched(to: &dyn Destination, site: &Site) -> bool {
    served(&site.state).all(|(package, proofs)| {
        proofs.iter().enumerate().all(|(number, proof)| {
            let path = || beside(package, number);
            let proof = proof.as_ref();
            proof.is_none_or(|proof| to.is_untouched(site, &path(), proof.look()))
        })
    })
}

/// The proofs of packages that are served.
fn served(state: &State) -> impl Iterator<Item = (&str, &Proofs)> {
    let all = state.proofs.iter();
    let all = all.map(|(package, proofs)| (&**package, &**proofs));
    all.filter(move |(package, _)| state.serves(package))
}

/// The path of a package's proof.
pub(super) fn beside(package: &str, number: usize) -> Box<str> {
    format!("{package}{}", SUFFIXES[number]).into()
}

/// What came of each package.
fn fetch_each(
    to: &dyn Destination,
    site: &Site,
    job: &Job<'_>,
    packages: &[Box<str>],
    failures: &Failures,
) -> Result<Vec<Proofs>, SyncError> {
    each(job.request.workers, packages.len(), |number, _| {
        let package = &*packages[number];
        let mut came = Proofs::default();
        let Some(row) = site.state.files.get(package) else {
            return Ok(came);
        };
        for (number, slot) in came.iter_mut().enumerate() {
            if failures.are_enough() || is_here(to, site, package, number) {
                continue;
            }
            let one = Wanted {
                path: beside(package, number),
                package: row.sha256,
            };
            match get(job.peers, site, &one)? {
                Answer::Failed { why, .. } => failures.add(why),
                Answer::Nothing => failures.none_now(),
                Answer::Here(proof) => {
                    failures.none_now();
                    *slot = Some(to.put_spooled(site, &one.path, proof)?);
                }
            }
        }
        Ok(came)
    })
}

/// The package that a file of this name is a proof of, and which of them; none: it is named as none.
pub(crate) fn package_of(path: &str) -> Option<(&str, usize)> {
    let suffixes = SUFFIXES.iter().enumerate();
    let packages =
        suffixes.filter_map(|(number, suffix)| Some((path.strip_suffix(suffix)?, number)));
    // `.vsa.sigstore.json` ends in `.sigstore.json`, too.
    let found = packages.min_by_key(|(package, _)| package.len());
    found.filter(|(package, _)| is_package(package))
}

/// Forgets and removes the proofs of packages that have other content than before, so that they are fetched anew. One that
/// somebody has touched since is not ours any more, and stays.
///
/// * `rows`: what the copy consists of now; the site's state is the one before.
pub(super) fn drop_superseded(
    to: &mut dyn Destination,
    site: &mut Site,
    rows: &[(Box<str>, Row)],
) -> Result<(), SyncError> {
    for (path, row) in rows {
        // Metadata may give a package such a name.
        if let Some((package, number)) = package_of(path)
            && let Some(proofs) = site.state.proofs.get_mut(package)
        {
            proofs[number] = None;
        }
        let known = site.state.files.get(path);
        if known.is_some_and(|known| known.sha256 != row.sha256) {
            remove_of(to, site, path)?;
        }
    }
    Ok(())
}

/// Removes what lies beside a package; the paths and sizes of what was there still.
pub(super) fn remove_of(
    to: &mut dyn Destination,
    site: &mut Site,
    package: &str,
) -> Result<Vec<(Box<str>, u64)>, SyncError> {
    let Some(proofs) = site.state.proofs.remove(package) else {
        return Ok(Vec::new());
    };
    let mut removed = Vec::new();
    for (number, proof) in proofs.iter().enumerate() {
        let path = beside(package, number);
        if let Some(proof) = proof
            && to.remove(site, &path, proof.look())?
        {
            removed.push((path, proof.size_bytes));
        }
    }
    Ok(removed)
}

fn is_package(path: &str) -> bool {
    path.ends_with(".rpm") && tree::below_repodata(path).is_none()
}

/// The packages that are served and that lack proofs, in the order of their names.
fn lacking(to: &dyn Destination, site: &Site) -> Vec<Box<str>> {
    let packages = site.state.files.iter();
    let packages = packages.filter(|(path, row)| row.dropped_at.is_none() && is_package(path));
    let lacks = |package: &str| (0..SUFFIXES.len()).any(|n| !is_here(to, site, package, n));
    let lacking = packages.filter(|(path, _)| lacks(path));
    let mut lacking: Vec<Box<str>> = lacking.map(|(path, _)| path.clone()).collect();
    lacking.sort_unstable();
    lacking
}

/// Whether a proof need not be fetched.
fn is_here(to: &dyn Destination, site: &Site, package: &str, number: usize) -> bool {
    let path = beside(package, number);
    let proofs = site.state.proofs.get(package);
    match proofs.and_then(|proofs| proofs[number].as_ref()) {
        Some(proof) => to.is_untouched(site, &path, proof.look()),
        // Metadata may give a package such a name.
        None => site.state.serves(&path),
    }
}

fn any_of<'f>(
    peers: &[Peer],
    site: &Site,
    files: impl Iterator<Item = (&'f str, &'f Row)>,
) -> Result<Any, SyncError> {
    if served(&site.state).next().is_some() {
        return Ok(Any::Yes);
    }
    let mut first: Option<(&str, &Row)> = None;
    let mut last = None;
    for one in files.filter(|(path, _)| is_package(path)) {
        if first.is_none_or(|(path, _)| one.0 < path) {
            first = Some(one);
        }
        if last.is_none_or(|(path, _): (&str, _)| one.0 > path) {
            last = Some(one);
        }
    }
    // It may be that the first package alone has none.
    let last = last.filter(|(path, _)| first.is_some_and(|(first, _)| first != *path));
    for (path, row) in first.into_iter().chain(last) {
        let one = Wanted {
            path: beside(path, 0),
            package: row.sha256,
        };
        match get(peers, site, &one)? {
            Answer::Here(_) => return Ok(Any::Yes),
            Answer::Failed {
                why,
                another_lacks: false,
            } => return Ok(Any::Unknown(why)),
            // Most repositories have none, also those of which one upstream is away for long.
            Answer::Nothing | Answer::Failed { .. } => {}
        }
    }
    Ok(Any::No)
}
