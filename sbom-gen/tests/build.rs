//! Documents about a whole build: the source package and all that was made from it.

mod common;

use sbom_gen::{Inventory, SBOM_FORMATS, SbomError};
use serde_json::Value;

fn written(format: &str, source: &Inventory, packages: &[Inventory]) -> String {
    let mut out = Vec::new();
    let format = sbom_gen::format_named(format).unwrap();
    format
        .write_build(source, packages, &common::options(), &mut out)
        .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_order_of_packages_does_not_matter_nor_does_one_given_twice() {
    let (source, packages) = common::build(&common::options());
    let mut other = packages.clone();
    other.reverse();
    other.push(packages[0].clone());
    for format in SBOM_FORMATS {
        let one = written(format.name, &source, &packages);
        assert_eq!(
            one,
            written(format.name, &source, &other),
            "{}",
            format.name
        );
        let facts = repo_model::sbom_facts::read(one.as_bytes()).unwrap();
        assert_eq!(facts.header_digest, source.package.header_digest);
    }
}

const SOURCE: &str = "pkg:rpm/example/fixture@1.2.3-4.el10?arch=src";
const MAIN: &str = "pkg:rpm/example/fixture@1.2.3-4.el10?arch=x86_64";
const LIBS: &str = "pkg:rpm/example/fixture-libs@1.2.3-4.el10?arch=x86_64";
const ZLIB: &str = "pkg:generic/zlib@1.3.1";

#[test]
fn cyclonedx_says_what_the_source_provides_and_what_each_package_holds() {
    let (source, packages) = common::build(&common::options());
    let document: Value =
        serde_json::from_str(&written("cyclonedx-1.6", &source, &packages)).unwrap();
    assert_eq!(document["metadata"]["component"]["purl"], SOURCE);
    let edges = |from: &str| {
        let all = document["dependencies"].as_array().unwrap();
        all.iter().find(|edge| edge["ref"] == from).unwrap().clone()
    };
    assert_eq!(edges(SOURCE)["provides"], serde_json::json!([LIBS, MAIN]));
    for package in [MAIN, LIBS] {
        let holds = edges(package)["dependsOn"].as_array().unwrap().clone();
        assert!(holds.contains(&ZLIB.into()), "{package}: {holds:?}");
    }
    let components = document["components"].as_array().unwrap();
    let zlib: Vec<_> = components
        .iter()
        .filter(|one| one["purl"] == ZLIB)
        .collect();
    let [zlib] = &zlib[..] else {
        panic!("one node for a part of two packages: {zlib:?}")
    };
    let places = zlib["properties"].as_array().unwrap().iter();
    let places = places.filter(|property| property["name"] == "sbom:found-in");
    assert_eq!(places.count(), 2);
    // Sources and patches with their hashes.
    for name in ["/fixture.spec", "/fixture-1.2.3.tar.gz", "/fix.patch"] {
        let file = components.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(file["hashes"].as_array().unwrap().len(), 3, "{name}");
    }
}

#[test]
fn spdx_links_packages_and_source_in_its_own_direction() {
    let (source, packages) = common::build(&common::options());
    let two: Value = serde_json::from_str(&written("spdx-2.3", &source, &packages)).unwrap();
    let relationships = two["relationships"].as_array().unwrap().iter();
    let from_source = relationships.filter(|edge| edge["relationshipType"] == "GENERATED_FROM");
    assert_eq!(from_source.count(), 2);
    let three: Value = serde_json::from_str(&written("spdx-3.0.1", &source, &packages)).unwrap();
    let elements = three["@graph"].as_array().unwrap();
    let generates = elements
        .iter()
        .filter(|element| element["relationshipType"] == "generates");
    assert_eq!(generates.count(), 2);
}

#[test]
fn packages_of_another_build_are_refused_by_name() {
    let (source, mut packages) = common::build(&common::options());
    let format = &SBOM_FORMATS[0];
    let refused = |source: &Inventory, packages: &[Inventory]| {
        let outcome = format.write_build(source, packages, &common::options(), &mut Vec::new());
        match outcome {
            Err(SbomError::Build { package, .. }) => package,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(&packages[0], &[]).starts_with("fixture-1.2.3"));
    packages[1].package.source_rpm = Some("other-1-1.src.rpm".to_owned());
    assert!(refused(&source, &packages).starts_with("fixture-libs-1.2.3"));
}
