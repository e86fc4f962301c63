//! A log that tells the truth gives no alarm, and every lie does.

use super::*;
use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};
use crate::log::empty_root;
use serde_json::json;

fn key(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).unwrap()
}

fn summary(name: &str, header: &[u8], seed: u8) -> (Vec<u8>, Envelope) {
    let said = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": VSA,
        "subject": [{"name": name, "digest": {"rpmHeaderSha256": HeaderDigest::of(header)}}],
        "predicate": {
            "verifier": {"id": "v"}, "timeVerified": "2026-11-20T10:06:00Z", "resourceUri": "",
            "policy": {}, "inputAttestations": [], "verificationResult": "PASSED",
            "verifiedLevels": [], "slsaVersion": "1.0"
        }
    });
    let envelope = key(seed).sign(IN_TOTO_PAYLOAD_TYPE, said.to_string().as_bytes());
    (entry(&envelope, &key(seed).public()).unwrap(), envelope)
}

#[test]
fn a_log_that_tells_the_truth_gives_no_alarm_and_every_lie_does() {
    let signer = [key(1).public()];
    let mut memory = Memory::default();
    let (first, of_first) = summary("a-1-1.noarch.rpm", b"a", 1);
    assert_eq!(memory.take(&first, Some(&of_first), &signer), []);
    // A rebuilder cannot speak for the signer.
    let (foreign, of_foreign) = summary("a-1-1.noarch.rpm", b"b", 2);
    assert_eq!(memory.take(&foreign, Some(&of_foreign), &signer), []);
    let (second, of_second) = summary("a-1-1.noarch.rpm", b"c", 1);
    assert_eq!(memory.take(&second, Some(&of_second), &signer), []);
    let long_ago = Timestamp::from_unix_secs(0);
    assert_eq!(memory.doubts(&[], long_ago), [], "a release may list them");
    let found = memory.doubts(&[], long_ago.plus_secs(GRACE_SECS + 1));
    assert!(matches!(&found[..], [Finding::TwoPackages { headers, .. }] if headers.len() == 2));
    let head = Checkpoint {
        origin: "log.example".to_owned(),
        size: 3,
        root: memory.frontier.root(),
    };
    assert_eq!(memory.arrived(&head), Ok(()));
    let other = Checkpoint {
        root: empty_root(),
        ..head.clone()
    };
    assert_eq!(memory.arrived(&other), Err(Finding::Forked { size: 3 }));
    let less = Checkpoint { size: 2, ..head };
    assert_eq!(
        memory.precedes(&less),
        Err(Finding::Shrunk { before: 3, now: 2 })
    );
    for (entry, envelope) in [
        (&first[..], None),
        (&first[..], Some(&of_second)),
        (&b"junk"[..], Some(&of_first)),
    ] {
        let found = memory.clone().take(entry, envelope, &signer);
        assert!(matches!(
            &found[..],
            [Finding::Unexplained { index: 3, .. }]
        ));
    }

    let listed = |header: &[u8], summary: &Envelope| ListedPackage {
        header: HeaderDigest::of(header),
        signed_file: FileDigest::of(b"signed"),
        summary: FileDigest::of(&summary.to_json()),
        nevra: "a-1-1.noarch".parse().unwrap(),
    };
    let document = ReleaseDocument {
        schema: crate::release::SCHEMA.to_owned(),
        id: ReleaseId(2),
        previous: None,
        issued: Timestamp::from_unix_secs(100),
        repos: Vec::new(),
    };
    let release = FileDigest::of(b"release");
    memory.releases.insert(release);
    let good = [listed(b"a", &of_first)];
    assert_eq!(memory.served(&document, release, &good, None), []);
    let bad = [listed(b"b", &of_foreign), listed(b"a", &of_second)];
    let late = Some(Timestamp::from_unix_secs(101));
    let found = memory.served(&document, FileDigest::of(b"other"), &bad, late);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(Finding::is_alarm));
    let json = serde_json::to_string(&memory).unwrap();
    assert_eq!(serde_json::from_str::<Memory>(&json).unwrap(), memory);
}

