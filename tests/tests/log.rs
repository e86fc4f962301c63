//! The transparency log: everything said about a package is in it, anybody can check that from static files,
//! stock cosign agrees, and no crash and no restart makes it forget.

use hallmark_tests::clients::in_client_root;
use hallmark_tests::http::Http;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::Repository;
use hallmark_tests::tools::Need;
use hallmark_tests::world::{SERVER, SIGNER};
use hallmark_tests::{Options, World, require};
use repo_model::FileDigest;
use repo_model::announcement::{SIGNATURES, Signatures};
use repo_model::bundle::Bundle;
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::log::{
    Checkpoint, HashSource, LogProof, NodeHash, Note, Tile, VerifierKey, entry, inclusion_proof,
    leaf_hash, node_hash, read_bundle, root, tiles_of, verify_inclusion,
};
use repo_model::statement::{PACKAGE_RELEASE, Statement};
use repo_model::wire::status::BuildStatus;

const BASE: &str = "/preview/base/x86_64";

/// The whole log, read as a monitor reads it.
struct Log {
    checkpoint: Checkpoint,
    entries: Vec<Vec<u8>>,
}

impl Log {
    /// Fetches checkpoint, tiles and bundles, and checks each against the other.
    fn read(http: &Http) -> Self {
        let key: VerifierKey = text(http, "/keys/log.pub").trim().parse().expect("a key");
        let note = Note::parse(&http.fetch("/log/checkpoint")).expect("a note");
        let checkpoint = Checkpoint::open(&note, &key).expect("signed by the log's key");
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let mut hashes = Vec::new();
        for tile in tiles_of(0, checkpoint.size) {
            let bytes = http.fetch(&format!("/log/{tile}"));
            match tile {
                Tile { level: Some(0), .. } => hashes.extend(bytes),
                Tile { level: None, .. } => {
                    let read = read_bundle(&bytes).expect("a whole bundle");
                    entries.extend(read.into_iter().map(<[u8]>::to_vec));
                }
                Tile { .. } => {}
            }
        }
        assert_eq!(entries.len() as u64, checkpoint.size);
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let tile_bytes: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        assert_eq!(tile_bytes, hashes, "tiles hash the entries");
        let Ok(found) = root(checkpoint.size, &mut Leaves(&leaves));
        assert_eq!(found, checkpoint.root);
        Self {
            checkpoint,
            entries,
        }
    }
}

struct Leaves<'a>(&'a [NodeHash]);

impl HashSource for Leaves<'_> {
    type Error = std::convert::Infallible;
    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, Self::Error> {
        if level == 0 {
            return Ok(self.0[index as usize]);
        }
        let Ok(left) = self.hash(level - 1, index * 2);
        let Ok(right) = self.hash(level - 1, index * 2 + 1);
        Ok(node_hash(left, right))
    }
}

fn text(http: &Http, path: &str) -> String {
    String::from_utf8(http.fetch(path)).expect("text")
}

fn statement_key(http: &Http) -> StatementPublicKey {
    text(http, "/keys/statement.pub").parse().expect("a key")
}

fn envelope(http: &Http, digest: &str) -> Envelope {
    Envelope::from_json(&http.fetch(&format!("/evidence/sha256/{digest}"))).expect("an envelope")
}

fn publish(world: &World, name: &str, version: &str) -> BuildStatus {
    let build = Crafted::new(name, version).publish(&world.http).build;
    world.until_published(build);
    world.until_build(build, "is published", |status| {
        status.stage.name() == "published"
    })
}

