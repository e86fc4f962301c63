//! Who may do what, and the shape of every refusal.

use crate::{assert_refused, builds_of, world};
use hallmark_tests::http::Http;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::process;
use hallmark_tests::require;
use hallmark_tests::tools::Need;
use repo_model::FileDigest;
use repo_model::wire::ErrorBody;

#[test]
fn every_refusal_of_the_api_is_json_with_a_code() {
    let world = world();
    for (method, path, body, status) in [
        ("GET", "/api/v1/builds/one", "", 400),
        ("GET", "/api/v1/builds?limit=many", "", 400),
        ("GET", "/api/v1/builds?surprise=1", "", 400),
        ("GET", "/api/v1/builds/999999", "", 404),
        ("GET", "/api/v1/nothing", "", 404),
        ("DELETE", "/api/v1/builds", "", 405),
        (
            "POST",
            "/api/v1/channels/preview/move",
            "{\"to\": \"x\"}",
            422,
        ),
        ("POST", "/api/v1/channels/preview/move", "{", 400),
        ("POST", "/api/v1/channels/nowhere/move", "{\"to\": 1}", 404),
        (
            "POST",
            "/api/v1/channels/preview/move",
            "{\"to\": 999999}",
            404,
        ),
        ("POST", "/api/v1/builds/999999/retry", "{}", 404),
        ("GET", "/api/v1/builds/18446744073709551615", "", 404),
        (
            "POST",
            "/api/v1/channels/preview/move",
            "{\"to\": 18446744073709551615}",
            404,
        ),
        ("POST", "/api/v1/worker/lease", "{}", 401),
    ] {
        let answer = world.http.send(
            method,
            path,
            &[("content-type", "application/json")],
            body.as_bytes(),
        );
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let error: ErrorBody = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|problem| panic!("{method} {path}: {problem}: {}", answer.text()));
        assert!(
            !error.error.is_empty() && !error.code.is_empty(),
            "{method} {path}: {error:?}"
        );
    }
}

#[test]
fn without_a_good_token_nothing_is_taken() {
    require!([Need::Program("python3")]);
    let world = world();
    let build = Crafted::new("tokens", "1.0");
    let blob = format!("/api/v1/blobs/{}", FileDigest::of(&build.source));
    let publish = world.new_token("publisher", &["--scope", "publish"]);
    let for_old = world.new_token("for-old", &["--scope", "publish", "--repo", "old"]);
    let operate = world.new_token("operator", &["--scope", "operate"]);
    let expired = world.new_token("expiring", &["--scope", "publish", "--expires-days", "1"]);
    let revoked = world.new_token("revoked", &["--scope", "publish"]);
    let tokens: Vec<serde_json::Value> =
        serde_json::from_str(&world.hallmark_ok(&["token", "list", "--json"])).expect("JSON");
    let number = |name: &str| {
        let token = tokens
            .iter()
            .find(|token| token["name"] == name)
            .expect("it is listed");
        token["id"].as_u64().expect("a number").to_string()
    };
    world.hallmark_ok(&["token", "revoke", &number("revoked")]);
    // A day passes.
    let ages = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); \
                db.execute('UPDATE tokens SET expires_at = expires_at - 86401 WHERE token_id = ?', (int(sys.argv[2]),)); db.commit()";
    let mut python = process::command("python3");
    python
        .args(["-c", ages])
        .arg(world.data_dir().join("hallmark.db"))
        .arg(number("expiring"));
    process::run(&mut python);

    let anonymous = world.http.with_token(None);
    let refused = |http: &Http, status: u16, code: &str, words: &[&str]| {
        assert_refused(&http.put(&blob, &build.source), status, code, words);
        assert_refused(
            &http.post_json("/api/v1/builds", &build.manifest("base")),
            status,
            code,
            words,
        );
    };
    let with = |token: &str| world.http.with_token(Some(token));
    refused(
        &anonymous,
        401,
        "unauthorized",
        &["token", "hallmark token create"],
    );
    refused(
        &with("hallmark_0000"),
        401,
        "unauthorized",
        &["not known here"],
    );
    refused(&with(&expired), 401, "unauthorized", &["expired at"]);
    refused(&with(&revoked), 401, "unauthorized", &["was revoked"]);
    refused(
        &with(&operate),
        403,
        "forbidden",
        &["lacks the scope publish"],
    );
    assert_eq!(
        anonymous.put(&blob, b"").header("www-authenticate"),
        "Bearer realm=\"hallmark\""
    );
    let basic = anonymous.send("PUT", &blob, &[("authorization", "Basic eDp5")], b"");
    assert_refused(&basic, 401, "unauthorized", &["Bearer TOKEN"]);
    assert_eq!(world.http.get(&blob).status, 404, "nothing was stored");

    let for_old = with(&for_old);
    build.upload(&for_old);
    let answer = for_old.post_json("/api/v1/builds", &build.manifest("base"));
    assert_refused(&answer, 403, "forbidden", &["lacks the scope publish:base"]);
    assert_eq!(builds_of(&world, "tokens"), []);
    assert_eq!(
        for_old
            .post_json("/api/v1/builds", &build.manifest("old"))
            .status,
        201
    );

    // What is not public is for tokens that may read; whether it is here, every uploader may ask.
    let here = for_old.send("HEAD", &blob, &[], b"");
    assert_eq!(here.status, 200);
    assert_refused(
        &for_old.get(&blob),
        403,
        "forbidden",
        &["lacks the scope read"],
    );
    let reader = with(&world.new_token("reader", &["--scope", "read"]));
    assert_eq!(reader.get(&blob).body, build.source);

    let number = builds_of(&world, "tokens")[0].build;
    let retry = with(&publish).post_json(&format!("/api/v1/builds/{number}/retry"), &());
    assert_refused(&retry, 403, "forbidden", &["lacks the scope operate"]);
    let seen = world.channel("stable");
    let moving = with(&publish).post_json(
        "/api/v1/channels/stable/move",
        &serde_json::json!({"seen": null, "to": 1}),
    );
    assert_refused(&moving, 403, "forbidden", &["lacks the scope operate"]);
    assert_eq!(world.channel("stable"), seen);
}
