//! How long questions take over releases of 20,000 packages. Slow to set up, so only on request:
//! `cargo test -p repo-server questions_are_answered -- --ignored --nocapture`.

use super::kit::{Kit, Package};
use crate::measured::Goal;
use crate::sbom_index::SbomIndex;
use crate::sbom_index::questions::{
    self, After, AskError, Cursor, Depth, FileDigestQuery, Paging, VulnerabilityQuery, Wanted,
};
use crate::sbom_index::requirements::{Requirements, Road};
use repo_model::ReleaseId;
use repo_model::wire::sbom::{Difference, Page};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PACKAGES: usize = 20_000;
const GOAL: Goal = Goal {
    rounds: 300,
    limit: Duration::from_millis(50),
};

/// Packages from this number on hold a part that none holds of those which a package before it requires.
const FAR: usize = 15_000;
/// The release in which every package was built anew, with other versions of half of what is inside.
const REBUILT: u64 = 3;

/// * `built`: 1, and 2 when it comes with [`REBUILT`].
fn package(number: usize, built: usize) -> Package {
    let release = match (built, number % 100) {
        (1, 0) => 2,
        (1, _) => 1,
        _ => REBUILT,
    };
    let mut package = Package::new(
        &format!("package-{number}-{built}.{}-1.x86_64", number % 7),
        release,
    )
    .licence(
        &format!("L{}", number % 150),
        &format!("LicenseRef-L{}", number % 150),
    )
    .tools(&["gcc 14.1.0-1 amd64"]);
    for part in 0..15 {
        // A few parts are in very many packages.
        let name = if part < 3 {
            part
        } else {
            (number * 31 + part * 17) % 8_000
        };
        let major = if part % 2 == 0 { built } else { 1 };
        let purl = format!("pkg:cargo/crate-{name}@{major}.{}.0", number % 20);
        package = package.part(&purl, "cargo-auditable", "/usr/bin/x");
    }
    if number >= FAR {
        package = package.part("pkg:cargo/crate-far@1.0.0", "cargo-auditable", "/usr/bin/x");
    }
    for file in 0..20 {
        package = package.file(
            &format!("/usr/share/p{number}/{file}"),
            ((number + file) % 251) as u8,
        );
    }
    match built {
        1 => package.removed(REBUILT),
        _ => package,
    }
}

/// Each package needs six others: within eight steps lie thousands.
fn roads() -> Vec<Road> {
    let options = sbom_gen::Options::default();
    let mut release = sbom_gen::ReleaseBuilder::new(sbom_gen::ReleaseInfo::default(), &options);
    for number in 0..PACKAGES {
        let package = package(number, 1);
        let mut member = sbom_gen::Member::named(package.nevra.clone(), false);
        let plain = |name: String| repo_model::rpm::Dependency {
            name,
            version: None,
            sense: 0,
        };
        member.provides = vec![plain(package.nevra.name.clone())];
        let needs = (1..=6).map(|step| format!("package-{}", number / 2 + step * step * 3));
        member.requires = needs.map(plain).collect();
        let file = package.signed_file().to_hex();
        member.digests = vec![(sbom_gen::Algorithm::Sha256, file)];
        release.add(member).unwrap();
    }
    vec![Road {
        repo: "base".parse().unwrap(),
        arch: "x86_64".parse().unwrap(),
        requirements: Arc::new(Requirements::of(&release.finish())),
        stored: repo_model::FileDigest::of(b"requirements"),
    }]
}

fn p99(name: &str, ask: impl FnMut(usize)) {
    GOAL.p99(name, ask);
}

