//! Who decides, seen from outside: two people let a held package out, and stock tools check what the
//! signer says about it.

use hallmark_tests::clients::in_client_root;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::tools::Need;
use hallmark_tests::{Options, World, require};
use repo_model::dsse::{Envelope, StatementKey, StatementPublicKey};
use repo_model::statement::{PACKAGE_RELEASE, Statement, VSA, VerificationSummary};
use std::path::Path;
use std::process::Output;

const BASE: &str = "/preview/base/x86_64";

fn person(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).expect("the seed is in range")
}

/// Provenance is demanded and never given; alice, with two keys, and bob may waive that.
fn strict() -> Options {
    let mut more_policy = String::new();
    for (name, seed) in [("alice", 31), ("alice", 32), ("bob", 33)] {
        let pem = person(seed).public().to_pem();
        more_policy.push_str(&format!(
            "[[waiver_signers]]\nperson = \"{name}\"\nstatement_key = \"\"\"\n{pem}\"\"\"\n"
        ));
    }
    Options {
        require_provenance: true,
        more_policy,
        ..Options::no_rebuilds()
    }
}

fn key_file(dir: &Path, name: &str, seed: u8) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.join(name);
    std::fs::write(&path, person(seed).to_pem().expect("PEM")).expect("a key file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    path.to_str().expect("paths here are UTF-8").to_owned()
}

#[test]
fn two_people_let_a_held_package_out_and_everything_says_so() {
    let owned = World::start(&strict());
    let world = owned.watch();
    let build = Crafted::new("urgent", "1.0").publish(&world.http).build;
    let number = build.to_string();
    world.until_build(build, "is held", |status| status.stage.name() == "held");
    let dir = world.new_dir("waiver");
    let path = |name: &str| dir.join(name).display().to_string();
    let waiver = path("waiver.json");
    let create = |finding: &str, days: &str, out: &str| {
        world.hallmark_ok(&[
            "waiver",
            "create",
            "--build",
            &number,
            "--finding",
            finding,
            "--reason",
            "a hole that is being used",
            "--days",
            days,
            "-o",
            out,
        ]);
    };
    create("provenance-missing", "7", &waiver);
    let refused = |file: &str, says: &str| {
        let output = world.hallmark(&["waiver", "submit", file]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{says:?} is not in {said}");
    };
    let sign = |file: &str, key: &str| world.hallmark_ok(&["waiver", "sign", file, "--key", key]);
    refused(&waiver, "no waiver that anybody signed");
    let (alice, again) = (key_file(&dir, "alice", 31), key_file(&dir, "alice-2", 32));
    let (bob, stranger) = (key_file(&dir, "bob", 33), key_file(&dir, "x", 34));
    assert!(sign(&waiver, &alice).contains("a hole that is being used"));
    for key in [&again, &stranger] {
        sign(&waiver, key);
        refused(&waiver, "signed by 1 of the 2 people");
    }
    let (long, expired) = (path("long.json"), path("expired.json"));
    create("provenance-missing", "91", &long);
    create("provenance-missing", "0", &expired);
    for (file, says) in [(&long, "more than the 90 days"), (&expired, "expired")] {
        sign(file, &alice);
        sign(file, &bob);
        refused(file, says);
    }
    assert_eq!(world.build(build).stage.name(), "held");

    sign(&waiver, &bob);
    world.hallmark_ok(&["waiver", "submit", &waiver]);
    let status = world.until_published(build);
    let package = &status.packages[0];
    let shown = package.evidence.iter().find(|link| link.kind == "waiver");
    let shown = shown.expect("the waiver is in the status");
    assert!(
        shown
            .label
            .starts_with("provenance-missing by alice and bob until "),
        "{}",
        shown.label
    );
    let page = String::from_utf8(world.http.fetch(&format!("/builds/{build}"))).expect("text");
    assert!(page.contains("provenance-missing by alice and bob"));
    let key = String::from_utf8(world.http.fetch("/keys/statement.pub")).expect("text");
    let key: StatementPublicKey = key.parse().expect("a key");
    let summary = world
        .http
        .fetch(&format!("{BASE}/{}.vsa.json", package.href));
    let summary = Envelope::from_json(&summary).expect("an envelope");
    let summary = Statement::<VerificationSummary>::open(&summary, &key, VSA).expect("it verifies");
    assert_eq!(
        summary.predicate.verified_levels,
        ["HALLMARK_WAIVED_PROVENANCE_MISSING"]
    );
    let said = hallmark_tests::said::kinds(&hallmark_tests::said::statements(&world.http));
    assert_eq!(said.get("waiver/v0.1"), Some(&1), "{said:?}");
    // A monitor alarms about it when it reads it, and does not go on about it.
    let trust = path("trust");
    world.hallmark_ok(&["trust", "fetch", "-o", &trust]);
    let (url, state) = (world.url(), path("monitor.json"));
    let monitor = || world.hallmark(&["monitor", &url, "--trust", &trust, "--state", &state]);
    let first = monitor();
    let told = String::from_utf8_lossy(&first.stdout).into_owned();
    assert_eq!(first.status.code(), Some(1), "{told}");
    assert!(told.contains("two people waived findings"), "{told}");
    let again = monitor();
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success(), "{told}");
    // It is out: nothing is left to waive.
    refused(&waiver, "is published");
}

