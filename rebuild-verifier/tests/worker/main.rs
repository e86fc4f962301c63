//! The worker against a server that checks every signature and keeps every blob.

#[path = "../common/mod.rs"]
mod common;
mod leases;
mod server;
mod world;

use common::spec;
use hallmark_rebuilder::client::{Client, ClientError};
use hallmark_rebuilder::{profile, shift};
use repo_model::FileDigest;
use repo_model::in_toto;
use repo_model::verdict::Verdict;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use world::World;

#[test]
fn a_reproducible_build_is_confirmed_with_a_signed_statement_a_package() {
    if !common::tools("a_reproducible_build_is_confirmed_with_a_signed_statement_a_package") {
        return;
    }
    let world = World::new();
    let text = spec("good", "echo data >data").replace(
        "%description\nTest.\n",
        "%description\nTest.\n%package extra\nSummary: Extra\n%description extra\nExtra.\n%files extra\n",
    );
    let (srpm, recorded) = world.recorded("good", &text);
    assert_eq!(recorded.packages.len(), 2);
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let statements = world.statements();
    assert_eq!(statements.len(), 2);
    for (statement, output) in statements.iter().zip(&recorded.info.outputs) {
        assert!(statement.is_about(output.header_sha256));
        let rebuild = &statement.predicate;
        assert_eq!(
            (rebuild.verdict, rebuild.causes.len()),
            (Verdict::Identical, 0)
        );
        let buildinfo = FileDigest::of(&fs::read(&recorded.buildinfo).unwrap()).to_hex();
        assert_eq!(rebuild.buildinfo.digest["sha256"], buildinfo);
        assert_eq!(rebuild.rebuilder, world.bench.rebuilder);
        assert_eq!(rebuild.source_date_epoch, Some(1_736_467_200));
        // Log, report, and the in-toto link of a build that is identical in all its packages.
        assert_eq!(rebuild.attachments.len(), 3);
        let link = &rebuild.attachments[2];
        assert_eq!(link.name.as_deref(), Some(in_toto::ATTACHMENT));
        let digest = link.digest["sha256"].parse().unwrap();
        let text = world.server.state.lock().unwrap().blobs[&digest].clone();
        let key = world.bench.keys.statement.public();
        let products = in_toto::open_link(&text, &key).unwrap();
        assert_eq!(products[&output.nevra.file_name()], output.file_sha256);
        assert_eq!(products.len(), 2);
    }
    assert_eq!(
        fs::read_dir(world.lab.path("bench")).unwrap().count(),
        0,
        "scratch space is left over"
    );
}

#[test]
fn every_profile_confirms_what_does_not_depend_on_it_and_names_what_does() {
    if !common::tools("every_profile_confirms_what_does_not_depend_on_it_and_names_what_does") {
        return;
    }
    let depends =
        "nproc >cpus; uname -r >kernel; perl -e 'print \"at \", \\my @list, \"\\n\"' >place";
    for row in profile::PROFILES {
        if row.is_later() && !has_another_day(row.name) {
            continue;
        }
        let world = World::new();
        let (srpm, recorded) = world.recorded_good();
        world.server.offer_under(row.name, &srpm, &recorded);
        let rebuild = world.verdict();
        assert_eq!(
            (rebuild.verdict, rebuild.profile.as_str()),
            (Verdict::Identical, row.name)
        );

        let world = World::new();
        let (srpm, recorded) = world.recorded("bad", &spec("bad", depends));
        world.server.offer_under(row.name, &srpm, &recorded);
        let rebuild = world.verdict();
        let codes: Vec<&str> = rebuild
            .causes
            .iter()
            .map(|cause| cause.code.as_str())
            .collect();
        assert_eq!(rebuild.verdict, Verdict::Differs, "{}", row.name);
        assert!(codes.contains(&"address"), "{}: {codes:?}", row.name);
        let one = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        assert_eq!(
            codes.contains(&"cpu-count"),
            row.name == "one-cpu" && !one,
            "{codes:?}"
        );
        assert_eq!(
            codes.contains(&"kernel-version"),
            row.name == "other-kernel",
            "{codes:?}"
        );
    }
}

/// Whether libfaketime is here; CI has to have it.
fn has_another_day(what: &str) -> bool {
    let missing = shift::library().is_none();
    assert!(
        !missing || std::env::var_os("CI").is_none(),
        "{what}: libfaketime is missing in CI"
    );
    if missing {
        eprintln!("SKIPPED {what}: libfaketime is missing");
    }
    !missing
}

