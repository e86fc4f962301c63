//! dnf5's plug-in `local` copies what it installs, and offers it again: what it kept is verified as before.

use crate::{Story, stricter};
use hallmark_tests::clients::Client;

#[test]
fn what_dnf_s_local_plugin_has_kept_is_judged_by_what_it_is() {
    let clients = Story::clients("what_dnf_s_local_plugin_has_kept");
    if !clients.contains(&Client::Dnf5) {
        return;
    }
    let story = Story::begin(&["lonely"]);
    let watch = story.world.watch();
    let machine = story.machine(Client::Dnf5);
    let kept = machine.inside("root/var/lib/local");
    machine.write(
        "root/etc/dnf/libdnf5-plugins/local.conf",
        &format!("[main]\nname = local\nenabled = 1\nrepodir = {kept}\n"),
    );
    machine.dnf(&["install", "lonely"]).succeeds(&[]);
    machine.dnf(&["remove", "lonely"]).succeeds(&[]);
    let policy = machine.dir().join("root/etc/hallmark/trust/policy.toml");
    let before = std::fs::read_to_string(&policy).expect("it is installed");
    std::fs::write(&policy, stricter(&before)).expect("written");
    machine
        .dnf(&["install", "lonely"])
        .refuses(&["lonely-1.0-1.noarch (_dnf_local): rebuilds is broken: "]);
    assert!(!machine.has("lonely"));
    std::fs::write(&policy, before).expect("written");
    machine.dnf(&["install", "lonely"]).succeeds(&[]);
    assert!(machine.has("lonely"));
    drop(watch);
}
