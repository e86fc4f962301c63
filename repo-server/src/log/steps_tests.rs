//! The log is cut off after each step of its write order, as by a crash, and finished by the same code. The signer is a
//! real one, with its journal, behind a socket.

use super::*;
use crate::db::log::LogEntry;
use hallmark_signer::desk::Desk;
use hallmark_signer::{frame, keys};
use repo_model::Timestamp;
use repo_model::config::{Config, SignerConfig};
use repo_model::log::{NodeHash, Tile, tiles_of, verify_consistency};
use repo_model::wire::signer::Request;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

/// Entries that each round adds: tiles become full in some of them.
const NEW: u64 = 150;

/// What was done of a round when it was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Entries have their places.
    Placed,
    /// The signer has signed the head, and nobody has heard of it.
    Signed,
    /// The signed head is in the database.
    Locked,
    /// Half of the tiles are written.
    HalfWritten,
    /// All tiles are written.
    Written,
    /// The head is served, and the database does not know.
    Served,
}

const ALL: [Done; 6] = [
    Done::Placed,
    Done::Signed,
    Done::Locked,
    Done::HalfWritten,
    Done::Written,
    Done::Served,
];

fn now() -> Timestamp {
    Timestamp::from_unix_secs(1_763_600_000)
}

/// A signer that answers for ever.
fn signer(dir: &Path, policy_file: &Path, socket: &Path) {
    let config = SignerConfig {
        state_dir: dir.join("state"),
        policy_file: policy_file.to_owned(),
        unsigned_policy: true,
        ..SignerConfig::default()
    };
    keys::init(&config, now()).unwrap();
    let desk = Arc::new(Desk::open(&config, now()).unwrap());
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let desk = Arc::clone(&desk);
            std::thread::spawn(move || answer(&desk, stream));
        }
    });
}

fn answer(desk: &Desk, mut stream: UnixStream) {
    while let Ok(Some(json)) = frame::receive(&mut stream) {
        let request: Request = serde_json::from_slice(&json).unwrap();
        let digest = FileDigest::of(&json);
        let answer = desk.answer(request, digest, &mut io::empty(), now());
        frame::send(&mut stream, &answer.unwrap()).unwrap();
    }
}

async fn app(dir: &Path) -> App {
    let (policy, socket) = (dir.join("policy.toml"), dir.join("signer.sock"));
    let rules = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nrequire_provenance = false\nsbom_formats = []\n";
    std::fs::write(&policy, rules).unwrap();
    signer(dir, &policy, &socket);
    let text = format!(
        "[server]\npublic_url = \"http://127.0.0.1:9\"\ndata_dir = \"{}\"\npolicy_file = \"{}\"\nsigner_socket = \"{}\"\n\n[[repo]]\nname = \"base\"\narches = [\"x86_64\"]\n",
        dir.join("data").display(),
        policy.display(),
        socket.display()
    );
    let config = Config::read(&text, []).unwrap();
    App::open(config, CancellationToken::new()).await.unwrap()
}

fn new_entries(from: u64) -> Vec<LogEntry> {
    let entry = |n: u64| LogEntry {
        statement: FileDigest::of(&n.to_be_bytes()),
        entry: format!("entry {n}").into_bytes(),
    };
    (from..from + NEW).map(entry).collect()
}

async fn progress(app: &App) -> Progress {
    app.db.read(db::log::progress).await.unwrap()
}

/// The steps of [`advance`], up to the one that is named.
async fn cut_off(app: &App, done: Done) {
    let from = progress(app).await.entries;
    let placed: Result<(), JobError> = app
        .db
        .write(move |tx| Ok(db::log::append(tx, &new_entries(from), None)?))
        .await;
    placed.unwrap();
    if done == Done::Placed {
        return;
    }
    let before = progress(app).await;
    if done == Done::Signed {
        return sign_unheard(app, before).await;
    }
    sign(app, before).await.unwrap();
    if done == Done::Locked {
        return;
    }
    write_tiles(app, done).await;
    if done != Done::Served {
        return;
    }
    let note = app.db.read(db::log::newest_checkpoint).await.unwrap();
    serve_checkpoint(app, note.unwrap()).await.unwrap();
}

