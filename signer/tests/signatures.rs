//! The signer sees to it that what it signs is in the log: it says its records for it, and signs no more packages when
//! nobody shows it in time that they are there.

mod common;

use common::{A, B, Rpm, World, base, log::Log, now, policy_text, rebuilds, sboms, tools};
use hallmark_signer::desk::Desk;
use hallmark_signer::index::Index;
use hallmark_signer::journal::{self, Event, Record};
use hallmark_signer::keys;
use repo_model::announcement::{SIGNATURES, Signatures};
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::policy::Reason;
use repo_model::policy::logged::{LogPlace, LogProofs};
use repo_model::statement::Statement;
use repo_model::wire::signer::{Base64, Request, Response, ShownSignatures};
use repo_model::{FileDigest, Timestamp};
use std::process::Command;

const MINUTES: i64 = 30;

/// A desk that nobody reaches over a socket, and the log that it signs.
struct Office {
    world: World,
    desk: Option<Desk>,
    log: Log,
    start: Timestamp,
}

impl Office {
    fn new(more: &str) -> Self {
        let world = World::prepared();
        let text = policy_text(1, more).replace("require_log = false\n", "");
        std::fs::write(&world.config.policy_file, text).unwrap();
        keys::init(&world.config, now()).unwrap();
        let start = now();
        let desk = Some(Desk::open(&world.config, start).unwrap());
        let log = Log::default();
        Self {
            world,
            desk,
            log,
            start,
        }
    }

    fn after(&self, secs: i64) -> Timestamp {
        self.start.plus_secs(secs)
    }

    /// Another process takes over at that time.
    fn restart(&mut self, at: Timestamp) {
        self.desk = None;
        self.desk = Some(Desk::open(&self.world.config, at).unwrap());
    }

    fn ask(&self, request: &Request, at: Timestamp) -> Response {
        let digest = FileDigest::of(&serde_json::to_vec(request).unwrap());
        let desk = self.desk.as_ref().unwrap();
        let answer = desk.answer(request.clone(), digest, &mut std::io::empty(), at);
        answer.unwrap()
    }

    /// Has the log's new head signed.
    fn sign_head(&mut self, at: Timestamp) {
        let mut log = std::mem::take(&mut self.log);
        let signed = log.sign_by(
            |request| match self.ask(&Request::SignCheckpoint(request), at) {
                Response::CheckpointSigned { note } => Ok(note),
                other => Err(other),
            },
        );
        signed.unwrap();
        self.log = log;
    }

    /// A request for a package, all of whose evidence is in the log.
    fn request(&mut self, name: &str, at: Timestamp) -> Request {
        let rpm = Rpm::probe(name);
        let envelopes = rebuilds(&rpm);
        let indexes = [
            self.log.add(&envelopes[0], A),
            self.log.add(&envelopes[1], B),
        ];
        self.sign_head(at);
        let log: Option<LogProofs> = Some(self.log.proofs(&indexes));
        Request::SignPackage {
            repo: Some(base()),
            head: Base64(rpm.head.to_bytes()),
            sboms: sboms(&rpm).into_iter().map(Base64).collect(),
            envelopes,
            log,
        }
    }

