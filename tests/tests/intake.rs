//! Bad input: every refusal says what is wrong, where, and what to do, and leaves nothing behind.

use hallmark_tests::http::{Answer, Http, read_answer};
use hallmark_tests::packages::crafted::{self, Crafted, put};
use hallmark_tests::process;
use hallmark_tests::tools::Need;
use hallmark_tests::world::{SERVER, Watch};
use hallmark_tests::{Options, World, require};
use repo_model::FileDigest;
use repo_model::rpm::Head;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::tag;
use repo_model::wire::ErrorBody;
use repo_model::wire::intake::{BuildManifest, BuildReceipt};
use repo_model::wire::status::BuildStatus;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::sync::LazyLock;

/// `server.max_blob_bytes` of this world.
const MAX_BLOB_BYTES: u64 = 800 << 20;

/// Rebuilders are known but away, so builds stay where intake left them.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    World::start(&Options {
        require_provenance: false,
        start_rebuilders: false,
        server_settings: "max_blob_bytes = 838860800\n",
        ..Options::two_rebuilders()
    })
});

fn world() -> Watch<'static> {
    WORLD.watch()
}

/// Checks status and code, and that the sentence has these words and a hint follows.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str, words: &[&str]) -> ErrorBody {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json", "{}", answer.text());
    let body: ErrorBody = answer.json();
    assert_eq!(body.code, code, "{body:?}");
    let all = format!("{} {}", body.error, body.hint.as_deref().unwrap_or_default());
    for word in words {
        assert!(all.contains(word), "`{word}` is not in {body:?}");
    }
    let hint = body.hint.as_deref().unwrap_or_default();
    assert!(!hint.is_empty(), "no hint what to do next: {body:?}");
    body
}

fn builds_of(world: &World, name: &str) -> Vec<BuildStatus> {
    world.http.get_json(&format!("/api/v1/builds?package={name}"))
}

/// Files in the spool that belong to one of these blobs.
fn spooled(world: &World, blobs: &[&[u8]]) -> Vec<String> {
    let digests: Vec<_> = blobs.iter().map(|blob| FileDigest::of(blob).to_hex()).collect();
    let entries = std::fs::read_dir(world.data_dir().join("spool")).expect("the spool is there");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| digests.iter().any(|digest| name.starts_with(digest))).collect()
}

/// Offers a build that must be refused, and checks that nothing of it stays in the list or the spool.
#[track_caller]
fn assert_build_refused(world: &World, name: &str, build: &Crafted, status: u16, code: &str, words: &[&str]) {
    let answer = build.offer(&world.http);
    assert_refused(&answer, status, code, words);
    assert_eq!(builds_of(world, name), [], "a refused build is listed");
    let blobs: Vec<&[u8]> = build.packages.iter().chain([&build.source]).map(Vec::as_slice).collect();
    assert_eq!(spooled(world, &blobs), [""; 0]);
}

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
        (in_payload, "bad-payload", &["truncated-1.0-1.noarch", "SHA-256", "cut off"]),
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
    for (place, what) in [(96 + 12, "signature header"), (main + 12, "main header"), (main + 8, "main header")] {
        let mut lying = sound.packages[0].clone();
        lying[place..place + 4].copy_from_slice(&(1_u32 << 30).to_be_bytes());
        let mut build = Crafted::of(sound.source.clone(), vec![lying]);
        build.buildinfo = sound.buildinfo.clone();
        assert_build_refused(&world, "lying", &build, 422, "bad-rpm", &[what, "1073741824"]);
    }
    let grown = world.process(SERVER).peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "the server grew by {grown} bytes");
}

