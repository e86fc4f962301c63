//! Names and versions are compared within a repository, and what was signed for one goes out in that one
//! only. A journal from before records said for which repository still counts: in all of them.

mod common;

use common::{Draft, Rpm, World, base, now, rebuilds, sboms};
use hallmark_signer::client::{ClientError, SignedPackage};
use hallmark_signer::desk::Desk;
use hallmark_signer::journal;
use repo_model::FileDigest;
use repo_model::policy::Reason;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{self, Field};
use repo_model::wire::signer::{Base64, Request, Response};

fn version(version: &str) -> Rpm {
    let rpm = testkit::Rpm::binary("probe").set(tag::VERSION, Field::str(version));
    Rpm::new(rpm.bytes())
}

/// The same name and version, other bytes.
fn namesake_of(version: &str) -> Rpm {
    let rpm = testkit::Rpm::binary("probe").set(tag::VERSION, Field::str(version));
    Rpm::new(
        rpm.set(tag::BUILDHOST, Field::str("elsewhere.example"))
            .bytes(),
    )
}

/// The one reason why a package is held.
fn held(answer: Result<SignedPackage, ClientError>, what: &str) -> Reason {
    match answer {
        Err(ClientError::Refused {
            held: true,
            mut reasons,
        }) if reasons.len() == 1 => reasons.remove(0),
        other => panic!("{what}: {other:?}"),
    }
}

fn older(signed: &str, found: &str) -> Reason {
    Reason::OlderVersion {
        signed: format!("{signed}-1"),
        found: format!("{found}-1"),
    }
}

#[test]
fn a_lower_version_in_another_repository_is_no_downgrade() {
    let mut world = World::start();
    let (new, old, oldest) = (version("2.0"), version("1.1"), version("1.0"));
    world.sign(&new);
    let after_both = |world: &World| {
        let answer = world.ask(&old, &rebuilds(&old));
        assert_eq!(held(answer, "in base"), older("2.0", "1.1"));
        world.ask_for("long-term", &old).unwrap();
        let answer = world.ask_for("long-term", &oldest);
        assert_eq!(held(answer, "in long-term"), older("1.1", "1.0"));
        // That it is signed for the one is no way into the other.
        let answer = world.ask(&old, &rebuilds(&old));
        assert_eq!(held(answer, "in base again"), older("2.0", "1.1"));
    };
    after_both(&world);
    world.restart();
    after_both(&world);
    // The newest bytes may be in both, with one signature.
    let again = world.ask_for("long-term", &new).unwrap();
    assert_eq!(again.signature_header, world.sign(&new).signature_header);
}

#[test]
fn other_bytes_of_a_name_and_version_are_refused_in_one_repository_and_not_in_another() {
    let mut world = World::start();
    let (first, second) = (version("1.0"), namesake_of("1.0"));
    assert_ne!(first.header(), second.header());
    world.sign(&first);
    world.ask_for("rebuilt", &second).unwrap();
    for _ in 0..2 {
        let signed = first.header();
        let answer = world.ask(&second, &rebuilds(&second));
        assert_eq!(held(answer, "base"), Reason::NevraTaken { signed });
        let signed = second.header();
        let answer = world.ask_for("rebuilt", &first);
        assert_eq!(held(answer, "rebuilt"), Reason::NevraTaken { signed });
        world.restart();
    }
}

#[test]
fn a_release_lists_a_package_only_where_it_was_signed_for() {
    let world = World::start();
    let (new, old) = (version("2.0"), version("1.0"));
    world.sign_whole(&new);
    let signed = world.ask_for("long-term", &old).unwrap();
    let file = old.with_signature(&signed.signature_header).bytes;
    let mut client = world.client();
    client
        .sign_file(old.header(), file.len() as u64, file.as_slice())
        .unwrap();
    // A server that was taken over: the old version has a good signature, and is put into `base`.
    let mut draft = Draft::new(1, None, &[(&old, &signed)]);
    let answer = client.sign_release(&draft.json(), &draft.files);
    let Err(ClientError::BadRequest { message }) = &answer else {
        panic!("{answer:?}")
    };
    assert!(
        message.contains("was not signed for the repository base"),
        "{message}"
    );
    draft.document.repos[0].repo = "long-term".parse().unwrap();
    client.sign_release(&draft.json(), &draft.files).unwrap();
}