#[test]
fn what_is_said_about_a_package_is_in_the_log_and_static_files_prove_it() {
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    let anonymous = world.http.with_token(None);
    let first = publish(&world, "logged", "1.0");
    let early = Log::read(&anonymous);
    let second = publish(&world, "logged", "2.0");
    let log = Log::read(&anonymous);
    assert!(log.checkpoint.size > early.checkpoint.size);
    assert_eq!(
        log.entries[..early.entries.len()],
        early.entries,
        "it only grows"
    );

    let key = statement_key(&anonymous);
    let mut said: Vec<String> = world
        .releases()
        .iter()
        .map(|r| r.envelope.to_string())
        .collect();
    for package in first.packages.iter().chain(&second.packages) {
        let statements = ["verification-summary", "sbom-statement"];
        let of_package = package
            .evidence
            .iter()
            .filter(|link| statements.contains(&link.kind.as_str()));
        said.extend(of_package.map(|link| link.digest.to_string()));
    }
    assert!(said.len() >= 3 + 4, "{said:?}");
    for digest in said {
        let wanted = entry(&envelope(&anonymous, &digest), &key).expect("the signer's");
        assert!(log.entries.contains(&wanted), "{digest} is in the log");
    }

    // Which statement an entry is of is told beside the entries.
    let rest = match log.checkpoint.size {
        256 => "000".to_owned(),
        size => format!("000.p/{size}"),
    };
    let digests = anonymous.fetch(&format!("/log/statements/{rest}"));
    let (digests, _) = digests.as_chunks::<32>();
    let listed: Vec<_> = digests
        .iter()
        .copied()
        .map(FileDigest::from_bytes)
        .collect();
    for (listed, logged) in listed.iter().zip(&log.entries) {
        let envelope = envelope(&anonymous, &listed.to_hex());
        if let Ok(its_entry) = entry(&envelope, &key) {
            assert_eq!(its_entry, *logged, "{listed}");
        }
    }

    // The proofs beside each package, against the log's key alone.
    let log_key: VerifierKey = text(&anonymous, "/keys/log.pub")
        .trim()
        .parse()
        .expect("a key");
    for package in Repository::new(&anonymous, BASE).check_everything() {
        let at = |end: &str| format!("{BASE}/{}{end}", package.href);
        for (proof, bundle) in [
            (".tlog-proof", ".sigstore.json"),
            (".vsa.tlog-proof", ".vsa.sigstore.json"),
        ] {
            let proof: LogProof = text(&anonymous, &at(proof)).parse().expect("a proof");
            let bundle = Bundle::from_json(&anonymous.fetch(&at(bundle))).expect("a bundle");
            let its_entry = entry(&bundle.envelope, &key).expect("the signer's");
            assert_eq!(bundle.places[0].entry, its_entry);
            assert_eq!(bundle.places[0].proof.hashes, proof.hashes);
            proof.verify(&its_entry, &log_key).expect("in the log");
            assert!(proof.verify(b"another", &log_key).is_err());
            // The same from tiles, at the newest checkpoint.
            let leaves: Vec<_> = log.entries.iter().map(|entry| leaf_hash(entry)).collect();
            let Ok(hashes) =
                inclusion_proof(proof.index, log.checkpoint.size, &mut Leaves(&leaves));
            let (size, root) = (log.checkpoint.size, log.checkpoint.root);
            verify_inclusion(proof.index, size, leaf_hash(&its_entry), &hashes, root)
                .expect("still in the log");
        }
        let summary = Envelope::from_json(&anonymous.fetch(&at(".vsa.json"))).expect("an envelope");
        let bundle = Bundle::from_json(&anonymous.fetch(&at(".vsa.sigstore.json")));
        assert_eq!(bundle.expect("a bundle").envelope, summary);
    }
    for strange in [
        "tile/0/999",
        "tile/0/000.p/0",
        "tile/64/000",
        "tile/..%2f..%2fhallmark.db",
        "tile/entries/000.p/255",
        "statements/000.p/255",
        "statements/..%2fcheckpoint",
    ] {
        assert_eq!(
            anonymous.get(&format!("/log/{strange}")).status,
            404,
            "{strange}"
        );
    }
}

