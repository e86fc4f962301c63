//! Who counts: parties that confirm, differ, copy, lie and come late, judged over real envelopes.

use super::*;
use crate::Timestamp;
use crate::dsse::StatementKey;
use crate::rpm::testkit::Rpm;
use crate::sealed::{COMMITMENT, Commitment, REVEAL, Reveal, seal};
use crate::statement::{
    BuildDefinition, BuilderId, PROVENANCE, Provenance, REBUILD, Rebuild, Rebuilder, Resource,
    RunDetails, RunMetadata, Statement, Subject,
};
use crate::verdict::Verdict::{self, Differs, Identical, InfraFailed};

const SALT: &str = "0707070707070707070707070707070707070707070707070707070707070707";

fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(1_700_000_000 + secs)
}

fn file(name: &str) -> FileDigest {
    FileDigest::of(name.as_bytes())
}

fn key(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).unwrap()
}

/// Rebuilders 1 to 4 of operators op-1 to op-4, and a builder (9) of op-4.
fn policy(more: &str) -> Policy {
    let holder = |list: &str, seed: u8, operator: u8| {
        format!(
            "[[{list}]]\nname = \"r{seed}\"\noperator = \"op-{operator}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
            key(seed).public().to_pem()
        )
    };
    let holders: String = (1..=4)
        .map(|seed| holder("rebuilders", seed, seed))
        .collect();
    let text = format!(
        "version = 1\nmin_rebuilders = 2\nmin_operators = 2\nsbom_formats = []\n{more}\n{holders}{}",
        holder("builders", 9, 4)
    );
    Policy::from_toml(&text).unwrap()
}

/// One rebuilder's answer, before it is told.
#[derive(Clone)]
struct Answer {
    seed: u8,
    rebuild: Rebuild,
    statement: Envelope,
    commitment: Envelope,
}

/// A package and what is said about it.
struct Case {
    head: Head,
    envelopes: Vec<Envelope>,
}

impl Case {
    fn new() -> Self {
        Self {
            head: Head::parse(&Rpm::binary("hello").bytes()).unwrap(),
            envelopes: Vec::new(),
        }
    }

    fn answer(&self, seed: u8, verdict: Verdict, change: impl FnOnce(&mut Rebuild)) -> Answer {
        let rebuilder = Rebuilder {
            id: format!("r{seed}").parse().unwrap(),
            operator: format!("op-{seed}").parse().unwrap(),
        };
        let profile = if seed == 1 { "plain" } else { "one-cpu" };
        let mut rebuild = Rebuild {
            rebuilder: rebuilder.clone(),
            verdict,
            source: Resource::file("hello.src.rpm", file("source")),
            buildinfo: Resource::file("buildinfo.json", file("buildinfo")),
            buildroot: Resource::file("buildroot", file("root")),
            rpm_version: "4.18.0".to_owned(),
            source_date_epoch: None,
            profile: profile.to_owned(),
            limits: "cgroup".to_owned(),
            runs: Vec::new(),
            causes: Vec::new(),
            attachments: Vec::new(),
            started_on: at(0),
            finished_on: at(10),
        };
        change(&mut rebuild);
        let subject = Subject::unsigned_rpm("hello.rpm", file("rpm"), self.head.header_digest());
        let statement = Statement::new(REBUILD, vec![subject], rebuild.clone())
            .sign(&key(seed))
            .unwrap();
        let committed = Commitment {
            rebuilder,
            source: rebuild.source.clone(),
            buildinfo: rebuild.buildinfo.clone(),
            sealed: seal(SALT, &[FileDigest::of(&statement.to_json())]),
            committed_on: at(11),
        };
        let commitment = Statement::new(COMMITMENT, Vec::new(), committed)
            .sign(&key(seed))
            .unwrap();
        Answer {
            seed,
            rebuild,
            statement,
            commitment,
        }
    }

