//! The made-to-order packages are real: rpm itself checks every digest and unpacks the payload.

use crate::rpm::testkit::Rpm;
use std::process::Command;

fn has_rpm() -> bool {
    if Command::new("rpm")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "rpm is not installed");
    eprintln!("SKIPPED made_to_order_packages_are_sound_to_rpm: rpm is not installed");
    false
}

#[test]
fn made_to_order_packages_are_sound_to_rpm() {
    if !has_rpm() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let binary = Rpm::binary("probe")
        .file("/etc/p", b"x = 1\n")
        .dir("/srv/p")
        .symlink("/usr/bin/p", "q");
    let ghost = binary
        .clone()
        .file("/var/log/p", b"")
        .flags(64)
        .executable("/usr/bin/q", b"#!/bin/sh\n");
    for (number, rpm) in [binary, ghost, Rpm::binary("empty"), Rpm::source("probe")]
        .iter()
        .enumerate()
    {
        let path = folder.path().join(format!("{number}.rpm"));
        std::fs::write(&path, rpm.bytes()).unwrap();
        let output = Command::new("rpm")
            .args(["-K", "-v"])
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        for digest in [
            "Header SHA256 digest: OK",
            "Header SHA1 digest: OK",
            "Payload SHA256 digest: OK",
            "MD5 digest: OK",
        ] {
            assert!(text.contains(digest), "{text}");
        }
        let archive = Command::new("rpm2cpio").arg(&path).output().unwrap();
        assert!(
            archive.status.success() && archive.stdout.starts_with(b"070701"),
            "{archive:?}"
        );
    }
}