    fn signs(&mut self, name: &str, at: Timestamp) -> bool {
        let request = self.request(name, at);
        match self.ask(&request, at) {
            Response::PackageSigned { .. } => true,
            Response::Refused {
                held: true,
                reasons,
            } => {
                let codes: Vec<_> = reasons.iter().map(Reason::code).collect();
                assert_eq!(codes, ["signatures-unlogged"], "{name}");
                false
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    fn said(&self, at: Timestamp) -> Option<Envelope> {
        match self.ask(&Request::SaySignatures, at) {
            Response::SignaturesSaid { envelope } => envelope,
            other => panic!("{other:?}"),
        }
    }

    fn key(&self) -> StatementPublicKey {
        let identity = self.desk.as_ref().unwrap().identity();
        identity.statement_key.parse().unwrap()
    }

    /// Takes the statement into the log and gives its place under the new head.
    fn take_in(&mut self, said: &Envelope, at: Timestamp) -> LogPlace {
        let index = self.log.add_by(said, &self.key());
        self.sign_head(at);
        self.log.place(index, self.log.size())
    }

    fn show(&self, envelope: &Envelope, head: &str, place: &LogPlace, at: Timestamp) -> Response {
        let shown = ShownSignatures {
            envelope: envelope.clone(),
            head: head.to_owned(),
            place: place.clone(),
        };
        self.ask(&Request::ShowSignatures(Box::new(shown)), at)
    }
}

fn packages(said: &Envelope, key: &StatementPublicKey) -> Signatures {
    let statement = Statement::<Signatures>::open(said, key, SIGNATURES);
    statement.unwrap().predicate
}

#[test]
fn signatures_that_are_not_shown_in_the_log_in_time_stop_the_signing_of_packages() {
    let mut office = Office::new(&format!("log_within_minutes = {MINUTES}"));
    assert_eq!(office.said(office.after(0)), None, "nothing was signed");
    assert!(office.signs("one", office.after(0)));
    assert!(office.signs("two", office.after(60)));
    let limit = MINUTES * 60;
    assert!(office.signs("three", office.after(limit)));
    assert!(!office.signs("four", office.after(limit + 1)));
    // Not forgotten by starting again.
    office.restart(office.after(limit + 2));
    assert!(!office.signs("four", office.after(limit + 2)));

    let at = office.after(limit + 3);
    let said = office.said(at).unwrap();
    let told = packages(&said, &office.key());
    let names: Vec<_> = told
        .packages
        .iter()
        .map(|one| one.nevra.name.as_str())
        .collect();
    assert_eq!(names, ["one", "two", "three"]);
    // Said is not shown, and what is shown must be that.
    assert!(!office.signs("four", at));
    let place = office.take_in(&said, at);
    let head = office.log.head.clone();
    let wrong = LogPlace {
        index: 0,
        ..place.clone()
    };
    for (what, answer, code) in [
        (
            "another place",
            office.show(&said, &head, &wrong, at),
            "not-in-log",
        ),
        (
            "another log",
            office.show(&said, "log.other\n1\nAAAA\n\n", &place, at),
            "log-head-unknown",
        ),
    ] {
        let Response::Refused { reasons, .. } = &answer else {
            panic!("{what}: {answer:?}")
        };
        assert_eq!(reasons[0].code(), code, "{what}");
    }
    let mut forged = said.clone();
    forged.signatures.clear();
    let answer = office.show(&forged, &head, &place, at);
    assert!(matches!(answer, Response::BadRequest { .. }), "{answer:?}");
    assert!(!office.signs("four", at));
    let place = office.log.place(place.index, office.log.size());
    let answer = office.show(&said, &office.log.head.clone(), &place, at);
    assert!(
        matches!(answer, Response::SignaturesShown { left: 0 }),
        "{answer:?}"
    );
    assert!(office.signs("four", at));
    assert_eq!(
        packages(&office.said(at).unwrap(), &office.key())
            .packages
            .len(),
        1,
        "only what is new"
    );
    // A statement is worth something once.
    let answer = office.show(&said, &office.log.head.clone(), &place, at);
    assert!(matches!(answer, Response::BadRequest { .. }), "{answer:?}");
    office.restart(at);
    assert!(office.signs("five", at));
}

#[test]
fn the_log_knows_what_the_journal_held_and_the_stop_can_be_judged_again_offline() {
    let mut office = Office::new(&format!("log_within_minutes = {MINUTES}"));
    assert!(office.signs("one", office.after(0)));
    let late = office.after(MINUTES * 60 + 1);
    let request = office.request("two", late);
    let answer = office.ask(&request, late);
    assert!(
        matches!(answer, Response::Refused { held: true, .. }),
        "{answer:?}"
    );
    let said = office.said(late).unwrap();
    let told = packages(&said, &office.key());
    office.desk = None;
    let path = office.world.dir.path().join("request.json");
    std::fs::write(&path, serde_json::to_vec(&request).unwrap()).unwrap();
    let audit = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallmark-signer"));
        let command = command.arg("audit").args(words).arg("--journal");
        let output = command.arg(office.world.journal()).output().unwrap();
        assert!(output.status.success(), "{}", tools::text(&output));
        tools::text(&output)
    };
    audit(&["verify", "--holds", &told.journal.to_hex()]);
    let policy = office.world.config.policy_file.to_str().unwrap();
    let again = audit(&["replay", path.to_str().unwrap(), "--policy", policy]);
    assert!(
        again.contains("again    hold: the signer signs no more packages"),
        "{again}"
    );
}

#[test]
fn a_policy_without_log_or_limit_does_not_stop() {
    for more in ["log_within_minutes = 0", "log_within_minutes = 10080"] {
        let mut office = Office::new(more);
        assert!(office.signs("one", office.after(0)));
        assert!(office.signs("two", office.after(6 * 86_400)), "{more}");
    }
}

#[test]
fn what_was_signed_while_the_policy_had_no_log_is_not_waited_for() {
    let mut office = Office::new("");
    let policy = office.world.config.policy_file.clone();
    std::fs::write(&policy, policy_text(2, "")).unwrap();
    office.restart(office.after(1));
    assert!(office.signs("one", office.after(2)));
    assert_eq!(office.said(office.after(2)), None);
    let with_log = policy_text(3, "").replace("require_log = false\n", "");
    std::fs::write(&policy, with_log).unwrap();
    let later = office.after(3 * 86_400);
    office.restart(later);
    assert!(office.signs("two", later));
    let told = packages(&office.said(later).unwrap(), &office.key());
    let names: Vec<_> = told
        .packages
        .iter()
        .map(|one| one.nevra.name.as_str())
        .collect();
    assert_eq!(names, ["two"]);
}

#[test]
fn what_was_signed_before_signers_asked_for_it_is_not_waited_for() {
    let mut office = Office::new("");
    assert!(office.signs("one", office.after(0)));
    office.desk = None;
    let mut index = Index::default();
    journal::read(&office.world.journal(), |record| {
        let mut record: Record = record.clone();
        if let Event::Started { asks_for_log, .. } = &mut record.event {
            *asks_for_log = false;
        }
        index.note(&record);
    })
    .unwrap();
    assert_eq!(index.len(), 1);
    assert!(index.unlogged().is_empty());
}
