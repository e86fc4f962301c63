//! The disk is full at each write: the request is refused by name, nothing that was acknowledged is
//! lost, the journal still verifies, and all goes on when there is room again.
//!
//! A limit on the size of files (setrlimit(2), RLIMIT_FSIZE) stands for the full disk: it can be put at
//! every byte, and needs no rights.

mod common;

use common::{Rpm, World, rebuilds, tools};
use hallmark_signer::client::ClientError;
use hallmark_signer::journal;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program with a world's configuration; no file may grow beyond `limit` bytes.
fn program(world: &World, limit: Option<u64>, command: &str) -> Command {
    let config = world.dir.path().join("hallmark.toml");
    let quoted = |path: &Path| serde_json::to_string(path).unwrap();
    let text = format!(
        "[signer]\nsocket = {}\nstate_dir = {}\npolicy_file = {}\nunsigned_policy = true\n",
        quoted(&world.config.socket),
        quoted(&world.config.state_dir),
        quoted(&world.config.policy_file)
    );
    std::fs::write(&config, text).unwrap();
    let binary = env!("CARGO_BIN_EXE_hallmark-signer");
    let mut program = match limit {
        None => Command::new(binary),
        Some(bytes) => {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--fsize={bytes}")).arg(binary);
            limited
        }
    };
    program.arg(command).arg("--config").arg(config);
    program
}

struct Serving(Child);

impl Serving {
    /// `None` when it did not come up.
    fn start(world: &World, limit: Option<u64>) -> Option<Self> {
        let mut command = program(world, limit, "serve");
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(&world.config.socket).is_err() {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < deadline, "not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self(child))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_full_disk_refuses_the_request_by_name_and_loses_nothing() {
    if !tools::have("prlimit") {
        return;
    }
    let world = World::prepared();
    assert!(program(&world, None, "init").status().unwrap().success());
    let (first, second) = (Rpm::probe("first"), Rpm::probe("second"));
    let serving = Serving::start(&world, None).unwrap();
    let signed = world.sign(&first);
    drop(serving);
    let kept = std::fs::read(world.journal()).unwrap();
    let start_line = kept
        .split_inclusive(|byte| *byte == b'\n')
        .next()
        .unwrap()
        .len() as u64;
    let room = kept.len() as u64;
    // No room for the record of the start: it does not start.
    for limit in [room, room + 1, room + start_line - 1] {
        assert!(Serving::start(&world, Some(limit)).is_none(), "{limit}");
        let report = journal::verify(&world.journal()).unwrap();
        assert_eq!((report.records, report.torn_bytes), (2, 0), "{limit}");
    }
    // Room for the start, and for more and more of the record of the signature.
    let mut refused = 0;
    for more in [0, 1, 17, 200, 400, 700] {
        let before = std::fs::metadata(world.journal()).unwrap().len();
        let serving = Serving::start(&world, Some(before + start_line + more)).unwrap();
        let answer = world.ask(&second, &rebuilds(&second));
        let Err(ClientError::Failed { message }) = &answer else {
            panic!("{more}: {answer:?}")
        };
        assert!(message.contains("cannot be written down"), "{message}");
        // It still answers what needs no record.
        world.client().identity().unwrap();
        drop(serving);
        refused += 1;
        let report = journal::verify(&world.journal()).unwrap();
        assert_eq!(
            (report.records, report.torn_bytes),
            (2 + refused, 0),
            "{more}"
        );
        assert!(std::fs::read(world.journal()).unwrap().starts_with(&kept));
    }
    // Room again: the same request is signed, and what was signed before is known.
    let _serving = Serving::start(&world, None).unwrap();
    world.sign(&second);
    assert_eq!(world.sign(&first).signature_header, signed.signature_header);
}

#[test]
fn a_full_disk_leaves_no_half_key_behind() {
    if !tools::have("prlimit") {
        return;
    }
    let mut completed = 0;
    for limit in [0, 1, 100, 300, 600, 100_000] {
        let world = World::prepared();
        let first = program(&world, Some(limit), "init").output().unwrap();
        let state = &world.config.state_dir;
        if first.status.success() {
            completed += 1;
        } else {
            let said = tools::text(&first);
            assert!(said.contains("cannot write"), "{limit}: {said}");
        }
        // Whatever has a key's name is a whole key.
        for entry in std::fs::read_dir(state).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with('.') && path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                let is_list = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                let is_whole = is_list || text.trim_end().ends_with("-----");
                assert!(is_whole, "{limit}: {name}");
            }
        }
        let second = program(&world, None, "init").output().unwrap();
        assert!(second.status.success(), "{limit}: {}", tools::text(&second));
    }
    assert!(completed >= 1, "the last limit is none");
}
