//! `hallmark rebuild` as people type it: exit codes and what is said.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether rpmbuild and bwrap are there. Without them a test skips by its name, or fails in CI.
fn tools(test: &str) -> bool {
    let runs = |tool: &str| {
        Command::new(tool)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if ["rpmbuild", "bwrap"].into_iter().all(runs) {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{test}: rpmbuild or bwrap is missing in CI"
    );
    eprintln!("SKIPPED {test}: rpmbuild or bwrap is missing");
    false
}

fn hallmark(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hallmark"))
        .args(words)
        .env("NO_PROXY", "*")
        .output()
        .unwrap()
}

/// A source package whose package holds what `install` makes, and the recorded build of it.
fn built(dir: &Path, name: &str, install: &str) -> (PathBuf, PathBuf, PathBuf) {
    let spec = format!(
        "Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: Test\nLicense: Apache-2.0\nBuildArch: noarch\n%description\nTest.\n\
         %install\nmkdir -p %{{buildroot}}/usr/share/{name}\n{install} >%{{buildroot}}/usr/share/{name}/data\n%files\n\
         /usr/share/{name}\n%changelog\n* Fri Jan 10 2025 Tester <t@example.invalid> - 1\n- First\n"
    );
    let file = dir.join(format!("{name}.spec"));
    fs::write(&file, spec).unwrap();
    let top = format!("_topdir {}", dir.join("top").display());
    let made = Command::new("rpmbuild")
        .args(["-bs", "--define", &top])
        .arg(&file)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let srpm = dir.join(format!("top/SRPMS/{name}-1.0-1.src.rpm"));
    let out = dir.join(name);
    let recorded = hallmark(&[
        "buildinfo",
        srpm.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
    ]);
    assert!(recorded.status.success(), "{recorded:?}");
    (
        srpm,
        out.join(format!("{name}-1.0-1.noarch.rpm")),
        out.join(format!("{name}-1.0-1.buildinfo.json")),
    )
}

fn rebuild(
    rpm: &Path,
    srpm: &Path,
    buildinfo: &Path,
    more: &[&str],
) -> (Option<i32>, String, String) {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (rpm, srpm, buildinfo) = (text(rpm), text(srpm), text(buildinfo));
    let mut words = vec!["rebuild", &rpm, "--srpm", &srpm, "--buildinfo", &buildinfo];
    words.extend(more);
    let output = hallmark(&words);
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn anyone_can_check_a_package_on_their_own_machine_and_scripts_can_tell_the_answers_apart() {
    let test =
        "anyone_can_check_a_package_on_their_own_machine_and_scripts_can_tell_the_answers_apart";
    if !tools(test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (srpm, rpm, buildinfo) = built(dir.path(), "good", "echo data");
    let (code, said, _) = rebuild(&rpm, &srpm, &buildinfo, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("identical  good-1.0-1.noarch.rpm  header "),
        "{said}"
    );
    assert!(
        said.contains("1 of 1 confirmed; good-1.0-1.src was built again in "),
        "{said}"
    );
    let (code, said, _) = rebuild(&rpm, &srpm, &buildinfo, &["--json", "--profile", "one-cpu"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(report["confirmed"], true);
    assert_eq!(report["profile"], "one-cpu");
    assert_eq!(
        report["packages"][0]["transplanted_sha256"],
        report["packages"][0]["file_sha256"]
    );

    let (clock_srpm, clock_rpm, clock_buildinfo) = built(dir.path(), "clock", "date +%%s%%N");
    let log = dir.path().join("log");
    let (code, said, error) = rebuild(
        &clock_rpm,
        &clock_srpm,
        &clock_buildinfo,
        &["--log", log.to_str().unwrap()],
    );
    assert_eq!(code, Some(1), "{error}");
    assert!(
        said.contains("differs") && said.contains("hint: "),
        "{said}"
    );
    assert!(said.contains("0 of 1 confirmed"), "{said}");
    assert!(fs::read_to_string(log).unwrap().contains("%install"));

    let (code, _, error) = rebuild(&rpm, &clock_srpm, &buildinfo, &[]);
    assert_eq!(code, Some(2), "{error}");
    let (code, _, error) = rebuild(&clock_rpm, &srpm, &buildinfo, &[]);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("which the buildinfo does not list"),
        "{error}"
    );
    let (code, _, error) = rebuild(&rpm, &srpm, &buildinfo, &["--profile", "none"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("profiles are plain, one-cpu"), "{error}");

    let mut info: Value = serde_json::from_slice(&fs::read(&buildinfo).unwrap()).unwrap();
    info["buildroot"]["lock_sha256"] = Value::String("ab".repeat(32));
    fs::write(&buildinfo, info.to_string()).unwrap();
    let (code, _, error) = rebuild(&rpm, &srpm, &buildinfo, &[]);
    assert_eq!(code, Some(4), "{error}");
    assert!(
        error.contains("root is another one") && error.contains("hint: "),
        "{error}"
    );
}

#[test]
fn without_source_package_a_server_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let rpm = dir.path().join("junk.rpm");
    fs::write(&rpm, "junk").unwrap();
    let output = hallmark(&[
        "rebuild",
        rpm.to_str().unwrap(),
        "--server",
        "http://127.0.0.1:9",
    ]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = hallmark(&["rebuild", rpm.to_str().unwrap(), "--srpm", "x.src.rpm"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--buildinfo"));
}

#[test]
fn an_owners_key_is_made_once_with_its_public_half_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("owner.key");
    let words = ["in-toto", "keygen", "--out", key.to_str().unwrap()];
    assert!(hallmark(&words).status.success());
    let public = fs::read_to_string(dir.path().join("owner.key.pub")).unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!hallmark(&words).status.success(), "never overwritten");
}
