//! The contract of every backend, with real processes.

mod common;

use common::Lab;
use hallmark_rebuilder::plan::{Plan, SourcePackage};
use hallmark_rebuilder::sandbox::{
    Cancel, Ended, Job, Limits, REBUILD_BACKENDS, RebuildBackend, SandboxError,
};
use hallmark_rebuilder::scratch::Scratch;
use repo_model::HeaderDigest;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a shell line in the sandbox; its end and its log.
fn run(
    backend: &RebuildBackend,
    line: &str,
    limits: Limits,
    cancel: &Cancel,
) -> (Result<Ended, SandboxError>, String) {
    let (ended, log, _) = run_and_list(backend, line, limits, cancel);
    (ended, log)
}

/// The same, and the names of the files that came out.
fn run_and_list(
    backend: &RebuildBackend,
    line: &str,
    limits: Limits,
    cancel: &Cancel,
) -> (Result<Ended, SandboxError>, String, Vec<String>) {
    let lab = Lab::new();
    let scratch = Scratch::create(&lab.path("work")).unwrap();
    let out = scratch.dir_of("out", 65_534).unwrap();
    let log = scratch.dir().join("log");
    let source = SourcePackage {
        nevra: "a-1-1.src".parse().unwrap(),
        header: HeaderDigest::of(b""),
        cookie: None,
        changelog_epoch: Some(0),
        build_time: 0,
    };
    let plan = Plan::new(&source, "4.18.0");
    let ended = (backend.run)(&Job {
        dir: scratch.dir(),
        root: Path::new("/"),
        inputs: &[],
        out: &out,
        backend_command: &backend_command(backend),
        command: &["sh", "-c", line].map(str::to_owned),
        env: &plan.env,
        identity: &plan.identity,
        limits: &limits,
        build_uid: 65_534,
        log: &log,
        cancel,
    });
    let log = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    (ended, log, files_below(&out, ""))
}

fn files_below(dir: &Path, before: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            names.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// The words that start a backend in these tests.
fn backend_command(backend: &RebuildBackend) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/lab/exec-sandbox.py");
    match backend.name {
        "exec" => vec!["python3".to_owned(), script.to_owned()],
        _ => Vec::new(),
    }
}

fn limits() -> Limits {
    Limits {
        build_secs: 30,
        memory_bytes: 512 << 20,
        disk_bytes: 64 << 20,
        max_processes: 200,
        log_bytes: 1 << 20,
    }
}

fn say(line: &str) -> String {
    let (ended, log) = run(&REBUILD_BACKENDS[0], line, limits(), &Cancel::default());
    assert_eq!(ended.unwrap().exit_code, 0, "{log}");
    log
}

/// Processes on this machine with `mark` in their command line.
fn survivors(mark: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}

/// Whether they all end within two seconds: without control groups nothing waits for the last.
fn are_gone(mark: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    while survivors(mark) > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    survivors(mark) == 0
}

#[test]
fn every_backend_keeps_the_contract() {
    if !common::tools("every_backend_keeps_the_contract") {
        return;
    }
    for backend in REBUILD_BACKENDS {
        let version = (backend.version)(&backend_command(backend));
        assert!(!version.unwrap().is_empty(), "{}", backend.name);
        let never = Cancel::default();
        for code in [0, 3] {
            let (ended, log) = run(
                backend,
                &format!("echo said; exit {code}"),
                limits(),
                &never,
            );
            assert_eq!(
                (ended.unwrap().exit_code, log.as_str()),
                (code, "said\n"),
                "{}",
                backend.name
            );
        }
        let mark = format!("173205.{}", backend.name.len());
        let line = format!("(setsid sleep {mark} &) ; sleep {mark}");
        let brief = Limits {
            build_secs: 1,
            ..limits()
        };
        let (ended, _) = run(backend, &line, brief, &never);
        let at_limit = matches!(ended, Err(SandboxError::Time { secs: 1 }));
        assert!(at_limit && are_gone(&mark), "{}: {ended:?}", backend.name);
        let line = "cat /proc/net/dev | tail -n +3 | cut -d: -f1; touch /usr/x /etc/x 2>/dev/null && echo wrote; env | sort";
        let (_, log) = run(backend, line, limits(), &never);
        let found: Vec<&str> = log.lines().map(str::trim).collect();
        let wanted = [
            "lo",
            "HOME=/builddir",
            "LC_ALL=C.UTF-8",
            "PATH=/usr/bin:/usr/sbin:/bin:/sbin",
        ];
        assert_eq!(found[..4], wanted, "{}: {log}", backend.name);
        let stopped = Cancel::default();
        stopped.cancel();
        let (ended, _) = run(backend, "sleep 60", limits(), &stopped);
        assert!(
            matches!(ended, Err(SandboxError::Cancelled)),
            "{}",
            backend.name
        );
    }
}