    /// `answers` are revealed in the round of `round`.
    fn reveal(&mut self, answers: &[&Answer], round: &[&Answer]) {
        let mut members: Vec<_> = round
            .iter()
            .map(|answer| FileDigest::of(&answer.commitment.to_json()))
            .collect();
        members.sort();
        for answer in answers {
            let reveal = Reveal {
                rebuilder: answer.rebuild.rebuilder.clone(),
                commitment: FileDigest::of(&answer.commitment.to_json()),
                salt: SALT.to_owned(),
                statements: vec![FileDigest::of(&answer.statement.to_json())],
                round: members.clone(),
                revealed_on: at(20),
            };
            let reveal = Statement::new(REVEAL, Vec::new(), reveal)
                .sign(&key(answer.seed))
                .unwrap();
            self.envelopes
                .extend([answer.statement.clone(), answer.commitment.clone(), reveal]);
        }
    }

    fn round(mut self, answers: &[&Answer]) -> Self {
        self.reveal(answers, answers);
        self
    }

    fn provenance(&mut self, source: &str, buildinfo: &str) {
        let said = Provenance {
            build_definition: BuildDefinition {
                build_type: statement_type(),
                external_parameters: serde_json::json!({
                    "source": file(source), "buildinfo": file(buildinfo)
                }),
                internal_parameters: serde_json::json!({}),
                resolved_dependencies: Vec::new(),
            },
            run_details: RunDetails {
                builder: BuilderId {
                    id: "https://builder.example".to_owned(),
                },
                metadata: RunMetadata {
                    invocation_id: "1".to_owned(),
                    started_on: at(0),
                    finished_on: at(1),
                },
            },
        };
        let subject = Subject::unsigned_rpm("hello.rpm", file("rpm"), self.head.header_digest());
        let envelope = Statement::new(PROVENANCE, vec![subject], said)
            .sign(&key(9))
            .unwrap();
        self.envelopes.push(envelope);
    }

    fn judge(&self, policy: &Policy) -> Judgement {
        let evidence = Evidence {
            head: &self.head,
            envelopes: &self.envelopes,
            sboms: &[],
        };
        judge(policy, &evidence, at(100))
    }

    /// Codes of the reasons to hold it; empty: it is released.
    fn codes(&self, policy: &Policy) -> Vec<String> {
        match self.judge(policy).decision {
            Decision::Release => Vec::new(),
            Decision::Hold(reasons) => reasons.iter().map(code).collect(),
            Decision::Reject(reasons) => panic!("{reasons:?}"),
        }
    }
}

fn statement_type() -> String {
    crate::statement::BUILD_TYPE.to_owned()
}

fn code(reason: &Reason) -> String {
    serde_json::to_value(reason).unwrap()["code"]
        .as_str()
        .unwrap()
        .to_owned()
}

const SHORT: [&str; 2] = ["rebuilds-missing", "operators-missing"];

fn short_and(more: &[&str]) -> Vec<String> {
    SHORT
        .iter()
        .chain(more)
        .map(|code| (*code).to_owned())
        .collect()
}

#[test]
fn two_that_committed_before_either_told_release_a_package() {
    let case = Case::new();
    let (a, b) = (
        case.answer(1, Identical, |_| {}),
        case.answer(2, Identical, |_| {}),
    );
    let case = case.round(&[&a, &b]);
    let judgement = case.judge(&policy(""));
    assert_eq!(judgement.decision, Decision::Release);
    assert_eq!(judgement.confirmed_by.len(), 2);
    let made_from = MadeFrom {
        source: file("source"),
        buildinfo: file("buildinfo"),
    };
    assert_eq!(judgement.made_from, Some(made_from));
    assert_eq!(
        judgement.inputs.len(),
        6,
        "statement, commitment and reveal of each"
    );
}

