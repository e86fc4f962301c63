//! `hallmark repo check` against what `hallmark serve` serves: over HTTP, with its keys, and exit codes
//! and reports that a script can rely on.

use super::{BASE, world};
use hallmark_tests::World;
use serde_json::Value;
use std::path::PathBuf;

/// Runs the check with JSON; gives the exit code and the report, null when there is none.
fn checked(world: &World, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["repo", "check", "--json"];
    all.extend(arguments);
    let output = world.hallmark(&all);
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().expect("it ended by itself"), report)
}

fn key_file(world: &World, name: &str) -> PathBuf {
    let path = world.new_dir(&format!("check-{name}")).join("key");
    std::fs::write(&path, world.http.fetch(&format!("/keys/{name}"))).expect("it is ours");
    path
}

#[test]
fn a_served_repository_passes_with_every_byte_and_every_signature_looked_at() {
    let world = world();
    let keys = key_file(&world, "RPM-GPG-KEY");
    let all = |url: &str| {
        checked(
            &world,
            &[
                "--packages",
                "all",
                "--package-signatures",
                "--gpgkey",
                keys.to_str().expect("UTF-8"),
                url,
            ],
        )
    };
    for path in [BASE, "/r/2/base/x86_64"] {
        let (code, report) = all(&world.http.url(path));
        assert_eq!(code, 0, "{path}: {report:#}");
        assert_eq!(report["passed"], true);
        assert_eq!(report["signature_verified"], true);
        assert_eq!(report["packages"], report["packages_read"]);
        assert!(report["packages_read"].as_u64() >= Some(1), "{report:#}");
        assert_eq!(report["findings"], Value::Array(Vec::new()), "{report:#}");
    }
}

#[test]
fn what_a_key_does_not_vouch_for_is_an_error_with_exit_code_1() {
    let world = world();
    // The key of packages has not signed repomd.xml, and the other way round.
    for (name, code) in [
        ("RPM-GPG-KEY-packages", "signature-bad"),
        ("RPM-GPG-KEY-metadata", "package-signature"),
    ] {
        let key = key_file(&world, name);
        let (exit, report) = checked(
            &world,
            &[
                "--packages",
                "all",
                "--package-signatures",
                "--gpgkey",
                key.to_str().expect("UTF-8"),
                &world.http.url(BASE),
            ],
        );
        assert_eq!(exit, 1, "{name}: {report:#}");
        assert_eq!(report["passed"], false);
        let findings = report["findings"].as_array().expect("a list");
        assert!(!findings.is_empty());
        for finding in findings {
            assert_eq!(finding["code"], code, "{name}: {finding:#}");
        }
    }
}

#[test]
fn no_repository_is_exit_code_1_and_no_server_is_exit_code_3() {
    let world = world();
    let (code, report) = checked(&world, &[&world.http.url("/preview/nowhere/x86_64")]);
    assert_eq!(code, 1);
    assert_eq!(
        report["findings"][0]["code"], "repomd-missing",
        "{report:#}"
    );
    let (code, report) = checked(&world, &["http://127.0.0.1:1/repo"]);
    assert_eq!((code, report), (3, Value::Null));
}
