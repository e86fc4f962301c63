//! zypper has no plug-in that could refuse: download, verify, install, as the guide says.

use crate::{BASE, Story, stricter, text};
use hallmark_tests::clients::Client;
use hallmark_tests::machine::{Machine, VERIFIER};
use hallmark_tests::{process, require};

#[test]
fn what_zypper_has_downloaded_is_verified_before_it_installs() {
    require!(Client::Zypper.needs());
    let story = Story::begin(&["good"]);
    let watch = story.world.watch();
    let machine = Machine::new(&story.world, Client::Zypper, "machine");
    for dir in ["root/etc/zypp/repos.d", "root/var/cache/zypp"] {
        std::fs::create_dir_all(machine.dir().join(dir)).expect("the folder is ours");
    }
    let url = story.world.url();
    // libzypp asks for metadata's key interactively; what it trusts is another story's.
    let repository = format!(
        "[world]\nname=world\nbaseurl={url}{BASE}/\nenabled=1\nautorefresh=1\ntype=rpm-md\ngpgcheck=0\n"
    );
    machine.write("root/etc/zypp/repos.d/world.repo", &repository);
    process::run(process::command("cp").args([
        "-a",
        text(&story.trust),
        text(&machine.dir().join("trust")),
    ]));
    let (root, cache) = (machine.inside("root"), machine.inside("zypper"));
    let zypper = |more: &[&str]| {
        let fixed = [
            "zypper",
            "--non-interactive",
            "--root",
            &root,
            "--pkg-cache-dir",
            &cache,
            "install",
        ];
        machine.run(&[&fixed[..], more].concat())
    };
    zypper(&["--download-only", "good"]).succeeds(&[]);
    let trust = machine.inside("trust");
    let pipe =
        format!("find {cache} -name '*.rpm' | {VERIFIER} verify --trust {trust} --server {url} -");
    let verify = || machine.run(&["sh", "-c", &pipe]);
    verify().succeeds(&["good-1.0-1.noarch: the policy holds"]);
    let policy = machine.dir().join("trust/policy.toml");
    let before = std::fs::read_to_string(&policy).expect("it is there");
    std::fs::write(&policy, stricter(&before)).expect("written");
    verify().refuses(&["rebuilds is broken: "]);
    zypper(&["good"]).succeeds(&["In cache good-1.0-1.noarch.rpm"]);
    drop(watch);
}
