//! A repository as a whole: its SBOMs, which the server makes after each release, and questions that lead
//! from package to package.

use super::BASE;
use hallmark_tests::http::Http;
use hallmark_tests::packages::crafted::{Crafted, binary, source};
use hallmark_tests::tools::Need;
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, World, process, require};
use repo_model::FileDigest;
use repo_model::rpm::tag;
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::wire::ErrorBody;
use repo_model::wire::sbom::{Page, ReleaseSbom, Why};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Name of a format, and what the document's file is called after the repository.
const FORMATS: [(&str, &str); 4] = [
    ("cyclonedx-1.6", "release.cdx.json"),
    ("cyclonedx-1.7", "release.cdx17.json"),
    ("spdx-2.3", "release.spdx.json"),
    ("spdx-3.0.1", "release.spdx3.json"),
];

/// A world with `wheel`, which holds a Python distribution, `axle`, which needs it, and `wagon`, which needs
/// `axle`. All come with one release.
struct Story {
    world: World,
    release: u64,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let world = World::start(&Options::no_rebuilds());
    let site = "/usr/lib/python3/site-packages/requests-2.31.0.dist-info/METADATA";
    let metadata = b"Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\n";
    let wheel = binary("wheel", "1.0").file(site, metadata);
    let needs = |name: &str, needed: &str| {
        binary(name, "1.0")
            .set(tag::REQUIRENAME, Field::strings([needed]))
            .set(tag::REQUIREFLAGS, Field::Int32(vec![0]))
            .set(tag::REQUIREVERSION, Field::strings([""]))
    };
    let build = |name: &str, package: Rpm| {
        let crafted = Crafted::of(source(name, "1.0").bytes(), vec![package.bytes()]);
        crafted.publish(&world.http).build
    };
    let builds = [
        build("wheel", wheel),
        build("axle", needs("axle", "/usr/share/wheel")),
        build("wagon", needs("wagon", "axle")),
    ];
    for number in builds {
        world.until_published(number);
    }
    let release = world.channel("preview");
    Story { world, release }
});

/// The documents about the repository `base` of a release, once they are made.
fn documents(world: &World, release: u64) -> Vec<ReleaseSbom> {
    world.until("the SBOMs of the release are made", || {
        let path = format!("/api/v1/releases/{release}/sboms");
        let mut made: Vec<ReleaseSbom> = world.http.get_json(&path);
        made.retain(|document| document.repo.as_str() == "base");
        match made.len() {
            0 => Err("there are none".to_owned()),
            _ => Ok(made),
        }
    })
}

#[test]
fn each_release_has_sboms_of_its_repositories_as_a_whole() {
    let Story { world, release } = &*STORY;
    let watch = world.watch();
    let anonymous = world.http.with_token(None);
    let documents = documents(world, *release);
    let names = documents.iter().map(|one| {
        let name = one.path.rsplit('/').next().unwrap_or_default();
        (one.format.as_str(), name)
    });
    assert_eq!(names.collect::<Vec<_>>(), FORMATS);
    let repomd = anonymous.get(&format!("/r/{release}/base/x86_64/repodata/repomd.xml"));
    for document in &documents {
        is_served(&anonymous, document);
        let name = document.path.rsplit('/').next().expect("a name");
        let link = format!("<../sbom/{name}>; rel=\"sbom\"");
        assert!(
            repomd.header("link").contains(&link),
            "{}",
            repomd.header("link")
        );
        let text = String::from_utf8(anonymous.fetch(&document.path)).expect("JSON");
        // What ties it to the release, and what it says of each package.
        let digest = FileDigest::of(&repomd.body).to_string();
        assert!(text.contains(&digest), "{}", document.format);
        for package in ["wheel", "axle", "wagon"] {
            let own = format!(
                "{BASE}/Packages/{}/{package}-1.0-1.noarch.rpm",
                &package[..1]
            );
            let rpm = anonymous.fetch(&own);
            assert!(text.contains(&FileDigest::of(&rpm).to_string()));
            let alone = format!("{}.cdx.json", anonymous.url(&own));
            assert!(text.contains(&alone), "{} has no {alone}", document.format);
        }
    }
    let listing = anonymous.get(&format!("{BASE}/sbom/")).text();
    let changes = anonymous.get(&format!("{BASE}/sbom/changes.csv")).text();
    let index: Value = anonymous.get_json(&format!("{BASE}/sbom/index.json"));
    let links = index["feed"]["link"].to_string();
    for (_, name) in FORMATS {
        assert!(listing.contains(&format!("{name}.zst")), "{listing}");
        assert!(changes.contains(&format!("\"{name}\",")), "{changes}");
        assert!(links.contains(&format!("\"{name}\"")), "{links}");
    }
    let none = anonymous.get(&format!("{BASE}/sbom/release.cdx15.json"));
    assert_eq!(none.status, 404);
    drop(watch);
}

