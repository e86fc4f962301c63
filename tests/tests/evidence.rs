//! Nothing is served before its evidence is there; all evidence can be fetched and checked by anybody;
//! what is held can be tried again.

use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::packages::{self, Probe};
use hallmark_tests::repository::Repository;
use hallmark_tests::tools::BUILDING;
use hallmark_tests::{Options, World, require};
use repo_model::bundle::Bundle;
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::policy::Reason;
use repo_model::release::ReleaseDocument;
use repo_model::statement::{
    PACKAGE_RELEASE, PROVENANCE, PackageRelease, Provenance, REBUILD, RELEASE, Rebuild,
    SBOM_REFERENCE, SbomReference, Statement, VSA, VerificationSummary,
};
use repo_model::wire::status::{BuildStatus, EvidenceLink, PackageStatus};
use repo_model::{FileDigest, HeaderDigest, sbom_facts, sealed};
use std::collections::BTreeSet;

const BASE: &str = "/preview/base/x86_64";

/// Whether a rebuilder has an answer, told or not.
fn has_answer(status: &BuildStatus, rebuilder: &str) -> bool {
    let states = ["committed", "revealing", "done"];
    status.rebuilds.iter().any(|rebuild| {
        rebuild.rebuilder.as_str() == rebuilder && states.contains(&rebuild.state.as_str())
    })
}

fn is_done(build: &BuildStatus, rebuilder: &str) -> bool {
    build
        .rebuilds
        .iter()
        .any(|rebuild| rebuild.rebuilder.as_str() == rebuilder && rebuild.state == "done")
}

#[test]
fn a_package_that_lacks_a_rebuild_is_not_served_until_it_has_it() {
    require!(BUILDING);
    let owned = World::start(&Options {
        start_rebuilders: false,
        ..Options::two_rebuilders()
    });
    let world = owned.watch();
    let build = world.publish(&[&packages::bundled_one("libtally")])[0].build;
    world.start_process("rebuilder-a");
    let status = world.until_build(build, "is rebuilt by one", |status| {
        has_answer(status, "rebuilder-a") && status.jobs.is_empty()
    });
    let told = status.packages.iter().flat_map(|package| &package.evidence);
    assert_eq!(
        told.filter(|link| link.kind == "rebuild").count(),
        0,
        "nobody can copy it"
    );
    assert!(
        status
            .rebuilds
            .iter()
            .all(|rebuild| rebuild.verdict.is_none())
    );
    assert!(
        ["received", "held"].contains(&status.stage.name()),
        "{:?}",
        status.stage
    );
    let anonymous = world.http.with_token(None);
    let repository = Repository::new(&anonymous, BASE);
    assert_eq!(repository.packages(), []);
    let source = format!("/evidence/sha256/{}", status.source_file);
    assert_eq!(anonymous.get(&source).status, 404, "nor is its source");
    for package in &status.packages {
        assert_eq!(package.signed_file, None);
        for end in ["", ".asc", ".cdx.json", ".vsa.json"] {
            let path = format!("{BASE}/{}{end}", package.href);
            assert_eq!(anonymous.get(&path).status, 404, "{path}");
        }
        assert_eq!(
            anonymous
                .get(&format!("/evidence/sha256/{}", package.unsigned_file))
                .status,
            404
        );
        assert_eq!(
            anonymous
                .get(&format!("/api/v1/blobs/{}", package.unsigned_file))
                .status,
            401
        );
    }

    world.start_process("rebuilder-b");
    let status = world.until_published(build);
    assert_eq!(anonymous.get(&source).status, 200);
    let profiles: BTreeSet<_> = status
        .rebuilds
        .iter()
        .map(|rebuild| rebuild.profile.clone())
        .collect();
    assert!(profiles.contains(&Some("plain".to_owned())), "{profiles:?}");
    assert_eq!(profiles.len(), 2, "each varies something else");
    assert_eq!(repository.check_everything().len(), status.packages.len());
    check_evidence(&world, &status);
    check_command(&world, &status);
    check_release(&world);
}

