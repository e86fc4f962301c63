//! SBOMs about builds as a whole: the source package, what was made from it and how. The server makes them once
//! every package of a build has its own; they are led to from the source package and from what it made.

use super::published::links;
use super::whole::{checked, validators};
use super::{BASE, STORY};
use hallmark_tests::http::Http;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::tools::{BUILDING, Need};
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, World, process, require};
use repo_model::FileDigest;
use repo_model::wire::status::BuildStatus;
use serde_json::Value;

/// Name of a format, and the suffix of its documents, in the order of preference.
const FORMATS: [(&str, &str); 4] = [
    ("cyclonedx-1.6", ".cdx.json"),
    ("spdx-2.3", ".spdx.json"),
    ("cyclonedx-1.7", ".cdx17.json"),
    ("spdx-3.0.1", ".spdx3.json"),
];

/// The documents about a build, by the headers of its source package: (suffix, bytes), in the order of preference.
fn led_to(anonymous: &Http, build: &BuildStatus) -> Vec<(&'static str, Vec<u8>)> {
    let source = anonymous.get(&format!("/evidence/sha256/{}", build.source_file));
    assert_eq!(source.status, 200, "{}", source.text());
    let links = links(source.header("link"));
    assert_eq!(links.len(), FORMATS.len(), "{links:?}");
    let documents = FORMATS.iter().zip(links);
    let documents = documents.map(|((format, suffix), (digest, relation, kind))| {
        assert_eq!(relation, "sbom");
        let answer = anonymous.get(&format!("/evidence/sha256/{digest}"));
        assert_eq!(answer.header("content-type"), kind);
        assert_eq!(FileDigest::of(&answer.body).to_string(), digest);
        let is_listed = |link: &repo_model::wire::status::EvidenceLink| {
            link.kind == "build-sbom" && link.label == *format && link.digest.to_string() == digest
        };
        assert!(build.documents.iter().any(is_listed), "{format}");
        (*suffix, answer.body)
    });
    documents.collect()
}

#[test]
fn a_source_package_leads_to_the_documents_about_its_build_and_so_do_its_packages() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let anonymous = world.http.with_token(None);
    let build = &story.builds[1];
    let documents = led_to(&anonymous, build);
    let cyclonedx: Value = serde_json::from_slice(&documents[0].1).expect("JSON");
    let about = &cyclonedx["metadata"]["component"];
    assert_eq!(about["name"], "carrier");
    assert!(about["purl"].to_string().contains("arch=src"));
    let tools = cyclonedx["formulation"][0]["components"].to_string();
    assert!(tools.contains("\"name\":\"gcc"), "{tools}");
    // What is inside a package is inside the build.
    let text = String::from_utf8_lossy(&documents[0].1);
    assert!(text.contains("pkg:cargo/openssl@0.10.72"));

    // From a package, by its name in the repository.
    let path = format!("{BASE}/{}", build.packages[0].href);
    let links = links(anonymous.get(&path).header("link"));
    let described: Vec<_> = links
        .iter()
        .filter(|link| link.1 == "describedby")
        .collect();
    let (target, _, kind) = described[1];
    let name = target.rsplit('/').next().expect("a name");
    assert!(target.starts_with("../../sbom/builds/"), "{target}");
    assert!(kind.contains("cyclonedx"), "{kind}");
    let answer = anonymous.get(&format!("{BASE}/sbom/builds/{name}"));
    assert_eq!(answer.body, documents[0].1);
    assert!(answer.header("cache-control").contains("immutable"));
    // Each name means one document, and only where the build is.
    let other = name.replace("carrier", "barrier");
    for missing in [
        format!("{BASE}/sbom/builds/{other}"),
        format!("{BASE}/sbom/builds/{}", name.replace(".cdx.", ".spdx.")),
        format!("/r/{}/base/x86_64/sbom/builds/{name}", story.releases[0]),
    ] {
        assert_eq!(anonymous.get(&missing).status, 404, "{missing}");
    }
}

#[test]
fn each_release_lists_the_documents_about_its_builds() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let anonymous = world.http.with_token(None);
    let [first, second] = story.releases;
    for (release, builds) in [(first, &story.builds[..1]), (second, &story.builds[..])] {
        let base = format!("/r/{release}/base/x86_64/sbom");
        let index: Value = anonymous.get_json(&format!("{base}/index.json"));
        let changes = anonymous.get(&format!("{base}/changes.csv")).text();
        let listed = index["feed"]["build"].as_array().expect("builds");
        assert_eq!(listed.len(), builds.len());
        for (one, build) in listed.iter().zip(builds) {
            assert_eq!(one["id"], build.buildinfo.to_string());
            assert_eq!(one["title"], build.source.to_string());
            assert_eq!(one["source"]["sha256"], build.source_file.to_string());
            let header = build.packages[0].header.to_string();
            assert_eq!(one["packages"], serde_json::json!([header]));
            let documents = led_to(&anonymous, build);
            let links = one["link"].as_array().expect("links");
            for (link, (_, document)) in links.iter().zip(&documents) {
                let href = link["href"].as_str().expect("a path");
                assert_eq!(link["sha256"], FileDigest::of(document).to_string());
                assert_eq!(anonymous.fetch(&format!("{base}/{href}")), *document);
                assert!(changes.contains(&format!("\"{href}\",")), "{changes}");
            }
            let entries = index["feed"]["entry"].as_array().expect("entries");
            let own = entries.iter().find(|entry| entry["id"] == header.as_str());
            assert_eq!(own.expect("its entry")["build"], one["id"]);
        }
    }
}

