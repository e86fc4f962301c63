//! Draws the pages about rebuilders, the API, and what is inside packages; and the feeds.

use super::{Words, at, line, releases};
use repo_model::wire::mirrors::{Arrival, Health, MirrorStatus, PlaceStatus, Standing, Trouble};
use repo_model::wire::rebuilders::Mode;
use repo_model::wire::sbom::{LicenceUse, PackageRef, Shipped};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, ReleaseId};
use web::*;

pub fn more_pages(words: Words, site: &Site<'_>, builds: &[BuildStatus]) -> Vec<(String, String)> {
    let query = ["q"];
    let groups = [ApiGroup {
        title: "Packages",
        operations: vec![ApiOperation {
            method: "get",
            path: "/api/v1/search",
            summary: "Finds packages",
            query: &query,
            access: "operate",
        }],
    }];
    let api_view = ApiView {
        site,
        groups: &groups,
    };
    let mut out = inside_pages(words, site, builds);
    out.push(("api".to_owned(), api(&api_view).unwrap()));
    out.push(("rebuilders".to_owned(), rebuilders_page(site)));
    out.push(("mirrors".to_owned(), mirrors_page(words, site)));
    out
}

/// Both feeds, by name.
pub fn feeds(words: Words, site: &Site<'_>, builds: &[BuildStatus]) -> [(&'static str, String); 2] {
    let held: Vec<BuildLine> = builds
        .iter()
        .filter(|build| build.stage.name() == "held")
        .map(line)
        .collect();
    assert!(words == Words::Enemy || held.len() == 1);
    [
        ("releases", releases_feed(site, &releases())),
        ("held", held_feed(site, &held)),
    ]
}

/// Mirrors that fare well, badly, and nobody knows how.
pub fn mirror_list(words: Words) -> Vec<MirrorStatus> {
    let url = match words {
        Words::Ordinary => "https://south.example/stable/base/x86_64/repodata/repomd.xml",
        Words::Enemy => super::ENEMY,
    };
    let lie = Trouble::NeverPublished {
        url: url.to_owned(),
        found: FileDigest::of(b"lie"),
    };
    let mirror = |name: &str, health, trouble: Option<Trouble>| MirrorStatus {
        name: name.parse().unwrap(),
        urls: vec![format!("https://{name}.example/hallmark")],
        country: if name == "west" {
            None
        } else {
            "NO".parse().ok()
        },
        coordinates: (name != "west").then_some((59.9, 10.7)),
        weight: 100,
        private: false,
        preferred: name == "north",
        standing: Standing::Approved,
        health,
        since: Some(at(0)),
        why: trouble.as_ref().map(ToString::to_string),
        trouble,
        probed_at: (health != Health::New).then(|| at(0)),
        latency_millis: Some(12),
        bytes_per_sec: Some(73_400_320),
        places: vec![PlaceStatus {
            channel: "stable".parse().unwrap(),
            repo: "base".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            release: Some(ReleaseId(12)),
            releases_behind: 0,
            behind_secs: 0,
            checked_at: at(0),
            trouble: None,
        }],
    };
    vec![
        mirror("north", Health::Listed, None),
        mirror("south", Health::Dropped, Some(lie)),
        mirror("west", Health::New, None),
    ]
}

fn mirrors_page(words: Words, site: &Site<'_>) -> String {
    let arrival = |mirror: &str, secs| Arrival {
        mirror: mirror.parse().unwrap(),
        channel: "stable".parse().unwrap(),
        release: ReleaseId(12),
        moved_at: at(-9_000),
        secs,
    };
    mirrors(&MirrorsView {
        said: Some((at(-600), at(3_000))),
        site,
        mirrors: &mirror_list(words),
        arrivals: &[
            arrival("north", 630),
            arrival("south", 7_300),
            arrival("private", 9),
        ],
        now: at(1),
    })
    .unwrap()
}

