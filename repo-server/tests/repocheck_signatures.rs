//! The signature of repomd.xml: good, missing, by another key, over another text.

mod createrepo_support;
mod repodata_support;

use createrepo_support::*;
use repo_server::repocheck::{
    self, Certificate, CheckOptions, Directory, Packages, Report, Unwatched,
};
use repodata_support::has_tool;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};

fn gpg(home: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("gpg")
        .arg("--homedir")
        .arg(home)
        .args([
            "--batch",
            "--quiet",
            "--pinentry-mode=loopback",
            "--passphrase=",
        ])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Makes a key in a new home; returns it as clients have it.
fn key(home: &Path) -> Certificate {
    fs::create_dir(home).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(home, mode).unwrap();
    gpg(
        home,
        &[
            "--quick-gen-key",
            "test@example.org",
            "rsa2048",
            "sign",
            "never",
        ],
    );
    Certificate::from_bytes(&gpg(home, &["--armor", "--export"])).unwrap()
}

fn check(directory: &Path, key: &Certificate, package_signatures: bool) -> Report {
    let options = CheckOptions {
        packages: Packages::All,
        keys: vec![key.clone()],
        package_signatures,
        now: now(),
        workers: NonZeroUsize::MIN,
    };
    repocheck::check(&Directory::new(directory), &options, &Unwatched).unwrap()
}

#[test]
fn a_key_that_is_given_must_have_signed_this_very_repomd() {
    if !has_tool("gpg") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("repository");
    fill(&repository, 1);
    run(&request(&repository)).unwrap();
    let (home, other_home) = (root.path().join("a"), root.path().join("b"));
    let (signing, other) = (key(&home), key(&other_home));

    assert_eq!(
        codes(&check(&repository, &signing, false)),
        ["signature-missing"].into()
    );
    let repomd = repository.join("repodata/repomd.xml");
    let path = repomd.to_str().unwrap();
    gpg(
        &home,
        &["--armor", "--digest-algo=SHA256", "--detach-sign", path],
    );
    let report = check(&repository, &signing, false);
    assert!(
        report.passed && report.signature_verified,
        "{:#?}",
        report.findings
    );
    // gpg's own choice, and the other strong ones, count as well; what can be forged does not.
    for (digest, wanted) in [
        ("SHA512", true),
        ("SHA384", true),
        ("SHA256", true),
        ("SHA224", false),
    ] {
        fs::remove_file(repository.join("repodata/repomd.xml.asc")).unwrap();
        let digest_option = format!("--digest-algo={digest}");
        gpg(&home, &["--armor", &digest_option, "--detach-sign", path]);
        let report = check(&repository, &signing, false);
        assert_eq!(
            report.signature_verified, wanted,
            "{digest}: {:#?}",
            report.findings
        );
        let findings = format!("{:?}", report.findings);
        assert!(wanted || findings.contains("SHA224"), "{findings}");
    }
    fs::remove_file(repository.join("repodata/repomd.xml.asc")).unwrap();
    gpg(
        &home,
        &["--armor", "--digest-algo=SHA512", "--detach-sign", path],
    );
    let report = check(&repository, &other, false);
    assert_eq!(codes(&report), ["signature-bad"].into());
    assert!(!report.signature_verified);
    // The packages of this test are not signed.
    let report = check(&repository, &signing, true);
    assert_eq!(codes(&report), ["package-signature"].into());
    let text = fs::read_to_string(&repomd).unwrap();
    fs::write(&repomd, text.replacen("<revision>", "<revision>1", 1)).unwrap();
    assert_eq!(
        codes(&check(&repository, &signing, false)),
        ["signature-bad"].into()
    );
    for home in [&home, &other_home] {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(home)
            .args(["--kill", "all"])
            .status();
    }
}
