//! The three commands from outside: help, exit codes, configuration.

mod guides;

use hallmark_tests::process::{binary, command};
use std::path::{Path, PathBuf};
use std::process::Output;

const BINARIES: [&str; 3] = ["hallmark", "hallmark-signer", "hallmark-rebuilder"];

fn run(program: &str, arguments: &[&str]) -> Output {
    command(binary(program))
        .args(arguments)
        .output()
        .expect("it runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The names under `Commands:` of a help text.
fn commands(help: &str) -> Vec<String> {
    let list = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn example_config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hallmark.example.toml")
}

#[test]
fn the_help_of_every_command_has_an_example_that_begins_with_its_name() {
    let mut checked = 0;
    for program in BINARIES {
        let mut open = vec![Vec::<String>::new()];
        while let Some(path) = open.pop() {
            let mut arguments: Vec<_> = path.iter().map(String::as_str).collect();
            arguments.push("--help");
            let output = run(program, &arguments);
            assert_eq!(output.status.code(), Some(0), "{program} {arguments:?}");
            let help = stdout(&output);
            let deeper = commands(&help);
            let start = [&[program.to_owned()], path.as_slice()].concat().join(" ");
            assert!(
                help.to_lowercase().contains("example"),
                "{start}: no examples\n{help}"
            );
            assert!(
                help.matches(&start).count() > 1,
                "{start}: no example calls it\n{help}"
            );
            open.extend(
                deeper
                    .into_iter()
                    .map(|name| [path.clone(), vec![name]].concat()),
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} commands were found");
}

#[test]
fn every_binary_tells_its_version_and_its_exit_codes() {
    for program in BINARIES {
        let version = stdout(&run(program, &["--version"]));
        assert_eq!(
            version.trim(),
            format!("{program} {}", env!("CARGO_PKG_VERSION"))
        );
        let help = stdout(&run(program, &["--help"])).to_lowercase();
        assert!(help.contains("exit codes"), "{program}: {help}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for (program, arguments) in [
        ("hallmark", &["nonsense"][..]),
        ("hallmark", &["publish"]),
        ("hallmark", &["status", "--server", "ftp://x"]),
        ("hallmark-signer", &["nonsense"]),
        ("hallmark-rebuilder", &["keygen"]),
    ] {
        let output = run(program, arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{program} {arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{program} {arguments:?}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_exit_code_2_and_names_file_and_key() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bad = dir.path().join("bad.toml");
    std::fs::write(&bad, "[server]\nlisten_on = \"x\"\n").expect("it is ours");
    let bad = bad.to_str().expect("UTF-8");
    for (program, arguments) in [
        ("hallmark", ["serve", "--config", bad].as_slice()),
        ("hallmark", &["token", "list", "--config", bad]),
        ("hallmark", &["config", "check", bad]),
        ("hallmark-signer", &["serve", "--config", bad]),
        ("hallmark-signer", &["init", "--config", bad]),
        ("hallmark-rebuilder", &["run", "--config", bad]),
        ("hallmark-rebuilder", &["doctor", "--config", bad]),
    ] {
        let output = run(program, arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{program} {arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("listen_on"),
            "{program} {arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_missing_configuration_is_exit_code_2() {
    for (program, arguments) in [
        (
            "hallmark",
            ["serve", "--config", "/nowhere/hallmark.toml"].as_slice(),
        ),
        (
            "hallmark-signer",
            &["serve", "--config", "/nowhere/hallmark.toml"],
        ),
        (
            "hallmark-rebuilder",
            &["run", "--config", "/nowhere/hallmark.toml"],
        ),
    ] {
        let output = run(program, arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{program}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("/nowhere/hallmark.toml"),
            "{program}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_exit_code_3() {
    // A port that was just free and that nobody has been given since.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let key = dir.path().join("rebuilder.key");
    let key = key.to_str().expect("UTF-8");
    let made = run(
        "hallmark-rebuilder",
        &["keygen", "--out", key, "--name", "a", "--operator", "b"],
    );
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let config = dir.path().join("rebuilder.toml");
    let text = format!(
        "[rebuilder]\nserver_url = \"{url}\"\nname = \"a\"\noperator = \"b\"\nkey_file = \"{key}\"\nwork_dir = \"{}\"\n",
        dir.path().join("work").display()
    );
    std::fs::write(&config, text).expect("it is ours");
    for (program, arguments) in [
        ("hallmark", ["status", "--server", &url].as_slice()),
        ("hallmark", &["channels", "--server", &url]),
        ("hallmark", &["promote", "--to", "stable", "--server", &url]),
        (
            "hallmark-rebuilder",
            &["run", "--once", "--config", config.to_str().expect("UTF-8")],
        ),
    ] {
        let output = run(program, arguments);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{program} {arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output)
                .lines()
                .any(|line| line.starts_with("error: ")),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn the_shipped_example_configuration_is_good_and_shown_as_it_is_used() {
    let config = example_config();
    let output = run(
        "hallmark",
        &["config", "check", config.to_str().expect("UTF-8")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("publish_delay_millis = 500"),
        "{}",
        stdout(&output)
    );
    let mut with_environment = command(binary("hallmark"));
    with_environment
        .args(["config", "check"])
        .arg(&config)
        .env("HALLMARK_SERVER__PUBLISH_DELAY_MILLIS", "7");
    let output = with_environment.output().expect("it runs");
    assert!(
        stdout(&output).contains("publish_delay_millis = 7"),
        "{}",
        stdout(&output)
    );
    let mut misspelt = command(binary("hallmark"));
    misspelt
        .args(["config", "check"])
        .arg(&config)
        .env("HALLMARK_SERVER__PUBLISH_DELAY", "7");
    assert_eq!(misspelt.output().expect("it runs").status.code(), Some(2));
}

#[test]
fn a_key_file_is_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let key = dir.path().join("key");
    let arguments = [
        "keygen",
        "--out",
        key.to_str().expect("UTF-8"),
        "--name",
        "a",
        "--operator",
        "b",
    ];
    let first = run("hallmark-rebuilder", &arguments);
    assert!(
        stdout(&first).starts_with("[[rebuilders]]"),
        "{}",
        stdout(&first)
    );
    let made = std::fs::read(&key).expect("it was made");
    assert_eq!(
        key.metadata().expect("it was made").permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(run("hallmark-rebuilder", &arguments).status.code(), Some(1));
    assert_eq!(std::fs::read(&key).expect("it is there"), made);
}
