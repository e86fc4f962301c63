//! A machine without network: what was fetched before must do, and a pack of evidence does as well.

use crate::{BASE, Story, publish, text};
use hallmark_tests::machine::{Machine, VERIFIER};
use hallmark_tests::repository::Repository;
use hallmark_tests::world::SERVER;

/// Downloads a package as a file of the machine, and tells what it is called there.
pub(crate) fn download(story: &Story, machine: &Machine, name: &str) -> String {
    let package = Repository::new(&story.world.http, BASE).package(name);
    let package = package.expect("it is listed");
    let bytes = story.world.http.fetch(&format!("{BASE}/{}", package.href));
    std::fs::write(machine.dir().join(format!("{name}.rpm")), bytes).expect("written");
    machine.inside(&format!("{name}.rpm"))
}

#[test]
fn evidence_that_was_kept_or_packed_does_without_a_network() {
    let clients = Story::clients("evidence_that_was_kept_or_packed");
    if clients.is_empty() {
        return;
    }
    let story = Story::begin(&["kept", "packed"]);
    let watch = story.world.watch();
    let pack = story.world.dir().join("packed.tar.zst");
    story
        .world
        .hallmark_ok(&["evidence", "packed-1.0-1.noarch", "-o", text(&pack)]);
    let machines: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let machine = story.machine(client);
            let files = ["kept", "packed"].map(|name| download(&story, &machine, name));
            std::fs::copy(&pack, machine.dir().join("packed.tar.zst")).expect("copied");
            machine
                .run(&[VERIFIER, "client", "fetch", &files[0]])
                .succeeds(&["its evidence is kept, and holds"]);
            (machine, files)
        })
        .collect();
    story.world.process(SERVER).kill_9();
    for (machine, [kept, packed]) in machines {
        std::fs::remove_file(machine.dir().join("root/etc/yum.repos.d/world.repo"))
            .expect("it is there");
        let given = "repo_ids = [\"@commandline\"]";
        machine.configure(&story.world, "", given);
        machine.dnf(&["install", &packed]).refuses(&[
            "packed-1.0-1.noarch (@commandline): ",
            "was not fetched before, and now nobody can be asked: ",
            "hint: try again with a network",
            "note: http://",
        ]);
        assert!(!machine.has("packed"));
        machine.dnf(&["install", &kept]).succeeds(&[]);
        assert!(machine.has("kept"));
        let offline = format!("{given}\noffline = true");
        machine.configure(&story.world, "", &offline);
        machine.dnf(&["reinstall", &kept]).succeeds(&[]);
        machine
            .dnf(&["install", &packed])
            .refuses(&["packed-1.0-1.noarch"]);
        let with_pack = format!("{given}\npack = \"{}\"", machine.inside("packed.tar.zst"));
        machine.configure(&story.world, "", &with_pack);
        machine.dnf(&["install", &packed]).succeeds(&[]);
        assert!(machine.has("packed"));
        // Proofs cut short are no proofs.
        let whole = machine.dir().join("packed.tar.zst");
        let bytes = std::fs::read(&whole).expect("the pack");
        std::fs::write(&whole, &bytes[..bytes.len() / 2]).expect("written");
        machine
            .dnf(&["reinstall", &packed])
            .refuses(&["packed.tar.zst is no evidence pack: "]);
    }
    drop(watch);
}

#[test]
fn kept_evidence_that_was_damaged_is_fetched_again_or_refused() {
    let clients = Story::clients("kept_evidence_that_was_damaged");
    let [client, ..] = clients[..] else { return };
    let story = Story::begin(&["kept"]);
    let watch = story.world.watch();
    let machine = story.machine(client);
    let kept = download(&story, &machine, "kept");
    let fetch = || machine.run(&[VERIFIER, "client", "fetch", &kept]);
    fetch().succeeds(&[]);
    let damage = |content: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut count = 0;
        for folder in ["documents", "bundles"] {
            let root = machine.dir().join("evidence");
            let mut dirs = std::fs::read_dir(root).expect("it is there");
            let dir = dirs
                .next()
                .expect("one repository")
                .expect("readable")
                .path();
            for entry in std::fs::read_dir(dir.join(folder)).expect("it is there") {
                let path = entry.expect("readable").path();
                let bytes = std::fs::read(&path).expect("readable");
                std::fs::write(&path, content(&bytes)).expect("written");
                count += 1;
            }
        }
        assert!(count >= 4, "{count} files");
    };
    damage(&|bytes| bytes[..bytes.len() / 2].to_vec());
    fetch().succeeds(&[]);
    publish(&story.world, "later", "1.0");
    story.world.process(SERVER).kill_9();
    std::fs::remove_file(machine.dir().join("root/etc/yum.repos.d/world.repo"))
        .expect("it is there");
    machine.configure(&story.world, "", "repo_ids = [\"@commandline\"]");
    machine.dnf(&["install", &kept]).succeeds(&[]);
    machine.dnf(&["remove", "kept"]).succeeds(&[]);
    damage(&|_| b"[".repeat(200_000));
    machine
        .dnf(&["install", &kept])
        .refuses(&["was not fetched before, and now nobody can be asked"]);
    assert!(!machine.has("kept"));
    drop(watch);
}
