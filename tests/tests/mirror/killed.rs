//! A sync from two upstreams that is killed at random moments, while they publish: what is served is whole after each
//! kill, and in the end everything is there.

use crate::text;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::packages::crafted::binary;
use hallmark_tests::{process, require};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const KILLS: usize = 50;
const PACKAGES: usize = 60;
/// Large enough to come in ranges from both upstreams.
const LARGE_BYTES: usize = 5 << 20;

/// Uniform enough, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn package(number: usize, version: usize) -> Vec<u8> {
    let name = format!("killed{number}");
    binary(&name, &format!("{version}.0"))
        .payload(&[b'y'; 3_000])
        .bytes()
}

fn large(version: usize) -> Vec<u8> {
    let payload = version.to_le_bytes().repeat(LARGE_BYTES / 8);
    binary("large", &format!("{version}.0"))
        .payload(&payload)
        .bytes()
}

/// Publishes generation `version`: a third of the packages are new, and the old ones go.
fn publish(root: &Path, version: usize) {
    let packages = root.join("Packages");
    let _ = std::fs::remove_dir_all(&packages);
    std::fs::create_dir_all(&packages).expect("the folder is ours");
    for number in 0..PACKAGES {
        let version = if number % 3 == version % 3 {
            version
        } else {
            0
        };
        let name = format!("killed{number}-{version}.0-1.noarch.rpm");
        std::fs::write(packages.join(name), package(number, version)).expect("the folder is ours");
    }
    let name = format!("large-{version}.0-1.noarch.rpm");
    std::fs::write(packages.join(name), large(version)).expect("the folder is ours");
    let mut createrepo = process::command(process::binary("hallmark"));
    let stamp = (1_700_000_000 + version).to_string();
    createrepo.env("SOURCE_DATE_EPOCH", stamp);
    process::run(createrepo.arg("createrepo").arg(root));
}

fn sync(upstreams: &[Nginx; 2], copy: &Path, rate: &str) -> Command {
    let mut sync = process::command(process::binary("hallmark"));
    sync.args([
        "mirror",
        "sync",
        "--no-verify-signature",
        "--delete-after=0",
        "--limit-rate",
        rate,
    ]);
    sync.args(upstreams.iter().map(Nginx::url)).arg(copy);
    sync
}

fn check(copy: &Path) {
    let mut check = process::command(process::binary("hallmark"));
    process::run(check.args(["repo", "check", "--packages", "all", text(copy)]));
}

#[test]
fn a_sync_that_is_killed_fifty_times_ends_whole_and_never_serves_a_torn_copy() {
    require!(NGINX);
    let root = tempfile::tempdir().expect("a temporary folder");
    let (upstream, copy) = (root.path().join("upstream"), root.path().join("copy"));
    publish(&upstream, 1);
    let upstreams = [Nginx::serve(&upstream), Nginx::serve(&upstream)];
    let mut dice = Dice(0x5eed_1234_abcd);
    let (mut cut_off, mut version) = (0, 1);
    for kill in 0..KILLS {
        // Slow enough that most kills hit the fetching, and fast enough that some hit what comes after.
        let rate = ["100K", "1M", "100M"][kill % 3];
        let mut child = sync(&upstreams, &copy, rate)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("hallmark starts");
        std::thread::sleep(Duration::from_millis(5 + dice.below(200)));
        let ended = child.try_wait().expect("it is our child").is_some();
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        cut_off += usize::from(!ended);
        if copy.join("repodata").exists() {
            check(&copy);
        }
        if ended || kill % 7 == 6 {
            version += 1;
            publish(&upstream, version);
        }
    }
    assert!(
        cut_off * 2 > KILLS,
        "only {cut_off} of {KILLS} kills came before the end"
    );
    process::run(&mut sync(&upstreams, &copy, "100M"));
    check(&copy);
    let served = std::fs::read(copy.join("repodata/repomd.xml")).expect("it is there");
    let wanted = std::fs::read(upstream.join("repodata/repomd.xml")).expect("it is there");
    assert_eq!(served, wanted);
    assert_eq!(
        names(&copy.join("Packages")),
        names(&upstream.join("Packages"))
    );
    assert!(
        !copy.join(".hallmark/journal").exists() && !copy.join(".hallmark/stage/repodata").exists()
    );
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it is readable").file_name())
        .collect();
    names.sort();
    names
}
