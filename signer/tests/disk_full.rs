//! The disk is full at each write: the request is refused by name, nothing that was acknowledged is
//! lost, the journal still verifies, and all goes on when there is room again.
//!
//! A limit on the size of files (setrlimit(2), RLIMIT_FSIZE) stands for the full disk: it can be put at
//! every byte, and needs no rights.

mod common;

use common::serving::{self, Serving};
use common::{Rpm, World, rebuilds, tools};
use hallmark_signer::client::ClientError;
use hallmark_signer::journal;
use repo_model::log::VerifierKey;
use std::process::Command;

/// The program; no file of it may grow beyond `limit` bytes.
fn program(world: &World, limit: Option<u64>, command: &str) -> Command {
    let limited = limit.map(|bytes| vec!["prlimit".to_owned(), format!("--fsize={bytes}")]);
    serving::within(&limited.unwrap_or_default(), world, &[command], "")
}

/// `None` when it did not come up.
fn serve(world: &World, limit: Option<u64>) -> Option<Serving> {
    Serving::start(world, program(world, limit, "serve"))
}

#[test]
fn a_full_disk_refuses_the_request_by_name_and_loses_nothing() {
    if !tools::have("prlimit") {
        return;
    }
    let world = World::prepared();
    assert!(program(&world, None, "init").status().unwrap().success());
    let (first, second) = (Rpm::probe("first"), Rpm::probe("second"));
    let serving = serve(&world, None).unwrap();
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
        assert!(serve(&world, Some(limit)).is_none(), "{limit}");
        let report = journal::verify(&world.journal()).unwrap();
        assert_eq!((report.records, report.torn_bytes), (2, 0), "{limit}");
    }
    // Room for the start, and for more and more of the record of the signature.
    let mut refused = 0;
    for more in [0, 1, 17, 200, 400, 700] {
        let before = std::fs::metadata(world.journal()).unwrap().len();
        let serving = serve(&world, Some(before + start_line + more)).unwrap();
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
    let _serving = serve(&world, None).unwrap();
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
                // The log's public key is one line, `NAME+HASH+KEY`.
                let is_log_key =
                    text.ends_with('\n') && text.trim_end().parse::<VerifierKey>().is_ok();
                let is_whole = is_list || is_log_key || text.trim_end().ends_with("-----");
                assert!(is_whole, "{limit}: {name}");
            }
        }
        let second = program(&world, None, "init").output().unwrap();
        assert!(second.status.success(), "{limit}: {}", tools::text(&second));
    }
    assert!(completed >= 1, "the last limit is none");
}
