//! Manifests whose pieces do not belong together, come twice, or are of no sane size.

use crate::{assert_build_refused, assert_refused, builds_of, world};
use hallmark_tests::http::Answer;
use hallmark_tests::packages::crafted::{self, Crafted, put};
use repo_model::FileDigest;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::Field;
use repo_model::wire::intake::{BuildManifest, BuildReceipt};

#[test]
fn one_name_version_and_release_never_means_two_packages() {
    let world = world();
    let first = Crafted::new("twice", "1.0").publish(&world.http);
    let other = crafted::binary("twice", "1.0")
        .file("/usr/share/other", b"other bytes")
        .bytes();
    let second = Crafted::of(crafted::source("twice", "1.0").bytes(), vec![other]);
    let answer = second.offer(&world.http);
    let known = first.packages[0].header.to_hex();
    let build = format!("build {}", first.build);
    assert_refused(
        &answer,
        409,
        "nevra-taken",
        &["twice-1.0-1.noarch", &known, &build, "raise the release"],
    );
    assert_eq!(builds_of(&world, "twice").len(), 1);
}

#[test]
fn the_same_manifest_again_is_the_same_build() {
    let world = world();
    let build = Crafted::of(
        crafted::source("again", "1.0").bytes(),
        vec![
            crafted::binary("again", "1.0").bytes(),
            crafted::binary("again-data", "1.0")
                .set(tag::SOURCERPM, Field::str("again-1.0-1.src.rpm"))
                .bytes(),
        ],
    );
    let first = build.offer(&world.http);
    assert_eq!(first.status, 201, "{}", first.text());
    let mut turned = build.clone();
    turned.packages.reverse();
    for same in [&build, &turned] {
        let again = same.offer(&world.http);
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(again.json::<BuildReceipt>(), first.json::<BuildReceipt>());
    }
    assert_eq!(builds_of(&world, "again").len(), 1);
}

#[test]
fn of_many_equal_manifests_at_once_one_makes_the_build() {
    let world = world();
    let build = Crafted::new("race", "1.0");
    build.upload(&world.http);
    let manifest = build.manifest("base");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let post = || world.http.post_json("/api/v1/builds", &manifest);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(post)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect()
    });
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    let numbers: Vec<_> = answers
        .iter()
        .map(|answer| answer.json::<BuildReceipt>().build)
        .collect();
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "{numbers:?}"
    );
    assert_eq!(builds_of(&world, "race").len(), 1);
}

#[test]
fn a_buildinfo_of_another_build_is_refused() {
    let world = world();
    let (mine, other) = (Crafted::new("mine", "1.0"), Crafted::new("other", "1.0"));
    let swapped = Crafted {
        buildinfo: other.buildinfo.clone(),
        ..mine.clone()
    };
    assert_build_refused(
        &world,
        "mine",
        &swapped,
        422,
        "mismatch",
        &["buildinfo is of another build"],
    );

    let more = crafted::binary("mine-more", "1.0")
        .set(tag::SOURCERPM, Field::str("mine-1.0-1.src.rpm"))
        .bytes();
    let mut both = mine.packages.clone();
    both.push(more);
    let lacking = Crafted {
        buildinfo: mine.buildinfo.clone(),
        packages: both.clone(),
        ..mine.clone()
    };
    assert_build_refused(
        &world,
        "mine",
        &lacking,
        422,
        "mismatch",
        &["mine-more", "not among its outputs"],
    );
    let kept_back = Crafted {
        packages: mine.packages.clone(),
        ..Crafted::of(mine.source.clone(), both)
    };
    assert_build_refused(
        &world,
        "mine",
        &kept_back,
        422,
        "mismatch",
        &["mine-more", "lacks it"],
    );

    let nonsense = Crafted {
        buildinfo: b"{\"schema\": 7}".to_vec(),
        ..mine.clone()
    };
    assert_build_refused(
        &world,
        "mine",
        &nonsense,
        422,
        "bad-buildinfo",
        &["rpm-buildinfo/1", "hallmark buildinfo"],
    );
    let schema = String::from_utf8_lossy(&mine.buildinfo)
        .replace("rpm-buildinfo/1", "rpm-buildinfo/9")
        .into_bytes();
    let newer = Crafted {
        buildinfo: schema,
        ..mine.clone()
    };
    assert_build_refused(
        &world,
        "mine",
        &newer,
        422,
        "bad-buildinfo",
        &["rpm-buildinfo/9"],
    );

    let elsewhere = String::from_utf8_lossy(&mine.buildinfo)
        .replace("\"x86_64\"", "\"s390x/..\"")
        .into_bytes();
    let no_arch = Crafted {
        buildinfo: elsewhere,
        ..mine
    };
    assert_build_refused(&world, "mine", &no_arch, 422, "mismatch", &["s390x/.."]);
}