/// Under its name in the release and in the channel, compressed and not, and by digest.
fn is_served(anonymous: &Http, document: &ReleaseSbom) {
    let answer = anonymous.get(&document.path);
    assert_eq!(FileDigest::of(&answer.body), document.sha256);
    assert_eq!(answer.body.len() as u64, document.size_bytes);
    assert!(answer.header("cache-control").contains("immutable"));
    assert_eq!(answer.header("etag"), format!("\"{}\"", document.sha256));
    let packed = anonymous.fetch(&format!("{}.zst", document.path));
    assert_eq!(FileDigest::of(&packed), document.zst_sha256);
    assert_eq!(packed.len() as u64, document.zst_size_bytes);
    let unpacked = zstd::decode_all(packed.as_slice()).expect("zstd");
    assert_eq!(unpacked, answer.body);
    let evidence = anonymous.get(&format!("/evidence/sha256/{}", document.zst_sha256));
    assert_eq!(evidence.body, packed);
    let name = document.path.rsplit('/').next().expect("a name");
    let moving = anonymous.get(&format!("{BASE}/sbom/{name}"));
    assert_eq!(moving.body, answer.body);
    assert_eq!(moving.header("cache-control"), "no-cache");
}

#[test]
fn anybody_makes_the_same_bytes_from_the_published_repository() {
    let Story { world, release } = &*STORY;
    let _watch = world.watch();
    let config = world.config_file();
    let folder = world.new_dir("made-again");
    let formats = FORMATS.map(|(format, _)| format);
    world.hallmark_ok(&[
        "sbom",
        "--config",
        config.to_str().expect("a path"),
        "--release",
        &world.http.url(BASE),
        "--release-name",
        "hallmark base x86_64",
        "--release-version",
        &release.to_string(),
        "--format",
        &formats.join(","),
        "--output",
        folder.to_str().expect("a path"),
    ]);
    for document in documents(world, *release) {
        let name = document.path.rsplit('/').next().expect("a name");
        let ours = std::fs::read(folder.join(name)).expect("it was written");
        assert_eq!(FileDigest::of(&ours), document.sha256, "{name}");
    }
}

/// The Python environment with the validators (`tests/lab/make-venv.sh` makes it).
pub(super) fn validators(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("HALLMARK_CACHE");
    let cache = cache.map_or_else(|| PathBuf::from("/var/cache/hallmark"), PathBuf::from);
    let venv = std::env::var_os("HALLMARK_VENV").map_or_else(|| cache.join("venv"), PathBuf::from);
    let python = venv.join("bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI has no validators: run tests/lab/make-venv.sh"
    );
    eprintln!("SKIP {test}: no {}", python.display());
    None
}

