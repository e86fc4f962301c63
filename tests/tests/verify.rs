//! `hallmark verify`: the chain behind a package is shown and holds; whatever is wrong breaks it, named; and a
//! pack of evidence says the same without any server.

use hallmark_tests::packages;
use hallmark_tests::packages::crafted::{self, Crafted};
use hallmark_tests::process;
use hallmark_tests::tools::{BUILDING, Need};
use hallmark_tests::world::SERVER;
use hallmark_tests::{Options, World, require};
use repo_model::dsse::StatementKey;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const BASE: &str = "/preview/base/x86_64";

/// A world with one published package, its file, and a trust folder.
struct Story {
    world: World,
    file: PathBuf,
    nevra: String,
    trust: PathBuf,
}

impl Story {
    fn begin(world: World, build: u64) -> Self {
        let status = world.until_published(build);
        let package = &status.packages[0];
        let dir = world.new_dir("verify");
        let file = dir.join(package.nevra.file_name());
        let bytes = world.http.fetch(&format!("{BASE}/{}", package.href));
        std::fs::write(&file, bytes).expect("written");
        let trust = dir.join("trust");
        world.hallmark_ok(&["trust", "fetch", "-o", text(&trust)]);
        Self {
            nevra: package.nevra.to_string(),
            world,
            file,
            trust,
        }
    }

    /// Exit code, stdout, stderr.
    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let fixed = ["verify", "--trust", text(&self.trust)];
        let output = self.world.hallmark(&[&fixed[..], arguments].concat());
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            lossy(&output.stdout),
            lossy(&output.stderr),
        )
    }

    fn holds(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.verify(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
        assert!(out.contains("the policy holds"), "{out}");
        out
    }

    /// Fails, and names this link first.
    fn breaks(&self, what: &str, link: &str, arguments: &[&str]) {
        let (code, out, err) = self.verify(arguments);
        assert_eq!(code, Some(1), "{what}: {out}{err}");
        assert!(
            out.contains(&format!(": {link} is broken: ")),
            "{what}: {out}"
        );
        assert!(out.contains("hint: "), "{what}: {out}");
    }

    /// Changes a file of the trust folder for as long as `check` runs.
    fn with(&self, name: &str, change: impl Fn(String) -> String, check: impl FnOnce()) {
        let path = self.trust.join(name);
        let before = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, change(before.clone())).expect("written");
        check();
        std::fs::write(&path, before).expect("written");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are UTF-8")
}

fn rebuilder(seed: u8) -> String {
    let key = StatementKey::from_seed(&[seed; 32]).expect("the seed is in range");
    format!(
        "\n[[rebuilders]]\nname = \"r{seed}\"\noperator = \"op-{seed}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
        key.public().to_pem()
    )
}

#[test]
fn a_published_package_holds_and_everything_that_is_wrong_is_named() {
    let world = World::start(&Options::no_rebuilds());
    let build = Crafted::new("chained", "1.0").publish(&world.http).build;
    let story = Story::begin(world, build);
    let watch = story.world.watch();
    let file = text(&story.file);
    let shown = story.holds(&[file]);
    for wanted in [
        "signed with a trusted key",
        "is what went out",
        "cyclonedx-1.6",
        "release ",
        "all of it is in log.hallmark.example, of ",
    ] {
        assert!(shown.contains(wanted), "no `{wanted}` in {shown}");
    }
    story.holds(&[&story.nevra]);
    let href = format!("{BASE}/Packages/c/{}.rpm", story.nevra);
    story.holds(&[&story.world.http.url(&href)]);
    let (code, json, _) = story.verify(&["--json", file]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(code, Some(0));
    assert_eq!(json[0]["links"][0]["outcome"], "holds");
    story.holds(&["--max-age", "1", file]);

    let tampered = story.file.with_file_name("tampered.rpm");
    let mut bytes = std::fs::read(&story.file).expect("the package");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&tampered, bytes).expect("written");
    story.breaks("another payload", "file", &[text(&tampered)]);
    // Nobody knows it: unsigned, and no evidence.
    let stranger = story.file.with_file_name("stranger.rpm");
    let bytes = crafted::binary("stranger", "1.0").bytes();
    std::fs::write(&stranger, bytes).expect("written");
    story.breaks("a stranger", "signature", &[text(&stranger)]);

    // Its signature is good; the reader asks for more than the repository did.
    let stricter = |policy: String| {
        let policy = policy
            .replace("min_rebuilders = 0", "min_rebuilders = 1")
            .replace("min_operators = 0", "min_operators = 1");
        format!("{policy}{}", rebuilder(41))
    };
    story.with("policy.toml", stricter, || {
        story.breaks("no rebuild", "rebuilds", &[file]);
    });
    let other_log = "log.hallmark.example+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    story.with(
        "log.pub",
        |_| other_log.to_owned(),
        || {
            let (code, _, err) = story.verify(&[file]);
            assert_eq!(code, Some(2), "a key under another's name: {err}");
        },
    );
    let another = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    story.with(
        "log.pub",
        |_| another.to_owned(),
        || {
            story.breaks("another log", "log", &[file]);
        },
    );
    let stranger = StatementKey::from_seed(&[42; 32]).expect("a key").public();
    story.with(
        "statement.pub",
        |_| stranger.to_pem(),
        || {
            story.breaks("another signer", "file", &[file]);
        },
    );
    drop(watch);
}

