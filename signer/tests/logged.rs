//! The log as the signer sees it: a server that was taken over keeps evidence to itself, or shows the signer
//! another log than everybody else. Each lie is refused by name, and each decision can be made again offline.

mod common;

use common::{A, B, Rpm, World, base, log::Log, now, policy_text, rebuilds, sboms, tools};
use hallmark_signer::client::{Client, ClientError, SignedPackage};
use hallmark_signer::frame;
use hallmark_signer::index::Index;
use hallmark_signer::journal::{self, Event, Record};
use hallmark_signer::keys;
use repo_model::dsse::Envelope;
use repo_model::log::{LogKey, NodeHash, Note, SignatureKind, leaf_hash};
use repo_model::policy::Reason;
use repo_model::policy::logged::LogProofs;
use repo_model::wire::signer::{Base64, Request};
use repo_model::{FileDigest, Timestamp};
use std::os::unix::net::UnixListener;
use std::process::Command;

/// A signer whose policy does not say that the log may be left out.
fn world(more: &str) -> World {
    let mut world = World::prepared();
    let text = policy_text(1, more).replace("require_log = false\n", "");
    assert!(!text.contains("require_log"));
    std::fs::write(&world.config.policy_file, text).unwrap();
    keys::init(&world.config, now()).unwrap();
    world.serve();
    world
}

fn ask(
    world: &World,
    rpm: &Rpm,
    envelopes: &[Envelope],
    log: Option<LogProofs>,
) -> Result<SignedPackage, ClientError> {
    let head = rpm.head.to_bytes();
    let mut client = world.client();
    client.sign_package(&base(), &head, envelopes, &sboms(rpm), log)
}

/// The codes and words of a refusal.
fn refused(answer: Result<SignedPackage, ClientError>) -> (Vec<&'static str>, String) {
    let Err(ClientError::Refused {
        held: true,
        reasons,
    }) = answer
    else {
        panic!("{answer:?}")
    };
    let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    (reasons.iter().map(Reason::code).collect(), words.join("; "))
}

fn records(world: &World) -> Vec<Record> {
    let mut all = Vec::new();
    journal::read(&world.journal(), |record| all.push(record.clone())).unwrap();
    all
}

