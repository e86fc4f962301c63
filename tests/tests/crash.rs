//! `kill -9` of each process at each stage, and at moments that nobody chose: after a restart everything
//! ends as if nothing had happened.

use hallmark_tests::packages::Probe;
use hallmark_tests::process;
use hallmark_tests::repository::Repository;
use hallmark_tests::tools::BUILDING;
use hallmark_tests::world::{SERVER, SIGNER};
use hallmark_tests::{Options, World, require};
use repo_model::HeaderDigest;
use repo_model::rpm::Head;
use repo_model::wire::status::BuildStatus;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BASE: &str = "/preview/base/x86_64";
const REBUILDER: &str = "rebuilder-a";

/// Leases end soon, so that a killed rebuilder's work is given out again; signed builds wait a moment for
/// their release, so that the moment can be caught.
fn world() -> World {
    World::start(&Options {
        lease_secs: 3,
        publish_delay_millis: 1_000,
        ..Options::two_rebuilders()
    })
}

/// Where the pipeline is when the blow falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The manifest has been accepted.
    Received,
    /// The rebuilder has the lease of a build that takes a while.
    Rebuilding,
    /// The server has asked the signer for the packages' signatures.
    Signing,
    /// The server has asked the signer for the release's signatures.
    Publishing,
}

impl Moment {
    const ALL: [Self; 4] = [
        Self::Received,
        Self::Rebuilding,
        Self::Signing,
        Self::Publishing,
    ];
}

/// What was handed over: build numbers, and the packages as they were built.
#[derive(Debug, Default)]
struct Given {
    builds: BTreeSet<u64>,
    packages: BTreeMap<String, HeaderDigest>,
}

impl Given {
    fn publish(&mut self, world: &World, folder: &Path) -> u64 {
        let receipt = &world.publish(&[folder])[0];
        self.add(receipt.build, folder);
        receipt.build
    }

    fn add(&mut self, build: u64, folder: &Path) {
        self.builds.insert(build);
        for entry in std::fs::read_dir(folder)
            .expect("a build's folder")
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".rpm") && !name.ends_with(".src.rpm") {
                let head =
                    Head::parse(&std::fs::read(entry.path()).expect("a package")).expect("an RPM");
                self.packages.insert(name, head.header_digest());
            }
        }
    }

    /// Everything is published once, whole and signed, and nothing else is there.
    fn check(&self, world: &World) {
        for build in &self.builds {
            world.until_build(*build, "is published and nothing is left to do", |status| {
                status.stage.name() == "published" && status.jobs.is_empty()
            });
        }
        let builds = world.builds();
        assert_eq!(
            builds
                .iter()
                .map(|build| build.build)
                .collect::<BTreeSet<_>>(),
            self.builds
        );
        let repository = Repository::new(&world.http, BASE);
        let listed = repository.check_everything();
        let mut found = BTreeMap::new();
        for package in &listed {
            let head =
                Head::parse(&world.http.fetch(&repository.path(&package.href))).expect("an RPM");
            let name = package
                .href
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            assert_eq!(
                found.insert(name, head.header_digest()),
                None,
                "{} is listed twice",
                package.href
            );
        }
        assert_eq!(found, self.packages);
        check_releases(world);
        check_statements(&builds);
        let mut audit = process::command(process::binary("hallmark-signer"));
        let words = process::run(
            audit
                .args(["audit", "verify", "--config"])
                .arg(world.config_file()),
        );
        assert!(words.contains("records"), "{words}");
        check_nothing_is_left(world);
    }
}

/// Release numbers follow each other without a gap, each is whole, and their instants grow.
fn check_releases(world: &World) {
    let releases = world.releases();
    let numbers: Vec<_> = releases.iter().map(|release| release.id.0).collect();
    let expected: Vec<_> = (1..=numbers.len() as u64).rev().collect();
    assert_eq!(numbers, expected);
    assert!(
        releases
            .windows(2)
            .all(|pair| pair[0].issued > pair[1].issued)
    );
    assert_eq!(world.channel("preview"), numbers[0]);
    for release in &releases {
        Repository::new(&world.http, &format!("/r/{}/base/x86_64", release.id)).check_everything();
    }
}

/// Every package has exactly one summary of the signer and a confirming rebuild of each rebuilder.
fn check_statements(builds: &[BuildStatus]) {
    for package in builds.iter().flat_map(|build| &build.packages) {
        let count = |kind: &str| {
            package
                .evidence
                .iter()
                .filter(|link| link.kind == kind)
                .count()
        };
        assert_eq!(
            count("verification-summary"),
            1,
            "{}: {:?}",
            package.nevra,
            package.evidence
        );
        let formats: Vec<_> = package
            .evidence
            .iter()
            .filter(|link| link.kind == "sbom")
            .map(|link| link.label.as_str())
            .collect();
        let distinct: BTreeSet<_> = formats.iter().copied().collect();
        assert_eq!(
            formats.len(),
            distinct.len(),
            "one document a format: {formats:?}"
        );
        assert!(
            distinct.is_superset(&BTreeSet::from(["cyclonedx-1.6", "spdx-2.3"])),
            "{formats:?}"
        );
        let rebuilders: BTreeSet<_> = package
            .evidence
            .iter()
            .filter(|link| link.kind == "rebuild")
            .map(|link| link.label.as_str())
            .collect();
        assert_eq!(rebuilders, BTreeSet::from(["rebuilder-a", "rebuilder-b"]));
    }
    for rebuild in builds.iter().flat_map(|build| &build.rebuilds) {
        assert_eq!(rebuild.state, "done", "{rebuild:?}");
    }
}

