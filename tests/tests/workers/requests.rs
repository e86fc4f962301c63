//! Requests that are forged, repeated, relayed, or about what belongs to somebody else.

use crate::{assert_refused, both, build, until_held, world, world_of};
use hallmark_tests::worker::FakeWorker;
use repo_model::FileDigest;
use repo_model::policy::Reason;
use repo_model::verdict::Verdict::Identical;
use repo_model::wire::worker::{HEADER, RequestAuth};

const LEASE: &str = "/api/v1/worker/lease";
const ASKS: &[u8] = br#"{"arches":[],"profiles":[],"wait_secs":0}"#;

#[test]
fn a_request_is_good_once_for_this_server_and_from_this_rebuilder() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let send = |header: &str| a.http.send("POST", LEASE, &[(HEADER, header)], ASKS);
    let digest = FileDigest::of(ASKS);

    let header = a.header("POST", LEASE, digest);
    assert_eq!(send(&header).status, 204);
    assert_refused(&send(&header), 401, "bad-worker-signature", "made before");

    // What was signed for another server cannot be relayed to this one.
    let elsewhere = FakeWorker {
        authority: "packages.evil.example".to_owned(),
        ..a.clone()
    };
    let relayed = send(&elsewhere.header("POST", LEASE, digest));
    assert_refused(&relayed, 401, "bad-worker-signature", "address");

    // In another's name, about another body, on another path.
    let forged = FakeWorker {
        rebuilder: b.rebuilder.clone(),
        ..a.clone()
    };
    for header in [
        forged.header("POST", LEASE, digest),
        a.header("POST", LEASE, FileDigest::of(b"{}")),
        a.header("POST", "/api/v1/worker/jobs/1/report", digest),
        a.header("PUT", LEASE, digest),
    ] {
        assert_refused(
            &send(&header),
            401,
            "bad-worker-signature",
            "does not verify",
        );
    }
    let stranger = FakeWorker::stranger(&world, "nobody", 9);
    let refused = send(&stranger.header("POST", LEASE, digest));
    assert_refused(&refused, 401, "bad-worker-signature", "enrol");
}

#[test]
fn another_version_of_the_protocol_is_told_what_to_upgrade() {
    let owned = world();
    let world = owned.watch();
    let (a, _) = both(&world);
    let good = a.header("POST", LEASE, FileDigest::of(ASKS));
    let old = good.replacen("version=2,", "", 1);
    let new = good.replacen("version=2,", "version=3,", 1);
    assert!(old.parse::<RequestAuth>().is_err());
    for (header, word) in [
        (old, "upgrade hallmark-rebuilder"),
        (new, "upgrade the server"),
    ] {
        let answer = a.http.send("POST", LEASE, &[(HEADER, &header)], ASKS);
        assert_refused(&answer, 400, "protocol-version", word);
    }
}

#[test]
fn a_large_body_is_refused_and_that_of_a_stranger_not_even_read() {
    let owned = world();
    let world = owned.watch();
    let (a, _) = both(&world);
    let body = vec![b' '; 70 << 10];
    let header = a.header("POST", LEASE, FileDigest::of(&body));
    let answer = a.http.send("POST", LEASE, &[(HEADER, &header)], &body);
    assert_refused(&answer, 413, "too-large", "65536");
    let stranger = FakeWorker::stranger(&world, "nobody", 9);
    let header = stranger.header("POST", LEASE, FileDigest::of(&body));
    let answer = a.http.send("POST", LEASE, &[(HEADER, &header)], &body);
    assert_refused(&answer, 401, "bad-worker-signature", "nobody");
}

#[test]
fn only_the_holder_of_the_lease_can_keep_commit_and_report_a_job() {
    let owned = world_of(2, "reveal_wait_secs = 60\n");
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "fenced");
    let job = a.lease_rebuild();
    let theirs = b.honest(&job, Identical);
    for answer in [
        b.heartbeat(job.job, job.lease_epoch),
        b.commit(job.job, job.lease_epoch, &theirs),
        b.give_up(job.job, job.lease_epoch),
        a.heartbeat(job.job, job.lease_epoch + 1),
        a.heartbeat(job.job + 100, job.lease_epoch),
        a.heartbeat(u64::MAX, u64::MAX),
    ] {
        assert_refused(&answer, 409, "lease-lost", "lease again");
    }
    // a vanishes; when it is back, the job has a new lease and the old one is worth nothing.
    let again = world.until("the lease has ended", || match a.lease(1) {
        Some(repo_model::wire::worker::Task::Rebuild(again)) => Ok(again),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(
        (again.job, again.lease_epoch),
        (job.job, job.lease_epoch + 1)
    );
    assert_eq!(again.profile, job.profile, "the profile stays");
    let answer = a.honest(&job, Identical);
    assert_refused(
        &a.commit(job.job, job.lease_epoch, &answer),
        409,
        "lease-lost",
        "lease again",
    );
    let answer = a.honest(&again, Identical);
    assert_eq!(a.commit(again.job, again.lease_epoch, &answer).status, 204);
    let other = a.answer(&again, Identical, |rebuild, _| {
        rebuild.limits = "weak".to_owned()
    });
    assert_refused(
        &a.commit(again.job, again.lease_epoch, &other),
        409,
        "lease-lost",
        "lease again",
    );
    let (_, answer_b) = b.commits(Identical);
    a.tells(&answer);
    b.tells(&answer_b);
    world.until_published(build);
}

#[test]
fn failures_of_the_machine_are_never_a_mismatch_and_end_in_a_hold() {
    let owned = world_of(60, "reveal_wait_secs = 60\nmax_rebuild_attempts = 2\n");
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "unlucky");
    let job = b.lease_rebuild();
    assert_eq!(b.give_up(job.job, job.lease_epoch).status, 204);
    assert_eq!(b.lease(1), None, "not at once again");
    let (_, answer) = a.commits(Identical);
    // Its second try falls due after the pause; that was the last.
    let job = b.lease_rebuild();
    assert_eq!(b.give_up(job.job, job.lease_epoch).status, 204);
    a.tells(&answer);
    let reasons = until_held(&world, build);
    assert!(
        !reasons.iter().any(|reason| matches!(
            reason,
            Reason::RebuildDiffers { .. } | Reason::BuildFailed { .. }
        )),
        "{reasons:?}"
    );
    let status = world.build(build);
    let failed = crate::rebuild_of(&status, "rebuilder-b");
    assert_eq!(
        (failed.state.as_str(), failed.verdict, failed.attempt),
        ("failed", None, 2)
    );
}
