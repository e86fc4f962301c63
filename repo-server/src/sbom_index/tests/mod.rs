//! Questions over packages, releases and documents made to order; no server runs.

mod advisories;
mod filling;
mod hostile;
mod kit;
mod releases;
mod requirements;
mod speed;

use super::questions::{self, After, FileDigestQuery, Paging, Wanted};
use kit::{Kit, Package};
use repo_model::wire::sbom::Shipped;

const ALL: Paging = Paging {
    after: After([0; 4]),
    limit: 1_000,
};

fn who_ships(kit: &Kit, release: u64, what: &str, range: Option<&str>) -> Vec<Shipped> {
    let wanted = Wanted::parse(what, range).unwrap();
    let scope = Kit::scope(release);
    kit.ask(move |db| questions::who_ships(db, &scope, &wanted, ALL))
        .items
}

/// (package, component, relation), sorted as answered.
fn brief(items: &[Shipped]) -> Vec<(String, String, String)> {
    let brief = |item: &Shipped| {
        (
            item.package.nevra.to_string(),
            item.component.clone(),
            item.relation.clone(),
        )
    };
    items.iter().map(brief).collect()
}

fn three(items: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let own = |(a, b, c): &(&str, &str, &str)| (a.to_string(), b.to_string(), c.to_string());
    items.iter().map(own).collect()
}

/// Two packages with one Go module in two versions.
fn two_with_net() -> Kit {
    let mut kit = Kit::new();
    let net = |version: &str| format!("pkg:golang/golang.org/x/net@v{version}");
    kit.add(Package::new("alpha-1.0-1.x86_64", 1).part(
        &net("0.37.0"),
        "go-buildinfo",
        "/usr/bin/alpha",
    ));
    kit.add(Package::new("beta-2:3.0-4.noarch", 2).part(&net("0.38.0"), "bundled-provide", ""));
    kit
}

#[test]
fn who_ships_a_component_is_told_by_version_release_and_with_evidence() {
    let kit = two_with_net();
    let net = "pkg:golang/golang.org/x/net";
    let alpha = (
        "alpha-1.0-1.x86_64",
        "pkg:golang/golang.org/x/net@v0.37.0",
        "part",
    );
    let beta = (
        "beta-2:3.0-4.noarch",
        "pkg:golang/golang.org/x/net@v0.38.0",
        "part",
    );
    for (release, what, range, expected) in [
        (2, net, None, vec![alpha, beta]),
        (2, "golang.org/x/net", None, vec![alpha, beta]),
        (1, net, None, vec![alpha]),
        (2, net, Some("< 0.38"), vec![alpha]),
        (2, net, Some("vers:golang/>=0.38.0"), vec![beta]),
        (2, "pkg:golang/golang.org/x/net@v0.38.0", None, vec![beta]),
        (2, "pkg:npm/golang.org/x/net", None, vec![]),
    ] {
        let found = who_ships(&kit, release, what, range);
        assert_eq!(
            brief(&found),
            three(&expected),
            "{release} {what} {range:?}"
        );
    }
    let found = &who_ships(&kit, 1, net, None)[0];
    assert_eq!(found.version.as_deref(), Some("v0.37.0"));
    assert_eq!(
        (found.places.as_slice(), found.places_total),
        (&["/usr/bin/alpha".to_owned()][..], 1)
    );
    assert_eq!(found.evidence[0].source, "go-buildinfo");
    assert_eq!(found.evidence[0].confidence_percent, 100);
    assert_eq!(found.package.source.to_string(), "alpha-1.0-1.src");
}

#[test]
fn a_package_is_found_under_its_own_its_upstreams_and_its_sources_name() {
    let mut kit = Kit::new();
    kit.add(Package::new("python3-requests-2:2.31-1.noarch", 1).upstream("pkg:pypi/requests@2.31"));
    let relations = |what: &str, range: Option<&str>| {
        let found = who_ships(&kit, 1, what, range);
        found
            .into_iter()
            .map(|item| item.relation)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        relations("pkg:rpm/python3-requests", Some("< 2:2.32")),
        ["self", "source"]
    );
    assert_eq!(
        relations("pkg:rpm/test/python3-requests@2.31-1?epoch=2", None),
        ["self", "source"]
    );
    assert_eq!(relations("pkg:rpm/other/python3-requests", None), [""; 0]);
    assert_eq!(
        relations("pkg:rpm/python3-requests?arch=src", None),
        ["source"]
    );
    assert_eq!(
        relations("pkg:pypi/Requests", Some(">= 2.31.0")),
        ["upstream"]
    );
}

