//! Whole directories against createrepo_c and DNF: the same packages, the same words about each,
//! and repositories of either that the other side and `repo check` read. With every createrepo_c there is.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use repo_server::createrepo::{BadPackages, Duplicates, GroupFile, Retain};
use repo_server::repodata::{Codec, GroupForm};
use repodata_support::reference::{Reference, characters};
use repodata_support::{decompressed, has_tool};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Packages about which we deliberately say something else (`repodata_differential` compares them too).
const DELIBERATE: [&str; 5] = ["balicek", "non-utf-8", "nosrc", "Archer", "popt"];

/// A directory of the real packages, but for those that `leave_out` names.
fn real_directory(formats: &[&str], leave_out: &[&str]) -> Option<tempfile::TempDir> {
    let from = real_packages()?;
    let root = tempfile::tempdir().unwrap();
    for format in formats {
        fs::create_dir(root.path().join(format)).unwrap();
        for entry in fs::read_dir(from.join(format)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.ends_with(".rpm") && !leave_out.iter().any(|word| name.contains(word)) {
                fs::copy(&path, root.path().join(format).join(name)).unwrap();
            }
        }
    }
    Some(root)
}

/// Runs a createrepo_c over a directory.
fn createrepo_c(tool: &Reference, directory: &Path, args: &[&str]) -> Output {
    let mut all = vec!["--quiet"];
    all.extend(args);
    all.push("@");
    let output = tool.command("createrepo_c", directory, &all).output();
    output.unwrap()
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
    let Some(root) = real_directory(&["v3", "v4"], &DELIBERATE) else {
        return;
    };
    let kinds = ["primary", "filelists", "other"];
    let mut request = request(root.path());
    request.duplicates = Duplicates::KeepAll;
    request.bad_packages = BadPackages::Skip;
    let summary = run(&request).unwrap();
    for bad in &summary.skipped {
        eprintln!("refused: {}: {}", bad.path, bad.error);
    }
    let ours = kinds.map(|kind| elements(root.path(), kind));
    for tool in Reference::all_of_1_2() {
        fs::remove_dir_all(root.path().join("repodata")).unwrap();
        let output = createrepo_c(&tool, root.path(), &["--no-database"]);
        assert!(output.status.success(), "{}: {output:?}", tool.label);
        let theirs = kinds.map(|kind| elements(root.path(), kind));
        for ((kind, ours), theirs) in kinds.iter().zip(&ours).zip(&theirs) {
            let label = &tool.label;
            assert!(ours.len() > 30, "{kind}: {}", ours.len());
            let only_ours: Vec<_> = ours.difference(theirs).collect();
            assert!(
                only_ours.is_empty(),
                "{label} {kind}, only ours: {only_ours:#?}"
            );
            let left_out = theirs.difference(ours).count();
            assert!(
                left_out <= summary.skipped.len(),
                "{label} {kind}: {left_out} left out"
            );
        }
    }
}

/// Ways to run createrepo_c.
const WAYS: [&[&str]; 7] = [
    &["--no-database", "--general-compress-type=gz"],
    &["--database", "--groupfile=comps.xml"],
    &[
        "--no-database",
        "--general-compress-type=xz",
        "--checksum=sha512",
    ],
    &[
        "--no-database",
        "--general-compress-type=zstd",
        "--simple-md-filenames",
    ],
    &[
        "--no-database",
        "--changelog-limit=2",
        "--location-prefix=.",
    ],
    &["--no-database", "--filelists-ext"],
    &["--no-database", "--zck"],
];

/// What its builds lack: 0.17 zstd and filelists-ext, and zchunk but for the one of the client root.
fn is_lacking(tool: &Reference, way: &[&str]) -> bool {
    let asks = |option| way.contains(&option);
    let is_old = !tool.writes_as_1_2();
    asks("--zck") && !tool.label.contains("client root")
        || is_old && (asks("--general-compress-type=zstd") || asks("--filelists-ext"))
}

#[test]
fn repositories_of_every_createrepo_c_of_every_real_package_pass_the_check() {
    let Some(root) = real_directory(&["v3", "v4", "v6"], &[]) else {
        return;
    };
    fs::write(root.path().join("comps.xml"), "<comps></comps>").unwrap();
    for tool in Reference::all() {
        for way in WAYS {
            if is_lacking(&tool, way) {
                continue;
            }
            let _ = fs::remove_dir_all(root.path().join("repodata"));
            let output = createrepo_c(&tool, root.path(), way);
            let label = &tool.label;
            assert!(output.status.success(), "{label} {way:?}: {output:?}");
            let report = checked(root.path());
            assert!(report.passed, "{label} {way:?}: {:#?}", report.findings);
            assert!(report.packages > 50 && report.packages_read == report.packages);
            // The real packages hold one NEVRA in several signed forms; that is a warning.
            let allowed = ["package-duplicate-nevra"];
            assert!(
                codes(&report).iter().all(|code| allowed.contains(code)),
                "{label} {way:?}: {:#?}",
                report.findings
            );
        }
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