#[test]
fn what_a_build_leaves_in_its_output_directory_comes_out_and_nothing_else() {
    if !common::tools("what_a_build_leaves_in_its_output_directory_comes_out_and_nothing_else") {
        return;
    }
    for backend in REBUILD_BACKENDS {
        let (ended, _, files) = run_and_list(
            backend,
            "cd /builddir/out; echo a >a.rpm; mkdir d; echo b >d/b.rpm; ln -s /etc/passwd link.rpm; mkfifo pipe",
            limits(),
            &Cancel::default(),
        );
        assert_eq!(ended.unwrap().exit_code, 0, "{}", backend.name);
        assert_eq!(files, ["a.rpm", "d/b.rpm"], "{}", backend.name);
    }
}

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
fn of_the_machines_configuration_only_an_allow_list_is_seen() {
    if !common::tools("of_the_machines_configuration_only_an_allow_list_is_seen") {
        return;
    }
    let log = say(
        "for f in shadow gshadow sudoers crypttab fstab krb5.keytab NetworkManager wpa_supplicant apt/auth.conf hallmark ssh ssl/private \
         docker kubernetes machine-id; do test -s /etc/$f && echo /etc/$f; done; cat /etc/machine-id; wc -l </etc/passwd",
    );
    assert_eq!(
        log,
        "/etc/machine-id\n00000000000000000000000000000001\n3\n"
    );
}

