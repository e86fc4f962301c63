//! The origin is gone: a mirror that nginx serves, an export, or a copy on a disk has the packages and all evidence about
//! them, and is believed no more than the origin was.

use crate::{BASE, Story, publish, stricter, text};
use hallmark_tests::machine::VERIFIER;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::repository::Repository;
use hallmark_tests::require;
use hallmark_tests::world::SERVER;
use std::path::{Path, PathBuf};

const EVIDENCE: &str = ".evidence.tar.zst";

/// The story with a copy that `hallmark mirror sync` made, and one that `hallmark export` made.
struct Copied {
    story: Story,
    mirror: PathBuf,
    export: PathBuf,
    key: Vec<u8>,
    key_file: PathBuf,
}

impl Copied {
    fn begin(packages: &[&str]) -> Self {
        let story = Story::begin(packages);
        let world = &story.world;
        let key = world.http.fetch("/keys/RPM-GPG-KEY");
        let key_file = world.dir().join("key.asc");
        std::fs::write(&key_file, &key).expect("written");
        let (mirror, export) = (world.dir().join("mirror"), world.dir().join("export"));
        let copied = Self {
            mirror,
            export,
            key,
            key_file,
            story,
        };
        let url = format!("{}{BASE}", copied.story.world.url());
        copied.sync(&url, &copied.mirror);
        copied
            .story
            .world
            .hallmark_ok(&["export", text(&copied.export)]);
        copied
    }

    fn sync(&self, from: &str, to: &Path) {
        let key = text(&self.key_file);
        let world = &self.story.world;
        world.hallmark_ok(&["mirror", "sync", "--key", key, from, text(to)]);
    }

    /// The file of a package in the mirror's copy, and what lies beside it.
    fn beside(&self, href: &str) -> (PathBuf, PathBuf) {
        let beside = self.mirror.join(format!("{href}{EVIDENCE}"));
        (self.mirror.join(href), beside)
    }

