//! `hallmark mirror sync … s3://…`: a copy in a bucket, followed, cut off, damaged and written to by two at once; and
//! clients that install from the bucket's own server.

use crate::{BASE, STORY, Story, clients, text};
use hallmark_tests::clients::Client;
use hallmark_tests::nginx::{NGINX, Nginx};
use hallmark_tests::packages::crafted::binary;
use hallmark_tests::s3::{BUCKET, S3, S3Server};
use hallmark_tests::tools::BUILDING;
use hallmark_tests::{Repository, process, require};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A place in a bucket, and a directory for what lies on its way there.
struct Lab {
    server: S3Server,
    root: tempfile::TempDir,
}

impl Lab {
    fn start() -> Self {
        Self {
            server: S3Server::start(),
            root: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn upstream(&self) -> PathBuf {
        self.root.path().join("upstream")
    }

    fn hallmark(&self, arguments: &[&str]) -> Command {
        let mut hallmark = process::command(process::binary("hallmark"));
        self.server.for_command(&mut hallmark);
        hallmark.env("XDG_CACHE_HOME", self.root.path().join("cache"));
        hallmark.args(arguments);
        hallmark
    }

    fn sync(&self, url: &str, more: &[&str]) -> Command {
        let place = format!("s3://{BUCKET}/a/b");
        let fixed = ["mirror", "sync", "--no-verify-signature"];
        self.hallmark(&[&fixed[..], more, &[url, &place]].concat())
    }

    /// Publishes these packages, by number and version.
    fn publish(&self, packages: &[(usize, usize)], at: u64) {
        let folder = self.upstream().join("Packages");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        for (number, version) in packages {
            let name = format!("bucket{number}");
            let package = binary(&name, &format!("{version}.0")).payload(&[b'y'; 3_000]);
            let file = folder.join(format!("{name}-{version}.0-1.noarch.rpm"));
            std::fs::write(file, package.bytes()).expect("the folder is ours");
        }
        let mut createrepo = process::command(process::binary("hallmark"));
        createrepo.env("SOURCE_DATE_EPOCH", (1_700_000_000 + at).to_string());
        process::run(createrepo.arg("createrepo").arg(self.upstream()));
    }

    fn check(&self) {
        let url = self.server.url("a/b");
        let fixed = ["repo", "check", "--packages", "all", &url];
        process::run(&mut self.hallmark(&fixed));
    }
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn file(number: usize, version: usize) -> String {
    format!("a/b/Packages/bucket{number}-{version}.0-1.noarch.rpm")
}

#[test]
fn a_copy_in_a_bucket_follows_upstream_and_nothing_new_is_one_request() {
    require!(NGINX, S3);
    let lab = Lab::start();
    lab.publish(&[(0, 1), (1, 1), (2, 1)], 1);
    let nginx = Nginx::serve(&lab.upstream());
    let url = nginx.url();
    let foretold = process::run(&mut lab.sync(&url, &["--dry-run"]));
    assert!(foretold.starts_with("3 packages; to fetch: "), "{foretold}");
    assert!(!lab.server.has("a/b/repodata/repomd.xml"));
    let first = process::run(&mut lab.sync(&url, &[]));
    assert!(first.contains("3 packages"), "{first}");
    lab.check();
    nginx.take_requests();
    let again = process::run(&mut lab.sync(&url, &[]));
    assert!(again.starts_with("nothing new"), "{again}");
    assert_eq!(nginx.take_requests().len(), 1);

    // One new, one dropped.
    lab.publish(&[(0, 1), (1, 1), (3, 1)], 2);
    let report = lab.root.path().join("report.json");
    let more = ["--delete-after=0", "--report", text(&report)];
    process::run(&mut lab.sync(&url, &more));
    lab.check();
    assert!(!lab.server.has(&file(2, 1)) && lab.server.has(&file(3, 1)));
    let fetched = nginx.take_requests();
    let packages = fetched.iter().filter(|(path, _)| path.ends_with(".rpm"));
    assert_eq!(packages.count(), 1, "{fetched:?}");
    let report = std::fs::read_to_string(report).expect("it was written");
    assert!(
        report.contains("\"deleted\"") && report.contains("\"had\""),
        "{report}"
    );

    // What somebody else removed or replaced there is put right.
    lab.server.remove(&file(0, 1));
    let wrong = lab.root.path().join("wrong");
    std::fs::write(&wrong, b"wrong").expect("the folder is ours");
    lab.server.put(&file(1, 1), &wrong);
    process::run(&mut lab.sync(&url, &[]));
    lab.check();
    // No file is left on this machine.
    let mut find = Command::new("find");
    find.arg(lab.root.path().join("cache"));
    let left = process::run(find.args(["-path", "*/store/*/*", "-type", "f"]));
    assert_eq!(left, "");
}

#[test]
fn a_sync_into_a_bucket_that_is_killed_goes_on_and_is_never_seen_torn() {
    require!(NGINX, S3);
    let lab = Lab::start();
    let packages: Vec<(usize, usize)> = (0..40).map(|number| (number, 1)).collect();
    lab.publish(&packages, 1);
    let nginx = Nginx::serve(&lab.upstream());
    let url = nginx.url();
    let mut cut_off = 0;
    for kill in 0..8_u64 {
        let mut child = lab
            .sync(&url, &["--jobs", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("hallmark starts");
        std::thread::sleep(Duration::from_millis(60 + 45 * kill));
        cut_off += usize::from(child.try_wait().expect("it is our child").is_none());
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        if lab.server.has("a/b/repodata/repomd.xml") {
            lab.check();
        }
    }
    assert!(cut_off > 0, "no kill came before the end");
    process::run(&mut lab.sync(&url, &[]));
    lab.check();
    // Cut off in between, each package came a few times at most: what was put is not fetched again.
    let requests = nginx.take_requests();
    let came = requests.iter().filter(|(path, _)| path.ends_with(".rpm"));
    let came = came.count();
    assert!(
        came <= packages.len() + 2 * 8,
        "{came} requests for packages"
    );
}

#[test]
fn a_place_that_two_syncs_write_to_ends_with_one_of_them_and_says_so() {
    require!(NGINX, S3);
    let lab = Lab::start();
    lab.publish(&[(0, 1)], 1);
    let nginx = Nginx::serve(&lab.upstream());
    process::run(&mut lab.sync(&nginx.url(), &[]));
    // While this one fetches, somebody else writes the pointer.
    let many: Vec<(usize, usize)> = (0..30).map(|number| (number, 2)).collect();
    lab.publish(&many, 2);
    let slow = ["--limit-rate", "40K", "--jobs", "1"];
    let mut sync = lab.sync(&nginx.url(), &slow);
    let child = sync.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("hallmark starts");
    let seen = hallmark_tests::wait::until(Duration::from_secs(20), || {
        lab.server
            .has(&file(1, 2))
            .then_some(())
            .ok_or_else(|| "nothing is put yet".to_owned())
    });
    seen.expect("packages are put as they come");
    let other = lab.root.path().join("other.xml");
    std::fs::write(&other, lab.server.get("a/b/repodata/repomd.xml") + "\n").expect("ours");
    lab.server.put("a/b/repodata/repomd.xml", &other);
    let output = child.wait_with_output().expect("it is our child");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("somebody else has changed s3://copies/a/b/repodata/repomd.xml"),
        "{said}"
    );
    process::run(&mut lab.sync(&nginx.url(), &[]));
    lab.check();
}

#[test]
fn whose_fault_it_is_that_a_bucket_cannot_be_used_is_said() {
    require!(S3);
    let lab = Lab::start();
    lab.publish(&[(0, 1)], 1);
    let upstream = format!("file://{}", lab.upstream().display());
    let sync = |place: &str, endpoint: Option<&str>| {
        let mut sync = lab.hallmark(&["mirror", "sync", "--no-verify-signature", &upstream, place]);
        if let Some(endpoint) = endpoint {
            sync.env("AWS_ENDPOINT_URL", endpoint);
        }
        let output = sync.output().expect("hallmark runs");
        (output.status.code(), said(&output))
    };
    for (place, endpoint, code, words) in [
        ("s3://", None, 2, "is not a place in a bucket"),
        ("s3://nowhere/x", None, 1, "there is no s3://nowhere/x"),
        (
            "s3://copies/x",
            Some("http://127.0.0.1:9"),
            3,
            "cannot list s3://copies/x",
        ),
    ] {
        let (found, said) = sync(place, endpoint);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// Each package has its proofs beside it, as at the origin; paths of the packages.
fn proofs_came_along(story: &Story, lab: &Lab) -> Vec<String> {
    let repository = Repository::new(&story.world.http, BASE);
    let packages: Vec<String> = repository
        .packages()
        .into_iter()
        .map(|package| package.href.clone())
        .collect();
    for package in &packages {
        for suffix in [
            ".tlog-proof",
            ".sigstore.json",
            ".vsa.tlog-proof",
            ".vsa.sigstore.json",
        ] {
            let path = format!("{BASE}/{package}{suffix}");
            let here = lab.server.get(path.trim_start_matches('/'));
            let origin = story.world.http.fetch(&path);
            assert!(here.as_bytes() == origin, "{path} is another one");
        }
        let path = format!("{BASE}/{package}.evidence.tar.zst");
        story.world.http.fetch(&path);
        assert!(lab.server.has(path.trim_start_matches('/')), "{path}");
    }
    let common = format!("{BASE}/evidence.tar.zst");
    story.world.http.fetch(&common);
    assert!(lab.server.has(common.trim_start_matches('/')), "{common}");
    packages
}

#[test]
fn clients_install_from_a_bucket_with_every_check_on() {
    require!(BUILDING, S3, Client::Dnf5.needs(), Client::Dnf4.needs());
    let story: &Story = &STORY;
    let _watch = story.world.watch();
    let lab = Lab::start();
    story.world.until("the channel is called fresh", || {
        match story
            .world
            .http
            .get(&format!("{BASE}/freshness.json"))
            .status
        {
            200 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    let url = format!("{}{BASE}", story.world.url());
    let place = format!("s3://{BUCKET}{BASE}");
    let keys = ["--key", text(&story.keys)];
    let fixed = ["mirror", "sync", "--verify-packages"];
    let sync = || lab.hallmark(&[&fixed[..], &keys, &[&url, &place]].concat());
    process::run(&mut sync());
    let packages = proofs_came_along(story, &lab);
    let again = process::run(&mut sync());
    assert!(again.starts_with("nothing new"), "{again}");
    let statement = lab.root.path().join("statement.pub");
    std::fs::write(&statement, story.world.http.fetch("/keys/statement.pub")).expect("ours");
    let fresh = ["--fresh", text(&statement)];
    let verify = |place: &str| {
        let fixed = ["mirror", "verify"];
        let mut verify = lab.hallmark(&[&fixed[..], &keys, &fresh, &[place]].concat());
        verify.output().expect("hallmark runs")
    };
    for whole in [&*place, &format!("s3://{BUCKET}")] {
        let output = verify(whole);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let said = said(&output);
        assert!(said.contains("fresh: preview is at release"), "{said}");
        assert!(
            said.contains("  manifest: ") && said.contains(", signature good"),
            "{said}"
        );
    }
    for client in clients() {
        story.installs(client, &lab.server.url(BASE.trim_start_matches('/')), true);
    }
    // What is lost or too much is named by the manifest; the next sync puts right what was lost.
    let damaged = lab.root.path().join("damaged");
    std::fs::write(&damaged, b"damaged").expect("the folder is ours");
    let below = |path: &str| format!("{}/{path}", BASE.trim_start_matches('/'));
    lab.server.remove(&below(&packages[0]));
    lab.server
        .remove(&below(&format!("{}.tlog-proof", packages[1])));
    lab.server.put(&below("Packages/other.rpm"), &damaged);
    let output = verify(&place);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for wanted in [
        format!("    missing: {}", packages[0]),
        "    extra: Packages/other.rpm".to_owned(),
    ] {
        assert!(said(&output).contains(&wanted), "{}", said(&output));
    }
    process::run(&mut sync());
    proofs_came_along(story, &lab);
    let output = verify(&place);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let name = format!("{}/repodata/repomd.xml.asc", BASE.trim_start_matches('/'));
    lab.server.put(&name, &damaged);
    let output = verify(&place);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}
