//! Waivers as the signer sees them: two people, in time, for this package and this finding, and never
//! silent.

mod common;

use common::{A, B, Party, Rpm, World, base, now, policy_text, rebuild, sboms, tools};
use hallmark_signer::client::{ClientError, SignedPackage};
use hallmark_signer::{journal, keys};
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::policy::waivers::Waiver;
use repo_model::statement::{Statement, VSA, VerificationSummary};
use repo_model::verdict::Verdict::{Differs, Identical};
use repo_model::{FileDigest, HeaderDigest};

const ALICE: Party = Party {
    name: "alice",
    operator: "alice",
    seed: 21,
};
const ALICE_AGAIN: Party = Party {
    name: "alice-2",
    operator: "alice",
    seed: 22,
};
const BOB: Party = Party {
    name: "bob",
    operator: "bob",
    seed: 23,
};

/// A signer whose policy lists alice, with two keys, and bob.
fn world() -> World {
    let mut world = World::prepared();
    let mut text = policy_text(1, "");
    for party in [ALICE, ALICE_AGAIN, BOB] {
        text.push_str(&format!(
            "[[waiver_signers]]\nperson = \"{}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
            party.operator,
            party.key().public().to_pem()
        ));
    }
    std::fs::write(&world.config.policy_file, text).unwrap();
    keys::init(&world.config, now()).unwrap();
    world.serve();
    world
}

const FINDINGS: [&str; 3] = ["operators-missing", "rebuild-differs", "rebuilds-missing"];

fn waiver(findings: &[&str], days: i64) -> Waiver {
    Waiver {
        findings: findings.iter().map(|code| (*code).to_owned()).collect(),
        reason: "a fix for a hole that is being used".to_owned(),
        issued_on: now().plus_secs(-86_400),
        expires_on: now().plus_secs(days * 86_400),
    }
}

fn signed(waiver: Waiver, header: HeaderDigest, by: &[Party]) -> Envelope {
    let package = ("assayed-1.0-1.noarch".parse().unwrap(), header);
    let statement = waiver.statement(&[package]);
    let mut envelope = statement.sign(&by[0].key()).unwrap();
    for party in &by[1..] {
        envelope.add_signature(&party.key()).unwrap();
    }
    envelope
}

/// One rebuild agrees, one does not, and whatever else is there.
fn ask(world: &World, rpm: &Rpm, more: Vec<Envelope>) -> Result<SignedPackage, ClientError> {
    let mut envelopes = vec![rebuild(A, rpm, Identical), rebuild(B, rpm, Differs)];
    envelopes.extend(more);
    let head = rpm.head.to_bytes();
    world
        .client()
        .sign_package(&base(), &head, &envelopes, &sboms(rpm), None)
}

#[test]
fn a_held_package_goes_out_on_a_waiver_and_everything_says_so() {
    let mut world = world();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let rpm = &rpms[0];
    let held = ask(&world, rpm, Vec::new()).unwrap_err();
    assert!(
        matches!(&held, ClientError::Refused { held: true, reasons } if reasons.len() == 3),
        "{held}"
    );
    let waiver = signed(waiver(&FINDINGS, 7), rpm.header(), &[ALICE, BOB]);
    let answer = ask(&world, rpm, vec![waiver.clone()]).unwrap();

    let identity = world.client().identity().unwrap();
    let key: StatementPublicKey = identity.statement_key.parse().unwrap();
    let summary = Statement::<VerificationSummary>::open(&answer.summary, &key, VSA).unwrap();
    let said = summary.predicate;
    assert_eq!(
        said.verified_levels,
        [
            "HALLMARK_WAIVED_OPERATORS_MISSING",
            "HALLMARK_WAIVED_REBUILD_DIFFERS",
            "HALLMARK_WAIVED_REBUILDS_MISSING"
        ]
    );
    let digest = FileDigest::of(&waiver.to_json());
    let inputs: Vec<_> = said
        .input_attestations
        .iter()
        .map(|input| input.digest["sha256"].clone())
        .collect();
    assert!(inputs.contains(&digest.to_hex()));
    world.halt();
    let mut waived = Vec::new();
    journal::read(&world.journal(), |record| {
        if let journal::Event::PackageSigned { waived: found, .. } = &record.event {
            waived.extend(found.clone());
        }
    })
    .unwrap();
    assert_eq!(waived.len(), 3);
    for one in waived {
        assert_eq!(one.waiver, digest);
        assert_eq!(one.by, ["alice", "bob"].map(|name| name.parse().unwrap()));
        assert_eq!(one.why, "a fix for a hole that is being used");
    }
}

#[test]
fn a_waiver_that_does_not_count_changes_nothing() {
    let world = world();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed", "other"]) else {
        return;
    };
    let (rpm, other) = (&rpms[0], &rpms[1]);
    let header = rpm.header();
    let both = [ALICE, BOB];
    let cases = [
        ("expired", signed(waiver(&FINDINGS, 0), header, &both)),
        ("too long", signed(waiver(&FINDINGS, 90), header, &both)),
        ("one person", signed(waiver(&FINDINGS, 7), header, &[BOB])),
        (
            "one person with two keys",
            signed(waiver(&FINDINGS, 7), header, &[ALICE, ALICE_AGAIN]),
        ),
        (
            "a rebuilder for a person",
            signed(waiver(&FINDINGS, 7), header, &[ALICE, B]),
        ),
        (
            "another package",
            signed(waiver(&FINDINGS, 7), other.header(), &both),
        ),
        (
            "other findings",
            signed(waiver(&["sbom-missing"], 7), header, &both),
        ),
        (
            "more than can be waived",
            signed(waiver(&["rebuild-differs", "revoked"], 7), header, &both),
        ),
    ];
    for (what, envelope) in cases {
        let refused = ask(&world, rpm, vec![envelope]).unwrap_err();
        assert!(
            matches!(&refused, ClientError::Refused { held: true, reasons } if reasons.len() == 3),
            "{what}: {refused}"
        );
    }
    let part = signed(waiver(&["rebuild-differs"], 7), header, &both);
    let refused = ask(&world, rpm, vec![part]).unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused { reasons, .. } if reasons.len() == 2),
        "{refused}"
    );
}

#[test]
fn a_lower_version_goes_out_on_a_waiver_only() {
    let world = world();
    let Some(rpms) = tools::versions(world.dir.path(), "assayed", &["2.0", "1.0"]) else {
        return;
    };
    world.sign(&rpms[0]);
    let old = &rpms[1];
    let refused = world.ask(old, &common::rebuilds(old)).unwrap_err();
    assert!(matches!(refused, ClientError::Refused { held: true, .. }));
    let mut envelopes = common::rebuilds(old);
    envelopes.push(signed(
        waiver(&["older-version"], 7),
        old.header(),
        &[BOB, ALICE],
    ));
    world.ask(old, &envelopes).unwrap();
}