#[test]
#[ignore = "indexes 20,000 packages"]
fn questions_are_answered_in_time_over_twenty_thousand_packages() {
    let mut kit = Kit::new();
    let started = Instant::now();
    for built in [1, 2] {
        for from in (0..PACKAGES).step_by(1_000) {
            let some = from..from + 1_000;
            kit.add_all(some.map(|number| package(number, built)).collect());
        }
    }
    let size = std::fs::metadata(crate::layout::sbom_index(kit.dir.path()))
        .unwrap()
        .len();
    eprintln!("indexed in {:?}, {} MB", started.elapsed(), size >> 20);
    let records: Vec<(String, String)> = (0..4_000)
        .map(|n| {
            let json = format!(
                r#"{{"id":"R-{n}","affected":[{{"package":{{"ecosystem":"crates.io","name":"crate-{}"}},
                   "ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}},{{"fixed":"1.5.0"}}]}}]}}]}}"#,
                n * 3
            );
            (format!("{n}.json"), json)
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    for (name, json) in &records {
        std::fs::write(folder.path().join(name), json).unwrap();
    }
    let import = super::super::osv_import::import(kit.dir.path(), folder.path(), &[]);
    kit.runtime.block_on(import).unwrap();
    ask_all(&kit);
}

fn ask_all(kit: &Kit) {
    let first = Paging {
        after: After::default(),
        limit: 100,
    };
    p99("who ships a part of every package", |round| {
        let wanted =
            Wanted::parse(&format!("pkg:cargo/crate-{}", round % 3), Some("< 1.3")).unwrap();
        let scope = Kit::scope(2);
        kit.ask(move |db| questions::who_ships(db, &scope, &wanted, first));
    });
    p99("who ships a rare part", |round| {
        let wanted = Wanted::parse(&format!("crate-{}", 10 + round), None).unwrap();
        let scope = Kit::scope(2);
        kit.ask(move |db| questions::who_ships(db, &scope, &wanted, first));
    });
    p99("why", |round| {
        let wanted = Wanted::parse(&format!("crate-{}", 10 + round), None).unwrap();
        let scope = Kit::scope(2);
        kit.ask(move |db| questions::why(db, &scope, &wanted, first));
    });
    let roads = roads();
    p99("why, through what a package requires", |round| {
        let wanted = Wanted::parse(&format!("crate-{}", 10 + round), None).unwrap();
        let mut scope = Kit::scope(2);
        scope.package = Some(format!("package-{}", round * 50));
        let (roads, depth) = (roads.clone(), Depth::default());
        let index = kit.index.clone();
        kit.ask(move |db| questions::why_here(&index, db, &scope, &wanted, &roads, depth, first));
    });
    p99("what needs a package", |round| {
        let mut scope = Kit::scope(2);
        scope.package = Some(format!("package-{}", round * 7));
        let (roads, depth) = (roads.clone(), Depth::default());
        kit.ask(move |db| questions::needing(db, &scope, &roads, depth, first));
    });
    p99("built with", |_| {
        let (scope, range) = (Kit::scope(2), "< 14.2".parse().unwrap());
        kit.ask(move |db| questions::built_with(db, &scope, "gcc", &range, first));
    });
    p99("file by digest", |round| {
        let wanted = FileDigestQuery::parse(&format!("{:02x}", round % 251).repeat(32)).unwrap();
        let scope = Kit::scope(2);
        kit.ask(move |db| questions::files(db, &scope, &wanted, first));
    });
    p99("licences", |_| {
        let index = kit.index.clone();
        kit.ask(move |db| questions::licences(&index, db, ReleaseId(2)));
    });
    p99("packages that differ", |_| {
        let index = kit.index.clone();
        let (from, to) = (ReleaseId(1), ReleaseId(2));
        kit.ask(move |db| questions::package_differences(&index, db, from, to, first));
    });
    p99("components that differ", |_| {
        let index = kit.index.clone();
        let (from, to) = (ReleaseId(1), ReleaseId(2));
        kit.ask(move |db| questions::component_differences(&index, db, from, to, first));
    });
    differences_of_everything(kit);
    p99("vulnerabilities, page by page", {
        let mut after = Cursor::default();
        move |_| {
            let (scope, query) = (Kit::scope(2), VulnerabilityQuery::default());
            let page =
                kit.ask(move |db| questions::vulnerabilities(db, &scope, &query, after, 100));
            after = page
                .next
                .map_or_else(Cursor::default, |next| next.parse().unwrap());
        }
    });
    p99("why, through requirements, and nothing is found", |round| {
        let wanted = Wanted::parse("crate-far", None).unwrap();
        let mut scope = Kit::scope(2);
        scope.package = Some(format!("package-{}", FAR - 1 - round));
        let (roads, depth) = (roads.clone(), Depth::default());
        let index = kit.index.clone();
        kit.ask(move |db| questions::why_here(&index, db, &scope, &wanted, &roads, depth, first));
    });
}

/// Two releases that share no package: the first question about them, and page by page.
fn differences_of_everything(kit: &Kit) {
    type Answer = Result<Page<Difference>, AskError>;
    type Ask = fn(&SbomIndex, &Connection, ReleaseId, ReleaseId, Paging) -> Answer;
    let questions: [(&str, Ask); 2] = [
        ("all packages differ", questions::package_differences),
        ("components of all differ", questions::component_differences),
    ];
    for (name, question) in questions {
        let ask = |after| {
            let (index, paging) = (kit.index.clone(), Paging { after, limit: 100 });
            kit.ask(move |db| question(&index, db, ReleaseId(2), ReleaseId(REBUILT), paging))
        };
        let started = Instant::now();
        let mut next = ask(After::default()).next;
        eprintln!("{name}, the first time: {:?}", started.elapsed());
        p99(&format!("{name}, page by page"), |_| {
            let after = next.take().map(|next| next.parse().unwrap());
            next = ask(after.unwrap_or_default()).next;
        });
    }
}
