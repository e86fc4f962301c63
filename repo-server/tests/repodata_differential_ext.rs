//! filelists-ext against createrepo_c 1.2, on every real package.
//!
//! The one deliberate difference: where FILEDIGESTALGO is absent, rpm takes MD5 and so do we;
//! createrepo_c writes `unknown`.

mod repodata_support;

use repo_model::rpm::{Head, Package};
use repo_model::{FileDigest, Timestamp};
use repo_server::repodata::{Codec, Entry, Options, sort};
use repodata_support::*;
use std::collections::BTreeMap;
use std::fs;

/// The pieces for the packages, by pkgid.
fn pieces(xml: &str) -> BTreeMap<&str, &str> {
    let (body, _) = xml.rsplit_once("</").unwrap();
    let packages = body.split("<package ").skip(1);
    packages
        .map(|piece| (piece.split('"').nth(1).unwrap(), piece))
        .collect()
}

#[test]
fn filelists_ext_is_what_createrepo_c_writes() {
    let Some(rpms) = real_packages() else { return };
    let root = tempfile::tempdir().unwrap();
    let (mut entries, mut packages) = (Vec::new(), Packages::new());
    for format in ["v3", "v4", "v6"] {
        for file in fs::read_dir(rpms.join(format)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rpm") {
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let name = format!("{format}-{}", path.file_name().unwrap().display());
            fs::write(root.path().join(&name), &bytes).unwrap();
            let package = Package::from_head(&Head::parse(&bytes).unwrap()).unwrap();
            let file_digest = FileDigest::of(&bytes);
            entries.push(Entry {
                nevra: package.nevra.clone().into(),
                file_digest,
                sha512: None,
                file_size_bytes: bytes.len() as u64,
                href: name.parse().unwrap(),
                added_at: Timestamp::from_unix_secs(PUBLISHED),
            });
            packages.insert(file_digest, package);
        }
    }
    sort(&mut entries);
    entries.dedup_by_key(|entry| entry.file_digest);
    let Some(mut command) = in_client_root(
        root.path(),
        &[
            "createrepo_c",
            "--quiet",
            "--no-database",
            "--simple-md-filenames",
            "--filelists-ext",
            "/mnt/t",
        ],
    ) else {
        return;
    };
    output_of(&mut command);
    let compressed = fs::read(root.path().join("repodata/filelists-ext.xml.zst")).unwrap();
    let theirs = String::from_utf8(decompressed("x.zst", &compressed)).unwrap();

    let options = Options {
        filelists_ext: true,
        ..options(Codec::None)
    };
    let repodata = built(&entries, &packages, &options);
    let ours = String::from_utf8(file_of(&repodata, "filelists-ext").to_vec()).unwrap();
    assert_eq!(
        theirs.lines().nth(1).unwrap().split("packages").next(),
        ours.lines().nth(1).unwrap().split("packages").next()
    );

    let (theirs, ours) = (pieces(&theirs), pieces(&ours));
    let (mut compared, mut unknown) = (0, 0);
    for (pkgid, piece) in &theirs {
        let Some(ours) = ours.get(pkgid) else {
            panic!("{pkgid} is missing")
        };
        let is_unknown = piece.contains("<checksum type=\"unknown\"/>");
        let expected = piece.replace("<checksum type=\"unknown\"/>", "<checksum type=\"md5\"/>");
        // Text that is not UTF-8 loses bytes in createrepo_c: told in repodata_differential.
        let ours: String = ours
            .chars()
            .filter(|c| !('\u{80}'..='\u{bf}').contains(c))
            .collect();
        let expected: String = expected
            .chars()
            .filter(|c| !('\u{80}'..='\u{bf}').contains(c))
            .collect();
        assert_eq!(ours, expected);
        compared += 1;
        unknown += usize::from(is_unknown);
    }
    assert!(compared >= 50, "only {compared} packages were compared");
    eprintln!("{compared} packages compared, {unknown} without FILEDIGESTALGO");
}
