//! Witnesses of the log, real processes: a release waits for their quorum, `hallmark verify` demands it, and a
//! log that goes on another way for somebody is found out.

use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::Repository;
use hallmark_tests::tools::Need;
use hallmark_tests::world::{SERVER, SIGNER};
use hallmark_tests::{Options, World, require};
use repo_model::Timestamp;
use repo_model::log::{Checkpoint, LogProof, Note, SignatureKind, VerifierKey, WitnessPolicy};
use std::path::{Path, PathBuf};
use std::process::Output;

const BASE: &str = "/preview/base/x86_64";

/// A world with three witnesses of whom two are enough.
fn watched(server_settings: &'static str) -> World {
    World::start(&Options {
        witnesses: 3,
        witness_quorum: 2,
        server_settings,
        ..Options::no_rebuilds()
    })
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are UTF-8")
}

fn head(world: &World) -> Note {
    Note::parse(&world.http.fetch("/log/checkpoint")).expect("a note")
}

fn policy(world: &World) -> WitnessPolicy {
    let text = String::from_utf8(world.http.fetch("/keys/witnesses")).expect("text");
    text.parse().expect("a policy of witnesses")
}

/// Names of the witnesses that cosigned a head.
fn seen(world: &World, head: &Note) -> Vec<String> {
    let policy = policy(world);
    let seen = policy.seen(head, later());
    seen.iter().map(|one| one.witness.name.clone()).collect()
}

/// No witness's clock is ahead of this.
fn later() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let secs = since.expect("after 1970").as_secs();
    Timestamp::from_unix_secs(i64::try_from(secs).expect("in range") + 60)
}

fn trust(world: &World) -> PathBuf {
    let trust = world.dir().join("trust");
    world.hallmark_ok(&["trust", "fetch", "-o", text(&trust)]);
    trust
}

fn said(output: &Output) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    lossy(&output.stdout) + &lossy(&output.stderr)
}

fn publish(world: &World, name: &str, version: &str) -> u64 {
    let build = Crafted::new(name, version).publish(&world.http).build;
    world.until_published(build);
    build
}

#[test]
fn a_release_waits_for_the_quorum_and_its_proofs_carry_it() {
    let owned = watched("witness_renewal_secs = 2");
    let watch = owned.watch();
    let world = &*watch;
    let build = publish(world, "seen", "1.0");
    let head = head(world);
    assert!(seen(world, &head).len() >= 2, "{head}");
    let ready: serde_json::Value = world.http.get("/readyz").json();
    assert_eq!(ready["witnesses"], "ok");

    // The proofs beside the package have the cosignatures, and the log's own post-quantum signature.
    let href = Repository::new(&world.http, BASE)
        .package("seen")
        .expect("it is there")
        .href;
    let proof = world.http.fetch(&format!("{BASE}/{href}.tlog-proof"));
    let proof: LogProof = String::from_utf8(proof)
        .expect("text")
        .parse()
        .expect("a proof");
    assert!(seen(world, &proof.checkpoint).len() >= 2);
    let pqc = String::from_utf8(world.http.fetch("/keys/log-pqc.pub")).expect("text");
    let pqc: VerifierKey = pqc.trim().parse().expect("a key");
    assert_eq!(pqc.kind(), SignatureKind::MlDsa44);
    Checkpoint::open(&proof.checkpoint, &pqc).expect("signed with ML-DSA-44 too");

    // Readers see who saw it, and can ask for more than the repository does.
    let trust = trust(world);
    let nevra = world.build(build).packages[0].nevra.to_string();
    let verify = || world.hallmark(&["verify", "--trust", text(&trust), &nevra]);
    let output = verify();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("3 witnesses saw the head of the log"),
        "{}",
        said(&output)
    );
    let stricter = policy(world)
        .to_string()
        .replace("group enough 2", "group enough all");
    std::fs::write(trust.join("witnesses"), stricter).expect("written");
    // All three, once they have all been asked again.
    world.until("all three witnesses have cosigned", || {
        let output = verify();
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| said(&output))
    });
    std::fs::write(trust.join("witnesses"), "quorum none\n").expect("written");
    assert!(said(&verify()).contains("no witnesses are asked for"));
    std::fs::remove_file(trust.join("witnesses")).expect("removed");

    // One away: two are enough. Two away: the release waits and says for whom.
    world.process("witness-1").kill_9();
    publish(world, "seen", "2.0");
    world.process("witness-3").kill_9();
    let waiting = Crafted::new("seen", "3.0").publish(&world.http).build;
    let status = world.until_build(waiting, "waits for witnesses", |status| {
        let waits = |error: &String| error.contains("the head of the log waits for witnesses");
        status
            .jobs
            .iter()
            .any(|job| job.last_error.as_ref().is_some_and(waits))
    });
    let job = status
        .jobs
        .iter()
        .find(|job| job.name == "publish")
        .expect("the job");
    let error = job.last_error.as_deref().unwrap_or_default();
    assert!(
        error.contains("1 of 3 witnesses cosigned it (w2)"),
        "{error}"
    );
    assert!(error.contains("w1: ") && error.contains("w3: "), "{error}");
    let shown = world.hallmark_ok(&["status", &waiting.to_string()]);
    assert!(shown.contains("waits for witnesses"), "{shown}");
    let names: Vec<_> = world.releases()[0]
        .repos
        .iter()
        .map(|repo| repo.packages)
        .collect();
    assert!(names.contains(&2), "nothing new is out: {names:?}");
    // What is out still verifies meanwhile.
    assert!(verify().status.success(), "{}", said(&verify()));
    world.start_process("witness-3");
    world.until_published(waiting);
    assert!(verify().status.success(), "{}", said(&verify()));
}

