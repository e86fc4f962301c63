//! A server that lies about the log: what it sends, and what is said to it.

use super::*;
use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};
use crate::log::testkit::{Leaves, signed};
use crate::log::{LogKey, SignatureKind, inclusion_proof};
use std::collections::BTreeMap;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(1_700_000_000 + secs)
}

fn key(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).unwrap()
}

fn log_key() -> LogKey {
    LogKey::from_seed("log.example", SignatureKind::Log, &[99; 32]).unwrap()
}

fn witness(seed: u8) -> LogKey {
    let name = format!("w{seed}.example");
    LogKey::from_seed(&name, SignatureKind::Cosignature, &[seed; 32]).unwrap()
}

/// Rebuilders 1 and 2, and alice (3) and bob (4), who may waive.
fn policy(more: &str) -> Policy {
    let pem = |seed| key(seed).public().to_pem();
    let mut text =
        format!("version = 1\nmin_rebuilders = 2\nmin_operators = 2\nsbom_formats = []\n{more}\n");
    for seed in [1, 2] {
        text.push_str(&format!(
            "[[rebuilders]]\nname = \"r{seed}\"\noperator = \"op-{seed}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
            pem(seed)
        ));
    }
    for (person, seed) in [("alice", 3), ("bob", 4)] {
        text.push_str(&format!(
            "[[waiver_signers]]\nperson = \"{person}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
            pem(seed)
        ));
    }
    Policy::from_toml(&text).unwrap()
}

fn envelope(seed: u8, text: &str) -> Envelope {
    key(seed).sign(IN_TOTO_PAYLOAD_TYPE, text.as_bytes())
}

/// A log of so many entries of others, then these, each by the key of the seed beside it.
fn log(others: u64, envelopes: &[(Envelope, u8)]) -> Leaves {
    let mut all = Leaves::salted(others, "others");
    for (envelope, seed) in envelopes {
        let entry = entry(envelope, &key(*seed).public()).unwrap();
        all.0.push(leaf_hash(&entry));
    }
    all
}

fn places(log: &Leaves, from: u64, count: u64) -> Vec<Option<LogPlace>> {
    let size = log.0.len() as u64;
    let place = |index| {
        let Ok(hashes) = inclusion_proof(index, size, &mut log.clone());
        Some(LogPlace { index, hashes })
    };
    (from..from + count).map(place).collect()
}

fn head(log: &Leaves) -> Note {
    signed(&log_key(), log.0.len() as u64, log.root())
}

/// The heads that were signed.
struct Signed(BTreeMap<u64, NodeHash>);

impl Signed {
    fn of(logs: &[&Leaves]) -> Self {
        let one = |log: &&Leaves| (log.0.len() as u64, log.root());
        Self(logs.iter().map(one).collect())
    }
}

impl Heads for Signed {
    fn root(&self, size: u64) -> Option<NodeHash> {
        self.0.get(&size).copied()
    }

    fn newest(&self) -> u64 {
        self.0.keys().last().copied().unwrap_or(0)
    }

    fn is_origin(&self, origin: &str) -> bool {
        origin == "log.example"
    }
}

/// Three envelopes of which the first two count, at 5, 6 and 7 of a log of eight.
struct Case {
    envelopes: Vec<Envelope>,
    inputs: Vec<FileDigest>,
    log: Leaves,
    proofs: LogProofs,
}

fn case() -> Case {
    let envelopes = vec![
        envelope(1, "{\"a\":1}"),
        envelope(2, "{\"b\":2}"),
        envelope(9, "{\"c\":3}"),
    ];
    let seeds = [1, 2, 9];
    let entries: Vec<_> = envelopes.iter().cloned().zip(seeds).collect();
    let log = log(5, &entries);
    let inputs = envelopes[..2]
        .iter()
        .map(|one| FileDigest::of(&one.to_json()));
    let document = FileDigest::of(b"an SBOM");
    Case {
        inputs: inputs.chain([document]).collect(),
        proofs: LogProofs {
            head: head(&log).to_string(),
            places: places(&log, 5, 3),
        },
        envelopes,
        log,
    }
}

