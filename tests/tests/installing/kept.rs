//! dnf's plug-in `local` copies what it installs, and offers it again: what it kept is judged by whose package it is.

use crate::offline::download;
use crate::{Story, strangers, stricter};
use hallmark_tests::clients::Client;
use hallmark_tests::machine::Machine;
use hallmark_tests::process;

const KEPT: &str = "_dnf_local";
const KEPT_UNCHECKED: &str = "_dnf_local_nogpgcheck";

/// Switches dnf5's own plug-in on, which comes with libdnf5 and is for the host's root alone unless told otherwise.
/// Without its section `createrepo` it copies packages and then fails, and no dnf ever sees a repository of them.
fn keep_from_now_on(machine: &Machine) {
    let [checked, unchecked] = ["kept", "kept-unchecked"].map(|name| machine.inside(name));
    machine.write(
        "root/etc/dnf/libdnf5-plugins/local.conf",
        &format!(
            "[main]\nname = local\nenabled = true\nrepodir = {checked}\nrepodir_nogpgcheck = {unchecked}\n\n\
             [createrepo]\nenabled = true\n"
        ),
    );
}

/// What dnf 4's plug-in comes to: a repository of this name in a folder, before all others. The plug-in itself is in no
/// package of the client root.
fn keep_for_dnf4(story: &Story, machine: &Machine, name: &str) {
    download(story, machine, name);
    let dir = machine.dir().join("kept");
    std::fs::create_dir_all(&dir).expect("the folder is ours");
    let file = format!("{name}.rpm");
    std::fs::rename(machine.dir().join(&file), dir.join(&file)).expect("it was downloaded");
    let mut createrepo = process::command(process::binary("hallmark"));
    process::run(createrepo.arg("createrepo").arg(&dir));
    let url = format!("file://{}", machine.inside("kept"));
    let key = story.world.http.fetch("/keys/RPM-GPG-KEY");
    machine.repository(KEPT, &url, Some(&key));
}

#[test]
fn what_dnf_s_local_plugin_has_kept_is_judged_by_whose_package_it_is() {
    let clients = Story::clients("what_dnf_s_local_plugin_has_kept");
    if clients.is_empty() {
        return;
    }
    let story = Story::begin(&["lonely"]);
    let watch = story.world.watch();
    for client in clients {
        let machine = story.machine(client);
        strangers(&machine);
        match client {
            Client::Dnf5 => {
                keep_from_now_on(&machine);
                for name in ["lonely", "stranger"] {
                    machine.dnf(&["install", name]).succeeds(&[]);
                    machine.dnf(&["remove", name]).succeeds(&[]);
                }
            }
            _ => keep_for_dnf4(&story, &machine, "lonely"),
        }
        let install = |name: &str| match client {
            Client::Dnf5 => machine.dnf(&["install", name]),
            // Nothing there costs less than the repository that it is of.
            _ => machine.dnf(&["install", "--disablerepo=world", name]),
        };

        let policy = machine.dir().join("root/etc/hallmark/trust/policy.toml");
        let before = std::fs::read_to_string(&policy).expect("it is installed");
        std::fs::write(&policy, stricter(&before)).expect("written");
        let refusal = format!("lonely-1.0-1.noarch ({KEPT}): rebuilds is broken: ");
        install("lonely").refuses(&[&refusal]);
        assert!(!machine.has("lonely"));
        std::fs::write(&policy, before).expect("written");
        machine.configure(&story.world, "others = \"refuse\"", "");
        install("lonely").succeeds(&[KEPT]);
        assert!(machine.has("lonely"));

        if client == Client::Dnf5 {
            // Of nobody who is verified: as it was in its own repository.
            let others = format!("stranger-1.0-1.noarch ({KEPT_UNCHECKED}): its repository is not");
            install("stranger").refuses(&[&others]);
            machine.configure(&story.world, "", "");
            install("stranger").succeeds(&[KEPT_UNCHECKED]);
        }
    }
    drop(watch);
}
