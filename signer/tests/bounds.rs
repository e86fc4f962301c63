//! What a signer in good order still does not do: too much, too old, out of its scope; and how its
//! decisions are looked at afterwards.

mod common;

use common::serving::{self, Serving};
use common::{A, B, Draft, Rpm, World, base, policy_text, rebuilds, sboms, tools};
use hallmark_signer::client::ClientError;
use hallmark_signer::journal;
use repo_model::policy::Reason;
use repo_model::wire::signer::{Base64, Request};
use std::path::Path;
use std::process::{Command, Output};

fn write_policy(world: &World, version: u64, more: &str) {
    std::fs::write(&world.config.policy_file, policy_text(version, more)).unwrap();
}

/// Whether it is held, and the first reason.
fn refusal(world: &World, rpm: &Rpm) -> (bool, Reason) {
    match world.ask(rpm, &rebuilds(rpm)) {
        Err(ClientError::Refused { held, mut reasons }) => (held, reasons.remove(0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lower_version_is_held_unless_the_policy_allows_it() {
    let mut world = World::start();
    let versions = ["1.10", "1.9", "1.8"];
    let Some(rpms) = tools::versions(world.dir.path(), "assayed", &versions) else {
        return;
    };
    world.sign(&rpms[1]);
    world.sign(&rpms[0]);
    let expected = || {
        let (signed, found) = ("1.10-1".to_owned(), "1.8-1".to_owned());
        (true, Reason::OlderVersion { signed, found })
    };
    assert_eq!(refusal(&world, &rpms[2]), expected());
    // What was signed before is signed again: the answer may have been lost.
    world.sign(&rpms[1]);
    world.restart();
    assert_eq!(refusal(&world, &rpms[2]), expected());
    world.halt();
    write_policy(&world, 2, "older_versions = \"allow\"");
    world.serve();
    world.sign(&rpms[2]);
}

#[test]
fn names_and_architectures_outside_the_policy_s_scope_are_held() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let scopes = [
        ("name_prefixes = [\"other-\"]", false),
        ("arches = [\"x86_64\"]", false),
        (
            "name_prefixes = [\"other-\", \"ass\"]\narches = [\"noarch\"]",
            true,
        ),
    ];
    for (version, (scope, inside)) in (2..).zip(scopes) {
        world.halt();
        write_policy(&world, version, scope);
        world.serve();
        if inside {
            world.sign(&rpms[0]);
            continue;
        }
        let (held, reason) = refusal(&world, &rpms[0]);
        assert!(held, "{scope}: another policy may cover it");
        assert!(matches!(reason, Reason::OutOfScope { .. }), "{reason:?}");
    }
}

#[test]
fn a_rebuilder_s_word_counts_for_its_own_names_only() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed", "other"]) else {
        return;
    };
    world.halt();
    let scoped = format!("name = \"{}\"\nname_prefixes = [\"oth\"]", B.name);
    let text = policy_text(2, "").replace(&format!("name = \"{}\"", B.name), &scoped);
    std::fs::write(&world.config.policy_file, text).unwrap();
    world.serve();
    let (held, reason) = refusal(&world, &rpms[0]);
    assert_eq!(
        (held, reason),
        (true, Reason::RebuildsMissing { have: 1, want: 2 })
    );
    world.sign(&rpms[1]);
}

#[test]
fn a_flood_is_told_to_come_back_and_leaves_one_alarm() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    world.halt();
    world.config.package_requests_per_minute = 4;
    world.serve();
    let rpm = &rpms[0];
    let signed = world.sign(rpm);
    let file = rpm.with_signature(&signed.signature_header).bytes;
    let mut client = world.client();
    let sign_file = |client: &mut hallmark_signer::client::Client| {
        client.sign_file(rpm.header(), file.len() as u64, file.as_slice())
    };
    for _ in 0..3 {
        sign_file(&mut client).unwrap();
    }
    // Unless a minute's fraction brought one more in.
    let refused = (0..20)
        .find_map(|_| sign_file(&mut client).err())
        .expect("twenty more than four a minute");
    assert!(matches!(refused, ClientError::Failed { .. }), "{refused}");
    assert!(refused.is_retryable() && refused.to_string().contains("4 requests a minute"));
    // The connection goes on, and the other key has a limit of its own.
    client.identity().unwrap();
    let draft = Draft::new(1, None, &[(rpm, &signed)]);
    client.sign_release(&draft.json(), &draft.files).unwrap();
    for _ in 0..5 {
        let _ = world.ask(rpm, &rebuilds(rpm));
    }
    let text = std::fs::read_to_string(world.journal()).unwrap();
    assert_eq!(text.matches("limit-reached").count(), 1);
}

