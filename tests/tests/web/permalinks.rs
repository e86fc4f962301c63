//! Addresses that people keep: each shape that the web guide promises answers, today and in every later version.
//! A line here is never changed and never removed.

use crate::{STORY, page};

/// As the guide writes it, and one of that shape.
const SHAPES: &[(&str, &str)] = &[
    ("/", "/"),
    ("/search?q=", "/search?q=hello"),
    ("/packages/NAME", "/packages/hello"),
    (
        "/packages/NAME/VERSION-RELEASE.ARCH",
        "/packages/hello/1.0-1.noarch",
    ),
    ("/files", "/packages/hello/1.0-1.noarch/files"),
    ("/required-by", "/packages/hello/1.0-1.noarch/required-by"),
    ("/inside", "/inside"),
    ("/mirrors", "/mirrors"),
    ("/builds", "/builds?stage=held"),
    ("/builds/N", "/builds/1"),
    ("/releases", "/releases"),
    ("/releases/N", "/releases/2"),
    (
        "/api/v1/releases/N/evidence.tar.zst",
        "/api/v1/releases/2/evidence.tar.zst",
    ),
    (
        "/releases/N/packages?repo=&arch=&prefix=",
        "/releases/2/packages?repo=base&arch=x86_64&prefix=h",
    ),
    ("/releases/N/changes?from=M", "/releases/3/changes?from=2"),
    (
        "/releases/N/components?from=M",
        "/releases/3/components?from=2",
    ),
    ("/releases/N/licences", "/releases/2/licences"),
    ("/rebuilders", "/rebuilders"),
    ("/log", "/log"),
    ("/operator", "/operator/log-in"),
    ("/api", "/api"),
    ("/api/v1/openapi.json", "/api/v1/openapi.json"),
    ("/badge/NAME.svg", "/badge/hello.svg"),
    ("/feeds/releases.atom", "/feeds/releases.atom"),
    ("/feeds/held.atom", "/feeds/held.atom"),
];

/// Addresses in the first column of the guide's table.
fn promised() -> Vec<&'static str> {
    let guide = include_str!("../../../docs/src/web.md");
    let rows = guide.lines().filter(|line| line.starts_with("| `/"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_address_that_was_ever_promised_answers() {
    for (shape, example) in SHAPES {
        let html = page(example);
        assert!(!html.is_empty(), "{shape}");
    }
    // What needs a digest: the story of a held build has it.
    let known = |shape: &&str| SHAPES.iter().any(|(own, _)| own == shape);
    let others: Vec<_> = promised()
        .into_iter()
        .filter(|shape| !known(shape))
        .collect();
    assert_eq!(others, ["/builds/N/reports/DIGEST"]);
    let guide = promised();
    for (shape, _) in SHAPES {
        let is_below = ["/files", "/required-by", "/inside"].contains(shape);
        assert!(
            is_below || guide.contains(shape),
            "{shape} is promised no more"
        );
    }
}

#[test]
fn documents_have_addresses_that_stay_too() {
    let build = STORY.world.build(STORY.builds[0]);
    let digest = build.packages[0].evidence[0].digest;
    let http = STORY.world.http.with_token(None);
    for path in [
        format!("/evidence/sha256/{digest}"),
        "/r/2/base/x86_64/repodata/repomd.xml".to_owned(),
        "/keys/RPM-GPG-KEY".to_owned(),
        "/keys/statement.pub".to_owned(),
        "/preview.repo".to_owned(),
        "/log/checkpoint".to_owned(),
    ] {
        assert_eq!(http.get(&path).status, 200, "{path}");
    }
}
