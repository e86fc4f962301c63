//! Feeds, rebuilders, what is inside.

use crate::{STORY, assert_in_order, page};

#[test]
fn feeds_name_releases_and_held_builds_by_addresses_that_stay() {
    let world = &STORY.world;
    let http = world.http.with_token(None);
    let releases = http.get("/feeds/releases.atom");
    assert_eq!(
        releases.header("content-type"),
        "application/atom+xml; charset=utf-8"
    );
    let address = format!("{}/releases/5", world.url());
    let newest = format!("<id>{address}</id>");
    assert_in_order(
        &releases.text(),
        &[
            "<?xml",
            "<feed xmlns=",
            "<title>Release 5</title>",
            &newest,
            "preview points to it",
        ],
    );
    let held = http.get("/feeds/held.atom").text();
    let build = format!("<id>{}/builds/{}</id>", world.url(), STORY.builds[4]);
    assert_in_order(
        &held,
        &[
            "<title>clockwork-1.0-1.src is held</title>",
            &build,
            "<summary>",
        ],
    );
    assert!(!held.contains("slowpoke"));
}

#[test]
fn rebuilders_show_their_work_and_who_agrees_with_whom() {
    let html = page("/rebuilders");
    // Four builds confirmed by both, one not; slowpoke waits.
    assert_in_order(
        &html,
        &[
            "rebuilder-a",
            "operator-of-rebuilder-a",
            "1 waiting",
            ">4<",
            ">1<",
            "rebuilder-b",
            "Who agrees with whom",
            "100 %",
            "5 of 5 builds",
        ],
    );
}

#[test]
fn what_is_inside_is_asked_of_packages_and_of_releases() {
    assert_in_order(
        &page("/inside?component=hello"),
        &[
            "hello-1.0-1.noarch",
            "hello-2.0-1.noarch",
            "/api/v1/sbom/components?component=hello",
        ],
    );
    assert!(page("/inside?component=hello&release=2").contains("hello-1.0-1.noarch"));
    assert!(!page("/inside?component=hello&release=2").contains("hello-2.0-1.noarch"));
    assert!(page("/inside?component=pkg:").contains("role=\"alert\""));
    assert_in_order(
        &page("/packages/hello/2.0-1.noarch/inside"),
        &["component", "CycloneDX 1.6", "the package itself"],
    );
    let licences = page("/releases/5/licences");
    assert_in_order(&licences, &["Of the packages themselves", "MIT"]);
    assert!(page("/inside?licence=MIT").contains("hello-2.0-1.noarch"));
    let http = STORY.world.http.with_token(None);
    for path in [
        "/inside?component=a&release=77",
        "/releases/77/licences",
        "/packages/clockwork/9-9.noarch/inside",
    ] {
        assert_eq!(http.get(path).status, 404, "{path}");
    }
}

#[test]
fn mirrors_are_told_why_nobody_is_sent_to_them() {
    let html = page("/mirrors");
    for part in [
        "Clients are sent to 0 of 1 mirror.",
        "harbour",
        "is not a public one",
        "class=\"plot world\"",
        "hallmark mirrors add",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(page("/").contains("href=\"/mirrors\""));
}