#[test]
fn weak_or_wrong_digests_are_refused_with_their_tag() {
    let world = world();
    let sound = |name: &str| crafted::binary(name, "1.0");
    for (name, rpm, words) in [
        ("nosha256", sound("nosha256").without_signature(tag::SIG_SHA256HEADER), ["273", "rpm 4.14"]),
        ("nopayload", sound("nopayload").without(tag::PAYLOADSHA256), ["PAYLOADSHA256", "rpm 4.14"]),
        ("md5files", sound("md5files").without(tag::FILEDIGESTALGO), ["FILEDIGESTALGO", "MD5"]),
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
    assert_build_refused(&world, "flipped", &build, 422, "bad-payload", &["flipped-1.0-1.noarch", "SHA-256"]);
}

#[test]
fn bytes_that_are_not_what_their_name_says_are_not_kept() {
    let world = world();
    let (named, sent) = (b"what was named".as_slice(), b"what was sent".as_slice());
    let path = format!("/api/v1/blobs/{}", FileDigest::of(named));
    let answer = world.http.put(&path, sent);
    let actual = FileDigest::of(sent).to_hex();
    assert_refused(&answer, 400, "wrong-digest", &[&actual, "discarded", "SHA-256"]);
    assert_eq!(world.http.get(&path).status, 404);
    assert_eq!(spooled(&world, &[named, sent]), [""; 0]);
    assert_eq!(world.http.put(&path, named).status, 201);
    assert_eq!(world.http.put(&path, named).status, 200, "the second time it is there already");
    assert_eq!(world.http.fetch(&path), named);
}

/// Sends the first half of a blob over a connection that is then cut; how much the server keeps.
fn cut_off(world: &World, http: &Http, blob: &[u8]) -> u64 {
    let digest = FileDigest::of(blob);
    let head = http.head("PUT", &format!("/api/v1/blobs/{digest}"), blob.len() as u64);
    let mut stream = http.connect();
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("the server reads");
    stream.write_all(&blob[..blob.len() / 2]).expect("the server reads");
    stream.shutdown(std::net::Shutdown::Both).expect("the connection is cut");
    drop(stream);
    world.until("the server keeps what came", || {
        let answer = http.get(&format!("/api/v1/uploads/{digest}"));
        let offset = (answer.status == 200).then(|| answer.json::<serde_json::Value>()["offset_bytes"].as_u64());
        match offset.flatten() {
            Some(offset) if offset > 0 => Ok(offset),
            other => Err(format!("{other:?} {}", answer.text())),
        }
    })
}

#[test]
fn an_upload_cut_off_is_continued_where_it_broke() {
    let world = world();
    let http = &world.http;
    let blob: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_be_bytes()[2..].to_vec()).collect();
    let digest = FileDigest::of(&blob);
    let path = format!("/api/v1/blobs/{digest}");
    let cut = cut_off(&world, http, &blob);
    assert!(cut <= blob.len() as u64 / 2, "{cut}");
    assert_eq!(http.get(&path).status, 404, "half a blob is no blob");

    let stranger = http.with_token(Some(&world.new_token("stranger", &["--scope", "publish"])));
    assert_eq!(stranger.get(&format!("/api/v1/uploads/{digest}")).status, 404, "others do not continue it");

    let total = blob.len();
    let part = |start: usize, end: usize| {
        let range = format!("bytes {start}-{}/{total}", end - 1);
        http.send("PUT", &path, &[("content-range", &range)], &blob[start..end])
    };
    // The request that was cut may still be letting go of the file.
    let (first, middle) = world.until("the upload can be continued", || {
        let have = http.get(&format!("/api/v1/uploads/{digest}")).json::<serde_json::Value>()["offset_bytes"].as_u64();
        let have = usize::try_from(have.unwrap_or_default()).expect("it is small");
        let middle = have + (total - have) / 2;
        let answer = part(have, middle);
        match answer.status {
            202 => Ok((answer, middle)),
            409 | 416 => Err(answer.text()),
            other => panic!("{other}: {}", answer.text()),
        }
    });
    assert_eq!(first.header("upload-offset"), middle.to_string());
    let gap = part(middle + 1, total);
    let refused = assert_refused(&gap, 416, "gap", &[&middle.to_string(), "continue at byte"]);
    assert_eq!(gap.header("upload-offset"), middle.to_string(), "{refused:?}");
    assert_eq!(part(middle, total).status, 201);
    assert_eq!(http.fetch(&path), blob);
    assert_eq!(http.get(&format!("/api/v1/uploads/{digest}")).status, 404);
    assert_eq!(spooled(&world, &[&blob]), [""; 0]);
}

