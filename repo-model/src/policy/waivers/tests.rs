//! Which waivers count, for what, and how long.

use super::*;
use crate::dsse::StatementKey;
use crate::timestamp::CLOCK_SKEW_SECS;

fn now() -> Timestamp {
    Timestamp::from_unix_secs(1_763_600_000)
}

fn key(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).unwrap()
}

/// alice has two keys, bob and carol one each.
fn policy_text() -> String {
    let mut text = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\n\
                    max_waiver_days = 30\n"
        .to_owned();
    for (person, seed) in [("alice", 1), ("alice", 2), ("bob", 3), ("carol", 4)] {
        let pem = key(seed).public().to_pem();
        text.push_str(&format!(
            "[[waiver_signers]]\nperson = \"{person}\"\nstatement_key = \"\"\"\n{pem}\"\"\"\n"
        ));
    }
    text
}

fn policy() -> Policy {
    Policy::from_toml(&policy_text()).unwrap()
}

fn header() -> HeaderDigest {
    HeaderDigest::of(b"assayed")
}

fn waiver(findings: &[&str]) -> Waiver {
    Waiver {
        findings: findings.iter().map(|code| (*code).to_owned()).collect(),
        reason: "embargo".to_owned(),
        issued_on: now(),
        expires_on: now().plus_secs(86_400),
    }
}

fn signed(waiver: Waiver, by: &[u8]) -> Envelope {
    signed_about(waiver, &[header()], by)
}

fn signed_about(waiver: Waiver, headers: &[HeaderDigest], by: &[u8]) -> Envelope {
    let packages: Vec<_> = headers
        .iter()
        .map(|header| ("assayed-1-1.noarch".parse().unwrap(), *header))
        .collect();
    let (first, others) = by.split_first().unwrap();
    let mut envelope = waiver.statement(&packages).sign(&key(*first)).unwrap();
    for seed in others {
        envelope.add_signature(&key(*seed)).unwrap();
    }
    envelope
}

fn findings() -> Vec<Reason> {
    vec![
        Reason::ProvenanceMissing,
        Reason::RebuildsMissing { have: 1, want: 2 },
    ]
}

/// What still holds the package at `now`.
fn held_with(envelopes: &[Envelope], now: Timestamp) -> Vec<&'static str> {
    let mut hold = findings();
    set_aside(&policy(), envelopes, header(), now, &mut hold);
    hold.iter().map(Reason::code).collect()
}

#[test]
fn two_people_set_aside_what_they_name_and_nothing_else() {
    let envelope = signed(waiver(&["rebuilds-missing"]), &[1, 3]);
    assert_eq!(
        held_with(std::slice::from_ref(&envelope), now()),
        ["provenance-missing"]
    );
    let mut hold = findings();
    let waived = set_aside(
        &policy(),
        std::slice::from_ref(&envelope),
        header(),
        now(),
        &mut hold,
    );
    assert_eq!(waived.len(), 1);
    assert_eq!(
        (waived[0].finding.code(), waived[0].why.as_str()),
        ("rebuilds-missing", "embargo")
    );
    assert_eq!(
        waived[0].by,
        ["alice", "bob"].map(|name| name.parse().unwrap())
    );
    assert_eq!(waived[0].waiver, FileDigest::of(&envelope.to_json()));
    let second = signed(waiver(&["provenance-missing"]), &[3, 4]);
    assert!(held_with(&[envelope, second], now()).is_empty());
}

#[test]
fn a_waiver_of_one_person_or_of_a_stranger_or_changed_does_not_count() {
    let good = signed(waiver(&["rebuilds-missing"]), &[1, 3]);
    let mut changed = good.clone();
    changed.payload = signed(waiver(&["provenance-missing"]), &[1]).payload;
    let mut other_type = good.clone();
    other_type.payload_type = "text/plain".to_owned();
    let cases = [
        ("one", signed(waiver(&["rebuilds-missing"]), &[1])),
        (
            "one person twice",
            signed(waiver(&["rebuilds-missing"]), &[1, 2]),
        ),
        (
            "one signature twice",
            signed(waiver(&["rebuilds-missing"]), &[3, 3]),
        ),
        (
            "one and a stranger",
            signed(waiver(&["rebuilds-missing"]), &[1, 9]),
        ),
        ("changed", changed),
        ("another type", other_type),
        (
            "another package",
            signed_about(
                waiver(&["rebuilds-missing"]),
                &[HeaderDigest::of(b"other")],
                &[1, 3],
            ),
        ),
    ];
    for (what, envelope) in cases {
        assert_eq!(held_with(&[envelope], now()).len(), 2, "{what}");
    }
    let one = examine(
        &policy(),
        &signed(waiver(&["rebuilds-missing"]), &[1, 2]),
        now(),
    );
    assert_eq!(one.unwrap_err(), WaiverError::TooFew { have: 1 });
}

#[test]
fn a_waiver_ends_begins_and_is_no_longer_than_the_policy_allows() {
    let envelope = signed(waiver(&["rebuilds-missing"]), &[1, 3]);
    let day = 86_400;
    for (what, at, count) in [
        ("at once", now(), 1),
        ("the last second", now().plus_secs(day - 1), 1),
        ("at its end", now().plus_secs(day), 2),
        ("before its time", now().plus_secs(-CLOCK_SKEW_SECS - 1), 2),
    ] {
        let held = held_with(std::slice::from_ref(&envelope), at);
        assert_eq!(held.len(), count, "{what}");
    }
    let long = Waiver {
        expires_on: now().plus_secs(31 * day),
        ..waiver(&["rebuilds-missing"])
    };
    assert_eq!(
        examine(&policy(), &signed(long, &[1, 3]), now()).unwrap_err(),
        WaiverError::TooLong { days: 30 }
    );
}

#[test]
fn what_no_waiver_can_set_aside_is_refused_by_name() {
    for finding in ["revoked", "lint", "out-of-scope", "everything"] {
        let refused = examine(&policy(), &signed(waiver(&[finding]), &[1, 3]), now());
        assert_eq!(
            refused.unwrap_err(),
            WaiverError::Finding {
                finding: finding.to_owned()
            }
        );
    }
    let wordless = Waiver {
        reason: " ".to_owned(),
        ..waiver(&["rebuilds-missing"])
    };
    for (what, envelope) in [
        ("reason", signed(wordless, &[1, 3])),
        ("finding", signed(waiver(&[]), &[1, 3])),
        (
            "package",
            signed_about(waiver(&["rebuilds-missing"]), &[], &[1, 3]),
        ),
    ] {
        assert_eq!(
            examine(&policy(), &envelope, now()).unwrap_err(),
            WaiverError::Empty { what }
        );
    }
}

#[test]
fn a_waiver_key_is_nobody_else_s_key() {
    let text = policy_text();
    let pem = key(3).public().to_pem();
    let more = format!(
        "{text}\n[[rebuilders]]\nname = \"rb\"\noperator = \"op\"\nstatement_key = \"\"\"\n{pem}\"\"\"\n"
    );
    let error = Policy::from_toml(&more).unwrap_err().to_string();
    assert!(error.contains("bob"), "{error}");
}
