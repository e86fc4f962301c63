//! Keys in a TPM: TPM 2.0's own PKCS #11 module (tpm2-pkcs11) with a TPM in software (swtpm) behind a resource
//! manager (tpm2-abrmd), in the place of the kernel's.
//!
//! A TPM has no Ed25519, and RSA of up to 3072 bits where it has more than 2048: the statement key is P-256 like
//! everywhere, the OpenPGP keys are RSA-3072.

mod common;

use common::backends::{Fixture, Program, contract, private_file};
use common::children::{Children, free_port_pair, until};
use common::{World, tools};
use std::ffi::OsString;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

const PIN: &str = "1234-user";

static MODULES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib64/pkcs11/libtpm2_pkcs11.so",
];

/// A TPM and what stands between it and its users.
struct Tpm {
    _services: Children,
    module: &'static str,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Tpm {
    /// `None`, said by name, where something of it is not installed.
    fn start(dir: &Path) -> Option<Self> {
        let Some(module) = MODULES.iter().find(|path| Path::new(path).exists()) else {
            tools::missing("the PKCS #11 module of TPMs (libtpm2_pkcs11.so)");
            return None;
        };
        for program in ["swtpm", "dbus-daemon", "tpm2_ptool", "tpm2"] {
            if !tools::have(program) {
                return None;
            }
        }
        // Not everybody has /usr/sbin in PATH.
        let manager = ["/usr/sbin/tpm2-abrmd", "/usr/bin/tpm2-abrmd"];
        let Some(manager) = manager.iter().find(|path| Path::new(path).exists()) else {
            tools::missing("tpm2-abrmd");
            return None;
        };
        let mut services = Children::default();
        let port = chip(&mut services, dir);
        let bus = dir.join("bus");
        let log = dir.join("bus.log");
        let address = format!("--address=unix:path={}", bus.display());
        let mut daemon = Command::new("dbus-daemon");
        services.start(
            daemon.args(["--session", "--nofork", "--nopidfile", &address]),
            &log,
        );
        until("a message bus", &log, || bus.exists());
        let mut address = OsString::from("unix:path=");
        address.push(&bus);
        let tcti = "tabrmd:bus_type=session";
        let environment = vec![
            ("DBUS_SESSION_BUS_ADDRESS", PathBuf::from(address)),
            ("TPM2_PKCS11_STORE", dir.join("tpm-store")),
            ("TPM2_PKCS11_TCTI", PathBuf::from(tcti)),
            ("TPM2TOOLS_TCTI", PathBuf::from(tcti)),
        ];
        let log = dir.join("manager.log");
        let chip = format!("--tcti=swtpm:host=127.0.0.1,port={port}");
        let mut command = Command::new(manager);
        command.args(["--session", "--allow-root", &chip]);
        services.start(command.envs(environment.clone()), &log);
        let tpm = Self {
            _services: services,
            module,
            environment,
        };
        let answers = || tpm.answers(&["getcap", "properties-fixed"]);
        until("the resource manager", &log, answers);
        std::fs::create_dir(dir.join("tpm-store")).unwrap();
        Some(tpm)
    }

    /// Whether the chip does as `tpm2` asks it.
    fn answers(&self, arguments: &[&str]) -> bool {
        let mut ask = Command::new("tpm2");
        let asked = ask.args(arguments).envs(self.environment.clone());
        asked.output().unwrap().status.success()
    }

    /// Makes the token as the module's manual has it.
    fn with_token(self, dir: &Path) -> (Self, Fixture) {
        let store = dir.join("tpm-store");
        let path = store.to_str().unwrap();
        let make = |arguments: &[&str]| {
            let mut command = Command::new("tpm2_ptool");
            let made = command.args(arguments).args(["--path", path]);
            let made = made.envs(self.environment.clone()).output().unwrap();
            assert!(made.status.success(), "{}", tools::text(&made));
        };
        make(&["init"]);
        let pin = format!("--userpin={PIN}");
        make(&[
            "addtoken",
            "--pid=1",
            "--label=hallmark",
            &pin,
            "--sopin=1234-officer",
        ]);
        let pin = private_file(dir, "pin", &format!("{PIN}\n"));
        let settings = format!(
            "key_backend = \"pkcs11\"\n[signer.pkcs11]\nmodule = {:?}\ntoken = \"hallmark\"\n\
             pin_file = {pin:?}\npaths = [{store:?}]\n",
            self.module
        );
        let environment = self.environment.clone();
        (
            self,
            Fixture {
                settings,
                environment,
            },
        )
    }
}

/// The TPM itself; returns its port.
fn chip(services: &mut Children, dir: &Path) -> u16 {
    let state = dir.join("tpm");
    std::fs::create_dir(&state).unwrap();
    let log = dir.join("tpm.log");
    let at = |port: u16| format!("type=tcp,port={port},bindaddr=127.0.0.1");
    // Somebody else may take a port between the look and the chip.
    for _ in 0..5 {
        let port = free_port_pair();
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg(format!("--tpmstate=dir={}", state.display()))
            .args(["--server", &at(port), "--ctrl", &at(port + 1)]);
        services.start(&mut command, &log);
        let mut is_gone = false;
        // The command port takes one client, which the resource manager is to be.
        until("a TPM", &log, || {
            let answers = TcpStream::connect(("127.0.0.1", port + 1)).is_ok();
            // Looked at last: another may have answered in its place.
            is_gone = services.last_has_ended();
            answers || is_gone
        });
        if !is_gone {
            return port;
        }
        services.end_last();
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    panic!("no TPM starts: {said}");
}

#[test]
fn keys_in_a_tpm_keep_the_contract_of_all_backends() {
    let world = World::prepared();
    let Some(tpm) = Tpm::start(world.dir.path()) else {
        return;
    };
    let has_rsa4096 = tpm.answers(&["testparms", "rsa4096"]);
    let (_tpm, fixture) = tpm.with_token(world.dir.path());
    let Some(rpm) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let program = |algorithm| Program {
        world: &world,
        fixture: fixture.clone(),
        algorithm,
    };
    let mut lacks = vec![(
        "ed25519",
        "makes no Ed25519 key: it has no mechanism for that",
    )];
    // How long they may be is a property of the chip.
    if !has_rsa4096 {
        lacks.push((
            "rsa4096",
            "makes no RSA-4096 key: its RSA keys have 1024 to ",
        ));
    }
    for (algorithm, says) in lacks {
        let refused = program(algorithm).run(&["init"]);
        let said = tools::text(&refused);
        assert!(
            !refused.status.success() && said.contains(says),
            "{algorithm}: {said}"
        );
    }
    contract(&program("rsa3072"), &rpm[0]);
}
