//! Blobs: wrong digests, broken connections, ranges, limits, and one that is too large for memory.

use crate::{MAX_BLOB_BYTES, assert_refused, spooled, world};
use hallmark_tests::World;
use hallmark_tests::http::{Http, read_answer};
use hallmark_tests::packages::crafted::{self, put};
use hallmark_tests::world::SERVER;
use repo_model::FileDigest;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{Head, tag};
use repo_model::wire::intake::{BuildManifest, BuildReceipt};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

#[test]
fn bytes_that_are_not_what_their_name_says_are_not_kept() {
    let world = world();
    let (named, sent) = (b"what was named".as_slice(), b"what was sent".as_slice());
    let path = format!("/api/v1/blobs/{}", FileDigest::of(named));
    let answer = world.http.put(&path, sent);
    let actual = FileDigest::of(sent).to_hex();
    assert_refused(
        &answer,
        400,
        "wrong-digest",
        &[&actual, "discarded", "SHA-256"],
    );
    assert_eq!(world.http.get(&path).status, 404);
    assert_eq!(spooled(&world, &[named, sent]), [""; 0]);
    assert_eq!(world.http.put(&path, named).status, 201);
    assert_eq!(
        world.http.put(&path, named).status,
        200,
        "the second time it is there already"
    );
    assert_eq!(world.http.fetch(&path), named);
}

/// Sends the first half of a blob over a connection that is then cut; how much the server keeps.
fn cut_off(world: &World, http: &Http, blob: &[u8]) -> u64 {
    let digest = FileDigest::of(blob);
    let head = http.head("PUT", &format!("/api/v1/blobs/{digest}"), blob.len() as u64);
    let mut stream = http.connect();
    stream
        .write_all(format!("{head}\r\n").as_bytes())
        .expect("the server reads");
    stream
        .write_all(&blob[..blob.len() / 2])
        .expect("the server reads");
    stream
        .shutdown(std::net::Shutdown::Both)
        .expect("the connection is cut");
    drop(stream);
    world.until("the server keeps what came", || {
        let answer = http.get(&format!("/api/v1/uploads/{digest}"));
        let offset = (answer.status == 200)
            .then(|| answer.json::<serde_json::Value>()["offset_bytes"].as_u64());
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
    let blob: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|n| n.to_be_bytes()[2..].to_vec())
        .collect();
    let digest = FileDigest::of(&blob);
    let path = format!("/api/v1/blobs/{digest}");
    let cut = cut_off(&world, http, &blob);
    assert!(cut <= blob.len() as u64 / 2, "{cut}");
    assert_eq!(http.get(&path).status, 404, "half a blob is no blob");

    let stranger = http.with_token(Some(&world.new_token("stranger", &["--scope", "publish"])));
    assert_eq!(
        stranger.get(&format!("/api/v1/uploads/{digest}")).status,
        404,
        "others do not continue it"
    );

    let total = blob.len();
    let part = |start: usize, end: usize| {
        let range = format!("bytes {start}-{}/{total}", end - 1);
        http.send(
            "PUT",
            &path,
            &[("content-range", &range)],
            &blob[start..end],
        )
    };
    // The request that was cut may still be letting go of the file.
    let (first, middle) = world.until("the upload can be continued", || {
        let have = http
            .get(&format!("/api/v1/uploads/{digest}"))
            .json::<serde_json::Value>()["offset_bytes"]
            .as_u64();
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
    assert_eq!(
        gap.header("upload-offset"),
        middle.to_string(),
        "{refused:?}"
    );
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
    for range in [
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes 0-9/*",
        "0-9/10",
        "bytes */10",
        "bytes 0-99999999999999999999/1",
    ] {
        let answer = world
            .http
            .send("PUT", &path, &[("content-range", range)], blob);
        assert_refused(
            &answer,
            400,
            "bad-range",
            &["Content-Range", "START-END/TOTAL"],
        );
    }
    let longer = world
        .http
        .send("PUT", &path, &[("content-range", "bytes 0-4/10")], blob);
    assert_refused(&longer, 400, "bad-range", &["Content-Range"]);
    let huge = format!("bytes 0-9/{}", MAX_BLOB_BYTES + 1);
    let answer = world
        .http
        .send("PUT", &path, &[("content-range", &huge)], blob);
    assert_refused(&answer, 413, "too-large", &[&MAX_BLOB_BYTES.to_string()]);
    assert_eq!(world.http.get(&path).status, 404);
}

#[test]
fn a_blob_over_the_limit_is_refused_before_it_is_sent() {
    let world = world();
    let http = &world.http;
    let digest = FileDigest::of(b"never sent");
    let answer = http.announce(
        "PUT",
        &format!("/api/v1/blobs/{digest}"),
        MAX_BLOB_BYTES + 1,
    );
    assert_refused(
        &answer,
        413,
        "too-large",
        &[&MAX_BLOB_BYTES.to_string(), "max_blob_bytes"],
    );
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
    let trailer = archive
        .windows(6)
        .rposition(|window| window == b"070701")
        .expect("a trailer");
    let behind = [
        vec![0; size_bytes.next_multiple_of(4) as usize - size_bytes as usize],
        archive[trailer..].to_vec(),
    ]
    .concat();

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
        .set(
            tag::FILEDIGESTS,
            Field::strings([hex::encode(file.finalize())]),
        )
        .set(
            tag::PAYLOADSHA256,
            Field::strings([hex::encode(payload.finalize())]),
        )
        .set_signature(
            tag::SIG_SIZE,
            Field::Int32(vec![u32::try_from(total + 65_536).expect("under 4 GiB")]),
        )
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
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    stream
        .write_all(&[head.as_slice(), &before].concat())
        .expect("the server reads");
    for_zeros(SIZE_BYTES, |zeros| {
        stream.write_all(zeros).expect("the server reads")
    });
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
        let has = |format: &str| {
            status.packages[0]
                .evidence
                .iter()
                .any(|link| link.label == format)
        };
        has("cyclonedx-1.6") && has("spdx-2.3") && status.jobs.is_empty()
    });
    let grown = world.process(SERVER).peak_memory_bytes() - memory_before;
    assert!(grown < 100 << 20, "the server grew by {} MiB", grown >> 20);
    eprintln!(
        "600 MB taken in and inventoried: the server grew by {} KiB",
        grown >> 10
    );
}
