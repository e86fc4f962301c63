//! The program from outside: exit codes, key files, the doctor.

mod common;

use common::Lab;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn rebuilder(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark-rebuilder"));
    command.args(arguments).env("HALLMARK_LOG", "warn");
    command
}

/// A key for rb-a of acme.
fn keygen(file: &Path) -> Command {
    let mut command = rebuilder(&["keygen", "--name", "rb-a", "--operator", "acme", "--out"]);
    command.arg(file);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn keygen_writes_a_private_file_and_prints_what_the_policy_needs() {
    let lab = Lab::new();
    let file = lab.path("rb.key");
    let output = keygen(&file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .starts_with("[[rebuilders]]\nname = \"rb-a\"\noperator = \"acme\"\n")
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        keygen(&file).output().unwrap().status.code(),
        Some(1),
        "never overwritten"
    );

    let builder = lab.path("builder.key");
    let output = rebuilder(&[
        "keygen",
        "--builder",
        "--out",
        builder.to_str().unwrap(),
        "--name",
        "koji",
        "--operator",
        "acme",
    ])
    .output()
    .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("[[builders]]\n"));
    assert!(
        std::fs::read_to_string(&builder)
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );
}

#[test]
fn wrong_configuration_is_exit_code_2_and_no_server_is_3() {
    let lab = Lab::new();
    let config = lab.path("hallmark.toml");
    let key = lab.path("rb.key");
    let run = |arguments: &[&str]| {
        rebuilder(arguments)
            .env("HALLMARK_CONFIG", &config)
            .output()
            .unwrap()
    };
    std::fs::write(&config, "[rebuilder]\nnonsense = 1\n").unwrap();
    let output = run(&["run", "--once"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("nonsense"));
    std::fs::write(&config, "[rebuilder]\nname = 'rb-a'\n").unwrap();
    assert_eq!(run(&["run"]).status.code(), Some(2), "no operator");
    let settings = format!(
        "[rebuilder]\nserver_url = 'http://127.0.0.1:1'\nname = 'rb-a'\noperator = 'acme'\nkey_file = '{}'\nwork_dir = '{}'\n",
        key.display(),
        lab.path("work").display()
    );
    std::fs::write(&config, settings).unwrap();
    assert_eq!(
        run(&["run", "--once"]).status.code(),
        Some(2),
        "no key file"
    );
    assert!(
        run(&["keygen", "--out", key.to_str().unwrap()])
            .status
            .success(),
        "names come from the configuration"
    );
    let output = run(&["run", "--once"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert_eq!(
        rebuilder(&["no-such-command"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn sigterm_ends_a_waiting_rebuilder_at_once_with_0() {
    let lab = Lab::new();
    // A server that takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let key = lab.path("rb.key");
    let names = ["--name", "rb-a", "--operator", "acme"];
    let made = rebuilder(&[&["keygen", "--out", key.to_str().unwrap()], &names[..]].concat())
        .output()
        .unwrap();
    assert!(made.status.success());
    let mut child = rebuilder(&["run"])
        .env(
            "HALLMARK_REBUILDER__SERVER_URL",
            format!("http://{}", listener.local_addr().unwrap()),
        )
        .env("HALLMARK_REBUILDER__NAME", "rb-a")
        .env("HALLMARK_REBUILDER__OPERATOR", "acme")
        .env("HALLMARK_REBUILDER__KEY_FILE", &key)
        .env("HALLMARK_REBUILDER__WORK_DIR", lab.path("work"))
        .spawn()
        .unwrap();
    let (_connection, _) = listener.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_doctor_finds_this_machine_usable() {
    if !common::tools("the_doctor_finds_this_machine_usable") {
        return;
    }
    let lab = Lab::new();
    let output = rebuilder(&["doctor"])
        .env("HALLMARK_REBUILDER__WORK_DIR", lab.path("work"))
        .env("HALLMARK_REBUILDER__SERVER_URL", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("ok    sandbox") && said.contains("ok    network off"),
        "{said}"
    );
    assert!(said.contains("weak  server"), "{said}");

    let output = rebuilder(&["doctor"])
        .env("PATH", "/nowhere")
        .env("HALLMARK_REBUILDER__WORK_DIR", lab.path("work"))
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("bad   bwrap") && said.contains("-> install bubblewrap"),
        "{said}"
    );
}

#[test]
fn every_help_page_has_examples() {
    for arguments in [
        &["--help"][..],
        &["keygen", "--help"],
        &["run", "--help"],
        &["doctor", "--help"],
    ] {
        let output = rebuilder(arguments).output().unwrap();
        assert!(text(&output).contains("Examples:\n  "), "{arguments:?}");
    }
}

#[test]
fn a_lock_of_mock_is_shown_as_a_buildroot_and_other_files_are_refused() {
    let lab = Lab::new();
    let file = lab.path("buildroot_lock.json");
    let rpm =
        r#"{"name": "bash", "epoch": null, "version": "5.2", "release": "3", "arch": "x86_64"}"#;
    let lock =
        format!(r#"{{"version": "1.0.0", "buildroot": {{"rpms": [{rpm}]}}, "config": {{}}}}"#);
    std::fs::write(&file, lock).unwrap();
    let arguments = ["mock-lock", file.to_str().unwrap()];
    let output = rebuilder(&arguments).output().unwrap();
    let root: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&root["kind"], &root["packages"]),
        (&"mock".into(), &1.into())
    );

    std::fs::write(&file, "[]").unwrap();
    let output = rebuilder(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("not a buildroot_lock.json"),
        "{}",
        text(&output)
    );
}

#[test]
fn an_unknown_profile_is_the_operators_mistake() {
    let lab = Lab::new();
    let file = lab.path("rb.key");
    assert!(keygen(&file).output().unwrap().status.success());
    let output = rebuilder(&["run", "--once"])
        .env("HALLMARK_REBUILDER__NAME", "rb-a")
        .env("HALLMARK_REBUILDER__OPERATOR", "acme")
        .env("HALLMARK_REBUILDER__KEY_FILE", &file)
        .env("HALLMARK_REBUILDER__PROFILES", "[\"wild\"]")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("known are plain, one-cpu"),
        "{}",
        text(&output)
    );
}
