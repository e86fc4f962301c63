//! A real DNF counts the packages of a repository that is made of many frames. A client that stops
//! after the first frame reports no error, so only counting tells.

mod repodata_support;

use repo_server::repodata::{Codec, Options};
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
    write_repository(&repository, &repodata);

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

/// Names that dnf5 sees, and the metadata files in its cache.
fn names_that_dnf5_sees(
    options: &Options,
    query: &[&str],
) -> Option<(BTreeSet<String>, Vec<String>)> {
    let (entries, packages) = listed((0..PACKAGES).map(numbered));
    let root = tempfile::tempdir().unwrap();
    write_repository(
        &root.path().join("repository"),
        &built(&entries, &packages, options),
    );
    fs::create_dir(root.path().join("root")).unwrap();
    let arguments = [
        "dnf5",
        "--quiet",
        "--installroot=/mnt/t/root",
        "--releasever=1",
        "--forcearch=x86_64",
        "--no-gpgchecks",
        "--setopt=pluginconfpath=/mnt/t/none",
        "--setopt=cachedir=/mnt/t/cache",
        "--setopt=zchunk=true",
        "--repofrompath=tested,file:///mnt/t/repository",
        "--repo=tested",
        "repoquery",
        "--queryformat=%{name}\\n",
    ];
    let mut command = in_client_root(root.path(), &arguments)?;
    let seen = output_of(command.args(query))
        .lines()
        .map(str::to_owned)
        .collect();
    let mut files = Vec::new();
    for entry in fs::read_dir(root.path().join("cache")).unwrap() {
        if let Ok(repodata) = fs::read_dir(entry.unwrap().path().join("repodata")) {
            files.extend(repodata.map(|file| file.unwrap().file_name().into_string().unwrap()));
        }
    }
    Some((seen, files))
}

#[test]
fn dnf5_sees_every_package_of_every_frame_with_and_without_zchunk_beside() {
    let all: BTreeSet<String> = (0..PACKAGES).map(|n| numbered(n).nevra.name).collect();
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        for zchunk in [false, true] {
            let options = Options {
                zchunk,
                ..options(codec)
            };
            // A path outside the primary subset: read from filelists.
            for query in [&[][..], &["--file=/usr/share/doc/*"]] {
                let Some((seen, files)) = names_that_dnf5_sees(&options, query) else {
                    return;
                };
                assert_eq!(seen, all, "{codec:?}, zchunk {zchunk}, {query:?}");
                // Fedora's librepo takes the zchunk file then; Debian's is built without zchunk.
                let suffix = format!("-primary.xml{}", codec.suffix());
                let took = |suffix: &str| files.iter().any(|file| file.ends_with(suffix));
                assert!(
                    took(&suffix) || zchunk && took("-primary.xml.zck"),
                    "{codec:?}: {files:?}"
                );
            }
        }
    }
}