#[test]
fn cosign_accepts_what_stands_beside_a_package_and_refuses_a_tampered_one() {
    require!([Need::InClientRoot("cosign")]);
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    let build = Crafted::new("hello", "1.0").publish(&world.http).build;
    let status = world.until_published(build);
    let package = &status.packages[0];
    let dir = world.new_dir("cosign");
    let at = |end: &str| format!("{BASE}/{}{end}", package.href);
    let summary = package
        .evidence
        .iter()
        .find(|link| link.kind == "verification-summary")
        .expect("a summary");
    for (name, path) in [
        ("key.pub", "/keys/statement.pub".to_owned()),
        ("hello.rpm", at("")),
        ("release.json", at(".sigstore.json")),
        ("vsa.json", at(".vsa.sigstore.json")),
        (
            "vsa-by-digest.json",
            format!("/evidence/sha256/{}.sigstore.json", summary.digest),
        ),
    ] {
        std::fs::write(dir.join(name), world.http.fetch(&path)).expect("a file");
    }
    let mut tampered = std::fs::read(dir.join("hello.rpm")).expect("the package");
    *tampered.last_mut().expect("bytes") ^= 1;
    std::fs::write(dir.join("tampered.rpm"), tampered).expect("a file");
    let verify = |bundle: &str, kind: &str, subject: &[&str]| -> Output {
        let bundle = format!("/mnt/client/{bundle}");
        let fixed = [
            "cosign",
            "verify-blob-attestation",
            "--insecure-ignore-tlog=true",
            "--key=/mnt/client/key.pub",
            "--bundle",
            &bundle,
            "--type",
            kind,
        ];
        in_client_root(&dir, &[&fixed[..], subject].concat())
            .output()
            .expect("it starts")
    };
    let header = package.header.to_hex();
    let by_header = ["--digestAlg=rpmHeaderSha256", "--digest", &header];
    for (what, good, said) in [
        (
            "the file",
            true,
            verify("release.json", PACKAGE_RELEASE, &["/mnt/client/hello.rpm"]),
        ),
        (
            "tampered",
            false,
            verify(
                "release.json",
                PACKAGE_RELEASE,
                &["/mnt/client/tampered.rpm"],
            ),
        ),
        ("the summary", true, verify("vsa.json", VSA, &by_header)),
        (
            "the same by digest",
            true,
            verify("vsa-by-digest.json", VSA, &by_header),
        ),
    ] {
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.success(), good, "{what}: {text}");
    }
    // No statement, no bundle.
    let sbom = package.evidence.iter().find(|link| link.kind == "sbom");
    let sbom = sbom.expect("an SBOM").digest;
    let answer = world
        .http
        .get(&format!("/evidence/sha256/{sbom}.sigstore.json"));
    assert_eq!(answer.status, 404);

    // The post-quantum signatures and their keys stand apart from what clients ask for.
    for path in [
        at(".pqc.asc"),
        format!("{BASE}/repodata/repomd.xml.pqc.asc"),
    ] {
        let signature = world.http.fetch(&path);
        assert!(
            signature.starts_with(b"-----BEGIN PGP SIGNATURE-----"),
            "{path}"
        );
    }
    for name in ["RPM-GPG-KEY-packages-pqc", "RPM-GPG-KEY-metadata-pqc"] {
        let key = world.http.fetch(&format!("/keys/{name}"));
        assert!(
            key.starts_with(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"),
            "{name}"
        );
    }
}
