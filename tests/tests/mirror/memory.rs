//! A sync's memory grows slowly with the number of packages, and not with anything else.

use crate::text;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::{process, require};
use repo_model::FileDigest;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const LIMIT_BYTES: u64 = 150 << 20;
const PACKAGES: usize = 100_000;
/// One in so many is really there and is copied; the others are left out by name.
const COPIED: usize = 500;

/// A repository that lists far more packages than it takes to notice.
fn write_repository(root: &Path) {
    std::fs::create_dir_all(root.join("repodata")).expect("the folder is ours");
    std::fs::create_dir_all(root.join("Packages")).expect("the folder is ours");
    let mut primary = "<metadata>\n".to_owned();
    let padding = "w".repeat(600);
    for number in 0..PACKAGES {
        let copied = number % COPIED == 0;
        let name = format!("{}{number}", if copied { "copied" } else { "other" });
        let bytes = name.repeat(300);
        let digest = FileDigest::of(bytes.as_bytes());
        let href = format!("Packages/{name}-1-1.noarch.rpm");
        if copied {
            std::fs::write(root.join(&href), &bytes).expect("the folder is ours");
        }
        writeln!(
            primary,
            "<package type=\"rpm\"><name>{name}</name><arch>noarch</arch><version epoch=\"0\" ver=\"1\" rel=\"1\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><description>{padding}</description>\
             <size package=\"{}\"/><location href=\"{href}\"/></package>",
            bytes.len()
        )
        .expect("text grows");
    }
    primary.push_str("</metadata>\n");
    let digest = FileDigest::of(primary.as_bytes());
    std::fs::write(root.join("repodata/primary.xml"), &primary).expect("the folder is ours");
    let repomd = format!(
        "<repomd><data type=\"primary\"><checksum type=\"sha256\">{digest}</checksum>\
         <location href=\"repodata/primary.xml\"/><timestamp>1</timestamp><size>{}</size></data></repomd>",
        primary.len()
    );
    std::fs::write(root.join("repodata/repomd.xml"), repomd).expect("the folder is ours");
}

/// Runs `hallmark mirror sync` to its end; the most memory that it had.
fn peak_of(arguments: &[&str]) -> u64 {
    let mut child = process::command(process::binary("hallmark"))
        .args(["mirror", "sync", "--no-verify-signature"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("hallmark starts");
    let mut peak = 0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        match child.try_wait().expect("it is our child") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert!(status.success(), "{arguments:?}: {status}");
    peak
}

#[test]
fn a_hundred_thousand_packages_take_less_than_150_megabytes() {
    require!(NGINX);
    let root = tempfile::tempdir().expect("a temporary folder");
    let (upstream, copy) = (root.path().join("upstream"), root.path().join("copy"));
    write_repository(&upstream);
    let nginx = Nginx::serve(&upstream);
    let all = peak_of(&["--dry-run", &nginx.url(), text(&copy)]);
    assert!(all > 10 << 20 && all < LIMIT_BYTES, "{} MiB", all >> 20);
    let filters = ["--include", "copied*", "--keep-metadata"];
    let some = peak_of(&[&filters[..], &[&nginx.url(), text(&copy)]].concat());
    assert!(some < LIMIT_BYTES, "{} MiB", some >> 20);
    let copied = std::fs::read_dir(copy.join("Packages")).expect("it was made");
    assert_eq!(copied.count(), PACKAGES / COPIED);
    eprintln!("all: {} MiB, some: {} MiB", all >> 20, some >> 20);
}