/// A desk asked for every repository at once, as before requests named one.
fn asked_for_all(world: &World, rpm: &Rpm) -> Response {
    let request = Request::SignPackage {
        repo: None,
        head: Base64(rpm.head.to_bytes()),
        envelopes: rebuilds(rpm),
        sboms: sboms(rpm).into_iter().map(Base64).collect(),
        log: None,
    };
    let json = serde_json::to_vec(&request).unwrap();
    assert!(!String::from_utf8_lossy(&json).contains("repo\":"));
    let desk = Desk::open(&world.config, now()).unwrap();
    desk.answer(
        serde_json::from_slice(&json).unwrap(),
        FileDigest::of(&json),
        &mut std::io::empty(),
        now(),
    )
    .unwrap()
}

#[test]
fn a_request_that_names_no_repository_is_compared_with_all_of_them() {
    let mut world = World::start();
    let (new, old) = (version("2.0"), version("1.0"));
    world.ask_for("long-term", &old).unwrap();
    world.sign(&new);
    world.halt();
    // It would be listed anywhere, so that it was signed for one repository does not help.
    for (what, rpm) in [("older", &old), ("other bytes", &namesake_of("2.0"))] {
        let answer = asked_for_all(&world, rpm);
        assert!(
            matches!(answer, Response::Refused { held: true, .. }),
            "{what}: {answer:?}"
        );
    }
    let answer = asked_for_all(&world, &new);
    assert!(
        matches!(answer, Response::PackageSigned { .. }),
        "{answer:?}"
    );
    world.serve();
    // Signed for all: in each it counts from now on.
    let answer = world.ask_for("third", &version("1.5"));
    assert_eq!(held(answer, "third"), older("2.0", "1.5"));
}

/// The journal as an earlier signer would have written it: no record names a repository.
fn as_before_repositories(world: &World) {
    let text = std::fs::read_to_string(world.journal()).unwrap();
    let mut prev = serde_json::to_value(FileDigest::from_bytes([0; 32])).unwrap();
    let mut out = String::new();
    let mut named = 0;
    for line in text.lines() {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = record["event"].as_object_mut().unwrap();
        named += usize::from(event.remove("repo").is_some());
        record["prev"] = prev;
        let line = record.to_string();
        prev = serde_json::to_value(FileDigest::of(line.as_bytes())).unwrap();
        out += &line;
        out.push('\n');
    }
    assert_eq!(named, 1, "one package was signed");
    std::fs::write(world.journal(), out).unwrap();
}

#[test]
fn a_journal_from_before_records_named_repositories_counts_in_every_one() {
    let mut world = World::start();
    let new = version("2.0");
    let signed = world.sign_whole(&new);
    world.halt();
    as_before_repositories(&world);
    assert_eq!(journal::verify(&world.journal()).unwrap().torn_bytes, 0);
    world.serve();
    for repo in ["base", "long-term"] {
        let answer = world.ask_for(repo, &version("1.0"));
        assert_eq!(held(answer, repo), older("2.0", "1.0"));
        let answer = world.ask_for(repo, &namesake_of("2.0"));
        let taken = Reason::NevraTaken {
            signed: new.header(),
        };
        assert_eq!(held(answer, repo), taken);
        let again = world.ask_for(repo, &new).unwrap();
        assert_eq!(again.signature_header, signed.signature_header);
    }
    // What is out stays out.
    let draft = Draft::new(1, None, &[(&new, &signed)]);
    assert_eq!(draft.document.repos[0].repo, base());
    let mut client = world.client();
    client.sign_release(&draft.json(), &draft.files).unwrap();
}
