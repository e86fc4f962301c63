//! Commit, then reveal: nobody can copy, nobody can hold the others up for ever.

use crate::{both, build, hasty_world, rebuild_of, until_held, world};
use hallmark_tests::World;
use repo_model::FileDigest;
use repo_model::policy::Reason;
use repo_model::verdict::Verdict::{Differs, Identical};
use repo_model::wire::worker::Task;

/// Everything that anybody, and anybody with a token, can read about a build.
fn all_that_is_told(world: &World, build: u64) -> String {
    let anonymous = world.http.with_token(None);
    let pages = [
        format!("/api/v1/builds/{build}"),
        format!("/builds/{build}"),
        "/api/v1/builds".to_owned(),
        "/".to_owned(),
    ];
    let mut text: String = pages
        .iter()
        .map(|page| anonymous.get(page).text())
        .collect();
    text.push_str(&world.http.get(&pages[0]).text());
    text
}

#[test]
fn nobody_hears_an_answer_before_all_have_committed_to_theirs() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "sealed");
    let (_, answer_a) = a.commits(Identical);
    let job_b = b.lease_rebuild();
    assert_eq!(a.lease(1), None, "b is at work");

    let status = world.build(build);
    assert_eq!(rebuild_of(&status, "rebuilder-a").state, "committed");
    assert_eq!(rebuild_of(&status, "rebuilder-a").verdict, None);
    let told = all_that_is_told(&world, build);
    for statement in answer_a.digests() {
        assert!(
            !told.contains(&statement.to_hex()),
            "the statement is named"
        );
        for http in [&world.http, &world.http.with_token(None)] {
            let path = format!("/evidence/sha256/{statement}");
            assert_eq!(http.get(&path).status, 404);
        }
        assert_eq!(b.get(statement).status, 403);
    }
    // The commitment may be seen: it tells nothing.
    let commitment = FileDigest::of(&answer_a.commitment.to_json());
    let shown = world.http.fetch(&format!("/evidence/sha256/{commitment}"));
    assert!(!String::from_utf8_lossy(&shown).contains("identical"));

    let answer_b = b.honest(&job_b, Identical);
    assert_eq!(
        b.commit(job_b.job, job_b.lease_epoch, &answer_b).status,
        204
    );
    let (round_a, round_b) = (a.tells(&answer_a).round, b.tells(&answer_b).round);
    assert_eq!(round_a, round_b);
    assert_eq!(round_a.len(), 2);
    let status = world.until_published(build);
    for answer in [&answer_a, &answer_b] {
        for statement in answer.digests() {
            world.http.fetch(&format!("/evidence/sha256/{statement}"));
        }
    }
    let profiles: Vec<_> = status
        .rebuilds
        .iter()
        .map(|rebuild| rebuild.profile.as_deref())
        .collect();
    assert_eq!(profiles, [Some("plain"), Some("one-cpu")]);
}

#[test]
fn a_copier_that_waits_for_the_other_s_answer_does_not_count() {
    let owned = hasty_world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "copied");
    // b does nothing until the time is over and a has told.
    let (_, answer_a) = a.commits(Identical);
    a.tells(&answer_a);
    let status = world.build(build);
    assert_eq!(rebuild_of(&status, "rebuilder-a").verdict, Some(Identical));

    // b has read it, and says the same. That is worth nothing: a has to commit anew beside it.
    let (_, copied) = b.commits(Identical);
    let job = a.lease_rebuild();
    assert_eq!(world.build(build).stage.name(), "received");
    let again = a.honest(&job, Identical);
    assert_eq!(a.commit(job.job, job.lease_epoch, &again).status, 204);
    let (round_a, round_b) = (a.tells(&again).round, b.tells(&copied).round);
    assert_eq!(round_a, round_b);
    world.until_published(build);
}

#[test]
fn who_commits_and_never_reveals_is_given_up_and_does_not_count() {
    let owned = hasty_world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "silent");
    let (_, answer_a) = a.commits(Identical);
    b.commits(Identical);
    a.tells(&answer_a);
    assert!(
        matches!(b.lease(5), Some(Task::Reveal(_))),
        "it hears of the round"
    );
    let reasons = until_held(&world, build);
    assert!(
        reasons.contains(&Reason::RebuildsMissing { have: 1, want: 2 }),
        "{reasons:?}"
    );
    let status = world.build(build);
    let silent = rebuild_of(&status, "rebuilder-b");
    assert_eq!((silent.state.as_str(), silent.verdict), ("failed", None));
    let error = silent.last_error.clone().unwrap_or_default();
    assert!(error.contains("did not reveal"), "{error}");

    // Tried again, both commit anew: what a said in that round could be known by now.
    world.hallmark_ok(&["retry", &build.to_string()]);
    let ((_, answer_a), (_, answer_b)) = (a.commits(Identical), b.commits(Identical));
    a.tells(&answer_a);
    b.tells(&answer_b);
    world.until_published(build);
}

#[test]
fn a_server_that_dies_between_commitment_and_reveal_loses_nothing() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "steady");
    let (job, answer_a) = a.commits(Identical);
    world.crash("server");
    world.until_ready();
    let again = a.commit(job.job, job.lease_epoch, &answer_a);
    assert_eq!(
        again.status,
        204,
        "its answer may have been lost: {}",
        again.text()
    );
    let (_, answer_b) = b.commits(Identical);
    world.crash("server");
    world.until_ready();
    let task = a.tells(&answer_a);
    assert_eq!(a.put(b"more").status, 403, "no lease, nothing to store");
    let again = a.report(&task, a.reveal_of(&task, &answer_a), &[]);
    assert_eq!(
        again.status,
        204,
        "its answer may have been lost: {}",
        again.text()
    );
    world.crash("server");
    world.until_ready();
    b.tells(&answer_b);
    world.until_published(build);
}

#[test]
fn a_dissent_that_is_slow_is_waited_for() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "disputed");
    let job_b = b.lease_rebuild();
    let (_, answer_a) = a.commits(Identical);
    assert_eq!(b.heartbeat(job_b.job, job_b.lease_epoch).status, 204);
    assert_eq!(a.lease(1), None, "b is at work");
    let answer_b = b.honest(&job_b, Differs);
    assert_eq!(
        b.commit(job_b.job, job_b.lease_epoch, &answer_b).status,
        204
    );
    a.tells(&answer_a);
    b.tells(&answer_b);
    let reasons = until_held(&world, build);
    let differs = |reason: &Reason| matches!(reason, Reason::RebuildDiffers { .. });
    assert!(reasons.iter().any(differs), "{reasons:?}");
}

#[test]
fn what_came_out_different_and_then_the_same_must_come_out_the_same_three_times_for_each() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "moody");
    let job_b = b.lease_rebuild();
    let (_, answer_a) = a.commits(Identical);
    let mixed = b.answer(&job_b, Differs, |rebuild, _| {
        rebuild.runs = vec![Differs, Identical];
    });
    assert_eq!(b.commit(job_b.job, job_b.lease_epoch, &mixed).status, 204);
    a.tells(&answer_a);
    b.tells(&mixed);
    // Nobody has to ask for it: everybody is given the build again.
    let (job_a, answer_a) = a.commits(Identical);
    let (job_b, answer_b) = b.commits(Identical);
    assert_eq!((job_a.runs, job_b.runs), (3, 3));
    a.tells(&answer_a);
    b.tells(&answer_b);
    world.until_published(build);
}
