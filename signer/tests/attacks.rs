//! The repository server as the attacker: it is taken over, speaks the protocol, holds every blob and
//! every statement ever made, and wants one signature more than the policy gives.
//!
//! | what it tries | refused in |
//! |---|---|
//! | forged evidence, in a stranger's or another's name | [`forged_evidence_does_not_count`] |
//! | evidence replayed: for other bytes of the same name, or after its key was taken out of the policy | [`replayed_evidence_does_not_count`] |
//! | stale evidence, or evidence dated ahead | [`stale_and_future_evidence_does_not_count`] |
//! | payload and signature of two statements swapped | [`swapped_evidence_does_not_count`] |
//! | evidence cut at any length | [`truncated_evidence_does_not_count`] |
//! | another package's evidence | [`another_package_s_evidence_does_not_count`] |
//! | one voice many times | [`one_voice_a_thousand_times_is_one_voice`] |
//! | header-only tricks: no digest of the payload in the header, or a weak one only | [`a_header_that_does_not_pin_its_payload_is_rejected`] |
//! | a tag twice | [`a_duplicated_tag_is_rejected`] |
//! | a signature planted in the request's signature header | [`a_planted_signature_is_gone`] |
//! | two requests for one NEVRA with different bytes | [`one_name_and_version_is_one_set_of_bytes`] |
//! | a package of one repository listed in another; a request that names no repository | `repository_scope.rs` |
//! | two requests for one NEVRA side by side; an older version beside a newer | [`requests_side_by_side_get_what_one_after_the_other_gets`] |
//! | a flood | `bounds.rs`: `a_flood_is_told_to_come_back_and_leaves_one_alarm` |
//! | a request that makes a journal line nobody can read | [`no_request_makes_a_line_that_the_journal_cannot_read`] |
//! | a release that lists a file which was not signed | [`a_release_lists_the_very_files_that_were_signed`] |
//! | a release replayed, skipped, forked, back-dated | `releases_and_files.rs`: `a_release_is_signed_with_the_metadata_key_and_follows_the_last_one` |
//! | signatures kept out of the log | `signatures.rs`: `signatures_that_are_not_shown_in_the_log_in_time_stop_all_signing` |
//! | the clock set back | [`a_clock_set_back_stops_all_signing`] |
//! | the journal cut at its end | [`a_journal_cut_at_its_end_is_told_from_a_whole_one`] |
//! | the journal edited, lines dropped, swapped, put in | `journal.rs`: `every_changed_dropped_or_inserted_line_is_found` |
//! | the disk full at each write | `disk_full.rs` |
//! | bytes that are no request | `process.rs`: `hostile_bytes_on_the_socket_are_answered_or_dropped_and_the_signer_lives` |

mod common;

use common::{
    A, B, Draft, Rpm, STRANGER, World, base, now, policy_text, rebuild, rebuild_ago,
    rebuild_signed_by, rebuilds, sboms,
};
use hallmark_signer::client::ClientError;
use hallmark_signer::desk::{Desk, OpenError};
use hallmark_signer::journal;
use hallmark_signer::keys;
use hallmark_signer::verify::{Certificate, verify_header_signature};
use repo_model::dsse::Envelope;
use repo_model::policy::Reason;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{self, Field};
use repo_model::verdict::Verdict::Identical;
use repo_model::wire::signer::{Base64, MAX_SBOMS, Request, Response};
use repo_model::{FileDigest, Timestamp};
use std::process::Command;

/// Held, and nothing about it but too few rebuilds.
fn counts_for_nothing(world: &World, rpm: &Rpm, envelopes: &[Envelope], have: u32) {
    let answer = world.ask(rpm, envelopes);
    let Err(ClientError::Refused { held, reasons }) = answer else {
        panic!("{answer:?}")
    };
    assert!(held, "{reasons:?}");
    assert!(
        reasons.contains(&Reason::RebuildsMissing { have, want: 2 }),
        "{reasons:?}"
    );
}

/// Refused for good, by one of these lints.
fn rejected_by_lint(world: &World, rpm: &Rpm, code: &str) {
    let answer = world.ask(rpm, &rebuilds(rpm));
    let Err(ClientError::Refused {
        held: false,
        reasons,
    }) = answer
    else {
        panic!("{code}: {answer:?}")
    };
    let found = reasons
        .iter()
        .any(|reason| matches!(reason, Reason::Lint { finding, .. } if finding == code));
    assert!(found, "{code}: {reasons:?}");
}

