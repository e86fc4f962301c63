//! Machines that install nothing without evidence: dnf5 and dnf 4 with our plug-ins, as a user has them.

mod cost;
mod kept;
mod mirror_alone;
mod offline;
mod shown_less;
mod speed;
mod zypper;

use hallmark_tests::clients::Client;
use hallmark_tests::machine::{DNF4_DIR, Machine, VERIFIER};
use hallmark_tests::packages::crafted::{Crafted, binary};
use hallmark_tests::process;
use hallmark_tests::repository::Repository;
use hallmark_tests::tools::{Need, all_there};
use hallmark_tests::{Options, World, require};
use repo_model::dsse::StatementKey;
use std::path::{Path, PathBuf};

pub(crate) const BASE: &str = "/preview/base/x86_64";
const CLIENTS: [Client; 2] = [Client::Dnf5, Client::Dnf4];

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are UTF-8")
}

/// A world with a trust folder as its people have compared it.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) trust: PathBuf,
}

impl Story {
    /// Publishes packages of these names, version 1.0.
    pub(crate) fn begin(packages: &[&str]) -> Self {
        let world = World::start(&Options::no_rebuilds());
        for name in packages {
            publish(&world, name, "1.0");
        }
        let trust = world.new_dir("trust");
        world.hallmark_ok(&["trust", "fetch", "-o", text(&trust)]);
        Self { world, trust }
    }

    /// The clients that are here.
    pub(crate) fn clients(test: &str) -> Vec<Client> {
        let there = |client: &Client| all_there(&format!("{test} ({client:?})"), &client.needs());
        CLIENTS.into_iter().filter(there).collect()
    }

    /// A machine with plug-ins, trust folder and this world's repository.
    pub(crate) fn machine(&self, client: Client) -> Machine {
        let machine = Machine::new(&self.world, client, &format!("machine-{client:?}"));
        let key = self.world.http.fetch("/keys/RPM-GPG-KEY");
        self.place_plugins(&machine);
        let url = format!("{}{BASE}/", self.world.url());
        machine.repository("world", &url, Some(&key));
        machine.configure(&self.world, "", "");
        machine
    }

    /// What the client package brings, from that package.
    fn place_plugins(&self, machine: &Machine) {
        let rpm = client_package(self, machine.dir(), "client");
        let place = machine.dir().join("client.rpm");
        std::fs::copy(rpm, &place).expect("copied");
        let path = machine.inside("client.rpm");
        machine.dnf(&["install", &path]).succeeds(&[]);
        assert!(machine.has("hallmark-client"));
        let shipped = machine.dir().join("root/etc/hallmark/client.toml");
        let shipped = std::fs::read_to_string(shipped).expect("it is installed");
        let url = self.world.url();
        assert!(
            shipped.contains(&format!("server_url = \"{url}\"")),
            "{shipped}"
        );
    }
}

/// The client package of a story, made in `dir`/`name`: its file.
fn client_package(story: &Story, dir: &Path, name: &str) -> PathBuf {
    // The real verifier is bound into the client root; what stands for it in the package is small.
    let stand_in = dir.join("stand-in");
    std::fs::write(&stand_in, "#!/bin/sh\nexit 1\n").expect("written");
    let output = dir.join(name);
    let url = story.world.url();
    let written = story.world.hallmark_ok(&[
        "client",
        "package",
        "--server",
        &url,
        "--trust",
        text(&story.trust),
        "--verifier",
        VERIFIER,
        "--binary",
        text(&stand_in),
        "--dnf4-dir",
        DNF4_DIR,
        "--build",
        "-o",
        text(&output),
    ]);
    let rpm = written
        .lines()
        .find(|line| !line.ends_with(".src.rpm"))
        .unwrap_or_else(|| panic!("no package in {written}"));
    PathBuf::from(rpm)
}

pub(crate) fn publish(world: &World, name: &str, version: &str) {
    let build = Crafted::new(name, version).publish(&world.http).build;
    world.until_published(build);
}

/// A policy that asks for one rebuilder more than anybody has.
fn stricter(policy: &str) -> String {
    let key = StatementKey::from_seed(&[41; 32]).expect("the seed is in range");
    let policy = policy
        .replace("min_rebuilders = 0", "min_rebuilders = 1")
        .replace("min_operators = 0", "min_operators = 1");
    format!(
        "{policy}\n[[rebuilders]]\nname = \"r41\"\noperator = \"op-41\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
        key.public().to_pem()
    )
}

/// A repository of somebody else, with one unsigned package.
fn strangers(machine: &Machine) {
    let dir = machine.dir().join("strangers");
    std::fs::create_dir(&dir).expect("the folder is ours");
    std::fs::write(
        dir.join("stranger-1.0-1.noarch.rpm"),
        binary("stranger", "1.0").bytes(),
    )
    .expect("written");
    let mut createrepo = process::command(process::binary("hallmark"));
    process::run(createrepo.arg("createrepo").arg(&dir));
    let url = format!("file://{}", machine.inside("strangers"));
    machine.repository("strangers", &url, None);
}