#[test]
fn the_day_in_a_package_is_found_by_a_rebuild_on_another_day_and_by_no_other() {
    let test = "the_day_in_a_package_is_found_by_a_rebuild_on_another_day_and_by_no_other";
    if !common::tools(test) || !has_another_day(test) {
        return;
    }
    // Times of files that are older than the build stay what they are.
    let good = "date -d @0 +%%F >data; touch -d 2020-01-02 old; cp -p old copy; tar cf - old | tar xf - -C /tmp; \
                cp -p /tmp/old unpacked";
    for (install, profile, verdict) in [
        (good, "later-day", Verdict::Identical),
        ("date +%%F >data", "plain", Verdict::Identical),
        ("date +%%F >data", "later-day", Verdict::Differs),
    ] {
        let world = World::new();
        let (srpm, recorded) = world.recorded("day", &spec("day", install));
        world.server.offer_under(profile, &srpm, &recorded);
        let rebuild = world.verdict();
        assert_eq!(rebuild.verdict, verdict, "{install} {profile}");
        if verdict == Verdict::Differs {
            let cause = &rebuild.causes[0];
            assert_eq!(
                (cause.code.as_str(), cause.file.as_deref()),
                ("embedded-clock", Some("/usr/share/day/data"))
            );
        }
    }
}

#[test]
fn a_build_with_the_clock_in_it_differs_and_the_cause_is_named() {
    if !common::tools("a_build_with_the_clock_in_it_differs_and_the_cause_is_named") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("clocky", &spec("clocky", "date -u +%%FT%%T.%%N >built"));
    world.server.offer(&srpm, &recorded, |_| {});
    let rebuild = world.verdict();
    assert_eq!(rebuild.verdict, Verdict::Differs);
    let cause = &rebuild.causes[0];
    assert_eq!(
        (cause.code.as_str(), cause.file.as_deref()),
        ("embedded-clock", Some("/usr/share/clocky/built"))
    );
    assert!(cause.detail.starts_with("built \"20"), "{}", cause.detail);
}

/// The clock so many seconds from now, seconds since 1970.
fn in_secs(secs: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() + secs
}

fn wait_until(unix_secs: u64) {
    let ready = UNIX_EPOCH + Duration::from_secs(unix_secs);
    std::thread::sleep(ready.duration_since(SystemTime::now()).unwrap_or_default());
}

#[test]
fn other_packages_than_the_build_made_are_a_difference_of_the_set() {
    if !common::tools("other_packages_than_the_build_made_are_a_difference_of_the_set") {
        return;
    }
    let world = World::new();
    // A subpackage in about half of all builds would do; the parity of a counter is sure.
    let text = "Name: moody\nVersion: 1\nRelease: 1\nSummary: S\nLicense: L\nBuildArch: noarch\n\
        %define odd %(test $(date +%%s) -gt LIMIT && echo 1 || echo 0)\n%description\nD\n\
        %if %{odd}\n%package late\nSummary: S\n%description late\nD\n%files late\n%endif\n\
        %files\n%changelog\n* Fri Jan 10 2025 T <t@example.invalid> - 1\n- F\n";
    let soon = in_secs(4);
    let (srpm, recorded) = world.recorded("moody", &text.replace("LIMIT", &soon.to_string()));
    assert_eq!(recorded.packages.len(), 1);
    wait_until(soon + 1);
    world.server.offer(&srpm, &recorded, |_| {});
    let rebuild = world.verdict();
    assert_eq!(rebuild.verdict, Verdict::SetDiffers);
    assert!(
        rebuild.causes[0]
            .detail
            .contains("only rebuilt: moody-late-1-1.noarch"),
        "{:?}",
        rebuild.causes
    );
}

#[test]
fn a_build_that_fails_by_itself_is_a_verdict_of_build_failed() {
    if !common::tools("a_build_that_fails_by_itself_is_a_verdict_of_build_failed") {
        return;
    }
    let world = World::new();
    let soon = in_secs(3);
    let install = format!("test $(date +%%s) -lt {soon}; echo data >data");
    let (srpm, recorded) = world.recorded("failing", &spec("failing", &install));
    wait_until(soon);
    world.server.offer(&srpm, &recorded, |_| {});
    let rebuild = world.verdict();
    assert_eq!(rebuild.verdict, Verdict::BuildFailed);
    assert_eq!(rebuild.causes[0].code, "build-failed");
}