/// `hallmark-signer audit …` on a world's files.
fn audit(world: &World, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hallmark-signer"))
        .arg("audit")
        .args(arguments)
        .arg("--journal")
        .arg(world.journal())
        .output()
        .unwrap()
}

/// The request as a client sends it, in a file.
fn saved_request(path: &Path, rpm: &Rpm, envelopes: Vec<repo_model::dsse::Envelope>) {
    let request = Request::SignPackage {
        repo: Some(base()),
        head: Base64(rpm.head.to_bytes()),
        envelopes,
        sboms: sboms(rpm).into_iter().map(Base64).collect(),
        log: None,
    };
    std::fs::write(path, serde_json::to_vec(&request).unwrap()).unwrap();
}

#[test]
fn a_decision_can_be_shown_and_made_again_without_the_signer() {
    let mut world = World::start();
    let versions = ["1.1", "1.0"];
    let Some(rpms) = tools::versions(world.dir.path(), "assayed", &versions) else {
        return;
    };
    let (good, few, old) = (
        rebuilds(&rpms[0]),
        vec![common::rebuild(
            A,
            &rpms[0],
            repo_model::verdict::Verdict::Identical,
        )],
        rebuilds(&rpms[1]),
    );
    world.ask(&rpms[0], &few).unwrap_err();
    world.ask(&rpms[0], &good).unwrap();
    world.ask(&rpms[1], &old).unwrap_err();
    world.halt();

    let shown = audit(&world, &["show", "3"]);
    let shown: journal::Record = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown.seq, 3);
    assert_eq!(audit(&world, &["show", "5"]).status.code(), Some(1));

    let path = world.dir.path().join("request.json");
    let request = path.to_str().unwrap();
    let policy = world.config.policy_file.to_str().unwrap().to_owned();
    let replay = |world: &World| audit(world, &["replay", request, "--policy", &policy]);
    for (rpm, envelopes, word) in [
        (&rpms[0], few, "again    hold: confirmed by 1"),
        (&rpms[0], good.clone(), "again    release: rb-a; rb-b"),
        (&rpms[1], old, "again    hold: version 1.0-1 is older"),
    ] {
        saved_request(&path, rpm, envelopes);
        let output = replay(&world);
        let said = tools::text(&output);
        assert_eq!(output.status.code(), Some(0), "{word}: {said}");
        assert!(said.contains(word), "{word}: {said}");
    }
    // Under another policy the decision is another one.
    saved_request(&path, &rpms[0], good.clone());
    write_policy(&world, 2, "arches = [\"x86_64\"]");
    let output = replay(&world);
    let said = tools::text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("another policy") && said.contains("again    hold"),
        "{said}"
    );
    // A request nobody made.
    saved_request(
        &path,
        &rpms[0],
        good[..1].iter().chain(&good).cloned().collect(),
    );
    let said = tools::text(&replay(&world));
    assert!(said.contains("no record of a package request"), "{said}");
}

#[test]
fn a_serving_signer_leaves_no_core_and_keeps_its_keys_out_of_swap() {
    let world = World::prepared();
    let init = serving::program(&world, &["init"], "").status();
    assert!(init.unwrap().success());
    let started = Serving::start(&world, serving::program(&world, &["serve"], ""));
    let serving = started.unwrap_or_else(|| panic!("{}", serving::log(&world)));
    let of_process =
        |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", serving.id())).unwrap();
    let (limits, status) = (of_process("limits"), of_process("status"));
    let line = |text: &str, name: &str| {
        let found = text.lines().find(|line| line.starts_with(name));
        found.unwrap_or_default().to_owned()
    };
    let core = line(&limits, "Max core file size");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let memory = line(&limits, "Max locked memory");
    let locked = line(&status, "VmLck:");
    if memory.contains("unlimited") {
        assert_ne!(locked.split_whitespace().nth(1), Some("0"), "{locked}");
    } else {
        eprintln!("SKIPPED: locked memory is limited here: {memory}");
    }
}