/// Those who rebuild, and how they agree.
pub fn rebuilder_lines() -> ([RebuilderLine; 3], [PairLine; 1]) {
    let rebuilder = |name: &str, mode, seen: Option<i64>| RebuilderLine {
        name: name.parse().unwrap(),
        operator: "north-lab".parse().unwrap(),
        in_policy: name != "clover",
        mode,
        last_seen: seen.map(at),
        waiting: 3,
        leased: 0,
        sealed: 1,
        confirmed: 20_011,
        objecting: 2,
        failed: 1,
    };
    let lines = [
        rebuilder("aster", Mode::Active, Some(0)),
        rebuilder("briar", Mode::Paused, Some(-90)),
        rebuilder("clover", Mode::Active, None),
    ];
    let pairs = [PairLine {
        a: "aster".parse().unwrap(),
        b: "briar".parse().unwrap(),
        both: 200,
        agree: 198,
    }];
    (lines, pairs)
}

fn rebuilders_page(site: &Site<'_>) -> String {
    let (lines, pairs) = rebuilder_lines();
    rebuilders(&RebuildersView {
        site,
        rebuilders: &lines,
        pairs: &pairs,
        builds: 2_000,
        now: at(1),
    })
    .unwrap()
}

fn inside_pages(words: Words, site: &Site<'_>, builds: &[BuildStatus]) -> Vec<(String, String)> {
    let nevra = &builds[6].packages[0].nevra;
    let found = [Shipped {
        package: PackageRef {
            nevra: nevra.clone(),
            repo: "base".parse().unwrap(),
            header: HeaderDigest::of(b"x"),
            href: String::new(),
            build: 1,
            source: builds[6].source.clone(),
        },
        component: words.of("pkg:cargo/openssl@0.10.72"),
        version: Some(words.of("0.10.72")),
        relation: "part".to_owned(),
        build_only: true,
        evidence: Vec::new(),
        places: vec![words.of("/usr/bin/hello")],
        places_total: 7,
    }];
    let (asked, range) = (words.of("openssl"), words.of(">= 1"));
    let ids = [ReleaseId(12), ReleaseId(11)];
    let question = InsideView {
        site,
        component: &asked,
        version: &range,
        licence: "",
        release: Some(ids[0]),
        releases: &ids,
        found: &found,
        next: Some("1.2.3.4"),
        error: None,
    };
    let wrong = InsideView {
        found: &[],
        next: None,
        error: Some(&asked),
        ..question
    };
    let used = ["package", "part"].map(|of| LicenceUse {
        raw: words.of("GPLv3+"),
        expression: words.of("GPL-3.0-or-later"),
        mapped: of == "package",
        copyleft: None,
        of: of.to_owned(),
        packages: 20_000,
    });
    let licences_view = LicencesView {
        site,
        release: ids[0],
        licences: &used,
    };
    let lines = [ComponentLine {
        purl: words.of("pkg:cargo/openssl@0.10.72"),
        ecosystem: words.of("cargo"),
        name: words.of("openssl"),
        version: words.of("0.10.72"),
        relation: "part".to_owned(),
        build_only: false,
        found_by: vec![words.of("cargo-auditable")],
        licence: Some(words.of("Apache-2.0")),
        place: Some(words.of("/usr/bin/hello")),
    }];
    let sboms = [(words.of("cyclonedx-1.6"), FileDigest::of(b"sbom"))];
    let components_view = ComponentsView {
        site,
        nevra,
        components: &lines,
        total: 9,
        unreadable: Some(&asked),
        sboms: &sboms,
    };
    vec![
        ("inside".to_owned(), inside(&question).unwrap()),
        ("inside-wrong".to_owned(), inside(&wrong).unwrap()),
        ("licences".to_owned(), licences(&licences_view).unwrap()),
        (
            "components".to_owned(),
            components(&components_view).unwrap(),
        ),
    ]
}