#[test]
fn stock_cosign_finds_our_statement_in_our_log_and_refuses_a_changed_one() {
    require!([Need::Root, Need::InClientRoot("cosign")]);
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    publish(&world, "cosigned", "1.0");
    let package = Repository::new(&world.http, BASE)
        .package("cosigned")
        .expect("it is published");
    let dir = world.new_dir("cosign");
    let at = format!("{BASE}/{}", package.href);
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).expect("written");
    let bundle = world.http.fetch(&format!("{at}.sigstore.json"));
    put("p.rpm", &world.http.fetch(&at));
    put("bundle.json", &bundle);
    put("key.pub", &world.http.fetch("/keys/statement.pub"));
    put("root.json", &world.http.fetch("/keys/trusted_root.json"));
    // No `--insecure-…`: cosign looks for the statement in the log that `root.json` names.
    let verify = || {
        let mut cosign = in_client_root(
            &dir,
            &[
                "cosign",
                "verify-blob-attestation",
                "--bundle=/mnt/client/bundle.json",
                "--key=/mnt/client/key.pub",
                "--trusted-root=/mnt/client/root.json",
                "--type",
                PACKAGE_RELEASE,
                "/mnt/client/p.rpm",
            ],
        );
        let output = cosign.output().expect("it starts");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (good, said) = verify();
    assert!(good && said.contains("Verified OK"), "{said}");

    let json: serde_json::Value = serde_json::from_slice(&bundle).expect("JSON");
    let place = "/verificationMaterial/tlogEntries/0";
    let mut elsewhere = json.clone();
    *elsewhere
        .pointer_mut(&format!("{place}/inclusionProof/hashes/0"))
        .expect("a hash") = NodeHash::from_bytes([7; 32]).to_base64().into();
    let mut unlogged = json.clone();
    unlogged["verificationMaterial"]["tlogEntries"] = serde_json::json!([]);
    for (what, changed) in [("another place", elsewhere), ("no place", unlogged)] {
        put("bundle.json", changed.to_string().as_bytes());
        let (good, said) = verify();
        assert!(!good, "{what} was believed: {said}");
    }
    put("bundle.json", &bundle);
    let mut other = world.http.fetch(&at);
    other.push(0);
    put("p.rpm", &other);
    let (good, said) = verify();
    assert!(!good, "another file was believed: {said}");
}

#[test]
fn killed_at_any_moment_the_log_goes_on_where_it_was() {
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    publish(&world, "steady", "1.0");
    let mut before = Log::read(&world.http);
    for (round, process) in [SERVER, SIGNER, SERVER, SIGNER, SERVER]
        .into_iter()
        .enumerate()
    {
        let build = Crafted::new("steady", &format!("2.{round}"))
            .publish(&world.http)
            .build;
        std::thread::sleep(std::time::Duration::from_millis(40 * round as u64));
        world.process(process).kill_9();
        world.start_process(process);
        world.until_ready();
        world.until_published(build);
        let after = Log::read(&world.http);
        assert!(after.checkpoint.size > before.checkpoint.size);
        assert_eq!(
            after.entries[..before.entries.len()],
            before.entries,
            "after round {round}"
        );
        before = after;
    }
    let mut seen = std::collections::HashSet::new();
    assert!(
        before.entries.iter().all(|entry| seen.insert(entry)),
        "nothing is logged twice"
    );
}

#[test]
fn the_signer_is_shown_that_what_it_signed_is_in_the_log() {
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    let build = publish(&world, "watched", "1.0");
    // A server that starts asks at once, and then every minute.
    world.process(SERVER).kill_9();
    world.start_process(SERVER);
    world.until_ready();
    let journal = world.dir().join("signer-state/journal.jsonl");
    let event = |kind: &str| {
        let text = std::fs::read_to_string(&journal).expect("the journal");
        let mut events = text.lines().filter_map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(record["event"].clone())
        });
        let found = events.find(|event| event["kind"] == kind);
        found.ok_or_else(|| format!("the journal has no {kind}"))
    };
    let shown = world.until("the signer is shown its signatures", || {
        event("signatures-shown")
    });
    let said = event("signatures-said").expect("it said them before");
    assert_eq!(shown["envelope"], said["envelope"]);
    let anonymous = world.http.with_token(None);
    let envelope = envelope(&anonymous, said["envelope"].as_str().expect("a digest"));
    let key = statement_key(&anonymous);
    let statement = Statement::<Signatures>::open(&envelope, &key, SIGNATURES).expect("its word");
    let headers: Vec<_> = statement
        .predicate
        .packages
        .iter()
        .map(|one| one.header)
        .collect();
    for package in &build.packages {
        assert!(headers.contains(&package.header), "{headers:?}");
    }
    let wanted = entry(&envelope, &key).expect("the signer's");
    assert!(Log::read(&anonymous).entries.contains(&wanted));
}
