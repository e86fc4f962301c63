//! What the signer refuses, however it is asked.

mod common;

use common::{
    A, A2, B, Party, Rpm, STRANGER, World, base, policy_text, rebuild, rebuild_signed_by, sboms,
    tools,
};
use hallmark_signer::client::ClientError;
use hallmark_signer::desk::{self, OpenError};
use hallmark_signer::journal::{self, Event};
use hallmark_signer::rules::RulesError;
use hallmark_signer::server::{ServeError, Server};
use hallmark_signer::verify::{Certificate, verify_header_signature};
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::policy::Reason;
use repo_model::rpm::signature::stripped;
use repo_model::statement::{SBOM_REFERENCE, SbomReference, Statement, VSA, VerificationSummary};
use repo_model::verdict::Verdict::{self, Differs, Identical, IdenticalUnsigned, InfraFailed};
use repo_model::{FileDigest, HeaderDigest};

/// The codes of a refusal; panics when the package was signed.
fn refusal(
    world: &World,
    rpm: &Rpm,
    envelopes: &[Envelope],
    sboms: &[Vec<u8>],
) -> (bool, Vec<String>) {
    let answer = world
        .client()
        .sign_package(&base(), &rpm.head.to_bytes(), envelopes, sboms, None);
    let Err(ClientError::Refused { held, reasons }) = answer else {
        panic!("{answer:?}")
    };
    let code = |reason: &Reason| {
        let json = serde_json::to_value(reason).unwrap();
        json["code"].as_str().unwrap().to_owned()
    };
    (held, reasons.iter().map(code).collect())
}

#[test]
fn evidence_that_does_not_suffice_is_named_and_nothing_is_signed() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed", "other"]) else {
        return;
    };
    let (rpm, other) = (&rpms[0], &rpms[1]);
    let says = |party: Party, verdict: Verdict| rebuild(party, rpm, verdict);
    let forged = |party: Party| rebuild_signed_by(STRANGER, party, rpm, Identical);
    let mut garbled = says(B, Identical);
    garbled.payload = says(A, Identical).payload;

    let short = ["rebuilds-missing", "operators-missing"];
    let cases: Vec<(&str, Vec<Envelope>, &[&str])> = vec![
        ("nothing", vec![], &short),
        ("one rebuild", vec![says(A, Identical)], &short),
        (
            "the same one twice",
            vec![says(A, Identical), says(A, IdenticalUnsigned)],
            &short,
        ),
        (
            "two of one operator",
            vec![says(A, Identical), says(A2, Identical)],
            &["operators-missing"],
        ),
        (
            "a stranger's",
            vec![says(A, Identical), says(STRANGER, Identical)],
            &short,
        ),
        (
            "forged with a stranger's key",
            vec![says(A, Identical), forged(B)],
            &short,
        ),
        (
            "in another's name",
            vec![says(A, Identical), rebuild_signed_by(A, B, rpm, Identical)],
            &short,
        ),
        (
            "signature of another payload",
            vec![says(A, Identical), garbled],
            &short,
        ),
        (
            "of another package",
            vec![says(A, Identical), rebuild(B, other, Identical)],
            &short,
        ),
        (
            "could not say",
            vec![says(A, Identical), says(B, InfraFailed)],
            &short,
        ),
        (
            "one differs",
            vec![says(A, Identical), says(B, Identical), says(A2, Differs)],
            &["rebuild-differs"],
        ),
    ];
    for (what, envelopes, codes) in cases {
        let (held, found) = refusal(&world, rpm, &envelopes, &sboms(rpm));
        assert!(held, "{what}");
        assert_eq!(found, codes, "{what}");
    }
    let good = common::rebuilds(rpm);
    for (what, sboms, count) in [
        ("no SBOM", vec![], 2),
        ("one of two", sboms(rpm)[..1].to_vec(), 1),
        ("of another package", sboms(other), 2),
        ("junk", vec![b"{}".to_vec(), vec![0; 40]], 2),
    ] {
        let (held, found) = refusal(&world, rpm, &good, &sboms);
        assert_eq!((held, found.len()), (true, count), "{what}: {found:?}");
        assert!(
            found.iter().all(|code| code == "sbom-missing"),
            "{what}: {found:?}"
        );
    }
    let records = std::fs::read_to_string(world.journal()).unwrap();
    assert_eq!(records.matches("package-refused").count(), 15);
    assert!(!records.contains("package-signed"));
}

#[test]
fn heads_that_are_none_are_bad_requests_and_unfit_ones_are_rejected_for_good() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let rpm = &rpms[0];
    let head = rpm.head.to_bytes();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("junk", vec![0xff; 4096]),
        ("cut", head[..head.len() - 1].to_vec()),
    ] {
        let answer = world.client().sign_package(&base(), &bytes, &[], &[], None);
        assert!(
            matches!(answer, Err(ClientError::BadRequest { .. })),
            "{what}: {answer:?}"
        );
    }
    // The signature header's own SHA-256 of the main header no longer holds.
    let summary = b"A test\0";
    let at = rpm
        .bytes
        .windows(summary.len())
        .position(|window| window == summary)
        .unwrap();
    let mut changed = rpm.bytes.clone();
    changed[at] = b'a';
    let changed = Rpm::new(changed);
    let (held, codes) = refusal(
        &world,
        &changed,
        &common::rebuilds(&changed),
        &sboms(&changed),
    );
    assert!(!held && codes.contains(&"lint".to_owned()), "{codes:?}");
}

