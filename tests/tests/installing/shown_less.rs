//! A machine that is shown less than it has seen, or nothing new, or packages of a key that is revoked.

use crate::{BASE, Story, publish, text};
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::world::{SERVER, SIGNER};
use hallmark_tests::{process, require, wait};
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    let mut command = process::command("cp");
    process::run(command.args(["-a", "--"]).arg(from).arg(to));
}

#[test]
fn a_repository_that_was_rolled_back_or_frozen_is_refused() {
    let clients = Story::clients("a_repository_that_was_rolled_back");
    if clients.is_empty() {
        return;
    }
    let story = Story::begin(&["first"]);
    let world = &story.world;
    let watch = world.watch();
    let stop = || {
        for name in [SERVER, SIGNER] {
            world.process(name).stop();
        }
    };
    let start = || {
        for name in [SIGNER, SERVER] {
            world.start_process(name);
        }
        world.until_ready();
    };
    let state = world.dir().join("signer-state");
    stop();
    copy(&world.data_dir(), &world.dir().join("old-data"));
    copy(&state, &world.dir().join("old-state"));
    start();
    publish(world, "second", "1.0");
    let machines: Vec<_> = clients
        .into_iter()
        .map(|client| story.machine(client))
        .collect();
    for machine in &machines {
        machine.dnf(&["install", "second"]).succeeds(&[]);
        // Nothing new for longer than the reader bears: somebody may keep it from us.
        wait::until_issued_is_past();
        machine.configure(world, "", "max_age_days = 0");
        machine.dnf(&["install", "first"]).refuses(&[
            "first-1.0-1.noarch (world): freshness is broken: the newest release is ",
            "hint: refresh from another mirror",
        ]);
        machine.configure(world, "", "max_age_days = 1");
    }
    // Everything as it was, keys and all: whoever sees it for the first time cannot tell.
    stop();
    for (old, path) in [("old-data", world.data_dir()), ("old-state", state)] {
        std::fs::remove_dir_all(&path).expect("it is there");
        std::fs::rename(world.dir().join(old), path).expect("renamed");
    }
    start();
    for machine in &machines {
        machine.dnf(&["install", "first"]).refuses(&[
            "first-1.0-1.noarch (world): the newest release that is shown is ",
            "somebody rolled the repository back",
        ]);
        assert!(!machine.has("first"));
        std::fs::remove_dir_all(machine.dir().join("evidence")).expect("it is there");
        machine.dnf(&["install", "first"]).succeeds(&[]);
    }
    drop(watch);
}

#[test]
fn packages_of_a_revoked_key_are_refused_once_the_trust_folder_knows() {
    let clients = Story::clients("packages_of_a_revoked_key");
    if clients.is_empty() {
        return;
    }
    let story = Story::begin(&["signed"]);
    let world = &story.world;
    let watch = world.watch();
    let machines: Vec<_> = clients
        .into_iter()
        .map(|client| story.machine(client))
        .collect();
    assert!(world.process(SIGNER).stop().success(), "a clean end");
    for arguments in [
        &["key", "stage", "package"][..],
        &["key", "rotate", "package", "--at-once"],
        &[
            "key",
            "revoke",
            "package-key",
            "--compromised",
            "--reason",
            "a rehearsal",
        ],
    ] {
        let mut command = process::command(process::binary("hallmark-signer"));
        let config = world.config_file();
        process::run(command.args(arguments).arg("--config").arg(config));
    }
    world.start_process(SIGNER);
    world.until_ready();
    world.until("the server knows that a key is revoked", || {
        // It asks the signer when it is asked whether it is ready.
        world.http.get("/readyz");
        let status = world.hallmark_ok(&["key", "status"]);
        status.contains("revoked").then_some(()).ok_or(status)
    });
    let trust = world.dir().join("trust-after");
    world.hallmark_ok(&["trust", "fetch", "-o", text(&trust)]);
    for machine in &machines {
        let folder = machine.dir().join("root/etc/hallmark/trust");
        std::fs::remove_dir_all(&folder).expect("it is there");
        copy(&trust, &folder);
        // dnf still has the key that it imported.
        machine
            .dnf(&["install", "signed"])
            .refuses(&["signed-1.0-1.noarch (world): signature is broken: "]);
        assert!(!machine.has("signed"));
    }
    drop(watch);
}

/// What `hallmark mirror sync` copied before the second package came, as a folder that dnf reads.
#[test]
fn a_mirror_that_shows_old_metadata_is_noticed_though_every_byte_of_it_is_signed() {
    require!(NGINX);
    let clients = Story::clients("a_mirror_that_shows_old_metadata");
    if clients.is_empty() {
        return;
    }
    let story = Story::begin(&["first"]);
    let world = &story.world;
    let watch = world.watch();
    let key = world.http.fetch("/keys/RPM-GPG-KEY");
    let key_file = world.dir().join("key.asc");
    std::fs::write(&key_file, &key).expect("written");
    let upstream = format!("{}{BASE}", world.url());
    let mirror = world.dir().join("mirror");
    let sync = || {
        world.hallmark_ok(&[
            "mirror",
            "sync",
            "--key",
            text(&key_file),
            &upstream,
            text(&mirror),
        ]);
    };
    sync();
    let nginx = Nginx::serve(&mirror);
    let stale = world.dir().join("stale");
    copy(&mirror, &stale);
    publish(world, "second", "1.0");
    sync();
    let mirror_url = nginx.url();
    let known = format!("mirror_urls = [\"{mirror_url}\"]");
    for client in clients {
        let machine = story.machine(client);
        machine.repository("world", &mirror_url, Some(&key));
        machine.configure(world, "", &known);
        machine.dnf(&["install", "second"]).succeeds(&[]);
        let served = world.dir().join("served");
        std::fs::rename(&mirror, &served).expect("renamed");
        copy(&stale, &mirror);
        // What came within this second, dnf 4 takes for new.
        machine.dnf(&["install", "--refresh", "first"]).refuses(&[
            "first-1.0-1.noarch (world): the repository's metadata is of release ",
            "somebody rolled the repository back",
        ]);
        // Who sees it for the first time is told by its age.
        wait::until_issued_is_past();
        std::fs::remove_dir_all(machine.dir().join("evidence")).expect("it is there");
        machine.configure(world, "", &format!("{known}\nmax_age_days = 0"));
        machine
            .dnf(&["install", "--refresh", "first"])
            .refuses(&["first-1.0-1.noarch (world): "]);
        std::fs::remove_dir_all(&mirror).expect("it is there");
        std::fs::rename(&served, &mirror).expect("renamed");
        machine.configure(world, "", &known);
        machine
            .dnf(&["install", "--refresh", "first"])
            .succeeds(&[]);
    }
    drop(watch);
}