#[test]
fn evidence_in_the_log_is_signed_and_the_journal_says_under_which_head() {
    let mut world = world("");
    let rpm = Rpm::probe("probe");
    let said = rebuilds(&rpm);
    let (mut log, proofs) = world.logged(&[(&said[0], A), (&said[1], B)]);
    ask(&world, &rpm, &said, Some(proofs.clone())).unwrap();
    // The log goes on; what is proven under the head of before still counts, also for a signer that starts
    // again.
    let later = Rpm::probe("later");
    let more = rebuilds(&later);
    let indexes = [log.add(&more[0], A), log.add(&more[1], B)];
    log.sign(&mut world.client());
    world.restart();
    ask(&world, &rpm, &said, Some(proofs)).unwrap();
    ask(&world, &later, &more, Some(log.proofs(&indexes))).unwrap();
    world.halt();
    let sizes: Vec<_> = records(&world)
        .iter()
        .filter_map(|record| match &record.event {
            Event::PackageSigned { log_size, .. } => Some(*log_size),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [Some(5), Some(5), Some(7)]);
}

#[test]
fn a_server_that_keeps_evidence_out_of_the_log_gets_no_signature() {
    let world = world("");
    let rpm = Rpm::probe("probe");
    let said = rebuilds(&rpm);
    let (log, good) = world.logged(&[(&said[0], A), (&said[1], B)]);
    let (codes, words) = refused(ask(&world, &rpm, &said, None));
    assert_eq!(codes, ["log-proofs-missing"]);
    assert!(words.contains("older than the signer"), "{words}");

    let with = |place| {
        let mut proofs = good.clone();
        proofs.places[1] = place;
        proofs
    };
    let mut forged = log.place(4, 5);
    forged.hashes[0] = leaf_hash(b"forged");
    for (what, proofs) in [
        ("missing", with(None)),
        ("another leaf", with(Some(log.place(3, 5)))),
        ("forged", with(Some(forged))),
    ] {
        let (codes, words) = refused(ask(&world, &rpm, &said, Some(proofs)));
        assert_eq!(codes, ["not-in-log"], "{what}");
        let digest = FileDigest::of(&said[1].to_json()).to_hex();
        assert!(words.contains(&digest), "{what}: {words}");
    }
    // Nothing of it was signed, and all of it is written down.
    let refusals = records(&world)
        .iter()
        .filter(|record| matches!(record.event, Event::PackageRefused { .. }))
        .count();
    assert_eq!(refusals, 4);
    ask(&world, &rpm, &said, Some(good)).unwrap();
}

#[test]
fn a_log_that_the_signer_has_not_signed_proves_nothing() {
    let world = world("");
    let rpm = Rpm::probe("probe");
    let said = rebuilds(&rpm);
    let (log, good) = world.logged(&[(&said[0], A), (&said[1], B)]);
    let name = world.client().identity().unwrap().log_key;
    let name = name.split('+').next().unwrap().to_owned();
    let head = |name: &str, log: &Log| {
        let key = LogKey::from_seed(name, SignatureKind::Log, &[7; 32]).unwrap();
        repo_model::log::testkit::signed(&key, log.size(), log.leaves.root()).to_string()
    };
    // Another history of the same length, and one that goes on where nobody has signed it.
    let mut fork = Log::default();
    let indexes = [fork.add(&said[0], A), fork.add(&said[1], B)];
    for n in 0..3_u8 {
        fork.leaves.0.push(leaf_hash(&[n]));
    }
    let mut longer = log.clone();
    longer.leaves.0.push(leaf_hash(b"one more"));
    let under = |head: String, log: &Log, indexes: [u64; 2]| LogProofs {
        head,
        places: indexes
            .iter()
            .map(|index| Some(log.place(*index, log.size())))
            .collect(),
    };
    for (what, proofs, says) in [
        (
            "a fork",
            under(head(&name, &fork), &fork, indexes),
            "another head of 5 entries",
        ),
        (
            "newer than seen",
            under(head(&name, &longer), &longer, [3, 4]),
            "it has 6 entries, the last one that was has 5",
        ),
        (
            "another log",
            under(head("log.other", &log), &log, [3, 4]),
            "of another log, log.other",
        ),
    ] {
        let (codes, words) = refused(ask(&world, &rpm, &said, Some(proofs)));
        assert_eq!(codes, ["log-head-unknown"], "{what}");
        assert!(words.contains(says), "{what}: {words}");
    }
    ask(&world, &rpm, &said, Some(good)).unwrap();
}

#[test]
fn a_head_that_too_few_witnesses_have_seen_is_not_enough() {
    let witness = |seed: u8| {
        let name = format!("w{seed}.example");
        LogKey::from_seed(&name, SignatureKind::Cosignature, &[seed; 32]).unwrap()
    };
    let listed: String = [1, 2]
        .map(|seed| format!("witness w{seed} {}\n", witness(seed).public()))
        .concat();
    let world = world(&format!(
        "witnesses = \"\"\"\n{listed}group both all w1 w2\nquorum both\n\"\"\""
    ));
    let rpm = Rpm::probe("probe");
    let said = rebuilds(&rpm);
    let (_, mut proofs) = world.logged(&[(&said[0], A), (&said[1], B)]);
    for seed in [1, 2] {
        let (codes, words) = refused(ask(&world, &rpm, &said, Some(proofs.clone())));
        assert_eq!(codes, ["log-not-witnessed"]);
        assert!(words.contains(&format!("{} of 2", seed - 1)), "{words}");
        let mut head = Note::parse(proofs.head.as_bytes()).unwrap();
        let line = witness(seed).sign(&head.text, now()).unwrap();
        head.signatures.push(line);
        proofs.head = head.to_string();
    }
    ask(&world, &rpm, &said, Some(proofs.clone())).unwrap();
    // A head that had its quorum once does not lend it to another.
    let mut other = Note::parse(proofs.head.as_bytes()).unwrap();
    other.signatures.pop();
    proofs.head = other.to_string();
    let (codes, _) = refused(ask(&world, &rpm, &said, Some(proofs)));
    assert_eq!(codes, ["log-not-witnessed"]);
}

#[test]
fn decisions_about_the_log_are_made_again_offline() {
    let mut world = world("");
    let rpm = Rpm::probe("probe");
    let said = rebuilds(&rpm);
    let (_, good) = world.logged(&[(&said[0], A), (&said[1], B)]);
    let mut hidden = good.clone();
    hidden.places[0] = None;
    for proofs in [None, Some(hidden.clone()), Some(good.clone())] {
        let _ = ask(&world, &rpm, &said, proofs);
    }
    world.halt();
    let path = world.dir.path().join("request.json");
    for (log, word) in [
        (None, "again    hold: the signer was sent no proof"),
        (Some(hidden), "again    hold: statement "),
        (Some(good), "again    release: rb-a; rb-b"),
    ] {
        let request = Request::SignPackage {
            repo: Some(base()),
            head: Base64(rpm.head.to_bytes()),
            envelopes: said.clone(),
            sboms: sboms(&rpm).into_iter().map(Base64).collect(),
            log,
        };
        std::fs::write(&path, serde_json::to_vec(&request).unwrap()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_hallmark-signer"))
            .args(["audit", "replay"])
            .arg(&path)
            .arg("--policy")
            .arg(&world.config.policy_file)
            .arg("--journal")
            .arg(world.journal())
            .output()
            .unwrap();
        let said = tools::text(&output);
        assert_eq!(output.status.code(), Some(0), "{word}: {said}");
        assert!(said.contains(word), "{word}: {said}");
        assert!(!said.contains("was not asked then"), "{said}");
    }
}

#[test]
fn a_signer_from_before_there_were_proofs_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("old.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // What its strict reading of requests comes to.
    let old = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let json = frame::receive(&mut stream).unwrap().unwrap();
        let mut fields: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert!(fields.as_object_mut().unwrap().remove("log").is_some());
        let message = "not a request: unknown field `log`, expected one of `repo`, `head`, \
                       `envelopes`, `sboms`";
        let answer = serde_json::json!({"response": "bad-request", "message": message});
        frame::send(&mut stream, &answer).unwrap();
    });
    let rpm = Rpm::probe("probe");
    let proofs = LogProofs {
        head: String::new(),
        places: Vec::new(),
    };
    let mut client = Client::connect(&socket).unwrap();
    let head = rpm.head.to_bytes();
    let answer = client.sign_package(&base(), &head, &[], &[], Some(proofs));
    old.join().unwrap();
    let Err(ClientError::Protocol { what }) = &answer else {
        panic!("{answer:?}")
    };
    assert!(what.contains("update the signer"), "{what}");
}

#[test]
fn a_bounded_number_of_heads_is_remembered_the_newest_ones() {
    let mut index = Index::default();
    let root = |size: u64| NodeHash::from_bytes(*FileDigest::of(&size.to_be_bytes()).as_bytes());
    for size in 1..=5_000 {
        index.note(&Record {
            seq: size,
            time: Timestamp::from_unix_secs(1_763_600_000),
            prev: FileDigest::of(b""),
            event: Event::CheckpointSigned {
                size,
                root: root(size),
            },
        });
    }
    assert_eq!(index.last_checkpoint(), Some((5_000, root(5_000))));
    assert_eq!(index.head(4_000), Some(root(4_000)));
    assert_eq!(index.head(904), None);
    assert_eq!(index.head(905), Some(root(905)));
}
