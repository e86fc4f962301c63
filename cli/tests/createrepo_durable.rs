//! What a run of `hallmark createrepo` asks of the disk, in which order, and what it shows on a terminal.

use repo_model::rpm::testkit::Rpm;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Why a tool does not do its work here; none when it does. Where ptrace is forbidden, strace tells its version but
/// traces nothing.
fn fault(tool: &str, argument: &str) -> Option<String> {
    match Command::new(tool).arg(argument).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether a tool does its work here; said aloud when not, and a failure where CI promises it, on Debian.
fn works(tool: &str, argument: &str) -> bool {
    let Some(why) = fault(tool, argument) else {
        return true;
    };
    let promised = std::env::var_os("CI").is_some() && Path::new("/etc/debian_version").exists();
    assert!(!promised, "CI is set but `{tool} {argument}` fails: {why}");
    eprintln!("SKIPPED: `{tool} {argument}` fails: {why}");
    false
}

#[test]
fn a_tool_that_is_there_but_fails_does_not_count() {
    assert_eq!(fault("env", "true"), None);
    assert!(fault("env", "false").is_some());
    assert!(fault("hallmark-has-no-such-tool", "true").is_some());
}

fn packages(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    for name in ["a", "b", "c"] {
        let rpm = Rpm::binary(name).file(&format!("/usr/bin/{name}"), b"x");
        fs::write(directory.join(format!("{name}.rpm")), rpm.bytes()).unwrap();
    }
}

#[test]
fn every_file_is_on_the_disk_before_the_switch_and_the_switch_itself_after_it() {
    if !works("strace", "true") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let (directory, log) = (root.path().join("repository"), root.path().join("log"));
    packages(&directory);
    // Once into an empty directory, once over metadata that clients read.
    for arguments in [&["--quiet"][..], &["--quiet", "--update", "--zck"]] {
        let output = Command::new("strace")
            .args([
                "-f",
                "-y",
                "-e",
                "trace=fsync,fdatasync,rename,renameat,renameat2",
                "-o",
            ])
            .arg(&log)
            .args([env!("CARGO_BIN_EXE_hallmark"), "createrepo"])
            .args(arguments)
            .arg(&directory)
            .env("HALLMARK_CACHE", root.path().join("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let log = fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let switch = lines
            .iter()
            .position(|line| line.contains("rename") && line.contains("/repodata\""))
            .unwrap_or_else(|| panic!("no switch: {log}"));
        let synced = |lines: &[&str], end: &str| {
            let mut synced = lines.iter().filter(|line| line.contains("sync("));
            synced.any(|line| line.contains(end))
        };
        let repodata = fs::read_dir(directory.join("repodata")).unwrap();
        let names: Vec<String> = repodata
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.len() >= 4, "{names:?}");
        for name in &names {
            let end = format!("/{name}>");
            assert!(
                synced(&lines[..switch], &end),
                "{name} is not synced before the switch: {log}"
            );
        }
        let (before, after) = lines.split_at(switch);
        assert!(
            before
                .iter()
                .any(|line| line.contains("sync(") && line.contains(".repodata-hallmark-")),
            "{log}"
        );
        let parent = format!("{}>", directory.canonicalize().unwrap().display());
        assert!(
            synced(after, &parent),
            "the directory is not synced after the switch: {log}"
        );
        // An old repodata is never away: it changes places with the new one.
        let exchanges = lines[switch].contains("RENAME_EXCHANGE");
        assert_eq!(
            exchanges,
            arguments.contains(&"--update"),
            "{}",
            lines[switch]
        );
    }
}

#[test]
fn a_terminal_sees_a_bar_and_a_file_does_not() {
    if !works("script", "--version") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("repository");
    packages(&directory);
    let command = |quiet: &str| {
        format!(
            "{} createrepo {quiet} {}",
            env!("CARGO_BIN_EXE_hallmark"),
            directory.display()
        )
    };
    let on_terminal = |quiet: &str| {
        let output = Command::new("script")
            .args([
                "--quiet",
                "--return",
                "--command",
                &command(quiet),
                "/dev/null",
            ])
            .env("HALLMARK_CACHE", root.path().join("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let seen = on_terminal("");
    assert!(
        seen.contains("reading packages") && seen.contains("/ 3"),
        "{seen:?}"
    );
    assert!(
        seen.trim_end().ends_with("3 packages, 3 of them read"),
        "{seen:?}"
    );
    let output = Command::new("sh")
        .args(["-c", &command("")])
        .env("HALLMARK_CACHE", root.path().join("cache"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "3 packages, 3 of them read\n"
    );
}
