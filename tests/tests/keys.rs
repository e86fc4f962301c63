//! The life of the signer's keys as clients see it, and a database that was put back.

use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::packages;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::process;
use hallmark_tests::repository::Repository;
use hallmark_tests::tools::BUILDING;
use hallmark_tests::world::{SERVER, SIGNER};
use hallmark_tests::{Options, World, require};
use repo_model::wire::signer::{KeyState, PublishedKey};
use std::path::Path;

const BASE: &str = "/preview/base/x86_64";

/// Runs a command of `hallmark-signer` while the signer is stopped, and starts it again.
fn with_signer_stopped(world: &World, commands: &[&[&str]]) {
    assert!(world.process(SIGNER).stop().success(), "a clean end");
    for arguments in commands {
        let mut command = process::command(process::binary("hallmark-signer"));
        command
            .args(*arguments)
            .arg("--config")
            .arg(world.config_file());
        process::run(&mut command);
    }
    world.start_process(SIGNER);
    world.until_ready();
    // The server asks after the signer every few seconds.
    world.until("the server knows the signer's keys", || {
        let ready = world.http.get("/readyz");
        let listed: Vec<PublishedKey> = world.http.get_json("/keys/keys.json");
        let mut identity = process::command(process::binary("hallmark-signer"));
        identity
            .arg("identity")
            .arg("--config")
            .arg(world.config_file());
        let json = process::run(&mut identity);
        let identity: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let keys = serde_json::to_value(&listed).expect("JSON");
        match identity["keys"] == keys {
            true => Ok(()),
            false => Err(format!("{}: {keys}", ready.status)),
        }
    });
}

fn keys(world: &World) -> String {
    String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY")).expect("text")
}

fn post_quantum_keys(world: &World) -> String {
    String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY-pqc")).expect("text")
}

fn publish(world: &World, name: &str) {
    let build = Crafted::new(name, "1.0").publish(&world.http).build;
    world.until_published(build);
}

fn install(client: Client, world: &World, key: &str, package: &str) -> Outcome {
    let base_url = format!("{}{BASE}/", world.url());
    client.install(
        world,
        &Installation {
            base_url: &base_url,
            key,
            key_url: None,
            check_metadata: true,
            package,
        },
    )
}

fn installs(client: Client, world: &World, key: &str, package: &str, when: &str) {
    let outcome = install(client, world, key, package);
    assert!(
        matches!(outcome, Outcome::Installed(_)),
        "{when}: {client:?} with {package}: {outcome:?}"
    );
}

/// Rehearsed with every client there is: dnf5, dnf 4 and zypper with rpm 6, dnf 4 and zypper with rpm 4.18.
#[test]
fn a_key_is_staged_rotated_and_revoked_and_no_client_that_fetched_it_stumbles() {
    let clients: Vec<_> = Client::ALL
        .into_iter()
        .filter(|client| {
            let test = format!("a_key_is_staged_rotated_and_revoked ({client:?})");
            hallmark_tests::tools::all_there(&test, &client.needs())
        })
        .collect();
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    publish(&world, "first");
    let before = keys(&world);

    with_signer_stopped(
        &world,
        &[
            &["key", "stage", "package"],
            &["key", "stage", "metadata"],
            &["key", "stage", "package-pqc"],
        ],
    );
    publish(&world, "second");
    let staged = keys(&world);
    let count = |text: &str| text.matches("BEGIN PGP PUBLIC KEY BLOCK").count();
    assert_eq!((count(&before), count(&staged)), (2, 4));
    // Post-quantum keys are in a file of their own: gpg and rpm 4 would refuse all of the other one.
    assert_eq!(count(&post_quantum_keys(&world)), 3);
    for client in &clients {
        installs(*client, &world, &before, "second", "staged, old keys");
        installs(*client, &world, &staged, "second", "staged, new keys");
    }
    let too_early = world.hallmark(&["key", "status", "--strict"]);
    assert!(too_early.status.success(), "{too_early:?}");

    with_signer_stopped(
        &world,
        &[
            &["key", "rotate", "package", "--at-once"],
            &["key", "rotate", "metadata", "--at-once"],
            &["key", "rotate", "package-pqc", "--at-once"],
        ],
    );
    publish(&world, "third");
    let rotated = keys(&world);
    for client in &clients {
        for package in ["first", "third"] {
            installs(
                *client,
                &world,
                &staged,
                package,
                "rotated, fetched in time",
            );
            installs(*client, &world, &rotated, package, "rotated, a new client");
        }
        // Who did not fetch the key in time is told so, and is not let through.
        if client.checks_packages() {
            let outcome = install(*client, &world, &before, "third");
            assert!(
                matches!(outcome, Outcome::Refused(_)),
                "{client:?}: {outcome:?}"
            );
        }
    }

    let revoke = |label| {
        let reason = ["--compromised", "--reason", "a rehearsal"];
        [&["key", "revoke", label], &reason[..]].concat()
    };
    with_signer_stopped(
        &world,
        &[&revoke("metadata-key"), &revoke("package-key-pqc")],
    );
    publish(&world, "fourth");
    let listed: Vec<PublishedKey> = world.http.get_json("/keys/keys.json");
    let revoked: Vec<_> = listed
        .iter()
        .filter(|key| key.state == KeyState::Revoked)
        .collect();
    assert_eq!(revoked.len(), 2);
    let after = keys(&world);
    assert_eq!((count(&after), count(&post_quantum_keys(&world))), (3, 2));
    for (file, key) in [("revoked", revoked[0]), ("revoked-pqc", revoked[1])] {
        let served = world.http.fetch(&format!("/keys/RPM-GPG-KEY-{file}"));
        assert_eq!(served, key.public.as_bytes(), "{file}");
    }
    let status = world.hallmark_ok(&["key", "status"]);
    let revoked = |role: &str| {
        let of_role = |line: &&str| line.starts_with(role) && line.contains("revoked");
        status.lines().filter(of_role).count()
    };
    assert_eq!(
        (revoked("package-pqc"), revoked("metadata ")),
        (1, 1),
        "{status}"
    );
    for client in &clients {
        installs(*client, &world, &after, "fourth", "revoked");
    }
}

