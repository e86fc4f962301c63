//! Files beside `repomd.xml` that no metadata names.

use crate::copies::Lab;
use crate::kit::*;
use crate::server::Server;
use repo_model::FileDigest;
use std::fs;
use std::path::Path;

const MANIFEST: &str = "repodata/SHA256SUMS";

/// A signature, and a manifest of what is there now with one of its own.
fn write_manifest(root: &Path) {
    write(root, "repodata/repomd.xml.asc", b"of repomd.xml");
    let mut text =
        "# hallmark-manifest/1 release=7 repo=base arch=x86_64 issued=2026-11-21T13:00:00Z\n"
            .to_owned();
    for name in ["repodata/repomd.xml", "repodata/repomd.xml.asc"] {
        let digest = FileDigest::of(&fs::read(root.join(name)).unwrap());
        text.push_str(&format!("{digest}  {name}\n"));
    }
    write(root, MANIFEST, text.as_bytes());
    write(root, &format!("{MANIFEST}.asc"), b"of the manifest");
}

#[test]
fn the_signed_manifest_comes_along_when_it_is_about_this_very_state() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(2), 100);
    write_manifest(&lab.upstream());
    let server = Server::good(&lab.upstream());
    let request = request(&[server.url()], &lab.copy());
    run(&request).unwrap();
    for name in [MANIFEST, "repodata/SHA256SUMS.asc"] {
        let read = |root: &Path| fs::read(root.join(name)).unwrap();
        assert_eq!(read(&lab.copy()), read(&lab.upstream()));
    }
    server.take_log();
    assert!(!run(&request).unwrap().changed);
    assert_eq!(server.take_log().len(), 1);

    // Upstream's is of the state before: left out, and the copy's own old one goes.
    write_repository(&lab.upstream(), &packages(3), 200);
    run(&request).unwrap();
    assert_eq!(read_copy(&lab.copy()).len(), 3);
    assert!(!lab.copy().join(MANIFEST).exists());
    write_repository(&lab.upstream(), &packages(4), 300);
    write_manifest(&lab.upstream());
    run(&request).unwrap();
    assert!(lab.copy().join(MANIFEST).exists());
}

#[test]
fn a_copy_of_a_part_has_no_manifest_of_the_whole() {
    let lab = Lab::new();
    write_repository(&lab.upstream(), &packages(2), 100);
    write_manifest(&lab.upstream());
    let server = Server::good(&lab.upstream());
    let mut request = request(&[server.url()], &lab.copy());
    request.filters.exclude = vec!["p1".to_owned()];
    run(&request).unwrap();
    assert!(!lab.copy().join(MANIFEST).exists());
}