#[test]
fn a_pack_of_evidence_says_the_same_years_later_without_any_server() {
    let world = World::start(&Options::no_rebuilds());
    let build = Crafted::new("packed", "1.0").publish(&world.http).build;
    let story = Story::begin(world, build);
    let watch = story.world.watch();
    let pack = story.file.with_file_name("pack.tar.zst");
    let pack = text(&pack);
    story.world.hallmark_ok(&["evidence", "newest", "-o", pack]);
    let again = story.file.with_file_name("again.tar.zst");
    let newest = story.world.channel("preview").to_string();
    story
        .world
        .hallmark_ok(&["evidence", &newest, "-o", text(&again)]);
    story.world.process(SERVER).kill_9();
    let file = text(&story.file);
    story.holds(&[pack]);
    story.holds(&[text(&again)]);
    story.holds(&["--offline", pack, file]);
    story.holds(&["--offline", pack, &story.nevra]);
    // Packs are trusted no more than servers: every byte of them that matters is checked.
    let bytes = std::fs::read(pack).expect("the pack");
    let broken = story.file.with_file_name("broken.tar.zst");
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        std::fs::write(&broken, changed).expect("written");
        let (code, out, err) = story.verify(&[text(&broken)]);
        assert_ne!(code, Some(0), "changed at {at}: {out}{err}");
    }
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).expect("written");
    assert_eq!(story.verify(&[text(&broken)]).0, Some(2));
    let (code, _, err) = story.verify(&[file]);
    assert_eq!(code, Some(3), "no server: {err}");
    drop(watch);
}

#[test]
fn who_rebuilt_a_package_is_shown_by_name_and_operator() {
    require!(BUILDING);
    let world = World::start(&Options::two_rebuilders());
    let build = world.publish(&[&packages::bundled_one("libtally")])[0].build;
    let story = Story::begin(world, build);
    let watch = story.world.watch();
    let shown = story.holds(&[text(&story.file)]);
    for wanted in [
        "2 of 2 rebuilders made the same bytes; the policy demands 2",
        "rebuilder-a, run by ",
        "rebuilder-b, run by ",
        "built by ",
        "HALLMARK_REPRODUCED_2_OF_2",
    ] {
        assert!(shown.contains(wanted), "no `{wanted}` in {shown}");
    }
    drop(watch);
}

