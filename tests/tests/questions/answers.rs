//! Questions by the command line, over HTTP, over releases.

use super::{STORY, Story, metadata};
use hallmark_tests::tools::BUILDING;
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, World, packages, require};
use repo_model::FileDigest;
use repo_model::wire::ErrorBody;
use repo_model::wire::sbom::{BuiltWith, Difference, FileHit, LicenceUse, Page, Shipped, Why};
use serde::de::DeserializeOwned;

fn ask<T: DeserializeOwned>(world: &World, arguments: &[&str]) -> Page<T> {
    let mut all = vec!["sbom"];
    all.extend(arguments);
    all.push("--json");
    let json = world.hallmark_ok(&all);
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn versions(page: &Page<Shipped>) -> Vec<String> {
    page.items
        .iter()
        .map(|item| item.package.nevra.evr.version.clone())
        .collect()
}

#[test]
fn the_command_line_tells_who_ships_a_component_and_why() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let [first, _] = story.releases;
    let all: Page<Shipped> = ask(&world, &["who-ships", "pkg:cargo/openssl"]);
    assert_eq!(versions(&all), ["1.0", "2.0"]);
    assert_eq!(all.items[0].places, ["/usr/bin/carrier"]);
    assert_eq!(all.items[0].evidence[0].source, "cargo-auditable");
    let old: Page<Shipped> = ask(&world, &["who-ships", "pkg:cargo/openssl", "< 0.10.70"]);
    assert_eq!(versions(&old), ["1.0"]);
    let new = [
        "who-ships",
        "openssl",
        "vers:cargo/>=0.10.70",
        "--release",
        "preview",
    ];
    assert_eq!(versions(&ask(&world, &new)), ["2.0"]);
    let then = ["who-ships", "openssl", "--release", &first.to_string()];
    assert_eq!(versions(&ask(&world, &then)), ["1.0"]);
    let words = world.hallmark_ok(&["sbom", "who-ships", "zlib"]);
    assert!(
        words.contains("bundled-provide") && words.contains("pkg:generic/zlib@1.2.11"),
        "{words}"
    );

    let why: Page<Why> = ask(
        &world,
        &["why", "openssl", "--package", "carrier-2.0-1.x86_64"],
    );
    let path: Vec<_> = why.items[0]
        .path
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(why.items[0].how, "static");
    assert_eq!(
        path[..3],
        [
            "carrier-2.0-1.src",
            "carrier-2.0-1.x86_64",
            "/usr/bin/carrier"
        ]
    );
    assert_eq!(path.last(), Some(&"pkg:cargo/openssl@0.10.72"));
    let python: Page<Why> = ask(&world, &["why", "pkg:pypi/requests"]);
    assert_eq!(
        (python.items.len(), python.items[0].how.as_str()),
        (2, "shipped")
    );
    let zlib: Page<Why> = ask(&world, &["why", "zlib"]);
    assert_eq!(zlib.items[0].how, "bundled");
}

