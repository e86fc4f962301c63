//! Proofs beside packages (`foo.rpm.tlog-proof`, `foo.rpm.sigstore.json`), and all evidence about each
//! (`foo.rpm.evidence.tar.zst`), for who verifies without the origin: a copy of a repository of ours has them, too. They are
//! not in the metadata, so they are asked for by name once the copy
//! is whole, and only where the first package's is there: repositories of others are asked for one name more.
//!
//! They are not believed here, only handed on, but must be what they say they are: proofs that read, and of the very
//! file that is here. What upstream lacks is left out and asked for again when the repository changes. What could not be
//! asked for, because the sync was cut off or upstream failed, the next sync asks for: the state says that they are due
//! until all was asked for.

use super::destination::Destination;
use super::peer::{Peer, Problem};
use super::plan::Packages;
use super::round::{Got, Job};
use super::site::Site;
use super::state::{Row, State};
use super::workers::each;
use super::{Summary, SyncError, tree};
use crate::evidence::beside as evidence;
use repo_model::FileDigest;
use repo_model::bundle::Bundle;
use repo_model::log::LogProof;
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, Statement};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What lies beside each package, behind its name; the first is there where any is.
const SUFFIXES: [&str; 5] = [
    ".tlog-proof",
    ".sigstore.json",
    ".vsa.tlog-proof",
    ".vsa.sigstore.json",
    evidence::SUFFIX,
];

/// Largest proof, bytes: no metadata tells their sizes.
const MAX_PROOF_BYTES: u64 = 1 << 20;
/// Proofs in a row that no upstream answers for, for each worker, until no more are asked for.
const FAILURES_MAX: usize = 3;

/// A proof that is still to be had.
struct Wanted {
    path: Box<str>,
    /// The package's own file.
    package: FileDigest,
}

/// What upstreams say of a proof.
enum Answer {
    Here(Vec<u8>),
    /// None that can be used.
    Nothing,
    /// None gave it, and one or more could not be asked.
    Failed {
        why: String,
        /// Whether another one could.
        another_lacks: bool,
    },
}

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
#[derive(Default)]
struct Failures {
    in_a_row: AtomicUsize,
    all: AtomicUsize,
    last: Mutex<String>,
}

impl Failures {
    fn is_enough(&self, workers: usize) -> bool {
        self.in_a_row.load(Ordering::Relaxed) >= FAILURES_MAX.saturating_mul(workers)
    }

    fn add(&self, why: String) {
        self.in_a_row.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut last) = self.last.lock() {
            *last = why;
        }
    }

    /// What to tell; none: there were none.
    fn told(self, gave_up: bool) -> Option<String> {
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
pub(super) fn are_there(peers: &[Peer], state: &State, packages: &Packages, got: &[Got]) -> Any {
    let here = packages.items.iter().zip(got);
    let here = here.filter_map(|(item, got)| match got {
        Got::Here { row, .. } => Some((&*item.path, row)),
        Got::Missing { .. } => None,
    });
    any_of(peers, state, here)
}

/// Fetches the proofs that the copy lacks, and counts them to its files.
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
    let wanted = missing(to, site);
    let failures = Failures::default();
    let came = fetch_each(to, site, job, &wanted, &failures)?;
    let mut fetched = 0;
    for (one, row) in wanted.into_iter().zip(came) {
        if let Some(row) = row {
            site.state.files.insert(one.path, row);
            fetched += 1;
        }
    }
    let gave_up = failures.is_enough(job.request.workers.get());
    let told = failures.told(gave_up);
    let incomplete = told.is_some();
    if let Some(why) = told {
        job.watch.note(&format!("proofs are incomplete: {why}"));
    }
    site.state.head.proofs_due = incomplete;
    to.save(site)?;
    Ok(Outcome {
        fetched,
        incomplete,
    })
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
    let any = any_of(job.peers, &site.state, served);
    if let Any::No = any {
        site.state.head.proofs_due = false;
        to.save(site)?;
    }
    fetch(to, site, job, any)
}