#[test]
fn a_monitor_is_content_with_an_honest_log_and_alarms_about_each_lie() {
    let world = World::start(&Options::no_rebuilds());
    let build = Crafted::new("watched", "1.0").publish(&world.http).build;
    let story = Story::begin(world, build);
    let watch = story.world.watch();
    let state = story.file.with_file_name("monitor.json");
    let url = story.world.url();
    let monitor = |more: &[&str]| {
        let fixed = ["monitor", &url, "--trust", text(&story.trust), "--state"];
        let arguments = [&fixed[..], &[text(&state)], more].concat();
        let output = story.world.hallmark(&arguments);
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", lossy(&output.stdout), lossy(&output.stderr));
        (output.status.code(), said)
    };
    let (code, said) = monitor(&["--max-age", "1"]);
    assert_eq!(code, Some(0), "{said}");
    let second = Crafted::new("watched", "2.0")
        .publish(&story.world.http)
        .build;
    story.world.until_published(second);
    let (code, said) = monitor(&["--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains(" 0 of them new"), "it goes on: {said}");

    let honest = std::fs::read_to_string(&state).expect("the state");
    let memory: serde_json::Value = serde_json::from_str(&honest).expect("JSON");
    let mut forked = memory.clone();
    let nodes = forked["frontier"]["nodes"].as_array_mut().expect("nodes");
    nodes[0] = repo_model::log::empty_root().to_base64().into();
    let mut shrunk = memory.clone();
    shrunk["frontier"]["size"] = (1_u64 << 40).into();
    shrunk["frontier"]["nodes"] = serde_json::json!([nodes_of(&memory)]);
    let mut unlogged = memory.clone();
    unlogged["summaries"] = serde_json::json!({});
    unlogged["releases"] = serde_json::json!([]);
    for (what, remembered, alarms) in [
        ("another history", forked, &["the log has forked"][..]),
        ("a longer log", shrunk, &["the log has shrunk from"]),
        (
            "a log without them",
            unlogged,
            &[
                "the log has no summary of it",
                "is served and not in the log",
            ],
        ),
    ] {
        std::fs::write(&state, remembered.to_string()).expect("written");
        let (code, said) = monitor(&[]);
        assert_eq!(code, Some(1), "{what}: {said}");
        for alarm in alarms {
            assert!(said.contains(alarm), "{what}: {said}");
        }
    }
    std::fs::write(&state, "{").expect("written");
    assert_eq!(monitor(&[]).0, Some(2));
    drop(watch);
}

/// Whoever has set the clock back, or a machine that keeps no time: what is old must not pass for new, unsaid.
#[test]
fn a_machine_whose_clock_is_behind_says_so_and_refuses_where_age_is_limited() {
    require!(&[Need::Program("faketime")]);
    let world = World::start(&Options::no_rebuilds());
    let build = Crafted::new("timely", "1.0").publish(&world.http).build;
    let story = Story::begin(world, build);
    let watch = story.world.watch();
    let (file, trust, url) = (text(&story.file), text(&story.trust), story.world.url());
    let two_days_ago = |arguments: &[&str], input: Stdio| {
        let mut command = process::command("faketime");
        command
            .args(["-f", "-2d"])
            .arg(process::binary("hallmark"))
            .args(arguments)
            .env("HALLMARK_SERVER_URL", &url)
            // Waits are not to end two days ago.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .stdin(input);
        let output = command.output().expect("faketime runs");
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", lossy(&output.stdout), lossy(&output.stderr));
        (output.status.code(), said)
    };
    let behind = "the clock of this machine is behind: release ";
    let verify = |more: &[&str]| {
        two_days_ago(
            &[&["verify", "--trust", trust][..], more].concat(),
            Stdio::null(),
        )
    };
    for packages in [&[file][..], &[file, story.nevra.as_str()]] {
        let (code, said) = verify(packages);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains(&format!("warning: freshness: {behind}")),
            "{said}"
        );
        let (code, said) = verify(&[&["--max-age", "30"][..], packages].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains(&format!("freshness is broken: {behind}")),
            "{said}"
        );
        assert!(said.contains("hint: set the clock"), "{said}");
    }

    // What a package manager is about to install.
    let dir = story.file.parent().expect("a file is in a folder");
    let config = dir.join("client.toml");
    let transaction = dir.join("transaction.json");
    let asked = serde_json::json!({
        "repositories": [{"id": "world", "urls": [format!("{url}{BASE}/")]}],
        "packages": [{"nevra": story.nevra, "repo_id": "world", "paths": [file]}],
    });
    std::fs::write(&transaction, asked.to_string()).expect("written");
    for (limit, code) in [("", Some(0)), ("max_age_days = 30", Some(1))] {
        let cache = dir.join("evidence");
        let settings = format!(
            "cache_dir = \"{}\"\n[[repository]]\nserver_url = \"{url}\"\ntrust_dir = \"{trust}\"\n{limit}\n",
            text(&cache)
        );
        std::fs::write(&config, settings).expect("written");
        let input = std::fs::File::open(&transaction).expect("it is there");
        let arguments = ["client", "check", "--config", text(&config)];
        let (found, said) = two_days_ago(&arguments, Stdio::from(input));
        assert_eq!(found, code, "{limit}: {said}");
        assert!(said.contains(behind), "{limit}: {said}");
    }

    let state = dir.join("monitor.json");
    let arguments = ["monitor", &url, "--trust", trust, "--state", text(&state)];
    let (code, said) = two_days_ago(&arguments, Stdio::null());
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("ALARM: the clock of this machine is behind: "),
        "{said}"
    );
    drop(watch);
}

/// Any hash of the frontier.
fn nodes_of(memory: &serde_json::Value) -> serde_json::Value {
    memory["frontier"]["nodes"][0].clone()
}