#[test]
fn a_content_range_that_makes_no_sense_is_refused() {
    let world = world();
    let blob = b"ten bytes.";
    let path = format!("/api/v1/blobs/{}", FileDigest::of(blob));
    for range in ["bytes 5-4/10", "bytes 0-10/10", "bytes 0-9/*", "0-9/10", "bytes */10", "bytes 0-99999999999999999999/1"] {
        let answer = world.http.send("PUT", &path, &[("content-range", range)], blob);
        assert_refused(&answer, 400, "bad-range", &["Content-Range", "START-END/TOTAL"]);
    }
    let longer = world.http.send("PUT", &path, &[("content-range", "bytes 0-4/10")], blob);
    assert_refused(&longer, 400, "bad-range", &["Content-Range"]);
    let huge = format!("bytes 0-9/{}", MAX_BLOB_BYTES + 1);
    let answer = world.http.send("PUT", &path, &[("content-range", &huge)], blob);
    assert_refused(&answer, 413, "too-large", &[&MAX_BLOB_BYTES.to_string()]);
    assert_eq!(world.http.get(&path).status, 404);
}

#[test]
fn a_blob_over_the_limit_is_refused_before_it_is_sent() {
    let world = world();
    let http = &world.http;
    let digest = FileDigest::of(b"never sent");
    let answer = http.announce("PUT", &format!("/api/v1/blobs/{digest}"), MAX_BLOB_BYTES + 1);
    assert_refused(&answer, 413, "too-large", &[&MAX_BLOB_BYTES.to_string(), "max_blob_bytes"]);
}

#[test]
fn names_that_would_leave_their_folder_are_refused() {
    let world = world();
    for (index, name) in ["../../etc/passwd", "..", ".hidden", "-rf", "a/b", "a b", "a\u{202e}b"].into_iter().enumerate() {
        // Identity and digests are right; only the name is a trick.
        let plain = format!("tricks{index}");
        let rpm = crafted::binary(&plain, "1.0").set(tag::NAME, Field::str(name));
        let build = Crafted::of(crafted::source(&plain, "1.0").bytes(), vec![rpm.bytes()]);
        let answer = build.offer(&world.http);
        // Names that are no NEVRA at all fail earlier than the lint.
        let body: ErrorBody = answer.json();
        assert_eq!(answer.status, 422, "{name:?}: {body:?}");
        assert!(["lint", "bad-rpm"].contains(&body.code.as_str()), "{name:?}: {body:?}");
        assert!(body.error.contains("NAME"), "{name:?}: {body:?}");
        assert!(body.hint.is_some(), "{name:?}: {body:?}");
    }
    let version = crafted::binary("versiontrick", "1.0").set(tag::VERSION, Field::str("1/../../x"));
    let build = Crafted::of(crafted::source("versiontrick", "1.0").bytes(), vec![version.bytes()]);
    let body: ErrorBody = build.offer(&world.http).json();
    assert!(body.error.contains("VERSION"), "{body:?}");

    for path in ["/api/v1/blobs/..%2f..%2fhallmark.db", "/api/v1/blobs/abc", &format!("/api/v1/blobs/{}", "G".repeat(64))] {
        let answer = world.http.put(path, b"x");
        assert_refused(&answer, 400, "bad-digest", &["64 lowercase hex digits"]);
    }
    let mut manifest = serde_json::to_value(Crafted::new("x", "1").manifest("base")).expect("JSON");
    manifest["repo"] = "../base".into();
    assert_refused(&world.http.post_json("/api/v1/builds", &manifest), 400, "bad-manifest", &["../base", "repository name"]);
    for path in ["/preview/base/x86_64/..%2f..%2f..%2fhallmark.db", "/preview/base/x86_64/%2e%2e/%2e%2e/x", "/assets/..%2fx", "/keys/..%2fx"] {
        assert_eq!(world.http.get(path).status, 404, "{path}");
    }
}

#[test]
fn one_name_version_and_release_never_means_two_packages() {
    let world = world();
    let first = Crafted::new("twice", "1.0").publish(&world.http);
    let other = crafted::binary("twice", "1.0").file("/usr/share/other", b"other bytes").bytes();
    let second = Crafted::of(crafted::source("twice", "1.0").bytes(), vec![other]);
    let answer = second.offer(&world.http);
    let known = first.packages[0].header.to_hex();
    let build = format!("build {}", first.build);
    assert_refused(&answer, 409, "nevra-taken", &["twice-1.0-1.noarch", &known, &build, "raise the release"]);
    assert_eq!(builds_of(&world, "twice").len(), 1);
}