/// Every document is what its digest says, and every statement verifies with the key of who made it.
fn check_evidence(world: &World, build: &BuildStatus) {
    let text = |path: &str| String::from_utf8(world.http.fetch(path)).expect("text");
    let signer: StatementPublicKey = text("/keys/statement.pub").parse().expect("a key");
    for package in &build.packages {
        let kinds: BTreeSet<_> = package
            .evidence
            .iter()
            .map(|link| (link.kind.as_str(), link.label.as_str()))
            .collect();
        for wanted in [
            ("sbom", "cyclonedx-1.6"),
            ("sbom", "spdx-2.3"),
            ("rebuild", "rebuilder-a"),
            ("rebuild", "rebuilder-b"),
            ("commitment", "rebuilder-a"),
            ("commitment", "rebuilder-b"),
            ("reveal", "rebuilder-a"),
            ("reveal", "rebuilder-b"),
        ] {
            assert!(kinds.contains(&wanted), "{wanted:?} is not in {kinds:?}");
        }
        for kind in ["verification-summary", "detached-signature"] {
            assert!(
                kinds.iter().any(|(other, _)| *other == kind),
                "{kind} is not in {kinds:?}"
            );
        }
        for link in &package.evidence {
            let document = world
                .http
                .fetch(&format!("/evidence/sha256/{}", link.digest));
            assert_eq!(
                FileDigest::of(&document),
                link.digest,
                "{} {}",
                link.kind,
                link.label
            );
            check_document(
                world,
                &signer,
                build,
                package,
                (&link.kind, &link.label),
                &document,
            );
        }
    }
    let provenance = build.provenance.expect("the builder signed one");
    let envelope =
        Envelope::from_json(&world.http.fetch(&format!("/evidence/sha256/{provenance}")))
            .expect("an envelope");
    let builder = &world.policy().builders[0].statement_key;
    let statement =
        Statement::<Provenance>::open(&envelope, builder, PROVENANCE).expect("it verifies");
    assert!(
        build
            .packages
            .iter()
            .all(|package| statement.is_about(package.header))
    );
    let buildinfo = world
        .http
        .fetch(&format!("/evidence/sha256/{}", build.buildinfo));
    assert_eq!(FileDigest::of(&buildinfo), build.buildinfo);
}

