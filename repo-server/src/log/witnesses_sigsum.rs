//! A witness of other makers: Sigsum's own (Debian's package `sigsum-go`), as it is in the client root. It speaks C2SP
//! `tlog-witness`, too, and knows one log, whose name is made of the log's key.

use super::*;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KEY_TOOL: &str = "sigsum-key";
const WITNESS: &str = "sigsum-witness";

/// A program of the client root; it needs no more than the C library of this machine.
fn program(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("HALLMARK_CACHE").unwrap_or_else(|| "/var/cache/hallmark".into());
    let path = Path::new(&cache).join("forky/usr/bin").join(name);
    let starts = Command::new(&path).arg("--help").output().is_ok();
    if !starts {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing");
        eprintln!(
            "skipped: sigsum_s_witness: {} is not there (scripts/make-forky.sh makes it)",
            path.display()
        );
    }
    starts.then_some(path)
}

fn run(program: &Path, dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.current_dir(dir).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The log's key under the name that Sigsum gives it.
fn log_key() -> LogKey {
    let key = |name: &str| LogKey::from_seed(name, SignatureKind::Log, &[1; 32]).unwrap();
    let spki = key("any").public().to_spki_der();
    let raw = spki.last_chunk::<32>().unwrap();
    key(&format!("sigsum.org/v1/tree/{}", FileDigest::of(raw)))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The witness, told of the log.
fn start(witness: &Path, keys: &Path, dir: &Path) -> (Running, Witness) {
    std::fs::write(dir.join("log.vkey"), log_key().public().to_string()).unwrap();
    run(keys, dir, &["from-vkey", "-k", "log.vkey", "-o", "log.pub"]);
    run(keys, dir, &["generate", "-o", "own"]);
    let hash = run(keys, dir, &["to-hash", "-k", "own.pub"]);
    let name = format!("sigsum.org/v1/witness/{hash}");
    let kind = ["-t", "cosignature/v1"];
    let to_vkey = [&["to-vkey", "-k", "own.pub", "-n", &name][..], &kind].concat();
    let key: VerifierKey = run(keys, dir, &to_vkey).parse().unwrap();
    assert_eq!(key.kind(), SignatureKind::Cosignature);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut command = Command::new(witness);
    command.current_dir(dir).stderr(Stdio::null());
    let settings = ["-k", "own", "--log-key", "log.pub", "--state-file", "state"];
    let child = command.args(settings).arg(&address).spawn().unwrap();
    let running = Running(child);
    for _ in 0..200 {
        if TcpStream::connect(&address).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let witness = Witness {
        name,
        key,
        url: Some(format!("http://{address}")),
    };
    (running, witness)
}

#[test]
fn sigsum_s_witness_cosigns_our_heads_and_is_understood_when_it_does_not() {
    let (Some(witness), Some(keys)) = (program(WITNESS), program(KEY_TOOL)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (_running, witness) = start(&witness, &keys, dir.path());
    let ask = |size: u32, salt: u8, known: u64| {
        let log = log_of(&log_key(), size, salt);
        let answer = ask_at(&log, std::slice::from_ref(&witness), known).remove(0);
        (log.head, answer)
    };
    // From wherever it stands, also when we think that it stands elsewhere.
    for (size, known) in [(5, 0), (300, 5), (300, 300), (301, 5), (70_000, 301)] {
        let (mut head, answer) = ask(size, 0, known);
        head.signatures.push(answer.unwrap());
        let verified = head.verified_by(&witness.key);
        assert!(matches!(verified, Ok(Some(_))), "{size}");
    }
    for (size, known) in [(70_000, 70_000), (70_001, 70_000), (70_001, 0)] {
        let (_, answer) = ask(size, 1, known);
        assert!(matches!(answer, Err(Problem::Forked)), "{size}: {answer:?}");
    }
    let (_, answer) = ask(600, 0, 0);
    let ahead = matches!(
        answer,
        Err(Problem::Ahead {
            seen: 70_000,
            size: 600
        })
    );
    assert!(ahead, "{answer:?}");
    // A log that it does not know, and a head that the log's key did not sign.
    let other = log(5, 0);
    let answer = ask_at(&other, std::slice::from_ref(&witness), 0).remove(0);
    let refused = matches!(answer, Err(Problem::Refused { status: 404, .. }));
    assert!(refused, "{answer:?}");
    let mut unsigned = log_of(&log_key(), 80_000, 0);
    unsigned.head.signatures = other.head.signatures;
    let answer = ask_at(&unsigned, std::slice::from_ref(&witness), 70_000).remove(0);
    let refused = matches!(answer, Err(Problem::Refused { status: 400, .. }));
    assert!(refused, "{answer:?}");
}
