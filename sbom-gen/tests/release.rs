//! Documents about a whole release: which package needs which, and what nothing meets.

mod common;

use repo_model::rpm::{Dependency, DependencyFlags};
use sbom_gen::{Member, Release, SBOM_FORMATS};
use serde_json::Value;

fn dependency(text: &str) -> Dependency {
    let (name, rest) = match text.starts_with('(') {
        true => (text, ""),
        false => text.split_once(' ').unwrap_or((text, "")),
    };
    let version = rest.split_once(' ').map(|(sign, version)| {
        let flags = match sign {
            "<" => DependencyFlags::Lt,
            ">" => DependencyFlags::Gt,
            "=" => DependencyFlags::Eq,
            "<=" => DependencyFlags::Le,
            _ => DependencyFlags::Ge,
        };
        (flags, version.to_owned())
    });
    Dependency {
        name: name.to_owned(),
        version,
        sense: 0,
    }
}

fn member(nevra: &str, provides: &[&str], requires: &[&str]) -> Member {
    let nevra: repo_model::Nevra = nevra.parse().unwrap();
    let own = format!("{} = {}", nevra.name, nevra.evr);
    let is_source = nevra.arch == "src";
    let source = format!("{}-1-1.src.rpm", nevra.name);
    let mut member = Member::named(nevra, is_source);
    member.license = "MIT".to_owned();
    member.summary = format!("About {}", member.nevra.name);
    member.build_time = common::at(i64::from(common::BUILT));
    member.source_rpm = (!is_source).then_some(source);
    let provides = provides.iter().copied().chain([own.as_str()]);
    member.provides = provides.map(dependency).collect();
    member.requires = requires.iter().copied().map(dependency).collect();
    member
}

fn release(members: Vec<Member>) -> Release {
    common::release(members, &common::options())
}

fn written(format: &str, release: &Release) -> String {
    let mut out = Vec::new();
    let format = sbom_gen::format_named(format).unwrap();
    format
        .write_release(release, &common::options(), &mut out)
        .unwrap();
    String::from_utf8(out).unwrap()
}

fn document(format: &str, members: Vec<Member>) -> Value {
    serde_json::from_str(&written(format, &release(members))).unwrap()
}

fn purl(name: &str) -> String {
    format!("pkg:rpm/example/{name}@1-1?arch=x86_64")
}

/// What CycloneDX says that a package depends on, as names.
fn depends_on(document: &Value, name: &str) -> Vec<String> {
    let edges = document["dependencies"].as_array().unwrap();
    let edge = edges.iter().find(|edge| edge["ref"] == purl(name)).unwrap();
    let keys = edge["dependsOn"].as_array().into_iter().flatten();
    let name = |key: &Value| {
        let text = key.as_str().unwrap().split('@').next().unwrap();
        text.rsplit('/').next().unwrap().to_owned()
    };
    keys.map(name).collect()
}

fn properties(document: &Value, package: &str, property: &str) -> Vec<String> {
    let components = document["components"].as_array().unwrap();
    let one = components
        .iter()
        .find(|one| one["bom-ref"] == purl(package))
        .unwrap();
    let all = one["properties"].as_array().unwrap().iter();
    let all = all.filter(|one| one["name"] == property);
    all.map(|one| one["value"].as_str().unwrap().to_owned())
        .collect()
}

/// What is needed, what meets it, what stays open.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    ("base", &["base"], &[]),
    ("base >= 1", &["base"], &[]),
    ("base > 1-1", &[], &["base > 1-1"]),
    ("base = 1", &["base"], &[]),
    ("virtual", &["base"], &[]),
    ("virtual >= 1", &[], &["virtual >= 1"]),
    ("/usr/bin/tool", &["tool"], &[]),
    ("/usr/bin/none", &[], &["/usr/bin/none"]),
    ("rpmlib(PayloadIsZstd) <= 5.4.18-1", &[], &[]),
    ("config(user) = 1-1", &[], &[]),
    ("user", &[], &[]),
    ("(base and tool)", &["base", "tool"], &[]),
    ("(base and none)", &["base"], &["(base and none)"]),
    ("(none or tool)", &["tool"], &[]),
    ("(none or nothing)", &[], &["(none or nothing)"]),
    ("(virtual with base)", &["base"], &[]),
    ("(virtual with tool)", &[], &["(virtual with tool)"]),
    ("(shared without base)", &["tool"], &[]),
    ("(tool if none)", &[], &[]),
    ("(tool if none else base)", &["base"], &[]),
    ("(tool unless none)", &["tool"], &[]),
    ("(broken", &[], &["(broken"]),
];

