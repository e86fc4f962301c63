//! Keys in siguldry: its server, bridge, signer and client proxy as real processes, and its PKCS #11 module in ours.
//!
//! Its module shows each key as a token of its own and makes none: keys are made by its own tools.
//! Building it takes longer than all tests here: `make test-siguldry` does both.

mod common;

use common::backends::{Fixture, Program, contract, private_file};
use common::children::{Children, free_port_pair, until};
use common::serving::Serving;
use common::{Rpm, World, rebuilds, tools};
use hallmark_signer::client::ClientError;
use hallmark_signer::journal;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What unlocks every key.
const PASSWORD: &str = "correct horse battery staple";
/// Names and algorithms: the first key of each role, and the next one. Those of RSA have names of their own.
const KEYS: [(&str, &str); 10] = [
    ("package-key", "ed25519"),
    ("package-key-2", "ed25519"),
    ("metadata-key", "ed25519"),
    ("metadata-key-2", "ed25519"),
    ("statement-key", "p256"),
    ("statement-key-2", "p256"),
    ("fedora-packages", "rsa4k"),
    ("fedora-packages-2", "rsa4k"),
    ("fedora-metadata", "rsa4k"),
    ("fedora-metadata-2", "rsa4k"),
];
/// Which of them are the OpenPGP keys of a signer with RSA.
const RSA_NAMES: &str = "names = { package-key = \"fedora-packages\", package-key-2 = \"fedora-packages-2\", \
                         metadata-key = \"fedora-metadata\", metadata-key-2 = \"fedora-metadata-2\" }\n";

/// All of siguldry on this machine.
struct Siguldry {
    services: Children,
    folder: PathBuf,
    dir: PathBuf,
}

