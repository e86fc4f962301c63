//! Directories of packages, and runs over them, for the tests of createrepo and repo check.
#![allow(dead_code, unused_imports)] // each test binary uses a part of it

#[allow(clippy::duplicate_mod)] // some test binaries use both supports
#[path = "../real_packages/mod.rs"]
mod real;

pub use real::real_packages;

use repo_model::Timestamp;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_server::createrepo::{
    BadPackages, CreaterepoError, Duplicates, FileNames, Location, Request, Retain, Reuse,
    Selection, Summary, Unwatched, createrepo,
};
use repo_server::repocheck::{self, CheckOptions, Directory, Packages, Report};
use repo_server::repodata::{Codec, Options};
use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A package that any reader accepts.
pub fn rpm(name: &str, release: &str) -> Vec<u8> {
    Rpm::binary(name)
        .set(tag::RELEASE, Field::str(release))
        .file(&format!("/usr/bin/{name}"), b"content")
        .file(&format!("/usr/share/doc/{name}/readme"), b"text")
        .bytes()
}

/// Writes packages `p00`, `p01`, ... into `directory`.
pub fn fill(directory: &Path, count: usize) {
    fs::create_dir_all(directory.join("sub")).unwrap();
    for number in 0..count {
        let below = ["", "sub/"][number % 2];
        fs::write(
            directory.join(format!("{below}p{number:02}-1.noarch.rpm")),
            rpm(&format!("p{number:02}"), "1"),
        )
        .unwrap();
    }
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_secs(since.as_secs() as i64)
}

/// A run as `hallmark createrepo DIR` makes it.
pub fn request(directory: &Path) -> Request {
    Request {
        directory: directory.to_owned(),
        output: directory.to_owned(),
        selection: Selection::default(),
        recycle_list: false,
        reuse: Reuse::Nothing,
        state: Some(state_of(directory)),
        keep_additional: false,
        duplicates: Duplicates::Refuse,
        bad_packages: BadPackages::Refuse,
        location: Location::default(),
        metadata: Options::default(),
        database: false,
        group_file: None,
        names: FileNames::Unique,
        retain: Retain::default(),
        at: now(),
        latest_file_time: None,
        stamp_files: false,
        now: now(),
        workers: NonZeroUsize::new(2).unwrap(),
    }
}

/// Where runs over a directory leave their state in tests.
pub fn state_of(directory: &Path) -> PathBuf {
    directory.join(".cache-of-the-test")
}

pub fn run(request: &Request) -> Result<Summary, CreaterepoError> {
    createrepo(request, &Unwatched)
}

pub fn with_codec(directory: &Path, codec: Codec) -> Request {
    let mut request = request(directory);
    request.metadata.codec = codec;
    request
}

/// Names in `repodata`, without digests in front.
pub fn stems(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory.join("repodata"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| match name.split_once('-') {
            Some((digest, rest)) if digest.len() >= 64 => rest.to_owned(),
            _ => name,
        })
        .collect();
    names.sort();
    names
}

/// Path of the only file in `repodata` whose name ends so.
pub fn file(directory: &Path, end: &str) -> PathBuf {
    let mut found = fs::read_dir(directory.join("repodata"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(end));
    let path = found.next().unwrap_or_else(|| panic!("no {end}"));
    assert!(found.next().is_none(), "two of {end}");
    path
}

pub fn repomd(directory: &Path) -> String {
    fs::read_to_string(directory.join("repodata/repomd.xml")).unwrap()
}

/// Edits a metadata file and makes repomd.xml agree with it, so that only its content is wrong.
pub fn edit(root: &Path, kind: &str, change: impl Fn(String) -> String) {
    let path = file(root, &format!("-{kind}.xml"));
    let before = fs::read_to_string(&path).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the edit of {kind} changes nothing");
    fs::write(&path, &after).unwrap();
    let sum = |text: &str| repo_model::FileDigest::of(text.as_bytes()).to_hex();
    let repomd = repomd(root)
        .replacen(
            &format!("<checksum type=\"sha256\">{}<", sum(&before)),
            &format!("<checksum type=\"sha256\">{}<", sum(&after)),
            1,
        )
        .replacen(
            &format!("<size>{}<", before.len()),
            &format!("<size>{}<", after.len()),
            1,
        );
    fs::write(root.join("repodata/repomd.xml"), repomd).unwrap();
}

/// Edits repomd.xml.
pub fn edit_repomd(root: &Path, change: impl Fn(String) -> String) {
    let before = repomd(root);
    let after = change(before.clone());
    assert_ne!(before, after, "the edit of repomd.xml changes nothing");
    fs::write(root.join("repodata/repomd.xml"), after).unwrap();
}

/// Checks everything, packages too.
pub fn checked(directory: &Path) -> Report {
    let options = CheckOptions {
        packages: Packages::All,
        keys: Vec::new(),
        package_signatures: false,
        now: now(),
        workers: NonZeroUsize::new(2).unwrap(),
    };
    repocheck::check(&Directory::new(directory), &options, &repocheck::Unwatched).unwrap()
}

pub fn codes(report: &Report) -> BTreeSet<&'static str> {
    report.findings.iter().map(|finding| finding.code).collect()
}