#[test]
fn files_licences_tools_and_differences_are_told() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let [first, second] = story.releases.map(|release| release.to_string());
    let digest = FileDigest::of(metadata("2.31.0").as_bytes()).to_string();
    let files: Page<FileHit> = ask(&world, &["file", &digest]);
    assert_eq!(files.items.len(), 2);
    assert_eq!(
        files.items[0].path,
        "/usr/lib/carrier/requests-2.31.0.dist-info/METADATA"
    );
    let by_sha1: Page<FileHit> = ask(&world, &["file", &files.items[0].sha1]);
    assert_eq!(by_sha1.items, files.items);

    let unmapped: Page<LicenceUse> = ask(&world, &["licences", "--unmapped", "--of", "package"]);
    let found: Vec<_> = unmapped
        .items
        .iter()
        .map(|l| (l.raw.as_str(), l.packages))
        .collect();
    assert_eq!(found, [("BSD", 2)]);
    let licensed: Page<Shipped> = ask(&world, &["licensed", "BSD", "--release", &first]);
    assert_eq!(versions(&licensed), ["1.0"]);

    let built: Page<BuiltWith> = ask(&world, &["built-with", "gcc"]);
    assert_eq!(built.items.len(), 2);
    assert_eq!(built.items[0].buildinfo, story.builds[0].buildinfo);
    let version = built.items[0].version.clone();
    let none: Page<BuiltWith> = ask(&world, &["built-with", "gcc", &format!("> {version}")]);
    assert_eq!(none.items.len(), 0);

    let lines = |page: Page<Difference>| {
        let line = |item: &Difference| {
            format!(
                "{} {} {:?}>{:?}",
                item.change, item.name, item.from, item.to
            )
        };
        page.items.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(ask(&world, &["diff", &first, &second])),
        [r#"upgraded carrier ["1.0-1"]>["2.0-1"]"#]
    );
    let components = lines(ask(&world, &["diff", &first, "preview", "--components"]));
    assert!(
        components.contains(&r#"upgraded cargo:openssl ["0.10.50"]>["0.10.72"]"#.to_owned()),
        "{components:?}"
    );
    assert!(
        !components.iter().any(|line| line.contains("zlib")),
        "{components:?}"
    );
}

#[test]
fn a_question_that_cannot_be_answered_says_what_to_ask_instead() {
    require!(BUILDING);
    let Story { world, .. } = &*STORY;
    let anonymous = world.http.with_token(None);
    for (path, status, word) in [
        ("/api/v1/sbom/components", 400, "`component` is missing"),
        (
            "/api/v1/sbom/components?component=pkg:x",
            400,
            "no package URL",
        ),
        (
            "/api/v1/sbom/components?component=a&version=%3C",
            400,
            "no range of versions",
        ),
        (
            "/api/v1/sbom/components?component=pkg:cargo/a@1&version=2",
            400,
            "has a version",
        ),
        (
            "/api/v1/sbom/components?component=a&relaese=1",
            400,
            "no parameter `relaese`",
        ),
        (
            "/api/v1/sbom/components?component=a&release=99999",
            404,
            "no release or channel",
        ),
        (
            "/api/v1/sbom/components?component=a&limit=x",
            400,
            "`limit`",
        ),
        ("/api/v1/sbom/files?digest=07", 400, "is no SHA-1"),
        ("/api/v1/sbom/diff?from=1", 400, "`to` is missing"),
        (
            "/api/v1/vulnerabilities?status=bad",
            400,
            "under_investigation",
        ),
        ("/api/v1/vulnerabilities?after=1", 400, "`next`"),
        ("/r/1/base/x86_64/sbom/none.json", 404, ""),
    ] {
        let answer = anonymous.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(word), "{path}: {}", answer.text());
        if path.starts_with("/api/") {
            assert!(
                answer.json::<ErrorBody>().hint.is_some(),
                "{path} has no hint"
            );
        }
    }
    assert_eq!(anonymous.post_json("/api/v1/vex", &"x").status, 401);
    let failed = world.hallmark(&["sbom", "who-ships", "pkg:cargo/openssl", "<<"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("hint:"));
}

#[test]
fn the_index_outlives_a_kill_and_is_made_again_on_request() {
    require!(BUILDING);
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    let folder = packages::of_spec("carrier", &super::spec("1.0", "0.10.50", "2.31.0"));
    let build = world.publish(&[&folder])[0].build;
    // Wherever the server is just then.
    world.crash(SERVER);
    world.until_ready();
    world.until_published(build);
    let versions = |page: Page<Shipped>| versions(&page);
    assert_eq!(versions(ask(&world, &["who-ships", "openssl"])), ["1.0"]);
    world.hallmark_ok(&["sbom", "reindex"]);
    world.until("the index is filled again", || {
        let found: Page<Shipped> = ask(&world, &["who-ships", "openssl"]);
        match found.items.len() {
            1 => Ok(()),
            other => Err(format!("{other} packages")),
        }
    });
    world.process(SERVER).kill_9();
    std::fs::remove_file(world.data_dir().join("sbom-index.db")).expect("it is there");
    for rest in ["sbom-index.db-wal", "sbom-index.db-shm"] {
        let _ = std::fs::remove_file(world.data_dir().join(rest));
    }
    world.start_process(SERVER);
    world.until_ready();
    world.until("a lost index is made again", || {
        let found: Page<Shipped> = ask(&world, &["who-ships", "openssl"]);
        match found.items.len() {
            1 => Ok(()),
            other => Err(format!("{other} packages")),
        }
    });
}