    /// Exit code and everything said.
    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let fixed = ["verify", "--trust", text(&self.story.trust)];
        let output = self.story.world.hallmark(&[&fixed[..], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn holds(&self, says: &str, arguments: &[&str]) {
        let (code, said) = self.verify(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

fn hrefs(story: &Story, names: &[&str]) -> Vec<String> {
    let repository = Repository::new(&story.world.http, BASE);
    let href = |name: &&str| repository.package(name).expect("it is listed").href;
    names.iter().map(href).collect()
}

#[test]
fn dnf_installs_from_a_mirror_alone_and_refuses_what_it_has_no_evidence_of() {
    require!(NGINX);
    let clients = Story::clients("dnf_installs_from_a_mirror_alone");
    if clients.is_empty() {
        return;
    }
    let names = ["first", "second", "third"];
    let copied = Copied::begin(&names);
    let (story, world) = (&copied.story, &copied.story.world);
    let watch = world.watch();
    let hrefs = hrefs(story, &names);
    let nginx = Nginx::serve(&copied.mirror);
    let mirror_url = nginx.url();
    let machines: Vec<_> = clients
        .into_iter()
        .map(|client| story.machine(client))
        .collect();
    world.process(SERVER).kill_9();
    for machine in &machines {
        machine.repository("world", &mirror_url, Some(&copied.key));
        machine.configure(world, "", &format!("mirror_urls = [\"{mirror_url}\"]"));
        machine.dnf(&["install", "first"]).succeeds(&[]);
        assert!(machine.has("first"));
        // The same evidence, and a reader who asks for more.
        let policy = machine.dir().join("root/etc/hallmark/trust/policy.toml");
        let before = std::fs::read_to_string(&policy).expect("it is installed");
        std::fs::write(&policy, stricter(&before)).expect("written");
        machine.dnf(&["install", "second"]).refuses(&[
            "second-1.0-1.noarch (world): rebuilds is broken: ",
            &format!("the evidence is that of {mirror_url}"),
        ]);
        std::fs::write(&policy, before).expect("written");
        // What is not there, cut short, or another's, is no evidence.
        let ((_, second), (_, third)) = (copied.beside(&hrefs[1]), copied.beside(&hrefs[2]));
        let good = std::fs::read(&second).expect("it was copied");
        let other = std::fs::read(&third).expect("it was copied");
        for bad in [None, Some(&good[..good.len() / 2]), Some(&other[..])] {
            std::fs::remove_file(&second).expect("it is there");
            if let Some(bad) = bad {
                std::fs::write(&second, bad).expect("written");
            }
            machine.dnf(&["install", "second"]).refuses(&[
                "hallmark refuses this transaction: 1 of 1",
                "second-1.0-1.noarch",
            ]);
            assert!(!machine.has("second"));
            std::fs::write(&second, &good).expect("written");
        }
        machine.dnf(&["install", "second"]).succeeds(&[]);
        // What is installed, by the mirror alone.
        let (trust, root) = (
            machine.inside("root/etc/hallmark/trust"),
            machine.inside("root"),
        );
        let installed = [
            VERIFIER,
            "verify",
            "--trust",
            &trust,
            "--from",
            &mirror_url,
            "--root",
            &root,
            "installed",
        ];
        machine
            .run(&installed)
            .succeeds(&["the policy holds for 2 of 2 packages"]);
    }
    drop(watch);
}

/// The mirror was renewed for the last time before the machine spoke to the server, and then the server went away.
#[test]
fn a_mirror_that_is_behind_the_machine_still_serves_what_the_machine_can_judge() {
    require!(NGINX);
    let clients = Story::clients("a_mirror_that_is_behind_the_machine");
    if clients.is_empty() {
        return;
    }
    let copied = Copied::begin(&["first", "second"]);
    let (story, world) = (&copied.story, &copied.story.world);
    let watch = world.watch();
    let nginx = Nginx::serve(&copied.mirror);
    let mirror_url = nginx.url();
    let machines: Vec<_> = clients
        .into_iter()
        .map(|client| story.machine(client))
        .collect();
    publish(world, "later", "1.0");
    for machine in &machines {
        machine.repository("world", &mirror_url, Some(&copied.key));
        machine.configure(world, "", &format!("mirror_urls = [\"{mirror_url}\"]"));
        // The server tells of a release that the mirror does not have.
        machine.dnf(&["install", "second"]).succeeds(&[]);
    }
    world.process(SERVER).kill_9();
    for machine in &machines {
        machine.dnf(&["install", "first"]).succeeds(&[]);
        assert!(machine.has("first"));
    }
    drop(watch);
}

#[test]
fn mirrors_of_mirrors_exports_and_disks_verify_without_the_origin() {
    require!(NGINX);
    let names = ["one", "two"];
    let copied = Copied::begin(&names);
    let world = &copied.story.world;
    let watch = world.watch();
    let hrefs = hrefs(&copied.story, &names);
    world.process(SERVER).kill_9();
    let (mirror, export) = (Nginx::serve(&copied.mirror), Nginx::serve(&copied.export));
    let (mirror_url, exported) = (mirror.url(), format!("{}{BASE}", export.url()));
    let package = "one-1.0-1.noarch: the policy holds";
    copied.holds(package, &["--from", &mirror_url, "one-1.0-1.noarch"]);
    copied.holds(package, &["--from", &exported, "one-1.0-1.noarch"]);
    // A package's URL leads to its evidence by itself.
    for root in [&mirror_url, &exported] {
        copied.holds(package, &[&format!("{root}/{}", hrefs[0])]);
    }
    let both = "the policy holds for 2 of 2 packages";
    let directory = text(&copied.mirror);
    copied.holds(both, &["--from", directory, directory]);
    copied.holds(both, &["--from", &exported, directory]);
    // A mirror of the mirror has it, too.
    let second = world.dir().join("second-mirror");
    copied.sync(&mirror_url, &second);
    copied.holds(both, &["--from", text(&second), text(&second)]);
    // Packages that were carried somewhere with what lies beside them.
    let carried = world.new_dir("carried");
    for href in &hrefs {
        let (file, beside) = copied.beside(href);
        for file in [file, beside] {
            let name = file.file_name().expect("a file");
            std::fs::copy(&file, carried.join(name)).expect("copied");
        }
    }
    let common = copied.mirror.join("evidence.tar.zst");
    std::fs::copy(common, carried.join("evidence.tar.zst")).expect("copied");
    copied.holds(both, &["--from", text(&carried), text(&carried)]);

    // A copy is believed no more than the origin.
    let (file, _) = copied.beside(&hrefs[0]);
    let mut bytes = std::fs::read(&file).expect("it was copied");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(carried.join("one-1.0-1.noarch.rpm"), bytes).expect("written");
    let (code, said) = copied.verify(&["--from", text(&carried), text(&carried)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("one-1.0-1.noarch: file is broken: "),
        "{said}"
    );
    // Where nothing is, nothing is found.
    let (code, said) = copied.verify(&["--from", &export.url(), "one-1.0-1.noarch"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has no evidence.tar.zst"), "{said}");
    let (code, said) = copied.verify(&["one-1.0-1.noarch"]);
    assert_eq!(code, Some(3), "the server is gone: {said}");
    drop(watch);
}