#[test]
fn where_packages_of_one_name_were_found_is_known_when_one_more_comes() {
    let signer = [key(1).public()];
    let mut memory = Memory::default();
    let take = |memory: &mut Memory, header: &[u8]| {
        let (entry, envelope) = summary("a-1-1.noarch.rpm", header, 1);
        assert_eq!(memory.take(&entry, Some(&envelope), &signer), []);
    };
    let list = |repo: &str, header: &[u8]| {
        let package = ListedPackage {
            header: HeaderDigest::of(header),
            signed_file: FileDigest::of(b"signed"),
            summary: FileDigest::of(b"summary"),
            nevra: "a-1-1.noarch".parse().unwrap(),
        };
        (repo.parse::<RepoName>().unwrap(), vec![package])
    };
    let now = Timestamp::from_unix_secs(0);
    take(&mut memory, b"a");
    take(&mut memory, b"b");
    let found = memory.doubts(&[list("base", b"a"), list("extra", b"b")], now);
    assert!(matches!(&found[..], [Finding::OneName { .. }]), "{found:?}");
    take(&mut memory, b"c");
    assert!(memory.told.is_empty() && memory.doubtful.len() == 1);
    let found = memory.doubts(&[list("base", b"c")], now);
    assert!(
        matches!(&found[..], [Finding::TwoPackages { headers, .. }] if headers.len() == 3),
        "{found:?}"
    );
}

/// A statement of the signer as the log has it.
fn signed<P>(kind: &'static str, said: P) -> (Vec<u8>, Envelope)
where
    P: serde::Serialize + serde::de::DeserializeOwned,
{
    let statement = Statement::new(kind, Vec::new(), said);
    let envelope = statement.sign(&key(1)).unwrap();
    (entry(&envelope, &key(1).public()).unwrap(), envelope)
}

fn moved(from: Option<u64>, to: u64, release: &[u8]) -> ChannelMove {
    ChannelMove {
        number: 1,
        channel: "stable".parse().unwrap(),
        from: from.map(ReleaseId),
        to: ReleaseId(to),
        release: FileDigest::of(release),
        moved_at: Timestamp::from_unix_secs(1_000),
        actor: "ops".to_owned(),
    }
}

#[test]
fn moves_of_channels_are_told_and_a_channel_that_points_elsewhere_is_an_alarm() {
    let signer = [key(1).public()];
    let mut memory = Memory::default();
    memory.releases.insert(FileDigest::of(b"two"));
    let (entry, envelope) = signed(CHANNEL_MOVE, moved(Some(3), 2, b"two"));
    let found = memory.take(&entry, Some(&envelope), &signer);
    let words: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["entry 0: ops moved channel stable from 3 to 2"]);
    assert!(!found[0].is_alarm());
    let (entry, envelope) = signed(CHANNEL_MOVE, moved(Some(2), 9, b"nine"));
    let found = memory.take(&entry, Some(&envelope), &signer);
    assert!(matches!(
        &found[0],
        Finding::MovedNowhere {
            release: ReleaseId(9),
            ..
        }
    ));
    assert!(found[0].is_alarm() && !found[1].is_alarm());

    let at = |release, moved_at: i64| ChannelStatus {
        channel: "stable".parse().unwrap(),
        release: Some(ReleaseId(release)),
        moved_at: Some(Timestamp::from_unix_secs(moved_at)),
        follows: false,
    };
    let now = Timestamp::from_unix_secs(10_000);
    assert_eq!(memory.pointing(&[at(9, 1_000)], now), []);
    let found = memory.pointing(&[at(2, 1_000)], now);
    assert!(matches!(&found[..], [Finding::ChannelNotLogged { .. }]));
    assert_eq!(
        memory.pointing(&[at(2, 9_900)], now),
        [],
        "it was moved just now"
    );
    // The server may say for ever that it was just now: the monitor's clock counts.
    for (secs, alarms) in [(600, 0), (601, 1)] {
        let later = now.plus_secs(secs);
        let found = memory.pointing(&[at(2, 10_000 + secs)], later);
        assert_eq!(found.len(), alarms, "{secs} s later");
    }
    // What the log says at last is nothing to wait for any more.
    let (entry, envelope) = signed(CHANNEL_MOVE, moved(Some(9), 2, b"two"));
    memory.take(&entry, Some(&envelope), &signer);
    assert!(memory.unlogged.is_empty(), "{:?}", memory.unlogged);
    assert_eq!(memory.pointing(&[at(2, 1_000)], now), []);
}

