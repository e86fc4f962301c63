//! The program itself: its commands, exit codes, sandbox, and what survives kill -9.

mod common;

use common::serving::{self, Serving};
use common::{Draft, Rpm, World, tools};
use hallmark_signer::client::{Client, ClientError};
use hallmark_signer::keys;
use repo_model::Timestamp;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

fn run(world: &World, arguments: &[&str]) -> Output {
    serving::program(world, arguments, "").output().unwrap()
}

fn serve(world: &World) -> Serving {
    let started = Serving::start(world, serving::program(world, &["serve"], ""));
    started.unwrap_or_else(|| panic!("{}", serving::log(world)))
}

fn ready() -> Option<(World, Rpm)> {
    let world = World::prepared();
    let rpm = tools::built(world.dir.path(), &["assayed"])?.remove(0);
    assert!(run(&world, &["init"]).status.success());
    Some((world, rpm))
}

#[test]
fn init_prints_fingerprints_and_does_the_same_the_second_time() {
    let world = World::prepared();
    let first = run(&world, &["init"]);
    assert!(first.status.success(), "{}", tools::text(&first));
    for name in [
        "package key ",
        "metadata key ",
        "statement key ",
        "package-pqc ",
        "metadata-pqc ",
        "log key ",
    ] {
        let lines = String::from_utf8_lossy(&first.stdout);
        assert!(
            lines.lines().any(|line| line.starts_with(name)),
            "{name}: {lines}"
        );
    }
    let second = run(&world, &["init"]);
    assert_eq!(
        (second.status.code(), &second.stdout),
        (Some(0), &first.stdout)
    );
    assert!(
        tools::text(&second).contains("exist already"),
        "{}",
        tools::text(&second)
    );
    let identity = run(&world, &["identity"]);
    let identity: serde_json::Value = serde_json::from_slice(&identity.stdout).unwrap();
    assert_eq!(identity["policy_version"], 1);
}

#[test]
fn a_clock_that_is_behind_is_not_called_a_bad_key() {
    let world = World::prepared();
    let made = Timestamp::from_unix_secs(1_790_000_000);
    keys::init(&world.config, made).unwrap();
    let error = keys::init(&world.config, made.plus_secs(-3600)).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("the clock says"), "{said}");
    assert!(said.contains(&made.to_string()), "{said}");
    keys::init(&world.config, made).unwrap();
}

#[test]
fn wrong_usage_and_wrong_configuration_exit_with_2_and_help_has_examples() {
    let world = World::prepared();
    for arguments in [&["serve"][..], &["no-such-command"], &["identity"]] {
        assert_eq!(
            run(&world, arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    for arguments in [
        &["init"][..],
        &["serve"],
        &["identity"],
        &["audit", "verify"],
        &[],
    ] {
        let mut help = Command::new(env!("CARGO_BIN_EXE_hallmark-signer"));
        let help = help.args(arguments).arg("--help").output().unwrap();
        assert!(tools::text(&help).contains("Examples:"), "{arguments:?}");
    }
}

#[test]
fn a_confined_signer_signs_and_stops_cleanly() {
    let Some((world, rpm)) = ready() else { return };
    let serving = serve(&world);
    world.sign(&rpm);
    let mode = std::fs::metadata(&world.config.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.id())).unwrap();
    let log = serving::log(&world);
    if log.contains("seccomp on") {
        assert!(
            status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"),
            "{status}"
        );
    } else {
        eprintln!("SKIPPED: no seccomp on this kernel: {log}");
    }
    assert_eq!(serving.terminate(), Some(0), "{}", serving::log(&world));
    assert!(!world.config.socket.exists());
    let gone = Client::connect(&world.config.socket).unwrap_err();
    assert!(matches!(gone, ClientError::Unreachable { .. }) && gone.is_retryable());
}

#[test]
fn a_second_signer_on_the_same_state_or_socket_does_not_start() {
    let Some((mut world, _)) = ready() else {
        return;
    };
    let serving = serve(&world);
    let second = run(&world, &["serve"]);
    assert!(
        tools::text(&second).contains("another process"),
        "{}",
        tools::text(&second)
    );
    let state = world.config.state_dir.clone();
    world.config.state_dir = world.dir.path().join("state-2");
    assert!(run(&world, &["init"]).status.success());
    let third = run(&world, &["serve"]);
    assert_eq!(third.status.code(), Some(1));
    assert!(
        tools::text(&third).contains("another process answers"),
        "{}",
        tools::text(&third)
    );
    world.config.state_dir = state;
    drop(serving);
}

#[test]
fn after_kill_9_and_a_torn_journal_everything_signed_is_still_known() {
    let Some((world, rpm)) = ready() else { return };
    let serving = serve(&world);
    let signed = world.sign(&rpm);
    drop(serving);
    assert!(
        world.config.socket.exists(),
        "kill -9 leaves the socket behind"
    );
    let mut journal = std::fs::OpenOptions::new()
        .append(true)
        .open(world.journal())
        .unwrap();
    journal.write_all(b"{\"seq\":3,\"time\":\"2026").unwrap();
    let torn = run(&world, &["audit", "verify"]);
    assert_eq!(torn.status.code(), Some(0));
    assert!(
        tools::text(&torn).contains("cut short"),
        "{}",
        tools::text(&torn)
    );

    let serving = serve(&world);
    assert!(
        serving::log(&world).contains("cut off"),
        "{}",
        serving::log(&world)
    );
    let file = rpm.with_signature(&signed.signature_header).bytes;
    world
        .client()
        .sign_file(rpm.header(), file.len() as u64, file.as_slice())
        .unwrap();
    let draft = Draft::new(1, None, &[(&rpm, &signed)]);
    world
        .client()
        .sign_release(&draft.json(), &draft.files)
        .unwrap();
    assert_eq!(serving.terminate(), Some(0));
    let whole = run(&world, &["audit", "verify"]);
    assert_eq!(whole.status.code(), Some(0));
    // Two starts, a package, a file, a release.
    assert!(
        tools::text(&whole).contains("records  5"),
        "{}",
        tools::text(&whole)
    );
}

#[test]
fn a_changed_journal_stops_the_signer_and_the_audit_names_the_line() {
    let Some((world, rpm)) = ready() else { return };
    let serving = serve(&world);
    world.sign(&rpm);
    drop(serving);
    let text = std::fs::read_to_string(world.journal()).unwrap();
    let first = text.lines().next().unwrap();
    let changed = first.replace("\"version\":1", "\"version\":0");
    assert_ne!(first, changed);
    std::fs::write(world.journal(), text.replace(first, &changed)).unwrap();
    let audit = run(&world, &["audit", "verify"]);
    assert_eq!(audit.status.code(), Some(1));
    assert!(
        tools::text(&audit).contains("line 2"),
        "{}",
        tools::text(&audit)
    );
    let serve = run(&world, &["serve"]);
    assert_eq!(serve.status.code(), Some(1));
    assert!(
        tools::text(&serve).contains("line 2"),
        "{}",
        tools::text(&serve)
    );
}

#[test]
fn hostile_bytes_on_the_socket_are_answered_or_dropped_and_the_signer_lives() {
    let Some((world, rpm)) = ready() else { return };
    let _serving = serve(&world);
    for bytes in [
        &[0, 0, 0, 2, b'{', b'}'][..],
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 1, 0, b'x'],
        br"GET / HTTP/1.1",
    ] {
        let mut stream = UnixStream::connect(&world.config.socket).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Until it hangs up; with bytes unread that is a reset.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
    world.sign(&rpm);
}
