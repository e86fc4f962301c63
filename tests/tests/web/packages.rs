//! The page of a package.

use crate::{STORY, assert_in_order, page};

#[test]
fn a_package_page_shows_the_newest_version_with_all_that_is_known_about_it() {
    let build = STORY.builds[1];
    let html = page("/packages/hello");
    assert_in_order(
        &html,
        &[
            "Prints a familiar, friendly greeting",
            "2.0-1.noarch",
            "sudo dnf install hello",
            "It greets.",
            "href=\"/packages/hello/2.0-1.noarch\" aria-current=\"true\"",
            "preview",
            "href=\"/packages/hello/1.0-1.noarch\"",
            "hello-2.0-1.noarch.rpm",
            "CycloneDX 1.6",
            "buildinfo.json",
            "id=\"rebuilt\"",
            "rebuilder-a",
            "rpmkeys -K hello-2.0-1.noarch.rpm",
            "What it needs",
            "pkgconfig(hello) = 2.0",
            "What needs it",
            "href=\"/packages/greeter\"",
            "/usr/bin/hello",
            "- change 6",
            "3 older entries",
            "- change 1",
            "/badge/hello.svg",
        ],
    );
    assert!(html.contains(&format!("href=\"/builds/{build}\"")));
    let documents = &STORY.world.build(build).packages[0].evidence;
    for document in documents {
        let address = format!("href=\"/evidence/sha256/{}\"", document.digest);
        assert!(html.contains(&address), "{document:?}");
    }
}

#[test]
fn an_older_version_has_an_address_of_its_own() {
    let html = page("/packages/hello/1.0-1.noarch");
    assert!(html.contains("pkgconfig(hello) = 1.0") && !html.contains("pkgconfig(hello) = 2.0"));
    // greeter wants 1.5 or later, and the file.
    assert_in_order(
        &html,
        &["What needs it", "requires <code><bdi>/usr/bin/hello"],
    );
    assert!(!html.contains("hello &gt;= 1.5"));
    let http = STORY.world.http.with_token(None);
    for path in [
        "/packages/hello/3.0-1.noarch",
        "/packages/nobody",
        "/packages/clockwork/1.0-1.noarch/files",
        "/packages/clockwork/1.0-1.noarch/inside",
    ] {
        assert_eq!(http.get(path).status, 404, "{path}");
    }
}

#[test]
fn dependencies_lead_both_ways() {
    let html = page("/packages/greeter");
    assert_in_order(
        &html,
        &[
            "hello &gt;= 1.5",
            "from <a href=\"/packages/hello\">",
            "/usr/bin/hello",
            "from <a href=\"/packages/hello\">",
            "libnothing.so.1()(64bit)",
            "nothing in the newest release",
            "(enemy if hello)",
            "from <a href=\"/packages/enemy\">",
        ],
    );
    let html = page("/packages/hello/2.0-1.noarch/required-by");
    assert_in_order(
        &html,
        &[
            "/packages/greeter",
            "(enemy if hello)",
            "/usr/bin/hello",
            "hello &gt;= 1.5",
        ],
    );
    assert!(page("/packages/greeter/1.0-1.noarch/required-by").contains("No package needs it."));
    assert_in_order(
        &page("/packages/hello/2.0-1.noarch/files"),
        &["-rwxr-xr-x", "/usr/bin/hello"],
    );
}

#[test]
fn what_an_unreleased_package_says_about_itself_stays_closed() {
    let html = page("/packages/clockwork");
    assert!(html.contains("No release has this version."));
    assert!(!html.contains("A secret fix.") && !html.contains("What it needs"));
}

#[test]
fn a_badge_tells_how_the_newest_version_fared() {
    let http = STORY.world.http.with_token(None);
    let answer = http.get("/badge/hello.svg");
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    assert!(answer.text().contains("hallmark: reproduced 2/2"));
    assert!(
        http.get("/badge/clockwork.svg")
            .text()
            .contains("not reproduced 0/2")
    );
    assert_eq!(http.get("/badge/nobody.svg").status, 404);
}

#[test]
fn each_step_of_a_published_build_has_the_command_that_checks_it() {
    let html = page(&format!("/builds/{}", STORY.builds[0]));
    assert_eq!(
        html.matches("<summary>Check it</summary>").count(),
        6,
        "{html}"
    );
    assert_in_order(
        &html,
        &[
            "buildinfo.json",
            "hallmark sbom --config",
            "cosign verify-blob-attestation",
            "rpmkeys --dbpath",
            "hallmark verify --server",
        ],
    );
}
