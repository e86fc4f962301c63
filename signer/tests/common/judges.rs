//! Verifiers that are not ours: gpg, sqv and cosign.

use super::tools;
use super::{OneOfEach, World, laid_out};
use hallmark_signer::keys::{METADATA_CERTIFICATE, PACKAGE_CERTIFICATE, STATEMENT_PUBLIC};
use std::path::Path;
use std::process::Output;

/// Shows the detached signatures over a package and over metadata to gpg and sqv, and a byte too many.
pub fn gpg_and_sqv_agree(world: &World, made: &OneOfEach) {
    let (package, repomd) = (&made.of_file.armored, &made.release.repomd_signatures[0]);
    for (what, bytes, signature, certificate) in [
        ("package", &made.file, package, PACKAGE_CERTIFICATE),
        ("repomd.xml", &made.repomd, repomd, METADATA_CERTIFICATE),
    ] {
        let dir = laid_out(world, what, bytes, signature);
        let at = |name: &str| dir.join(name).display().to_string();
        let certificate = world.config.state_dir.join(certificate);
        check_with_gpg(&at, &certificate, what);
        check_with_sqv(&at, &certificate, what);
    }
}

fn check_with_gpg(at: &dyn Fn(&str) -> String, certificate: &Path, what: &str) {
    if !tools::have("gpg") {
        return;
    }
    let (home, signature) = (at(""), at("sig.asc"));
    let gpg = ["--batch", "--no-autostart", "--homedir", &home];
    let with = |more: &[&str]| tools::run("gpg", &[&gpg, more].concat());
    let imported = with(&["--import", certificate.to_str().unwrap()]);
    assert!(
        imported.status.success(),
        "{what}: {}",
        tools::text(&imported)
    );
    let good = with(&["--verify", &signature, &at("good")]);
    assert!(good.status.success(), "{what}: {}", tools::text(&good));
    assert!(
        !with(&["--verify", &signature, &at("changed")])
            .status
            .success(),
        "{what}"
    );
}

fn check_with_sqv(at: &dyn Fn(&str) -> String, certificate: &Path, what: &str) {
    if !tools::have("sqv") {
        return;
    }
    let (keyring, signature) = (certificate.to_str().unwrap(), at("sig.asc"));
    let verify = |file: &str| tools::run("sqv", &["--keyring", keyring, &signature, &at(file)]);
    let good = verify("good");
    assert!(good.status.success(), "{what}: {}", tools::text(&good));
    assert!(!verify("changed").status.success(), "{what}");
}

/// cosign in the Debian root that the test set-up caches, with files of one folder.
pub struct Cosign(Vec<String>);

impl Cosign {
    /// `None` when it is not there. Files must lie in the world's folder; the public key is put there.
    pub fn of(world: &World) -> Option<Self> {
        let dir = world.dir.path();
        let words = tools::in_forky(dir, "cosign")?;
        let public = world.config.state_dir.join(STATEMENT_PUBLIC);
        std::fs::copy(public, dir.join("statement.pub")).unwrap();
        Some(Self(words))
    }

    /// Checks a bundle with the public key in a file, offline.
    pub fn verify(&self, key: &str, bundle: &str, kind: &str, subject: &[&str]) -> Output {
        let (key, bundle) = (format!("/mnt/{key}"), format!("/mnt/{bundle}"));
        let mut words: Vec<&str> = self.0.iter().map(String::as_str).collect();
        words.extend([
            "cosign",
            "verify-blob-attestation",
            "--insecure-ignore-tlog=true",
            "--key",
            &key,
            "--bundle",
            &bundle,
            "--type",
            kind,
        ]);
        words.extend(subject);
        tools::run(words[0], &words[1..])
    }
}
