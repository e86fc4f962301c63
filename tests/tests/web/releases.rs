//! Releases: contents, differences, who pointed to them.

use crate::{STORY, assert_in_order, page};

#[test]
fn a_release_lists_its_packages_and_finds_them_by_name() {
    let path = "/releases/5/packages?repo=base&arch=x86_64";
    assert_in_order(
        &page(path),
        &["enemy-1.0-1", "greeter-1.0-1", "hello-1.0-1", "hello-2.0-1"],
    );
    let html = page(&format!("{path}&prefix=gre"));
    assert!(html.contains("greeter-1.0-1") && !html.contains("hello-1.0-1"));
    assert!(page("/releases/2/packages?repo=base&arch=x86_64").contains("hello-1.0-1"));
    assert!(!page("/releases/2/packages?repo=base&arch=x86_64").contains("hello-2.0-1"));
    let http = STORY.world.http.with_token(None);
    for missing in [
        "/releases/99/packages?repo=base&arch=x86_64",
        "/releases/5/packages?repo=no&arch=x86_64",
    ] {
        assert_eq!(http.get(missing).status, 404, "{missing}");
    }
}

#[test]
fn two_releases_are_compared_either_way() {
    let html = page("/releases/5/changes?from=2");
    assert_in_order(
        &html,
        &[
            "From release 2 to release 5",
            "Upgraded",
            "hello",
            "1.0-1",
            "2.0-1",
            "Added",
            "enemy",
            "greeter",
        ],
    );
    let back = page("/releases/2/changes?from=5");
    assert_in_order(
        &back,
        &["From release 5 to release 2", "Removed", "enemy", "hello"],
    );
    // Without a word about which, it is the release before.
    assert!(page("/releases/5/changes").contains("From release 4 to release 5"));
    let http = STORY.world.http.with_token(None);
    assert_eq!(http.get("/releases/1/changes").status, 404);
    assert_eq!(http.get("/releases/5/changes?from=77").status, 404);
}

#[test]
fn releases_show_how_builds_fared_and_where_channels_pointed() {
    let html = page("/releases");
    assert_in_order(
        &html,
        &[
            "class=\"plot\"",
            "class=\"agreed\"",
            "class=\"kept\"",
            "Release 5",
            "100 %",
            "preview",
            "moved on",
            "release 4",
            "release 5",
        ],
    );
    assert_in_order(
        &page("/releases/5"),
        &[
            "What differs",
            "Changes since release 4",
            "enemy-1.0-1.src",
            "preview",
            "release 5",
        ],
    );
}