#[test]
fn a_package_without_enough_rebuilders_is_refused_though_its_signature_is_good() {
    let clients = Story::clients("a_package_without_enough_rebuilders");
    if clients.is_empty() {
        return;
    }
    let story = Story::begin(&["good", "lonely"]);
    let watch = story.world.watch();
    for client in clients {
        let mut machine = story.machine(client);
        machine.dnf(&["install", "good"]).succeeds(&[]);
        assert!(machine.has("good"));
        // Signature, metadata and digests are as they were; the reader asks for more than the repository did.
        let policy = machine.dir().join("root/etc/hallmark/trust/policy.toml");
        let before = std::fs::read_to_string(&policy).expect("it is installed");
        std::fs::write(&policy, stricter(&before)).expect("written");
        let refusal = [
            "hallmark refuses this transaction: 1 of 1 packages lack evidence",
            "lonely-1.0-1.noarch (world): rebuilds is broken: ",
            "hint: ",
        ];
        machine.dnf(&["install", "lonely"]).refuses(&refusal);
        assert!(!machine.has("lonely"));
        machine.configure(&story.world, "mode = \"warn\"", "");
        machine.dnf(&["install", "lonely"]).succeeds(&[
            "hallmark warns, and lets this transaction go on",
            "rebuilds is broken",
        ]);
        assert!(machine.has("lonely"));
        machine.dnf(&["remove", "lonely"]).succeeds(&[]);
        std::fs::write(&policy, before).expect("written");

        strangers(&machine);
        machine.configure(&story.world, "others = \"refuse\"", "");
        machine
            .dnf(&["install", "stranger"])
            .refuses(&["stranger-1.0-1.noarch (strangers): its repository is not one"]);
        machine.configure(&story.world, "", "");
        machine.dnf(&["install", "stranger"]).succeeds(&[]);
        // A name that the configuration has is verified whatever its URL.
        machine.dnf(&["remove", "stranger"]).succeeds(&[]);
        machine.configure(&story.world, "", "repo_ids = [\"strang*\"]");
        machine
            .dnf(&["install", "stranger"])
            .refuses(&["stranger-1.0-1.noarch (strangers): signature is broken: "]);

        // A configuration that does not read, and a verifier that is not there, refuse too.
        machine.configure(&story.world, "mode = \"hope\"", "");
        machine
            .dnf(&["install", "lonely"])
            .refuses(&["client.toml"]);
        machine.configure(&story.world, "", "");
        machine.has_verifier = false;
        machine.dnf(&["install", "lonely"]).refuses(&[]);
        assert!(!machine.has("lonely"));
        machine.has_verifier = true;
        machine.dnf(&["install", "lonely"]).succeeds(&[]);
        machine.dnf(&["remove", "lonely"]).succeeds(&[]);
    }
    drop(watch);
}

#[test]
fn the_client_package_is_the_same_bytes_each_time_it_is_made() {
    require!(&[Need::Program("rpmbuild")]);
    let story = Story::begin(&[]);
    let dir = story.world.new_dir("packages");
    let made = ["one", "two"].map(|name| {
        let rpm = client_package(&story, &dir, name);
        let source = rpm
            .parent()
            .map(|dir| dir.join("hallmark-client-1-1.src.rpm"));
        let source = source.expect("it is in a folder");
        [rpm, source]
            .map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    });
    assert!(made[0] == made[1], "the packages differ");
}

#[test]
fn what_is_installed_is_verified_and_what_another_repository_brought_is_counted() {
    let clients = Story::clients("what_is_installed_is_verified");
    let [client, ..] = clients[..] else { return };
    let story = Story::begin(&["good", "better"]);
    let watch = story.world.watch();
    let machine = story.machine(client);
    machine.dnf(&["install", "good", "better"]).succeeds(&[]);
    let verify = |more: &[&str]| {
        let trust = machine.inside("root/etc/hallmark/trust");
        let root = machine.inside("root");
        let url = story.world.url();
        let fixed = [
            VERIFIER, "verify", "--trust", &trust, "--server", &url, "--root", &root,
        ];
        machine.run(&[&fixed[..], more, &["installed"]].concat())
    };
    // The client package itself was made here, and is not of the repository.
    verify(&[]).succeeds(&[
        "the policy holds for 2 of 2 packages",
        "1 installed packages are not of this repository",
    ]);
    verify(&["--strict"]).refuses(&["the repository has no package hallmark-client-"]);
    let listed = Repository::new(&story.world.http, BASE).package("good");
    assert!(listed.is_some());
    drop(watch);
}