fn check_document(
    world: &World,
    signer: &StatementPublicKey,
    build: &BuildStatus,
    package: &PackageStatus,
    (kind, label): (&str, &str),
    document: &[u8],
) {
    match kind {
        "sbom" => {
            let json: serde_json::Value = serde_json::from_slice(document).expect("JSON");
            assert!(
                json.to_string().contains(&package.header.to_hex()),
                "{label} names the package by its header"
            );
            if world.policy().sbom_formats.contains(label) {
                let facts = sbom_facts::read(document).expect("an SBOM");
                assert_eq!(
                    (facts.format.as_str(), facts.header_digest),
                    (label, package.header)
                );
            }
        }
        "rebuild" => {
            let envelope = Envelope::from_json(document).expect("an envelope");
            let holder = world
                .policy()
                .rebuilder(&label.parse().expect("a name"))
                .expect("the policy knows it");
            let statement = Statement::<Rebuild>::open(&envelope, &holder.statement_key, REBUILD)
                .expect("it verifies");
            assert!(statement.is_about(package.header));
            assert!(
                statement.predicate.verdict.confirms(),
                "{:?}",
                statement.predicate
            );
            assert_eq!(
                statement.predicate.buildinfo.digest["sha256"],
                build.buildinfo.to_hex()
            );
            Statement::<Rebuild>::open(&envelope, signer, REBUILD).expect_err("another key");
            for attachment in &statement.predicate.attachments {
                let digest = &attachment.digest["sha256"];
                let content = world.http.fetch(&format!("/evidence/sha256/{digest}"));
                assert_eq!(FileDigest::of(&content).to_hex(), *digest);
            }
        }
        "verification-summary" => {
            let envelope = Envelope::from_json(document).expect("an envelope");
            let statement = Statement::<VerificationSummary>::open(&envelope, signer, VSA)
                .expect("it verifies");
            assert!(statement.is_about(package.header));
            assert_eq!(statement.predicate.verification_result, "PASSED");
            assert_eq!(
                statement.predicate.verified_levels,
                ["HALLMARK_REPRODUCED_2_OF_2"]
            );
            let judged: BTreeSet<_> = statement
                .predicate
                .input_attestations
                .iter()
                .map(|input| input.digest["sha256"].clone())
                .collect();
            let counts = |link: &&EvidenceLink| {
                ["rebuild", "commitment", "reveal"].contains(&link.kind.as_str())
                    || world.policy().sbom_formats.contains(&link.label)
            };
            for link in package.evidence.iter().filter(counts) {
                assert!(
                    judged.contains(&link.digest.to_hex()),
                    "{} {} was not judged",
                    link.kind,
                    link.label
                );
            }
        }
        "commitment" => {}
        "reveal" => check_reveal(world, package, label, document),
        "sbom-statement" | "sbom-reference" => {
            let envelope = Envelope::from_json(document).expect("an envelope");
            let statement = Statement::<SbomReference>::open(&envelope, signer, SBOM_REFERENCE)
                .expect("it verifies");
            assert!(statement.is_about(package.header));
        }
        "detached-signature" => assert!(document.starts_with(b"-----BEGIN PGP SIGNATURE-----")),
        "release-statement" => {
            let envelope = Envelope::from_json(document).expect("an envelope");
            let statement = Statement::<PackageRelease>::open(&envelope, signer, PACKAGE_RELEASE)
                .expect("it verifies");
            let served = package.signed_file.expect("it is signed").to_hex();
            assert_eq!(statement.subject[0].digest["sha256"], served);
        }
        "sigstore-bundle" => {
            let bundle = Bundle::from_json(document).expect("a bundle");
            assert_eq!(bundle.places.len(), 1, "{label}");
        }
        "evidence-pack" => {
            let unpacked = zstd::decode_all(document).expect("zstd");
            let unpacked = String::from_utf8_lossy(&unpacked);
            let served = package.signed_file.expect("it is signed").to_hex();
            assert!(unpacked.contains(&served), "{label}");
        }
        "log-proof" => assert!(document.starts_with(b"c2sp.org/tlog-proof@v1\n"), "{label}"),
        other => panic!("a document of unknown kind {other}"),
    }
}

/// It opens its rebuilder's commitment, tells the statement about this package, and names a round of all who
/// count.
fn check_reveal(world: &World, package: &PackageStatus, by: &str, document: &[u8]) {
    let link = |kind: &str, by: &str| {
        let found = package
            .evidence
            .iter()
            .find(|link| link.kind == kind && link.label == by);
        found.unwrap_or_else(|| panic!("no {kind} of {by}")).digest
    };
    let holder = world
        .policy()
        .rebuilder(&by.parse().expect("a name"))
        .expect("the policy knows it");
    let commitment = world
        .http
        .fetch(&format!("/evidence/sha256/{}", link("commitment", by)));
    let commitment = Envelope::from_json(&commitment).expect("an envelope");
    let reveal = Envelope::from_json(document).expect("an envelope");
    let opened = sealed::open(&commitment, &reveal, &holder.statement_key).expect("it fits");
    assert!(opened.reveal.statements.contains(&link("rebuild", by)));
    let all: BTreeSet<_> = ["rebuilder-a", "rebuilder-b"]
        .into_iter()
        .map(|by| link("commitment", by))
        .collect();
    assert_eq!(opened.reveal.round, all.into_iter().collect::<Vec<_>>());
}