#[test]
fn forged_evidence_does_not_count() {
    let world = World::start();
    let rpm = Rpm::probe("probe");
    let good = rebuild(A, &rpm, Identical);
    for forged in [
        rebuild(STRANGER, &rpm, Identical),
        rebuild_signed_by(STRANGER, B, &rpm, Identical),
        rebuild_signed_by(A, B, &rpm, Identical),
    ] {
        counts_for_nothing(&world, &rpm, &[good.clone(), forged], 1);
    }
    world.ask(&rpm, &rebuilds(&rpm)).unwrap();
}

#[test]
fn replayed_evidence_does_not_count() {
    let mut world = World::start();
    let (first, rebuilt) = (Rpm::probe("probe"), rebuilds(&Rpm::probe("probe")));
    // The same name and version from another host: what was said of the one says nothing of the other.
    let second = testkit::Rpm::binary("probe").set(tag::BUILDHOST, Field::str("evil.example"));
    let second = Rpm::new(second.bytes());
    counts_for_nothing(&world, &second, &rebuilt, 0);
    // Good evidence, replayed when one of its keys is not the rebuilder's any more.
    world.ask(&first, &rebuilt).unwrap();
    world.halt();
    let pem = |party: common::Party| party.key().public().to_pem();
    let text = policy_text(2, "").replace(&pem(B), &pem(STRANGER));
    std::fs::write(&world.config.policy_file, text).unwrap();
    world.serve();
    counts_for_nothing(&world, &first, &rebuilt, 1);
    let other = Rpm::probe("other");
    counts_for_nothing(&world, &other, &rebuilds(&other), 1);
}

#[test]
fn stale_and_future_evidence_does_not_count() {
    let mut world = World::start();
    let rpm = Rpm::probe("probe");
    world.halt();
    let text = policy_text(2, "max_evidence_age_days = 1");
    std::fs::write(&world.config.policy_file, text).unwrap();
    world.serve();
    let good = rebuild(A, &rpm, Identical);
    for secs in [3 * 86_400, -86_400] {
        counts_for_nothing(&world, &rpm, &[good.clone(), rebuild_ago(B, &rpm, secs)], 1);
    }
    world
        .ask(&rpm, &[good, rebuild_ago(B, &rpm, 3_600)])
        .unwrap();
}

#[test]
fn swapped_evidence_does_not_count() {
    let world = World::start();
    let (rpm, other) = (Rpm::probe("probe"), Rpm::probe("other"));
    let good = rebuild(A, &rpm, Identical);
    let of_b = rebuild(B, &rpm, Identical);
    let of_other = rebuild(B, &other, Identical);
    let with = |payload: &Envelope, signature: &Envelope| Envelope {
        signatures: signature.signatures.clone(),
        ..payload.clone()
    };
    for swapped in [
        with(&good, &of_b),
        with(&of_b, &good),
        with(&of_b, &of_other),
    ] {
        counts_for_nothing(&world, &rpm, &[good.clone(), swapped], 1);
    }
}

#[test]
fn truncated_evidence_does_not_count() {
    let world = World::start();
    let rpm = Rpm::probe("probe");
    let (good, whole) = (rebuild(A, &rpm, Identical), rebuild(B, &rpm, Identical));
    let step = whole.payload.len() / 13 + 1;
    for end in (0..whole.payload.len()).step_by(step) {
        let mut cut = whole.clone();
        cut.payload.truncate(end);
        counts_for_nothing(&world, &rpm, &[good.clone(), cut], 1);
    }
    let mut cut = whole.clone();
    cut.signatures[0].sig.truncate(20);
    counts_for_nothing(&world, &rpm, &[good.clone(), cut], 1);
    let mut none = whole;
    none.signatures.clear();
    counts_for_nothing(&world, &rpm, &[good, none], 1);
}