#[test]
fn the_same_manifest_again_is_the_same_build() {
    let world = world();
    let build = Crafted::of(
        crafted::source("again", "1.0").bytes(),
        vec![
            crafted::binary("again", "1.0").bytes(),
            crafted::binary("again-data", "1.0").set(tag::SOURCERPM, Field::str("again-1.0-1.src.rpm")).bytes(),
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
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:?}");
    let numbers: Vec<_> = answers.iter().map(|answer| answer.json::<BuildReceipt>().build).collect();
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert_eq!(builds_of(&world, "race").len(), 1);
}

#[test]
fn a_source_package_that_is_none_is_refused() {
    let world = world();
    let sound = Crafted::new("nosource", "1.0");
    let text = Crafted { source: b"this is no package".to_vec(), ..sound.clone() };
    assert_build_refused(&world, "nosource", &text, 422, "bad-rpm", &["source package", "readable RPM"]);

    let package = crafted::binary("nosource-data", "1.0").bytes();
    let binary = Crafted::of(package, sound.packages.clone());
    assert_build_refused(&world, "nosource", &binary, 422, "mismatch", &["nosource-data-1.0-1.noarch", "binary package"]);

    let two_sources = Crafted::of(sound.source.clone(), vec![crafted::source("nosource", "1.0").bytes()]);
    assert_build_refused(&world, "nosource", &two_sources, 422, "mismatch", &["is a source package"]);

    let other = Crafted::of(crafted::source("othersource", "1.0").bytes(), sound.packages.clone());
    assert_build_refused(&world, "nosource", &other, 422, "mismatch", &["was built from nosource-1.0-1.src.rpm", "othersource"]);
}

#[test]
fn a_buildinfo_of_another_build_is_refused() {
    let world = world();
    let (mine, other) = (Crafted::new("mine", "1.0"), Crafted::new("other", "1.0"));
    let swapped = Crafted { buildinfo: other.buildinfo.clone(), ..mine.clone() };
    assert_build_refused(&world, "mine", &swapped, 422, "mismatch", &["buildinfo is of another build"]);

    let more = crafted::binary("mine-more", "1.0").set(tag::SOURCERPM, Field::str("mine-1.0-1.src.rpm")).bytes();
    let mut both = mine.packages.clone();
    both.push(more);
    let lacking = Crafted { buildinfo: mine.buildinfo.clone(), packages: both.clone(), ..mine.clone() };
    assert_build_refused(&world, "mine", &lacking, 422, "mismatch", &["mine-more", "not among its outputs"]);
    let kept_back = Crafted { packages: mine.packages.clone(), ..Crafted::of(mine.source.clone(), both) };
    assert_build_refused(&world, "mine", &kept_back, 422, "mismatch", &["mine-more", "lacks it"]);

    let nonsense = Crafted { buildinfo: b"{\"schema\": 7}".to_vec(), ..mine.clone() };
    assert_build_refused(&world, "mine", &nonsense, 422, "bad-buildinfo", &["rpm-buildinfo/1", "hallmark buildinfo"]);
    let schema = String::from_utf8_lossy(&mine.buildinfo).replace("rpm-buildinfo/1", "rpm-buildinfo/9").into_bytes();
    let newer = Crafted { buildinfo: schema, ..mine.clone() };
    assert_build_refused(&world, "mine", &newer, 422, "bad-buildinfo", &["rpm-buildinfo/9"]);

    let elsewhere = String::from_utf8_lossy(&mine.buildinfo).replace("\"x86_64\"", "\"s390x/..\"").into_bytes();
    let no_arch = Crafted { buildinfo: elsewhere, ..mine };
    assert_build_refused(&world, "mine", &no_arch, 422, "mismatch", &["s390x/.."]);
}

#[test]
fn packages_of_an_architecture_that_the_repository_lacks_are_refused() {
    let world = world();
    let rpm = crafted::binary("foreign", "1.0").set(tag::ARCH, Field::str("s390x"));
    let build = Crafted::of(crafted::source("foreign", "1.0").bytes(), vec![rpm.bytes()]);
    assert_build_refused(&world, "foreign", &build, 422, "mismatch", &["foreign-1.0-1.s390x", "x86_64", "base"]);
}

#[test]
fn a_provenance_that_is_none_is_refused() {
    let world = world();
    let build = Crafted::new("unproven", "1.0");
    build.upload(&world.http);
    let garbage = b"{\"payloadType\": \"text/plain\"}";
    put(&world.http, garbage);
    let manifest = BuildManifest { provenance: Some(FileDigest::of(garbage)), ..build.manifest("base") };
    let answer = world.http.post_json("/api/v1/builds", &manifest);
    assert_refused(&answer, 422, "bad-provenance", &["DSSE"]);
    assert_eq!(builds_of(&world, "unproven"), []);
}

#[test]
fn what_was_not_uploaded_or_configured_is_named() {
    let world = world();
    let build = Crafted::new("missing", "1.0");
    let answer = world.http.post_json("/api/v1/builds", &build.manifest("base"));
    let source = FileDigest::of(&build.source).to_hex();
    assert_refused(&answer, 422, "blob-missing", &["source package", &source, "PUT it to /api/v1/blobs/"]);
    build.upload(&world.http);
    let answer = world.http.post_json("/api/v1/builds", &build.manifest("nowhere"));
    assert_refused(&answer, 404, "unknown-repo", &["nowhere", "[[repo]]"]);
    assert_eq!(builds_of(&world, "missing"), []);
}

#[test]
fn manifests_of_no_sane_size_are_refused() {
    let world = world();
    let build = Crafted::new("manifest", "1.0");
    build.upload(&world.http);
    let post = |json: &[u8]| world.http.send("POST", "/api/v1/builds", &[("content-type", "application/json")], json);
    let none = BuildManifest { packages: Vec::new(), ..build.manifest("base") };
    assert_refused(&world.http.post_json("/api/v1/builds", &none), 422, "package-count", &["0 packages", "20000"]);
    let many: Vec<_> = (0..20_001_u32).map(|n| FileDigest::of(&n.to_be_bytes())).collect();
    let many = BuildManifest { packages: many, ..build.manifest("base") };
    assert_refused(&world.http.post_json("/api/v1/builds", &many), 422, "package-count", &["20001 packages"]);
    assert_refused(&world.http.announce("POST", "/api/v1/builds", 9 << 20), 413, "too-large", &["8388608"]);
    // An answer comes through though the client sends on.
    assert_refused(&post(&vec![b' '; 9 << 20]), 413, "too-large", &["8388608"]);
    assert_refused(&post(&b"[".repeat(100_000)), 400, "bad-manifest", &["build manifest"]);
    assert_refused(&post(b"{\"repo\": \"base\", \"surprise\": 1}"), 400, "bad-manifest", &["surprise"]);
    assert_refused(&post(b"\xff\xfe"), 400, "bad-manifest", &["build manifest"]);
    assert_eq!(builds_of(&world, "manifest"), []);
}

#[test]
fn every_refusal_of_the_api_is_json_with_a_code() {
    let world = world();
    for (method, path, body, status) in [
        ("GET", "/api/v1/builds/one", "", 400),
        ("GET", "/api/v1/builds?limit=many", "", 400),
        ("GET", "/api/v1/builds?surprise=1", "", 400),
        ("GET", "/api/v1/builds/999999", "", 404),
        ("GET", "/api/v1/nothing", "", 404),
        ("DELETE", "/api/v1/builds", "", 405),
        ("POST", "/api/v1/channels/preview/move", "{\"to\": \"x\"}", 422),
        ("POST", "/api/v1/channels/preview/move", "{", 400),
        ("POST", "/api/v1/channels/nowhere/move", "{\"to\": 1}", 404),
        ("POST", "/api/v1/channels/preview/move", "{\"to\": 999999}", 404),
        ("POST", "/api/v1/builds/999999/retry", "{}", 404),
        ("POST", "/api/v1/worker/lease", "{}", 401),
    ] {
        let answer = world.http.send(method, path, &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let error: ErrorBody = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|problem| panic!("{method} {path}: {problem}: {}", answer.text()));
        assert!(!error.error.is_empty() && !error.code.is_empty(), "{method} {path}: {error:?}");
    }
}

#[test]
fn without_a_good_token_nothing_is_taken() {
    require!([Need::Program("python3")]);
    let world = world();
    let build = Crafted::new("tokens", "1.0");
    let blob = format!("/api/v1/blobs/{}", FileDigest::of(&build.source));
    let publish = world.new_token("publisher", &["--scope", "publish"]);
    let for_old = world.new_token("for-old", &["--scope", "publish", "--repo", "old"]);
    let operate = world.new_token("operator", &["--scope", "operate"]);
    let expired = world.new_token("expiring", &["--scope", "publish", "--expires-days", "1"]);
    let revoked = world.new_token("revoked", &["--scope", "publish"]);
    let tokens: Vec<serde_json::Value> =
        serde_json::from_str(&world.hallmark_ok(&["token", "list", "--json"])).expect("JSON");
    let number = |name: &str| {
        let token = tokens.iter().find(|token| token["name"] == name).expect("it is listed");
        token["id"].as_u64().expect("a number").to_string()
    };
    world.hallmark_ok(&["token", "revoke", &number("revoked")]);
    // A day passes.
    let ages = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); \
                db.execute('UPDATE tokens SET expires_at = expires_at - 86401 WHERE token_id = ?', (int(sys.argv[2]),)); db.commit()";
    let mut python = process::command("python3");
    python.args(["-c", ages]).arg(world.data_dir().join("hallmark.db")).arg(number("expiring"));
    process::run(&mut python);

    let anonymous = world.http.with_token(None);
    let refused = |http: &Http, status: u16, code: &str, words: &[&str]| {
        assert_refused(&http.put(&blob, &build.source), status, code, words);
        assert_refused(&http.post_json("/api/v1/builds", &build.manifest("base")), status, code, words);
    };
    let with = |token: &str| world.http.with_token(Some(token));
    refused(&anonymous, 401, "unauthorized", &["token", "hallmark token create"]);
    refused(&with("hallmark_0000"), 401, "unauthorized", &["not known here"]);
    refused(&with(&expired), 401, "unauthorized", &["expired at"]);
    refused(&with(&revoked), 401, "unauthorized", &["was revoked"]);
    refused(&with(&operate), 403, "forbidden", &["lacks the scope publish"]);
    assert_eq!(anonymous.put(&blob, b"").header("www-authenticate"), "Bearer realm=\"hallmark\"");
    let basic = anonymous.send("PUT", &blob, &[("authorization", "Basic eDp5")], b"");
    assert_refused(&basic, 401, "unauthorized", &["Bearer TOKEN"]);
    assert_eq!(world.http.get(&blob).status, 404, "nothing was stored");

    let for_old = with(&for_old);
    build.upload(&for_old);
    let answer = for_old.post_json("/api/v1/builds", &build.manifest("base"));
    assert_refused(&answer, 403, "forbidden", &["lacks the scope publish:base"]);
    assert_eq!(builds_of(&world, "tokens"), []);
    assert_eq!(for_old.post_json("/api/v1/builds", &build.manifest("old")).status, 201);

    let number = builds_of(&world, "tokens")[0].build;
    let retry = with(&publish).post_json(&format!("/api/v1/builds/{number}/retry"), &());
    assert_refused(&retry, 403, "forbidden", &["lacks the scope operate"]);
    let seen = world.channel("stable");
    let moving = with(&publish).post_json("/api/v1/channels/stable/move", &serde_json::json!({"seen": null, "to": 1}));
    assert_refused(&moving, 403, "forbidden", &["lacks the scope operate"]);
    assert_eq!(world.channel("stable"), seen);
}