/// `hallmark evidence` downloads the same documents.
fn check_command(world: &World, build: &BuildStatus) {
    let folder = world.new_dir("downloaded");
    let path = folder.to_str().expect("paths here are UTF-8");
    let package = &build.packages[0];
    world.hallmark_ok(&["evidence", &package.nevra.to_string(), "-o", path]);
    let below = folder.join(package.nevra.file_name());
    let digests: BTreeSet<_> = std::fs::read_dir(below)
        .expect("a folder for the package")
        .flatten()
        .map(|entry| FileDigest::of(&std::fs::read(entry.path()).expect("a document")))
        .collect();
    assert_eq!(
        digests,
        package.evidence.iter().map(|link| link.digest).collect()
    );
}

/// The release's document is signed, names the files that are served, and follows its predecessor.
fn check_release(world: &World) {
    let signer: StatementPublicKey = String::from_utf8(world.http.fetch("/keys/statement.pub"))
        .expect("text")
        .parse()
        .expect("a key");
    let releases = world.releases();
    let open = |digest: FileDigest| {
        let envelope =
            Envelope::from_json(&world.http.fetch(&format!("/evidence/sha256/{digest}")))
                .expect("an envelope");
        Statement::<ReleaseDocument>::open(&envelope, &signer, RELEASE)
            .expect("it verifies")
            .predicate
    };
    for pair in releases.windows(2) {
        let (newer, older) = (open(pair[0].envelope), &pair[1]);
        let previous = newer.previous.expect("it is not the first");
        assert_eq!((previous.id, previous.sha256), (older.id, older.envelope));
        assert!(newer.issued > older.issued, "publish instants only grow");
    }
    let newest = open(releases[0].envelope);
    for repo in &newest.repos {
        let base = format!("/r/{}/{}/{}", newest.id, repo.repo, repo.arch);
        assert_eq!(
            FileDigest::of(&world.http.fetch(&format!("{base}/repodata/repomd.xml"))),
            repo.repomd
        );
        let list = world
            .http
            .fetch(&format!("/evidence/sha256/{}", repo.package_list));
        assert_eq!(FileDigest::of(&list), repo.package_list);
    }
}

#[test]
fn what_is_held_for_want_of_a_rebuild_is_published_after_a_retry() {
    require!(BUILDING);
    let owned = World::start(&Options {
        start_rebuilders: false,
        server_settings: "max_rebuild_attempts = 1\n",
        ..Options::two_rebuilders()
    });
    let world = owned.watch();
    let build = world.publish(&[&Probe::slow("patience", 3).built()])[0].build;
    world.start_process("rebuilder-a");
    // One second is too little: an infrastructure failure, and the only try.
    world
        .process("rebuilder-b")
        .env("HALLMARK_REBUILDER__BUILD_SECS", "1");
    world.start_process("rebuilder-b");
    let held = world.until_build(build, "is held and nothing goes on", |status| {
        status.stage.name() == "held" && status.jobs.is_empty() && is_done(status, "rebuilder-a")
    });
    let missing = Reason::RebuildsMissing { have: 1, want: 2 };
    assert!(held.stage.reasons().contains(&missing), "{:?}", held.stage);
    let failed = held
        .rebuilds
        .iter()
        .find(|rebuild| rebuild.rebuilder.as_str() == "rebuilder-b")
        .expect("it is listed");
    assert_eq!(failed.state, "failed");
    assert!(
        failed.last_error.is_some() && failed.verdict.is_none(),
        "no verdict of a mismatch: {failed:?}"
    );
    assert_eq!(Repository::new(&world.http, BASE).packages(), []);

    assert!(world.process("rebuilder-b").stop().success(), "a clean end");
    world
        .process("rebuilder-b")
        .env("HALLMARK_REBUILDER__BUILD_SECS", "600");
    world.start_process("rebuilder-b");
    world.hallmark_ok(&["retry", &build.to_string()]);
    world.until_published(build);
    assert_eq!(
        Repository::new(&world.http, BASE).check_everything().len(),
        1
    );
}

