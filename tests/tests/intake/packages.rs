//! RPMs that lie or are cut off, and names that are tricks.

use crate::{assert_build_refused, assert_refused, world};
use hallmark_tests::packages::crafted::{self, Crafted};
use hallmark_tests::world::SERVER;
use repo_model::rpm::testkit::Field;
use repo_model::rpm::{Head, tag};
use repo_model::wire::ErrorBody;

#[test]
fn a_truncated_rpm_is_refused_wherever_it_ends() {
    let world = world();
    let sound = Crafted::new("truncated", "1.0");
    let whole = &sound.packages[0];
    let head = Head::parse(whole).expect("it is sound");
    let header = head.header_range();
    let in_main_header = usize::try_from((header.start + header.end) / 2).expect("it is small");
    let in_payload = usize::try_from(header.end + 10).expect("it is small");
    for (end, code, words) in [
        (50, "bad-rpm", ["lead", "package"].as_slice()),
        (96 + 8, "bad-rpm", &["signature header"]),
        (in_main_header, "bad-rpm", &["main header"]),
        (
            in_payload,
            "bad-payload",
            &["truncated-1.0-1.noarch", "SHA-256", "cut off"],
        ),
    ] {
        let mut cut = Crafted::of(sound.source.clone(), vec![whole[..end].to_vec()]);
        cut.buildinfo = sound.buildinfo.clone();
        assert_build_refused(&world, "truncated", &cut, 422, code, words);
    }
}

#[test]
fn a_header_that_claims_a_gigabyte_is_refused_without_room_for_it() {
    let world = world();
    let sound = Crafted::new("lying", "1.0");
    let before = world.process(SERVER).peak_memory_bytes();
    // `hsize` of the signature header and of the main header, then the number of entries.
    let head = Head::parse(&sound.packages[0]).expect("it is sound");
    let main = usize::try_from(head.header_range().start).expect("it is small");
    for (place, what) in [
        (96 + 12, "signature header"),
        (main + 12, "main header"),
        (main + 8, "main header"),
    ] {
        let mut lying = sound.packages[0].clone();
        lying[place..place + 4].copy_from_slice(&(1_u32 << 30).to_be_bytes());
        let mut build = Crafted::of(sound.source.clone(), vec![lying]);
        build.buildinfo = sound.buildinfo.clone();
        assert_build_refused(
            &world,
            "lying",
            &build,
            422,
            "bad-rpm",
            &[what, "1073741824"],
        );
    }
    let grown = world.process(SERVER).peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "the server grew by {grown} bytes");
}

#[test]
fn weak_or_wrong_digests_are_refused_with_their_tag() {
    let world = world();
    let sound = |name: &str| crafted::binary(name, "1.0");
    for (name, rpm, words) in [
        (
            "nosha256",
            sound("nosha256").without_signature(tag::SIG_SHA256HEADER),
            ["273", "rpm 4.14"],
        ),
        (
            "nopayload",
            sound("nopayload").without(tag::PAYLOADSHA256),
            ["PAYLOADSHA256", "rpm 4.14"],
        ),
        (
            "md5files",
            sound("md5files").without(tag::FILEDIGESTALGO),
            ["FILEDIGESTALGO", "MD5"],
        ),
        (
            "wrongsha",
            sound("wrongsha").set_signature(tag::SIG_SHA256HEADER, Field::str("0".repeat(64))),
            ["SHA256HEADER", "main header's is"],
        ),
    ] {
        let build = Crafted::of(crafted::source(name, "1.0").bytes(), vec![rpm.bytes()]);
        assert_build_refused(&world, name, &build, 422, "lint", &words);
    }
}

#[test]
fn a_changed_payload_is_refused() {
    let world = world();
    let mut build = Crafted::new("flipped", "1.0");
    let last = build.packages[0].len() - 200;
    build.packages[0][last] ^= 1;
    assert_build_refused(
        &world,
        "flipped",
        &build,
        422,
        "bad-payload",
        &["flipped-1.0-1.noarch", "SHA-256"],
    );
}