/// A copy of the folders of the server and of the signer, put in their place later.
struct Snapshot {
    kept: PathBuf,
}

impl Snapshot {
    fn take(world: &World) -> Self {
        let kept = world.new_dir("snapshot");
        Self::copy(world.dir(), &kept);
        Self { kept }
    }

    fn put_back(&self, world: &World) {
        for name in ["data", "signer-state"] {
            std::fs::remove_dir_all(world.dir().join(name)).expect("removed");
        }
        Self::copy(&self.kept, world.dir());
    }

    fn copy(from: &Path, to: &Path) {
        for name in ["data", "signer-state"] {
            let mut copy = hallmark_tests::process::command("cp");
            copy.arg("-a").arg(from.join(name)).arg(to);
            hallmark_tests::process::run(&mut copy);
        }
    }
}

fn restart(world: &World) {
    for name in [SIGNER, SERVER] {
        world.start_process(name);
    }
    world.until_ready();
}

fn stop(world: &World) {
    for name in [SERVER, SIGNER] {
        world.process(name).kill_9();
    }
}

#[test]
fn a_log_that_forks_between_two_clients_is_caught_by_witnesses_monitor_and_client() {
    let owned = watched("");
    let watch = owned.watch();
    let world = &*watch;
    let build = publish(world, "forked", "1.0");
    let nevra = world.build(build).packages[0].nevra.to_string();
    let trust = trust(world);
    let remembered = world.dir().join("log-head");
    let verify = || {
        let fixed = ["verify", "--trust", text(&trust), "--remember"];
        world.hallmark(&[&fixed[..], &[text(&remembered), &nevra]].concat())
    };
    let monitor = |state: &str| {
        let state = world.dir().join(state);
        let arguments = [
            "monitor",
            &world.url(),
            "--trust",
            text(&trust),
            "--state",
            text(&state),
        ];
        world.hallmark(&arguments)
    };
    stop(world);
    let snapshot = Snapshot::take(world);
    restart(world);

    // One history, which one client and one monitor see ...
    publish(world, "forked", "2.0");
    assert!(
        monitor("first.json").status.success(),
        "{}",
        said(&monitor("first.json"))
    );
    let first = head(world);
    assert!(verify().status.success(), "{}", said(&verify()));

    // ... and another, made by whoever has server and signer with all their keys.
    stop(world);
    snapshot.put_back(world);
    restart(world);
    let build = Crafted::new("evil", "1.0").publish(&world.http).build;
    world.until_build(build, "waits for witnesses", |status| {
        let forked = |error: &String| error.contains("has forked");
        status
            .jobs
            .iter()
            .any(|job| job.last_error.as_ref().is_some_and(forked))
    });
    // The witnesses remember: nothing of the second history gets their word, so no release of it goes out.
    let second = head(world);
    assert_ne!(first.text, second.text);
    assert_eq!(seen(world, &second), Vec::<String>::new(), "{second}");
    assert!(
        world.releases()[0]
            .repos
            .iter()
            .all(|repo| repo.packages < 2)
    );
    let log = world.process(SERVER).log_text();
    assert!(log.contains("ALARM: witness w1"), "{log}");
    // Neither does the client that saw the first.
    let output = verify();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let words = said(&output);
    let words_of_client = ["the log has forked", "the log has shrunk"];
    assert!(
        words_of_client.iter().any(|one| words.contains(one)),
        "{words}"
    );
    let output = monitor("first.json");
    assert_eq!(output.status.code(), Some(1));
    let words = said(&output);
    assert!(
        words.contains("ALARM: the log has forked") || words.contains("ALARM: the log has shrunk"),
        "{words}"
    );
}