/// Whether upstream has evidence about packages and a copy that has their proofs has none of it, as copies have that were
/// made before there was any. One name is asked for, and only by such copies.
pub(super) fn lacks_evidence(peers: &[Peer], state: &State) -> bool {
    let has = |suffix| {
        let mut paths = state.files.keys();
        paths.any(|path| path.ends_with(suffix) && stays(state, path))
    };
    if !has(SUFFIXES[0]) || has(evidence::SUFFIX) {
        return false;
    }
    let packages = state.files.iter().filter(|(path, row)| {
        let proof = format!("{path}{}", SUFFIXES[0]);
        row.dropped_at.is_none() && is_package(path) && state.files.contains_key(&*proof)
    });
    let first = packages.min_by_key(|(path, _)| *path);
    first.is_some_and(|(path, row)| {
        let one = Wanted {
            path: format!("{path}{}", evidence::SUFFIX).into(),
            package: row.sha256,
        };
        matches!(get(peers, &one), Answer::Here(_))
    })
}

/// What came of each; none: it did not.
fn fetch_each(
    to: &dyn Destination,
    site: &Site,
    job: &Job<'_>,
    wanted: &[Wanted],
    failures: &Failures,
) -> Result<Vec<Option<Row>>, SyncError> {
    let workers = job.request.workers;
    each(workers, wanted.len(), |number, _| {
        let one = &wanted[number];
        if failures.is_enough(workers.get()) {
            return Ok(None);
        }
        let bytes = match get(job.peers, one) {
            Answer::Here(bytes) => Some(bytes),
            Answer::Nothing => None,
            Answer::Failed { why, .. } => {
                failures.add(why);
                return Ok(None);
            }
        };
        failures.in_a_row.store(0, Ordering::Relaxed);
        let put = bytes.map(|bytes| to.put_small(site, &one.path, &bytes));
        put.transpose()
    })
}

/// The package that a file of this name is a proof of; none: it is named as none.
pub(super) fn package_of(path: &str) -> Option<&str> {
    let suffixes = SUFFIXES.iter();
    let packages = suffixes.filter_map(|suffix| path.strip_suffix(suffix));
    // `.vsa.sigstore.json` ends in `.sigstore.json`, too.
    packages.min_by_key(|package| package.len())
}

/// Whether a file is a proof beside a package that is served: it stays as long as that does.
pub(super) fn stays(state: &State, path: &str) -> bool {
    package_of(path).is_some_and(|package| {
        let row = state.files.get(package);
        row.is_some_and(|row| row.dropped_at.is_none())
    })
}

/// Removes the proofs of packages that have other content than before, so that they are fetched anew. One that
/// somebody has touched since is not ours any more, and stays.
///
/// * `rows`: what the copy consists of now; the site's state is the one before.
pub(super) fn drop_superseded(
    to: &mut dyn Destination,
    site: &mut Site,
    rows: &[(Box<str>, Row)],
) -> Result<(), SyncError> {
    let before = &site.state.files;
    let is_replaced = |path: &str, row: &Row| {
        let known = before.get(path);
        known.is_some_and(|known| known.sha256 != row.sha256)
    };
    let replaced = rows.iter().filter(|(path, row)| is_replaced(path, row));
    let beside = |path: &str| SUFFIXES.map(|suffix| format!("{path}{suffix}").into_boxed_str());
    let mut stale: HashSet<Box<str>> = replaced.flat_map(|(path, _)| beside(path)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    // Metadata may give a package such a name.
    for (path, _) in rows {
        stale.remove(path);
    }
    for path in stale {
        if let Some(row) = site.state.files.remove(&path) {
            to.remove(site, &path, &row)?;
        }
    }
    Ok(())
}

fn is_package(path: &str) -> bool {
    path.ends_with(".rpm") && tree::below_repodata(path).is_none()
}

/// The proofs of packages that are served and that are not here, in the order of their names.
fn missing(to: &dyn Destination, site: &Site) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let files = site.state.files.iter();
    let packages = files.filter(|(path, row)| is_package(path) && row.dropped_at.is_none());
    for (path, row) in packages {
        for suffix in SUFFIXES {
            let beside = format!("{path}{suffix}").into_boxed_str();
            let known = site.state.files.get(&beside);
            if !known.is_some_and(|row| to.is_untouched(site, &beside, row)) {
                wanted.push(Wanted {
                    path: beside,
                    package: row.sha256,
                });
            }
        }
    }
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    wanted
}

