//! Bad input: every refusal says what is wrong, where, and what to do, and leaves nothing behind.

mod access;
mod manifests;
mod packages;
mod uploads;

use hallmark_tests::http::Answer;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::world::Watch;
use hallmark_tests::{Options, World};
use repo_model::FileDigest;
use repo_model::wire::ErrorBody;
use repo_model::wire::status::BuildStatus;
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
    assert_eq!(
        answer.header("content-type"),
        "application/json",
        "{}",
        answer.text()
    );
    let body: ErrorBody = answer.json();
    assert_eq!(body.code, code, "{body:?}");
    let all = format!(
        "{} {}",
        body.error,
        body.hint.as_deref().unwrap_or_default()
    );
    for word in words {
        assert!(all.contains(word), "`{word}` is not in {body:?}");
    }
    let hint = body.hint.as_deref().unwrap_or_default();
    assert!(!hint.is_empty(), "no hint what to do next: {body:?}");
    body
}

fn builds_of(world: &World, name: &str) -> Vec<BuildStatus> {
    world
        .http
        .get_json(&format!("/api/v1/builds?package={name}"))
}

/// Files in the spool that belong to one of these blobs.
fn spooled(world: &World, blobs: &[&[u8]]) -> Vec<String> {
    let digests: Vec<_> = blobs
        .iter()
        .map(|blob| FileDigest::of(blob).to_hex())
        .collect();
    let entries = std::fs::read_dir(world.data_dir().join("spool")).expect("the spool is there");
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| digests.iter().any(|digest| name.starts_with(digest)))
        .collect()
}

/// Offers a build that must be refused, and checks that nothing of it stays in the list or the spool.
#[track_caller]
fn assert_build_refused(
    world: &World,
    name: &str,
    build: &Crafted,
    status: u16,
    code: &str,
    words: &[&str],
) {
    let answer = build.offer(&world.http);
    assert_refused(&answer, status, code, words);
    assert_eq!(builds_of(world, name), [], "a refused build is listed");
    let blobs: Vec<&[u8]> = build
        .packages
        .iter()
        .chain([&build.source])
        .map(Vec::as_slice)
        .collect();
    assert_eq!(spooled(world, &blobs), [""; 0]);
}
