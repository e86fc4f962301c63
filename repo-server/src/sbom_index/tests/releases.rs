//! Differences between releases.

use super::ALL;
use super::kit::{Kit, Package};
use crate::sbom_index::questions::{component_differences, package_differences};
use repo_model::ReleaseId;
use repo_model::wire::sbom::Difference;

fn line(item: &Difference) -> String {
    format!(
        "{} {} {}>{}",
        item.change,
        item.name,
        item.from.join(","),
        item.to.join(",")
    )
}

fn packages(kit: &Kit, from: u64, to: u64) -> Vec<String> {
    let (index, from, to) = (kit.index.clone(), ReleaseId(from), ReleaseId(to));
    let page = kit.ask(move |db| package_differences(&index, db, from, to, ALL));
    page.items.iter().map(line).collect()
}

fn components(kit: &Kit, from: u64, to: u64) -> Vec<String> {
    let (index, from, to) = (kit.index.clone(), ReleaseId(from), ReleaseId(to));
    let page = kit.ask(move |db| component_differences(&index, db, from, to, ALL));
    page.items.iter().map(line).collect()
}

#[test]
fn packages_are_added_removed_upgraded_or_only_rebuilt() {
    let mut kit = Kit::new();
    for (nevra, added, removed) in [
        ("stays-1-1.x86_64", 1, None),
        ("old-1-1.x86_64", 1, Some(2)),
        ("beside-1.9-1.x86_64", 1, None),
        ("beside-1.10-1.x86_64", 2, None),
        ("replaced-1-1.noarch", 1, Some(2)),
        ("replaced-2-1.noarch", 2, None),
        ("again-1-1.x86_64", 1, Some(2)),
        ("again-1-2.x86_64", 2, None),
        ("epoch-9-1.x86_64", 1, Some(2)),
        ("epoch-1:1-1.x86_64", 2, None),
        ("fleeting-1-1.x86_64", 2, Some(3)),
        ("new-1-1.x86_64", 2, None),
        ("later-1-1.x86_64", 3, None),
    ] {
        let package = Package::new(nevra, added);
        kit.add(match removed {
            Some(release) => package.removed(release),
            None => package,
        });
    }
    assert_eq!(
        packages(&kit, 1, 2),
        [
            "rebuilt again 1-1>1-2",
            "upgraded beside 1.9-1>1.10-1",
            "upgraded epoch 9-1>1:1-1",
            "added fleeting >1-1",
            "added new >1-1",
            "removed old 1-1>",
            "upgraded replaced 1-1>2-1",
        ]
    );
    assert_eq!(
        packages(&kit, 2, 1),
        [
            "rebuilt again 1-2>1-1",
            "removed beside 1.10-1>",
            "downgraded epoch 1:1-1>9-1",
            "removed fleeting 1-1>",
            "removed new 1-1>",
            "added old >1-1",
            "downgraded replaced 2-1>1-1",
        ]
    );
    // What came and went in between is not told.
    assert!(
        !packages(&kit, 1, 3)
            .iter()
            .any(|line| line.contains("fleeting"))
    );
    assert_eq!(packages(&kit, 2, 2), [""; 0]);
}

#[test]
fn what_else_is_other_about_a_package_is_told() {
    let mut kit = Kit::new();
    let part = |package: Package, version: &str| {
        package.part(
            &format!("pkg:cargo/serde@{version}"),
            "cargo-auditable",
            "/x",
        )
    };
    type Change<'a> = &'a dyn Fn(Package) -> Package;
    let pairs: [(&str, Change<'_>, Change<'_>); 6] = [
        ("again", &|one| part(one, "1"), &|one| part(one, "1")),
        ("inside", &|one| part(one, "1"), &|one| part(one, "2")),
        ("licence", &|one| one, &|one| {
            one.licence("GPL-2.0-only", "GPL-2.0-only")
        }),
        ("key", &|one| one.signer("AB"), &|one| one.signer("CD")),
        ("same-key", &|one| one.signer("AB"), &|one| one.signer("AB")),
        // Signed before certificates were kept.
        ("old-key", &|one| one, &|one| one.signer("AB")),
    ];
    for (name, before, now) in pairs {
        kit.add(before(
            Package::new(&format!("{name}-1-1.x86_64"), 1).removed(2),
        ));
        kit.add(now(Package::new(&format!("{name}-1-2.x86_64"), 2)));
    }
    kit.add(Package::new("new-1-1.x86_64", 2).signer("AB"));
    let before = Package::new("upgraded-1-1.x86_64", 1)
        .removed(2)
        .signer("AB");
    kit.add(part(before, "1"));
    let now = Package::new("upgraded-2-1.x86_64", 2).signer("CD");
    kit.add(part(now, "2").licence("X", "LicenseRef-X"));
    let (index, from, to) = (kit.index.clone(), ReleaseId(1), ReleaseId(2));
    let page = kit.ask(move |db| package_differences(&index, db, from, to, ALL));
    let lines = page.items.iter();
    let lines = lines.map(|one| format!("{} {} {}", one.change, one.name, one.differs.join(",")));
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "rebuilt again ",
            "rebuilt inside contents",
            "rebuilt key signer",
            "rebuilt licence licence",
            "added new ",
            "rebuilt old-key ",
            "rebuilt same-key ",
            "upgraded upgraded licence,contents,signer",
        ]
    );
}

#[test]
fn components_differ_where_no_package_has_them() {
    let mut kit = Kit::new();
    let part = |nevra: &str, added, purl: &str| {
        Package::new(nevra, added).part(purl, "go-buildinfo", "/x")
    };
    kit.add(part("a-1-1.x86_64", 1, "pkg:golang/n/net@v0.9.0").removed(2));
    kit.add(part("a-2-1.x86_64", 2, "pkg:golang/n/net@v0.10.0"));
    kit.add(part("b-1-1.x86_64", 1, "pkg:cargo/libc@0.2.0").removed(2));
    kit.add(part("c-1-1.x86_64", 1, "pkg:cargo/libc@0.2.0"));
    kit.add(part("d-1-1.x86_64", 1, "pkg:npm/left-pad@1.0.0").removed(2));
    kit.add(part("e-1-1.x86_64", 2, "pkg:pypi/new@1.0"));
    kit.add(part("f-1-1.x86_64", 2, "pkg:cargo/libc@0.3.0"));
    assert_eq!(
        components(&kit, 1, 2),
        [
            "upgraded cargo:libc 0.2.0>0.3.0",
            "upgraded golang:n/net v0.9.0>v0.10.0",
            "removed npm:left-pad 1.0.0>",
            "added pypi:new >1.0",
        ]
    );
    assert_eq!(
        components(&kit, 2, 1)[1],
        "downgraded golang:n/net v0.10.0>v0.9.0"
    );
}