fn any_of<'f>(
    peers: &[Peer],
    state: &State,
    files: impl Iterator<Item = (&'f str, &'f Row)>,
) -> Any {
    if state.files.keys().any(|path| stays(state, path)) {
        return Any::Yes;
    }
    let packages: Vec<_> = files.filter(|(path, _)| is_package(path)).collect();
    let first = packages.iter().min_by_key(|(path, _)| *path);
    // It may be that the first package alone has none.
    let last = packages.iter().max_by_key(|(path, _)| *path);
    let last = last.filter(|_| packages.len() > 1);
    for (path, row) in first.into_iter().chain(last) {
        let one = Wanted {
            path: format!("{path}{}", SUFFIXES[0]).into(),
            package: row.sha256,
        };
        match get(peers, &one) {
            Answer::Here(_) => return Any::Yes,
            Answer::Failed {
                why,
                another_lacks: false,
            } => return Any::Unknown(why),
            // Most repositories have none, also those of which one upstream is away for long.
            Answer::Nothing | Answer::Failed { .. } => {}
        }
    }
    Any::No
}

fn get(peers: &[Peer], one: &Wanted) -> Answer {
    let (mut failed, mut another_lacks) = (None, false);
    for peer in peers {
        let limit_bytes = match one.path.ends_with(evidence::SUFFIX) {
            true => evidence::MAX_PACKAGE_BYTES,
            false => MAX_PROOF_BYTES,
        };
        match peer.read_small(&one.path, limit_bytes) {
            Ok(bytes) if is_right(one, &bytes) => return Answer::Here(bytes),
            Ok(_) => {
                tracing::debug!("{}: {} is no proof of this package", peer.label(), one.path);
                another_lacks = true;
            }
            Err(Problem::Missing) => another_lacks = true,
            Err(problem) => {
                let why = format!("{}: {}: {problem}", peer.label(), one.path);
                tracing::debug!("{why}");
                match problem.may_pass() {
                    true => failed = Some(why),
                    false => another_lacks = true,
                }
            }
        }
    }
    match failed {
        Some(why) => Answer::Failed { why, another_lacks },
        None => Answer::Nothing,
    }
}

/// Whether it is what its name says; nobody's word is verified.
fn is_right(one: &Wanted, bytes: &[u8]) -> bool {
    if one.path.ends_with(".tlog-proof") {
        let text = std::str::from_utf8(bytes);
        return text.is_ok_and(|text| text.parse::<LogProof>().is_ok());
    }
    if one.path.ends_with(evidence::SUFFIX) {
        return evidence::is_about(bytes, one.package);
    }
    let Ok(bundle) = Bundle::from_json(bytes) else {
        return false;
    };
    if one.path.ends_with(".vsa.sigstore.json") {
        return true;
    }
    let said = Statement::<PackageRelease>::open_unverified(&bundle.envelope, PACKAGE_RELEASE);
    let hex = one.package.to_hex();
    said.is_ok_and(|said| {
        let mut subjects = said.subject.iter();
        subjects.any(|subject| subject.digest.get("sha256") == Some(&hex))
    })
}

#[cfg(test)]
mod tests {
    use super::super::claim::Claim;
    use super::super::directory::Directory;
    use super::super::filter::Filters;
    use super::super::request::{FilteredMetadata, Patience, Request, Unwatched, Upstream, Verify};
    use super::*;
    use repo_model::Timestamp;
    use repo_model::bundle;
    use repo_model::dsse::StatementKey;
    use repo_model::statement::Subject;
    use std::fs;
    use std::num::NonZeroUsize;
    use std::path::Path;
    use std::time::Duration;