/// The pieces of a package whose one file is `size_bytes` zeros, so large that nobody wants it in memory:
/// lead and headers, the archive before the zeros, the archive behind them.
fn large_package(name: &str, size_bytes: u32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let path = format!("/usr/share/{name}");
    let small = crafted::binary(name, "1.0").bytes();
    let head = Head::parse(&small).expect("it is sound");
    let archive = &small[usize::try_from(head.payload_offset()).expect("it is small")..];
    // newc: magic and seven numbers of eight digits, then the size; name and content padded to four.
    let mut before = archive[..(110 + 1 + path.len() + 1).next_multiple_of(4)].to_vec();
    before[54..62].copy_from_slice(format!("{size_bytes:08x}").as_bytes());
    let trailer = archive.windows(6).rposition(|window| window == b"070701").expect("a trailer");
    let behind = [vec![0; size_bytes.next_multiple_of(4) as usize - size_bytes as usize], archive[trailer..].to_vec()].concat();

    let (mut file, mut payload) = (Sha256::new(), Sha256::new());
    payload.update(&before);
    for_zeros(size_bytes, |zeros| {
        file.update(zeros);
        payload.update(zeros);
    });
    payload.update(&behind);
    let total = before.len() as u64 + u64::from(size_bytes) + behind.len() as u64;
    let rpm: Rpm = crafted::binary(name, "1.0")
        .set(tag::FILESIZES, Field::Int32(vec![size_bytes]))
        .set(tag::SIZE, Field::Int32(vec![size_bytes]))
        .set(tag::FILEDIGESTS, Field::strings([hex::encode(file.finalize())]))
        .set(tag::PAYLOADSHA256, Field::strings([hex::encode(payload.finalize())]))
        .set_signature(tag::SIG_SIZE, Field::Int32(vec![u32::try_from(total + 65_536).expect("under 4 GiB")]))
        .payload(b"");
    (rpm.bytes(), before, behind)
}

