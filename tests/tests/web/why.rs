//! Why a build is held: who found what, what differs, and on what it depends.

use crate::{STORY, assert_in_order, bisection, page};
use repo_model::FileDigest;
use repo_model::wire::ErrorBody;

#[test]
fn a_held_build_tells_who_found_what_in_which_file_and_what_cures_it() {
    let html = page(&format!("/builds/{}", STORY.builds[4]));
    assert_in_order(
        &html,
        &[
            "Why it is held",
            "embedded-clock",
            "/usr/bin/clockwork",
            "take the date from SOURCE_DATE_EPOCH",
            "What each rebuilder made",
            "clockwork-1.0-1.noarch",
            "differs",
            "profile ",
            "embedded-clock <code><bdi>/usr/bin/clockwork",
            "build-host <code><bdi>BUILDHOST",
            "diffoscope&#39;s report of rebuilder-a"
                .replace("&#39;", "'")
                .as_str(),
            "What it depends on",
            "class=\"still\"",
            "/usr/bin/&lt;i&gt;clockwork",
            "comes out the same when this is held: the clock, stopped",
        ],
    );
    // Two rebuilders saw two clocks, in the same file.
    assert_in_order(&html, &["rebuilt 10:03:11", "rebuilt 10:04:57"]);
}

#[test]
fn the_report_on_differences_is_shown_in_colour_and_only_for_its_build() {
    let [hello, held] = [STORY.builds[0], STORY.builds[4]];
    let status = STORY.world.build(held);
    let report = status
        .documents
        .iter()
        .find(|link| link.label == "rebuilder-a: clockwork-1.0-1.noarch.diffoscope.txt")
        .expect("rebuilder-a attached a report");
    let path = format!("/builds/{held}/reports/{}", report.digest);
    assert!(page(&format!("/builds/{held}")).contains(&format!("href=\"{path}\"")));
    assert_in_order(
        &page(&path),
        &[
            "<span class=\"went\">│ -built Nov 20 10:00:01",
            "<span class=\"came\">│ +built Nov 20 10:03:11 &lt;b&gt;",
        ],
    );
    let http = STORY.world.http.with_token(None);
    let log = status.rebuilds[0].log.expect("there is a log");
    for path in [
        format!("/builds/{hello}/reports/{}", report.digest),
        format!("/builds/{held}/reports/{log}"),
        format!("/builds/{held}/reports/{}", FileDigest::of(b"nothing")),
    ] {
        assert_eq!(http.get(&path).status, 404, "{path}");
    }
}

#[test]
fn a_bisection_is_taken_from_an_operator_about_this_very_source_package() {
    let world = &STORY.world;
    let [hello, held] = [STORY.builds[0], STORY.builds[4]];
    let path = |build: u64| format!("/api/v1/builds/{build}/bisection");
    let report = bisection();
    assert_eq!(
        world
            .http
            .with_token(None)
            .post_json(&path(held), &report)
            .status,
        401
    );
    let answer = world.http.post_json(&path(hello), &report);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer
            .json::<ErrorBody>()
            .error
            .contains("about the source package")
    );
    let other = serde_json::json!({"schema": "something/2"});
    assert_eq!(world.http.post_json(&path(held), &other).status, 422);
    assert_eq!(world.http.post_json(&path(4_711), &report).status, 404);
    assert_eq!(
        world.http.post_json(&path(held), &report).status,
        204,
        "again changes nothing"
    );
}
