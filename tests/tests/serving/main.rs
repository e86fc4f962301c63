//! What clients and operators fetch: ranges, validators, cache headers, keys, listings, health; moving
//! the channels; and that nobody ever sees a torn repository.

mod channels;
mod check;
mod races;

use hallmark_tests::http::{Answer, Http};
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::{self, Repository};
use hallmark_tests::world::Watch;
use hallmark_tests::{Options, World};
use repo_model::FileDigest;
use std::sync::LazyLock;

const BASE: &str = "/preview/base/x86_64";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// One package in release 2; nothing here changes it.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let world = World::start(&Options::no_rebuilds());
    let build = Crafted::new("served", "1.0").publish(&world.http).build;
    world.until_published(build);
    world
});

fn world() -> Watch<'static> {
    WORLD.watch()
}

fn get(http: &Http, path: &str, headers: &[(&str, &str)]) -> Answer {
    http.send("GET", path, headers, b"")
}

/// Path and content of the one package.
fn package(world: &World) -> (String, Vec<u8>) {
    let listed = Repository::new(&world.http, BASE)
        .package("served")
        .expect("it is published");
    let path = format!("{BASE}/{}", listed.href);
    let bytes = world.http.fetch(&path);
    (path, bytes)
}

#[test]
fn packages_are_served_in_ranges_and_by_validator() {
    let world = world();
    let (path, whole) = package(&world);
    let total = whole.len();
    let plain = world.http.get(&path);
    assert_eq!(plain.header("content-length"), total.to_string());
    assert_eq!(plain.header("content-type"), "application/x-rpm");
    assert_eq!(plain.header("accept-ranges"), "bytes");
    assert_eq!(plain.header("cache-control"), IMMUTABLE);
    assert_eq!(plain.header("x-content-type-options"), "nosniff");
    let etag = plain.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", FileDigest::of(&whole)));

    for (range, part) in [
        ("bytes=0-99".to_owned(), 0..100),
        ("bytes=100-".to_owned(), 100..total),
        ("bytes=-50".to_owned(), total - 50..total),
        (format!("bytes={}-999999999", total - 1), total - 1..total),
    ] {
        let answer = get(&world.http, &path, &[("range", &range)]);
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(
            answer.header("content-range"),
            format!("bytes {}-{}/{total}", part.start, part.end - 1)
        );
        assert_eq!(answer.body, &whole[part], "{range}");
    }
    let beyond = get(&world.http, &path, &[("range", &format!("bytes={total}-"))]);
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, format!("bytes */{total}").as_str())
    );
    let several = get(&world.http, &path, &[("range", "bytes=0-1,5-6")]);
    assert_eq!(several.status, 206);
    let kind = several.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("it says what divides them");
    let piece = |first: usize, last: usize| {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/x-rpm\r\nContent-Range: bytes {first}-{last}/{total}\r\n\r\n"
        );
        [head.as_bytes(), &whole[first..=last]].concat()
    };
    let end = format!("\r\n--{boundary}--\r\n");
    let expected = [piece(0, 1), piece(5, 6), end.into_bytes()].concat();
    assert_eq!(several.body, expected);
    for range in ["bytes=5-1", "lines=1-2", "bytes=5-6,0-1"] {
        let answer = get(&world.http, &path, &[("range", range)]);
        assert_eq!((answer.status, answer.body.len()), (200, total), "{range}");
    }
    let same = get(&world.http, &path, &[("if-none-match", &etag)]);
    assert_eq!(
        (same.status, same.body.len(), same.header("etag")),
        (304, 0, etag.as_str())
    );
    assert_eq!(
        get(&world.http, &path, &[("if-none-match", "\"other\"")]).status,
        200
    );
    assert_eq!(
        get(&world.http, &path, &[("if-match", "\"other\"")]).status,
        412
    );
    let resumed = get(
        &world.http,
        &path,
        &[("range", "bytes=1-"), ("if-range", &etag)],
    );
    assert_eq!(resumed.status, 206);
    let changed = get(
        &world.http,
        &path,
        &[("range", "bytes=1-"), ("if-range", "\"other\"")],
    );
    assert_eq!((changed.status, changed.body.len()), (200, total));
    let head = world.http.send("HEAD", &path, &[], b"");
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, total.to_string().as_str())
    );
    assert_eq!(head.header("etag"), etag);
}

#[test]
fn only_names_that_move_are_asked_for_again() {
    let world = world();
    let repomd = world.http.get(&format!("{BASE}/repodata/repomd.xml"));
    assert_eq!(repomd.header("cache-control"), "no-cache");
    assert!(
        !repomd.header("etag").is_empty() && !repomd.header("last-modified").is_empty(),
        "{:?}",
        repomd.headers
    );
    let again = get(
        &world.http,
        &format!("{BASE}/repodata/repomd.xml"),
        &[("if-none-match", repomd.header("etag"))],
    );
    assert_eq!(again.status, 304);
    assert_eq!(
        world
            .http
            .get(&format!("{BASE}/repodata/repomd.xml.asc"))
            .header("cache-control"),
        "no-cache"
    );
    assert_eq!(
        world
            .http
            .get(&format!("{BASE}/metalink.xml"))
            .header("cache-control"),
        "no-cache"
    );

    let release = world.channel("preview");
    let pinned = format!("/r/{release}/base/x86_64/repodata/repomd.xml");
    let answer = world.http.get(&pinned);
    assert_eq!(answer.header("cache-control"), IMMUTABLE);
    assert_eq!(answer.body, repomd.body, "the channel is the release");
    for file in repository::metadata_files(&repomd.text()) {
        assert!(
            file.href.contains(&file.digest.to_hex()),
            "{} is named by its content",
            file.href
        );
        assert_eq!(
            world
                .http
                .get(&format!("{BASE}/{}", file.href))
                .header("cache-control"),
            IMMUTABLE
        );
    }
}

