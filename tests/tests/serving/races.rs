//! Clients that read while releases come out.

use crate::BASE;
use hallmark_tests::clients::{Client, Installation, Outcome};
use hallmark_tests::http::Http;
use hallmark_tests::packages::crafted::Crafted;
use hallmark_tests::repository::{self, Repository, gpgv};
use hallmark_tests::tools::Need;
use hallmark_tests::{Options, World, require};
use repo_model::FileDigest;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

/// A client as DNF is one: repomd.xml, its signature, then everything that it names; no step may fail.
/// Returns every pair that it saw.
fn read_again_and_again(
    http: &Http,
    source: Ipv4Addr,
    done: &AtomicBool,
) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let fetch = |path: &str| {
        let answer = http.get_from(source, &format!("{BASE}/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.body
    };
    let mut seen = BTreeSet::new();
    while !done.load(Ordering::SeqCst) {
        let repomd = fetch("repodata/repomd.xml");
        let signature = fetch("repodata/repomd.xml.asc");
        for file in repository::metadata_files(&String::from_utf8_lossy(&repomd)) {
            assert_eq!(
                FileDigest::of(&fetch(&file.href)),
                file.digest,
                "{}",
                file.href
            );
        }
        seen.insert((repomd, signature));
    }
    seen
}

#[test]
fn while_releases_come_out_no_client_sees_a_torn_repository() {
    const RELEASES: usize = 15;
    require!([Need::Program("gpgv"), Need::Program("gpg")]);
    let owned = World::start(&Options {
        publish_delay_millis: 0,
        ..Options::no_rebuilds()
    });
    let world = owned.watch();
    let http = world.http.with_token(None);
    let done = AtomicBool::new(false);
    let pairs: BTreeSet<_> = std::thread::scope(|scope| {
        let sources = (2..5).map(|last| Ipv4Addr::new(127, 0, 0, last));
        let (http, done) = (&http, &done);
        let readers: Vec<_> = sources
            .map(|source| scope.spawn(move || read_again_and_again(http, source, done)))
            .collect();
        for number in 0..RELEASES {
            let build = Crafted::new(&format!("flood{number}"), "1.0")
                .publish(&world.http)
                .build;
            world.until_published(build);
        }
        done.store(true, Ordering::SeqCst);
        readers
            .into_iter()
            .flat_map(|reader| reader.join().expect("no reader failed"))
            .collect()
    });
    let keys = String::from_utf8(world.http.fetch("/keys/RPM-GPG-KEY-metadata")).expect("text");
    let scratch = world.new_dir("gpg");
    for (repomd, signature) in &pairs {
        gpgv(&scratch, &keys, signature, repomd).expect("the signature is of this repomd.xml");
    }
    let repomds: BTreeSet<_> = pairs.iter().map(|(repomd, _)| repomd).collect();
    assert_eq!(
        repomds.len(),
        pairs.len(),
        "one signature for each repomd.xml"
    );
    assert!(
        pairs.len() > RELEASES / 3,
        "only {} of {RELEASES} releases were seen",
        pairs.len()
    );
    assert_eq!(
        Repository::new(&world.http, BASE).check_everything().len(),
        RELEASES
    );
}

#[test]
fn dnf5_reads_soundly_while_releases_come_out() {
    require!(Client::Dnf5.needs());
    let owned = World::start(&Options {
        publish_delay_millis: 0,
        ..Options::no_rebuilds()
    });
    let world = owned.watch();
    let build = Crafted::new("wanted", "1.0").publish(&world.http).build;
    world.until_published(build);
    let key_url = world.http.url("/keys/RPM-GPG-KEY");
    let done = AtomicBool::new(false);
    let installs = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                let build = Crafted::new(&format!("flood{count}"), "1.0")
                    .publish(&world.http)
                    .build;
                world.until_published(build);
                count += 1;
            }
            count
        });
        let outcomes: Vec<_> = (0..3)
            .map(|_| {
                let wanted = Installation {
                    base_url: &world.http.url(BASE),
                    key: "",
                    key_url: Some(&key_url),
                    check_metadata: true,
                    package: "wanted",
                };
                Client::Dnf5.install(&world, &wanted)
            })
            .collect();
        done.store(true, Ordering::SeqCst);
        (outcomes, publisher.join().expect("no release failed"))
    });
    let (outcomes, releases) = installs;
    for outcome in &outcomes {
        assert_eq!(
            *outcome,
            Outcome::Installed(vec!["wanted-1.0-1.noarch".to_owned()])
        );
    }
    assert!(releases > 2, "only {releases} releases came out meanwhile");
}