impl Case {
    fn judged(&self, policy: &Policy, heads: &Signed) -> Vec<Reason> {
        self.judged_with(policy, Some(&self.proofs), heads)
    }

    fn judged_with(
        &self,
        policy: &Policy,
        proofs: Option<&LogProofs>,
        heads: &Signed,
    ) -> Vec<Reason> {
        let counted = Counted {
            envelopes: &self.envelopes,
            inputs: &self.inputs,
            proofs,
        };
        objections(policy, counted, heads, at(0))
    }
}

fn codes(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(Reason::code).collect()
}

#[test]
fn evidence_under_a_head_that_was_signed_here_may_count() {
    let case = case();
    let policy = policy("");
    assert!(
        policy.require_log,
        "demanded unless the policy says otherwise"
    );
    let seen = Signed::of(&[&case.log]);
    assert_eq!(case.judged(&policy, &seen), []);
    // An earlier head of the signer's own is as good.
    let mut longer = case.log.clone();
    longer.0.extend(Leaves::salted(20, "later").0);
    assert_eq!(case.judged(&policy, &Signed::of(&[&case.log, &longer])), []);
    // What does not count need not be there.
    let mut proofs = case.proofs.clone();
    proofs.places[2] = None;
    assert_eq!(case.judged_with(&policy, Some(&proofs), &seen), []);
    // Nothing counted, so there is nothing to prove.
    let none = Case {
        inputs: Vec::new(),
        ..case
    };
    assert_eq!(none.judged_with(&policy, None, &seen), []);
}

#[test]
fn proofs_that_are_missing_forged_or_of_something_else_are_refused_by_name() {
    let case = case();
    let policy = policy("");
    let seen = Signed::of(&[&case.log]);
    assert_eq!(
        codes(&case.judged_with(&policy, None, &seen)),
        ["log-proofs-missing"]
    );
    let good = |at: usize| case.proofs.places[at].clone().unwrap();
    let changed = |change: fn(&mut LogPlace)| {
        let mut place = good(1);
        change(&mut place);
        Some(place)
    };
    for (what, second) in [
        ("missing", None),
        ("the leaf beside it", Some(good(0))),
        ("a stranger's leaf", Some(good(2))),
        ("not under the head", changed(|place| place.index = 8)),
        ("another index", changed(|place| place.index = 3)),
        (
            "a forged hash",
            changed(|place| place.hashes[0] = leaf_hash(b"forged")),
        ),
        ("cut short", changed(|place| place.hashes.truncate(1))),
        (
            "too long",
            changed(|place| place.hashes.push(leaf_hash(b""))),
        ),
    ] {
        let mut proofs = case.proofs.clone();
        proofs.places[1] = second;
        let reasons = case.judged_with(&policy, Some(&proofs), &seen);
        let [Reason::NotInLog { statement, .. }] = reasons.as_slice() else {
            panic!("{what}: {reasons:?}")
        };
        assert_eq!(*statement, case.inputs[1], "{what}");
    }
    let mut proofs = case.proofs.clone();
    proofs.places.clear();
    let reasons = case.judged_with(&policy, Some(&proofs), &seen);
    assert_eq!(codes(&reasons), ["not-in-log", "not-in-log"]);
}

