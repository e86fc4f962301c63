//! `hallmark mirror` with real servers and clients: our own server, what createrepo_c made, nginx in front of the
//! copy, dnf5, dnf and zypper behind it; a sync that is killed again and again; and the same with exports.

mod apart;
mod bucket;
mod chunked;
mod exported;
mod fronted;
mod killed;
mod memory;
mod near;
mod said;
mod sources;
mod truth;

use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::tools::{BUILDING, Need};
use hallmark_tests::{Options, Repository, World, packages, process, require};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const BASE: &str = "/preview/base/x86_64";
const PACKAGE: &str = "tally";

/// A world with `tally` and the library that it needs, and the keys of its signer as a file.
struct Story {
    world: World,
    keys: PathBuf,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let world = World::start(&Options::no_rebuilds());
    let builds = ["libtally", PACKAGE].map(packages::bundled_one);
    for receipt in world.publish(&[&builds[0], &builds[1]]) {
        world.until_published(receipt.build);
    }
    let keys = world.new_dir("keys").join("RPM-GPG-KEY");
    std::fs::write(&keys, world.http.fetch("/keys/RPM-GPG-KEY")).expect("the folder is ours");
    Story { world, keys }
});

impl Story {
    fn installs(&self, client: Client, base_url: &str, check_metadata: bool) {
        let key = std::fs::read_to_string(&self.keys).expect("it was written");
        let wanted = Installation {
            base_url,
            key: &key,
            key_url: None,
            check_metadata,
            package: PACKAGE,
        };
        let outcome = client.install(&self.world, &wanted);
        assert!(
            matches!(outcome, Outcome::Installed(_)),
            "{client:?}: {outcome:?}"
        );
    }

    fn sync(&self, more: &[&str]) -> String {
        self.world
            .hallmark_ok(&[&["mirror", "sync"], more].concat())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's name is plain")
}

/// Clients that the machine has.
fn clients() -> Vec<Client> {
    let there = |client: &Client| client.needs().iter().all(|need| need.missing().is_none());
    [Client::Dnf5, Client::Dnf4, Client::Zypper]
        .into_iter()
        .filter(there)
        .collect()
}

/// Some file below a folder whose name ends so.
fn walk_one(root: &Path, ending: &str) -> PathBuf {
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("it can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if text(&path).ends_with(ending) {
                return path;
            }
        }
    }
    panic!("nothing below {} ends with {ending}", root.display());
}