/// No build of a dead rebuilder runs on, no scratch folder and no half upload stays.
fn check_nothing_is_left(world: &World) {
    let work_dirs = ["rebuilder-a.work", "rebuilder-b.work"].map(|name| world.dir().join(name));
    world.until("the rebuilders have tidied up", || {
        let mut left = processes_in(&work_dirs);
        for dir in &work_dirs {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
    // A start tidies up what the one before left half-way.
    assert!(world.process(SERVER).stop().success(), "a clean end");
    world.start_process(SERVER);
    world.until_ready();
    // An upload that nobody goes on with waits for the sweep; one whose blob is there must not stay.
    for entry in std::fs::read_dir(world.data_dir().join("spool"))
        .expect("the spool is there")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let digest = name.split('-').next().unwrap_or_default();
        assert_eq!(
            world.http.get(&format!("/api/v1/blobs/{digest}")).status,
            404,
            "{name} is stored and spooled"
        );
    }
}

fn processes_in(dirs: &[PathBuf]) -> Vec<String> {
    let processes = std::fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten();
    let commands = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let commands = commands.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    commands
        .filter(|command| {
            dirs.iter()
                .any(|dir| command.contains(&*dir.to_string_lossy()))
        })
        .collect()
}

fn job_runs(status: &BuildStatus, name: &str) -> bool {
    status
        .jobs
        .iter()
        .any(|job| job.name == name && job.state == "running")
}

/// Publishes a probe and kills `victim` at `moment`. The signer stands still while a request to it is
/// awaited, so that the moment cannot pass unseen; `false` when the release was faster than we were.
fn kill_at(world: &World, given: &mut Given, victim: &str, moment: Moment, name: &str) -> bool {
    let folder = Probe::slow(name, 1).built();
    match moment {
        Moment::Received => {
            given.publish(world, &folder);
            world.crash(victim);
        }
        Moment::Rebuilding => {
            let build = given.publish(world, &folder);
            world.until_build(build, "is being rebuilt", |status| {
                status.rebuilds.iter().any(|rebuild| {
                    rebuild.rebuilder.as_str() == REBUILDER && rebuild.state == "leased"
                })
            });
            world.crash(victim);
        }
        Moment::Signing => {
            world.process(SIGNER).freeze();
            let build = given.publish(world, &folder);
            world.until_build(build, "is being signed", |status| job_runs(status, "sign"));
            world.crash(victim);
        }
        Moment::Publishing => {
            let build = given.publish(world, &folder);
            world.until_build(build, "is signed", |status| {
                ["signed", "published"].contains(&status.stage.name())
            });
            world.process(SIGNER).freeze();
            let in_time = world.until("the release is being signed", || {
                let text = String::from_utf8(world.http.fetch("/metrics")).expect("text");
                let running = "hallmark_jobs{name=\"publish\",state=\"running\"} 1";
                let published = world.build(build).stage.name() == "published";
                if published || text.contains(running) {
                    Ok(!published)
                } else {
                    Err(text)
                }
            });
            if !in_time {
                world.process(SIGNER).thaw();
                return false;
            }
            world.crash(victim);
        }
    }
    if victim != SIGNER && matches!(moment, Moment::Signing | Moment::Publishing) {
        world.process(SIGNER).thaw();
    }
    true
}

fn killed_at_every_stage(victim: &str) {
    let owned = world();
    let world = owned.watch();
    let mut given = Given::default();
    for moment in Moment::ALL {
        let moment_name = format!("{moment:?}").to_lowercase();
        let hit = (0..5).any(|n| {
            kill_at(
                &world,
                &mut given,
                victim,
                moment,
                &format!("crash-{moment_name}-{n}"),
            )
        });
        assert!(hit, "the moment of {moment_name} was missed five times");
        for build in &given.builds {
            world.until_published(*build);
        }
    }
    given.check(&world);
}

#[test]
fn the_server_killed_at_each_stage_goes_on_where_it_was() {
    require!(BUILDING);
    killed_at_every_stage(SERVER);
}

#[test]
fn the_signer_killed_at_each_stage_goes_on_where_it_was() {
    require!(BUILDING);
    killed_at_every_stage(SIGNER);
}

#[test]
fn a_rebuilder_killed_at_each_stage_goes_on_where_it_was() {
    require!(BUILDING);
    killed_at_every_stage(REBUILDER);
}

/// xorshift: a run can be repeated with `HALLMARK_TEST_SEED`.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let given = std::env::var("HALLMARK_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let seed: u64 = given.unwrap_or(now.subsec_nanos().into());
        eprintln!("HALLMARK_TEST_SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn kills_at_any_moment_change_nothing_in_the_end() {
    const KILLS: u32 = 14;
    require!(BUILDING);
    let owned = world();
    let world = owned.watch();
    let folders: Vec<_> = (0..6)
        .map(|n| Probe::new(&format!("storm-{n}")).built())
        .collect();
    let mut chance = Chance::new();
    let mut given = Given::default();
    let processes = [SERVER, SIGNER, "rebuilder-a", "rebuilder-b"];
    let receipts = std::thread::scope(|scope| {
        // Uploads are hit too: the command tries again until the server is back.
        let publisher = scope.spawn(|| {
            folders
                .iter()
                .map(|folder| world.publish(&[folder])[0].build)
                .collect::<Vec<_>>()
        });
        for _ in 0..KILLS {
            // Not a wait for anything: where in the work the blow falls is left to chance.
            std::thread::sleep(Duration::from_millis(50 + chance.below(500)));
            let victim = processes[usize::try_from(chance.below(4)).expect("it is small")];
            eprintln!("kill -9 {victim}");
            world.crash(victim);
        }
        publisher.join().expect("everything is handed over")
    });
    for (build, folder) in receipts.into_iter().zip(&folders) {
        given.add(build, folder);
    }
    given.check(&world);
}