#[test]
fn why_leads_from_the_build_through_what_needs_it() {
    let mut kit = Kit::new();
    let (a, b) = ("pkg:cargo/a@1.0.0", "pkg:cargo/b@2.0.0");
    kit.add(
        Package::new("tool-1-1.x86_64", 1)
            .part(a, "cargo-auditable", "/usr/bin/tool")
            .part(b, "cargo-auditable", "/usr/bin/tool")
            .part("pkg:generic/zlib@1.3", "bundled-provide", "")
            .part(
                "pkg:golang/x/y@v1.0.0",
                "go-modules-list",
                "/usr/share/licenses/tool/modules.txt",
            )
            .edge(a, b),
    );
    let why = |what: &str| {
        let (wanted, scope) = (Wanted::parse(what, None).unwrap(), Kit::scope(1));
        let mut page = kit.ask(move |db| questions::why(db, &scope, &wanted, ALL));
        let found = page.items.remove(0);
        let steps = found
            .path
            .iter()
            .map(|step| format!("{}:{}", step.kind, step.name));
        (found.how, steps.collect::<Vec<_>>().join(" "))
    };
    let start = "build:tool-1-1.src package:tool-1-1.x86_64";
    assert_eq!(
        why("b"),
        (
            "static".to_owned(),
            format!("{start} file:/usr/bin/tool component:{a} component:{b}")
        )
    );
    assert_eq!(why("zlib").0, "bundled");
    assert_eq!(why("pkg:golang/x/y").0, "vendored");
    assert_eq!(
        why("pkg:rpm/tool?arch=x86_64"),
        ("self".to_owned(), start.to_owned())
    );
}

#[test]
fn a_file_is_found_by_each_of_its_digests() {
    let mut kit = Kit::new();
    kit.add(Package::new("one-1-1.x86_64", 1).file("/usr/bin/same", 7));
    kit.add(
        Package::new("two-1-1.x86_64", 1)
            .file("/opt/same", 7)
            .file("/opt/other", 8),
    );
    for digits in [40, 64, 128] {
        let hex = "07".repeat(digits / 2);
        for text in [hex.clone(), format!("sha:{}", hex.to_uppercase())] {
            let (wanted, scope) = (FileDigestQuery::parse(&text).unwrap(), Kit::scope(1));
            let found = kit
                .ask(move |db| questions::files(db, &scope, &wanted, ALL))
                .items;
            let paths: Vec<_> = found.iter().map(|hit| hit.path.as_str()).collect();
            assert_eq!(paths, ["/usr/bin/same", "/opt/same"]);
            assert_eq!(found[0].sha256, "07".repeat(32));
        }
    }
    for bad in ["", "07", "xx", &"g".repeat(64)] {
        assert!(FileDigestQuery::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn licences_are_counted_and_what_is_not_mapped_is_named() {
    let mut kit = Kit::new();
    kit.add(Package::new("a-1-1.x86_64", 1).licence("GPLv2+", "GPL-2.0-or-later"));
    kit.add(Package::new("b-1-1.x86_64", 1).licence("GPLv2+", "GPL-2.0-or-later"));
    kit.add(Package::new("c-1-1.x86_64", 2).licence("BSD", "LicenseRef-Callaway-BSD"));
    let counted = |release: u64| {
        let index = kit.index.clone();
        let release = repo_model::ReleaseId(release);
        let found = kit.ask(move |db| questions::licences(&index, db, release));
        let brief = found
            .iter()
            .map(|l| (l.expression.clone(), l.mapped, l.packages));
        brief.collect::<Vec<_>>()
    };
    let gpl = ("GPL-2.0-or-later".to_owned(), true, 2);
    assert_eq!(counted(1), std::slice::from_ref(&gpl));
    assert_eq!(
        counted(2),
        [gpl, ("LicenseRef-Callaway-BSD".to_owned(), false, 1)]
    );
    let scope = Kit::scope(2);
    let found = kit
        .ask(move |db| questions::licensed(db, &scope, "BSD", ALL))
        .items;
    assert_eq!(found[0].package.nevra.name, "c");
}

#[test]
fn what_was_built_with_a_tool_is_told_by_range() {
    let mut kit = Kit::new();
    kit.add(Package::new("a-1-1.x86_64", 1).tools(&["gcc 4:14.1.0-1 amd64", "make 4.4-1 amd64"]));
    kit.add(Package::new("b-1-1.x86_64", 1).tools(&["gcc 4:14.2.0-1 amd64"]));
    let built = |tool: &'static str, range: &str| {
        let (scope, range) = (Kit::scope(1), range.parse().unwrap());
        let found = kit.ask(move |db| questions::built_with(db, &scope, tool, &range, ALL));
        let names = found.items.into_iter().map(|item| item.package.nevra.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(built("gcc", "*"), ["a", "b"]);
    assert_eq!(built("gcc", "< 4:14.2"), ["a"]);
    assert_eq!(built("make", ">= 4"), ["a"]);
    assert_eq!(built("clang", "*"), [""; 0]);
}

#[test]
fn pages_tell_everything_once() {
    let mut kit = Kit::new();
    for number in 0..25 {
        let nevra = format!("p{number:02}-1-1.x86_64");
        kit.add(Package::new(&nevra, 1).part("pkg:cargo/serde@1.0.0", "cargo-auditable", "/x"));
    }
    let wanted = Wanted::parse("pkg:cargo/serde", None).unwrap();
    let (mut after, mut seen) = (After::default(), Vec::new());
    loop {
        let (scope, wanted) = (Kit::scope(1), wanted.clone());
        let paging = Paging { after, limit: 10 };
        let page = kit.ask(move |db| questions::who_ships(db, &scope, &wanted, paging));
        assert!(page.items.len() <= 10);
        seen.extend(page.items.into_iter().map(|item| item.package.nevra.name));
        match page.next {
            Some(next) => after = next.parse().unwrap(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted());
}
