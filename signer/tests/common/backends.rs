//! What every place for keys must do, whatever it is; and the program configured for one.

use super::judges::{Cosign, gpg_and_sqv_agree};
use super::serving::{self, Serving};
use super::{Rpm, World, now, tools};
use hallmark_signer::verify::{Certificate, can_sign, verify_header_signature};
use repo_model::bundle;
use repo_model::statement::VSA;
use repo_model::wire::signer::{Identity, KeyRole};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a backend needs besides the signer.
#[derive(Clone)]
pub struct Fixture {
    /// Lines of `[signer]` and below.
    pub settings: String,
    /// Set for every process.
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// The program, configured for one backend.
pub struct Program<'a> {
    pub world: &'a World,
    pub fixture: Fixture,
    pub algorithm: &'static str,
}

impl Program<'_> {
    /// It with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let more = format!(
            "key_algorithm = {:?}\n{}",
            self.algorithm, self.fixture.settings
        );
        let mut command = serving::program(self.world, arguments, &more);
        for (name, value) in &self.fixture.environment {
            command.env(name, value);
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Serves.
    pub fn serve(&self) -> Serving {
        let started = Serving::start(self.world, self.command(&["serve"]));
        started.unwrap_or_else(|| panic!("{}", serving::log(self.world)))
    }

    /// It must not start, and say why.
    pub fn refuses_to_serve(&self, words: &str) {
        let output = self.run(&["serve"]);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let said = tools::text(&output);
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Keys are made once, sign what rpm, gpg, sqv and cosign accept, are the same after a restart, and go through their
/// lives.
pub fn contract(program: &Program<'_>, rpm: &Rpm) {
    let world = program.world;
    let what = format!("{} {}", program.fixture.settings, program.algorithm);
    assert_ne!(program.run(&["serve"]).status.code(), Some(0), "{what}");
    let first = program.run(&["init"]);
    assert!(first.status.success(), "{what}: {}", tools::text(&first));
    hand_over_credentials(world.dir.path(), &world.config.state_dir);
    let again = program.run(&["init"]);
    assert_eq!(first.stdout, again.stdout, "{what}");
    no_private_key_lies_open(program);

    let serving = program.serve();
    let identity = world.client().identity().unwrap();
    let package = Certificate::from_bytes(identity.package_certificate.as_bytes()).unwrap();
    assert!(can_sign(&package, now()), "{what}");
    let signed = world.sign(rpm);
    let file = rpm.with_signature(&signed.signature_header);
    assert_eq!(verify_header_signature(&file.head, &[package]).unwrap(), 1);
    let made = world.one_of_each(rpm);
    drop(serving);

    let dir = world.dir.path();
    std::fs::write(dir.join("signed.rpm"), &file.bytes).unwrap();
    std::fs::write(dir.join("key.asc"), &identity.package_certificate).unwrap();
    for rpmkeys in tools::RpmKeys::all(dir) {
        rpmkeys.import("db", "key.asc");
        let (good, said) = rpmkeys.check("db", "signed.rpm");
        assert!(good, "{}: {what}: {said}", rpmkeys.name);
    }
    gpg_and_sqv_agree(world, &made);
    if let Some(cosign) = Cosign::of(world) {
        std::fs::write(dir.join("vsa.json"), bundle::of(&signed.summary)).unwrap();
        for (digest, good) in [(rpm.header().to_hex(), true), ("0".repeat(64), false)] {
            let subject = ["--digestAlg", "rpmHeaderSha256", "--digest", &digest];
            let said = cosign.verify("statement.pub", "vsa.json", VSA, &subject);
            assert_eq!(
                said.status.success(),
                good,
                "{what}: {}",
                tools::text(&said)
            );
        }
    }

    let serving = program.serve();
    assert_eq!(world.client().identity().unwrap(), identity, "{what}");
    world.sign(rpm);
    drop(serving);
    the_life_of_each_key(program, &identity, &what);
}

/// Only the plain file backend leaves a private key on the disk as it is.
fn no_private_key_lies_open(program: &Program<'_>) {
    let state = &program.world.config.state_dir;
    let open = std::fs::read_dir(state).unwrap().flatten().any(|entry| {
        let text = std::fs::read(entry.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.contains("PRIVATE KEY")
    });
    // Tokens are not asked for post-quantum signatures: those two keys are files there.
    let plain = ["\"file\"", "pkcs11"].map(|word| program.fixture.settings.contains(word));
    assert_eq!(open, plain.contains(&true), "{}", program.fixture.settings);
}

/// Staged, rotated in, and the old one revoked: every role, in every backend.
fn the_life_of_each_key(program: &Program<'_>, first: &Identity, what: &str) {
    let world = program.world;
    let ok = |arguments: &[&str]| {
        let output = program.run(arguments);
        assert!(output.status.success(), "{what}: {}", tools::text(&output));
        hand_over_credentials(world.dir.path(), &world.config.state_dir);
    };
    for role in KeyRole::ALL {
        ok(&["key", "stage", role.name()]);
        ok(&["key", "rotate", role.name(), "--at-once"]);
        let first = role.first_label();
        ok(&["key", "revoke", first, "--reason", "done with"]);
    }
    let _serving = program.serve();
    let now = world.client().identity().unwrap();
    assert_ne!(now.package_certificate, first.package_certificate, "{what}");
    assert_ne!(
        now.metadata_certificate, first.metadata_certificate,
        "{what}"
    );
    assert_ne!(now.statement_key, first.statement_key, "{what}");
    let post_quantum = |identity: &Identity| {
        let (package, metadata) = (
            &identity.package_pqc_certificate,
            &identity.metadata_pqc_certificate,
        );
        [package, metadata].map(|one| one.clone().unwrap())
    };
    for (now, first) in post_quantum(&now).iter().zip(post_quantum(first)) {
        assert_ne!(*now, first, "{what}");
    }
    assert_eq!(now.keys.len(), 2 * KeyRole::ALL.len(), "{what}");
    world.sign(&Rpm::probe("after"));
}

/// A file that only its owner can read.
pub fn private_file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// What an operator does after `init`: hands new credentials over to the service manager.
fn hand_over_credentials(dir: &Path, state_dir: &Path) {
    let (new, given) = (state_dir.join("new-credentials"), dir.join("credentials"));
    std::fs::create_dir_all(&given).unwrap();
    for entry in std::fs::read_dir(&new).into_iter().flatten().flatten() {
        std::fs::rename(entry.path(), given.join(entry.file_name())).unwrap();
        // As systemd leaves them: readable by an access list, which shows as the group's bit.
        let mode = std::fs::Permissions::from_mode(0o440);
        std::fs::set_permissions(given.join(entry.file_name()), mode).unwrap();
    }
}