#[test]
fn requirements_lead_to_the_packages_that_meet_them_or_are_named() {
    for (require, met, unmet) in TABLE {
        let mut tool = member("tool-1-1.x86_64", &["shared"], &[]);
        tool.files = vec!["/usr/bin/tool".to_owned()];
        let members = vec![
            member("base-1-1.x86_64", &["virtual", "shared"], &[]),
            tool,
            member("user-1-1.x86_64", &[], &[require]),
        ];
        let document = document("cyclonedx-1.6", members);
        assert_eq!(depends_on(&document, "user"), *met, "{require}");
        let open = properties(&document, "user", "rpm:requires-unresolved");
        assert_eq!(open, *unmet, "{require}");
        let incomplete = document["compositions"].as_array().unwrap().iter();
        let mut incomplete = incomplete.filter(|one| one["aggregate"] == "incomplete");
        let named = incomplete.any(|one| one["dependencies"] == serde_json::json!([purl("user")]));
        assert_eq!(named, !unmet.is_empty(), "{require}");
    }
}

#[test]
fn what_holds_only_under_a_condition_is_an_option() {
    let members = || {
        let mut user = member(
            "user-1-1.x86_64",
            &[],
            &["(base if tool)", "(base2 or tool)"],
        );
        user.recommends = vec![dependency("nice"), dependency("absent")];
        vec![
            member("base-1-1.x86_64", &[], &[]),
            member("base2-1-1.x86_64", &[], &[]),
            member("tool-1-1.x86_64", &[], &[]),
            member("nice-1-1.x86_64", &[], &[]),
            user,
        ]
    };
    let cyclonedx = document("cyclonedx-1.6", members());
    assert_eq!(depends_on(&cyclonedx, "user"), ["base2"]);
    assert_eq!(
        properties(&cyclonedx, "user", "rpm:recommends-unresolved"),
        ["absent"]
    );
    let spdx = document("spdx-2.3", members());
    let edges = spdx["relationships"].as_array().unwrap().iter();
    let mut optional: Vec<_> = edges
        .filter(|edge| edge["relationshipType"] == "OPTIONAL_DEPENDENCY_OF")
        .map(|edge| {
            edge["spdxElementId"]
                .as_str()
                .unwrap()
                .split('-')
                .nth(2)
                .unwrap()
        })
        .collect();
    optional.sort_unstable();
    assert_eq!(optional, ["base", "nice", "tool"]);
}

