//! What the chain of roots lets through, and what it does not.

use super::document::{Key, Pointer, Root, Signed, Targets};
use super::*;
use ed25519_dalek::SigningKey;

fn now() -> Timestamp {
    Timestamp::from_unix_secs(1_763_600_000)
}
const POLICY: &[u8] = b"version = 1\n";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn later() -> Timestamp {
    now().plus_secs(86_400)
}

fn root(version: u64, seeds: &[u8], threshold: u32) -> Root {
    let keys: Vec<_> = seeds.iter().map(|s| key(*s).verifying_key()).collect();
    Root::new(&keys, threshold, version, later())
}

fn signed<T: serde::Serialize>(document: &T, by: &[u8]) -> Vec<u8> {
    let mut signed = Signed::unsigned(document).unwrap();
    for seed in by {
        signed.sign(&key(*seed)).unwrap();
    }
    signed.to_json().unwrap()
}

fn targets(version: u64) -> Targets {
    Targets::of_one("policy.toml", POLICY, version, later())
}

#[test]
fn two_of_three_vouch_for_a_policy_and_fewer_or_others_do_not() {
    let first = TrustedRoot::pinned(&signed(&root(1, &[1, 2, 3], 2), &[1, 3])).unwrap();
    let vouched = first
        .vouch(&signed(&targets(7), &[2, 3]), "policy.toml", POLICY, now())
        .unwrap();
    assert_eq!(vouched.targets_version, 7);
    assert_eq!(vouched.file, FileDigest::of(POLICY));
    for (what, by) in [
        ("nobody", &[][..]),
        ("one", &[1]),
        ("one of them twice", &[1, 1]),
        ("one and a stranger", &[1, 9]),
    ] {
        let refused = first.vouch(&signed(&targets(7), by), "policy.toml", POLICY, now());
        assert!(
            matches!(refused, Err(TrustError::Signatures { want: 2, .. })),
            "{what}: {refused:?}"
        );
    }
    // The same signature under two ids is one voice.
    let mut twice = Signed::read(&signed(&targets(7), &[1])).unwrap();
    let mut copy = twice.signatures[0].clone();
    copy.keyid = Key::of(&key(2).verifying_key()).id();
    twice.signatures.push(copy);
    let refused = first.vouch(&twice.to_json().unwrap(), "policy.toml", POLICY, now());
    assert!(matches!(
        refused,
        Err(TrustError::Signatures { have: 1, .. })
    ));
}

#[test]
fn another_file_another_name_and_another_document_are_refused() {
    let first = TrustedRoot::pinned(&signed(&root(1, &[1, 2], 2), &[1, 2])).unwrap();
    let good = signed(&targets(1), &[1, 2]);
    for (what, name, bytes) in [
        ("changed", "policy.toml", &b"version = 2\n"[..]),
        ("longer", "policy.toml", b"version = 1\n\n"),
        ("other name", "other.toml", POLICY),
    ] {
        let refused = first.vouch(&good, name, bytes, now());
        assert!(
            matches!(refused, Err(TrustError::Target { .. })),
            "{what}: {refused:?}"
        );
    }
    let mut altered = Signed::read(&good).unwrap();
    altered.signed["version"] = 9.into();
    let refused = first.vouch(&altered.to_json().unwrap(), "policy.toml", POLICY, now());
    assert!(matches!(
        refused,
        Err(TrustError::Signatures { have: 0, .. })
    ));
    let pointer = Pointer::to("snapshot", TARGETS_FILE, 1, later());
    for (what, bytes) in [
        ("a snapshot", signed(&pointer, &[1, 2])),
        ("a root", signed(&root(1, &[1, 2], 2), &[1, 2])),
        ("junk", b"{}".to_vec()),
        ("too long", vec![b' '; document::MAX_DOCUMENT_BYTES + 1]),
    ] {
        let refused = first.vouch(&bytes, "policy.toml", POLICY, now());
        assert!(
            matches!(refused, Err(TrustError::Document { .. })),
            "{what}: {refused:?}"
        );
    }
}