#[test]
fn moves_of_channels_and_keys_are_in_the_log_and_a_monitor_tells_them() {
    let owned = watched("");
    let watch = owned.watch();
    let world = &*watch;
    publish(world, "moved", "1.0");
    world.hallmark_ok(&["promote", "--to", "stable"]);
    publish(world, "moved", "2.0");
    world.hallmark_ok(&["promote", "--to", "stable"]);
    world.hallmark_ok(&["rollback", "stable"]);
    let trust = trust(world);
    let index = world.dir().join("index");
    let state = world.dir().join("monitor.json");
    let monitor = |more: &[&str]| {
        let url = world.url();
        let fixed = [
            "monitor",
            &url,
            "--trust",
            text(&trust),
            "--state",
            text(&state),
        ];
        world.hallmark(&[&fixed[..], more].concat())
    };
    let mut told = String::new();
    // The signer speaks of a move after it was made.
    world.until("the rollback is in the log", || {
        let output = monitor(&["--publish", text(&index)]);
        assert!(output.status.success(), "{}", said(&output));
        told.push_str(&said(&output));
        let back = told
            .lines()
            .filter(|line| line.contains("moved channel stable from "));
        match back.count() {
            3 => Ok(()),
            _ => Err(told.clone()),
        }
    });
    assert!(told.contains("note: entry "), "{told}");
    assert!(
        told.contains("server moved channel preview from "),
        "{told}"
    );
    let json = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON")
    };
    let memory = json(state.clone());
    let release = world.channel("stable");
    assert_eq!(memory["channels"]["stable"], release);
    let labels = memory["keys"]["keys"]
        .as_array()
        .expect("the keys are in the log");
    assert!(
        labels.iter().any(|key| key["label"] == "statement-key"),
        "{labels:?}"
    );
    let listed = json(index.join("names/moved.json"));
    assert_eq!(
        listed["files"].as_object().expect("two versions").len(),
        2,
        "{listed}"
    );
    let size = json(index.join("index.json"))["size"]
        .as_u64()
        .expect("a size");
    assert_eq!(Some(size), memory["frontier"]["size"].as_u64());

    // A server that keeps a move, or a key, to itself is found out.
    let mut silent = memory.clone();
    silent["channels"] = serde_json::json!({});
    silent["keys"]["keys"] = serde_json::json!([]);
    std::fs::write(&state, silent.to_string()).expect("written");
    let output = monitor(&[]);
    // All of it was changed within the last ten minutes: that is no alarm yet.
    assert!(output.status.success(), "{}", said(&output));
    // Nobody has seen this head in the last zero hours, once the second of the cosignature is over.
    let output = world.until("the head is of an earlier second", || {
        let output = monitor(&["--max-head-age", "0"]);
        match output.status.code() {
            Some(1) => Ok(output),
            _ => Err(said(&output)),
        }
    });
    let words = "no quorum of witnesses has seen the head of the log since";
    assert!(said(&output).contains(words), "{}", said(&output));
}

#[test]
fn openssl_agrees_about_the_logs_post_quantum_signature() {
    require!([Need::Root, Need::InClientRoot("openssl")]);
    let owned = World::start(&Options::no_rebuilds());
    let watch = owned.watch();
    let world = &*watch;
    let head = head(world);
    let key = String::from_utf8(world.http.fetch("/keys/log-pqc.pub")).expect("text");
    let key: VerifierKey = key.trim().parse().expect("a key");
    Checkpoint::open(&head, &key).expect("ours agrees");
    let line = head
        .signatures
        .iter()
        .find(|line| line.is_by(&key))
        .expect("its line");
    let line = line.to_string();
    let raw = line.trim_end().rsplit(' ').next().expect("base64");
    let raw = base64(raw);
    // Key id, time, signature.
    let (time, signature) = (&raw[4..12], &raw[12..]);
    let checkpoint: Checkpoint = head.text.parse().expect("a checkpoint");
    let mut message = b"subtree/v1\n\0".to_vec();
    let short = |name: &str| u8::try_from(name.len()).expect("short");
    message.push(short(key.name()));
    message.extend(key.name().as_bytes());
    message.extend(time);
    message.push(short(&checkpoint.origin));
    message.extend(checkpoint.origin.as_bytes());
    message.extend(0_u64.to_be_bytes());
    message.extend(checkpoint.size.to_be_bytes());
    message.extend(checkpoint.root.as_bytes());
    let dir = world.new_dir("openssl");
    let verify = |message: &[u8]| {
        std::fs::write(dir.join("message"), message).expect("written");
        std::fs::write(dir.join("signature"), signature).expect("written");
        std::fs::write(dir.join("key.der"), key.to_spki_der()).expect("written");
        let arguments = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-keyform",
            "DER",
            "-inkey",
            "/mnt/client/key.der",
            "-rawin",
            "-in",
            "/mnt/client/message",
            "-sigfile",
            "/mnt/client/signature",
        ];
        let mut command = hallmark_tests::clients::in_client_root(&dir, &arguments);
        let output = command.output().expect("it starts");
        (output.status.success(), said(&output))
    };
    let (good, words) = verify(&message);
    assert!(good, "{words}");
    *message.last_mut().expect("bytes") ^= 1;
    let (good, words) = verify(&message);
    assert!(!good, "another root: {words}");
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.expect("base64")
}
