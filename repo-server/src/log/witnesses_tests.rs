//! What the log makes of its witnesses: good ones, ones that were told another history, and ones that lie.

use super::super::tiles::Tiles;
use super::*;
use crate::db::log::LogEntry;
use crate::http::listen::{self, Limits};
use crate::witness::{self, Folder};
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post;
use repo_model::log::testkit::signed;
use repo_model::log::{LogKey, SignatureKind, VerifierKey};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

#[path = "witnesses_sigsum.rs"]
mod sigsum;

/// A log of so many entries on disk, told apart by `salt`.
struct Log {
    dir: tempfile::TempDir,
    head: Note,
    checkpoint: Checkpoint,
}

fn log_key() -> LogKey {
    LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
}

fn log(size: u32, salt: u8) -> Log {
    log_of(&log_key(), size, salt)
}

fn log_of(key: &LogKey, size: u32, salt: u8) -> Log {
    let dir = tempfile::tempdir().unwrap();
    let entry = |n: u32| {
        let entry = [&n.to_be_bytes()[..], &[salt]].concat();
        LogEntry {
            statement: FileDigest::of(&entry),
            entry,
        }
    };
    let mut tree = Tiles::open(dir.path(), 0);
    tree.extend((0..size).map(entry).collect()).unwrap();
    let root = tree.root().unwrap();
    tree.write().unwrap();
    let head = signed(key, u64::from(size), root);
    let checkpoint = Checkpoint::open(&head, &key.public()).unwrap();
    Log {
        dir,
        head,
        checkpoint,
    }
}

fn serve(runtime: &Runtime, router: Router) -> String {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    runtime.spawn(listen::serve(listener, router, Limits::of(16), stop));
    url
}

/// A real one; its keys in the policy.
fn real(runtime: &Runtime, dir: &Path, name: &str) -> Vec<Witness> {
    let keys = witness::init(dir, name).unwrap();
    witness::add_log(dir, &log_key().public()).unwrap();
    let opened = witness::Witness::open(Folder::open(dir).unwrap(), 1_000).unwrap();
    let url = serve(runtime, witness::router(opened.into()));
    let of = |key: VerifierKey| Witness {
        name: format!("{name}-{}", key.kind().name()),
        key,
        url: Some(url.clone()),
    };
    keys.into_iter().map(of).collect()
}

fn ask_at(log: &Log, witnesses: &[Witness], known: u64) -> Vec<Result<NoteSignature, Problem>> {
    let all = witnesses.iter().cloned().map(|witness| (witness, known));
    let asked = ask_all(log.dir.path(), all, &log.head, &log.checkpoint);
    asked.into_iter().map(|(_, answer)| answer).collect()
}

#[test]
fn witnesses_follow_a_log_from_wherever_they_stand_and_stop_at_a_fork() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let both = real(&runtime, dir.path(), "w.example");
    for (size, known) in [(5, 0), (300, 0), (301, 300), (301, 301)] {
        let log = log(size, 0);
        let mut head = log.head.clone();
        for answer in ask_at(&log, &both, known) {
            head.signatures.push(answer.unwrap());
        }
        for witness in &both {
            assert!(
                matches!(head.verified_by(&witness.key), Ok(Some(_))),
                "{size}"
            );
        }
    }
    // Its data directory and the signer's were put back, and it went on another way: three sizes of it.
    for (size, known) in [(301, 0), (400, 0), (400, 301)] {
        for answer in ask_at(&log(size, 1), &both, known) {
            assert!(matches!(answer, Err(Problem::Forked)), "{size}: {answer:?}");
        }
    }
    for answer in ask_at(&log(200, 0), &both, 0) {
        let ahead = matches!(
            answer,
            Err(Problem::Ahead {
                seen: 301,
                size: 200
            })
        );
        assert!(ahead, "{answer:?}");
        let problem = answer.unwrap_err();
        assert!(problem.is_alarm());
        // Unless the log has signed as much as the witness has seen: then it was asked late.
        assert!(problem.is_overtaken(301) && !problem.is_overtaken(300));
    }
    // It was not moved by any of that.
    assert!(ask_at(&log(500, 0), &both, 0).iter().all(Result::is_ok));
}

