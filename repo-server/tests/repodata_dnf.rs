//! A real DNF counts the packages of a repository that is made of many frames. A client that stops
//! after the first frame reports no error, so only counting tells.

mod repodata_support;

use repo_server::repodata::Codec;
use repodata_support::*;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const PACKAGES: usize = 900;

fn names_that_dnf_sees(codec: Codec, query: &[&str]) -> BTreeSet<String> {
    let (entries, packages) = listed((0..PACKAGES).map(numbered));
    let repodata = built(&entries, &packages, &options(codec));
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("repository");
    fs::create_dir_all(repository.join("repodata")).unwrap();
    for file in &repodata.files {
        fs::write(repository.join(&file.record.name), &file.bytes).unwrap();
    }
    fs::write(repository.join("repodata/repomd.xml"), &repodata.repomd).unwrap();

    let directory = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    };
    let output = Command::new("dnf")
        .args([
            "--quiet",
            "--releasever=1",
            "--forcearch=x86_64",
            "--setopt=plugins=0",
            "--nogpgcheck",
        ])
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
        .args(query)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{codec:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn dnf_sees_every_package_of_every_frame() {
    if !has_tool("dnf") {
        return;
    }
    let all: BTreeSet<String> = (0..PACKAGES).map(|n| numbered(n).nevra.name).collect();
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        let seen = names_that_dnf_sees(codec, &[]);
        assert_eq!(seen.len(), PACKAGES, "{codec:?}");
        assert_eq!(seen, all, "{codec:?}");
    }
}

#[test]
fn dnf_reads_filelists_to_the_end() {
    if !has_tool("dnf") {
        return;
    }
    let all: BTreeSet<String> = (0..PACKAGES).map(|n| numbered(n).nevra.name).collect();
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz] {
        // A path outside the primary subset, which only filelists has; each package owns one.
        let seen = names_that_dnf_sees(codec, &["--file=/usr/share/doc/*"]);
        assert_eq!(seen, all, "{codec:?}");
    }
}