#[test]
fn of_several_candidates_one_is_chosen_by_rule_and_all_are_named() {
    let cases: [(&[&str], &str); 4] = [
        (&["b-1-1.x86_64", "a-1-1.x86_64"], "a"),
        (&["a-1-1.i686", "b-1-1.x86_64"], "b"),
        (&["a-1-1.x86_64", "cap-1-1.x86_64"], "cap"),
        (&["a-1-1.x86_64", "a-2-1.x86_64"], "a"),
    ];
    for (providers, chosen) in cases {
        let mut members: Vec<_> = providers
            .iter()
            .map(|nevra| member(nevra, &["cap"], &[]))
            .collect();
        members.push(member("user-1-1.x86_64", &[], &["cap"]));
        let document = document("cyclonedx-1.6", members);
        assert_eq!(depends_on(&document, "user"), [chosen]);
        let named = properties(&document, "user", "rpm:requires-candidates");
        assert_eq!(named.len(), 1);
        assert!(
            providers.iter().all(|one| named[0].contains(one)),
            "{named:?}"
        );
        if providers[1].starts_with("a-2") {
            let text = document.to_string();
            assert!(text.contains(r#""dependsOn":["pkg:rpm/example/a@2-1?arch=x86_64"]"#));
        }
    }
}

#[test]
fn the_order_of_packages_makes_no_difference_to_any_format() {
    let members = || {
        let mut tool = member("tool-1-1.x86_64", &["x"], &["base", "y"]);
        tool.files = vec!["/usr/bin/tool".to_owned()];
        vec![
            tool,
            member("base-1-1.x86_64", &["x"], &["/usr/bin/tool"]),
            member("epoch-7:1-1.noarch", &["y"], &["x", "none"]),
            member("base-1-1.src", &[], &["tool"]),
            member("base-1-1.x86_64", &["x"], &["/usr/bin/tool"]),
        ]
    };
    for format in SBOM_FORMATS {
        let one = written(format.name, &release(members()));
        for turn in 1..5 {
            let mut other = members();
            other.rotate_left(turn);
            assert!(
                one == written(format.name, &release(other)),
                "{}",
                format.name
            );
        }
        assert!(one.contains("2023-11-14T22:13:20Z"));
    }
}

#[test]
fn sources_lead_to_their_packages_whether_the_release_has_them_or_only_names_them() {
    let members = vec![
        member("base-1-1.src", &[], &["tool"]),
        member("base-1-1.x86_64", &[], &[]),
        member("tool-1-1.x86_64", &[], &[]),
    ];
    let document = document("cyclonedx-1.6", members);
    let edges = document["dependencies"].as_array().unwrap();
    let provides = |name: &str| {
        let key = format!("pkg:rpm/example/{name}@1-1?arch=src");
        let edge = edges
            .iter()
            .find(|edge| edge["ref"] == key.as_str())
            .unwrap();
        edge["provides"].clone()
    };
    assert_eq!(provides("base"), serde_json::json!([purl("base")]));
    assert_eq!(provides("tool"), serde_json::json!([purl("tool")]));
    let components = document["components"].as_array().unwrap();
    assert_eq!(components.len(), 4);
    let root = &document["metadata"]["component"];
    assert_eq!(
        (&root["type"], &root["cpe"]),
        (
            &"operating-system".into(),
            &"cpe:/o:example:linux:42".into()
        )
    );
    // The second name of each package says which repository it is of.
    let text = document.to_string();
    let second = "tool@1-1?arch=x86_64&repository_id=https:%2F%2Frepo.example%2F42%2F";
    assert!(text.contains(second), "{text}");
}

#[test]
fn two_packages_with_one_package_url_stay_two() {
    let twin = |digits: &str| {
        let mut one = member("base-1-1.x86_64", &[], &[]);
        one.digests = vec![(sbom_gen::Algorithm::Sha256, digits.repeat(64))];
        one
    };
    for format in SBOM_FORMATS {
        let text = written(format.name, &release(vec![twin("a"), twin("b"), twin("a")]));
        let conflict = "another package of this release has the same package URL";
        assert_eq!(text.matches(conflict).count(), 1, "{}", format.name);
        assert!(text.contains(&"a".repeat(64)) && text.contains(&"b".repeat(64)));
    }
}

#[test]
fn what_is_inside_packages_is_in_the_release_where_somebody_looked() {
    let options = common::options();
    let (source, packages) = common::build(&options);
    let mut members: Vec<_> = packages.iter().map(Member::of_inventory).collect();
    members.push(Member::of_inventory(&source));
    members.push(member("closed-1-1.x86_64", &[], &[]));
    let document = document("cyclonedx-1.6", members);
    let text = document.to_string();
    assert!(text.contains("pkg:generic/zlib@1.3.1"));
    let compositions = document["compositions"].as_array().unwrap();
    let unknown = compositions
        .iter()
        .find(|one| one["aggregate"] == "unknown")
        .unwrap();
    assert_eq!(unknown["assemblies"], serde_json::json!([purl("closed")]));
}

#[test]
fn a_release_is_had_by_the_file_that_names_its_packages_under_the_licences_of_all() {
    let mut either = member("either-1-1.x86_64", &[], &[]);
    either.license = "ASL 2.0 or MPLv2.0".to_owned();
    let mut own = member("own-1-1.x86_64", &[], &[]);
    own.license = "Ours".to_owned();
    let members = || {
        vec![
            member("base-1-1.x86_64", &[], &[]),
            either.clone(),
            own.clone(),
        ]
    };
    let licence = document("cyclonedx-1.6", members())["metadata"]["component"].clone();
    let expression = licence["licenses"][0]["expression"].as_str().unwrap();
    assert!(
        expression.starts_with("(Apache-2.0 OR MPL-2.0) AND LicenseRef-"),
        "{expression}"
    );
    assert!(expression.ends_with(" AND MIT"), "{expression}");
    assert_eq!(licence["licenses"][0]["acknowledgement"], "concluded");
    assert_eq!(licence["licenses"].as_array().unwrap().len(), 1);
    // SHA-512 of what `common::release` says the file is.
    let sha512 = &licence["hashes"][1];
    assert_eq!(sha512["alg"], "SHA-512");
    let reference = &licence["externalReferences"][1];
    assert_eq!(
        reference["url"],
        "https://repo.example/42/repodata/repomd.xml"
    );
    assert_eq!(reference["hashes"][1], *sha512);
    for format in SBOM_FORMATS {
        let text = written(format.name, &release(members()));
        assert!(text.contains(expression), "{}", format.name);
        assert!(text.contains("repomd.xml") && text.contains(sha512["content"].as_str().unwrap()));
    }
    // Where one package's licence is not known, nobody can say.
    let mut unknown = member("unknown-1-1.x86_64", &[], &[]);
    unknown.license = String::new();
    let document = document("cyclonedx-1.6", vec![unknown, either.clone()]);
    assert_eq!(document["metadata"]["component"]["licenses"], Value::Null);
}

#[test]
fn a_release_without_packages_says_that_it_has_none() {
    for format in SBOM_FORMATS {
        let text = written(format.name, &release(Vec::new()));
        let (reference, its_text) = ("LicenseRef-Hallmark-no-packages", "There is no package");
        assert!(text.contains(reference), "{}", format.name);
        // CycloneDX 1.6 has no place for the texts of references.
        let has_texts = format.name != "cyclonedx-1.6";
        assert_eq!(text.contains(its_text), has_texts, "{}", format.name);
    }
    let document = document("spdx-3.0.1", Vec::new());
    let mut elements = document["@graph"].as_array().unwrap().iter();
    let contains = elements.find(|one| one["relationshipType"] == "contains");
    let contains = contains.unwrap();
    assert_eq!(contains["completeness"], "complete");
    let held = contains["to"][0].as_str().unwrap();
    let mut elements = document["@graph"].as_array().unwrap().iter();
    let held = elements.find(|one| one["spdxId"] == held).unwrap();
    assert_eq!(held["name"], "repomd.xml");
}

#[test]
fn what_needs_what_is_told_by_the_digests_of_files() {
    let hashed = |nevra: &str, provides: &[&str], requires: &[&str], byte: &str| {
        let mut one = member(nevra, provides, requires);
        one.digests = vec![(sbom_gen::Algorithm::Sha256, byte.repeat(64))];
        one
    };
    let mut wishes = hashed("wishes-1-1.x86_64", &[], &["base"], "c");
    wishes.recommends = vec![dependency("tool")];
    let release = release(vec![
        hashed(
            "tool-1-1.x86_64",
            &[],
            &["base", "nowhere", "unhashed"],
            "a",
        ),
        hashed("base-1-1.x86_64", &[], &[], "b"),
        wishes,
        hashed("tool-1-1.src", &[], &["base"], "d"),
        member("unhashed-1-1.x86_64", &[], &["base"]),
    ]);
    let mut found: Vec<_> = release.requirements().collect();
    found.sort();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|byte| byte.repeat(64));
    let expected = [
        (a.as_str(), vec![b.as_str()]),
        (b.as_str(), vec![]),
        (c.as_str(), vec![b.as_str()]),
        // What a source package needs is needed to build it, not to have it.
        (d.as_str(), vec![]),
    ];
    assert_eq!(found, expected);
}