#[test]
fn a_witness_that_lies_or_is_away_gives_nothing_and_holds_up_nobody() {
    let runtime = Runtime::new().unwrap();
    let key = LogKey::from_seed("w.example", SignatureKind::Cosignature, &[9; 32]).unwrap();
    let thief = LogKey::from_seed("w.example", SignatureKind::Cosignature, &[8; 32]).unwrap();
    let log = log(5, 0);
    let at = repo_model::Timestamp::from_unix_secs(1_700_000_000);
    let good = key.sign(&log.head.text, at).unwrap().to_string();
    let of_thief = thief.sign(&log.head.text, at).unwrap().to_string();
    let of_other = key.sign("log.example\n6\nAAAA\n", at).unwrap().to_string();
    let table = [
        (200, "text/plain", format!("{of_thief}{good}"), None),
        (200, "text/plain", of_thief, Some("no cosignature")),
        (200, "text/plain", of_other, Some("no cosignature")),
        (
            200,
            "text/plain",
            "junk\n".to_owned(),
            Some("no cosignature"),
        ),
        (200, "text/plain", "x".repeat(1 << 20), Some("")),
        (
            500,
            "text/plain",
            "no\u{7} more\nhere".to_owned(),
            Some("it answers 500: no more"),
        ),
        (
            409,
            "text/plain",
            "5\n".to_owned(),
            Some("it answers 409: 5"),
        ),
        (
            409,
            SIZE_MEDIA_TYPE,
            "05\n".to_owned(),
            Some("it answers 409"),
        ),
        (
            409,
            SIZE_MEDIA_TYPE,
            "7\n".to_owned(),
            Some("it has cosigned 7 entries"),
        ),
        (
            409,
            SIZE_MEDIA_TYPE,
            "0\n".to_owned(),
            Some("another history"),
        ),
        (302, "text/plain", String::new(), Some("")),
    ];
    for (status, media_type, body, problem) in table {
        let status_code = axum::http::StatusCode::from_u16(status).unwrap();
        let answer = move || async move {
            let headers = [("content-type", media_type), ("location", "/elsewhere")];
            (status_code, headers, body).into_response()
        };
        let url = serve(
            &runtime,
            Router::new().route("/add-checkpoint", post(answer)),
        );
        let witness = Witness {
            name: "w".to_owned(),
            key: key.public(),
            url: Some(url),
        };
        let found = ask_at(&log, &[witness], 0).remove(0);
        match problem {
            None => assert!(found.is_ok(), "{found:?}"),
            Some(words) => {
                let said = jobs::chain(&found.unwrap_err());
                assert!(said.contains(words), "{status} {media_type}: {said}");
            }
        }
    }
    // One that never answers costs its own time alone, and the others' answers count.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut all = real(&runtime, dir.path(), "good.example");
    all.push(Witness {
        name: "silent".to_owned(),
        key: key.public(),
        url: Some(format!("http://{}", silent.local_addr().unwrap())),
    });
    let since = Instant::now();
    let answers = ask_at(&log, &all, 0);
    assert!(since.elapsed() < TIMEOUT * 2, "{:?}", since.elapsed());
    let good: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, true, false]);
}

#[test]
fn a_head_takes_no_more_cosignatures_than_can_be_read_back() {
    let mut head = log(5, 0).head;
    for seed in 0..30 {
        let name = format!("w{seed}.example");
        let key = LogKey::from_seed(&name, SignatureKind::MlDsa44, &[seed; 32]).unwrap();
        let witness = Witness {
            name,
            key: key.public(),
            url: None,
        };
        let line = key.sign(&head.text, now()).unwrap();
        add_line(&mut head, &witness, line.clone());
        add_line(&mut head, &witness, line);
        assert!(Note::parse(head.to_string().as_bytes()).is_ok(), "{seed}");
    }
    assert!((18..30).contains(&head.signatures.len()));
}

#[test]
fn what_is_wrong_with_a_witness_is_told_until_it_cosigns_again() {
    let witness = Witness {
        name: "w1".to_owned(),
        key: LogKey::from_seed("w", SignatureKind::Cosignature, &[9; 32])
            .unwrap()
            .public(),
        url: None,
    };
    let policy = format!("witness w1 {}\nquorum w1\n", witness.key);
    let policy: WitnessPolicy = policy.parse().unwrap();
    let book = Witnesses::default();
    assert!(!book.rests(&witness));
    book.note(&witness, 7, &Err(Problem::Unsigned));
    assert!(book.rests(&witness));
    let told = book.problems(&policy);
    assert!(
        told.starts_with("; w1: its answer has no cosignature"),
        "{told}"
    );
    let key = LogKey::from_seed("w", SignatureKind::Cosignature, &[9; 32]).unwrap();
    let line = key.sign("x", now()).unwrap();
    book.note(&witness, 7, &Ok(line));
    assert_eq!((book.size(&witness), book.rests(&witness)), (7, false));
    assert_eq!(book.problems(&policy), "");
    assert!(book.may_renew() && !book.may_renew(), "not every second");
}
