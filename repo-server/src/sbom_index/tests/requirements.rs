//! Why something is on a machine: through packages that need others.

use super::ALL;
use super::kit::{Kit, Package};
use crate::sbom_index::questions::{Depth, Paging, Wanted, needing, why_here};
use crate::sbom_index::requirements::{Requirements, Road};
use repo_model::wire::sbom::{Page, Why};
use sbom_gen::{Algorithm, Member, Options, ReleaseBuilder, ReleaseInfo};
use std::sync::Arc;

const NET: &str = "pkg:golang/golang.org/x/net@v0.37.0";
const SERDE: &str = "pkg:cargo/serde@1.0.0";

/// Packages with what each requires, by name.
fn world(arch: &str, packages: Vec<(Package, &[&str])>) -> (Kit, Vec<Road>) {
    let options = Options::default();
    let mut release = ReleaseBuilder::new(ReleaseInfo::default(), &options);
    let mut kit = Kit::new();
    let mut rows = Vec::new();
    for (package, requires) in packages {
        let mut member = Member::named(package.nevra.clone(), false);
        let plain = |name: &str| repo_model::rpm::Dependency {
            name: name.to_owned(),
            version: None,
            sense: 0,
        };
        member.provides = vec![plain(&package.nevra.name)];
        member.requires = requires.iter().copied().map(plain).collect();
        member.digests = vec![(Algorithm::Sha256, package.signed_file().to_hex())];
        release.add(member).unwrap();
        rows.push(package);
    }
    kit.add_all(rows);
    let road = Road {
        repo: "base".parse().unwrap(),
        arch: arch.parse().unwrap(),
        requirements: Arc::new(Requirements::of(&release.finish())),
        stored: repo_model::FileDigest::of(b"requirements"),
    };
    (kit, vec![road])
}

/// `app` needs `left` and `right`, both need `deep`, which holds NET; `right` holds SERDE, `app` too.
fn diamond() -> (Kit, Vec<Road>) {
    let deep = Package::new("deep-1-1.x86_64", 1).part(NET, "go-buildinfo", "/usr/bin/deep");
    let right =
        Package::new("right-1-1.x86_64", 1).part(SERDE, "cargo-auditable", "/usr/bin/right");
    let app = Package::new("app-1-1.x86_64", 1).part(SERDE, "cargo-auditable", "/usr/bin/app");
    world(
        "x86_64",
        vec![
            (app, &["left", "right"]),
            (Package::new("left-1-1.x86_64", 1), &["deep"]),
            (right, &["deep", "app"]),
            (deep, &[]),
            (
                Package::new("other-1-1.x86_64", 1).part(NET, "bundled-provide", ""),
                &[],
            ),
        ],
    )
}

fn ask(
    kit: &Kit,
    roads: &[Road],
    package: &str,
    what: &str,
    depth: &str,
    paging: Paging,
) -> Page<Why> {
    let mut scope = Kit::scope(1);
    scope.package = Some(package.to_owned());
    let wanted = Wanted::parse(what, None).unwrap();
    let (roads, depth): (_, Depth) = (roads.to_vec(), depth.parse().unwrap());
    let index = kit.index.clone();
    kit.ask(move |db| why_here(&index, db, &scope, &wanted, &roads, depth, paging))
}

/// `how: kind name -> kind name`
fn lines(page: &Page<Why>) -> Vec<String> {
    let line = |why: &Why| {
        let steps = why
            .path
            .iter()
            .map(|step| format!("{} {}", step.kind, step.name));
        format!("{}: {}", why.how, steps.collect::<Vec<_>>().join(" -> "))
    };
    page.items.iter().map(line).collect()
}

#[test]
fn what_needs_a_package_is_told_with_the_way_to_it_page_by_page() {
    let (kit, roads) = diamond();
    let ask = |package: &str, depth: &str, paging: Paging| {
        let mut scope = Kit::scope(1);
        scope.package = Some(package.to_owned());
        let (roads, depth): (_, Depth) = (roads.clone(), depth.parse().unwrap());
        kit.ask(move |db| needing(db, &scope, &roads, depth, paging))
    };
    let line = |one: &repo_model::wire::sbom::Needing| {
        let path = one.path.iter();
        let path: Vec<_> = path
            .map(|step| format!("{} {}", step.kind, step.name))
            .collect();
        assert_eq!(path[0], format!("package {}", one.package.nevra));
        format!("{} {}", one.steps, path[1..].join(" -> "))
    };
    let mut all: Vec<String> = ask("deep", "8", ALL).items.iter().map(line).collect();
    // Of equally near ones the order is that of their digests.
    let app = all.pop().unwrap();
    assert_eq!(
        all,
        ["1 requires deep-1-1.x86_64", "1 requires deep-1-1.x86_64"]
    );
    let by = ["left", "right"]
        .map(|by| format!("2 requires {by}-1-1.x86_64 -> requires deep-1-1.x86_64"));
    assert!(by.contains(&app), "{app}");
    assert_eq!(ask("deep", "1", ALL).items.len(), 2);
    assert_eq!(ask("other", "8", ALL).items, []);
    assert_eq!(ask("nobody", "8", ALL).items, []);
    let mut paging = Paging { limit: 1, ..ALL };
    let mut found = Vec::new();
    loop {
        let page = ask("deep", "8", paging);
        found.extend(page.items.iter().map(|one| one.package.nevra.to_string()));
        match page.next {
            Some(next) => paging.after = next.parse().unwrap(),
            None => break,
        }
    }
    found.sort();
    assert_eq!(
        found,
        ["app-1-1.x86_64", "left-1-1.x86_64", "right-1-1.x86_64"]
    );
}