#[test]
fn another_package_s_evidence_does_not_count() {
    let world = World::start();
    let (rpm, other) = (Rpm::probe("probe"), Rpm::probe("other"));
    counts_for_nothing(&world, &rpm, &rebuilds(&other), 0);
    let answer = world.client().sign_package(
        &base(),
        &rpm.head.to_bytes(),
        &rebuilds(&rpm),
        &sboms(&other),
        None,
    );
    let Err(ClientError::Refused { reasons, .. }) = answer else {
        panic!("{answer:?}")
    };
    let sbom = |reason: &Reason| matches!(reason, Reason::SbomMissing { .. });
    assert!(
        reasons.len() == 2 && reasons.iter().all(sbom),
        "{reasons:?}"
    );
}

#[test]
fn one_voice_a_thousand_times_is_one_voice() {
    let world = World::start();
    let rpm = Rpm::probe("probe");
    let voices: Vec<_> = (0..200).map(|secs| rebuild_ago(A, &rpm, secs)).collect();
    counts_for_nothing(&world, &rpm, &voices, 1);
    let thousands = vec![voices[0].clone(); 2_000];
    let answer = world.ask(&rpm, &thousands);
    assert!(
        matches!(&answer, Err(ClientError::BadRequest { message }) if message.contains("2000 envelopes")),
        "{answer:?}"
    );
}

#[test]
fn a_header_that_does_not_pin_its_payload_is_rejected() {
    let world = World::start();
    let none = testkit::Rpm::binary("probe")
        .without(tag::PAYLOADSHA256)
        .without(tag::PAYLOADSHA256ALGO);
    rejected_by_lint(&world, &Rpm::new(none.bytes()), "no-payload-sha256");
    let weak = testkit::Rpm::binary("probe")
        .set(tag::PAYLOADSHA256ALGO, Field::Int32(vec![1]))
        .set(tag::PAYLOADSHA256, Field::strings(["0".repeat(32)]));
    let answer = world.ask(&Rpm::new(weak.bytes()), &[]);
    assert!(
        matches!(answer, Err(ClientError::Refused { held: false, .. })),
        "{answer:?}"
    );
}

#[test]
fn a_duplicated_tag_is_rejected() {
    let world = World::start();
    for number in [tag::NAME, tag::LICENSE, tag::PAYLOADSHA256] {
        let twice = testkit::Rpm::binary("probe").add(number, Field::str("other"));
        rejected_by_lint(&world, &Rpm::new(twice.bytes()), "duplicate-tag");
    }
}

