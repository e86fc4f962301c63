//! What becomes of a job when something goes wrong between rebuilder and server.

use crate::common::{self, spec};
use crate::server::State;
use crate::world::World;
use hallmark_rebuilder::worker::{self, Idle, Until};
use repo_model::FileDigest;
use repo_model::verdict::Verdict;
use repo_model::wire::worker::Outcome;
use std::fs;
use std::time::{Duration, Instant};

/// A job whose build hangs; `event` happens at the first heartbeat. Then the rebuilder is stopped.
fn hanging_build(event: impl FnOnce(&mut State) + Send + 'static) {
    let world = World::new();
    let (_, recorded) = world.recorded("slow", &spec("slow", "echo data >data"));
    let hanging = world
        .lab
        .srpm("hanging", &spec("slow", "sleep 577.21; echo data >data"));
    // The source package that is rebuilt hangs; the buildinfo of another is made to fit.
    let source = hallmark_rebuilder::plan::read_source(&hanging).unwrap();
    let digest = FileDigest::of(&fs::read(&hanging).unwrap());
    world.server.offer(&hanging, &recorded, |info| {
        info.source.sha256 = digest;
        info.source.header_sha256 = source.header;
    });
    let stop = world.bench.stop.clone();
    let server = world.server.clone();
    let watcher = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.state.lock().unwrap().heartbeats == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        event(&mut server.state.lock().unwrap());
        std::thread::sleep(Duration::from_millis(900));
        stop.cancel();
    });
    let started = Instant::now();
    worker::run(&world.bench, Until::Stopped, &Idle::default()).unwrap();
    watcher.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(15));
    let state = world.server.state.lock().unwrap();
    assert!(
        state.heartbeats >= 1 && state.reports.is_empty(),
        "{:?}",
        state.reports
    );
    assert_eq!(
        fs::read_dir(world.lab.path("bench")).unwrap().count(),
        0,
        "scratch space is left over"
    );
}

#[test]
fn a_lost_lease_stops_the_build_and_nothing_is_reported() {
    if !common::tools("a_lost_lease_stops_the_build_and_nothing_is_reported") {
        return;
    }
    hanging_build(|state| state.lease_is_lost = true);
}

#[test]
fn a_rebuilder_that_is_stopped_drops_its_job_without_a_report() {
    if !common::tools("a_rebuilder_that_is_stopped_drops_its_job_without_a_report") {
        return;
    }
    hanging_build(|_| {});
}

#[test]
fn a_server_in_trouble_is_waited_for() {
    if !common::tools("a_server_in_trouble_is_waited_for") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded_good();
    world.server.offer(&srpm, &recorded, |_| {});
    let job = world.server.state.lock().unwrap().jobs[0].clone();
    world.server.state.lock().unwrap().unavailable = 1;
    let end = hallmark_rebuilder::job::work_off(&world.bench, &job).unwrap();
    assert_eq!(end, hallmark_rebuilder::job::JobEnd::Committed);
    world.one_job();
    assert_eq!(world.statements().len(), 1);
}

#[test]
fn an_answer_survives_a_crash_and_is_told_by_the_next_process() {
    if !common::tools("an_answer_survives_a_crash_and_is_told_by_the_next_process") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded_good();
    world.server.offer(&srpm, &recorded, |_| {});
    let job = world.server.state.lock().unwrap().jobs.remove(0);
    // The server dies at the worst moment: the answer is on disk, and the commitment was not taken.
    world.server.state.lock().unwrap().refuse_commitments = Some(400);
    hallmark_rebuilder::job::work_off(&world.bench, &job).unwrap_err();
    assert_eq!(world.server.state.lock().unwrap().commitments.len(), 0);
    assert!(world.lab.path("bench").join("pledges").is_dir());

    // The next process commits to what is there, without building anew.
    world.server.state.lock().unwrap().refuse_commitments = None;
    world.one_job();
    assert_eq!(world.statements()[0].predicate.verdict, Verdict::Identical);
    assert_eq!(world.opened().reveal.round.len(), 2);
    assert!(!world.lab.path("bench").join("pledges").exists());
}

#[test]
fn an_answer_is_told_for_one_round_only() {
    if !common::tools("an_answer_is_told_for_one_round_only") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded_good();
    world.server.offer(&srpm, &recorded, |_| {});
    let job = world.server.state.lock().unwrap().jobs.remove(0);
    hallmark_rebuilder::job::work_off(&world.bench, &job).unwrap();
    let reveal = world.server.state.lock().unwrap().reveals[0].clone();
    let pledges = hallmark_rebuilder::pledge::Pledges::of(&world.lab.path("bench"));
    let kept = pledges.find(reveal.commitment).unwrap().unwrap();
    world.one_job();
    let told = world.only_report();
    // The answer is still there, as after a crash before it was forgotten; the server asks again, for a round
    // with somebody else in it.
    let log = world.lab.path("log");
    fs::write(&log, b"").unwrap();
    pledges
        .keep(&kept, &[], (&log, FileDigest::of(b"")))
        .unwrap();
    let Outcome::Revealed { reveal: first } = &told.outcome else {
        panic!("{told:?}")
    };
    pledges.keep_reveal(reveal.commitment, first).unwrap();
    let mut again = reveal.clone();
    again.round.push(FileDigest::of(b"somebody who heard it"));
    again.round.sort();
    {
        let mut state = world.server.state.lock().unwrap();
        state.reports.clear();
        state.reveals.push(again);
    }
    world.one_job();
    let report = world.only_report();
    let Outcome::InfraFailed { message } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(message.contains("not told twice"), "{message}");
}
