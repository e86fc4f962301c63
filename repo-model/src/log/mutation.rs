//! Notes, proofs, bundles, tiles and their paths with bytes changed and cut: every reader answers or refuses,
//! never panics, and believes nothing that was not signed.

use super::*;
use crate::Timestamp;
use crate::bundle::{self, Bundle};
use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use std::time::{Duration, Instant};

/// A log of three entries, with what leads to the second.
struct World {
    log: LogKey,
    entry: Vec<u8>,
    proof: LogProof,
    bundle: Vec<u8>,
    tile: Vec<u8>,
    /// Two witnesses and their quorum, both of whom cosigned.
    witnesses: WitnessPolicy,
    /// What a witness is asked about the log's first three entries, and what it answers.
    request: AddCheckpoint,
    answer: String,
    at: Timestamp,
}

fn world() -> World {
    let log = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
    let key = StatementKey::from_seed(&[2; 32]).unwrap();
    let envelope = key.sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
    let entry = entry(&envelope, &key.public()).unwrap();
    let (first, second, third) = (leaf_hash(b"a"), leaf_hash(&entry), leaf_hash(b"c"));
    let root = node_hash(node_hash(first, second), third);
    let text = format!("log.example\n3\n{}\n", root.to_base64());
    let at = Timestamp::from_unix_secs(1_763_600_000);
    let witness = |kind| LogKey::from_seed("w.example", kind, &[3; 32]).unwrap();
    let cosigners = [
        log.clone(),
        witness(SignatureKind::Cosignature),
        witness(SignatureKind::MlDsa44),
    ];
    let lines = cosigners.iter().map(|key| key.sign(&text, at).unwrap());
    let proof = LogProof {
        extra: Some(b"x".to_vec()),
        index: 1,
        hashes: vec![first, third],
        checkpoint: Note {
            signatures: lines.collect(),
            text,
        },
    };
    let lines = [
        &proof.checkpoint.signatures[1],
        &proof.checkpoint.signatures[2],
    ];
    let [classic, quantum] = [&cosigners[1], &cosigners[2]].map(LogKey::public);
    let policy = format!("witness a {classic}\nwitness b {quantum}\ngroup g all a b\nquorum g\n");
    World {
        witnesses: policy.parse().unwrap(),
        request: AddCheckpoint {
            old: 0,
            proof: Vec::new(),
            checkpoint: proof.checkpoint.clone(),
        },
        answer: lines.map(ToString::to_string).concat(),
        at,
        bundle: bundle::logged(&envelope, &entry, &proof, &log.public()).unwrap(),
        tile: write_bundle([&b"a"[..], &entry, b"c"]).unwrap(),
        log,
        entry,
        proof,
    }
}

/// Bytes changed at places (as fractions of the length), then perhaps a cut.
fn edits() -> impl Strategy<Value = (Vec<(u32, u8)>, Option<u32>)> {
    (
        prop::collection::vec((any::<u32>(), any::<u8>()), 1..4),
        prop::option::weighted(0.1, any::<u32>()),
    )
}

fn changed(bytes: &[u8], edits: &(Vec<(u32, u8)>, Option<u32>)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, byte) in &edits.0 {
        let place = *place as usize % bytes.len();
        bytes[place] = *byte;
    }
    if let Some(cut) = edits.1 {
        bytes.truncate(cut as usize % bytes.len());
    }
    bytes
}

/// Whatever reads must say the same three entries and the same root as what was signed.
fn check(world: &World, edits: &(Vec<(u32, u8)>, Option<u32>)) {
    let key = world.log.public();
    let good = Checkpoint::open(&world.proof.checkpoint, &key).unwrap();
    let note = changed(world.proof.checkpoint.to_string().as_bytes(), edits);
    if let Ok(note) = Note::parse(&note)
        && let Ok(checkpoint) = Checkpoint::open(&note, &key)
    {
        assert_eq!(checkpoint, good);
    }
    let proof = changed(world.proof.to_string().as_bytes(), edits);
    if let Ok(proof) = String::from_utf8_lossy(&proof).parse::<LogProof>()
        && let Ok(checkpoint) = proof.verify(&world.entry, &key)
    {
        assert_eq!((checkpoint, proof.index), (good.clone(), 1));
    }
    if let Ok(bundle) = Bundle::from_json(&changed(&world.bundle, edits)) {
        for place in &bundle.places {
            if let Ok(checkpoint) = place.proof.verify(&world.entry, &key) {
                assert_eq!((checkpoint, place.proof.index), (good.clone(), 1));
            }
        }
    }
    let tile = changed(&world.tile, edits);
    if let Some(entries) = read_bundle(&tile) {
        assert!(entries.iter().map(|entry| entry.len()).sum::<usize>() <= tile.len());
    }
    for path in ["tile/0/x001/234.p/17", "tile/entries/x001/x234/067"] {
        let path = changed(path.as_bytes(), edits);
        let path = String::from_utf8_lossy(&path);
        if let Ok(tile) = path.parse::<Tile>() {
            assert_eq!(tile.to_string(), path, "one spelling");
        }
    }
    check_witnesses(world, &good, edits);
    let vkey = changed(key.to_string().as_bytes(), edits);
    if let Ok(read) = String::from_utf8_lossy(&vkey).parse::<VerifierKey>() {
        assert_eq!(read, key, "its own hash binds name and key");
    }
}

