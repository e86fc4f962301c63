//! Rebuilders that are not what they should be, against a real server and signer: each lie, theft and
//! disappearance is a test. The rebuilders here are made to order and build nothing.

mod commitments;
mod enrolment;
mod lies;
mod requests;
mod said;

use hallmark_tests::http::Answer;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::worker::FakeWorker;
use hallmark_tests::{Options, World};
use repo_model::policy::Reason;
use repo_model::wire::ErrorBody;
use repo_model::wire::status::{BuildStatus, RebuildStatus};

/// Two rebuilders, both demanded, that are not started. Nobody is waited for in vain before a minute is over.
fn world() -> World {
    world_of(60, "reveal_wait_secs = 60\nmax_rebuild_attempts = 1\n")
}

/// The same with leases and waits of a few seconds.
fn hasty_world() -> World {
    world_of(2, "reveal_wait_secs = 3\nmax_rebuild_attempts = 1\n")
}

fn world_of(lease_secs: u32, server_settings: &'static str) -> World {
    World::start(&Options {
        require_provenance: false,
        start_rebuilders: false,
        lease_secs,
        server_settings,
        ..Options::two_rebuilders()
    })
}

fn both(world: &World) -> (FakeWorker, FakeWorker) {
    (
        FakeWorker::of(world, "rebuilder-a"),
        FakeWorker::of(world, "rebuilder-b"),
    )
}

/// A build of one package, just handed over.
fn build(world: &World, name: &str) -> u64 {
    Crafted::new(name, "1.0").publish(&world.http).build
}

fn rebuild_of<'b>(status: &'b BuildStatus, name: &str) -> &'b RebuildStatus {
    status
        .rebuilds
        .iter()
        .find(|rebuild| rebuild.rebuilder.as_str() == name)
        .unwrap_or_else(|| panic!("{name} has no rebuild of it"))
}

fn until_held(world: &World, build: u64) -> Vec<Reason> {
    let held = world.until_build(build, "is held", |status| status.stage.name() == "held");
    held.stage.reasons().to_vec()
}

/// Checks status and code, and that the sentence or its hint has this word.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str, word: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body: ErrorBody = answer.json();
    assert_eq!(body.code, code, "{body:?}");
    let all = format!("{} {}", body.error, body.hint.unwrap_or_default());
    assert!(all.contains(word), "`{word}` is not in {all}");
}
