//! Somebody in the middle changes what passes, or the client has another key: every client refuses, and
//! for trust's sake.

use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::packages;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::process;
use hallmark_tests::proxy::{Change, Proxy, Tampering};
use hallmark_tests::tools::BUILDING;
use hallmark_tests::{Options, World, require};
use std::sync::LazyLock;

const BASE: &str = "/preview/base/x86_64";
const PACKAGE: &str = "tally";

/// A world with `tally` and the library it needs, and one release before that.
struct Story {
    world: World,
    keys: String,
    /// Keys of somebody else.
    other_keys: String,
    /// The signature of an older repomd.xml.
    old_signature: Vec<u8>,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let world = World::start(&Options::no_rebuilds());
    let first = Crafted::new("older", "1.0").publish(&world.http).build;
    world.until_published(first);
    let old_signature = world.http.fetch(&format!("{BASE}/repodata/repomd.xml.asc"));
    let builds = ["libtally", PACKAGE].map(packages::bundled_one);
    for receipt in world.publish(&[&builds[0], &builds[1]]) {
        world.until_published(receipt.build);
    }
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY")).expect("text");
    let other_keys = other_keys(&world);
    Story {
        world,
        keys,
        other_keys,
        old_signature,
    }
});

/// Makes the keys of another signer.
fn other_keys(world: &World) -> String {
    let state = world.new_dir("other-signer");
    let mut init = process::command(process::binary("hallmark-signer"));
    init.args(["init", "--config"]).arg(world.config_file());
    init.env(
        "HALLMARK_SIGNER__STATE_DIR",
        format!("\"{}\"", state.display()),
    );
    process::run(&mut init);
    let key = |name: &str| std::fs::read_to_string(state.join(name)).expect("it was made");
    format!(
        "{}{}",
        key("RPM-GPG-KEY-packages.asc"),
        key("RPM-GPG-KEY-metadata.asc")
    )
}

fn flip(suffix: &str, after: &'static str) -> Option<Tampering> {
    Some(Tampering {
        suffix: suffix.to_owned(),
        change: Change::FlipAfter(after),
    })
}

/// One client against every way of tampering.
fn refuses_what_was_tampered_with(client: Client) {
    let story = &*STORY;
    let world = story.world.watch();
    let proxy = Proxy::start(&world.http);
    let base_url = format!("{}{BASE}", proxy.url());
    let sound = Installation {
        base_url: &base_url,
        key: &story.keys,
        key_url: None,
        check_metadata: true,
        package: PACKAGE,
    };

    // Through the proxy and untouched it installs: what follows is refused for the change alone.
    let outcome = client.install(&world, &sound);
    assert!(
        matches!(outcome, Outcome::Installed(_)),
        "{client:?}: {outcome:?}"
    );

    let swapped = Change::Replace(story.old_signature.clone());
    for (what, tampering) in [
        ("package", flip("/tally-2.0.1-1.x86_64.rpm", "")),
        ("repomd.xml", flip("/repodata/repomd.xml", "<revision>")),
        (
            "signature of an older repomd.xml",
            Some(Tampering {
                suffix: "/repodata/repomd.xml.asc".to_owned(),
                change: swapped,
            }),
        ),
        ("primary.xml", flip("-primary.xml.zst", "")),
    ] {
        proxy.tamper(tampering);
        let outcome = client.install(&world, &sound);
        let Outcome::Refused(words) = outcome else {
            panic!("{client:?}, {what}: {outcome:?}")
        };
        assert!(proxy.changed() > 0, "{client:?} never fetched the {what}");
        eprintln!("{client:?} refuses a tampered {what}: {words}");
    }
    proxy.tamper(None);

    let wrong_key = Installation {
        key: &story.other_keys,
        ..sound.clone()
    };
    let outcome = client.install(&world, &wrong_key);
    let Outcome::Refused(words) = outcome else {
        panic!("{client:?}, wrong key: {outcome:?}")
    };
    eprintln!("{client:?} refuses metadata of another key: {words}");
    if client.checks_packages() {
        let packages_only = Installation {
            check_metadata: false,
            ..wrong_key
        };
        let outcome = client.install(&world, &packages_only);
        let Outcome::Refused(words) = outcome else {
            panic!("{client:?}, wrong package key: {outcome:?}")
        };
        eprintln!("{client:?} refuses packages of another key: {words}");
    }
}

#[test]
fn dnf5_refuses_what_was_tampered_with() {
    require!(BUILDING, Client::Dnf5.needs());
    refuses_what_was_tampered_with(Client::Dnf5);
}

#[test]
fn dnf4_refuses_what_was_tampered_with() {
    require!(BUILDING, Client::Dnf4.needs());
    refuses_what_was_tampered_with(Client::Dnf4);
}

#[test]
fn zypper_refuses_what_was_tampered_with() {
    require!(BUILDING, Client::Zypper.needs());
    refuses_what_was_tampered_with(Client::Zypper);
}

#[test]
fn this_machines_dnf4_refuses_what_was_tampered_with() {
    require!(BUILDING, Client::HostDnf4.needs());
    refuses_what_was_tampered_with(Client::HostDnf4);
}

#[test]
fn this_machines_zypper_refuses_what_was_tampered_with() {
    require!(BUILDING, Client::HostZypper.needs());
    refuses_what_was_tampered_with(Client::HostZypper);
}
