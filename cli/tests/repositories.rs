//! `createrepo`, `modifyrepo` and `repo check` as people and scripts see them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn hallmark(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("HALLMARK_") || name_text == "SOURCE_DATE_EPOCH" {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

fn ran(args: &[&str]) -> Output {
    hallmark(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn repomd(directory: &Path) -> String {
    fs::read_to_string(directory.join("repodata/repomd.xml")).unwrap()
}

#[test]
fn a_repository_is_made_changed_and_checked() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().to_str().unwrap();
    let output = ran(&["createrepo", directory]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(stderr(&output), "0 packages, 0 of them read\n");
    assert!(output.stdout.is_empty());

    let advisories = root.path().join("updateinfo.xml");
    fs::write(&advisories, "<updates/>").unwrap();
    let repodata = root.path().join("repodata");
    let repodata = repodata.to_str().unwrap();
    let output = ran(&["modifyrepo", advisories.to_str().unwrap(), repodata]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(repomd(root.path()).contains("type=\"updateinfo\""));

    let output = ran(&["createrepo", "--quiet", "--update", directory]);
    assert_eq!((code(&output), &*stderr(&output)), (0, ""));
    assert!(repomd(root.path()).contains("type=\"updateinfo\""));

    let output = ran(&["repo", "check", "--json", directory]);
    assert_eq!(code(&output), 0, "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!(report["files"].as_array().unwrap().len(), 4);

    let output = ran(&["modifyrepo", "--remove", "updateinfo", directory]);
    assert_eq!(code(&output), 0, "{output:?}");
    let output = ran(&["modifyrepo", "--remove", "updateinfo", directory]);
    assert_eq!(code(&output), 2, "{output:?}");

    let file = fs::read_dir(repodata)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("other.xml"))
        .unwrap();
    fs::remove_file(file).unwrap();
    let output = ran(&["repo", "check", directory]);
    assert_eq!(code(&output), 1);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("error[file-missing] repodata/"), "{text}");
}

#[test]
fn a_bad_package_is_named_and_skipped_only_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().to_str().unwrap();
    fs::write(root.path().join("bad.rpm"), "<html>not found</html>").unwrap();
    let output = ran(&["createrepo", directory]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("error: bad.rpm: not an RPM"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("hint: "));
    assert!(!root.path().join("repodata").exists());
    let output = ran(&["createrepo", "--skip-bad", directory]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("error: bad.rpm: not an RPM"));
    assert!(root.path().join("repodata/repomd.xml").exists());
}

#[test]
fn the_same_time_gives_the_same_bytes_and_the_time_is_what_was_asked_for() {
    let made = |epoch: Option<&str>, args: &[&str]| {
        let root = tempfile::tempdir().unwrap();
        let mut command = hallmark(&["createrepo", "--quiet"]);
        command.args(args).arg(root.path());
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        repomd(root.path())
    };
    let by_epoch = made(Some("1763632800"), &[]);
    assert_eq!(by_epoch, made(Some("1763632800"), &[]));
    assert!(by_epoch.contains("<revision>1763632800</revision>"));
    let by_revision = made(None, &["--revision", "77", "--set-timestamp-to-revision"]);
    assert!(by_revision.contains("<timestamp>77</timestamp>"));
    let el7 = made(None, &["--profile", "el7", "--distro", "cpe:/o:x,X"]);
    assert!(
        el7.contains("primary.xml.gz") && el7.contains("cpeid=\"cpe:/o:x\""),
        "{el7}"
    );
}

#[test]
fn options_that_cannot_be_kept_are_refused_and_not_ignored() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().to_str().unwrap();
    for args in [
        &["--database"][..],
        &["--baseurl", "http://x/"],
        &["--deltas"],
        &["--checksum", "md5"],
        &["--compress-type", "bz2"],
        &["--skip-stat"],
        &["--revision", "one", "--set-timestamp-to-revision"],
        &["--profile", "el7", "--xz"],
        &["--checksum", "sha512", "--repomd-checksum", "sha256"],
    ] {
        let mut all = vec!["createrepo", directory];
        all.extend(args);
        let output = ran(&all);
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
    }
    assert!(!root.path().join("repodata").exists());
    for (location, wanted) in [
        ("/nonexistent", 2),
        ("http://127.0.0.1:1/x", 3),
        ("ftp://x", 2),
    ] {
        assert_eq!(
            code(&ran(&["repo", "check", location])),
            wanted,
            "{location}"
        );
    }
}