    const PACKAGE: &str = "p.rpm";

    fn bundle_about(file: FileDigest) -> Vec<u8> {
        let said = PackageRelease {
            purl: "pkg:rpm/p".to_owned(),
        };
        let subject = vec![Subject::file(PACKAGE, file)];
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let signed = Statement::new(PACKAGE_RELEASE, subject, said).sign(&key);
        bundle::of(&signed.unwrap())
    }

    fn request(upstream: &str, directory: &Path) -> Request {
        let upstream = Upstream::new(upstream, Duration::from_secs(1)).unwrap();
        Request {
            upstreams: vec![upstream],
            directory: directory.to_owned(),
            store: None,
            filters: Filters::default(),
            filtered_metadata: FilteredMetadata::Keep,
            workers: NonZeroUsize::MIN,
            bytes_per_sec: None,
            patience: Patience::default(),
            delete_after: None,
            allow_older: false,
            skip_missing: false,
            unclaimed_max_bytes: 1 << 20,
            now: Timestamp::from_unix_secs(1_800_000_000),
        }
    }

    fn job<'a>(request: &'a Request, peers: &'a [Peer]) -> Job<'a> {
        Job {
            request,
            peers,
            verify: Verify::Nothing,
            rewrite: None,
            watch: &Unwatched,
        }
    }

    fn row_of(path: &Path) -> Row {
        let digest = FileDigest::of(&fs::read(path).unwrap());
        Row::of(&fs::metadata(path).unwrap(), digest, &Claim::of(digest))
    }

    #[test]
    fn proofs_that_a_sync_was_cut_off_from_are_fetched_later_and_go_with_what_they_are_about() {
        let root = tempfile::tempdir().unwrap();
        let (copy, origin) = (root.path().join("copy"), root.path().join("origin"));
        fs::create_dir_all(&copy).unwrap();
        fs::create_dir_all(&origin).unwrap();
        fs::write(copy.join(PACKAGE), b"package").unwrap();
        let bundle = bundle_about(FileDigest::of(b"package"));
        fs::write(origin.join("p.rpm.sigstore.json"), bundle).unwrap();

        let mut to = Directory;
        let away = request("http://127.0.0.1:1/", &copy);
        let there = request(&format!("file://{}", origin.display()), &copy);
        let (no_peers, peers) = (Peer::all(&away), Peer::all(&there));
        let (away, there) = (job(&away, &no_peers), job(&there, &peers));
        let mut site = Site::open(away.request).unwrap();
        let row = row_of(&copy.join(PACKAGE));
        site.state.files.insert(PACKAGE.into(), row.clone());
        // Nobody tells whether there are any; then they are asked for, and do not come.
        site.state.head.proofs_due = true;
        let outcome = fetch_late(&mut to, &mut site, &away).unwrap();
        assert!(outcome.incomplete && site.state.head.proofs_due);
        let outcome = fetch(&mut to, &mut site, &away, Any::Yes).unwrap();
        assert!(outcome.incomplete && outcome.fetched == 0);
        let state = State::load(&site.own.join("state")).unwrap();
        assert!(state.head.proofs_due, "the next sync asks for them");

        let outcome = fetch(&mut to, &mut site, &there, Any::Yes).unwrap();
        assert!(outcome.fetched == 1 && !outcome.incomplete && !site.state.head.proofs_due);
        let proof = copy.join("p.rpm.sigstore.json");
        assert!(proof.is_file() && stays(&site.state, "p.rpm.sigstore.json"));
        // A copy that has some need not be asked whether there are any.
        let known = any_of(&no_peers, &site.state, std::iter::empty());
        assert!(matches!(known, Any::Yes));

        drop_superseded(&mut to, &mut site, &[(PACKAGE.into(), row)]).unwrap();
        assert!(proof.is_file());
        fs::write(copy.join(PACKAGE), b"anew").unwrap();
        let anew = row_of(&copy.join(PACKAGE));
        drop_superseded(&mut to, &mut site, &[(PACKAGE.into(), anew)]).unwrap();
        assert!(!proof.exists() && site.state.files.len() == 1);

        // Upstream has none, as most have: that is all there is to ask.
        site.state.head.proofs_due = true;
        let outcome = fetch_late(&mut to, &mut site, &there).unwrap();
        assert!(!outcome.incomplete && !site.state.head.proofs_due);
    }