#[test]
fn what_expired_vouches_for_nothing_but_an_expired_root_may_lead_on() {
    let old = Root {
        expires: now(),
        ..root(1, &[1], 1)
    };
    let old = TrustedRoot::pinned(&signed(&old, &[1])).unwrap();
    let good = signed(&targets(1), &[1]);
    let refused = old.vouch(&good, "policy.toml", POLICY, now());
    assert!(
        matches!(&refused, Err(TrustError::Expired { file, .. }) if file == "1.root.json"),
        "{refused:?}"
    );
    let next = old.followed_by(&signed(&root(2, &[1], 1), &[1])).unwrap();
    next.vouch(&good, "policy.toml", POLICY, now()).unwrap();
    let refused = next.vouch(&good, "policy.toml", POLICY, later());
    assert!(matches!(refused, Err(TrustError::Expired { .. })));
}

#[test]
fn a_root_follows_only_with_both_thresholds_and_the_next_number() {
    let first = TrustedRoot::pinned(&signed(&root(1, &[1, 2, 3], 2), &[1, 2])).unwrap();
    // 3 leaves, 4 comes.
    let next = root(2, &[1, 2, 4], 2);
    let second = first.followed_by(&signed(&next, &[1, 2])).unwrap();
    assert_eq!(second.version(), 2);
    first.followed_by(&signed(&next, &[1, 3, 4])).unwrap();
    for (what, document, by) in [
        ("only the new keys", &next, &[1, 4][..]),
        ("only the old keys", &next, &[1, 3]),
        ("a version left out", &root(3, &[1, 2], 2), &[1, 2]),
        ("the same again", &root(1, &[1, 2, 3], 2), &[1, 2]),
        ("a lower threshold by one", &root(2, &[1, 2], 1), &[1]),
    ] {
        assert!(first.followed_by(&signed(document, by)).is_err(), "{what}");
    }
    // Who left has no voice any more.
    let refused = second.vouch(&signed(&targets(1), &[1, 3]), "policy.toml", POLICY, now());
    assert!(matches!(
        refused,
        Err(TrustError::Signatures { have: 1, .. })
    ));
}

#[test]
fn a_root_that_contradicts_itself_is_refused() {
    let good = root(1, &[1, 2], 2);
    let mut cases = Vec::new();
    for threshold in [0, 3] {
        let mut bad = good.clone();
        bad.roles.get_mut("targets").unwrap().threshold = threshold;
        cases.push((format!("threshold {threshold}"), bad));
    }
    let mut bad = good.clone();
    bad.roles.remove("timestamp");
    cases.push(("a role is missing".to_owned(), bad));
    let mut bad = good.clone();
    let (id, same) = bad.keys.pop_first().unwrap();
    bad.keys.insert("x".to_owned(), same.clone());
    bad.keys.insert(id, same);
    cases.push(("one key under two names".to_owned(), bad));
    let mut bad = good.clone();
    bad.keys.pop_first();
    cases.push(("a key is missing".to_owned(), bad));
    for (what, bad) in cases {
        let refused = TrustedRoot::pinned(&signed(&bad, &[1, 2]));
        assert!(
            matches!(refused, Err(TrustError::Document { .. })),
            "{what}: {refused:?}"
        );
    }
    let later_spec = Root {
        spec_version: "2.0.0".to_owned(),
        ..good.clone()
    };
    assert!(TrustedRoot::pinned(&signed(&later_spec, &[1, 2])).is_err());
    assert!(TrustedRoot::pinned(&signed(&good, &[1])).is_err());
}

#[test]
fn more_signatures_do_not_change_a_root_s_digest() {
    let document = root(1, &[1, 2, 3], 2);
    let digest = |by: &[u8]| {
        TrustedRoot::pinned(&signed(&document, by))
            .unwrap()
            .digest()
    };
    assert_eq!(digest(&[1, 2]), digest(&[3, 2, 1]));
}