#[test]
fn the_build_sees_no_network_no_other_process_and_no_host_directory() {
    if !common::tools("the_build_sees_no_network_no_other_process_and_no_host_directory") {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = say(&format!(
        "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '; \
         python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)' 2>&1 | tail -n 1; \
         ls -A /home /root /opt /srv /sys /mnt /run /usr/local 2>&1; for d in /boot /media /var/lib /var/log; do test ! -e $d || echo sees $d; done; \
         test $(ls -d /proc/[0-9]* | wc -l) -lt 9 || echo crowded; id -un; hostname; cat /etc/hostname; umask; grep -c . /etc/passwd"
    ));
    assert!(log.starts_with("lo\n"), "{log}");
    assert!(
        log.contains("Connection refused") || log.contains("unreachable"),
        "{log}"
    );
    assert!(
        log.contains(
            "/home:\n\n/mnt:\n\n/opt:\n\n/root:\n\n/run:\n\n/srv:\n\n/sys:\n\n/usr/local:\n"
        ),
        "{log}"
    );
    assert!(!log.contains("sees") && !log.contains("crowded"), "{log}");
    let rest: Vec<&str> = log.lines().rev().take(5).collect();
    assert_eq!(
        rest,
        ["3", "0022", "mockbuild", "mockbuild", "mockbuild"],
        "{log}"
    );
    drop(listener);
}

#[test]
fn nothing_of_the_machine_is_writable_but_the_output_directory() {
    if !common::tools("nothing_of_the_machine_is_writable_but_the_output_directory") {
        return;
    }
    let log = say(
        "for d in / /usr /etc /usr/local /sys /etc/ssh /srv; do touch $d/x 2>/dev/null && echo wrote $d; done; \
         for d in /tmp /var/tmp /builddir /builddir/out /home; do touch $d/x && echo may $d; done; \
         touch /proc/sys/kernel/hostname 2>/dev/null; unshare -U true 2>/dev/null && echo made a user namespace; true",
    );
    assert_eq!(
        log,
        "may /tmp\nmay /var/tmp\nmay /builddir\nmay /builddir/out\nmay /home\n"
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
fn of_a_log_without_end_only_head_and_tail_are_kept() {
    if !common::tools("of_a_log_without_end_only_head_and_tail_are_kept") {
        return;
    }
    let line = "echo first; head -c 200000000 /dev/zero | tr '\\0' x; echo; echo last";
    let (ended, log) = run(
        &REBUILD_BACKENDS[0],
        line,
        Limits {
            log_bytes: 10_000,
            ..limits()
        },
        &Cancel::default(),
    );
    assert_eq!(ended.unwrap().exit_code, 0);
    assert!(log.starts_with("first\n") && log.ends_with("last\n") && log.len() < 10_200);
    assert!(log.contains("bytes of the log left out"));
}

#[test]
fn a_sandbox_that_cannot_be_set_up_is_no_result_of_the_build() {
    if !common::tools("a_sandbox_that_cannot_be_set_up_is_no_result_of_the_build") {
        return;
    }
    let lab = Lab::new();
    let scratch = Scratch::create(&lab.path("work")).unwrap();
    let source = SourcePackage {
        nevra: "a-1-1.src".parse().unwrap(),
        header: HeaderDigest::of(b""),
        cookie: None,
        changelog_epoch: Some(0),
        build_time: 0,
    };
    let plan = Plan::new(&source, "4.18.0");
    let ended = (REBUILD_BACKENDS[0].run)(&Job {
        dir: scratch.dir(),
        root: Path::new("/"),
        inputs: &[(lab.path("is-not-there"), "/builddir/in".to_owned())],
        out: scratch.dir(),
        backend_command: &[],
        command: &["true".to_owned()],
        env: &plan.env,
        identity: &plan.identity,
        limits: &limits(),
        build_uid: 65_534,
        log: &scratch.dir().join("log"),
        cancel: &Cancel::default(),
    });
    let Err(SandboxError::Setup { said }) = ended else {
        panic!("{ended:?}")
    };
    assert!(said.contains("is-not-there"), "{said}");
}

#[test]
fn the_sandbox_adds_less_than_a_tenth_of_a_second() {
    let test = "the_sandbox_adds_less_than_a_tenth_of_a_second";
    if !common::tools(test) {
        return;
    }
    let timed = |run: &dyn Fn()| {
        let started = Instant::now();
        run();
        started.elapsed()
    };
    let limit = Duration::from_millis(100);
    let (mut inside, mut plain) = (Duration::MAX, Duration::MAX);
    // The fastest of several counts, as other tests run at the same time.
    for _ in 0..60 {
        inside = inside.min(timed(&|| drop(say("true"))));
        plain = plain.min(timed(&|| {
            let ended = Command::new("sh").args(["-c", "true"]).status();
            assert!(ended.unwrap().success());
        }));
        if inside.saturating_sub(plain) < limit {
            break;
        }
    }
    eprintln!("{test}: fastest {inside:?}, without sandbox {plain:?}");
    assert!(
        inside.saturating_sub(plain) < limit,
        "{inside:?}, {plain:?}"
    );
}

/// Runs one test of this program in a process of its own.
fn this_program(program: &std::path::Path, test: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--include-ignored", "--nocapture"]);
    command
}

#[test]
fn nothing_survives_a_rebuilder_that_is_killed() {
    let test = "nothing_survives_a_rebuilder_that_is_killed";
    if !common::tools(test) {
        return;
    }
    let program = std::env::current_exe().unwrap();
    // At many moments of the sandbox's setting up, and when it is up.
    for millis in [3, 6, 9, 12, 15, 18, 21, 25, 30, 40, 60, 300] {
        let mut child = this_program(&program, "sleep_for_another_test")
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        if millis == 300 {
            let deadline = Instant::now() + Duration::from_secs(20);
            while survivors("sleep\x00161803.39") == 0 {
                assert!(Instant::now() < deadline, "it did not even start");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // A bubblewrap that has lost its parent half set up may wait for it for ever, but it runs
        // nothing, and the next rebuilder's start removes it.
        assert!(are_gone("sleep\x00161803.39"), "killed after {millis} ms");
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(survivors("sleep\x00161803.39"), 0, "one started late");
    hallmark_rebuilder::sandbox::sweep_cgroups();
    assert!(!hallmark_rebuilder::sandbox::has_cgroups() || are_gone("161803.39"));
}

/// Not a test: the rebuilder that the one above kills.
#[test]
#[ignore = "run by nothing_survives_a_rebuilder_that_is_killed"]
fn sleep_for_another_test() {
    say("(setsid sleep 161803.39 &); sleep 161803.39");
}

#[test]
fn without_root_the_same_contract_holds() {
    let test = "without_root_the_same_contract_holds";
    if !common::tools(test) || !hallmark_rebuilder::sandbox::is_root() {
        eprintln!("SKIPPED {test}: not root, so the other tests show it");
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    let program = lab.path("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let temp = lab.path("tmp");
    fs::create_dir(&temp).unwrap();
    fs::set_permissions(&temp, fs::Permissions::from_mode(0o777)).unwrap();
    for inner in [
        "every_backend_keeps_the_contract",
        "nothing_of_the_machine_is_writable_but_the_output_directory",
        "the_time_limit_kills_the_whole_tree",
    ] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "12345", "--regid", "12345", "--clear-groups"]);
        command
            .arg(&program)
            .args(["--exact", inner, "--nocapture"])
            .env("TMPDIR", &temp);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{inner}: {said}"
        );
    }
}
