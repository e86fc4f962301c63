//! How long questions take over a release of 20,000 packages. Slow to set up, so only on request:
//! `cargo test -p repo-server questions_are_answered -- --ignored --nocapture`.

use super::kit::{Kit, Package};
use crate::measured::Goal;
use crate::sbom_index::questions::{
    self, After, Cursor, Depth, FileDigestQuery, Paging, VulnerabilityQuery, Wanted,
};
use crate::sbom_index::requirements::{Requirements, Road};
use repo_model::ReleaseId;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PACKAGES: usize = 20_000;
const GOAL: Goal = Goal {
    rounds: 300,
    limit: Duration::from_millis(50),
};

fn package(number: usize) -> Package {
    let release = if number.is_multiple_of(100) { 2 } else { 1 };
    let mut package = Package::new(
        &format!("package-{number}-1.{}-1.x86_64", number % 7),
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
        let purl = format!("pkg:cargo/crate-{name}@1.{}.0", number % 20);
        package = package.part(&purl, "cargo-auditable", "/usr/bin/x");
    }
    for file in 0..20 {
        package = package.file(
            &format!("/usr/share/p{number}/{file}"),
            ((number + file) % 251) as u8,
        );
    }
    package
}

/// Each package needs six others: within eight steps lie thousands.
fn roads() -> Vec<Road> {
    let options = sbom_gen::Options::default();
    let mut release = sbom_gen::ReleaseBuilder::new(sbom_gen::ReleaseInfo::default(), &options);
    for number in 0..PACKAGES {
        let package = package(number);
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
    for from in (0..PACKAGES).step_by(1_000) {
        kit.add_all((from..from + 1_000).map(package).collect());
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
        kit.ask(move |db| questions::why_here(db, &scope, &wanted, &roads, depth, first));
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
        kit.ask(move |db| questions::package_differences(db, ReleaseId(1), ReleaseId(2), first));
    });
    p99("components that differ", |_| {
        kit.ask(move |db| questions::component_differences(db, ReleaseId(1), ReleaseId(2), first));
    });
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
}