/// A witness cosigns nothing that the log did not sign, and nobody else's line is taken for a witness's.
fn check_witnesses(world: &World, good: &Checkpoint, edits: &(Vec<(u32, u8)>, Option<u32>)) {
    let key = world.log.public();
    let request = changed(world.request.to_string().as_bytes(), edits);
    if let Ok(request) = AddCheckpoint::parse(&request)
        && let Ok(head) = request.judge(&[key], |_| None)
    {
        assert_eq!(head, *good);
    }
    let answer = changed(world.answer.as_bytes(), edits);
    let text = String::from_utf8_lossy(&answer);
    let policy = changed(world.witnesses.to_string().as_bytes(), edits);
    if let Ok(signatures) = read_cosignatures(&text) {
        let head = Note {
            text: good.to_string(),
            signatures,
        };
        for seen in world.witnesses.seen(&head, world.at) {
            assert_eq!(seen.at, world.at, "the time is signed");
        }
    }
    if let Ok(policy) = String::from_utf8_lossy(&policy).parse::<WitnessPolicy>() {
        // Names may be others, keys never: their own hash binds them.
        let keys = |policy: &WitnessPolicy| -> Vec<VerifierKey> {
            let all = policy.witnesses().iter();
            all.map(|witness| witness.key.clone()).collect()
        };
        let known = keys(&world.witnesses);
        assert!(keys(&policy).iter().all(|key| known.contains(key)));
        let seen = policy.seen(&world.proof.checkpoint, world.at);
        assert!(policy.is_quorum(&seen) || seen.len() < 2 || !policy.demands_some());
    }
    let _ = read_size(&text);
}

#[test]
fn no_mutation_is_believed_or_makes_a_reader_panic() {
    let world = world();
    let config = ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(edits in edits())| check(&world, &edits));
}

#[test]
fn no_single_wrong_byte_is_believed() {
    let world = world();
    // Every place of the short texts, and one in seven of what is long for its post-quantum signature.
    let longest = world.bundle.len() as u32;
    for place in (0..longest).filter(|place| *place < 1_500 || place % 7 == 0) {
        for byte in [0, b'\n', b' ', b'0', b'A', b'+', 0x80, 0xff] {
            check(&world, &(vec![(place, byte)], None));
        }
        check(&world, &(Vec::new(), Some(place)));
    }
}

/// Goes on from seeds of its own for `HALLMARK_FUZZ_SECS` seconds.
#[test]
fn longer_mutation_believes_nothing_either() {
    let secs = std::env::var("HALLMARK_FUZZ_SECS");
    let Some(secs) = secs.ok().and_then(|secs| secs.parse().ok()) else {
        return;
    };
    let world = world();
    let mut runner = proptest::test_runner::TestRunner::default();
    let until = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < until {
        let tree = edits().new_tree(&mut runner).unwrap();
        check(&world, &tree.current());
    }
}

/// Proofs of any length between any sizes are verified or refused, quickly.
#[test]
fn proofs_over_any_sizes_are_refused_or_right() {
    let hash = leaf_hash(b"x");
    let config = ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(a: u64, b: u64, count in 0_usize..70)| {
        let proof = vec![hash; count];
        prop_assert!(verify_inclusion(a, b, hash, &proof, node_hash(hash, leaf_hash(b"y"))).is_err());
        let consistent = verify_consistency(a, hash, b, leaf_hash(b"y"), &proof);
        prop_assert!(consistent.is_err());
    });
}