#[test]
fn a_planted_signature_is_gone() {
    let world = World::start();
    let rpm = Rpm::probe("probe");
    let identity = world.client().identity().unwrap();
    let ours = Certificate::from_bytes(identity.package_certificate.as_bytes()).unwrap();
    let planted = testkit::Rpm::binary("probe")
        .set_signature(tag::SIG_RSAHEADER, Field::Bin(vec![0x88; 64]))
        .set_signature(tag::SIG_OPENPGP, Field::strings(["iQ=="]));
    let planted = Rpm::new(planted.bytes());
    assert_eq!(planted.header(), rpm.header());
    match world.ask(&planted, &rebuilds(&planted)) {
        Err(ClientError::Refused { .. } | ClientError::BadRequest { .. }) => {}
        Ok(signed) => {
            let signed = planted.with_signature(&signed.signature_header);
            assert_eq!(verify_header_signature(&signed.head, &[ours]).unwrap(), 1);
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn one_name_and_version_is_one_set_of_bytes() {
    let mut world = World::start();
    let first = Rpm::probe("probe");
    let second = testkit::Rpm::binary("probe").set(tag::BUILDHOST, Field::str("evil.example"));
    let second = Rpm::new(second.bytes());
    assert_ne!(first.header(), second.header());
    world.sign(&first);
    let refused = |world: &World| {
        let answer = world.ask(&second, &rebuilds(&second));
        let Err(ClientError::Refused {
            held: true,
            reasons,
        }) = answer
        else {
            panic!("{answer:?}")
        };
        let signed = first.header();
        assert_eq!(reasons, [Reason::NevraTaken { signed }]);
    };
    refused(&world);
    world.restart();
    refused(&world);
    world.sign(&first);
    // What was revoked does not keep its name.
    world.halt();
    let revoked = format!(
        "[[revoked]]\nheader_sha256 = \"{}\"\nreason = \"bad\"",
        first.header()
    );
    std::fs::write(&world.config.policy_file, policy_text(2, &revoked)).unwrap();
    world.serve();
    world.sign(&second);
}

#[test]
fn requests_side_by_side_get_what_one_after_the_other_gets() {
    let world = World::start();
    let version = |version: &str| {
        let rpm = testkit::Rpm::binary("probe").set(tag::VERSION, Field::str(version));
        Rpm::new(rpm.bytes())
    };
    let (old, new) = (version("1.9"), version("1.10"));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16)
            .map(|number| {
                let (world, rpm) = (&world, if number % 2 == 0 { &new } else { &old });
                scope.spawn(move || (number % 2 == 0, world.ask(rpm, &rebuilds(rpm))))
            })
            .collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for is_new in [true, false] {
        let headers: std::collections::BTreeSet<_> = answers
            .iter()
            .filter(|(new, _)| *new == is_new)
            .filter_map(|(_, answer)| answer.as_ref().ok())
            .map(|signed| signed.signature_header.clone())
            .collect();
        assert!(headers.len() <= 1, "one key signs one header once");
        assert!(!is_new || headers.len() == 1, "the newest is never refused");
    }
    // In the journal's order, no older version comes for the first time after a newer one.
    let (mut new_seen, mut old_seen) = (false, false);
    journal::read(&world.journal(), |record| {
        if let journal::Event::PackageSigned { header, .. } = record.event {
            new_seen |= header == new.header();
            assert!(header == new.header() || old_seen || !new_seen);
            old_seen |= header == old.header();
        }
    })
    .unwrap();
}

#[test]
fn no_request_makes_a_line_that_the_journal_cannot_read() {
    let world = World::start();
    let rpm = Rpm::probe("probe");
    // As many documents as one likes, all of them about the package.
    let mut documents = sboms(&rpm);
    for number in 0..MAX_SBOMS {
        let mut more = documents[0].clone();
        more.extend(vec![b' '; number + 1]);
        documents.push(more);
    }
    let answer = world.client().sign_package(
        &base(),
        &rpm.head.to_bytes(),
        &rebuilds(&rpm),
        &documents,
        None,
    );
    assert!(
        matches!(answer, Err(ClientError::BadRequest { .. })),
        "{answer:?}"
    );
    // The same one, again and again, is one input.
    let many = [sboms(&rpm), sboms(&rpm), sboms(&rpm)].concat();
    world
        .client()
        .sign_package(&base(), &rpm.head.to_bytes(), &rebuilds(&rpm), &many, None)
        .unwrap();
    // A name of megabytes.
    let long = testkit::Rpm::binary(&"n".repeat(3 << 20));
    let long = Rpm::new(long.bytes());
    world.ask(&long, &rebuilds(&long)).unwrap_err();
    // A release's complaint about a line of megabytes.
    let mut draft = Draft::new(1, None, &[]);
    let list = format!("{} x {}", "0".repeat(64), "y".repeat(8 << 20)).into_bytes();
    draft.document.repos[0].package_list = FileDigest::of(&list);
    draft.files[0].package_list = Base64(list);
    world
        .client()
        .sign_release(&draft.json(), &draft.files)
        .unwrap_err();
    let report = journal::verify(&world.journal()).unwrap();
    assert!(report.whole_bytes < 100_000, "{report:?}");
    let text = std::fs::read_to_string(world.journal()).unwrap();
    let line = text.lines().find(|line| line.contains("package-signed"));
    let record: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!(record["event"]["inputs"].as_array().unwrap().len(), 4);
}

#[test]
fn a_release_lists_the_very_files_that_were_signed() {
    let world = World::start();
    let (rpm, other) = (Rpm::probe("probe"), Rpm::probe("other"));
    let (signed, signed_other) = (world.sign(&rpm), world.sign_whole(&other));
    let ask = |draft: &Draft| world.client().sign_release(&draft.json(), &draft.files);
    let refused = |draft: &Draft, says: &str| {
        let answer = ask(draft);
        let Err(ClientError::BadRequest { message }) = &answer else {
            panic!("{says}: {answer:?}")
        };
        assert!(message.contains(says), "{message}");
    };
    let draft = Draft::new(1, None, &[(&rpm, &signed)]);
    refused(&draft, "of probe-1.0-1.noarch was not signed here");
    // The file of another package in its place.
    let mut swapped = rpm.clone();
    swapped.bytes = other.bytes.clone();
    swapped.head = other.head.clone();
    let mut listed = Draft::new(1, None, &[(&swapped, &signed_other)]);
    let text = String::from_utf8(listed.files[0].package_list.0.clone()).unwrap();
    let text = text
        .replace(&other.header().to_hex(), &rpm.header().to_hex())
        .replace("other-1.0", "probe-1.0");
    let text = text.replace(
        &FileDigest::of(&signed_other.summary.to_json()).to_hex(),
        &FileDigest::of(&signed.summary.to_json()).to_hex(),
    );
    listed.document.repos[0].package_list = FileDigest::of(text.as_bytes());
    listed.files[0].package_list = Base64(text.into_bytes());
    refused(&listed, "was not signed here");
    world.sign_whole(&rpm);
    ask(&draft).unwrap();
}

/// A desk asked as of some time; nobody listens on a socket.
fn asked(desk: &Desk, rpm: &Rpm, at: Timestamp) -> Response {
    let request = Request::SignPackage {
        repo: Some(base()),
        head: Base64(rpm.head.to_bytes()),
        envelopes: rebuilds(rpm),
        sboms: sboms(rpm).into_iter().map(Base64).collect(),
        log: None,
    };
    desk.answer(
        request,
        FileDigest::of(b"request"),
        &mut std::io::empty(),
        at,
    )
    .unwrap()
}

#[test]
fn a_clock_set_back_stops_all_signing() {
    let world = World::prepared();
    let start = now();
    keys::init(&world.config, start.plus_secs(-90 * 86_400)).unwrap();
    let (rpm, later) = (Rpm::probe("probe"), start.plus_secs(3_600));
    let desk = Desk::open(&world.config, start).unwrap();
    assert!(matches!(
        asked(&desk, &rpm, later),
        Response::PackageSigned { .. }
    ));
    // A correction of minutes is none; a day is.
    for (back, signs) in [(300, true), (86_400, false), (30 * 86_400, false)] {
        let answer = asked(&desk, &rpm, later.plus_secs(-back));
        assert_eq!(
            matches!(&answer, Response::PackageSigned { .. }),
            signs,
            "{answer:?}"
        );
        if let Response::Failed { message } = answer {
            assert!(message.contains("clock"), "{message}");
        }
    }
    drop(desk);
    let refused = Desk::open(&world.config, start.plus_secs(-86_400)).unwrap_err();
    assert!(matches!(refused, OpenError::ClockBack { .. }), "{refused}");
    // The operator decides which of the two was wrong.
    let desk = Desk::open_trusting_clock(&world.config, start.plus_secs(-86_400)).unwrap();
    let answer = asked(&desk, &rpm, start.plus_secs(-86_300));
    assert!(
        matches!(answer, Response::PackageSigned { .. }),
        "{answer:?}"
    );
}

#[test]
fn a_journal_cut_at_its_end_is_told_from_a_whole_one() {
    let mut world = World::start();
    for name in ["one", "two", "three"] {
        world.sign(&Rpm::probe(name));
    }
    world.halt();
    let last = journal::verify(&world.journal()).unwrap().last.to_hex();
    let audit = |holds: &str| {
        Command::new(env!("CARGO_BIN_EXE_hallmark-signer"))
            .args(["audit", "verify", "--holds", holds, "--journal"])
            .arg(world.journal())
            .output()
            .unwrap()
    };
    assert_eq!(audit(&last).status.code(), Some(0));
    let text = std::fs::read_to_string(world.journal()).unwrap();
    let first = FileDigest::of(text.lines().next().unwrap().as_bytes()).to_hex();
    assert_eq!(audit(&first).status.code(), Some(0));
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    std::fs::write(world.journal(), lines[..3].concat()).unwrap();
    journal::verify(&world.journal()).expect("a shorter chain is a chain");
    let cut = audit(&last);
    assert_eq!(cut.status.code(), Some(1));
    let said = String::from_utf8_lossy(&cut.stderr);
    assert!(said.contains("was cut"), "{said}");
    assert_eq!(audit(&first).status.code(), Some(0));
}