#[test]
fn anybody_makes_the_same_bytes_about_a_build_from_what_was_published() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let anonymous = world.http.with_token(None);
    let build = &story.builds[0];
    let folder = world.new_dir("build-again");
    let save = |name: &str, path: &str| {
        let file = folder.join(name);
        std::fs::write(&file, anonymous.fetch(path)).expect("a file");
        file.to_str().expect("a path").to_owned()
    };
    let source = save(
        "carrier.src.rpm",
        &format!("/evidence/sha256/{}", build.source_file),
    );
    let info = save(
        "buildinfo",
        &format!("/evidence/sha256/{}", build.buildinfo),
    );
    // Signed, which the documents were made before.
    let package = save("carrier.rpm", &format!("{BASE}/{}", build.packages[0].href));
    let config = world.config_file();
    world.hallmark_ok(&[
        "sbom",
        "--config",
        config.to_str().expect("a path"),
        "--build",
        "--buildinfo",
        &info,
        "--format",
        &FORMATS.map(|(format, _)| format).join(","),
        "--output",
        folder.to_str().expect("a path"),
        &package,
        &source,
    ]);
    for (suffix, published) in led_to(&anonymous, build) {
        let name = format!("carrier-1.0-1.src.rpm.build{suffix}");
        let ours = std::fs::read(folder.join(&name)).expect("it was written");
        assert!(ours == published, "{name} is another one");
    }
}

#[test]
fn the_documents_about_a_build_meet_ntia_and_bsi() {
    require!(BUILDING);
    let story = &*STORY;
    let world = story.world.watch();
    let Some(python) = validators("the_documents_about_a_build_meet_ntia_and_bsi") else {
        return;
    };
    let folder = world.new_dir("builds-to-be-checked");
    for (suffix, document) in led_to(&world.http.with_token(None), &story.builds[1]) {
        // pyspdxtools takes no address without a domain name.
        let text = String::from_utf8(document).expect("JSON");
        let text = text.replace(&world.http.url(""), "https://packages.example.org");
        std::fs::write(folder.join(format!("conformant-build{suffix}")), text).expect("a file");
    }
    let said = checked(&python, &folder);
    assert!(
        said.contains("checked 4, invalid 0, conformant 3"),
        "{said}"
    );
}

/// In a world of its own: it kills the server.
#[test]
fn a_build_has_its_documents_wherever_the_server_was_killed() {
    let world = World::start(&Options::no_rebuilds());
    let anonymous = world.http.with_token(None);
    let mut pause = std::time::Duration::ZERO;
    for number in 0..4 {
        let build = Crafted::new(&format!("lone{number}"), "1.0")
            .publish(&world.http)
            .build;
        // From before the first document is begun to some time after.
        std::thread::sleep(pause);
        pause += std::time::Duration::from_millis(40);
        world.process(SERVER).kill_9();
        world.start_process(SERVER);
        world.until_ready();
        let build = world.until_published(build);
        let documents = led_to(&anonymous, &build);
        let kinds = build.documents.iter();
        let kept = kinds.filter(|link| link.kind == "build-sbom").count();
        assert_eq!(kept, documents.len(), "each once");
    }
}

/// In a world of its own: it stops the server.
#[test]
fn builds_that_were_published_without_documents_get_them_when_the_server_starts() {
    require!(&[Need::Program("python3")]);
    let world = World::start(&Options::no_rebuilds());
    let anonymous = world.http.with_token(None);
    let publish = |name: &str| {
        let build = Crafted::new(name, "1.0").publish(&world.http).build;
        world.until_published(build)
    };
    let builds = ["older0", "older1", "older2"].map(publish);
    let before = builds.each_ref().map(|build| led_to(&anonymous, build));
    world.process(SERVER).stop();
    // As a server from before there were such documents left it; of one build even the buildinfo does not read.
    let forget = "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
                  db.execute(\"DELETE FROM evidence WHERE kind = 'build-sbom'\"); \
                  db.execute('UPDATE builds SET buildinfo = source_file WHERE build_id = ?', sys.argv[2:]); db.commit()";
    let mut python = process::command("python3");
    python.args(["-c", forget]);
    python.arg(world.data_dir().join("hallmark.db"));
    process::run(python.arg(builds[1].build.to_string()));
    world.start_process(SERVER);
    world.until_ready();
    for number in [2, 0] {
        let path = format!("/evidence/sha256/{}", builds[number].source_file);
        world.until(
            "the source package leads to its documents",
            || match anonymous.get(&path).header("link") {
                "" => Err("it leads nowhere".to_owned()),
                _ => Ok(()),
            },
        );
        let build = world.until_published(builds[number].build);
        assert!(led_to(&anonymous, &build) == before[number], "other bytes");
    }
    // The next release lists them.
    publish("newer");
    let index: Value = anonymous.get_json(&format!("{BASE}/sbom/index.json"));
    let listed = index["feed"]["build"].as_array().expect("builds");
    let titles: Vec<_> = listed.iter().map(|one| one["title"].clone()).collect();
    assert_eq!(
        titles,
        ["newer-1.0-1.src", "older0-1.0-1.src", "older2-1.0-1.src"]
    );
}