#[test]
fn clients_install_from_a_copy_of_our_server_with_every_check_on() {
    require!(BUILDING, NGINX, Client::Dnf5.needs(), Client::Dnf4.needs());
    let story = &*STORY;
    let _watch = story.world.watch();
    let copy = story.world.new_dir("copy-of-server");
    let url = format!("{}{BASE}", story.world.url());
    let keys = ["--key", text(&story.keys), "--verify-packages"];
    let report = story.world.dir().join("sync.json");
    let said = story.sync(&[&keys[..], &["--report", text(&report), &url, text(&copy)]].concat());
    assert!(said.contains("files fetched"), "{said}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).expect("it was written")).expect("JSON");
    let files = report["files"].as_array().expect("a list");
    assert!(
        files.iter().all(|file| file["action"] == "fetched"),
        "{files:?}"
    );
    assert!(files.iter().any(|file| {
        file["path"]
            .as_str()
            .is_some_and(|path| path.ends_with(".rpm"))
    }));
    // The proofs came with the packages, as they are at the origin.
    let packages = files.iter().filter_map(|file| file["path"].as_str());
    for package in packages.filter(|path| path.ends_with(".rpm")) {
        for suffix in [
            ".tlog-proof",
            ".sigstore.json",
            ".vsa.tlog-proof",
            ".vsa.sigstore.json",
            ".evidence.tar.zst",
        ] {
            let beside = format!("{package}{suffix}");
            let here =
                std::fs::read(copy.join(&beside)).unwrap_or_else(|e| panic!("{beside}: {e}"));
            let origin = story.world.http.fetch(&format!("{BASE}/{beside}"));
            assert!(here == origin, "{beside} is another one");
        }
    }
    let again = story.sync(&[&keys[..], &[&url, text(&copy)]].concat());
    assert!(again.starts_with("nothing new"), "{again}");
    let lost = walk_one(&copy, ".tlog-proof");
    std::fs::remove_file(&lost).expect("it was there");
    story.sync(&[&keys[..], &[&url, text(&copy)]].concat());
    assert!(lost.is_file(), "a lost proof comes again");
    // The signed manifest came along, and says the same.
    let verified =
        story
            .world
            .hallmark_ok(&["mirror", "verify", "--key", text(&story.keys), text(&copy)]);
    assert!(
        verified.contains("  manifest: ") && verified.contains(", signature good"),
        "{verified}"
    );
    story.world.hallmark_ok(&[
        "repo",
        "check",
        "--packages",
        "all",
        "--gpgkey",
        text(&story.keys),
        text(&copy),
    ]);

    let nginx = Nginx::serve(&copy);
    for client in clients() {
        story.installs(client, &nginx.url(), true);
    }
    assert!(
        nginx
            .take_requests()
            .iter()
            .all(|(path, _)| !path.contains(".hallmark"))
    );
}

#[test]
fn keys_of_others_are_refused_and_going_without_must_be_said() {
    require!(BUILDING);
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let copy = world.dir().join("copy-refused");
    let url = format!("{}{BASE}", world.url());
    let silent = world.hallmark(&["mirror", "sync", &url, text(&copy)]);
    assert_eq!(silent.status.code(), Some(2));
    let other = world.new_dir("other-keys");
    process::run(process::command("gpg").env("GNUPGHOME", &other).args([
        "--batch",
        "--passphrase",
        "",
        "--quick-generate-key",
        "other@example",
    ]));
    let armoured = process::run(
        process::command("gpg")
            .env("GNUPGHOME", &other)
            .args(["--armor", "--export"]),
    );
    let key = other.join("key.asc");
    std::fs::write(&key, armoured).expect("the folder is ours");
    let refused = world.hallmark(&["mirror", "sync", "--key", text(&key), &url, text(&copy)]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("its signature"), "{said}");
    assert!(!copy.join("repodata").exists());
    let loud = world.hallmark(&["mirror", "sync", "--no-verify-signature", &url, text(&copy)]);
    assert!(loud.status.success());
    assert!(String::from_utf8_lossy(&loud.stderr).contains("warning: the signature"));
}

#[test]
fn a_filtered_copy_lists_what_it_has_and_installs() {
    require!(BUILDING, NGINX, Client::Dnf5.needs());
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let url = format!("{}{BASE}", world.url());
    let keys = ["--key", text(&story.keys)];
    let copy = world.dir().join("copy-filtered");
    let filters = [
        "--no-source",
        "--no-debug",
        "--newest-only",
        "--arch",
        "x86_64",
    ];
    let said = story.sync(&[&keys[..], &filters, &[&url, text(&copy)]].concat());
    assert!(said.contains("is not signed"), "{said}");
    world.hallmark_ok(&["repo", "check", "--packages", "all", text(&copy)]);
    assert!(!copy.join("repodata/repomd.xml.asc").exists());
    let nginx = Nginx::serve(&copy);
    story.installs(Client::Dnf5, &nginx.url(), false);

    let only = world.dir().join("copy-only");
    let said = story.sync(
        &[
            &keys[..],
            &[
                "--include",
                "libtally*",
                "--keep-metadata",
                &url,
                text(&only),
            ],
        ]
        .concat(),
    );
    assert!(said.contains("clients get 404"), "{said}");
    assert!(only.join("repodata/repomd.xml.asc").is_file());
}

#[test]
fn a_dry_run_says_the_bytes_and_touches_nothing() {
    require!(BUILDING);
    let story = &*STORY;
    let _watch = story.world.watch();
    let copy = story.world.dir().join("copy-dry");
    let url = format!("{}{BASE}", story.world.url());
    let said = story.sync(&["--dry-run", "--key", text(&story.keys), &url, text(&copy)]);
    assert!(said.contains("to fetch: "), "{said}");
    assert!(!copy.exists());
}

#[test]
fn on_a_terminal_a_bar_shows_how_far_the_fetching_is() {
    require!([Need::Program("script")]);
    let root = tempfile::tempdir().expect("a temporary folder");
    let (upstream, copy) = (root.path().join("upstream"), root.path().join("copy"));
    std::fs::create_dir(&upstream).expect("the folder is ours");
    let package = packages::crafted::binary("large", "1.0").payload(&[b'y'; 300_000]);
    std::fs::write(upstream.join("large.rpm"), package.bytes()).expect("the folder is ours");
    let mut createrepo = process::command(process::binary("hallmark"));
    process::run(createrepo.arg("createrepo").arg(&upstream));
    let hallmark = process::binary("hallmark");
    let sync = format!(
        "stty cols 120 rows 40; {} mirror sync --no-verify-signature --limit-rate 200K file://{} {}",
        text(&hallmark),
        text(&upstream),
        text(&copy)
    );
    let mut script = process::command("script");
    script.env("TERM", "xterm");
    let seen = process::run(script.args(["-qec", &sync, "/dev/null"]));
    assert!(
        seen.contains("fetching") && seen.contains("KiB / ") && seen.contains("KiB/s"),
        "{seen}"
    );
    // Nobody reads a bar in a log.
    std::fs::remove_dir_all(&copy).expect("the folder is ours");
    let url = format!("file://{}", text(&upstream));
    let mut sync = process::command(hallmark);
    let fixed = ["mirror", "sync", "--no-verify-signature"];
    let output = sync.args(fixed).args([&url, text(&copy)]).output();
    let output = output.expect("hallmark runs");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("fetching"), "{said}");
}

#[test]
fn copies_are_verified_offline_and_a_changed_byte_is_found() {
    require!(BUILDING);
    let story = &*STORY;
    let world = &story.world;
    let _watch = world.watch();
    let tree = world.new_dir("verified");
    let url = format!("{}{BASE}", world.url());
    for name in ["a", "b/c"] {
        let copy = tree.join(name);
        story.sync(&["--key", text(&story.keys), &url, text(&copy)]);
    }
    let verify = [
        "mirror",
        "verify",
        "--key",
        text(&story.keys),
        "--verify-packages",
        text(&tree),
    ];
    let said = world.hallmark_ok(&verify);
    assert!(
        said.contains("a: ") && said.contains("b/c: ") && said.contains("signature good"),
        "{said}"
    );
    let package = Repository::new(&world.http, BASE)
        .package(PACKAGE)
        .expect("it is published");
    let place = tree.join("b/c").join(&package.href);
    let mut bytes = std::fs::read(&place).expect("it was copied");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&place, bytes).expect("the folder is ours");
    let bad = world.hallmark(&verify);
    let said = String::from_utf8_lossy(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(said.contains("package-checksum"), "{said}");
    // The next sync notices it too, and puts it right.
    story.sync(&["--key", text(&story.keys), &url, text(&tree.join("b/c"))]);
    world.hallmark_ok(&verify);
}