impl Siguldry {
    /// `None`, said by name, where it was not built.
    fn start(dir: &Path) -> Option<Self> {
        let cache =
            std::env::var("HALLMARK_CACHE").unwrap_or_else(|_| "/var/cache/hallmark".into());
        let folder = PathBuf::from(cache).join("siguldry");
        if !folder.join("lib/libsiguldry_pkcs11.so").exists() {
            tools::missing("siguldry (tests/lab/make-siguldry.sh)");
            return None;
        }
        if !tools::have("openssl") {
            return None;
        }
        let dir = dir.join("siguldry");
        std::fs::create_dir(&dir).unwrap();
        for (name, usage, alternative) in [
            (
                "siguldry-server",
                "clientAuth,serverAuth",
                "siguldry-server",
            ),
            ("bridge", "serverAuth", "localhost"),
            ("hallmark", "clientAuth", "hallmark"),
        ] {
            certificate(&dir, name, usage, alternative);
        }
        let mut siguldry = Self {
            services: Children::default(),
            folder,
            dir,
        };
        siguldry.serve();
        Some(siguldry)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn program(&self, name: &str, config: &str) -> Command {
        let mut command = Command::new(self.folder.join("bin").join(name));
        command.args(["--config", &self.path(config)]);
        command
    }

    /// The three paths of somebody's TLS certificate.
    fn credentials(&self, name: &str) -> String {
        format!(
            "[credentials]\nprivate_key = {:?}\ncertificate = {:?}\nca_certificate = {:?}\n",
            self.path(&format!("{name}.key")),
            self.path(&format!("{name}.pem")),
            self.path("ca.pem")
        )
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    /// Database, keys, and everything that serves but the proxy.
    fn serve(&mut self) {
        let port = free_port_pair();
        let bridge = format!(
            "server_listening_address = \"127.0.0.1:{port}\"\n\
             client_listening_address = \"127.0.0.1:{}\"\n{}",
            port + 1,
            self.credentials("bridge")
        );
        self.write("bridge.toml", &bridge);
        let server = format!(
            "state_directory = {:?}\nsigner_socket_path = {:?}\nbridge_hostname = \"localhost\"\n\
             bridge_port = {port}\nconnection_pool_size = 4\nuser_password_length = 16\n\
             pkcs11_bindings = []\n{}\
             [certificate_subject]\ncountry = \"DE\"\nstate_or_province = \"A\"\nlocality = \"B\"\n\
             organization = \"C\"\norganizational_unit = \"D\"\n",
            self.path(""),
            self.path("signer.sock"),
            self.credentials("siguldry-server")
        );
        self.write("server.toml", &server);
        let client = format!(
            "server_hostname = \"siguldry-server\"\nbridge_hostname = \"localhost\"\nbridge_port = {}\n",
            port + 1
        );
        self.write("client.head", &client);
        private_file(&self.dir, "password", &format!("{PASSWORD}\n"));
        self.manage(&["migrate"]);
        self.manage(&["users", "create", "hallmark"]);
        for (name, algorithm) in KEYS {
            let algorithm = ["--algorithm", algorithm];
            self.manage(&[&["key", "create"][..], &algorithm, &["hallmark", name]].concat());
        }
        let signer = self.dir.join("signer.sock");
        let log = self.dir.join("signer.log");
        let mut command = Command::new(self.folder.join("bin/siguldry-signer"));
        self.services
            .start(command.arg("--socket").arg(&signer), &log);
        until("siguldry's signer", &log, || signer.exists());
        let here = self.path("");
        let log = self.dir.join("bridge.log");
        let mut command = self.program("siguldry-bridge", "bridge.toml");
        command.args(["listen", "--credentials-directory", &here]);
        self.services.start(&mut command, &log);
        until("siguldry's bridge", &log, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let log = self.dir.join("server.log");
        let mut command = self.program("siguldry-server", "server.toml");
        command.args(["listen", "--credentials-directory", &here]);
        self.services.start(&mut command, &log);
    }

    /// Runs one command of the server's administrator, who types the password.
    fn manage(&self, arguments: &[&str]) {
        let mut command = self.program("siguldry-server", "server.toml");
        let piped = command.arg("manage").args(arguments).stdin(Stdio::piped());
        let piped = piped.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut typed = child.stdin.take().unwrap();
        // Who asks for none has closed its end.
        let _ = std::io::Write::write_all(&mut typed, format!("{PASSWORD}\n").as_bytes());
        drop(typed);
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            tools::text(&output)
        );
    }

    /// The proxy that the module speaks to; it unlocks these keys by itself.
    fn proxy(&mut self, unlocked: &[&str]) {
        let mut text = std::fs::read_to_string(self.dir.join("client.head")).unwrap();
        text.push_str(match unlocked {
            [] => "keys = []\n",
            _ => "",
        });
        text.push_str(&self.credentials("hallmark"));
        for name in unlocked {
            text.push_str(&format!(
                "[[keys]]\nkey_name = {name:?}\npassphrase_path = {:?}\n",
                self.path("password")
            ));
        }
        self.write("client.toml", &text);
        let mut ask = self.program("siguldry-client", "client.toml");
        ask.arg("whoami");
        let log = self.dir.join("proxy.log");
        let server = self.dir.join("server.log");
        until("siguldry's server", &server, || {
            Command::new(ask.get_program())
                .args(ask.get_args())
                .output()
                .unwrap()
                .status
                .success()
        });
        let socket = self.dir.join("proxy.sock");
        let _ = std::fs::remove_file(&socket);
        let mut command = self.program("siguldry-client", "client.toml");
        command.args(["proxy", "--mode", "bind", "--socket"]);
        self.services.start(command.arg(&socket), &log);
        until("siguldry's proxy", &log, || socket.exists());
    }

    /// How our signer is told of it.
    fn fixture(&self, more: &str) -> Fixture {
        Fixture {
            settings: format!(
                "key_backend = \"pkcs11\"\n[signer.pkcs11]\nmodule = {:?}\n{more}",
                self.folder.join("lib/libsiguldry_pkcs11.so")
            ),
            environment: vec![
                ("LIBSIGULDRY_PKCS11_PROXY_PATH", self.dir.join("proxy.sock")),
                ("LIBSIGULDRY_PKCS11_LOG", PathBuf::from("error")),
            ],
        }
    }
}

/// A key and a certificate for it by one authority, which is made first.
fn certificate(dir: &Path, name: &str, usage: &str, alternative: &str) {
    let at = |name: &str| dir.join(name).display().to_string();
    if !dir.join("ca.pem").exists() {
        let (key, certificate) = (at("ca.key"), at("ca.pem"));
        tools::ok(
            "openssl",
            &[
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "rsa:2048",
                "-days",
                "9",
                "-subj",
                "/CN=authority",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        );
    }
    let (key, request) = (at(&format!("{name}.key")), at(&format!("{name}.csr")));
    let subject = format!("/CN={name}");
    let usage = format!("extendedKeyUsage = {usage}");
    let alternative = format!("subjectAltName = DNS:{alternative}");
    tools::ok(
        "openssl",
        &[
            "req",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-subj",
            &subject,
            "-addext",
            &usage,
            "-addext",
            &alternative,
            "-keyout",
            &key,
            "-out",
            &request,
        ],
    );
    let certificate = at(&format!("{name}.pem"));
    tools::ok(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-days",
            "9",
            "-copy_extensions",
            "copyall",
            "-out",
            &certificate,
        ],
    );
}

#[test]
#[ignore = "siguldry takes minutes to build: make test-siguldry"]
fn keys_in_siguldry_keep_the_contract_of_all_backends() {
    let services = World::prepared();
    let Some(mut siguldry) = Siguldry::start(services.dir.path()) else {
        return;
    };
    siguldry.proxy(&KEYS.map(|(name, _)| name));
    for (algorithm, names) in [("ed25519", ""), ("rsa4096", RSA_NAMES)] {
        let world = World::prepared();
        let Some(rpm) = tools::built(world.dir.path(), &["assayed"]) else {
            return;
        };
        let program = Program {
            world: &world,
            fixture: siguldry.fixture(names),
            algorithm,
        };
        contract(&program, &rpm[0]);
        // A third key was not made there.
        let staged = program.run(&["key", "stage", "metadata"]);
        let said = tools::text(&staged);
        let says = "the module has no token of that name; make one called `metadata-key-3`";
        assert!(
            !staged.status.success() && said.contains(says),
            "{algorithm}: {said}"
        );
    }
}

#[test]
#[ignore = "siguldry takes minutes to build: make test-siguldry"]
fn siguldry_is_given_the_secret_by_its_proxy_or_by_us_and_nothing_is_signed_while_it_is_away() {
    let world = World::prepared();
    let Some(mut siguldry) = Siguldry::start(world.dir.path()) else {
        return;
    };
    siguldry.proxy(&[]);
    let mut program = Program {
        world: &world,
        fixture: siguldry.fixture(""),
        algorithm: "ed25519",
    };
    let refused = tools::text(&program.run(&["init"]));
    assert!(
        refused.contains("the token package-key wants a PIN"),
        "{refused}"
    );
    let pin = |text: &str| private_file(world.dir.path(), "pin", text);
    let with_pin = |file: PathBuf| siguldry.fixture(&format!("pin_file = {file:?}\n"));
    program.fixture = with_pin(pin("not the password of any key"));
    let refused = tools::text(&program.run(&["init"]));
    assert!(
        refused.contains("cannot log in to the token package-key"),
        "{refused}"
    );
    program.fixture = with_pin(pin(PASSWORD));
    let made = program.run(&["init"]);
    assert!(made.status.success(), "{}", tools::text(&made));
    let serving: Serving = program.serve();
    let rpm = Rpm::probe("probe");
    world.sign(&rpm);
    let lines = || journal::verify(&world.journal()).unwrap().records;
    let before = lines();
    // The proxy goes away: no key, no record, and whoever asks is told to come back.
    siguldry.services.end_last();
    let other = Rpm::probe("other");
    let answer = world.ask(&other, &rebuilds(&other));
    assert!(
        matches!(answer, Err(ClientError::Failed { .. })),
        "{answer:?}"
    );
    assert_eq!(lines(), before);
    drop(serving);
    siguldry.proxy(&[]);
    let _serving = program.serve();
    world.sign(&other);
}