#[test]
fn what_differs_is_rebuilt_anew_by_a_retry_and_held_again() {
    require!(BUILDING);
    let owned = World::start(&Options::two_rebuilders());
    let world = owned.watch();
    let build = world.publish(&[&packages::bundled_one(packages::CLOCKWORK)])[0].build;
    let settled = |status: &BuildStatus| {
        let all_done = status
            .rebuilds
            .iter()
            .all(|rebuild| rebuild.state == "done");
        status.stage.name() == "held" && status.jobs.is_empty() && all_done
    };
    let first = world.until_build(build, "is held", settled);
    let statements = |status: &BuildStatus| {
        let links = status.packages[0]
            .evidence
            .iter()
            .filter(|link| link.kind == "rebuild");
        links.map(|link| link.digest).collect::<BTreeSet<_>>()
    };
    assert!(
        !statements(&first).is_empty(),
        "the objections are evidence too"
    );
    world.hallmark_ok(&["retry", &build.to_string()]);
    let second = world.until_build(build, "is held again, after new rebuilds", |status| {
        settled(status) && statements(status).len() > statements(&first).len()
    });
    assert_eq!(second.packages[0].signed_file, None);
    assert_eq!(Repository::new(&world.http, BASE).packages(), []);
    let twice = world.hallmark(&["retry", "4242"]);
    assert_eq!(
        twice.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&twice.stderr)
    );
}

/// A new policy revokes the package; server and signer are killed and start with it.
fn revoke(world: &World, header: HeaderDigest) {
    let policy = world.dir().join("policy.toml");
    let text = std::fs::read_to_string(&policy).expect("the policy is there");
    let text = text.replacen("version = 1", "version = 2", 1);
    let revoked = format!("[[revoked]]\nheader_sha256 = \"{header}\"\nreason = \"a test\"\n");
    std::fs::write(&policy, format!("{text}\n{revoked}")).expect("the policy can be written");
    for name in ["signer", "server"] {
        world.crash(name);
    }
    world.until_ready();
}

#[test]
fn what_is_revoked_between_signature_and_release_is_rejected() {
    let owned = World::start(&Options {
        publish_delay_millis: 10_000,
        ..Options::no_rebuilds()
    });
    let world = owned.watch();
    let build = Crafted::new("recalled", "1.0").publish(&world.http).build;
    let signed = world.until_build(build, "is signed", |status| status.stage.name() == "signed");
    revoke(&world, signed.packages[0].header);
    let status = world.until_build(build, "is rejected", |status| {
        status.stage.name() == "rejected"
    });
    let why = Reason::Revoked {
        reason: "a test".to_owned(),
    };
    assert_eq!(status.stage.reasons(), [why]);
    assert!(
        Repository::new(&world.http, BASE)
            .package("recalled")
            .is_none()
    );
}

#[test]
fn what_the_policy_revokes_leaves_with_the_next_release_and_stays_in_the_old_one() {
    require!(BUILDING);
    let owned = World::start(&Options::two_rebuilders());
    let world = owned.watch();
    let build = world.publish(&[&packages::bundled_one("libtally")])[0].build;
    let status = world.until_published(build);
    let (gone, stays) = (&status.packages[0], &status.packages[1]);
    let before = world.channel("preview");

    revoke(&world, gone.header);
    let after = world.until("a release without the package", || {
        match world.channel("preview") {
            release if release > before => Ok(release),
            release => Err(format!("still release {release}")),
        }
    });
    let names = |base: &str| {
        let repository = Repository::new(&world.http, base);
        let mut names: Vec<_> = repository
            .check_everything()
            .into_iter()
            .map(|p| p.name)
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&format!("/r/{after}/base/x86_64")),
        [stays.nevra.name.as_str()]
    );
    let mut both = [gone.nevra.name.as_str(), stays.nevra.name.as_str()];
    both.sort_unstable();
    assert_eq!(names(&format!("/r/{before}/base/x86_64")), both);
}