#[test]
fn keys_that_change_are_an_alarm_and_keys_that_nobody_announced_are_one_too() {
    use crate::announcement::AnnouncedKey;
    use crate::wire::signer::{KeyRole, KeyState};
    let signer = [key(1).public()];
    let mut memory = Memory::default();
    let set = |state| KeySet {
        said_at: None,
        verifier: "v".to_owned(),
        policy: FileDigest::of(b"policy"),
        policy_version: 1,
        log_keys: Vec::new(),
        keys: vec![AnnouncedKey {
            label: "package-key".to_owned(),
            role: KeyRole::Package,
            state,
            fingerprint: "AB".to_owned(),
            public: FileDigest::of(b""),
        }],
    };
    let (first, of_first) = signed(KEY_SET, set(KeyState::Current));
    assert_eq!(memory.take(&first, Some(&of_first), &signer), []);
    let (second, of_second) = signed(KEY_SET, set(KeyState::Revoked));
    // Whoever is not the signer changes nothing.
    assert_eq!(memory.clone().take(&second, Some(&of_second), &[]), []);
    let found = memory.take(&second, Some(&of_second), &signer);
    assert_eq!(found[0].to_string(), "entry 1: package-key is revoked now");
    assert!(found[0].is_alarm());

    let shown = |state, fingerprint: &str, since: i64| PublishedKey {
        role: KeyRole::Package,
        state,
        label: "package-key".to_owned(),
        fingerprint: fingerprint.to_owned(),
        algorithm: String::new(),
        openpgp_version: Some(4),
        made: None,
        expires: None,
        since: Some(Timestamp::from_unix_secs(since)),
        public: String::new(),
        findings: Vec::new(),
    };
    let now = Timestamp::from_unix_secs(10_000);
    for (key, alarms) in [
        (shown(KeyState::Revoked, "AB", 0), 0),
        (shown(KeyState::Current, "AB", 0), 1),
        (shown(KeyState::Revoked, "CD", 0), 1),
        (shown(KeyState::Current, "CD", 9_900), 0),
    ] {
        assert_eq!(
            memory.shown(std::slice::from_ref(&key), now).len(),
            alarms,
            "{key:?}"
        );
    }
    let later = now.plus_secs(GRACE_SECS + 1);
    let found = memory.shown(&[shown(KeyState::Current, "CD", 10_600)], later);
    assert_eq!(found.len(), 1, "the monitor's own clock counts");
}

#[test]
fn a_head_without_its_quorum_or_long_unseen_is_an_alarm() {
    use crate::log::{LogKey, SignatureKind, testkit};
    let log = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
    let witness = LogKey::from_seed("w", SignatureKind::MlDsa44, &[2; 32]).unwrap();
    let policy: WitnessPolicy = format!("witness w {}\nquorum w\n", witness.public())
        .parse()
        .unwrap();
    let mut head = testkit::signed(&log, 0, empty_root());
    let at = |secs: i64| Timestamp::from_unix_secs(1_700_000_000 + secs);
    let found = witnessed(&policy, &head, None, at(0)).unwrap();
    assert!(matches!(found, Finding::NoQuorum { .. }));
    head.signatures
        .push(witness.sign(&head.text, at(5)).unwrap());
    assert_eq!(witnessed(&policy, &head, None, at(1_000)), None);
    assert_eq!(witnessed(&policy, &head, Some(at(5)), at(1_000)), None);
    let stale = witnessed(&policy, &head, Some(at(6)), at(1_000));
    assert_eq!(stale, Some(Finding::StaleHead { seen: at(5) }));
    let (said, now) = (at(5), at(-600));
    let behind = witnessed(&policy, &head, None, now).unwrap();
    assert_eq!(behind, Finding::ClockBehind { said, now });
}

#[test]
fn a_monitor_whose_clock_is_behind_alarms() {
    let now = Timestamp::from_unix_secs(1_700_000_000);
    assert_eq!(clock(now.plus_secs(600), now), None);
    let behind = clock(now.plus_secs(601), now).unwrap();
    assert!(behind.is_alarm());
    let says = behind.to_string();
    assert!(
        says.ends_with("of 2023-11-14T22:23:21Z, and it says 2023-11-14T22:13:20Z"),
        "{says}"
    );
}

#[test]
fn a_waiver_is_an_alarm_once_whoever_signed_it() {
    let said = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": WAIVER, "subject": [], "predicate": {}
    });
    let envelope = key(3).sign(IN_TOTO_PAYLOAD_TYPE, said.to_string().as_bytes());
    let entry = entry(&envelope, &key(3).public()).unwrap();
    let mut memory = Memory::default();
    let found = memory.take(&entry, Some(&envelope), &[key(1).public()]);
    assert_eq!(found, [Finding::Waiver { index: 0 }]);
    assert!(found[0].is_alarm());
}

#[test]
fn what_was_said_about_a_package_is_found_by_its_name() {
    let mut memory = Memory::default();
    for seed in [1, 2] {
        let (entry, envelope) = summary("a-1-1.noarch.rpm", b"a", seed);
        memory.take(&entry, Some(&envelope), &[key(1).public()]);
    }
    let said = &memory.entries["a-1-1.noarch.rpm"];
    let places: Vec<_> = said.iter().map(|said| said.index).collect();
    assert_eq!(places, [0, 1], "also by those who are not the signer");
    assert_eq!(said[0].header, Some(HeaderDigest::of(b"a")));
    assert_eq!(said[0].kind, VSA);
}