#[test]
fn the_sboms_of_a_release_meet_ntia_and_bsi() {
    let Story { world, release } = &*STORY;
    let _watch = world.watch();
    let Some(python) = validators("the_sboms_of_a_release_meet_ntia_and_bsi") else {
        return;
    };
    let folder = world.new_dir("to-be-checked");
    for document in documents(world, *release) {
        let name = document.path.rsplit('/').next().expect("a name");
        let copy = folder.join(format!("conformant-{name}"));
        // pyspdxtools takes no address without a domain name.
        let text = String::from_utf8(world.http.fetch(&document.path)).expect("JSON");
        let text = text.replace(&world.http.url(""), "https://packages.example.org");
        std::fs::write(copy, text).expect("a file");
    }
    let said = checked(&python, &folder);
    // NTIA twice, by SPDX 2.3 and SPDX 3.0.1; BSI by the latter.
    assert!(
        said.contains("checked 4, invalid 0, conformant 3"),
        "{said}"
    );
}

/// What the validators say of the documents in a folder.
pub(super) fn checked(python: &Path, folder: &Path) -> String {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../sbom-gen/tests/validators/check.py");
    let mut command = Command::new(python);
    let output = command.arg("-B").arg(script).arg(folder).output();
    let output = output.expect("python runs");
    let (said, errors) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(errors)
    )
}

#[test]
fn a_component_is_found_behind_what_a_package_requires() {
    let Story { world, release } = &*STORY;
    let _watch = world.watch();
    documents(world, *release);
    let why = |more: &[&str]| -> Page<Why> {
        let mut arguments = vec!["sbom", "why", "pkg:pypi/requests", "--json"];
        arguments.extend(more);
        serde_json::from_str(&world.hallmark_ok(&arguments)).expect("a page")
    };
    let path = |page: &Page<Why>| -> Vec<String> {
        let steps = page.items.first().map_or(&[][..], |why| &why.path);
        steps
            .iter()
            .map(|step| format!("{} {}", step.kind, step.name))
            .collect()
    };
    let found = why(&["--package", "wagon"]);
    assert_eq!(found.items.len(), 1);
    assert_eq!(
        path(&found),
        [
            "package wagon-1.0-1.noarch",
            "requires axle-1.0-1.noarch",
            "requires wheel-1.0-1.noarch",
            "file /usr/lib/python3/site-packages/requests-2.31.0.dist-info/METADATA",
            "component pkg:pypi/requests@2.31.0",
        ]
    );
    assert_eq!(why(&["--package", "wagon", "--depth", "1"]).items, []);
    let own = path(&why(&["--package", "wheel", "--depth", "0"]));
    assert_eq!(
        own[..2],
        ["build wheel-1.0-1.src", "package wheel-1.0-1.noarch"]
    );
    assert_eq!(why(&[]).items.len(), 1, "everywhere it is, once");
    let words = world.hallmark_ok(&["sbom", "why", "requests", "--package", "axle"]);
    assert!(
        words.contains("package axle-1.0-1.noarch -> requires wheel-1.0-1.noarch"),
        "{words}"
    );
    for bad in ["depth=33&package=wagon", "depth=2", "depth=x&package=wagon"] {
        let answer = world
            .http
            .get(&format!("/api/v1/sbom/why?component=x&{bad}"));
        let body: ErrorBody = answer.json();
        assert_eq!(
            (answer.status, body.code.as_str()),
            (400, "bad-question"),
            "{bad}"
        );
    }
}

/// In a world of its own: it stops the server.
#[test]
fn a_server_that_lacks_documents_of_a_release_makes_them_when_it_starts() {
    require!(&[Need::Program("python3")]);
    let world = World::start(&Options::no_rebuilds());
    let build = Crafted::new("lone", "1.0").publish(&world.http).build;
    world.until_published(build);
    let release = world.channel("preview");
    let before = documents(&world, release);
    world.process(SERVER).stop();
    // As a server from before there were such documents left it.
    let forget = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
                  db.execute('DELETE FROM release_documents'); db.execute('DELETE FROM jobs'); db.commit()";
    let mut python = process::command("python3");
    python.args(["-c", forget]);
    process::run(python.arg(world.data_dir().join("hallmark.db")));
    world.start_process(SERVER);
    world.until_ready();
    assert_eq!(documents(&world, release), before);
}
