//! Documents about a whole build: the source package and all that was made from it.

mod common;

use sbom_gen::{BuildInventory, Inventory, SBOM_FORMATS, SbomError};
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
    // Two packages from the source package; that and its archive from what upstream published.
    assert_eq!(from_source.count(), 4);
    let three: Value = serde_json::from_str(&written("spdx-3.0.1", &source, &packages)).unwrap();
    let elements = three["@graph"].as_array().unwrap();
    let generates = elements
        .iter()
        .filter(|element| element["relationshipType"] == "generates");
    assert_eq!(generates.count(), 4);
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

/// All relations of one kind as (from, to), by what follows the kind in their addresses.
fn edges(document: &Value, kind: &str) -> Vec<(String, String)> {
    let all = document["relationships"].as_array().unwrap().iter();
    let name = |id: &Value| {
        let id = id.as_str().unwrap().trim_start_matches("SPDXRef-");
        id.rsplit_once('-').map_or(id, |(name, _)| name).to_owned()
    };
    all.filter(|edge| edge["relationshipType"] == kind)
        .map(|edge| {
            (
                name(&edge["spdxElementId"]),
                name(&edge["relatedSpdxElement"]),
            )
        })
        .collect()
}

#[test]
fn sources_lead_to_what_upstream_published_and_patches_to_what_they_change() {
    let (source, packages) = common::build(&common::options());
    let two: Value = serde_json::from_str(&written("spdx-2.3", &source, &packages)).unwrap();
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        edges(&two, "PATCH_FOR"),
        [pair("File-fix.patch", "Package-fixture")]
    );
    let made = edges(&two, "GENERATED_FROM");
    assert!(
        made.contains(&pair("File-fixture-1.2.3.tar.gz", "Package-fixture")),
        "{made:?}"
    );
    let three = written("spdx-3.0.1", &source, &packages);
    assert!(three.contains("\"patchedBy\"") && three.contains("\"patch\""));

    let cdx: Value = serde_json::from_str(&written("cyclonedx-1.6", &source, &packages)).unwrap();
    let pedigree = &cdx["metadata"]["component"]["pedigree"];
    assert_eq!(pedigree["patches"][0]["diff"]["url"], "fix.patch");
    let upstream = &pedigree["ancestors"][0];
    let purl = upstream["purl"].as_str().unwrap();
    assert!(
        purl.starts_with("pkg:generic/fixture@1.2.3?checksum=sha256:"),
        "{purl}"
    );
    assert!(
        purl.ends_with(
            "&download_url=https:%2F%2Ffixture.example%2Freleases%2Ffixture-1.2.3.tar.gz"
        )
    );
    let reference = &upstream["externalReferences"][0];
    assert_eq!(reference["type"], "source-distribution");
    assert_eq!(reference["hashes"].as_array().unwrap().len(), 3);
}

#[test]
fn the_toolchain_of_a_buildinfo_is_what_packages_were_built_with() {
    let (source, packages) = common::build(&common::options());
    let info = common::build_info(&source);
    let build = BuildInventory {
        source: &source,
        packages: &packages,
        build_info: Some(&info),
    };
    let document = |format: &str| -> Value {
        let mut out = Vec::new();
        let format = sbom_gen::format_named(format).unwrap();
        format
            .write_whole_build(&build, &common::options(), &mut out)
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("secret-host"));
        serde_json::from_str(&text).unwrap()
    };
    let tools = edges(&document("spdx-2.3"), "BUILD_TOOL_OF");
    // Three tools, two packages.
    assert_eq!(tools.len(), 6, "{tools:?}");
    let cdx = document("cyclonedx-1.6");
    let formula = &cdx["formulation"][0];
    let names: Vec<_> = formula["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["purl"])
        .collect();
    assert_eq!(
        names,
        [
            "pkg:rpm/example/binutils@2.41-1.el10?arch=x86_64",
            "pkg:rpm/example/gcc@14.2.1-3.el10?arch=x86_64",
            "pkg:rpm/example/perl@5.40-1?arch=x86_64&epoch=4",
        ]
    );
    let workflow = &formula["workflows"][0];
    assert_eq!(workflow["inputs"][0]["resource"]["ref"], SOURCE);
    assert_eq!(workflow["outputs"].as_array().unwrap().len(), 2);
    // Tools are no part of what is delivered.
    assert!(!cdx["components"].to_string().contains("binutils"));
    let three = document("spdx-3.0.1");
    let elements = three["@graph"].as_array().unwrap().iter();
    let uses = elements
        .filter(|one| one["relationshipType"] == "usesTool")
        .collect::<Vec<_>>();
    assert_eq!(
        (uses.len(), uses[0]["to"].as_array().unwrap().len()),
        (1, 3)
    );
}

