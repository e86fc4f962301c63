//! One contract for every row of `KEY_BACKENDS`, with real processes: keys are made once, sign from
//! inside the sandbox what rpm accepts, and are the same after a restart.

mod common;

use common::serving::{self, Serving};
use common::{Rpm, World, now, tools};
use hallmark_signer::keys::backend::KEY_BACKENDS;
use hallmark_signer::verify::{Certificate, can_sign, verify_header_signature};
use repo_model::config::KeyBackendName;
use repo_model::wire::signer::{Identity, KeyRole};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a backend needs besides the signer.
struct Fixture {
    /// Lines of `[signer]` and below.
    settings: String,
    /// Set for every process.
    environment: Vec<(&'static str, PathBuf)>,
}

/// `None`, said by name, without what the backend needs.
fn fixture(backend: KeyBackendName, dir: &Path) -> Option<Fixture> {
    match backend {
        KeyBackendName::File => Some(Fixture {
            settings: "key_backend = \"file\"\n".to_owned(),
            environment: Vec::new(),
        }),
        KeyBackendName::EncryptedFile => {
            let file = private_file(dir, "passphrase", "correct horse battery staple\n");
            Some(Fixture {
                settings: format!("key_backend = \"encrypted-file\"\npassphrase_file = {file:?}\n"),
                environment: Vec::new(),
            })
        }
        KeyBackendName::Credential => Some(Fixture {
            settings: "key_backend = \"credential\"\n".to_owned(),
            environment: vec![("CREDENTIALS_DIRECTORY", dir.join("credentials"))],
        }),
        KeyBackendName::Pkcs11 => softhsm(dir),
    }
}

fn private_file(dir: &Path, name: &str, text: &str) -> PathBuf {
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

const PIN: &str = "1234-user";

fn softhsm(dir: &Path) -> Option<Fixture> {
    let modules = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib64/libsofthsm2.so",
    ];
    let module = modules.iter().find(|path| Path::new(path).exists());
    let (true, Some(module)) = (tools::have("softhsm2-util"), module) else {
        eprintln!("SKIPPED: the PKCS #11 backend, softhsm2 is not installed");
        return None;
    };
    let tokens = dir.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let config = dir.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&config, text).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "hallmark"])
        .args(["--pin", PIN, "--so-pin", "1234-officer"])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", tools::text(&made));
    let pin = private_file(dir, "pin", &format!("{PIN}\n"));
    Some(Fixture {
        settings: format!(
            "key_backend = \"pkcs11\"\n[signer.pkcs11]\nmodule = {module:?}\ntoken = \"hallmark\"\n\
             pin_file = {pin:?}\npaths = [{tokens:?}]\n"
        ),
        environment: vec![("SOFTHSM2_CONF", config)],
    })
}

/// The program, configured for one backend.
struct Program<'a> {
    world: &'a World,
    fixture: Fixture,
    algorithm: &'static str,
}

impl Program<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
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

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn serve(&self) -> Serving {
        let started = Serving::start(self.world, self.command(&["serve"]));
        started.unwrap_or_else(|| panic!("{}", serving::log(self.world)))
    }
}

#[test]
fn every_backend_keeps_the_contract_with_every_algorithm_that_is_quick_to_make() {
    for row in KEY_BACKENDS {
        // An RSA key of our own making takes seconds; a token's library is quick.
        let algorithms: &[&str] = match row.name {
            KeyBackendName::File | KeyBackendName::EncryptedFile | KeyBackendName::Credential => {
                &["ed25519"]
            }
            KeyBackendName::Pkcs11 => &["ed25519", "rsa4096"],
        };
        for algorithm in algorithms {
            let world = World::prepared();
            let Some(fixture) = fixture(row.name, world.dir.path()) else {
                continue;
            };
            let Some(rpm) = tools::built(world.dir.path(), &["assayed"]) else {
                return;
            };
            contract(
                &Program {
                    world: &world,
                    fixture,
                    algorithm,
                },
                &rpm[0],
            );
        }
    }
}

