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
    // Not the cache of whoever runs the tests.
    command.env("HALLMARK_CACHE", cache());
    command.args(args);
    command
}

fn cache() -> &'static Path {
    static CACHE: std::sync::LazyLock<tempfile::TempDir> =
        std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    CACHE.path()
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
        &["--baseurl", "http://x/"][..],
        &["--deltas"],
        &["--num-deltas", "2"],
        &["--update-md-path", "x", "--update"],
        &["--no-pretty"],
        &["--split"],
        &["--zck-dict-dir", "x"],
        &["--includepkg", "http://x/a.rpm"],
        &["--checksum", "sha1"],
        &["--general-compress-type", "zck"],
        &["--checksum", "md5"],
        &["--compress-type", "bz2"],
        &["--skip-stat"],
        &["--revision", "one", "--set-timestamp-to-revision"],
        &["--profile", "el7", "--general-compress-type", "xz"],
        &["--xz", "--compress-type", "gz"],
        &["--checksum", "sha512", "--repomd-checksum", "sha256"],
    ] {
        let mut all = vec!["createrepo", directory];
        all.extend(args);
        let output = ran(&all);
        assert_eq!(code(&output), 2, "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && stderr(&output).starts_with("error: "));
    }
    let output = ran(&["createrepo", directory, "--split"]);
    assert!(stderr(&output).contains("--split is not supported, because"));
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

#[test]
fn the_directory_stays_clean_and_the_cache_goes_where_it_is_told() {
    let root = tempfile::tempdir().unwrap();
    let (repository, cache) = (root.path().join("r"), root.path().join("c"));
    fs::create_dir(&repository).unwrap();
    let arguments = [
        "createrepo",
        "--quiet",
        "--basedir",
        root.path().to_str().unwrap(),
        "-d",
        "r",
        "--cachedir",
    ];
    let output = hallmark(&arguments).arg(&cache).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let names: Vec<_> = fs::read_dir(&repository)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["repodata"]);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    assert!(repomd(&repository).contains("type=\"other_db\""));
}

#[test]
fn repositories_are_merged_and_several_records_change_at_once() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    for name in ["a", "b"] {
        fs::create_dir(root.path().join(name)).unwrap();
        let output = ran(&["createrepo", "--quiet", &path(name)]);
        assert_eq!(code(&output), 0, "{output:?}");
    }
    fs::write(path("comps.xml"), "<comps/>").unwrap();
    fs::write(path("updateinfo.xml"), "<updates/>").unwrap();
    let batch = format!(
        "# both\n[{}]\ntype=group\ncompress-type=gz\n[{}]\nzck=true\n",
        path("comps.xml"),
        path("updateinfo.xml")
    );
    fs::write(path("batch"), batch).unwrap();
    let output = ran(&[
        "modifyrepo",
        "--batchfile",
        &path("batch"),
        &path("a/repodata"),
    ]);
    assert_eq!(code(&output), 0, "{output:?}");
    let text = repomd(&root.path().join("a"));
    for wanted in [
        "\"group\"",
        "\"updateinfo\"",
        "\"updateinfo_zck\"",
        "comps.xml.gz",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    fs::write(path("batch"), "[x]\ntypo=1\n").unwrap();
    let output = ran(&["modifyrepo", "--batchfile", &path("batch"), &path("a")]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("line 2: the key `typo` is unknown"),
        "{}",
        stderr(&output)
    );

    let output = ran(&[
        "mergerepo",
        "--repo",
        &path("a"),
        "--repo",
        &path("b"),
        "-o",
        &path("m"),
    ]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        stderr(&output).ends_with("0 packages\n"),
        "{}",
        stderr(&output)
    );
    assert!(repomd(&root.path().join("m")).contains("\"group\""));
    for (arguments, wanted, says) in [
        (&["--koji"][..], 2, "--koji is not supported, because"),
        (&["--conflicts", "all"], 2, "needs --all"),
        (
            &["--repo", "http://127.0.0.1:1/x"],
            3,
            "cannot merge http://127.0.0.1:1/x",
        ),
        (&["--repo", "/nonexistent"], 2, "no directory"),
    ] {
        let out = path("never");
        let first = path("a");
        let mut all = vec!["mergerepo", "--repo", &first, "-o", &out];
        all.extend(arguments);
        let output = ran(&all);
        assert_eq!(code(&output), wanted, "{arguments:?}: {output:?}");
        assert!(
            stderr(&output).contains(says),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!Path::new(&out).join("repodata").exists());
    }
}