#[test]
fn heads_that_were_not_signed_here_lead_nowhere() {
    let case = case();
    let policy = policy("");
    let other = log(8, &[]);
    let mut longer = case.log.clone();
    longer.0.extend(Leaves::salted(1, "later").0);
    let of_another = Checkpoint {
        origin: "log.other".to_owned(),
        size: 8,
        root: case.log.root(),
    };
    let stranger = LogKey::from_seed("log.other", SignatureKind::Log, &[98; 32]).unwrap();
    let note_of_another = signed(&stranger, 8, case.log.root());
    assert_eq!(note_of_another.text, of_another.to_string());
    for (what, head, seen, says) in [
        (
            "newer than any",
            head(&case.log).to_string(),
            Signed::of(&[&log(5, &[])]),
            "it has 8 entries, the last one that was has 5",
        ),
        (
            "never signed",
            head(&case.log).to_string(),
            Signed::of(&[&longer]),
            "no head of 8 entries is remembered",
        ),
        (
            "a fork",
            head(&case.log).to_string(),
            Signed::of(&[&other]),
            "another head of 8 entries",
        ),
        (
            "another log",
            note_of_another.to_string(),
            Signed::of(&[&case.log]),
            "of another log, log.other",
        ),
        (
            "no head at all",
            "rubbish".to_owned(),
            Signed::of(&[&case.log]),
            "not",
        ),
    ] {
        let proofs = LogProofs {
            head,
            ..case.proofs.clone()
        };
        let reasons = case.judged_with(&policy, Some(&proofs), &seen);
        assert_eq!(codes(&reasons), ["log-head-unknown"], "{what}");
        let words = reasons[0].to_string();
        assert!(words.contains(says), "{what}: {words}");
    }
}

#[test]
fn a_head_without_its_quorum_of_witnesses_is_refused() {
    let case = case();
    let seen = Signed::of(&[&case.log]);
    let mut text = String::new();
    for seed in [11, 12] {
        text.push_str(&format!("witness w{seed} {}\n", witness(seed).public()));
    }
    let demanded = |quorum: &str| policy(&format!("witnesses = \"\"\"{text}{quorum}\"\"\""));
    let both = demanded("group both all w11 w12\nquorum both\n");
    let reasons = case.judged(&both, &seen);
    assert_eq!(codes(&reasons), ["log-not-witnessed"]);
    let mut note = head(&case.log);
    for (seed, enough) in [(11, false), (12, true)] {
        let line = witness(seed).sign(&note.text, at(0)).unwrap();
        note.signatures.push(line);
        let proofs = LogProofs {
            head: note.to_string(),
            ..case.proofs.clone()
        };
        let reasons = case.judged_with(&both, Some(&proofs), &seen);
        assert_eq!(reasons.is_empty(), enough, "{seed}: {reasons:?}");
    }
    // Witnesses that are listed, and not demanded.
    assert_eq!(case.judged(&demanded("quorum none\n"), &seen), []);
}

/// One envelope that counts and is in the log, by the key of this seed.
fn alone(envelope: Envelope, by: u8) -> Case {
    let log = log(0, &[(envelope.clone(), by)]);
    Case {
        inputs: vec![FileDigest::of(&envelope.to_json())],
        envelopes: vec![envelope],
        proofs: LogProofs {
            head: head(&log).to_string(),
            places: places(&log, 0, 1),
        },
        log,
    }
}

#[test]
fn a_waiver_is_found_by_whichever_of_its_signers_the_log_has() {
    let said =
        format!("{{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":\"{WAIVER}\"}}");
    let mut waiver = envelope(3, &said);
    waiver.add_signature(&key(4)).unwrap();
    for by in [3, 4] {
        let case = alone(waiver.clone(), by);
        let seen = Signed::of(&[&case.log]);
        assert_eq!(case.judged(&policy(""), &seen), [], "{by}");
    }
}

#[test]
fn two_voices_in_one_envelope_are_not_in_the_log_by_the_entry_of_one() {
    // Who is not in the policy says nothing, so the entry shows all that counts.
    for (other, by, is_there) in [(2, 1, false), (2, 2, false), (9, 1, true)] {
        let mut both = envelope(1, "{\"a\":1}");
        both.add_signature(&key(other)).unwrap();
        let case = alone(both, by);
        let reasons = case.judged(&policy(""), &Signed::of(&[&case.log]));
        if is_there {
            assert_eq!(reasons, [], "{other} {by}");
            continue;
        }
        let [Reason::NotInLog { why, .. }] = reasons.as_slice() else {
            panic!("{other} {by}: {reasons:?}")
        };
        assert_eq!(why, "keys signed it of which the log shows only one");
    }
}

#[test]
fn a_policy_may_do_without_the_log() {
    let case = case();
    let policy = policy("require_log = false");
    let nothing = Signed(BTreeMap::new());
    assert_eq!(case.judged_with(&policy, None, &nothing), []);
}