#[test]
fn whoever_could_have_copied_does_not_count() {
    let strict = policy("");
    let lax = policy("commit_reveal = false");
    let new = || {
        let case = Case::new();
        let a = case.answer(1, Identical, |_| {});
        let b = case.answer(2, Identical, |_| {});
        (case, a, b)
    };
    // b commits when a has told.
    let (mut late, a, b) = new();
    late.reveal(&[&a], &[&a]);
    late.reveal(&[&b], &[&a, &b]);
    // a tells its answer twice, the second time in the round of somebody who could know it.
    let (mut twice, a, b) = new();
    twice.reveal(&[&a], &[&a]);
    twice.reveal(&[&a, &b], &[&a, &b]);
    // Neither committed.
    let (mut open, a, b) = new();
    open.envelopes = vec![a.statement, b.statement];
    // b commits to one answer and tells another.
    let (mut changed, a, b) = new();
    changed.reveal(&[&a, &b], &[&a, &b]);
    let other = changed.answer(2, Identical, |rebuild| rebuild.finished_on = at(12));
    changed.envelopes[3] = other.statement;
    for (what, case) in [
        ("late", late),
        ("twice", twice),
        ("open", open),
        ("changed", changed),
    ] {
        let codes = case.codes(&strict);
        assert_eq!(codes[0], "rebuilds-missing", "{what}: {codes:?}");
        assert!(codes.contains(&"not-blind".to_owned()), "{what}: {codes:?}");
        assert_eq!(case.codes(&lax), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_third_that_comes_late_takes_nothing_from_two_that_were_in_time() {
    let mut case = Case::new();
    let answers = [1, 2, 3].map(|seed| case.answer(seed, Identical, |_| {}));
    case.reveal(&[&answers[0], &answers[1]], &[&answers[0], &answers[1]]);
    case.reveal(&[&answers[2]], &[&answers[2]]);
    let judgement = case.judge(&policy(""));
    assert_eq!(judgement.decision, Decision::Release);
    assert_eq!(judgement.confirmed_by.len(), 2);
}

#[test]
fn rebuilds_of_another_source_or_buildinfo_do_not_count() {
    let other = |rebuild: &mut Rebuild| {
        rebuild.buildinfo = Resource::file("buildinfo.json", file("another"));
    };
    let case = Case::new();
    let (a, b) = (
        case.answer(1, Identical, |_| {}),
        case.answer(2, Identical, other),
    );
    let mixed = case.round(&[&a, &b]);
    assert_eq!(
        mixed.codes(&policy("commit_reveal = false")),
        short_and(&["not-blind"])
    );

    for (source, buildinfo, released) in [
        ("source", "buildinfo", true),
        ("source", "another", false),
        ("another", "buildinfo", false),
    ] {
        let case = Case::new();
        let (a, b) = (
            case.answer(1, Identical, |_| {}),
            case.answer(2, Identical, |_| {}),
        );
        let mut case = case.round(&[&a, &b]);
        case.provenance(source, buildinfo);
        let codes = case.codes(&policy("require_provenance = true"));
        let wanted = if released { Vec::new() } else { short_and(&[]) };
        assert_eq!(codes, wanted, "{source} {buildinfo}");
    }
}

#[test]
fn the_operator_that_built_it_does_not_confirm_it() {
    let case = Case::new();
    let (a, own) = (
        case.answer(1, Identical, |_| {}),
        case.answer(4, Identical, |_| {}),
    );
    let mut case = case.round(&[&a, &own]);
    assert_eq!(
        case.codes(&policy("")),
        Vec::<String>::new(),
        "nobody says who built it"
    );
    case.provenance("source", "buildinfo");
    assert_eq!(case.codes(&policy("")), short_and(&["own-rebuild"]));
    // What it says against the package counts all the same.
    let case = Case::new();
    let answers = [(1, Identical), (2, Identical), (4, Differs)]
        .map(|(seed, verdict)| case.answer(seed, verdict, |_| {}));
    let mut case = case.round(&answers.iter().collect::<Vec<_>>());
    case.provenance("source", "buildinfo");
    assert_eq!(case.codes(&policy("")), ["rebuild-differs"]);
    assert_eq!(
        case.codes(&policy("dissent = \"note\"")),
        Vec::<String>::new()
    );
}

#[test]
fn one_of_those_that_count_has_to_be_plain() {
    let case = Case::new();
    let (b, c) = (
        case.answer(2, Identical, |_| {}),
        case.answer(3, Identical, |_| {}),
    );
    let case = case.round(&[&b, &c]);
    assert_eq!(case.codes(&policy("")), ["plain-missing"]);
    assert_eq!(
        case.codes(&policy("require_plain = false")),
        Vec::<String>::new()
    );
}

#[test]
fn a_flaky_package_needs_every_run_of_every_rebuilder() {
    let known = "[[flaky]]\nsource = \"hello\"\nruns = 3";
    let runs = |count: usize| move |rebuild: &mut Rebuild| rebuild.runs = vec![Identical; count];
    let case = Case::new();
    let (a, b) = (
        case.answer(1, Identical, runs(3)),
        case.answer(2, Identical, runs(2)),
    );
    let case = case.round(&[&a, &b]);
    assert_eq!(case.codes(&policy(known)), short_and(&["flaky"]));
    assert_eq!(
        case.codes(&policy("")),
        Vec::<String>::new(),
        "not known to be flaky"
    );

    // One of three misses: that is an objection, and makes the package flaky for everybody.
    let miss = |rebuild: &mut Rebuild| rebuild.runs = vec![Identical, Differs, Identical];
    let case = Case::new();
    let answers = [
        case.answer(1, Identical, |_| {}),
        case.answer(2, Identical, runs(3)),
        case.answer(3, Differs, miss),
    ];
    let case = case.round(&answers.iter().collect::<Vec<_>>());
    assert_eq!(
        case.codes(&policy("dissent = \"note\"")),
        short_and(&["flaky", "rebuild-differs"])
    );

    // A mismatch, and a match later: flaky, until each made it three times.
    let case = Case::new();
    let first = case.answer(2, Differs, |_| {});
    let later = |count: usize| {
        move |rebuild: &mut Rebuild| {
            rebuild.finished_on = at(50);
            rebuild.runs = vec![Identical; count];
        }
    };
    let (a, b) = (
        case.answer(1, Identical, later(1)),
        case.answer(2, Identical, later(1)),
    );
    let mut case = case.round(&[&first]);
    case.reveal(&[&a, &b], &[&a, &b]);
    assert_eq!(case.codes(&policy("")), short_and(&["flaky", "flaky"]));
    let (a, b) = (
        case.answer(1, Identical, later(3)),
        case.answer(2, Identical, later(3)),
    );
    case.reveal(&[&a, &b], &[&a, &b]);
    assert_eq!(case.codes(&policy("")), Vec::<String>::new());
}

#[test]
fn a_verdict_better_than_its_runs_is_not_believed() {
    let lie = |rebuild: &mut Rebuild| rebuild.runs = vec![Identical, Differs];
    let case = Case::new();
    let (a, b) = (
        case.answer(1, Identical, |_| {}),
        case.answer(2, Identical, lie),
    );
    let case = case.round(&[&a, &b]);
    let codes = case.codes(&policy(""));
    assert!(codes.contains(&"rebuild-differs".to_owned()), "{codes:?}");
}

#[test]
fn what_could_not_be_said_is_no_voice_at_all() {
    let case = Case::new();
    let (a, b) = (
        case.answer(1, Identical, |_| {}),
        case.answer(2, InfraFailed, |_| {}),
    );
    let case = case.round(&[&a, &b]);
    assert_eq!(case.codes(&policy("")), SHORT);
}

#[test]
fn a_package_out_of_scope_is_held_and_a_revoked_one_rejected() {
    let case = Case::new();
    let (a, b) = (
        case.answer(1, Identical, |_| {}),
        case.answer(2, Identical, |_| {}),
    );
    let case = case.round(&[&a, &b]);
    assert_eq!(
        case.codes(&policy("name_prefixes = [\"kernel\"]")),
        ["out-of-scope"]
    );
    let revoked = format!(
        "[[revoked]]\nheader_sha256 = \"{}\"\nreason = \"r\"",
        case.head.header_digest()
    );
    let decision = case.judge(&policy(&revoked)).decision;
    assert!(matches!(decision, Decision::Reject(_)), "{decision:?}");
}
