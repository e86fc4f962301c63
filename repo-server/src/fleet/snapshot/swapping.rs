//! Clients ask without a pause while one snapshot takes the other's place: every answer is whole and of one snapshot, two
//! answers from one snapshot agree, and nobody is told anything older than what he was told before.

use super::super::Fleet;
use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const READERS: usize = 4;
const MIRRORS: usize = 12;
const REPOS: [&str; 2] = ["base", "extra"];
/// Snapshots that each reader must have met.
const MET_AT_LEAST: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

fn answers(number: i64, repo: &str) -> Answers {
    let text = format!("<repomd>{repo} {number}</repomd>");
    let repomd = Repomd::of(text.as_bytes(), Timestamp::from_unix_secs(number));
    let earlier = Repomd::of(b"<repomd/>", Timestamp::from_unix_secs(number - 1));
    let base = |host: &str| format!("https://{host}/{number}/{repo}/");
    let prepared = |base: &str| {
        let file = format!("{base}repodata/repomd.xml");
        Prepared::new(Protocol::Https, None, &file)
    };
    let listed = |mirror: usize| {
        let base = base(&format!("m{mirror}.example"));
        Listed {
            spot: Spot {
                name: format!("m{mirror}"),
                country: None,
                asns: Vec::new(),
                netblocks: Vec::new(),
                weight: 100,
                private: false,
                preferred: false,
                current: true,
            },
            addresses: vec![Address {
                protocol: Protocol::Https,
                metalink: prepared(&base),
                base,
            }],
        }
    };
    let origin_base = base("origin.example");
    Answers {
        head: Head::new(&repomd, &[earlier]),
        origin: prepared(&origin_base),
        origin_base,
        listed: (0..MIRRORS).map(listed).collect(),
    }
}

fn snapshot(number: i64) -> Snapshot {
    let repos = REPOS.map(|repo| {
        let arches = HashMap::from([("x86_64".parse().unwrap(), answers(number, repo))]);
        (repo.parse().unwrap(), arches)
    });
    Snapshot {
        places: HashMap::from([("stable".parse().unwrap(), HashMap::from(repos))]),
        has_mirrors: true,
    }
}

fn asker(reader: usize) -> Asker {
    Asker {
        address: format!("192.0.2.{reader}").parse().unwrap(),
        countries: Vec::new(),
        asn: None,
    }
}

const WISH: Wish = Wish {
    protocol: None,
    most: 10,
    origin_first: false,
};

/// Asks once; of which snapshot the answers are. They are made again from that one alone, to compare with.
fn ask(fleet: &Fleet, reader: usize) -> i64 {
    let now = fleet.snapshot();
    let asker = asker(reader);
    let [base, extra] = REPOS.map(|repo| {
        let (channel, arch) = ("stable".parse().unwrap(), "x86_64".parse().unwrap());
        let found = now.answers(&channel, &repo.parse().unwrap(), &arch);
        let found = found.expect("each snapshot has both repositories");
        let metalink = found.metalink(&asker, WISH);
        let number = metalink.split_once("<mm0:timestamp>").unwrap().1;
        let number: i64 = number.split_once('<').unwrap().0.parse().unwrap();
        let alone = answers(number, repo);
        assert_eq!(metalink, alone.metalink(&asker, WISH));
        assert_eq!(
            found.mirrorlist(&asker, WISH),
            alone.mirrorlist(&asker, WISH)
        );
        number
    });
    assert_eq!(base, extra, "both are of one snapshot");
    base
}

#[test]
fn every_answer_is_of_one_snapshot_while_others_take_its_place() {
    let fleet = Fleet::default();
    fleet.show(snapshot(1));
    let (content, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let shown = thread::scope(|scope| {
        let readers = (0..READERS).map(|reader| {
            let (fleet, content, stop) = (&fleet, &content, &stop);
            scope.spawn(move || {
                let (mut last, mut met) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let number = ask(fleet, reader);
                    assert!(number >= last, "{number} after {last}");
                    if number > last {
                        met += 1;
                    }
                    if met == MET_AT_LEAST && number > last {
                        content.fetch_add(1, Ordering::Relaxed);
                    }
                    last = number;
                }
                met
            })
        });
        let readers: Vec<_> = readers.collect();
        let begun = Instant::now();
        let mut shown = 1;
        while content.load(Ordering::Relaxed) < READERS
            && begun.elapsed() < PATIENCE
            && !readers.iter().any(|reader| reader.is_finished())
        {
            shown += 1;
            fleet.show(snapshot(shown));
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let met = reader.join().expect("each of its answers was right");
            assert!(met >= MET_AT_LEAST, "{met} snapshots in {PATIENCE:?}");
        }
        shown
    });
    assert_eq!(ask(&fleet, 0), shown, "the last one stays");
}
