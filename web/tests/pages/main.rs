//! Every page, drawn from ordinary and from hostile words, read back by a strict XML parser.

mod contrast;
mod samples;
mod xhtml;

use repo_model::FileDigest;
use samples::{ENEMY, Words, every_page, site};
use std::time::{Duration, Instant};
use web::{EntryKind, ListingEntry, ListingView};

fn page(name: &str) -> String {
    let found = every_page(Words::Ordinary)
        .into_iter()
        .find(|(own, _)| own == name);
    found.unwrap_or_else(|| panic!("no page {name}")).1
}

fn assert_in_order(html: &str, parts: &[&str]) {
    let mut rest = html;
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("`{part}` is not where it should be"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_page_is_well_formed_accessible_and_keeps_to_the_policy() {
    let pages = every_page(Words::Ordinary);
    assert_eq!(pages.len(), 42);
    for (name, html) in pages {
        assert!(html.starts_with("<!DOCTYPE html>"), "{name}");
        xhtml::assert_sound(&name, &xhtml::parse(&name, &html));
    }
}

#[test]
fn hostile_names_summaries_and_reasons_are_shown_and_do_nothing() {
    let seen_as_text = ENEMY
        .replace('\u{202e}', "⟨U+202E⟩")
        .replace('\0', "⟨U+0000⟩");
    for (name, html) in every_page(Words::Enemy) {
        let page = xhtml::parse(&name, &html);
        xhtml::assert_sound(&name, &page);
        assert!(!html.contains(['\u{202e}', '\0']), "{name}");
        assert!(
            page.text.contains(&seen_as_text),
            "{name} hides what it was given"
        );
    }
}

#[test]
fn the_home_page_tells_how_to_use_each_channel_and_where_it_points() {
    let html = page("home");
    for part in [
        "href=\"/releases/11\"",
        "href=\"/stable/base/x86_64/\"",
        "sudo dnf5 config-manager addrepo --from-repofile=https://packages.hallmark.example/stable/hallmark-stable.repo",
        "sudo zypper addrepo https://packages.hallmark.example/preview/hallmark-preview.repo",
        "repo_gpgcheck=1",
        "nothing released yet",
        "20,431",
        "href=\"/builds?stage=held\"",
        "href=\"/keys/repo.asc\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn the_list_of_builds_can_be_filtered_searched_and_turned() {
    let html = page("builds");
    assert_in_order(
        &html,
        &[
            "href=\"/builds?stage=published\"",
            "name=\"package\"",
            "approved-tool-4.0~rc2-1.hm1.src",
        ],
    );
    assert_in_order(
        &html,
        &[
            "clockwork-1.0-1.hm1.src",
            "held",
            "0 of 2",
            "hello-2.12-1.hm1.src",
            "2 of 2",
            "2 packages",
        ],
    );
    assert_in_order(
        &html,
        &[
            "rel=\"prev\" href=\"/builds\"",
            "51 to 58",
            "rel=\"next\" href=\"/builds?offset=100\"",
        ],
    );
    let none = page("builds-none");
    assert!(
        none.contains("No build of <q><bdi>hello</bdi></q> is held."),
        "{none}"
    );
}

#[test]
fn a_held_build_says_why_before_anything_else() {
    let html = page("build-4-held");
    assert_in_order(
        &html,
        &[
            "Why it is held",
            "Rebuilt by aster and briar, it came out different",
            "embedded-clock",
            "/usr/bin/clockwork",
            "Seen by aster",
            "rebuilt &#34;Nov 20 10:03:11&#34;",
            "Seen by briar",
            "rebuilt &#34;Nov 20 10:04:57&#34;",
            "SOURCE_DATE_EPOCH",
            "BUILDHOST",
            "Seen by aster and briar",
            "Confirmed by 0 of the 2 rebuilders",
            "Confirmed by 0 of the 2 independent operators",
            "The SPDX 2.3 SBOM is missing",
            "<h2 id=\"packages\">",
            "<h2 id=\"evidence\">",
            "hallmark status clockwork-1.0-1.hm1.src",
        ],
    );
    assert!(
        !html.contains("rpmkeys"),
        "nothing unsigned is offered for checking"
    );
    assert!(!html.contains("Download"));
    assert!(page("build-5-rejected").contains("held a back door"));
}

#[test]
fn a_published_build_links_every_document_and_the_commands_that_check_it() {
    let html = page("build-2-published");
    let builds = samples::builds(Words::Ordinary);
    let build = builds.iter().find(|build| build.build == 2).unwrap();
    let documents = build
        .packages
        .iter()
        .flat_map(|package| &package.evidence)
        .map(|link| link.digest);
    for digest in documents
        .chain([build.buildinfo])
        .chain(build.provenance)
        .chain(build.rebuilds[0].log)
    {
        assert!(
            html.contains(&format!("href=\"/evidence/sha256/{digest}\"")),
            "{digest}"
        );
    }
    let path = "/r/12/base/x86_64/Packages/h/hello-2.12-1.hm1.x86_64.rpm";
    assert_in_order(
        &html,
        &[
            "aria-current=\"page\">#2<",
            path,
            "/r/12/base/x86_64/Packages/h/hello-doc-2.12-1.hm1.noarch.rpm",
            "id=\"received\"",
            "id=\"sboms\"",
            "CycloneDX 1.6",
            "id=\"rebuilt\"",
            "2 of 2 rebuilders made the same bytes",
            "north-lab",
            "identical-unsigned",
            "id=\"judged\"",
            "id=\"signed\"",
            "id=\"published\"",
            "href=\"/releases/12\"",
            &format!(
                "https://packages.hallmark.example{path}\nrpmkeys -K hello-2.12-1.hm1.x86_64.rpm"
            ),
            "sha256sum -c",
        ],
    );
    assert!(!html.contains("Why it is"));
}

#[test]
fn a_build_in_progress_shows_its_jobs_and_their_last_errors() {
    let html = page("build-7-received");
    assert_in_order(
        &html,
        &[
            "leased",
            "3 tries",
            "connection reset",
            "make-sbom",
            "failed",
            "ends after 1,204,224",
        ],
    );
}

#[test]
fn a_package_page_lists_versions_by_rpms_order_and_offers_what_is_published() {
    let html = page("package");
    assert_in_order(
        &html,
        &[
            "2.12-1.hm1.x86_64",
            "sudo dnf install hello",
            "The classic example",
            "href=\"/packages/hello/2.12-1.hm1.x86_64\" aria-current=\"true\"",
            "<span class=\"pointer\">stable</span>",
            "href=\"/packages/hello/2.10-1.hm1.x86_64\"",
            "hello-2.12-1.hm1.x86_64.rpm",
            "libmirror.so.3()(64bit)",
            "href=\"/packages/libmirror\"",
            "goodbye &lt; 2",
            "href=\"/packages/greeter\"",
            "/packages/hello/2.12-1.hm1.x86_64/required-by",
            "-rwxr-xr-x",
            "- change 0",
            "40 older entries",
            "7 still older ones",
        ],
    );
    assert!(
        !html.contains("hello-doc"),
        "the timeline is about this package alone"
    );
    assert_eq!(
        html.matches(">stable</span>").count(),
        1,
        "a channel stands at the newest version it has"
    );
    let held = page("package-held");
    assert!(held.contains("No release has this version.") && !held.contains("What it needs"));
}

#[test]
fn a_search_offers_the_rest_of_each_kind() {
    assert_in_order(
        &page("search"),
        &[
            "href=\"/packages/hello\"",
            "href=\"/search?q=hello&#38;in=name\""
                .replace("&#38;", "&amp;")
                .as_str(),
            "pkgconfig(hello) = 2",
            "/usr/bin/hello",
        ],
    );
    assert_in_order(
        &page("search-files"),
        &["rel=\"prev\"", "51 to 51", "rel=\"next\""],
    );
}

#[test]
fn releases_are_compared_by_what_happened_to_each_package() {
    let html = page("changes");
    assert_in_order(
        &html,
        &[
            "Upgraded",
            "Added",
            "Only rebuilt",
            "Removed",
            "No longer affected",
            "CVE-2026-0001",
        ],
    );
    assert_in_order(
        &page("releases"),
        &["class=\"plot\"", "since then", "rolled back"],
    );
}

#[test]
fn a_held_build_shows_who_made_what_and_which_factor_matters() {
    let html = page("build-4-held");
    assert_in_order(
        &html,
        &[
            "What each rebuilder made",
            "the same in 1 of 2 runs",
            "/builds/4/reports/",
            "What it depends on",
            "class=\"bisection\"",
            "class=\"still\"",
            "class=\"depends\"",
            "comes out the same when this is held: the clock, stopped",
            "changes with the name of the machine and time zone",
            "setarch is not installed",
        ],
    );
}

#[test]
fn the_mirrors_page_tells_who_is_dropped_and_why_and_draws_how_releases_spread() {
    let html = page("mirrors");
    assert_in_order(
        &html,
        &[
            "Clients are sent to 1 of 3 mirrors.",
            "north",
            "listed",
            "up to date",
            "stable base x86_64: release 12",
            "south",
            "dropped: wrong content",
            "which was never published",
            "west",
            "not looked at yet",
            "class=\"arrival\"",
            "Release 12",
            "2 mirrors",
            "10 min",
            "class=\"plot world\"",
            "NO",
            "hallmark mirrors add",
        ],
    );
}

#[test]
fn releases_name_their_channels_repositories_and_signed_document() {
    assert_in_order(
        &page("releases"),
        &[
            "Release 12",
            "preview",
            "40,024 packages",
            "Release 11",
            "stable",
            "/releases?offset=50",
        ],
    );
    let release = &samples::releases()[0];
    let html = page("release");
    let envelope = format!("/evidence/sha256/{}", release.envelope);
    let repomd = release.repos[0].repomd.to_string();
    assert_in_order(
        &html,
        &[
            "Release 12",
            "/r/12/base/x86_64/",
            &repomd,
            "New in this release",
            &envelope,
        ],
    );
}

#[test]
fn a_listing_is_sorted_with_directories_first_and_has_exact_sizes() {
    let html = page("listing");
    assert_in_order(
        &html,
        &[
            "<bdi>stable</bdi>",
            "href=\"/stable/base/x86_64/\"",
            "href=\"../\"",
            "href=\"h/\"",
            "href=\"gtk%2B-1.2-3.noarch.rpm\"",
            "title=\"148897792 bytes\">142.0 MiB<",
            "hello-2.10",
            "hello-2.12",
            "libmirror",
        ],
    );
    let top = ListingView {
        site: &site("T"),
        path: "/a/b/c/",
        top: "/a/b/c/",
        entries: &[],
    };
    let html = web::listing(&top).unwrap();
    assert!(html.contains("Empty.") && !html.contains("href=\"../\""));
}

#[test]
fn a_directory_of_60_000_packages_is_drawn_quickly() {
    let names: Vec<String> = (0..60_000)
        .map(|n| format!("package-{n:05}-1.0-1.x86_64.rpm"))
        .collect();
    let entry = |name: &'static str| ListingEntry {
        name,
        kind: EntryKind::File,
        size_bytes: Some(1_234_567),
        digest: Some(FileDigest::of(b"x")),
    };
    let entries: Vec<_> = names
        .iter()
        .rev()
        .map(|name| ListingEntry { name, ..entry("") })
        .collect();
    let view = ListingView {
        site: &site("T"),
        path: "/s/b/x86_64/Packages/",
        top: "/s/b/x86_64/",
        entries: &entries,
    };
    let started = Instant::now();
    let html = web::listing(&view).unwrap();
    let took = started.elapsed();
    assert_eq!(html.matches("<tr>").count(), 60_001);
    assert_in_order(&html, &["60,000 files", "package-00000-", "package-59999-"]);
    assert!(html.len() < 60_000 * 300, "{} bytes", html.len());
    // Generous: it takes a few hundredths of a second on an idle machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn error_pages_say_what_happened_and_what_to_do() {
    let cases = [
        (404, "Nothing here"),
        (413, "Too large"),
        (418, "That request does not work"),
        (500, "Something broke here"),
        (503, "Not ready"),
    ];
    for (status, heading) in cases {
        let view = web::ErrorView {
            site: &site("T"),
            status,
            what: "What.",
            next: "Next.",
        };
        let html = web::error(&view).unwrap();
        assert_in_order(
            &html,
            &[
                &format!(">{status}<"),
                heading,
                "What.",
                "Next.",
                "href=\"/builds\"",
            ],
        );
    }
}

#[test]
fn feeds_are_well_formed_whatever_builds_are_called() {
    for words in [Words::Ordinary, Words::Enemy] {
        let title = words.of("Hallmark");
        let site = site(&title);
        for (name, feed) in samples::feeds(words, &site, &samples::builds(words)) {
            let body = feed.split_once("?>").expect("a declaration").1;
            let read = xhtml::parse(name, body);
            let entries = read.all("entry").count();
            assert_eq!(entries, if name == "held" { 1 } else { 3 }, "{name}");
            assert_eq!(read.all("id").count(), entries + 1, "{name}");
            assert!(!feed.contains("<script"), "{name}");
        }
    }
}

#[test]
fn a_badge_is_an_image_with_words() {
    let words = [
        "reproduced 2/2",
        "reproduced 2/2",
        "reproduced 2/2",
        "not reproduced 0/2",
        "rejected",
        "reproduced 2/2",
        "rebuilding 0/2",
        "reproduced 2/2",
    ];
    for (build, words) in samples::builds(Words::Enemy).iter().rev().zip(words) {
        let svg = web::badge_svg(build);
        let parsed = xhtml::parse("badge", &svg);
        assert_eq!(
            parsed.elements[0].get("aria-label"),
            Some(format!("hallmark: {words}").as_str())
        );
        assert!(parsed.text.contains(words));
    }
}
