//! A whole repository and an installed machine are verified in one run each; what that took is printed, beside what
//! `sha256sum` takes to read the same files. `make bench-verify` asks for more and larger packages:
//!
//! * `HALLMARK_BENCH_VERIFY`: packages, in hundreds (default 2).
//! * `HALLMARK_BENCH_VERIFY_KIB`: KiB of payload of each (default 1).

use crate::cost::Cost;
use crate::{BASE, Story, text};
use hallmark_tests::machine::VERIFIER;
use hallmark_tests::packages::crafted::{Crafted, binary, source};
use hallmark_tests::process;
use repo_model::rpm::{tag, testkit::Field};
use std::path::Path;

const HUNDRED: usize = 100;

fn setting(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Publishes so many hundreds of packages.
fn publish(story: &Story, hundreds: usize, payload_kib: usize) {
    let world = &story.world;
    for build in 0..hundreds {
        let name = format!("lot-{build}");
        let packages = (0..HUNDRED).map(|number| {
            let package = binary(&format!("{name}-{number}"), "1.0");
            let content = vec![number as u8; payload_kib << 10];
            let package = package.file(&format!("/usr/share/{name}-{number}.bin"), &content);
            let source = Field::str(format!("{name}-1.0-1.src.rpm"));
            package.set(tag::SOURCERPM, source).bytes()
        });
        let build = Crafted::of(source(&name, "1.0").bytes(), packages.collect());
        world.until_published(build.publish(&world.http).build);
    }
}

fn tell(what: &str, packages: usize, cost: &Cost) {
    let rate = cost.rate(packages);
    eprintln!("{packages} packages, {what}: {cost}, {rate:.0} a second");
}

fn files(directory: &Path) -> Vec<String> {
    let mut find = process::command("find");
    find.arg(directory).args(["-name", "*.rpm"]);
    let found = process::run(&mut find);
    found.lines().map(str::to_owned).collect()
}

#[test]
fn a_whole_repository_and_an_installed_machine_are_verified_in_one_run_each() {
    let clients = Story::clients("a_whole_repository_and_an_installed_machine");
    let [client, ..] = clients[..] else { return };
    let story = Story::begin(&[]);
    let world = &story.world;
    let watch = world.watch();
    let hundreds = setting("HALLMARK_BENCH_VERIFY", 2);
    publish(&story, hundreds, setting("HALLMARK_BENCH_VERIFY_KIB", 1));
    let packages = hundreds * HUNDRED;
    let holds = format!("the policy holds for {packages} of {packages} packages");

    let machine = story.machine(client);
    let mirror = machine.dir().join("mirror");
    let key = world.dir().join("key.asc");
    std::fs::write(&key, world.http.fetch("/keys/RPM-GPG-KEY")).expect("written");
    let upstream = format!("{}{BASE}", world.url());
    world.hallmark_ok(&[
        "mirror",
        "sync",
        "--key",
        text(&key),
        &upstream,
        text(&mirror),
    ]);
    let all = files(&mirror);
    assert_eq!(all.len(), packages);
    let (_, cost) = Cost::of(|| process::run(process::command("sha256sum").args(&all)));
    tell("read by sha256sum", packages, &cost);
    let verify = |more: &[&str]| {
        let fixed = ["verify", "--trust", text(&story.trust)];
        let (said, cost) = Cost::of(|| world.hallmark_ok(&[&fixed[..], more].concat()));
        assert!(said.contains(&holds), "{said}");
        cost
    };
    let of_server = verify(&[text(&mirror)]);
    tell(
        "a repository, evidence from the server",
        packages,
        &of_server,
    );
    let alone = verify(&["--from", text(&mirror), text(&mirror)]);
    tell("a repository, evidence beside them", packages, &alone);

    // They are in the package database, and no file of theirs on the disk.
    let inside: Vec<String> = all
        .iter()
        .map(|file| {
            let below = Path::new(file).strip_prefix(machine.dir());
            machine.inside(text(below.expect("it is the machine's")))
        })
        .collect();
    let root = machine.inside("root");
    for some in inside.chunks(500) {
        let fixed = [
            "rpm",
            "--root",
            &root,
            "-i",
            "--justdb",
            "--nodeps",
            "--nosignature",
        ];
        let files: Vec<&str> = some.iter().map(String::as_str).collect();
        machine.run(&[&fixed[..], &files].concat()).succeeds(&[]);
    }
    let (url, trust) = (world.url(), machine.inside("root/etc/hallmark/trust"));
    let installed = |more: &[&str]| {
        let fixed = [VERIFIER, "verify", "--trust", &trust, "--root", &root];
        let all = [&fixed[..], more, &["installed"]].concat();
        let (said, cost) = Cost::of(|| machine.run(&all));
        said.succeeds(&[&holds]);
        cost
    };
    let of_server = installed(&["--server", &url]);
    tell("installed, evidence from the server", packages, &of_server);
    let copy = machine.inside("mirror");
    let alone = installed(&["--from", &copy]);
    tell("installed, evidence in a copy", packages, &alone);
    drop(watch);
}