#[test]
fn a_component_is_there_because_what_a_package_needs_holds_it() {
    let (kit, roads) = diamond();
    let found = ask(&kit, &roads, "app", "golang.org/x/net", "8", ALL);
    let [line] = &lines(&found)[..] else {
        panic!("{found:?}");
    };
    let (before, after) = line.split_once(" -> requires deep-1-1.x86_64 -> ").unwrap();
    // Two ways are equally short; one is told.
    let middle = before
        .strip_prefix("static: package app-1-1.x86_64 -> requires ")
        .unwrap();
    assert!(
        ["left-1-1.x86_64", "right-1-1.x86_64"].contains(&middle),
        "{line}"
    );
    assert_eq!(after, format!("file /usr/bin/deep -> component {NET}"));
    // Too far away, and from a package that needs nothing.
    assert_eq!(
        lines(&ask(&kit, &roads, "app", "golang.org/x/net", "1", ALL)),
        [""; 0]
    );
    assert_eq!(
        lines(&ask(&kit, &roads, "other-1-1.x86_64", "serde", "8", ALL)),
        [""; 0]
    );
}

#[test]
fn what_the_package_itself_holds_comes_first_and_pages_go_on_where_they_ended() {
    let (kit, roads) = diamond();
    let found = lines(&ask(&kit, &roads, "app", "pkg:cargo/serde", "8", ALL));
    assert_eq!(
        found,
        [
            format!(
                "static: build app-1-1.src -> package app-1-1.x86_64 -> file /usr/bin/app -> component {SERDE}"
            ),
            format!(
                "static: package app-1-1.x86_64 -> requires right-1-1.x86_64 -> file /usr/bin/right -> component {SERDE}"
            ),
        ]
    );
    let one = Paging { limit: 1, ..ALL };
    let first = ask(&kit, &roads, "app", "serde", "8", one);
    let after = first.next.as_ref().unwrap().parse().unwrap();
    let second = ask(&kit, &roads, "app", "serde", "8", Paging { after, ..one });
    assert_eq!([lines(&first), lines(&second)].concat(), found);
    assert_eq!(second.next, None);
    // A package is a component as well: which way leads to it?
    let package = lines(&ask(
        &kit,
        &roads,
        "left",
        "pkg:rpm/deep?arch=x86_64",
        "8",
        ALL,
    ));
    assert_eq!(
        package,
        ["self: package left-1-1.x86_64 -> requires deep-1-1.x86_64"]
    );
}

#[test]
fn a_component_that_very_many_packages_hold_is_told_once_for_each_that_is_needed() {
    let names: Vec<String> = (0..2_200).map(|number| format!("p{number}")).collect();
    let needed: Vec<&str> = names.iter().take(1_100).map(String::as_str).collect();
    let holders = names.iter().map(|name| {
        let package = Package::new(&format!("{name}-1-1.x86_64"), 1);
        (package.part(SERDE, "cargo-auditable", "/x"), &[][..])
    });
    let app = (Package::new("app-1-1.x86_64", 1), &needed[..]);
    let (kit, roads) = world("x86_64", holders.chain([app]).collect());
    let mut found = Vec::new();
    let mut paging = Paging { limit: 500, ..ALL };
    loop {
        let page = ask(&kit, &roads, "app", "serde", "8", paging);
        found.extend(lines(&page));
        match page.next {
            Some(next) => paging.after = next.parse().unwrap(),
            None => break,
        }
    }
    let line = |name: &&str| {
        format!(
            "static: package app-1-1.x86_64 -> requires {name}-1-1.x86_64 -> file /x -> component {SERDE}"
        )
    };
    let mut expected: Vec<_> = needed.iter().map(line).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let none = ask(&kit, &roads, "p1", "golang.org/x/net", "8", ALL);
    assert_eq!(lines(&none), [""; 0]);
}

#[test]
fn only_what_the_release_and_the_scope_have_is_a_beginning() {
    let later = Package::new("later-1-1.x86_64", 2);
    let holds = Package::new("holds-1-1.noarch", 1).part(SERDE, "npm-package", "/x");
    let (kit, mut roads) = world("x86_64", vec![(later, &["holds"]), (holds, &[])]);
    assert_eq!(
        lines(&ask(&kit, &roads, "later", "serde", "8", ALL)),
        [""; 0]
    );
    assert_eq!(ask(&kit, &roads, "holds", "serde", "8", ALL).items.len(), 1);
    // For all architectures, so in two repositories, and told once.
    let other = Road {
        arch: "aarch64".parse().unwrap(),
        ..roads[0].clone()
    };
    roads.push(other);
    assert_eq!(ask(&kit, &roads, "holds", "serde", "8", ALL).items.len(), 1);
    for bad in ["", "-1", "33", "x"] {
        assert!(bad.parse::<Depth>().is_err(), "{bad}");
    }
}
