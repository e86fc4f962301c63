//! One contract for every row of `KEY_BACKENDS`, with real processes: keys are made once, sign from
//! inside the sandbox what rpm accepts, and are the same after a restart.

mod common;

use common::{Rpm, World, now, tools};
use hallmark_signer::keys::backend::KEY_BACKENDS;
use hallmark_signer::verify::{Certificate, can_sign, verify_header_signature};
use repo_model::config::KeyBackendName;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

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
    let pin = dir.join("pin");
    std::fs::write(&pin, format!("{PIN}\n")).unwrap();
    std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o600)).unwrap();
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
        let path = self.world.dir.path().join("hallmark.toml");
        let config = &self.world.config;
        let text = format!(
            "[signer]\nsocket = {:?}\nstate_dir = {:?}\npolicy_file = {:?}\nunsigned_policy = true\nkey_algorithm = {:?}\n{}",
            config.socket,
            config.state_dir,
            config.policy_file,
            self.algorithm,
            self.fixture.settings
        );
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark-signer"));
        command.args(arguments).arg("--config").arg(path);
        for (name, value) in &self.fixture.environment {
            command.env(name, value);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn serve(&self) -> Serving {
        let mut serving = Serving(self.command(&["serve"]).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&self.world.config.socket).is_err() {
            assert!(serving.0.try_wait().unwrap().is_none(), "it ended");
            assert!(Instant::now() < deadline, "not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        serving
    }
}

/// A serving process; killed when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_backend_keeps_the_contract_with_every_algorithm_that_is_quick_to_make() {
    for row in KEY_BACKENDS {
        // An RSA key of our own making takes seconds; a token's library is quick.
        let algorithms: &[&str] = match row.name {
            KeyBackendName::File => &["ed25519"],
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
    let again = program.run(&["init"]);
    assert_eq!(first.stdout, again.stdout, "{what}");

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

    let _serving = program.serve();
    assert_eq!(world.client().identity().unwrap(), identity, "{what}");
    world.sign(rpm);
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