#[test]
fn a_signed_package_carries_one_signature_of_ours_and_strips_back_to_the_unsigned_one() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let rpm = &rpms[0];
    let identity = world.client().identity().unwrap();
    let certificate = Certificate::from_bytes(identity.package_certificate.as_bytes()).unwrap();
    let metadata = Certificate::from_bytes(identity.metadata_certificate.as_bytes()).unwrap();
    let ours = std::slice::from_ref(&certificate);

    let signed = world.sign(rpm);
    let file = rpm.with_signature(&signed.signature_header);
    assert_eq!(verify_header_signature(&file.head, ours).unwrap(), 1);
    assert!(verify_header_signature(&file.head, &[metadata]).is_err());
    assert!(verify_header_signature(&rpm.head, ours).is_err());
    assert_eq!(stripped(&file.head), rpm.head.signature_bytes());
    assert_eq!(file.header(), rpm.header());
    assert_eq!(
        file.bytes.len(),
        rpm.bytes.len(),
        "the reserved space takes the signature in"
    );

    let key: StatementPublicKey = identity.statement_key.parse().unwrap();
    let summary = Statement::<VerificationSummary>::open(&signed.summary, &key, VSA).unwrap();
    assert!(summary.is_about(rpm.header()));
    let said = &summary.predicate;
    assert_eq!(said.verification_result, "PASSED");
    assert_eq!(said.verified_levels, ["HALLMARK_REPRODUCED_2_OF_3"]);
    assert_eq!(said.resource_uri, "pkg:rpm/assayed@1.0-1?arch=noarch");
    assert_eq!(said.policy.digest["sha256"], identity.policy.to_hex());
    let made_from: Vec<_> = said
        .made_from
        .iter()
        .map(|made| made.name.as_deref())
        .collect();
    assert_eq!(made_from, [Some("source"), Some("buildinfo")]);
    assert_eq!(
        said.input_attestations.len(),
        4,
        "two SBOMs and two rebuilds"
    );
    let boms =
        Statement::<SbomReference>::open(&signed.sbom_statement, &key, SBOM_REFERENCE).unwrap();
    assert!(boms.is_about(rpm.header()));
    let named: Vec<_> = boms
        .predicate
        .references
        .iter()
        .map(|document| document.digest["sha256"].clone())
        .collect();
    let stored: Vec<_> = sboms(rpm)
        .iter()
        .map(|bytes| FileDigest::of(bytes).to_hex())
        .collect();
    assert_eq!(named, stored);
}

#[test]
fn a_policy_that_demands_commitments_signs_nothing_that_could_be_copied() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    world.halt();
    let strict = policy_text(2, "").replace("commit_reveal = false\n", "");
    std::fs::write(&world.config.policy_file, strict).unwrap();
    world.serve();
    let (held, codes) = refusal(
        &world,
        &rpms[0],
        &common::rebuilds(&rpms[0]),
        &sboms(&rpms[0]),
    );
    let wanted = [
        "rebuilds-missing",
        "operators-missing",
        "not-blind",
        "not-blind",
    ];
    assert!(held);
    assert_eq!(codes, wanted);
}

#[test]
fn a_revoked_package_is_rejected_and_a_policy_cannot_go_back() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let rpm = &rpms[0];
    world.sign(rpm);
    world.halt();
    let revoke = |header: HeaderDigest| {
        format!("[[revoked]]\nheader_sha256 = \"{header}\"\nreason = \"backdoor\"")
    };
    std::fs::write(
        &world.config.policy_file,
        policy_text(2, &revoke(rpm.header())),
    )
    .unwrap();
    world.serve();
    let (held, codes) = refusal(&world, rpm, &common::rebuilds(rpm), &sboms(rpm));
    assert_eq!((held, codes), (false, vec!["revoked".to_owned()]));
    world.halt();
    std::fs::write(&world.config.policy_file, policy_text(1, "")).unwrap();
    let error = Server::open(&world.config).unwrap_err();
    assert!(
        matches!(
            error,
            ServeError::Open(OpenError::Rules(RulesError::Rollback {
                found: 1,
                used: 2,
                ..
            }))
        ),
        "{error}"
    );
}

#[test]
fn the_journal_tells_who_confirmed_what() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let signed = world.sign(&rpms[0]);
    world.halt();
    let mut events = Vec::new();
    journal::Journal::open(&world.config.state_dir, |record| {
        events.push(record.event.clone())
    })
    .unwrap();
    let [
        Event::Started { .. },
        Event::PackageSigned {
            confirmed_by,
            summary,
            nevra,
            ..
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(confirmed_by.len(), 2);
    assert_eq!(*summary, FileDigest::of(&signed.summary.to_json()));
    assert_eq!(nevra.to_string(), "assayed-1.0-1.noarch");
    assert_eq!(
        desk::identity_from_files(&world.config, common::now())
            .unwrap()
            .policy_version,
        1
    );
}
