//! Who comes in, and what a form must bring along.

use super::{Browser, PAGES, WORLD, encoded, held, log_in, trail};
use crate::assert_in_order;
use serde_json::json;

#[test]
fn what_is_behind_the_log_in_is_closed_to_everybody_else() {
    let watch = WORLD.watch();
    let build = held("closed");
    let http = WORLD.http.with_token(None);
    let decide = format!("/operator/builds/{build}");
    for path in PAGES.into_iter().chain([decide.as_str()]) {
        for cookie in ["", "hallmark=", "hallmark=0123", "other=1; hallmark=\"x\""] {
            let answer = http.send("GET", path, &[("cookie", cookie)], b"");
            assert_eq!(answer.status, 303, "{path}: {}", answer.text());
            assert!(
                answer.header("location").starts_with("/operator/log-in"),
                "{path}"
            );
        }
    }
    let origin = WORLD.url();
    for path in [
        format!("{decide}/retry"),
        format!("{decide}/reject"),
        format!("{decide}/waiver"),
        "/operator/tokens".to_owned(),
        "/operator/tokens/1/revoke".to_owned(),
    ] {
        let headers = [
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = http.send("POST", &path, &headers, b"reason=x&csrf=");
        assert_eq!(answer.status, 303, "{path}");
        assert_eq!(answer.header("location"), "/operator/log-in", "{path}");
        // A token alone is for the API; it opens no page, so no page can be made to use it.
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(
            WORLD.http.send("POST", &path, &headers, b"reason=x").status,
            403,
            "{path}"
        );
    }
    for path in ["/api/v1/jobs", "/api/v1/audit", "/api/v1/tokens"] {
        assert_eq!(http.get(path).status, 401, "{path}");
    }
    let reject = json!({"reason": "x"});
    let path = format!("/api/v1/builds/{build}/reject");
    assert_eq!(http.post_json(&path, &reject).status, 401);
    let publisher = WORLD
        .http
        .with_token(Some(&WORLD.new_token("ci", &["--scope", "publish"])));
    assert_eq!(publisher.post_json(&path, &reject).status, 403);
    assert_eq!(WORLD.build(build).stage.name(), "held");
    assert_eq!(trail(build), []);
    drop(watch);
}

#[test]
fn a_token_that_operates_opens_a_session_and_others_do_not() {
    let watch = WORLD.watch();
    let publisher = WORLD.new_token("publisher", &["--scope", "publish"]);
    for (token, status, says) in [
        ("hallmark_nonsense", 401, "the token is not known here"),
        ("", 401, "the token is not known here"),
        (publisher.as_str(), 403, "lacks the scope operate"),
    ] {
        let answer = log_in(token, "203.0.113.2");
        assert_eq!((answer.status, answer.header("set-cookie")), (status, ""));
        assert!(answer.text().contains(says), "{}", answer.text());
        assert_eq!(answer.header("www-authenticate"), "");
    }
    let alice = Browser::operator("alice-looks");
    for path in PAGES {
        assert!(alice.page(path).contains("alice-looks (token "), "{path}");
    }
    assert_in_order(
        &alice.page("/operator/keys"),
        &["package-key", "current", "statement-key"],
    );
    assert!(alice.page("/operator/audit?people=true").contains("log-in"));
    let other = Browser::operator("alice-looks-too");
    assert_ne!(alice.cookie, other.cookie);
    let out = alice.post("/operator/log-out", &[]);
    assert_eq!(out.status, 303);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(alice.get("/operator").status, 303, "the session is over");
    assert_eq!(other.get("/operator").status, 200, "others are not");
    drop(watch);
}

#[test]
fn whoever_guesses_tokens_has_to_wait() {
    let good = WORLD.new_token("patient", &["--scope", "operate"]);
    for _ in 0..10 {
        assert_eq!(log_in("hallmark_guess", "203.0.113.9").status, 401);
    }
    let answer = log_in(&good, "203.0.113.9");
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(
        answer.text().contains("wait 15 minutes"),
        "{}",
        answer.text()
    );
    assert_eq!(log_in(&good, "203.0.113.10").status, 303);
}

#[test]
fn a_form_of_another_site_or_of_another_session_changes_nothing() {
    let watch = WORLD.watch();
    let build = held("forged");
    let (alice, eve) = (Browser::operator("alice-forged"), Browser::operator("eve"));
    let path = format!("/operator/builds/{build}/reject");
    let (own, kind) = (WORLD.url(), "application/x-www-form-urlencoded");
    let (right, wrong) = (alice.csrf(), eve.csrf());
    let form = |csrf: &str| encoded(&[("csrf", csrf), ("reason", "forged")]);
    for origin in ["https://evil.test", "null", "", "http://127.0.0.1:1"] {
        let answer = alice.send(&path, origin, kind, form(&right).as_bytes());
        assert_eq!(answer.status, 403, "{origin}");
    }
    let headers = [
        ("cookie", alice.cookie.as_str()),
        ("origin", own.as_str()),
        ("sec-fetch-site", "cross-site"),
        ("content-type", kind),
    ];
    let answer = alice
        .http
        .send("POST", &path, &headers, form(&right).as_bytes());
    assert_eq!(
        answer.status, 403,
        "the browser says that it is another site's"
    );
    for csrf in [wrong.as_str(), "", "0"] {
        let answer = alice.send(&path, &own, kind, form(csrf).as_bytes());
        assert_eq!(answer.status, 403, "{csrf}");
    }
    for (kind, body) in [
        ("text/plain", "csrf=x"),
        ("application/json", "{}"),
        ("multipart/form-data; boundary=x", "--x"),
    ] {
        let answer = alice.send(&path, &own, kind, body.as_bytes());
        assert!(
            matches!(answer.status, 400 | 403),
            "{kind}: {}",
            answer.status
        );
    }
    // A link cannot do what a form does.
    assert_eq!(alice.get(&path).status, 405);
    assert_eq!(WORLD.build(build).stage.name(), "held");
    assert_eq!(trail(build), []);
    drop(watch);
}
