//! A witness over HTTP: what it cosigns, what it refuses, and that it never forgets.

use super::*;
use axum::http::Request;
use repo_model::log::testkit::{Leaves, signed};
use repo_model::log::{
    LogKey, NoteSignature, SignatureKind, VerifierKey, consistency_proof, read_cosignatures,
};
use std::path::Path;
use tower::ServiceExt as _;

const NAME: &str = "w.example/1";

fn log() -> LogKey {
    LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
}

/// A new witness that watches the log.
fn made(dir: &Path) -> Vec<VerifierKey> {
    let keys = init(dir, NAME).unwrap();
    assert!(add_log(dir, &log().public()).unwrap());
    assert!(!add_log(dir, &log().public()).unwrap(), "once is enough");
    keys
}

fn start(dir: &Path, per_minute: u32) -> Router {
    router(Arc::new(
        Witness::open(Folder::open(dir).unwrap(), per_minute).unwrap(),
    ))
}

fn request(old: u64, size: u64, salt: &str) -> AddCheckpoint {
    let mut leaves = Leaves::salted(size, salt);
    let Ok(proof) = consistency_proof(old, size, &mut leaves);
    AddCheckpoint {
        old,
        proof,
        checkpoint: signed(&log(), size, leaves.root()),
    }
}

struct Answer {
    status: u16,
    media_type: String,
    body: String,
}

async fn post(router: &Router, body: impl Into<Body>) -> Answer {
    let request = Request::post("/add-checkpoint").body(body.into()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let media_type = &answer.headers()[header::CONTENT_TYPE];
    Answer {
        status: answer.status().as_u16(),
        media_type: media_type.to_str().unwrap().to_owned(),
        body: {
            let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
            String::from_utf8(bytes.unwrap().to_vec()).unwrap()
        },
    }
}

#[tokio::test]
async fn a_head_that_goes_on_is_cosigned_with_both_keys_and_remembered_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let keys = made(dir.path());
    let witness = start(dir.path(), 100);
    for (old, size) in [(0, 5), (5, 9), (9, 9)] {
        let request = request(old, size, "a");
        let answer = post(&witness, request.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut note = request.checkpoint;
        let lines: Vec<NoteSignature> = read_cosignatures(&answer.body).unwrap();
        note.signatures.extend(lines);
        for key in &keys {
            let at = note.verified_by(key).unwrap().expect("a time");
            assert!((now().unix_secs() - at.unix_secs()).abs() < 100);
        }
    }
    drop(witness);
    // Another start: a fork and a rollback find a witness that remembers.
    let witness = start(dir.path(), 100);
    for (old, size, salt, status) in [(9, 9, "b", 409), (9, 12, "b", 422), (5, 9, "a", 409)] {
        let answer = post(&witness, request(old, size, salt).to_string()).await;
        assert_eq!(answer.status, status, "{old} {size} {salt}");
        if status == 409 {
            assert_eq!(answer.body, "9\n");
            assert_eq!(answer.media_type, "text/x.tlog.size");
        }
    }
    let answer = post(&witness, request(9, 12, "a").to_string()).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn strangers_junk_and_crowds_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let witness = start(dir.path(), 2);
    let mut of_stranger = request(0, 5, "a");
    let stranger = LogKey::from_seed("log.other", SignatureKind::Log, &[1; 32]).unwrap();
    of_stranger.checkpoint = signed(&stranger, 5, Leaves::salted(5, "a").root());
    let mut of_thief = request(0, 5, "a");
    let thief = LogKey::from_seed("log.example", SignatureKind::Log, &[2; 32]).unwrap();
    of_thief.checkpoint = signed(&thief, 5, Leaves::salted(5, "a").root());
    for (body, status) in [
        (of_stranger.to_string(), 404),
        (of_thief.to_string(), 403),
        ("junk".to_owned(), 400),
        (String::new(), 400),
        ("x".repeat(MAX_REQUEST_BYTES + 1), 413),
    ] {
        assert_eq!(post(&witness, body).await.status, status);
    }
    assert_eq!(
        std::fs::read_dir(dir.path().join("heads")).unwrap().count(),
        0
    );
    let limit = async |old, size| {
        post(&witness, request(old, size, "a").to_string())
            .await
            .status
    };
    assert_eq!((limit(0, 1).await, limit(1, 2).await), (200, 200));
    assert_eq!(limit(2, 3).await, 429);
    assert_eq!(limit(1, 3).await, 409, "and it stays where it was");
    // The same head again is nothing new: neither counted nor written.
    let mut files = std::fs::read_dir(dir.path().join("heads")).unwrap();
    std::fs::remove_file(files.next().unwrap().unwrap().path()).unwrap();
    for _ in 0..5 {
        assert_eq!(limit(2, 2).await, 200);
    }
    assert_eq!(
        std::fs::read_dir(dir.path().join("heads")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn many_requests_at_once_never_take_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let keys = made(dir.path());
    let witness = start(dir.path(), 1_000);
    let all = (1..=20).map(|size| {
        let witness = witness.clone();
        tokio::spawn(async move {
            post(&witness, request(0, size, "a").to_string())
                .await
                .status
        })
    });
    let all: Vec<_> = all.collect();
    let mut cosigned = 0;
    for one in all {
        match one.await.unwrap() {
            200 => cosigned += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(cosigned, 1, "all of them start from nothing");
    assert_eq!(keys.len(), 2);
}

#[test]
fn a_folder_that_cannot_be_trusted_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Folder::open(dir.path()),
        Err(WitnessError::Read { .. })
    ));
    assert!(
        add_log(dir.path(), &log().public()).is_err(),
        "no witness yet"
    );
    let keys = made(dir.path());
    assert!(matches!(
        init(dir.path(), NAME),
        Err(WitnessError::Exists { .. })
    ));
    assert!(matches!(
        add_log(dir.path(), &keys[0]),
        Err(WitnessError::NotALog { .. })
    ));
    let folder = Folder::open(dir.path()).unwrap();
    assert!(matches!(
        Folder::open(dir.path()),
        Err(WitnessError::InUse { .. })
    ));
    let request = request(0, 5, "a");
    let head = request
        .judge(&[log().public()], |_| None)
        .expect("a good head");
    folder.keep(&head, &request.checkpoint).unwrap();
    let heads = std::fs::read_dir(dir.path().join("heads")).unwrap();
    let file = heads.map(|entry| entry.unwrap().path()).next().unwrap();
    std::fs::write(&file, "cut sho").unwrap();
    let opened = Witness::open(folder, 1);
    assert!(
        matches!(opened, Err(WitnessError::Head { .. })),
        "{opened:?}"
    );
    // Private keys are for their owner alone.
    let mode = std::fs::metadata(dir.path().join("witness-key-pqc.pem")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
}
