//! The binary as people and scripts see it: exit codes, stdout, stderr.

#[path = "../src/testing.rs"]
mod testing;

use std::path::Path;
use std::process::{Command, Output};
use testing::{Answer, Server};

fn hallmark(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALLMARK_") {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_shipped_configuration_is_good_and_a_wrong_one_is_exit_code_2() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hallmark.example.toml");
    let check = |path: &Path| hallmark(&["config", "check"]).arg(path).output().unwrap();
    let output = check(&example);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("public_url = \"http://127.0.0.1:8080\""));

    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml");
    std::fs::write(&bad, "[server]\nlistne = \"a:1\"\n").unwrap();
    let output = check(&bad);
    assert_eq!(code(&output), 2);
    assert!(stdout(&output).is_empty());
    assert!(
        stderr(&output).contains("unknown field `listne`"),
        "{}",
        stderr(&output)
    );
    assert_eq!(code(&check(&dir.path().join("absent.toml"))), 2);
}

#[test]
fn a_policy_that_contradicts_itself_is_found_by_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.toml");
    std::fs::write(
        &policy,
        "version = 1\nmin_rebuilders = 2\nmin_operators = 1\nsbom_formats = []\n",
    )
    .unwrap();
    let config = dir.path().join("hallmark.toml");
    std::fs::write(&config, format!("[server]\npolicy_file = {:?}\n", policy)).unwrap();
    let output = hallmark(&["config", "check"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("demands 2 rebuilders but lists only 0"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_server_that_is_not_there_is_exit_code_3_and_a_refusal_1() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let output = hallmark(&["status", "--server", &format!("http://127.0.0.1:{port}")])
        .output()
        .unwrap();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("\nhint: "), "{}", stderr(&output));

    let server = Server::start(|_| {
        Answer::json(
            401,
            r#"{"error":"this needs a token","code":"unauthorized"}"#,
        )
    });
    let output = hallmark(&["retry", "7", "--server", &server.url()])
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(
        text.starts_with("error: this needs a token\nhint: set HALLMARK_TOKEN"),
        "{text}"
    );
}

#[test]
fn the_token_comes_from_the_environment_or_a_file() {
    let server = Server::start(|_| Answer::json(200, "[]"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    let run = |args: &[&str]| {
        let output = hallmark(&["releases"])
            .args(args)
            .env("HALLMARK_SERVER_URL", server.url())
            .env("HALLMARK_TOKEN", "from-env")
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        server
            .requests()
            .last()
            .unwrap()
            .header("authorization")
            .unwrap()
            .to_owned()
    };
    assert_eq!(run(&[]), "Bearer from-env");
    assert_eq!(
        run(&["--token-file", file.to_str().unwrap()]),
        "Bearer from-file"
    );
}

#[test]
fn the_repo_file_is_printed_as_it_is() {
    let server = Server::start(|request| match request.path.as_str() {
        "/stable.repo" => Answer::json(200, "[base]\nname=x\n"),
        _ => Answer::status(404),
    });
    let output = hallmark(&["repofile", "stable", "--server", &server.url()])
        .output()
        .unwrap();
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "[base]\nname=x\n")
    );
}
