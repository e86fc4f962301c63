//! Builds that want more than they may have, or do not end.

use super::common::{self, attempt::are_gone};
use super::{limits, run, say};
use hallmark_rebuilder::sandbox::{Cancel, Ended, Limits, REBUILD_BACKENDS, SandboxError};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_file_that_is_deleted_but_open_does_not_escape_the_disk_limit() {
    if !common::tools("a_file_that_is_deleted_but_open_does_not_escape_the_disk_limit") {
        return;
    }
    // What is written lies nowhere on the machine: it counts against the build's own tmpfs.
    let line = "exec 9>/builddir/out/f; rm /builddir/out/f; head -c 100000000 /dev/zero >&9";
    let (ended, log) = run(&REBUILD_BACKENDS[0], line, limits(), &Cancel::default());
    assert!(
        matches!(ended, Err(SandboxError::Disk { .. })),
        "{ended:?} {log}"
    );
    let line = "mkdir -m 0 /builddir/out/d; i=0; while [ $i -lt 200 ]; do head -c 1000000 /dev/zero >/builddir/out/$i || exit 1; i=$((i+1)); done";
    let (ended, log) = run(&REBUILD_BACKENDS[0], line, limits(), &Cancel::default());
    assert!(
        matches!(ended, Err(SandboxError::Disk { .. })),
        "{ended:?} {log}"
    );
}

#[test]
fn the_time_limit_kills_the_whole_tree() {
    if !common::tools("the_time_limit_kills_the_whole_tree") {
        return;
    }
    let mark = &format!("271828.{}", std::process::id());
    let line =
        format!("(setsid sleep {mark} &) ; (trap '' TERM HUP INT; sleep {mark}) & sleep {mark}");
    let started = Instant::now();
    let (ended, _) = run(
        &REBUILD_BACKENDS[0],
        &line,
        Limits {
            build_secs: 1,
            ..limits()
        },
        &Cancel::default(),
    );
    assert!(
        matches!(ended, Err(SandboxError::Time { secs: 1 })),
        "{ended:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(are_gone(mark));
}

#[test]
fn what_a_build_leaves_running_dies_with_it() {
    if !common::tools("what_a_build_leaves_running_dies_with_it") {
        return;
    }
    let mark = "314159.26";
    say(&format!("setsid sleep {mark} >/dev/null 2>&1 & exit 0"));
    assert!(are_gone(mark));
}

#[test]
fn a_build_that_is_cancelled_ends_at_once() {
    if !common::tools("a_build_that_is_cancelled_ends_at_once") {
        return;
    }
    let cancel = Cancel::default();
    let from_outside = cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        from_outside.cancel();
    });
    let started = Instant::now();
    let (ended, _) = run(&REBUILD_BACKENDS[0], "sleep 141421.35", limits(), &cancel);
    canceller.join().unwrap();
    assert!(matches!(ended, Err(SandboxError::Cancelled)));
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(are_gone("141421.35"));
}

#[test]
fn a_fork_bomb_stays_within_its_number_of_processes() {
    if !common::tools("a_fork_bomb_stays_within_its_number_of_processes") {
        return;
    }
    let line = "n=0; while [ $n -lt 300 ]; do sleep 60 & n=$((n + 1)); done; echo made them all";
    let (ended, log) = run(
        &REBUILD_BACKENDS[0],
        line,
        Limits {
            max_processes: 40,
            ..limits()
        },
        &Cancel::default(),
    );
    assert!(
        matches!(
            ended,
            Err(SandboxError::Processes { processes: 40 }) | Ok(Ended { exit_code: 1.., .. })
        ),
        "{ended:?}"
    );
    assert!(!log.contains("made them all"), "{log}");
}

#[test]
fn a_fork_bomb_that_never_stops_is_gone_at_its_time_limit() {
    if !common::tools("a_fork_bomb_that_never_stops_is_gone_at_its_time_limit") {
        return;
    }
    let mark = format!("marked-{}", std::process::id());
    let line = format!("bomb() {{ bomb | bomb & }}; while :; do bomb; done # {mark}");
    let brief = Limits {
        build_secs: 2,
        max_processes: 60,
        log_bytes: 10_000,
        ..limits()
    };
    let started = Instant::now();
    let (ended, log) = run(&REBUILD_BACKENDS[0], &line, brief, &Cancel::default());
    // A shell that cannot fork may also give up by itself.
    assert!(
        matches!(
            ended,
            Err(SandboxError::Time { .. } | SandboxError::Processes { .. })
                | Ok(Ended { exit_code: 1.., .. })
        ),
        "{ended:?} {log}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(are_gone(&mark));
}

#[test]
fn a_disk_filler_fails_as_infrastructure_and_not_as_the_package() {
    if !common::tools("a_disk_filler_fails_as_infrastructure_and_not_as_the_package") {
        return;
    }
    for place in ["/builddir/fill", "/builddir/out/fill", "/tmp/fill"] {
        let line = format!(
            "i=0; while :; do head -c 20000000 /dev/zero >{place}$i || exit 1; i=$((i + 1)); sleep 0.02; done"
        );
        let (ended, log) = run(&REBUILD_BACKENDS[0], &line, limits(), &Cancel::default());
        assert!(
            matches!(ended, Err(SandboxError::Disk { .. })),
            "{place}: {ended:?} {log}"
        );
    }
}

#[test]
fn memory_beyond_the_limit_ends_the_build_where_cgroups_are() {
    let test = "memory_beyond_the_limit_ends_the_build_where_cgroups_are";
    if !common::tools(test) {
        return;
    }
    if !hallmark_rebuilder::sandbox::has_cgroups() {
        eprintln!("SKIPPED {test}: no writable cgroup");
        return;
    }
    let line = "python3 -c 'x = bytearray(400 << 20)' ; echo after";
    let (ended, log) = run(
        &REBUILD_BACKENDS[0],
        line,
        Limits {
            memory_bytes: 128 << 20,
            ..limits()
        },
        &Cancel::default(),
    );
    assert!(
        matches!(ended, Err(SandboxError::Memory { .. })),
        "{ended:?} {log}"
    );
}

#[test]
fn of_ten_gigabytes_of_log_only_head_and_tail_are_kept() {
    let test = "of_ten_gigabytes_of_log_only_head_and_tail_are_kept";
    if !common::tools(test) {
        return;
    }
    let line = "echo first; head -c 10G /dev/zero; echo; echo last";
    let started = Instant::now();
    let (ended, log) = run(
        &REBUILD_BACKENDS[0],
        line,
        Limits {
            log_bytes: 10_000,
            build_secs: 300,
            ..limits()
        },
        &Cancel::default(),
    );
    eprintln!("{test}: {:?}", started.elapsed());
    assert_eq!(ended.unwrap().exit_code, 0);
    assert!(log.starts_with("first\n") && log.ends_with("last\n") && log.len() < 10_200);
    // All of it came through: ten gigabytes and three lines, but for what was kept.
    let left_out = (10_u64 << 30) + 12 - 10_000;
    assert!(
        log.contains(&format!("[... {left_out} bytes of the log left out ...]")),
        "{}",
        log.len()
    );
    assert!(most_memory_kib() < 1 << 20, "{}", most_memory_kib());
}

/// The most memory that this process has had at any time, KiB.
fn most_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}