#[test]
fn a_build_that_leaves_junk_instead_of_packages_is_build_failed_too() {
    if !common::tools("a_build_that_leaves_junk_instead_of_packages_is_build_failed_too") {
        return;
    }
    let world = World::new();
    let (_, recorded) = world.recorded("junk", &spec("junk", "echo data >data"));
    let junk = spec("junk", "echo junk >/builddir/out/junk.rpm; echo data >data");
    let srpm = world.lab.srpm("junk-again", &junk);
    let source = hallmark_rebuilder::plan::read_source(&srpm).unwrap();
    let digest = FileDigest::of(&fs::read(&srpm).unwrap());
    world.server.offer(&srpm, &recorded, |info| {
        info.source.sha256 = digest;
        info.source.header_sha256 = source.header;
    });
    let rebuild = world.verdict();
    assert_eq!(rebuild.verdict, Verdict::BuildFailed);
    assert!(
        rebuild.causes[0].detail.contains("junk.rpm"),
        "{:?}",
        rebuild.causes
    );
}

#[test]
fn a_job_for_another_root_or_a_limit_says_nothing_about_the_package() {
    if !common::tools("a_job_for_another_root_or_a_limit_says_nothing_about_the_package") {
        return;
    }
    let mut world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "sleep 0.7; echo data >data"));
    world.server.offer(&srpm, &recorded, |info| {
        info.buildroot.lock_sha256 = FileDigest::of(b"elsewhere")
    });
    let (_, message) = world.no_verdict();
    assert!(message.contains("root is another one"), "{message}");

    world.server.state.lock().unwrap().reports.clear();
    world.bench.limits.build_secs = 0;
    world.server.offer(&srpm, &recorded, |_| {});
    let (report, message) = world.no_verdict();
    assert!(message.contains("limit of 0 s"), "{message}");
    assert_eq!(report.attachments.len(), 1, "the log comes along");
}

#[test]
fn a_job_whose_packages_are_not_the_buildinfos_is_not_judged() {
    if !common::tools("a_job_whose_packages_are_not_the_buildinfos_is_not_judged") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded_good();
    world.server.offer(&srpm, &recorded, |_| {});
    world.server.state.lock().unwrap().jobs[0].packages[0].header =
        repo_model::HeaderDigest::of(b"another");
    world.no_verdict();
}

#[test]
fn a_mismatch_gets_one_confirming_run_and_a_flaky_package_as_many_as_are_asked_for() {
    if !common::tools("a_mismatch_gets_one_confirming_run_and_a_flaky_package_as_many") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("clocky", &spec("clocky", "date -u +%%FT%%T.%%N >built"));
    world.server.offer(&srpm, &recorded, |_| {});
    let rebuild = world.verdict();
    assert_eq!(rebuild.runs, [Verdict::Differs, Verdict::Differs]);
    assert!(!rebuild.causes.is_empty());

    let world = World::new();
    let (srpm, recorded) = world.recorded_good();
    world.server.offer(&srpm, &recorded, |_| {});
    world.server.state.lock().unwrap().jobs[0].runs = 3;
    let rebuild = world.verdict();
    assert_eq!(rebuild.runs, [Verdict::Identical; 3]);
    assert_eq!(rebuild.verdict, Verdict::Identical);
}

#[test]
fn a_profile_that_is_not_offered_says_nothing_about_the_package() {
    if !common::tools("a_profile_that_is_not_offered_says_nothing_about_the_package") {
        return;
    }
    let mut world = World::new();
    world.bench.profiles = vec![profile::plain()];
    let (srpm, recorded) = world.recorded_good();
    world.server.offer_under("one-cpu", &srpm, &recorded);
    let (_, message) = world.no_verdict();
    assert!(
        message.contains("one-cpu, which is not offered"),
        "{message}"
    );
}

#[test]
fn blobs_that_are_not_what_was_asked_for_are_refused_and_removed() {
    let world = World::new();
    let wanted = FileDigest::of(b"wanted");
    world
        .server
        .state
        .lock()
        .unwrap()
        .blobs
        .insert(wanted, b"another".to_vec());
    let to = world.lab.path("blob");
    let error = world.bench.client.download(wanted, &to, 1_000).unwrap_err();
    assert!(matches!(error, ClientError::BadAnswer { .. }), "{error}");
    assert!(!to.exists());
    let right = world.bench.client.upload(b"right").unwrap();
    assert!(
        world.bench.client.download(right, &to, 4).is_err(),
        "larger than announced"
    );
    world.bench.client.download(right, &to, 5).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"right");
    let missing = world
        .bench
        .client
        .download(wanted_missing(), &world.lab.path("x"), 10)
        .unwrap_err();
    assert!(missing.to_string().contains("no such blob"), "{missing}");
    let nobody = Client::new(
        "http://127.0.0.1:1",
        "rb-a".parse().unwrap(),
        world.bench.keys.request.clone(),
    );
    assert!(nobody.upload(b"x").unwrap_err().is_unavailable());
}

fn wanted_missing() -> FileDigest {
    FileDigest::of(b"missing")
}