fn for_zeros(mut size_bytes: u32, mut each: impl FnMut(&[u8])) {
    let zeros = vec![0; 1 << 20];
    while size_bytes > 0 {
        let now = size_bytes.min(1 << 20);
        each(&zeros[..now as usize]);
        size_bytes -= now;
    }
}

#[test]
fn a_package_of_600_mb_takes_no_memory_to_take_in() {
    const SIZE_BYTES: u32 = 600 << 20;
    let world = world();
    let http = &world.http;
    let (head, before, behind) = large_package("large", SIZE_BYTES);
    let mut hasher = Sha256::new();
    hasher.update(&head);
    hasher.update(&before);
    for_zeros(SIZE_BYTES, |zeros| hasher.update(zeros));
    hasher.update(&behind);
    let digest = FileDigest::from_bytes(hasher.finalize().into());
    let total = (head.len() + before.len() + behind.len()) as u64 + u64::from(SIZE_BYTES);

    let memory_before = world.process(SERVER).peak_memory_bytes();
    let mut stream = http.connect();
    let head_lines = http.head("PUT", &format!("/api/v1/blobs/{digest}"), total);
    let request = format!("{head_lines}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    stream.write_all(&[head.as_slice(), &before].concat()).expect("the server reads");
    for_zeros(SIZE_BYTES, |zeros| stream.write_all(zeros).expect("the server reads"));
    stream.write_all(&behind).expect("the server reads");
    let answer = read_answer(&mut stream);
    assert_eq!(answer.status, 201, "{}", answer.text());

    // The whole build: payload hashed, cpio walked for the SBOMs.
    let source = crafted::source("large", "1.0").bytes();
    let mut info = crafted::buildinfo_of(&source, std::slice::from_ref(&head));
    info.outputs[0].file_sha256 = digest;
    info.outputs[0].size_bytes = total;
    let buildinfo = info.to_json();
    put(http, &source);
    put(http, &buildinfo);
    let manifest = BuildManifest {
        repo: "base".parse().expect("a name"),
        source: FileDigest::of(&source),
        packages: vec![digest],
        buildinfo: FileDigest::of(&buildinfo),
        provenance: None,
    };
    let answer = http.post_json("/api/v1/builds", &manifest);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let build = answer.json::<BuildReceipt>().build;
    world.until_build(build, "has its SBOMs", |status| {
        let sboms = status.packages[0].evidence.iter().filter(|link| link.kind == "sbom").count();
        sboms == 2
    });
    let grown = world.process(SERVER).peak_memory_bytes() - memory_before;
    assert!(grown < 100 << 20, "the server grew by {} MiB", grown >> 20);
    eprintln!("600 MB taken in and inventoried: the server grew by {} KiB", grown >> 10);
}
