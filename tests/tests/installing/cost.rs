//! A transaction of 200 packages is judged by one process; what that took is printed. `make bench-verify` has programs
//! that are built for speed do it, and holds them to the goal of the design.

use crate::{BASE, Story, text};
use hallmark_tests::packages::crafted::{Crafted, binary, source};
use hallmark_tests::process;
use hallmark_tests::repository::Repository;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PACKAGES: usize = 200;
/// What a transaction of so many packages may take longer for it.
const GOAL: Duration = Duration::from_secs(1);

#[test]
fn two_hundred_packages_are_judged_in_one_go() {
    let story = Story::begin(&[]);
    let world = &story.world;
    let watch = world.watch();
    let name = |number: usize| format!("many-{number}");
    let packages = (0..PACKAGES).map(|number| {
        let package = binary(&name(number), "1.0");
        let source = repo_model::rpm::testkit::Field::str("many-1.0-1.src.rpm");
        package.set(repo_model::rpm::tag::SOURCERPM, source).bytes()
    });
    let build = Crafted::of(source("many", "1.0").bytes(), packages.collect());
    world.until_published(build.publish(&world.http).build);
    let dir = world.new_dir("packages");
    let listed = Repository::new(&world.http, BASE).packages();
    let incoming: Vec<_> = (0..PACKAGES)
        .map(|number| {
            let mut packages = listed.iter();
            let package = packages.find(|package| package.name == name(number));
            let package = package.expect("it is listed");
            let path = dir.join(format!("{number}.rpm"));
            let bytes = world.http.fetch(&format!("{BASE}/{}", package.href));
            std::fs::write(&path, bytes).expect("written");
            serde_json::json!({"nevra": name(number), "repo_id": "world", "paths": [path]})
        })
        .collect();
    let transaction = serde_json::json!({
        "repositories": [{"id": "world", "urls": [format!("{}{BASE}/", world.url())]}],
        "packages": incoming,
    });
    let file = dir.join("transaction.json");
    std::fs::write(&file, transaction.to_string()).expect("written");
    let config = dir.join("client.toml");
    let settings = format!(
        "cache_dir = \"{}\"\n[[repository]]\nserver_url = \"{}\"\ntrust_dir = \"{}\"\n",
        text(&dir.join("evidence")),
        world.url(),
        text(&story.trust)
    );
    std::fs::write(&config, settings).expect("written");
    let check = || -> Cost {
        let input = std::fs::File::open(&file).expect("it is there");
        let mut command = process::command(process::binary("hallmark"));
        command
            .args(["client", "check", "--config"])
            .arg(&config)
            .stdin(Stdio::from(input));
        let (said, cost) = Cost::of(|| process::run(&mut command));
        let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let judged = report["packages"].as_array().expect("a list");
        assert_eq!(judged.len(), PACKAGES);
        assert!(judged.iter().all(|one| one["outcome"] == "holds"), "{said}");
        cost
    };
    let (first, second) = (check(), check());
    eprintln!(
        "{PACKAGES} packages of a transaction: {first} at first, {second} with their evidence here (goal {GOAL:?})"
    );
    if std::env::var_os("HALLMARK_BENCH_VERIFY").is_some() {
        let met = [&first, &second].iter().all(|cost| cost.wall < GOAL);
        assert!(met, "the goal is not met: {first}, {second}");
    }
    // Of the files of a whole directory, as of a mirror.
    let files = text(&dir).to_owned();
    let (said, cost) =
        Cost::of(|| world.hallmark_ok(&["verify", "--trust", text(&story.trust), &files]));
    assert!(said.contains("the policy holds for 200 of 200"), "{said}");
    eprintln!("{PACKAGES} files of a directory: {cost}");
    drop(watch);
}

pub(crate) struct Cost {
    wall: Duration,
    /// Of the process, the server's not included.
    cpu: Duration,
}

impl Cost {
    /// What work came to, and what it cost; it must end the processes that it starts.
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        let (start, before) = (Instant::now(), children_cpu());
        let result = work();
        let cost = Self {
            wall: start.elapsed(),
            cpu: children_cpu() - before,
        };
        (result, cost)
    }

    /// So many of them a second.
    pub(crate) fn rate(&self, count: usize) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wall, cpu } = self;
        write!(f, "{wall:.0?} ({cpu:?} of processor time)")
    }
}

/// What processes that have ended took of the processor.
fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<u64> = after_name
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // `cutime` and `cstime`, in hundredths of a second.
    Duration::from_millis((fields[13] + fields[14]) * 10)
}