#[test]
fn a_provenance_that_is_none_is_refused() {
    let world = world();
    let build = Crafted::new("unproven", "1.0");
    build.upload(&world.http);
    let garbage = b"{\"payloadType\": \"text/plain\"}";
    put(&world.http, garbage);
    let manifest = BuildManifest {
        provenance: Some(FileDigest::of(garbage)),
        ..build.manifest("base")
    };
    let answer = world.http.post_json("/api/v1/builds", &manifest);
    assert_refused(&answer, 422, "bad-provenance", &["DSSE"]);
    assert_eq!(builds_of(&world, "unproven"), []);
}

#[test]
fn what_was_not_uploaded_or_configured_is_named() {
    let world = world();
    let build = Crafted::new("missing", "1.0");
    let answer = world
        .http
        .post_json("/api/v1/builds", &build.manifest("base"));
    let source = FileDigest::of(&build.source).to_hex();
    assert_refused(
        &answer,
        422,
        "blob-missing",
        &["source package", &source, "PUT it to /api/v1/blobs/"],
    );
    build.upload(&world.http);
    let answer = world
        .http
        .post_json("/api/v1/builds", &build.manifest("nowhere"));
    assert_refused(&answer, 404, "unknown-repo", &["nowhere", "[[repo]]"]);
    assert_eq!(builds_of(&world, "missing"), []);
}

#[test]
fn manifests_of_no_sane_size_are_refused() {
    let world = world();
    let build = Crafted::new("manifest", "1.0");
    build.upload(&world.http);
    let post = |json: &[u8]| {
        world.http.send(
            "POST",
            "/api/v1/builds",
            &[("content-type", "application/json")],
            json,
        )
    };
    let none = BuildManifest {
        packages: Vec::new(),
        ..build.manifest("base")
    };
    assert_refused(
        &world.http.post_json("/api/v1/builds", &none),
        422,
        "package-count",
        &["0 packages", "20000"],
    );
    let many: Vec<_> = (0..20_001_u32)
        .map(|n| FileDigest::of(&n.to_be_bytes()))
        .collect();
    let many = BuildManifest {
        packages: many,
        ..build.manifest("base")
    };
    assert_refused(
        &world.http.post_json("/api/v1/builds", &many),
        422,
        "package-count",
        &["20001 packages"],
    );
    assert_refused(
        &world.http.announce("POST", "/api/v1/builds", 9 << 20),
        413,
        "too-large",
        &["8388608"],
    );
    // An answer comes through though the client sends on.
    assert_refused(&post(&vec![b' '; 9 << 20]), 413, "too-large", &["8388608"]);
    assert_refused(
        &post(&b"[".repeat(100_000)),
        400,
        "bad-manifest",
        &["build manifest"],
    );
    assert_refused(
        &post(b"{\"repo\": \"base\", \"surprise\": 1}"),
        400,
        "bad-manifest",
        &["surprise"],
    );
    assert_refused(&post(b"\xff\xfe"), 400, "bad-manifest", &["build manifest"]);
    assert_eq!(builds_of(&world, "manifest"), []);
}
