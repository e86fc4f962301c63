//! What clients and operators fetch: ranges, validators, cache headers, keys, listings, health; moving
//! the channels; and that nobody ever sees a torn repository.

use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::http::{Answer, Http};
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::{self, Repository, gpgv};
use hallmark_tests::tools::Need;
use hallmark_tests::world::{SERVER, SIGNER, Watch};
use hallmark_tests::{Options, World, require};
use repo_model::FileDigest;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

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
    let listed = Repository::new(&world.http, BASE).package("served").expect("it is published");
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
        assert_eq!(answer.header("content-range"), format!("bytes {}-{}/{total}", part.start, part.end - 1));
        assert_eq!(answer.body, &whole[part], "{range}");
    }
    let beyond = get(&world.http, &path, &[("range", &format!("bytes={total}-"))]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{total}").as_str()));
    for range in ["bytes=5-1", "lines=1-2", "bytes=0-1,5-6"] {
        let answer = get(&world.http, &path, &[("range", range)]);
        assert_eq!((answer.status, answer.body.len()), (200, total), "{range}");
    }
    let same = get(&world.http, &path, &[("if-none-match", &etag)]);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, etag.as_str()));
    assert_eq!(get(&world.http, &path, &[("if-none-match", "\"other\"")]).status, 200);
    assert_eq!(get(&world.http, &path, &[("if-match", "\"other\"")]).status, 412);
    let resumed = get(&world.http, &path, &[("range", "bytes=1-"), ("if-range", &etag)]);
    assert_eq!(resumed.status, 206);
    let changed = get(&world.http, &path, &[("range", "bytes=1-"), ("if-range", "\"other\"")]);
    assert_eq!((changed.status, changed.body.len()), (200, total));
    let head = world.http.send("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, total.to_string().as_str()));
    assert_eq!(head.header("etag"), etag);
}

