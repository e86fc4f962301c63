//! Behind the log-in: who comes in, what a form must bring along, and that each decision is the same on the
//! pages, in the API and on the command line.

mod deeds;
mod entry;

use crate::ENEMY;
use hallmark_tests::http::{Answer, Http};
use hallmark_tests::packages::crafted::{Crafted, binary, source};
use hallmark_tests::{Options, World};
use repo_model::dsse::StatementKey;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::Field;
use repo_model::wire::operator::AuditLine;
use std::sync::LazyLock;

/// Provenance is demanded and never given: everything is held. alice and bob may waive that.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut more_policy = String::new();
    for (name, seed) in [("alice", 41), ("bob", 42)] {
        let pem = person(seed).public().to_pem();
        more_policy.push_str(&format!(
            "[[waiver_signers]]\nperson = \"{name}\"\nstatement_key = \"\"\"\n{pem}\"\"\"\n"
        ));
    }
    World::start(&Options {
        require_provenance: true,
        more_policy,
        server_settings: "trusted_proxies = [\"127.0.0.1\"]",
        ..Options::no_rebuilds()
    })
});

const PAGES: [&str; 5] = [
    "/operator",
    "/operator/held",
    "/operator/tokens",
    "/operator/keys",
    "/operator/audit",
];

fn person(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).expect("the seed is in range")
}

fn held(name: &str) -> u64 {
    let package = binary(name, "1.0").set(tag::SUMMARY, Field::I18n(vec![ENEMY.into()]));
    let build = Crafted::of(source(name, "1.0").bytes(), vec![package.bytes()])
        .publish(&WORLD.http)
        .build;
    WORLD.until_build(build, "is held", |status| status.stage.name() == "held");
    build
}

/// Somebody at a browser.
struct Browser {
    http: Http,
    cookie: String,
}

/// `key=value`, percent-encoded, joined.
fn encoded(fields: &[(&str, &str)]) -> String {
    let value = |text: &str| {
        let byte = |b: u8| format!("%{b:02X}");
        text.bytes().map(byte).collect::<String>()
    };
    let pairs = fields
        .iter()
        .map(|(key, text)| format!("{key}={}", value(text)));
    pairs.collect::<Vec<_>>().join("&")
}

fn log_in(token: &str, from: &str) -> Answer {
    let origin = WORLD.url();
    let headers = [
        ("origin", origin.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-forwarded-for", from),
        ("accept", "text/html"),
    ];
    let body = encoded(&[("token", token), ("next", "/operator/held")]);
    let http = WORLD.http.with_token(None);
    http.send("POST", "/operator/log-in", &headers, body.as_bytes())
}

impl Browser {
    fn logged_in(token: &str) -> Self {
        let answer = log_in(token, "203.0.113.1");
        assert_eq!(answer.status, 303, "{}", answer.text());
        assert_eq!(answer.header("location"), "/operator/held");
        let cookie = answer.header("set-cookie");
        for attribute in [
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
            "; Max-Age=28800",
        ] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(
            !cookie.contains("Secure"),
            "this server has no TLS: {cookie}"
        );
        Self {
            http: WORLD.http.with_token(None),
            cookie: cookie.split(';').next().expect("a pair").to_owned(),
        }
    }

    fn operator(name: &str) -> Self {
        Self::logged_in(&WORLD.new_token(name, &["--scope", "operate"]))
    }

    fn get(&self, path: &str) -> Answer {
        let headers = [("cookie", self.cookie.as_str()), ("accept", "text/html")];
        self.http.send("GET", path, &headers, b"")
    }

    fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("form-action 'self'")
        );
        answer.text()
    }

    fn csrf(&self) -> String {
        let page = self.page("/operator");
        let from = page.find("name=\"csrf\" value=\"").expect("a form") + 19;
        page[from..from + 64].to_owned()
    }

    fn send(&self, path: &str, origin: &str, kind: &str, body: &[u8]) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", origin),
            ("content-type", kind),
            ("accept", "text/html"),
        ];
        self.http.send("POST", path, &headers, body)
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf();
        let all: Vec<_> = [("csrf", csrf.as_str())]
            .iter()
            .chain(fields)
            .copied()
            .collect();
        let kind = "application/x-www-form-urlencoded";
        self.send(path, &WORLD.url(), kind, encoded(&all).as_bytes())
    }

    fn upload(&self, path: &str, field: &str, file: &[u8]) -> Answer {
        let mut body = Vec::new();
        let csrf = self.csrf();
        for (head, content) in [
            ("name=\"csrf\"".to_owned(), csrf.as_bytes()),
            (format!("name=\"{field}\"; filename=\"w.json\""), file),
        ] {
            let head = format!("--bo-unDary\r\nContent-Disposition: form-data; {head}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--bo-unDary--\r\n");
        let kind = "multipart/form-data; boundary=bo-unDary";
        self.send(path, &WORLD.url(), kind, &body)
    }
}

/// What people decided about a build after they handed it over, newest first: who, and what.
fn trail(build: u64) -> Vec<(String, String)> {
    let path = format!("/api/v1/audit?people=true&about=build%20{build}");
    let lines: Vec<AuditLine> = WORLD.http.get_json(&path);
    let decided = lines.into_iter().filter(|line| line.action != "received");
    decided.map(|line| (line.actor, line.action)).collect()
}
