//! Signing the head of the transparency log: only one that goes on from the last head signed here, so that
//! not even the server's operator can have two histories signed.

use super::{Desk, DeskError, bad_request};
use crate::journal::{Event, clipped};
use repo_model::log::{Checkpoint, NodeHash, Note, empty_root, verify_consistency};
use repo_model::wire::signer::{CheckpointRequest, Request, Response};
use repo_model::{FileDigest, Timestamp};

/// Answers what is about the log's head; `None` for every other request. No policy is asked: what was
/// said is logged also while none is in force.
pub(super) fn answer(
    desk: &Desk,
    request: &Request,
    digest: FileDigest,
    now: Timestamp,
) -> Result<Option<Response>, DeskError> {
    match request {
        Request::LastCheckpoint => {
            let last = desk.ledger()?.index.last_checkpoint();
            let size = last.map_or(0, |(size, _)| size);
            Ok(Some(Response::LastCheckpoint { size }))
        }
        Request::SignCheckpoint(wanted) => sign(desk, digest, wanted, now).map(Some),
        Request::Identity
        | Request::LastRelease
        | Request::SignPackage { .. }
        | Request::SignFile { .. }
        | Request::SignRelease { .. }
        | Request::AnnounceMove(_)
        | Request::AnnounceKeys
        | Request::AnnounceRebuilder(_)
        | Request::SignFreshness(_)
        | Request::SignSightings(_)
        | Request::SaySignatures
        | Request::ShowSignatures(_) => Ok(None),
    }
}

/// Signs a checkpoint, or the last one again. The ledger stays locked from the look to the record.
fn sign(
    desk: &Desk,
    request: FileDigest,
    wanted: &CheckpointRequest,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let mut ledger = desk.ledger()?;
    let (size, root) = ledger.index.last_checkpoint().unwrap_or((0, empty_root()));
    if let Some(reason) = objection((size, root), wanted) {
        drop(ledger);
        tracing::error!(
            alarm = "log-forked",
            "ALARM: the head of the log is not signed: {reason}"
        );
        let reason = clipped(&reason);
        let message = reason.clone();
        desk.record(now, Event::CheckpointRefused { request, reason })?;
        return Ok(bad_request(message));
    }
    let note = signed(desk, wanted, now)?;
    if ledger.index.last_checkpoint() != Some((wanted.size, wanted.root)) {
        let event = Event::CheckpointSigned {
            size: wanted.size,
            root: wanted.root,
        };
        let written = ledger.record(now, event)?;
        drop(ledger);
        written.durable()?;
    }
    Ok(Response::CheckpointSigned {
        note: note.to_string(),
    })
}

/// The head with the signature of each of the log's keys.
fn signed(desk: &Desk, wanted: &CheckpointRequest, now: Timestamp) -> Result<Note, DeskError> {
    let keys = &desk.keys.log;
    let origin = keys.first().map(|key| key.public().name().to_owned());
    let checkpoint = Checkpoint {
        origin: origin.unwrap_or_default(),
        size: wanted.size,
        root: wanted.root,
    };
    let text = checkpoint.to_string();
    let signatures = keys.iter().map(|key| key.sign(&text, now));
    Ok(Note {
        signatures: signatures.collect::<Result<_, _>>()?,
        text,
    })
}

/// Why a head does not go on from the one signed last, if it does not.
fn objection((size, root): (u64, NodeHash), wanted: &CheckpointRequest) -> Option<String> {
    if wanted.size < size {
        return Some(format!(
            "the log has shrunk: {size} entries were signed before, now it is said to have {}",
            wanted.size
        ));
    }
    if wanted.before != size {
        return Some(format!(
            "the last checkpoint signed here has {size} entries, the proof starts from {}",
            wanted.before
        ));
    }
    verify_consistency(size, root, wanted.size, wanted.root, &wanted.proof)
        .err()
        .map(|error| {
            format!(
                "the log has forked: {} entries do not go on from the {size} signed before: {error}",
                wanted.size
            )
        })
}

#[cfg(test)]
mod tests {
    use super::super::Desk;
    use super::*;
    use repo_model::config::SignerConfig;
    use repo_model::log::consistency_proof;
    use repo_model::log::testkit::Leaves;

    fn request(before: u64, size: u64, salt: &str) -> CheckpointRequest {
        let mut all = Leaves::salted(size, salt);
        let root = all.root();
        let Ok(proof) = consistency_proof(before, size, &mut all);
        CheckpointRequest {
            size,
            root,
            before,
            proof,
        }
    }

    const SECS: i64 = 1_763_600_000;

    fn desk(directory: &std::path::Path) -> Desk {
        let policy_file = directory.join("policy.toml");
        std::fs::write(&policy_file, "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\nrequire_provenance = false\n").unwrap();
        let config = SignerConfig {
            state_dir: directory.join("state"),
            policy_file,
            unsigned_policy: true,
            ..SignerConfig::default()
        };
        crate::keys::init(&config, Timestamp::from_unix_secs(SECS)).unwrap();
        Desk::open(&config, Timestamp::from_unix_secs(SECS)).unwrap()
    }

    fn ask(desk: &Desk, wanted: &CheckpointRequest) -> Result<String, String> {
        match sign(
            desk,
            FileDigest::of(b""),
            wanted,
            Timestamp::from_unix_secs(SECS),
        )
        .unwrap()
        {
            Response::CheckpointSigned { note } => Ok(note),
            Response::BadRequest { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_that_grows_is_signed_and_one_that_forks_or_shrinks_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let signer = desk(directory.path());
        let first = ask(&signer, &request(0, 5, "a")).unwrap();
        let note = Note::parse(first.as_bytes()).unwrap();
        assert_eq!(signer.keys.log.len(), 2, "its own and the post-quantum one");
        for key in &signer.keys.log {
            let checkpoint = Checkpoint::open(&note, &key.public()).unwrap();
            assert_eq!(checkpoint.size, 5);
        }
        // Its answer was lost: the same again.
        let again = CheckpointRequest {
            before: 5,
            proof: Vec::new(),
            ..request(0, 5, "a")
        };
        assert_eq!(ask(&signer, &again).unwrap(), first);
        let forked = ask(&signer, &request(5, 9, "b")).unwrap_err();
        assert!(forked.contains("the log has forked: 9"), "{forked}");
        let behind = ask(&signer, &request(0, 7, "a")).unwrap_err();
        assert!(behind.contains("has 5 entries"), "{behind}");
        for before in [0, 5] {
            let shrunk = CheckpointRequest {
                before,
                ..request(0, 3, "a")
            };
            let shrunk = ask(&signer, &shrunk).unwrap_err();
            assert!(shrunk.contains("the log has shrunk: 5"), "{shrunk}");
        }
        drop(signer);
        // A signer that starts again remembers.
        let signer = desk(directory.path());
        assert!(ask(&signer, &request(0, 9, "b")).is_err());
        ask(&signer, &request(5, 9, "a")).unwrap();
    }
}
