//! Whole directories against createrepo_c and DNF: the same packages, the same words about each,
//! and repositories of either that the other side and `repo check` read.
//!
//! `CREATEREPO_C` names another createrepo_c than the one in PATH.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use repo_server::createrepo::{BadPackages, Duplicates, GroupFile, Retain};
use repo_server::repodata::{Codec, GroupForm};
use repodata_support::reference::characters;
use repodata_support::{decompressed, has_tool};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Packages about which we deliberately say something else, or which old versions of createrepo_c
/// describe in other words (`repodata_differential.rs` compares the meaning of all).
const DELIBERATE: [&str; 5] = ["balicek", "non-utf-8", "nosrc", "v6", "Archer"];

/// A directory of the real packages that both sides should describe alike.
fn real_directory() -> Option<tempfile::TempDir> {
    let from = real_packages()?;
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("v4")).unwrap();
    for entry in fs::read_dir(from.join("v4")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if DELIBERATE.iter().any(|word| name.contains(word)) || !name.ends_with(".rpm") {
            continue;
        }
        fs::copy(&path, root.path().join("v4").join(name)).unwrap();
    }
    Some(root)
}

fn createrepo_c(directory: &Path, args: &[&str]) {
    let output = createrepo_c_output(directory, args);
    assert!(output.status.success(), "{output:?}");
}

fn createrepo_c_output(directory: &Path, args: &[&str]) -> std::process::Output {
    let tool = std::env::var("CREATEREPO_C").unwrap_or_else(|_| "createrepo_c".to_owned());
    Command::new(tool)
        .arg("--quiet")
        .args(args)
        .arg(directory)
        .output()
        .unwrap()
}

/// The `<package>` elements of one metadata file.
fn elements(directory: &Path, kind: &str) -> BTreeSet<String> {
    let path = ["zst", "gz", "xz"]
        .iter()
        .map(|suffix| format!("{kind}.xml.{suffix}"))
        .find_map(|end| {
            fs::read_dir(directory.join("repodata"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .find(|path| path.to_str().unwrap().ends_with(&end))
        })
        .unwrap();
    let open = decompressed(path.to_str().unwrap(), &fs::read(&path).unwrap());
    let text = characters(&String::from_utf8(open).unwrap());
    text.split("<package ")
        .skip(1)
        .map(|element| element.split("</package>").next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_directory_of_real_packages_is_described_as_createrepo_c_does() {
    let Some(root) = real_directory() else { return };
    if !has_tool("createrepo_c") {
        return;
    }
    let mut request = with_codec(root.path(), Codec::Gzip);
    request.duplicates = Duplicates::KeepAll;
    request.bad_packages = BadPackages::Skip;
    let summary = run(&request).unwrap();
    for bad in &summary.skipped {
        eprintln!("refused: {}: {}", bad.path, bad.error);
    }
    let kinds = ["primary", "filelists", "other"];
    let ours = kinds.map(|kind| elements(root.path(), kind));
    createrepo_c(root.path(), &["--no-database"]);
    let theirs = kinds.map(|kind| elements(root.path(), kind));
    for ((kind, ours), theirs) in kinds.iter().zip(&ours).zip(&theirs) {
        assert!(ours.len() > 30, "{kind}: {}", ours.len());
        let only_ours: Vec<_> = ours.difference(theirs).collect();
        assert!(only_ours.is_empty(), "{kind}, only ours: {only_ours:#?}");
        let left_out = theirs.difference(ours).count();
        assert!(
            left_out <= summary.skipped.len(),
            "{kind}: {left_out} left out"
        );
    }
}

#[test]
fn repositories_of_createrepo_c_pass_the_check() {
    let Some(root) = real_directory() else { return };
    if !has_tool("createrepo_c") {
        return;
    }
    fs::write(root.path().join("comps.xml"), "<comps></comps>").unwrap();
    for args in [
        &["--no-database"][..],
        &["--database", "--groupfile=comps.xml"],
        &[
            "--general-compress-type=xz",
            "--no-database",
            "--checksum=sha512",
        ],
        &[
            "--general-compress-type=zstd",
            "--no-database",
            "--simple-md-filenames",
        ],
        &["--zck", "--no-database"],
    ] {
        let comps = root.path().join("comps.xml");
        let group = format!("--groupfile={}", comps.display());
        let args: Vec<&str> = args
            .iter()
            .map(|arg| {
                if arg.contains("groupfile") {
                    &group
                } else {
                    *arg
                }
            })
            .collect();
        let output = createrepo_c_output(root.path(), &args);
        if !output.status.success() {
            // 0.17 knows neither zstd nor, as Debian builds it, zchunk.
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                told.contains("Unsupported") || told.contains("zchunk"),
                "{told}"
            );
            eprintln!("SKIPPED: this createrepo_c has no {args:?}");
            continue;
        }
        let report = checked(root.path());
        // The real packages hold one NEVRA in several signed forms; that is a warning.
        assert!(report.passed, "{args:?}: {:#?}", report.findings);
        assert!(report.packages > 30 && report.packages_read == report.packages);
        assert!(
            codes(&report)
                .iter()
                .all(|code| ["package-duplicate-nevra"].contains(code)),
            "{args:?}: {:?}",
            codes(&report)
        );
    }
}

#[test]
fn dnf_reads_what_a_run_and_an_update_wrote() {
    if !has_tool("dnf") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("repository");
    fill(&repository, 9);
    let comps = root.path().join("comps.xml");
    fs::write(&comps, "<comps></comps>").unwrap();
    let mut request = request(&repository);
    request.metadata.zchunk = true;
    request.group_file = Some(GroupFile {
        path: comps,
        codec: Codec::ZSTD,
        form: GroupForm::Compressed,
    });
    run(&request).unwrap();
    assert_eq!(dnf_names(root.path(), &repository).len(), 9);
    fs::write(repository.join("new.rpm"), rpm("new", "1")).unwrap();
    request.reuse = repo_server::createrepo::Reuse::Unchanged;
    request.retain = Retain {
        copies: 1,
        age: None,
    };
    run(&request).unwrap();
    let names = dnf_names(root.path(), &repository);
    assert_eq!(names.len(), 10);
    assert!(names.contains("new"));
}

fn dnf_names(root: &Path, repository: &Path) -> BTreeSet<String> {
    let directory = |name: &str| {
        let path = root.join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    };
    let output = Command::new("dnf")
        .args([
            "--quiet",
            "--releasever=1",
            "--forcearch=x86_64",
            "--nogpgcheck",
        ])
        .arg("--setopt=plugins=0")
        .arg(format!("--installroot={}", directory("root")))
        .arg(format!("--setopt=cachedir={}", directory("cache")))
        .arg(format!("--setopt=logdir={}", directory("log")))
        .arg(format!("--setopt=persistdir={}", directory("persist")))
        .arg(format!("--setopt=reposdir={}", directory("none")))
        .arg(format!(
            "--repofrompath=tested,file://{}",
            repository.display()
        ))
        .args(["--repo=tested", "repoquery", "--queryformat=%{name}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}
