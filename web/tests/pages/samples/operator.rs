//! Draws the pages behind the log-in.

use super::{COUNTS, Words, at, line};
use repo_model::OperatorName;
use repo_model::stage::Stage;
use repo_model::wire::operator::{AuditLine, CreatedToken, JobLine, TokenStatus};
use repo_model::wire::signer::{KeyRole, KeyState, LogKeyRole, PublishedKey, PublishedLogKey};
use repo_model::wire::status::BuildStatus;
use web::*;

pub fn operator_pages(
    words: Words,
    site: &Site<'_>,
    builds: &[BuildStatus],
) -> Vec<(String, String)> {
    let who = words.of("alice (token 3)");
    let desk = Desk {
        site,
        who: &who,
        csrf: "0123456789abcdef",
        done: Some("It is tried again."),
        now: at(3_000),
    };
    let error = words.of("the token is not known here");
    let log_in = LogInView {
        site,
        error: Some(&error),
        next: "/operator",
    };
    let mut out = vec![
        ("log-in".to_owned(), web::log_in(&log_in).unwrap()),
        ("queue".to_owned(), queue_page(words, desk, builds)),
        ("keys".to_owned(), keys_page(words, desk)),
        ("tokens".to_owned(), tokens_page(words, desk)),
    ];
    let held = builds.iter().filter(|build| build.stage.name() == "held");
    let held: Vec<BuildLine> = held.map(line).collect();
    let view = HeldView {
        desk,
        builds: &held,
        next_offset: Some(100),
    };
    out.push(("held".to_owned(), web::held(&view).unwrap()));
    let trail = trail(words);
    let people: [OperatorName; 2] = ["alice", "bob"].map(|name| name.parse().unwrap());
    for build in builds {
        let view = DecideView {
            desk,
            build,
            people: &people,
            max_waiver_days: 90,
            trail: &trail,
        };
        if ["held", "rejected"].contains(&build.stage.name()) {
            let page = web::decide(&view).unwrap();
            out.push((format!("decide-{}", build.stage.name()), page));
        }
    }
    let about = words.of("build 4");
    let view = AuditView {
        desk,
        lines: &trail,
        people: true,
        about: &about,
        next: Some(17),
    };
    out.push(("audit".to_owned(), web::audit(&view).unwrap()));
    out
}

fn trail(words: Words) -> Vec<AuditLine> {
    let line = |line, action: &str, subject: String| AuditLine {
        line,
        at: at(5),
        actor: words.of("alice (token 3)"),
        action: action.to_owned(),
        subject,
        detail: words.of("built from the wrong branch"),
    };
    vec![
        line(18, "retry", "build 4".to_owned()),
        line(17, "token-create", words.of("token 4")),
    ]
}

fn queue_page(words: Words, desk: Desk<'_>, builds: &[BuildStatus]) -> String {
    let on_their_way = ["received", "approved", "signed"];
    let under_way: Vec<UnderWayLine> = builds
        .iter()
        .filter(|build| on_their_way.contains(&build.stage.name()))
        .map(|build| UnderWayLine {
            build: line(build),
            waiting: 1,
            at_work: 0,
            answered: 1,
            gave_up: u64::from(build.stage == Stage::Received),
            sboms_to_do: 2,
            error: Some(words.of("no space left on device")),
        })
        .collect();
    let jobs = [Some(7), None].map(|build| JobLine {
        name: "make-sbom".to_owned(),
        input: "7".to_owned(),
        build,
        source: build.map(|_| builds[6].source.clone()),
        state: "waiting".to_owned(),
        attempt: 4,
        run_at: at(9),
        since: build.map(|_| at(1)),
        last_error: build.map(|_| words.of("no space left on device")),
    });
    let view = QueueView {
        desk,
        counts: COUNTS,
        builds: &under_way,
        jobs: &jobs,
        limit: 2,
    };
    web::queue(&view).unwrap()
}

fn keys_page(words: Words, desk: Desk<'_>) -> String {
    let key = |state, expires| PublishedKey {
        role: KeyRole::Package,
        state,
        label: words.of("package-key"),
        fingerprint: "AB".repeat(20),
        algorithm: words.of("EdDSA (Ed25519)"),
        openpgp_version: Some(4),
        made: Some(at(0)),
        expires,
        since: Some(at(0)),
        public: String::new(),
        findings: vec![words.of("older clients do not know it")],
    };
    let log_key = PublishedLogKey {
        role: LogKeyRole::LogPqc,
        state: KeyState::Current,
        label: words.of("log-key-pqc"),
        fingerprint: "cd".repeat(32),
        algorithm: words.of("ML-DSA-44"),
        made: Some(at(0)),
        public: String::new(),
    };
    let keys = [
        key(KeyState::Current, Some(at(4_000))),
        key(KeyState::Next, None),
        key(KeyState::Revoked, None),
    ];
    let view = KeysView {
        desk,
        keys: Some(&keys),
        log_keys: &[log_key],
        answers: false,
    };
    web::keys(&view).unwrap()
}

fn tokens_page(words: Words, desk: Desk<'_>) -> String {
    let token = |id, expires_at, revoked_at| TokenStatus {
        id,
        name: words.of("koji"),
        scopes: vec!["publish:base".to_owned(), "read".to_owned()],
        created_at: at(0),
        expires_at,
        revoked_at,
    };
    let tokens = [
        token(1, None, None),
        token(2, Some(at(4_000)), None),
        token(3, Some(at(9)), None),
        token(4, None, Some(at(7))),
    ];
    let made = CreatedToken {
        id: 5,
        secret: "hallmark_5ec2e7".to_owned(),
        expires_at: at(9_000),
    };
    let view = TokensView {
        desk,
        tokens: &tokens,
        may_manage: true,
        made: Some(&made),
        repos: &["base".to_owned()],
    };
    web::tokens(&view).unwrap()
}