#[test]
fn a_tool_that_was_locked_has_its_file_and_no_other_has() {
    let (source, packages) = common::build(&common::options());
    let mut info = common::build_info(&source);
    let document = |info: &_, format: &str| -> Value {
        let build = BuildInventory {
            source: &source,
            packages: &packages,
            build_info: Some(info),
        };
        let mut out = Vec::new();
        let format = sbom_gen::format_named(format).unwrap();
        format
            .write_whole_build(&build, &common::options(), &mut out)
            .unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let (file, url) = (
        "perl-5.40-1.x86_64.rpm",
        "https://mirror.example/perl-5.40-1.x86_64.rpm",
    );
    let cdx = document(&info, "cyclonedx-1.6");
    let tools = cdx["formulation"][0]["components"].as_array().unwrap();
    let perl = &tools[2];
    assert_eq!(perl["hashes"][0]["content"], "cd".repeat(32));
    assert_eq!(perl["externalReferences"][0]["url"], url);
    let facts = perl["properties"].to_string();
    assert!(facts.contains(file) && facts.contains(&"ef".repeat(32)) && facts.contains("0123abcd"));
    let two = document(&info, "spdx-2.3");
    let package = |name: &str| {
        let all = two["packages"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()
    };
    let perl = package("perl");
    assert_eq!(perl["packageFileName"], file);
    assert_eq!(perl["checksums"][0]["checksumValue"], "cd".repeat(32));
    assert_eq!(perl["downloadLocation"], url);
    // What nobody told is said to be unknown.
    for name in ["perl", "gcc"] {
        let tool = package(name);
        for fact in ["supplier", "licenseDeclared", "licenseConcluded"] {
            assert_eq!(tool[fact], "NOASSERTION", "{name} {fact}");
        }
    }
    assert!(package("gcc").get("packageFileName").is_none());
    let three = document(&info, "spdx-3.0.1");
    let elements = three["@graph"].as_array().unwrap();
    let artifact = elements.iter().find(|one| one["name"] == file).unwrap();
    assert_eq!(artifact["verifiedUsing"][0]["hashValue"], "cd".repeat(32));
    let leads_there = |one: &&Value| {
        one["relationshipType"] == "hasDistributionArtifact" && one["to"][0] == artifact["spdxId"]
    };
    let from = elements.iter().find(leads_there).unwrap();
    let perl = elements.iter().find(|one| one["name"] == "perl").unwrap();
    assert_eq!(from["from"], perl["spdxId"]);
    // Whoever unpacked them, packages of a layer are RPMs; those of Debian are not.
    info.buildroot.installer = "dnf".to_owned();
    let cdx = document(&info, "cyclonedx-1.6").to_string();
    assert!(cdx.contains("pkg:rpm/example/perl@5.40-1?arch=x86_64&epoch=4"));
    info.buildroot.installer = "dpkg".to_owned();
    let cdx = document(&info, "cyclonedx-1.6").to_string();
    assert!(cdx.contains("pkg:generic/perl@4:5.40-1"));
}

#[test]
fn a_buildinfo_of_another_source_package_is_refused() {
    let (source, packages) = common::build(&common::options());
    let mut info = common::build_info(&source);
    info.source.header_sha256 = packages[0].package.header_digest;
    let build = BuildInventory {
        source: &source,
        packages: &packages,
        build_info: Some(&info),
    };
    let outcome = SBOM_FORMATS[0].write_whole_build(&build, &common::options(), &mut Vec::new());
    assert!(
        matches!(outcome, Err(SbomError::Build { .. })),
        "{outcome:?}"
    );
}
