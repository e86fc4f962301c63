//! What operators do: on the pages, in the API, on the command line, and in a real browser.

use super::{Browser, WORLD, held, person, trail};
use crate::browser::{look, visit};
use crate::{ENEMY, assert_in_order};
use hallmark_tests::packages::crafted::{Crafted, binary, source};
use hallmark_tests::tools::Need;
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, World, require};
use repo_model::dsse::Envelope;
use repo_model::policy::Reason;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::Field;
use repo_model::wire::ErrorBody;
use repo_model::wire::operator::{CreatedToken, JobLine, TokenStatus};
use serde_json::{Value, json};

#[test]
fn a_held_build_is_tried_again_and_rejected_on_the_pages_with_a_line_for_each() {
    let watch = WORLD.watch();
    let build = held("fate");
    let alice = Browser::operator("alice-decides");
    let page = format!("/operator/builds/{build}");
    assert_in_order(
        &alice.page("/operator/held"),
        &["fate-1.0-1.src", "provenance-missing", "Try again"],
    );
    assert_in_order(
        &alice.page(&page),
        &[
            "Why it is held",
            "Try again",
            "Waive",
            "alice and bob",
            "Reject",
            "What happened to it",
        ],
    );
    let again = alice.post(&format!("{page}/retry"), &[]);
    assert_eq!(
        (again.status, again.header("location")),
        (303, format!("{page}?done=retry").as_str())
    );
    assert!(
        alice
            .page(&format!("{page}?done=retry"))
            .contains("It is tried again.")
    );
    WORLD.until_build(build, "is held again", |status| {
        status.stage.name() == "held"
    });

    for reason in ["", " \r\n ", &"x".repeat(2_001)] {
        let answer = alice.post(&format!("{page}/reject"), &[("reason", reason)]);
        assert_eq!(answer.status, 422, "{reason}");
    }
    let answer = alice.post(&format!("{page}/reject"), &[("reason", ENEMY)]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    let status = WORLD.build(build);
    let reason = Reason::RejectedByOperator {
        reason: ENEMY.to_owned(),
    };
    assert_eq!(status.stage.reasons(), [reason]);
    let html = alice.page(&page);
    assert!(html.contains("&lt;script&gt;alert(1)") && !html.contains("<script>alert"));
    assert!(!html.contains(&format!("{page}/reject")), "it is over");
    let public = String::from_utf8(WORLD.http.fetch(&format!("/builds/{build}"))).expect("text");
    assert!(public.contains("An operator turned it away") && !public.contains("<script>alert"));
    let deeds: Vec<_> = trail(build).into_iter().map(|(_, action)| action).collect();
    assert_eq!(deeds, ["reject", "retry"]);
    assert!(
        trail(build)
            .iter()
            .all(|(who, _)| who.starts_with("alice-decides (token "))
    );

    // Once is enough, and what is over stays over.
    for deed in ["reject", "retry"] {
        let answer = alice.post(&format!("{page}/{deed}"), &[("reason", "again")]);
        assert_eq!(answer.status, 409, "{deed}");
    }
    // The name is free again, for other bytes.
    let other = binary("fate", "1.0").set(tag::SUMMARY, Field::I18n(vec![b"mended".to_vec()]));
    Crafted::of(source("fate", "1.0").bytes(), vec![other.bytes()]).publish(&WORLD.http);
    drop(watch);
}

#[test]
fn api_and_command_line_reject_as_the_pages_do() {
    let watch = WORLD.watch();
    let [by_api, by_command] = ["by-api", "by-command"].map(held);
    let path = format!("/api/v1/builds/{by_api}/reject");
    let answer = WORLD
        .http
        .post_json(&path, &json!({"reason": "wrong branch"}));
    assert_eq!(answer.status, 204, "{}", answer.text());
    WORLD.hallmark_ok(&[
        "reject",
        &by_command.to_string(),
        "--reason",
        "wrong branch",
    ]);
    for build in [by_api, by_command] {
        assert_eq!(WORLD.build(build).stage.name(), "rejected");
        assert_eq!(trail(build).len(), 1);
        let shown = WORLD.hallmark_ok(&["status", &build.to_string()]);
        assert!(
            shown.contains("an operator turned it away: wrong branch"),
            "{shown}"
        );
    }
    let again = WORLD
        .http
        .post_json(&path, &json!({"reason": "wrong branch"}));
    assert_eq!(
        (again.status, again.json::<ErrorBody>().code.as_str()),
        (409, "wrong-stage")
    );
    let none = "/api/v1/builds/9223372036854775808/reject";
    assert_eq!(
        WORLD.http.post_json(none, &json!({"reason": "x"})).status,
        404
    );
    let audit = WORLD.hallmark_ok(&[
        "audit",
        "--people",
        "--about",
        &format!("build {by_command}"),
    ]);
    assert_in_order(&audit, &["LINE", "world (token ", "reject", "wrong branch"]);
    let jobs: Vec<JobLine> = WORLD.http.get_json("/api/v1/jobs");
    assert!(jobs.iter().all(|job| job.build != Some(by_api)), "{jobs:?}");
    WORLD.hallmark_ok(&["jobs"]);
    drop(watch);
}

#[test]
fn a_rejection_outlives_a_kill_of_the_server() {
    let options = Options {
        require_provenance: true,
        ..Options::no_rebuilds()
    };
    let owned = World::start(&options);
    let world = owned.watch();
    let build = Crafted::new("killed", "1.0").publish(&world.http).build;
    // Whatever stage it is in, at whatever moment the server dies: rejected is rejected.
    let path = format!("/api/v1/builds/{build}/reject");
    let answer = world
        .http
        .post_json(&path, &json!({"reason": "wrong branch"}));
    assert_eq!(answer.status, 204, "{}", answer.text());
    world.crash(SERVER);
    world.until_ready();
    let status = world.build(build);
    assert_eq!(status.stage.name(), "rejected");
    world.until("its work is done", || {
        let jobs: Vec<JobLine> = world.http.get_json("/api/v1/jobs");
        match jobs.iter().any(|job| job.build == Some(build)) {
            true => Err(format!("{jobs:?}")),
            false => Ok(()),
        }
    });
    assert_eq!(world.build(build).stage.name(), "rejected");
}

#[test]
fn a_waiver_is_written_on_a_page_signed_elsewhere_and_handed_in_on_a_page() {
    let watch = WORLD.watch();
    let build = held("waived");
    let alice = Browser::operator("alice-waives");
    let page = format!("/operator/builds/{build}");
    let query = "finding=provenance-missing&days=7&reason=it%20is%20urgent%20%3Cb%3E";
    let answer = alice.get(&format!("{page}/waiver.json?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"waiver-{build}.json\"")
    );
    for wrong in [
        "",
        "finding=revoked&days=7&reason=x",
        "finding=flaky&days=91&reason=x",
    ] {
        assert_eq!(
            alice.get(&format!("{page}/waiver.json?{wrong}")).status,
            422,
            "{wrong}"
        );
    }
    let mut envelope = Envelope::from_json(&answer.body).expect("an envelope");
    let unsigned = alice.upload(&format!("{page}/waiver"), "waiver", &envelope.to_json());
    assert_eq!(unsigned.status, 422, "{}", unsigned.text());
    envelope.add_signature(&person(41)).expect("alice signs");
    let by_one = alice.upload(&format!("{page}/waiver"), "waiver", &envelope.to_json());
    assert_eq!(
        by_one.status,
        422,
        "an operator's log-in is no signature: {}",
        by_one.text()
    );
    assert_eq!(WORLD.build(build).stage.name(), "held");
    envelope.add_signature(&person(42)).expect("bob signs");
    let taken = alice.upload(&format!("{page}/waiver"), "waiver", &envelope.to_json());
    assert_eq!(taken.status, 303, "{}", taken.text());
    WORLD.until_published(build);
    assert_eq!(trail(build).len(), 1);
    let html = alice.page(&page);
    assert_in_order(
        &html,
        &[
            "published",
            "What happened to it",
            "waiver",
            "it is urgent &lt;b&gt;",
        ],
    );
    let late = alice.post(&format!("{page}/reject"), &[("reason", "too late")]);
    assert_eq!(late.status, 409, "{}", late.text());
    drop(watch);
}

#[test]
fn tokens_are_made_shown_once_and_revoked_by_those_who_may() {
    let watch = WORLD.watch();
    let plain = Browser::operator("only-operates");
    assert!(!plain.page("/operator/tokens").contains("name=\"scope\""));
    let fields = [
        ("name", "koji"),
        ("days", "30"),
        ("scope", "publish:base"),
        ("scope", "operate"),
    ];
    assert_eq!(
        plain.post("/operator/tokens", &fields).status,
        403,
        "nobody grows by himself"
    );
    let keeper = WORLD.new_token("keeper", &["--scope", "operate", "--scope", "tokens"]);
    let browser = Browser::logged_in(&keeper);
    for wrong in [
        [("name", ""), ("days", "30"), ("scope", "read")],
        [("name", "koji"), ("days", "0"), ("scope", "read")],
        [("name", "koji"), ("days", "30"), ("scope", "everything")],
        [
            ("name", "koji"),
            ("days", "30"),
            ("scope", "publish:nowhere"),
        ],
        [("name", "koji"), ("days", "30"), ("other", "read")],
    ] {
        assert_eq!(
            browser.post("/operator/tokens", &wrong).status,
            422,
            "{wrong:?}"
        );
    }
    let answer = browser.post("/operator/tokens", &fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let html = answer.text();
    let from = html.find("hallmark_").expect("the secret");
    let secret = &html[from..from + 73];
    assert!(!browser.page("/operator/tokens").contains(secret), "once");
    let mine = Browser::logged_in(secret);
    let listed: Vec<TokenStatus> = WORLD
        .http
        .with_token(Some(secret))
        .get_json("/api/v1/tokens");
    let koji = listed.iter().find(|token| token.name == "koji");
    let koji = koji.expect("it is listed");
    assert_eq!(koji.scopes, ["publish:base", "operate"]);
    let id = koji.id;

    let revoked = browser.post(&format!("/operator/tokens/{id}/revoke"), &[]);
    assert_eq!(revoked.status, 303);
    assert_eq!(
        mine.get("/operator").status,
        303,
        "its sessions end with it"
    );
    assert_eq!(
        WORLD
            .http
            .with_token(Some(secret))
            .get("/api/v1/jobs")
            .status,
        401
    );

    let by_api = WORLD.http.with_token(Some(&keeper));
    let wanted = json!({"name": "api", "scopes": ["read"], "days": 1});
    let made = by_api.post_json("/api/v1/tokens", &wanted);
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/api/v1/tokens/{}", made.json::<CreatedToken>().id);
    assert_eq!(by_api.send("DELETE", &path, &[], b"").status, 204);
    assert_eq!(by_api.send("DELETE", &path, &[], b"").status, 404);
    assert_eq!(WORLD.http.send("DELETE", &path, &[], b"").status, 403);
    drop(watch);
}

fn behind(name: &str, path: &str, has: &[&str]) -> Value {
    let mut page = look(name, path, has);
    page["operator"] = true.into();
    page
}

#[test]
fn pages_behind_the_log_in_are_sound_in_a_real_browser() {
    require!([Need::Browser]);
    let watch = WORLD.watch();
    let [decide, rejected] = ["browsed", "turned-away"].map(held);
    WORLD.hallmark_ok(&["reject", &rejected.to_string(), "--reason", ENEMY]);
    let page = |build: u64| format!("/operator/builds/{build}");
    let token = WORLD.new_token(ENEMY, &["--scope", "operate", "--scope", "tokens"]);
    let plan = json!({
        "operator": {"token": token, "build": decide},
        "pages": [
            look("log-in", "/operator/log-in", &["Access token"]),
            behind("queue", "/operator", &["Builds on their way", "Work of the server"]),
            behind("held", "/operator/held", &["browsed-1.0-1.src", "provenance-missing"]),
            behind("decide", &page(decide), &["Download the unsigned waiver", "Reject it"]),
            behind("decide-rejected", &page(rejected), &["onerror=alert(2)"]),
            behind("tokens", "/operator/tokens", &["A new token", "onerror=alert(2)"]),
            behind("keys", "/operator/keys", &["package-key", "The signer answers."]),
            behind("audit", "/operator/audit", &["Audit trail", "onerror=alert(2)"]),
        ],
        "stories": ["operator_decides"],
    });
    let problems = visit(&WORLD, plan);
    assert!(problems.is_empty(), "{problems:#?}");
    let deeds: Vec<_> = trail(decide)
        .into_iter()
        .map(|(_, action)| action)
        .collect();
    assert_eq!(deeds, ["reject", "retry"]);
    drop(watch);
}
