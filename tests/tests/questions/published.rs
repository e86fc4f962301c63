//! SBOMs beside the packages: led to by a header, listed for each release, covered by its signature, and
//! passed over by package managers.

use super::{BASE, STORY};
use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::repository::metadata_files;
use hallmark_tests::require;
use hallmark_tests::tools::BUILDING;
use repo_model::{FileDigest, sbom_facts};
use serde_json::Value;

/// `Link` headers: (target, rel, type).
pub(super) fn links(header: &str) -> Vec<(String, String, String)> {
    let one = |link: &str| {
        let target = link.split(['<', '>']).nth(1).expect("a target").to_owned();
        let value = |name: &str| {
            let rest = link.split_once(&format!("{name}=\"")).expect(name).1;
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        (target, value("rel"), value("type"))
    };
    header.split(", ").map(one).collect()
}

#[test]
fn a_package_leads_to_its_sboms_and_to_the_summary_of_its_evidence() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let package = &story.builds[1].packages[0];
    let path = format!("{BASE}/{}", package.href);
    let anonymous = world.http.with_token(None);
    for answer in [
        anonymous.get(&path),
        anonymous.send("HEAD", &path, &[], b""),
    ] {
        let links = links(answer.header("link"));
        let folder = path.rsplit_once('/').expect("a folder").0;
        let mut formats = Vec::new();
        for (target, _, kind) in links.iter().filter(|link| link.1 == "sbom") {
            let document = anonymous.fetch(&format!("{folder}/{target}"));
            let facts = sbom_facts::read(&document).expect("an SBOM");
            assert_eq!(facts.header_digest, package.header);
            assert!(kind.contains("json"), "{kind}");
            formats.push(facts.format);
        }
        assert_eq!(
            formats,
            ["cyclonedx-1.6", "spdx-2.3", "cyclonedx-1.7", "spdx-3.0.1"]
        );
        let summary = links
            .iter()
            .find(|link| link.1 == "describedby")
            .expect("a summary");
        assert_eq!(
            anonymous.get(&format!("{folder}/{}", summary.0)).status,
            200
        );
    }
    let sbom = anonymous.get(&format!("{path}.cdx.json"));
    assert_eq!(sbom.header("link"), "", "an SBOM has none itself");
}

#[test]
fn each_release_lists_its_sboms_by_digest_for_ever() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let anonymous = world.http.with_token(None);
    let [first, second] = story.releases;
    let mut titles = Vec::new();
    for release in [first, second] {
        let base = format!("/r/{release}/base/x86_64");
        let answer = anonymous.get(&format!("{base}/sbom/index.json"));
        assert!(answer.header("cache-control").contains("immutable"));
        // What the signed repomd.xml names, decompressed, is what is served.
        let repomd = String::from_utf8(anonymous.fetch(&format!("{base}/repodata/repomd.xml")))
            .expect("XML");
        let record = metadata_files(&repomd)
            .into_iter()
            .find(|file| file.kind == "sbom")
            .expect("a record");
        let packed = anonymous.fetch(&format!("{base}/{}", record.href));
        assert_eq!(FileDigest::of(&packed), record.digest);
        assert_eq!(
            zstd::decode_all(packed.as_slice()).expect("zstd"),
            answer.body
        );
        let etag = answer.header("etag");
        assert_eq!(etag, format!("\"{}\"", FileDigest::of(&answer.body)));
        let again = anonymous.send(
            "GET",
            &format!("{base}/sbom/index.json"),
            &[("if-none-match", etag)],
            b"",
        );
        assert_eq!((again.status, again.body.len()), (304, 0));

        let index: Value = answer.json();
        let entries = index["feed"]["entry"].as_array().expect("entries");
        for entry in entries {
            for link in entry["link"].as_array().expect("links") {
                let target = link["href"]
                    .as_str()
                    .expect("a path")
                    .trim_start_matches("../");
                let document = anonymous.fetch(&format!("{base}/{target}"));
                assert_eq!(link["sha256"], FileDigest::of(&document).to_string());
                let facts = sbom_facts::read(&document).expect("an SBOM");
                assert_eq!(
                    (&link["format"], &entry["id"]),
                    (
                        &Value::from(facts.format),
                        &Value::from(facts.header_digest.to_string())
                    )
                );
            }
            assert!(
                entry["purl"]
                    .as_str()
                    .expect("a package URL")
                    .starts_with("pkg:rpm/")
            );
        }
        titles.push(
            entries
                .iter()
                .map(|entry| entry["title"].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>(),
        );

        let changes = anonymous.get(&format!("{base}/sbom/changes.csv")).text();
        let lines: Vec<_> = changes.lines().collect();
        // Four formats of each package, of each build, and of the whole.
        let builds = index["feed"]["build"].as_array().expect("builds");
        assert_eq!(lines.len(), (entries.len() + builds.len() + 1) * 4);
        let times: Vec<_> = lines
            .iter()
            .map(|line| line.split('"').nth(3).expect("a time"))
            .collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    }
    let (one, two) = (
        "carrier-1.0-1.x86_64".to_owned(),
        "carrier-2.0-1.x86_64".to_owned(),
    );
    assert_eq!(titles, [vec![one.clone()], vec![one, two]]);
    let moving = anonymous.get(&format!("{BASE}/sbom/index.json"));
    assert_eq!(moving.header("cache-control"), "no-cache");
    let pinned = anonymous.fetch(&format!("/r/{second}/base/x86_64/sbom/index.json"));
    assert_eq!(moving.body, pinned);
    let listing = anonymous.get(&format!("{BASE}/sbom/")).text();
    assert!(
        listing.contains("index.json") && listing.contains("changes.csv"),
        "{listing}"
    );
}

/// Package managers ask for what they know and mind nothing else.
fn installs_carrier(client: Client) {
    let story = &*STORY;
    let world = story.world.watch();
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY")).expect("text");
    let wanted = Installation {
        base_url: &world.http.url(BASE),
        key: &keys,
        key_url: Some(&world.http.url("/keys/RPM-GPG-KEY")),
        check_metadata: true,
        package: "carrier",
    };
    let outcome = client.install(&world, &wanted);
    let expected = Outcome::Installed(vec!["carrier-2.0-1.x86_64".to_owned()]);
    assert_eq!(outcome, expected, "{client:?} ({})", client.version(&world));
}

#[test]
fn dnf5_does_not_mind_the_sbom_records() {
    require!(BUILDING, Client::Dnf5.needs());
    installs_carrier(Client::Dnf5);
}

#[test]
fn dnf4_does_not_mind_the_sbom_records() {
    require!(BUILDING, Client::Dnf4.needs());
    installs_carrier(Client::Dnf4);
}

#[test]
fn zypper_does_not_mind_the_sbom_records() {
    require!(BUILDING, Client::Zypper.needs());
    installs_carrier(Client::Zypper);
}

#[test]
fn this_machines_dnf4_and_zypper_do_not_mind_the_sbom_records() {
    require!(
        BUILDING,
        Client::HostDnf4.needs(),
        Client::HostZypper.needs()
    );
    installs_carrier(Client::HostDnf4);
    installs_carrier(Client::HostZypper);
}