#[test]
fn names_that_would_leave_their_folder_are_refused() {
    let world = world();
    for (index, name) in [
        "../../etc/passwd",
        "..",
        ".hidden",
        "-rf",
        "a/b",
        "a b",
        "a\u{202e}b",
    ]
    .into_iter()
    .enumerate()
    {
        // Identity and digests are right; only the name is a trick.
        let plain = format!("tricks{index}");
        let rpm = crafted::binary(&plain, "1.0").set(tag::NAME, Field::str(name));
        let build = Crafted::of(crafted::source(&plain, "1.0").bytes(), vec![rpm.bytes()]);
        let answer = build.offer(&world.http);
        // Names that are no NEVRA at all fail earlier than the lint.
        let body: ErrorBody = answer.json();
        assert_eq!(answer.status, 422, "{name:?}: {body:?}");
        assert!(
            ["lint", "bad-rpm"].contains(&body.code.as_str()),
            "{name:?}: {body:?}"
        );
        assert!(body.error.contains("NAME"), "{name:?}: {body:?}");
        assert!(body.hint.is_some(), "{name:?}: {body:?}");
    }
    let version = crafted::binary("versiontrick", "1.0").set(tag::VERSION, Field::str("1/../../x"));
    let build = Crafted::of(
        crafted::source("versiontrick", "1.0").bytes(),
        vec![version.bytes()],
    );
    let body: ErrorBody = build.offer(&world.http).json();
    assert!(body.error.contains("VERSION"), "{body:?}");

    for path in [
        "/api/v1/blobs/..%2f..%2fhallmark.db",
        "/api/v1/blobs/abc",
        &format!("/api/v1/blobs/{}", "G".repeat(64)),
    ] {
        let answer = world.http.put(path, b"x");
        assert_refused(&answer, 400, "bad-digest", &["64 lowercase hex digits"]);
    }
    let mut manifest = serde_json::to_value(Crafted::new("x", "1").manifest("base")).expect("JSON");
    manifest["repo"] = "../base".into();
    assert_refused(
        &world.http.post_json("/api/v1/builds", &manifest),
        400,
        "bad-manifest",
        &["../base", "repository name"],
    );
    for path in [
        "/preview/base/x86_64/..%2f..%2f..%2fhallmark.db",
        "/preview/base/x86_64/%2e%2e/%2e%2e/x",
        "/assets/..%2fx",
        "/keys/..%2fx",
    ] {
        assert_eq!(world.http.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_source_package_that_is_none_is_refused() {
    let world = world();
    let sound = Crafted::new("nosource", "1.0");
    let text = Crafted {
        source: b"this is no package".to_vec(),
        ..sound.clone()
    };
    assert_build_refused(
        &world,
        "nosource",
        &text,
        422,
        "bad-rpm",
        &["source package", "readable RPM"],
    );

    let package = crafted::binary("nosource-data", "1.0").bytes();
    let binary = Crafted::of(package, sound.packages.clone());
    assert_build_refused(
        &world,
        "nosource",
        &binary,
        422,
        "mismatch",
        &["nosource-data-1.0-1.noarch", "binary package"],
    );

    let two_sources = Crafted::of(
        sound.source.clone(),
        vec![crafted::source("nosource", "1.0").bytes()],
    );
    assert_build_refused(
        &world,
        "nosource",
        &two_sources,
        422,
        "mismatch",
        &["is a source package"],
    );

    let other = Crafted::of(
        crafted::source("othersource", "1.0").bytes(),
        sound.packages.clone(),
    );
    assert_build_refused(
        &world,
        "nosource",
        &other,
        422,
        "mismatch",
        &["was built from nosource-1.0-1.src.rpm", "othersource"],
    );
}

#[test]
fn packages_of_an_architecture_that_the_repository_lacks_are_refused() {
    let world = world();
    let rpm = crafted::binary("foreign", "1.0").set(tag::ARCH, Field::str("s390x"));
    let build = Crafted::of(crafted::source("foreign", "1.0").bytes(), vec![rpm.bytes()]);
    assert_build_refused(
        &world,
        "foreign",
        &build,
        422,
        "mismatch",
        &["foreign-1.0-1.s390x", "x86_64", "base"],
    );
}