/// The signer's answer is lost.
async fn sign_unheard(app: &App, before: Progress) {
    let (from, to) = (before.published, before.entries);
    let entries = app
        .db
        .read(move |connection| db::log::pending(connection, from, to))
        .await
        .unwrap();
    let (server, key) = (app.config.server.clone(), key(app).await.unwrap());
    let directory = directory(&server.data_dir);
    let signed = tokio::task::spawn_blocking(move || {
        let mut tree = Tiles::open(&directory, from);
        tree.extend(entries)?;
        sign_head(&server, &mut tree, &key)
    });
    signed.await.unwrap().unwrap();
}

async fn write_tiles(app: &App, done: Done) {
    let Progress {
        published, signed, ..
    } = progress(app).await;
    let entries = app
        .db
        .read(move |connection| db::log::pending(connection, published, signed))
        .await
        .unwrap();
    let directory = directory(&app.config.server.data_dir);
    let before = tempfile::tempdir().unwrap();
    copy(&directory, before.path());
    let mut tree = Tiles::open(&directory, published);
    tree.extend(entries).unwrap();
    tree.write().unwrap();
    if done != Done::HalfWritten {
        return;
    }
    // The first of them beside all that was there before: what they replace goes last.
    let written = tiles_of(published, signed);
    let first = written[..written.len() / 2].iter().map(Tile::to_string);
    let first: Vec<_> = first
        .map(|name| (std::fs::read(directory.join(&name)).unwrap(), name))
        .collect();
    std::fs::remove_dir_all(&directory).unwrap();
    copy(before.path(), &directory);
    for (content, name) in first {
        write_file(&directory.join(name), &content).unwrap();
    }
}

/// A folder with all below it; one that is not there is empty.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &place),
            false => drop(std::fs::copy(&path, place).unwrap()),
        }
    }
}

/// What is served is whole, and goes on from what was served before.
async fn check(app: &App, before: (u64, NodeHash), what: &str) -> (u64, NodeHash) {
    let all = progress(app).await;
    assert_eq!(
        (all.entries, all.entries),
        (all.signed, all.published),
        "{what}"
    );
    let directory = directory(&app.config.server.data_dir);
    let served = std::fs::read_to_string(directory.join(CHECKPOINT)).unwrap();
    let known = app.db.read(db::log::published_checkpoint).await.unwrap();
    assert_eq!(Some(&served), known.as_ref(), "{what}");
    let head = open(&served, &key(app).await.unwrap()).unwrap();
    assert_eq!(head.size, all.entries, "{what}");
    let mut tree = Tiles::open(&directory, head.size);
    assert_eq!(tree.root().unwrap(), head.root, "{what}");
    let proof = consistency_proof(before.0, head.size, &mut tree).unwrap();
    verify_consistency(before.0, before.1, head.size, head.root, &proof).unwrap();
    for n in [0, before.0, head.size - 1] {
        let entry = tiles::read_entry(&directory, n, head.size).unwrap();
        assert_eq!(entry, format!("entry {n}").into_bytes(), "{what}");
    }
    (head.size, head.root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_off_after_any_step_is_finished_by_the_same_code() {
    let dir = tempfile::tempdir().unwrap();
    let app = app(dir.path()).await;
    let mut head = (0, repo_model::log::empty_root());
    for (round, done) in ALL.into_iter().chain(ALL).enumerate() {
        cut_off(&app, done).await;
        let before = progress(&app).await;
        assert_eq!(before.published, head.0, "{done:?}: nothing counts as out");
        advance(&app, &[]).await.unwrap();
        head = check(&app, head, &format!("round {round}, {done:?}")).await;
        assert_eq!(
            head.0,
            NEW * (round as u64 + 1),
            "nothing is lost or there twice"
        );
    }
}
