//! What the signer says: of a channel that was moved back, and of mirrors.

use crate::text;
use crate::truth::{PLACE, copy, look, publish, register, start};
use hallmark_tests::World;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::require;
use repo_model::Timestamp;
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::freshness;
use repo_model::sightings::{self, PATH};
use std::path::Path;
use std::time::SystemTime;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let secs = since.expect("the clock is right").as_secs();
    Timestamp::from_unix_secs(i64::try_from(secs).expect("not so late"))
}

fn statement_key(keys: &Path) -> StatementPublicKey {
    let pem = std::fs::read_to_string(keys.with_file_name("statement.pub"));
    pem.expect("it was written").parse().expect("a key")
}

/// Waits until the signer calls the channel current at this release.
fn until_fresh_at(world: &World, key: &StatementPublicKey, release: u64) {
    world.until(&format!("release {release} is called current"), || {
        let text = world.http.get("/preview/freshness.json").text();
        let envelope = Envelope::from_json(text.as_bytes()).map_err(|error| error.to_string())?;
        let fresh = freshness::open(&envelope, std::slice::from_ref(key), now());
        let fresh = fresh.map_err(|error| error.to_string())?;
        match fresh.freshness().release.0 {
            found if found == release => Ok(()),
            found => Err(format!("it is at {found}")),
        }
    });
}

#[test]
fn a_channel_that_was_moved_back_is_called_fresh_when_the_policy_says_that_it_was() {
    let (world, keys) = start();
    let _watch = world.watch();
    let key = statement_key(&keys);
    let first = world.channel("preview");
    publish(&world, "2.0");
    let second = world.channel("preview");
    until_fresh_at(&world, &key, second);

    let path = world.dir().join("policy.toml");
    let policy = std::fs::read_to_string(&path).expect("the world has one");
    let (before, rest) = policy.split_once("version = 1").expect("its number");
    let back = format!("[[moved_back]]\nchannel = \"preview\"\nfrom = {second}\nto = {first}\n");
    let policy = format!("{before}version = 2{rest}\n{back}");
    std::fs::write(&path, policy).expect("the folder is ours");
    world.crash("signer");
    world.until_ready();
    world.hallmark_ok(&["rollback", "preview", "--to", &first.to_string()]);
    until_fresh_at(&world, &key, first);
    // A copy of it is fresh by the same command as ever.
    let tree = world.dir().join("tree");
    copy(&world, &keys, &tree);
    let pem = keys.with_file_name("statement.pub");
    let place = tree.join(PLACE);
    let verify = [
        "mirror",
        "verify",
        "--key",
        text(&keys),
        "--fresh",
        text(&pem),
    ];
    world.hallmark_ok(&[&verify[..], &[text(&place)]].concat());
}

#[test]
fn what_was_seen_of_mirrors_is_signed_and_checked_by_one_command() {
    require!(NGINX);
    let (world, keys) = start();
    let _watch = world.watch();
    let tree = world.dir().join("tree");
    copy(&world, &keys, &tree);
    let nginx = Nginx::serve(&tree);
    register(&world, "north", &nginx.url(), &[]);
    look(&world, "north");
    let pem = keys.with_file_name("statement.pub");
    let key = statement_key(&keys);
    let release = world.channel("preview");
    // It is said within minutes; a start does not wait for that.
    world.crash("server");
    world.until_ready();
    let said = world.until("it is said", || {
        let text = world.http.get(PATH).text();
        let envelope = Envelope::from_json(text.as_bytes()).map_err(|error| error.to_string())?;
        let said = sightings::open(&envelope, std::slice::from_ref(&key), now());
        said.map_err(|error| error.to_string())
    });
    let [north] = &said.mirrors[..] else {
        panic!("{said:?}");
    };
    assert_eq!(north.name.as_str(), "north");
    assert_eq!(north.places.len(), 1, "{north:?}");
    assert_eq!(north.places[0].release.0, release);
    let table = world.hallmark_ok(&["mirrors", "seen", "--key", text(&pem)]);
    assert!(
        table.contains("north") && table.contains("x86_64"),
        "{table}"
    );
    let page = world.http.get("/mirrors").text();
    assert!(
        page.contains(PATH) && page.contains("hallmark mirrors seen"),
        "{page}"
    );

    // What somebody changed is refused.
    let kept = world.dir().join("seen.json");
    let changed = world
        .http
        .get(PATH)
        .text()
        .replace("\"payload\":\"ey", "\"payload\":\"ez");
    std::fs::write(&kept, changed).expect("the folder is ours");
    let seen = [
        "mirrors",
        "seen",
        "--key",
        text(&pem),
        "--file",
        text(&kept),
    ];
    let output = world.hallmark(&seen);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