#[test]
fn the_keys_come_as_a_package_that_goes_the_way_of_every_other() {
    require!(&BUILDING);
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    publish(&world, "first");
    let dir = world.new_dir("keys");
    let output = dir.to_str().expect("paths here are UTF-8");
    let written =
        world.hallmark_ok(&["key", "package", "--channel", "preview", "--output", output]);
    let built = packages::built(Path::new(written.trim()));
    for receipt in world.publish(&[&built]) {
        world.until_published(receipt.build);
    }
    let rpm = Repository::new(&world.http, BASE)
        .package("hallmark-keys")
        .expect("it is listed");
    assert!(rpm.href.ends_with(".noarch.rpm"), "{}", rpm.href);
    for client in [Client::Dnf5, Client::HostDnf4] {
        let test = format!("the_keys_come_as_a_package ({client:?})");
        if hallmark_tests::tools::all_there(&test, &client.needs()) {
            installs(client, &world, &keys(&world), "hallmark-keys", "a package");
        }
    }
    let status = world.hallmark_ok(&["key", "status"]);
    assert_eq!(
        status.lines().count(),
        8,
        "a heading, five keys and the log's two: {status}"
    );
    let listed = world.hallmark_ok(&["key", "status", "--json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("JSON");
    for (role, algorithm) in [("log", "Ed25519"), ("log-pqc", "ML-DSA-44")] {
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{role} ")));
        let line = line.unwrap_or_else(|| panic!("no {role} in {status}"));
        let mut keys = listed.iter().filter(|key| key["role"] == role);
        let key = keys.next().expect("it is listed as JSON, too");
        assert_eq!(key["algorithm"], algorithm);
        for said in [&key["made"], &key["fingerprint"], &key["algorithm"]] {
            let said = said.as_str().expect("it is known");
            assert!(line.contains(said), "{said} is not in {line}");
        }
    }
}

#[test]
fn a_database_that_was_put_back_goes_on_from_the_signer_s_last_release() {
    let owned = World::start(&Options::no_rebuilds());
    let world = owned.watch();
    publish(&world, "first");
    let stop = || assert!(world.process(SERVER).stop().success(), "a clean end");
    let database = |name: &str| world.data_dir().join(format!("hallmark.db{name}"));
    stop();
    let copy = std::fs::read(database("")).expect("the database");
    world.start_process(SERVER);
    world.until_ready();
    publish(&world, "lost");
    publish(&world, "lost-too");
    stop();
    for name in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(database(name));
    }
    std::fs::write(database(""), copy).expect("the database is put back");
    world.start_process(SERVER);
    world.until_ready();

    // The signer does not sign another release of a number that is taken.
    let stuck = Crafted::new("after", "1.0").publish(&world.http).build;
    world.until("the signer refuses", || {
        let log = world.process(SERVER).log_text();
        match log.contains("does not come after release") {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    let config = world.config_file();
    let adopt = ["adopt-release", "--config", config.to_str().expect("UTF-8")];
    let said = world.hallmark_ok(&adopt);
    assert!(said.contains("is taken over"), "{said}");
    world.until_published(stuck);
    let repository = Repository::new(&world.http, BASE);
    let names: Vec<_> = repository
        .check_everything()
        .into_iter()
        .map(|package| package.name)
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // What was lost is handed over again, and gets the very signature it had.
    publish(&world, "lost");
    assert!(repository.package("lost").is_some());
    assert_eq!(
        world.hallmark_ok(&adopt),
        "",
        "nothing is left to take over"
    );
}
