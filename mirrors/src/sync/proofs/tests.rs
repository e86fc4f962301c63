use super::super::claim::Claim;
use super::super::directory::Directory;
use super::super::filter::Filters;
use super::super::request::{FilteredMetadata, Patience, Request, Unwatched, Upstream, Verify};
use super::super::state::Proof;
use super::ask::is_right;
use super::*;
use repo_model::bundle;
use repo_model::dsse::StatementKey;
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, Statement, Subject};
use repo_model::{FileDigest, Timestamp};
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
    assert!(proof.is_file() && are_untouched(&to, &site));
    assert_eq!(served(&site.state).count(), 1);
    // A copy that has some need not be asked whether there are any.
    let known = any_of(&no_peers, &site, std::iter::empty());
    assert!(matches!(known, Ok(Any::Yes)));
    // What is on its way goes to its place, or nowhere.
    assert_eq!(fs::read_dir(site.own.join("work")).unwrap().count(), 0);

    drop_superseded(&mut to, &mut site, &[(PACKAGE.into(), row)]).unwrap();
    assert!(proof.is_file());
    fs::write(copy.join(PACKAGE), b"anew").unwrap();
    let anew = row_of(&copy.join(PACKAGE));
    drop_superseded(&mut to, &mut site, &[(PACKAGE.into(), anew)]).unwrap();
    assert!(!proof.exists() && site.state.files.len() == 1 && site.state.proofs.is_empty());

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
    }
    let row = row_of(&copy.join(PACKAGE));
    site.state.files.insert(PACKAGE.into(), row);
    let proof = Proof::of(&fs::metadata(copy.join("p.rpm.tlog-proof")).unwrap());
    let mut came = Proofs::default();
    came[0] = Some(proof);
    site.state.add_proofs(PACKAGE, came);
    let lacks = |site: &Site| lacks_evidence(&peers, site).unwrap();
    assert!(!lacks(&site), "upstream has none");
    let packed = pack_about(FileDigest::of(b"package"));
    fs::write(origin.join("p.rpm.evidence.tar.zst"), &packed).unwrap();
    assert!(lacks(&site));
    let outcome = fetch_late(&mut to, &mut site, &there).unwrap();
    assert_eq!(outcome.fetched, 1);
    let beside = fs::read(copy.join("p.rpm.evidence.tar.zst")).unwrap();
    assert!(beside == packed && !lacks(&site));

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
        ("a.rpm.sigstore.json", Some(("a.rpm", 1))),
        ("a.rpm.vsa.sigstore.json", Some(("a.rpm", 3))),
        ("P/a.rpm.vsa.tlog-proof", Some(("P/a.rpm", 2))),
        ("a.rpm.evidence.tar.zst", Some(("a.rpm", EVIDENCE))),
        ("a.rpm", None),
        ("sbom/index.sigstore.json", None),
        ("repodata/a.rpm.sigstore.json", None),
    ] {
        assert_eq!(package_of(path), package);
    }
}

#[test]
fn proofs_of_what_upstream_dropped_go_with_it_and_a_package_may_have_the_name_of_a_proof() {
    let root = tempfile::tempdir().unwrap();
    let request = request("http://127.0.0.1:1/", root.path());
    let (mut to, mut site) = (Directory, Site::open(&request).unwrap());
    let (kept, proof) = ("p.rpm.sigstore.json", "q.rpm.sigstore.json");
    for name in [PACKAGE, kept, "q.rpm", proof] {
        fs::write(root.path().join(name), name).unwrap();
    }
    for (package, beside) in [(PACKAGE, kept), ("q.rpm", proof)] {
        let path = root.path().join(beside);
        let mut came = Proofs::default();
        came[1] = Some(Proof::of(&fs::metadata(path).unwrap()));
        site.state.add_proofs(package, came);
    }
    let of = |name: &str| (Box::<str>::from(name), row_of(&root.path().join(name)));
    drop_superseded(&mut to, &mut site, &[of(PACKAGE), of(kept)]).unwrap();
    assert_eq!(remove_of(&mut to, &mut site, PACKAGE).unwrap(), []);
    assert!(root.path().join(kept).is_file(), "it is a package now");

    // The package is gone, and nothing else tells of its proof.
    let deleted = super::super::finish::delete(&mut to, &mut site, &request, &Unwatched);
    assert_eq!(deleted.unwrap(), 1);
    assert!(!root.path().join(proof).exists() && site.state.proofs.is_empty());
}

#[test]
fn only_a_bundle_about_the_very_file_is_taken_and_only_proofs_that_read() {
    let package = FileDigest::of(b"package");
    let wanted = |suffix: &str| Wanted {
        path: format!("Packages/p/p.rpm{suffix}").into(),
        package,
    };
    let own = bundle_about(package);
    assert!(is_right(&wanted(".sigstore.json"), &own[..]));
    let other = bundle_about(FileDigest::of(b"other"));
    assert!(!is_right(&wanted(".sigstore.json"), &other[..]));
    assert!(
        is_right(&wanted(".vsa.sigstore.json"), &other[..]),
        "its subject is the header"
    );
    for suffix in SUFFIXES {
        for junk in [&b""[..], b"<html>not found</html>", b"{}", b"[[[[", b"\xff"] {
            assert!(!is_right(&wanted(suffix), junk), "{suffix}");
        }
    }
}