#[test]
fn only_names_that_move_are_asked_for_again() {
    let world = world();
    let repomd = world.http.get(&format!("{BASE}/repodata/repomd.xml"));
    assert_eq!(repomd.header("cache-control"), "no-cache");
    assert!(!repomd.header("etag").is_empty() && !repomd.header("last-modified").is_empty(), "{:?}", repomd.headers);
    let again = get(&world.http, &format!("{BASE}/repodata/repomd.xml"), &[("if-none-match", repomd.header("etag"))]);
    assert_eq!(again.status, 304);
    assert_eq!(world.http.get(&format!("{BASE}/repodata/repomd.xml.asc")).header("cache-control"), "no-cache");
    assert_eq!(world.http.get(&format!("{BASE}/metalink.xml")).header("cache-control"), "no-cache");

    let release = world.channel("preview");
    let pinned = format!("/r/{release}/base/x86_64/repodata/repomd.xml");
    let answer = world.http.get(&pinned);
    assert_eq!(answer.header("cache-control"), IMMUTABLE);
    assert_eq!(answer.body, repomd.body, "the channel is the release");
    for file in repository::metadata_files(&repomd.text()) {
        assert!(file.href.contains(&file.digest.to_hex()), "{} is named by its content", file.href);
        assert_eq!(world.http.get(&format!("{BASE}/{}", file.href)).header("cache-control"), IMMUTABLE);
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
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert_eq!(world.http.get("/nowhere.repo").status, 404);
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY")).expect("text");
    assert_eq!(keys.matches("BEGIN PGP PUBLIC KEY BLOCK").count(), 2, "packages and metadata");
    assert!(!keys.contains("PRIVATE"));
    let metadata_key = world.http.fetch("/keys/RPM-GPG-KEY-metadata");
    assert_eq!(world.http.fetch(&format!("{BASE}/repodata/repomd.xml.key")), metadata_key);
    let statement_key = String::from_utf8(world.http.fetch("/keys/statement.pub")).expect("text");
    assert!(statement_key.parse::<repo_model::dsse::StatementPublicKey>().is_ok(), "{statement_key}");
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
        (format!("/r/{release}/base/x86_64/Packages/s/"), "served-1.0-1.noarch.rpm.asc"),
    ] {
        let answer = get(&world.http, &path, &[("accept", "text/html")]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        assert!(answer.header("content-security-policy").contains("default-src"), "{path}");
        assert!(answer.text().contains(word), "{path} does not say {word}");
    }
    let missing = get(&world.http, &format!("{BASE}/Packages/s/absent.rpm"), &[("accept", "text/html")]);
    assert_eq!(missing.status, 404);
    assert!(missing.header("content-type").starts_with("text/html"));
    for path in ["/preview", "/preview/base", &format!("{BASE}/Packages/s/absent.rpm"), "/r/99999/base/x86_64/"] {
        assert_eq!(world.http.get(path).status, 404, "{path}");
    }
    assert_eq!(world.http.send("POST", BASE, &[], b"").status, 405);
}

#[test]
fn an_old_client_gets_gzip_metadata() {
    let world = world();
    let repo = Repository::new(&world.http, "/preview/old/x86_64");
    let files = repository::metadata_files(&String::from_utf8_lossy(&repo.repomd()));
    assert!(files.iter().all(|file| file.href.ends_with(".xml.gz")), "{files:?}");
    assert_eq!(repo.check_everything(), []);
}

#[test]
fn metrics_count_what_there_is() {
    let world = world();
    let text = String::from_utf8(world.http.fetch("/metrics")).expect("text");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
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

#[test]
fn the_server_says_that_the_signer_is_away_and_serves_on() {
    let owned = own_world();
    let world = owned.watch();
    let build = Crafted::new("early", "1.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(world.http.get("/healthz").body, b"ok\n");
    assert!(world.process(SIGNER).stop().success(), "a clean end");
    let answer = world.http.get("/readyz");
    assert_eq!(answer.status, 503);
    let parts: serde_json::Value = answer.json();
    assert_eq!((&parts["signer"], &parts["database"]), (&"unreachable".into(), &"ok".into()));
    assert_eq!(world.http.get("/healthz").status, 200);
    assert_eq!(Repository::new(&world.http, BASE).check_everything().len(), 1);
    assert_eq!(world.http.get("/keys/RPM-GPG-KEY").status, 200, "keys are remembered");

    let late = Crafted::new("late", "1.0").publish(&world.http).build;
    world.until_build(late, "waits for the signer", |status| {
        status.jobs.iter().any(|job| job.name == "sign" && job.last_error.is_some())
    });
    assert!(Repository::new(&world.http, BASE).package("late").is_none());
    // A server that starts while the signer is away serves all the same.
    assert!(world.process(SERVER).stop().success(), "a clean end");
    world.start_process(SERVER);
    world.until("the server answers", || {
        let answer = world.http.try_send("GET", "/keys/RPM-GPG-KEY", &[], b"").ok_or("no answer")?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    world.start_process(SIGNER);
    world.until_ready();
    world.until_published(late);
    assert_eq!(Repository::new(&world.http, BASE).check_everything().len(), 2);
}

#[test]
fn promotion_and_rollback_move_a_pointer_and_rewrite_nothing() {
    let owned = own_world();
    let world = owned.watch();
    let stable = Repository::new(&world.http, "/stable/base/x86_64");
    let mut releases = Vec::new();
    for version in ["1.0", "2.0", "3.0"] {
        let build = Crafted::new("moving", version).publish(&world.http).build;
        world.until_published(build);
        releases.push(world.channel("preview"));
    }
    assert_eq!(world.channel("stable"), 0, "nothing is promoted by itself");
    assert_eq!(world.http.get("/stable/base/x86_64/repodata/repomd.xml").status, 404);

    world.hallmark_ok(&["promote", "--to", "stable", "--release", &releases[0].to_string()]);
    assert_eq!(world.channel("stable"), releases[0]);
    assert_eq!(stable.check_everything().len(), 1);
    let first = stable.repomd();
    world.hallmark_ok(&["promote", "--to", "stable"]);
    assert_eq!(world.channel("stable"), releases[2]);
    assert_eq!(stable.check_everything().len(), 3);
    assert_eq!(stable.repomd(), Repository::new(&world.http, BASE).repomd());
    for package in Repository::new(&world.http, &format!("/r/{}/base/x86_64", releases[0])).check_everything() {
        assert_eq!(world.http.get(&stable.path(&package.href)).status, 200);
    }

    world.hallmark_ok(&["rollback", "stable"]);
    assert_eq!(world.channel("stable"), releases[0]);
    assert_eq!(stable.repomd(), first, "byte for byte as it was");
    let asc = world.http.fetch(&stable.path("repodata/repomd.xml.asc"));
    assert_eq!(asc, world.http.fetch(&format!("/r/{}/base/x86_64/repodata/repomd.xml.asc", releases[0])));

    // A new release moves preview only: a channel that was moved back stays.
    let build = Crafted::new("moving", "4.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(world.channel("stable"), releases[0]);
    assert!(world.channel("preview") > releases[2]);

    // The same for preview, the channel that follows by itself.
    world.hallmark_ok(&["rollback", "preview", "--to", &releases[1].to_string()]);
    let build = Crafted::new("moving", "5.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(world.channel("preview"), releases[1], "a rollback is not undone by the next build");
    let newest = world.releases()[0].id.to_string();
    world.hallmark_ok(&["promote", "--to", "preview", "--release", &newest]);
    let build = Crafted::new("moving", "6.0").publish(&world.http).build;
    world.until_published(build);
    assert_eq!(world.channel("preview"), world.releases()[0].id.0, "at the newest release it follows again");

    let behind = world.hallmark(&["rollback", "stable", "--to", "9999"]);
    assert_ne!(behind.status.code(), Some(0));
    let seen = serde_json::json!({"seen": releases[1], "to": releases[2]});
    let stale = world.http.post_json("/api/v1/channels/stable/move", &seen);
    assert_eq!(stale.status, 409, "{}", stale.text());
}

#[test]
fn of_many_who_move_a_channel_at_once_one_wins() {
    let owned = own_world();
    let world = owned.watch();
    for version in ["1.0", "2.0"] {
        let build = Crafted::new("contended", version).publish(&world.http).build;
        world.until_published(build);
    }
    let newest = world.releases()[0].id.0;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let post = |to: u64| {
            let body = serde_json::json!({"seen": null, "to": to});
            world.http.post_json("/api/v1/channels/stable/move", &body).status
        };
        let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || post(newest - n % 2))).collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 5, "{statuses:?}");
}

/// A client as DNF is one: repomd.xml, its signature, then everything that it names; no step may fail.
/// Returns every pair that it saw.
fn read_again_and_again(http: &Http, source: Ipv4Addr, done: &AtomicBool) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let fetch = |path: &str| {
        let answer = http.get_from(source, &format!("{BASE}/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.body
    };
    let mut seen = BTreeSet::new();
    while !done.load(Ordering::SeqCst) {
        let repomd = fetch("repodata/repomd.xml");
        let signature = fetch("repodata/repomd.xml.asc");
        for file in repository::metadata_files(&String::from_utf8_lossy(&repomd)) {
            assert_eq!(FileDigest::of(&fetch(&file.href)), file.digest, "{}", file.href);
        }
        seen.insert((repomd, signature));
    }
    seen
}

#[test]
fn while_releases_come_out_no_client_sees_a_torn_repository() {
    const RELEASES: usize = 15;
    require!([Need::Program("gpgv"), Need::Program("gpg")]);
    let owned = World::start(&Options { publish_delay_millis: 0, ..Options::no_rebuilds() });
    let world = owned.watch();
    let http = world.http.with_token(None);
    let done = AtomicBool::new(false);
    let pairs: BTreeSet<_> = std::thread::scope(|scope| {
        let sources = (2..5).map(|last| Ipv4Addr::new(127, 0, 0, last));
        let (http, done) = (&http, &done);
        let readers: Vec<_> = sources.map(|source| scope.spawn(move || read_again_and_again(http, source, done))).collect();
        for number in 0..RELEASES {
            let build = Crafted::new(&format!("flood{number}"), "1.0").publish(&world.http).build;
            world.until_published(build);
        }
        done.store(true, Ordering::SeqCst);
        readers.into_iter().flat_map(|reader| reader.join().expect("no reader failed")).collect()
    });
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY-metadata")).expect("text");
    let scratch = world.new_dir("gpg");
    for (repomd, signature) in &pairs {
        gpgv(&scratch, &keys, signature, repomd).expect("the signature is of this repomd.xml");
    }
    let repomds: BTreeSet<_> = pairs.iter().map(|(repomd, _)| repomd).collect();
    assert_eq!(repomds.len(), pairs.len(), "one signature for each repomd.xml");
    assert!(pairs.len() > RELEASES / 3, "only {} of {RELEASES} releases were seen", pairs.len());
    assert_eq!(Repository::new(&world.http, BASE).check_everything().len(), RELEASES);
}

#[test]
fn dnf5_reads_soundly_while_releases_come_out() {
    require!(Client::Dnf5.needs());
    let owned = World::start(&Options { publish_delay_millis: 0, ..Options::no_rebuilds() });
    let world = owned.watch();
    let build = Crafted::new("wanted", "1.0").publish(&world.http).build;
    world.until_published(build);
    let key_url = world.http.url("/keys/RPM-GPG-KEY");
    let done = AtomicBool::new(false);
    let installs = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                let build = Crafted::new(&format!("flood{count}"), "1.0").publish(&world.http).build;
                world.until_published(build);
                count += 1;
            }
            count
        });
        let outcomes: Vec<_> = (0..3)
            .map(|_| {
                let wanted = Installation {
                    base_url: &world.http.url(BASE),
                    key: "",
                    key_url: Some(&key_url),
                    check_metadata: true,
                    package: "wanted",
                };
                Client::Dnf5.install(&world, &wanted)
            })
            .collect();
        done.store(true, Ordering::SeqCst);
        (outcomes, publisher.join().expect("no release failed"))
    });
    let (outcomes, releases) = installs;
    for outcome in &outcomes {
        assert_eq!(*outcome, Outcome::Installed(vec!["wanted-1.0-1.noarch".to_owned()]));
    }
    assert!(releases > 2, "only {releases} releases came out meanwhile");
}
