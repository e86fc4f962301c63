//! The contract of every backend, with real processes.

#[path = "../common/mod.rs"]
mod common;
mod control_groups;
mod limits;
mod mounts;
mod whole_life;

use common::Lab;
use common::attempt::{Attempt, Ran, are_gone};
use hallmark_rebuilder::sandbox::{
    Cancel, Ended, Limits, REBUILD_BACKENDS, RebuildBackend, SandboxError,
};

/// Runs a shell line in the sandbox; its end and its log.
fn run(
    backend: &RebuildBackend,
    line: &str,
    limits: Limits,
    cancel: &Cancel,
) -> (Result<Ended, SandboxError>, String) {
    let Ran { ended, log, .. } = run_and_list(backend, line, limits, cancel);
    (ended, log)
}

/// The same, and what came out.
fn run_and_list(backend: &RebuildBackend, line: &str, limits: Limits, cancel: &Cancel) -> Ran {
    let attempt = Attempt {
        backend_command: &backend_command(backend),
        ..Attempt::new(backend, limits, cancel)
    };
    attempt.run(line)
}

/// The backends that need no layer; the others keep the contract in `mock.rs`, in one.
fn with_the_machines_root() -> impl Iterator<Item = &'static RebuildBackend> {
    REBUILD_BACKENDS.iter().filter(|backend| backend.host_root)
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

#[test]
fn every_backend_keeps_the_contract() {
    if !common::tools("every_backend_keeps_the_contract") {
        return;
    }
    for backend in with_the_machines_root() {
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
    for backend in with_the_machines_root() {
        let ran = run_and_list(
            backend,
            "cd /builddir/out; echo a >a.rpm; mkdir d; echo b >d/b.rpm; ln -s /etc/passwd link.rpm; mkfifo pipe",
            limits(),
            &Cancel::default(),
        );
        assert_eq!(ran.ended.unwrap().exit_code, 0, "{}", backend.name);
        assert_eq!(ran.files, ["a.rpm", "d/b.rpm"], "{}", backend.name);
    }
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
fn a_sandbox_that_cannot_be_set_up_is_no_result_of_the_build() {
    if !common::tools("a_sandbox_that_cannot_be_set_up_is_no_result_of_the_build") {
        return;
    }
    let missing = Lab::new().path("is-not-there");
    let never = Cancel::default();
    let attempt = Attempt {
        inputs: &[(missing, "/builddir/in".to_owned())],
        ..Attempt::new(&REBUILD_BACKENDS[0], limits(), &never)
    };
    let ended = attempt.run("true").ended;
    let Err(SandboxError::Setup { said }) = ended else {
        panic!("{ended:?}")
    };
    assert!(said.contains("is-not-there"), "{said}");
}