    fn pack_about(file: FileDigest) -> Vec<u8> {
        let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
        crate::tar::write_file(&mut out, "hallmark-evidence-pack", b"1\n").unwrap();
        crate::tar::write_file(&mut out, "bundles/a", &bundle_about(file)).unwrap();
        crate::tar::finish(&mut out).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn a_copy_of_before_there_was_evidence_gets_it_though_nothing_changes() {
        let root = tempfile::tempdir().unwrap();
        let (copy, origin) = (root.path().join("copy"), root.path().join("origin"));
        fs::create_dir_all(&copy).unwrap();
        fs::create_dir_all(&origin).unwrap();
        let there = request(&format!("file://{}", origin.display()), &copy);
        let peers = Peer::all(&there);
        let there = job(&there, &peers);
        let (mut to, mut site) = (Directory, Site::open(there.request).unwrap());
        for name in [PACKAGE, "p.rpm.tlog-proof"] {
            fs::write(copy.join(name), b"package").unwrap();
            let row = row_of(&copy.join(name));
            site.state.files.insert(name.into(), row);
        }
        assert!(!lacks_evidence(&peers, &site.state), "upstream has none");
        let packed = pack_about(FileDigest::of(b"package"));
        fs::write(origin.join("p.rpm.evidence.tar.zst"), &packed).unwrap();
        assert!(lacks_evidence(&peers, &site.state));
        let outcome = fetch_late(&mut to, &mut site, &there).unwrap();
        assert_eq!(outcome.fetched, 1);
        let beside = fs::read(copy.join("p.rpm.evidence.tar.zst")).unwrap();
        assert!(beside == packed && !lacks_evidence(&peers, &site.state));

        // What they share was away: the next sync asks for it, though nothing changes.
        let renew = |site: &Site| super::super::evidence::renew(&Directory, site, &there, false);
        renew(&site).unwrap();
        assert!(!copy.join(evidence::COMMON).exists());
        fs::write(origin.join(evidence::COMMON), &packed).unwrap();
        renew(&site).unwrap();
        assert!(copy.join(evidence::COMMON).is_file());
    }

    #[test]
    fn a_proof_is_of_the_package_before_its_longest_suffix() {
        for (path, package) in [
            ("a.rpm.sigstore.json", Some("a.rpm")),
            ("a.rpm.vsa.sigstore.json", Some("a.rpm")),
            ("P/a.rpm.vsa.tlog-proof", Some("P/a.rpm")),
            ("a.rpm", None),
        ] {
            assert_eq!(package_of(path), package);
        }
    }

    #[test]
    fn only_a_bundle_about_the_very_file_is_taken_and_only_proofs_that_read() {
        let package = FileDigest::of(b"package");
        let wanted = |suffix: &str| Wanted {
            path: format!("Packages/p/p.rpm{suffix}").into(),
            package,
        };
        assert!(is_right(&wanted(".sigstore.json"), &bundle_about(package)));
        let other = bundle_about(FileDigest::of(b"other"));
        assert!(!is_right(&wanted(".sigstore.json"), &other));
        assert!(
            is_right(&wanted(".vsa.sigstore.json"), &other),
            "its subject is the header"
        );
        for suffix in SUFFIXES {
            for junk in [&b""[..], b"<html>not found</html>", b"{}", b"[[[[", b"\xff"] {
                assert!(!is_right(&wanted(suffix), junk), "{suffix}");
            }
        }
    }
}