fn contract(program: &Program<'_>, rpm: &Rpm) {
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
    let size_bytes = file.bytes.len() as u64;
    world
        .client()
        .sign_file(rpm.header(), size_bytes, file.bytes.as_slice())
        .unwrap();
    drop(serving);

    let dir = world.dir.path();
    std::fs::write(dir.join("signed.rpm"), &file.bytes).unwrap();
    std::fs::write(dir.join("key.asc"), &identity.package_certificate).unwrap();
    for rpmkeys in tools::RpmKeys::all(dir) {
        rpmkeys.import("db", "key.asc");
        let (good, said) = rpmkeys.check("db", "signed.rpm");
        assert!(good, "{}: {what}: {said}", rpmkeys.name);
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
    // No token makes post-quantum signatures: those two keys are files there.
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

#[test]
fn a_passphrase_that_is_wrong_missing_or_short_is_refused_by_name() {
    let world = World::prepared();
    let dir = world.dir.path();
    let fixture = fixture(KeyBackendName::EncryptedFile, dir).unwrap();
    let mut program = Program {
        world: &world,
        fixture,
        algorithm: "ed25519",
    };
    assert!(program.run(&["init"]).status.success());
    let refused = |program: &Program<'_>, words: &str| {
        let output = program.run(&["serve"]);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let said = tools::text(&output);
        assert!(said.contains(words), "{words}: {said}");
    };
    private_file(dir, "passphrase", "another passphrase of that length");
    refused(&program, "cannot be opened with the passphrase");
    private_file(dir, "passphrase", "short");
    refused(&program, "is shorter than 16 bytes");
    let open = private_file(dir, "passphrase", "correct horse battery staple");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&program, "must be readable by its owner only");
    program.fixture.settings = "key_backend = \"encrypted-file\"\n".to_owned();
    refused(&program, "there is no `signer.passphrase_file`");
    // The last resort: what is locked opens without us.
    if tools::have("gpg") {
        private_file(dir, "passphrase", "correct horse battery staple");
        let home = dir.join("gpg");
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        let at = |path: &Path| path.display().to_string();
        let opened = tools::run(
            "gpg",
            &[
                "--batch",
                "--homedir",
                &at(&home),
                "--pinentry-mode",
                "loopback",
                "--passphrase-file",
                &at(&dir.join("passphrase")),
                "--decrypt",
                &at(&world.config.state_dir.join("statement-key.pem.pgp")),
            ],
        );
        let said = tools::text(&opened);
        assert!(said.contains("BEGIN PRIVATE KEY"), "{said}");
    }
}

#[test]
fn a_token_that_is_not_ours_or_not_there_is_refused_by_name() {
    let world = World::prepared();
    let Some(fixture) = fixture(KeyBackendName::Pkcs11, world.dir.path()) else {
        return;
    };
    let mut program = Program {
        world: &world,
        fixture,
        algorithm: "ed25519",
    };
    assert!(program.run(&["init"]).status.success());
    let good = program.fixture.settings.clone();
    let state = &world.config.state_dir;
    let refused = |program: &Program<'_>, words: &str| {
        let output = program.run(&["serve"]);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let said = tools::text(&output);
        assert!(said.contains(words), "{words}: {said}");
    };

    program.fixture.settings = good.replace("token = \"hallmark\"", "token = \"other\"");
    refused(&program, "no token other");
    program.fixture.settings = "key_backend = \"pkcs11\"\n".to_owned();
    refused(&program, "no [signer.pkcs11]");
    program.fixture.settings = good.clone();
    std::fs::write(world.dir.path().join("pin"), "wrong").unwrap();
    refused(&program, "cannot log in to the token hallmark");
    std::fs::write(world.dir.path().join("pin"), PIN).unwrap();
    // The metadata key's certificate in the place of the package key's.
    let certificate = |name: &str| state.join(format!("{name}.certificate.asc"));
    std::fs::copy(certificate("metadata-key"), certificate("package-key")).unwrap();
    refused(&program, "is not the certificate of the token's key");
}