#[test]
fn a_client_is_set_up_by_the_repo_file_and_the_keys() {
    let world = world();
    let url = world.url();
    let text = String::from_utf8(world.http.fetch("/preview.repo")).expect("text");
    assert_eq!(text, world.hallmark_ok(&["repofile", "preview"]));
    for line in [
        "[hallmark-preview-base]".to_owned(),
        format!("baseurl={url}/preview/base/$basearch/"),
        "gpgcheck=1".to_owned(),
        "repo_gpgcheck=1".to_owned(),
        format!("gpgkey={url}/keys/RPM-GPG-KEY"),
    ] {
        assert!(
            text.lines().any(|other| other == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(world.http.get("/nowhere.repo").status, 404);
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY")).expect("text");
    assert_eq!(
        keys.matches("BEGIN PGP PUBLIC KEY BLOCK").count(),
        2,
        "packages and metadata"
    );
    assert!(!keys.contains("PRIVATE"));
    let metadata_key = world.http.fetch("/keys/RPM-GPG-KEY-metadata");
    assert_eq!(
        world.http.fetch(&format!("{BASE}/repodata/repomd.xml.key")),
        metadata_key
    );
    let statement_key = String::from_utf8(world.http.fetch("/keys/statement.pub")).expect("text");
    assert!(
        statement_key
            .parse::<repo_model::dsse::StatementPublicKey>()
            .is_ok(),
        "{statement_key}"
    );
    assert_eq!(world.http.get("/keys/secret").status, 404);
}

#[test]
fn people_find_their_way_through_pages_and_listings() {
    let world = world();
    let release = world.channel("preview");
    let build = world.builds()[0].build;
    for (path, word) in [
        ("/".to_owned(), "preview"),
        ("/builds".to_owned(), "served"),
        (format!("/builds/{build}"), "CycloneDX 1.6"),
        ("/packages/served".to_owned(), "served"),
        ("/releases".to_owned(), "base"),
        (format!("/releases/{release}"), "served"),
        (format!("{BASE}/"), "repodata"),
        (format!("{BASE}/repodata/"), "repomd.xml.asc"),
        (format!("{BASE}/Packages/s/"), "served-1.0-1.noarch.rpm"),
        (
            format!("/r/{release}/base/x86_64/Packages/s/"),
            "served-1.0-1.noarch.rpm.asc",
        ),
    ] {
        let answer = get(&world.http, &path, &[("accept", "text/html")]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(
            answer.header("content-type").starts_with("text/html"),
            "{path}"
        );
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src"),
            "{path}"
        );
        assert!(answer.text().contains(word), "{path} does not say {word}");
    }
    let missing = get(
        &world.http,
        &format!("{BASE}/Packages/s/absent.rpm"),
        &[("accept", "text/html")],
    );
    assert_eq!(missing.status, 404);
    assert!(missing.header("content-type").starts_with("text/html"));
    for path in [
        "/preview",
        "/preview/base",
        &format!("{BASE}/Packages/s/absent.rpm"),
        "/r/99999/base/x86_64/",
    ] {
        assert_eq!(world.http.get(path).status, 404, "{path}");
    }
    assert_eq!(world.http.send("POST", BASE, &[], b"").status, 405);
}

#[test]
fn an_old_client_gets_gzip_metadata_with_groups_that_it_can_read_and_advisories() {
    let world = world();
    let repo = Repository::new(&world.http, "/preview/old/x86_64");
    let files = repository::metadata_files(&String::from_utf8_lossy(&repo.repomd()));
    let (groups, others): (Vec<_>, Vec<_>) =
        files.iter().partition(|file| file.href.contains("comps"));
    assert!(
        others.iter().all(|file| file.href.ends_with(".gz")),
        "{files:?}"
    );
    // yum reads groups only when they are not compressed.
    let plain = groups.iter().find(|file| file.href.ends_with("-comps.xml"));
    let plain = plain.unwrap_or_else(|| panic!("{files:?}"));
    assert!(groups.len() == 2 && groups.iter().any(|file| file.href.ends_with(".xml.gz")));
    let path = format!("/preview/old/x86_64/{}", plain.href);
    assert_eq!(
        world.http.fetch(&path),
        hallmark_tests::world::GROUPS.as_bytes()
    );
    let repomd = String::from_utf8_lossy(&repo.repomd()).into_owned();
    for wanted in [
        "\"group_gz\"",
        "\"updateinfo\"",
        "-updateinfo.xml.gz\"",
        "<open-checksum",
    ] {
        assert!(repomd.contains(wanted), "{wanted}: {repomd}");
    }
    assert_eq!(repo.check_everything(), []);
}

#[test]
fn metrics_count_what_there_is() {
    let world = world();
    let text = String::from_utf8(world.http.fetch("/metrics")).expect("text");
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
    };
    assert_eq!(value("hallmark_builds{stage=\"published\"}"), 1);
    assert!(value("hallmark_release") >= 2);
    assert!(value("hallmark_release_timestamp_seconds") > 1_700_000_000);
    assert!(value("hallmark_job_runs_total{name=\"sign\",result=\"done\"}") >= 1);
}

/// Worlds below change, so each test has its own.
fn own_world() -> World {
    World::start(&Options::no_rebuilds())
}
