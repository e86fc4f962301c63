//! Every client of the client root counts the packages of one repository in every codec. A client that
//! stops after some frames reports no error, so only counting tells.

mod repodata_support;

use repo_server::repodata::{Codec, Options};
use repodata_support::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PACKAGES: usize = 700;

/// Each codec plain, and with everything that may stand beside or be left out.
fn every_form() -> Vec<(String, Options)> {
    let mut forms = Vec::new();
    for codec in [Codec::ZSTD, Codec::Gzip, Codec::Xz, Codec::None] {
        forms.push((format!("{codec:?}"), options(codec)));
        let more = Options {
            zchunk: true,
            filelists_ext: true,
            open_checksums: false,
            ..options(codec)
        };
        forms.push((format!("{codec:?} with zchunk and filelists-ext"), more));
    }
    forms
}

/// Writes the repository of `options` to `root/repository`.
fn write(root: &Path, options: &Options) {
    let (entries, packages) = listed((0..PACKAGES).map(numbered));
    let repodata = built(&entries, &packages, options);
    write_repository(&root.join("repository"), &repodata);
    fs::create_dir(root.join("root")).unwrap();
}

/// Runs a script of the client root over every form; it prints a name for each package.
fn every_form_shows_every_package(program: &str, script: &str) {
    let all: BTreeSet<String> = (0..PACKAGES).map(|n| numbered(n).nevra.name).collect();
    for (form, options) in every_form() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &options);
        // The program by itself first, so that its absence skips by name.
        if in_client_root(root.path(), &[program]).is_none() {
            return;
        }
        let arguments = ["bash", "-euo", "pipefail", "-c", script];
        let mut command = in_client_root(root.path(), &arguments).unwrap();
        let text = output_of(&mut command);
        let lines: Vec<&str> = text.lines().collect();
        let names: BTreeSet<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(lines.len(), PACKAGES, "{program}, {form}");
        assert_eq!(names, all, "{program}, {form}");
    }
}

const DNF: &str = "--quiet --installroot=/mnt/t/root --releasever=1 --forcearch=x86_64 \
    --setopt=cachedir=/mnt/t/cache --setopt=reposdir=/mnt/t/none \
    --repofrompath=tested,file:///mnt/t/repository --repo=tested";

#[test]
fn dnf5_sees_every_package_of_every_form() {
    let script = format!("dnf5 {DNF} --setopt=zchunk=true repoquery --queryformat='%{{name}}\\n'");
    every_form_shows_every_package("dnf5", &script);
}

/// dnf5 prints equal lines of a query once: packages of one NEVRA are all there, but only
/// something that tells them apart shows it.
#[test]
fn dnf5_sees_packages_of_one_nevra_even_if_it_prints_them_once() {
    let (entries, packages) = listed((0..PACKAGES).map(numbered));
    let (mut all_entries, mut all_packages) = (entries.clone(), packages.clone());
    for entry in entries.iter().take(10) {
        let mut twin = entry.clone();
        twin.file_digest = repo_model::FileDigest::of(entry.file_digest.as_bytes());
        twin.href = format!("twin/{}", entry.href).parse().unwrap();
        all_packages.insert(twin.file_digest, packages[&entry.file_digest].clone());
        all_entries.push(twin);
    }
    repo_server::repodata::sort(&mut all_entries);
    let root = tempfile::tempdir().unwrap();
    let repodata = built(&all_entries, &all_packages, &every_form().remove(1).1);
    write_repository(&root.path().join("repository"), &repodata);
    fs::create_dir(root.path().join("root")).unwrap();
    for (format, lines) in [("%{full_nevra}", PACKAGES), ("%{location}", PACKAGES + 10)] {
        let script = format!("dnf5 {DNF} repoquery --queryformat='{format}\\n'");
        let arguments = ["bash", "-euo", "pipefail", "-c", &script];
        if in_client_root(root.path(), &["dnf5"]).is_none() {
            return;
        }
        let mut command = in_client_root(root.path(), &arguments).unwrap();
        assert_eq!(output_of(&mut command).lines().count(), lines, "{format}");
    }
}

#[test]
fn dnf4_sees_every_package_of_every_form() {
    let script = format!(
        "mkdir -p /mnt/t/log; dnf-3 {DNF} --setopt=logdir=/mnt/t/log --setopt=plugins=0 repoquery --queryformat='%{{name}}'"
    );
    every_form_shows_every_package("dnf-3", &script);
}

#[test]
fn zypper_sees_every_package_of_every_form() {
    let script = "z='zypper --quiet --non-interactive --root /mnt/t/root'
        $z addrepo --no-gpgcheck file:///mnt/t/repository tested >&2
        $z --no-gpg-checks refresh >&2
        $z --no-refresh packages | awk -F '|' 'NR > 2 && NF >= 5 { gsub(/ /, \"\", $3); print $3 }'";
    every_form_shows_every_package("zypper", script);
}

#[test]
fn createrepo_c_reads_every_package_of_every_form() {
    // mergerepo_c wants two repositories; equal packages count once.
    let script = "mergerepo_c --all --no-database --repo=file:///mnt/t/repository \
            --repo=file:///mnt/t/repository --outputdir=/mnt/t/merged >&2
        zstd -dc /mnt/t/merged/repodata/*-primary.xml.zst | sed -n 's:^  <name>\\(.*\\)</name>$:\\1:p'";
    every_form_shows_every_package("mergerepo_c", script);
}

#[test]
fn libsolv_reads_every_package_of_every_form() {
    let script = "repo2solv /mnt/t/repository > /mnt/t/solv
        dumpsolv /mnt/t/solv | awk '$1 == \"solvable:name:\" { print $2 }'";
    every_form_shows_every_package("repo2solv", script);
}
