//! A signer on another host: only the pinned server gets through its gate, and the server speaks to the
//! right gate only. Real signer, real TLS, on this machine's own addresses.

use hallmark_signer::client::{Client, ClientError};
use hallmark_signer::keys;
use hallmark_signer::server::{Server, Stop};
use repo_model::config::{Config, GateConfig, ServerConfig, SignerConfig, SignerTlsConfig};
use repo_model::{FileDigest, Timestamp};
use repo_server::signer_link;
use repo_server::signer_link::gate::{Gate, GateError};
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio_util::sync::CancellationToken;

/// Runs openssl; panics when it fails.
fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .output()
        .expect("openssl runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments}: {said}");
}

/// An authority in files `NAME.pem`, `NAME.key`.
fn authority(dir: &Path, name: &str) {
    openssl(
        dir,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
             -keyout {name}.key -out {name}.pem"
        ),
    );
}

/// A certificate for localhost, vouched for by `by`.
fn certificate(dir: &Path, name: &str, by: &str) {
    openssl(
        dir,
        &format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ),
    );
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days 2 \
             -extfile names -out {name}.pem"
        ),
    );
    openssl(
        dir,
        &format!("x509 -in {name}.pem -outform DER -out {name}.der"),
    );
}

fn digest(dir: &Path, name: &str) -> FileDigest {
    FileDigest::of(&std::fs::read(dir.join(format!("{name}.der"))).unwrap())
}

struct Lab {
    dir: tempfile::TempDir,
    config: Config,
    stop: Stop,
}

impl Lab {
    /// A signer that serves, and certificates: `gate` and `server` of `ours`, `stranger` of `theirs`,
    /// `colleague` of `ours` but not pinned.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "openssl is missing");
            eprintln!("SKIPPED: openssl is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["ours", "theirs"] {
            authority(dir.path(), name);
        }
        for (name, by) in [
            ("gate", "ours"),
            ("server", "ours"),
            ("colleague", "ours"),
            ("stranger", "theirs"),
        ] {
            certificate(dir.path(), name, by);
        }
        let signer = SignerConfig {
            socket: at("signer.sock"),
            state_dir: at("state"),
            policy_file: at("policy.toml"),
            unsigned_policy: true,
            sandbox: false,
            ..SignerConfig::default()
        };
        let policy = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\n";
        std::fs::write(&signer.policy_file, policy).unwrap();
        keys::init(&signer, Timestamp::from_unix_secs(1_763_600_000)).unwrap();
        let server = Server::open(&signer).unwrap();
        let stop = Stop::default();
        let told = stop.clone();
        std::thread::spawn(move || server.serve(&told).unwrap());
        let gate = GateConfig {
            listen: "127.0.0.1:0".to_owned(),
            certificate: at("gate.pem"),
            private_key: at("gate.key"),
            authority: at("ours.pem"),
            peer_sha256: vec![digest(dir.path(), "server")],
        };
        let config = Config {
            signer,
            gate: Some(gate),
            ..Config::default()
        };
        Some(Self { dir, config, stop })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a server needs that shows `certificate` and trusts `authority`.
    fn server(&self, port: u16, certificate: &str, authority: &str) -> ServerConfig {
        let tls = SignerTlsConfig {
            address: format!("localhost:{port}"),
            certificate: self.at(&format!("{certificate}.pem")),
            private_key: self.at(&format!("{certificate}.key")),
            authority: self.at(&format!("{authority}.pem")),
            peer_sha256: Vec::new(),
        };
        ServerConfig {
            signer_tls: Some(tls),
            ..ServerConfig::default()
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

async fn identity(server: ServerConfig) -> Result<String, ClientError> {
    let ask = move || signer_link::connect(&server)?.identity();
    let identity = tokio::task::spawn_blocking(ask).await.unwrap()?;
    Ok(identity.statement_key)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_pinned_server_gets_through_and_only_to_the_right_gate() {
    let Some(lab) = Lab::new() else { return };
    let gate = Gate::open(&lab.config).await.unwrap();
    let port = gate.address().unwrap().port();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(gate.serve(stop.clone()));

    let through = identity(lab.server(port, "server", "ours")).await.unwrap();
    let mut direct = Client::connect(&lab.config.signer.socket).unwrap();
    assert_eq!(through, direct.identity().unwrap().statement_key);

    for (what, server) in [
        (
            "another authority's certificate",
            lab.server(port, "stranger", "ours"),
        ),
        (
            "a certificate that is not pinned",
            lab.server(port, "colleague", "ours"),
        ),
        (
            "a gate of another authority",
            lab.server(port, "server", "theirs"),
        ),
    ] {
        let error = identity(server).await.unwrap_err();
        assert!(
            matches!(error, ClientError::Unreachable { .. }),
            "{what}: {error:?}"
        );
    }
    // The right authority, another gate than the one that is named.
    let mut elsewhere = lab.server(port, "server", "ours");
    if let Some(tls) = &mut elsewhere.signer_tls {
        tls.peer_sha256 = vec![digest(lab.dir.path(), "colleague")];
    }
    let error = identity(elsewhere.clone()).await.unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("NotPinned"), "{said}");
    if let Some(tls) = &mut elsewhere.signer_tls {
        tls.peer_sha256 = vec![digest(lab.dir.path(), "gate")];
    }
    identity(elsewhere).await.unwrap();
    no_certificate_and_no_tls(port).await;

    // Still there for the right one; gone when it stops.
    identity(lab.server(port, "server", "ours")).await.unwrap();
    stop.cancel();
    serving.await.unwrap();
    let error = identity(lab.server(port, "server", "ours"))
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

/// Who shows nothing hears nothing.
async fn no_certificate_and_no_tls(port: u16) {
    let output = tokio::task::spawn_blocking(move || {
        Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-connect",
                &format!("localhost:{port}"),
            ])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    });
    let said = output.await.unwrap();
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(text.contains("certificate required"), "{text}");
    let plain = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .write_all(b"\x00\x00\x00\x16{\"request\":\"identity\"}")
            .unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    let heard = plain.await.unwrap();
    assert!(!String::from_utf8_lossy(&heard).contains("response"));
}

#[tokio::test]
async fn a_gate_without_pins_or_with_wrong_files_does_not_open() {
    let Some(lab) = Lab::new() else { return };
    let with = |change: fn(&mut GateConfig)| {
        let mut config = lab.config.clone();
        change(config.gate.as_mut().unwrap());
        config
    };
    let open = |config: Config| async move { Gate::open(&config).await.unwrap_err() };
    let error = open(with(|gate| gate.peer_sha256.clear())).await;
    assert!(matches!(error, GateError::NoPins), "{error}");
    let error = open(with(|gate| gate.private_key = gate.certificate.clone())).await;
    assert!(error.to_string().contains("a private key"), "{error}");
    let error = open(Config::default()).await;
    assert!(matches!(error, GateError::NoGate), "{error}");
}
