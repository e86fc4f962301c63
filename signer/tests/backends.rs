//! One contract for every row of `KEY_BACKENDS`, with real processes: keys are made once, sign from
//! inside the sandbox what rpm accepts, and are the same after a restart.

mod common;

use common::backends::{Fixture, Program, contract, private_file};
use common::{Draft, Rpm, World, tools};
use hallmark_signer::client::{ClientError, SignedRelease};
use hallmark_signer::keys::backend::KEY_BACKENDS;
use repo_model::config::KeyBackendName;
use repo_model::release::PreviousRelease;
use repo_model::{FileDigest, ReleaseId};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

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

#[test]
fn a_release_whose_answer_was_lost_is_the_very_same_again_from_a_key_that_cannot_repeat_itself() {
    let world = World::prepared();
    let Some(fixture) = fixture(KeyBackendName::Pkcs11, world.dir.path()) else {
        return;
    };
    let program = Program {
        world: &world,
        fixture,
        algorithm: "ed25519",
    };
    assert!(program.run(&["init"]).status.success());
    let serving = program.serve();
    let rpm = Rpm::probe("probe");
    let signed = world.sign_whole(&rpm);
    let release = |id: u64, last: Option<&SignedRelease>| {
        let previous = last.map(|last| PreviousRelease {
            id: ReleaseId(id - 1),
            sha256: FileDigest::of(&last.envelope.to_json()),
        });
        let draft = Draft::new(id, previous, &[(&rpm, &signed)]);
        world.client().sign_release(&draft.json(), &draft.files)
    };
    // Whichever of the answers is kept, the next release can name it: also after a restart.
    let first = release(1, None).unwrap();
    assert_eq!(release(1, None).unwrap().envelope, first.envelope);
    drop(serving);
    let serving = program.serve();
    assert_eq!(release(1, None).unwrap().envelope, first.envelope);
    // It ends between the token's signature and the record: nothing was said, so nothing is lost.
    if !tools::have("prlimit") {
        return;
    }
    let bytes = std::fs::metadata(world.journal()).unwrap().len() + 10;
    let (pid, limit) = (
        format!("--pid={}", serving.id()),
        format!("--fsize={bytes}"),
    );
    tools::ok("prlimit", &[pid, limit]);
    let answer = release(2, Some(&first));
    assert!(
        matches!(&answer, Err(ClientError::Failed { message }) if message.contains("written down")),
        "{answer:?}"
    );
    drop(serving);
    let _serving = program.serve();
    let last = world.client().last_release().unwrap();
    assert_eq!(last.map(|last| last.id), Some(ReleaseId(1)));
    let second = release(2, Some(&first)).unwrap();
    release(3, Some(&second)).unwrap();
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
    private_file(dir, "passphrase", "another passphrase of that length");
    program.refuses_to_serve("cannot be opened with the passphrase");
    private_file(dir, "passphrase", "short");
    program.refuses_to_serve("is shorter than 16 bytes");
    let open = private_file(dir, "passphrase", "correct horse battery staple");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    program.refuses_to_serve("must be readable by its owner only");
    program.fixture.settings = "key_backend = \"encrypted-file\"\n".to_owned();
    program.refuses_to_serve("there is no `signer.passphrase_file`");
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

    program.fixture.settings = good.replace("token = \"hallmark\"", "token = \"other\"");
    program.refuses_to_serve("no token other");
    program.fixture.settings = good
        .lines()
        .filter(|line| !line.starts_with("pin_file"))
        .fold(String::new(), |text, line| text + line + "\n");
    program.refuses_to_serve("the token hallmark wants a PIN");
    program.fixture.settings = "key_backend = \"pkcs11\"\n".to_owned();
    program.refuses_to_serve("no [signer.pkcs11]");
    program.fixture.settings = good.clone();
    std::fs::write(world.dir.path().join("pin"), "wrong").unwrap();
    program.refuses_to_serve("cannot log in to the token hallmark");
    std::fs::write(world.dir.path().join("pin"), PIN).unwrap();
    // The metadata key's certificate in the place of the package key's.
    let certificate = |name: &str| state.join(format!("{name}.certificate.asc"));
    std::fs::copy(certificate("metadata-key"), certificate("package-key")).unwrap();
    program.refuses_to_serve("is not the certificate of the token's key");
}
