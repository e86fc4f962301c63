//! Second opinions: what other implementations make of our documents.

mod common;

use common::document;
use common::validators::{in_javascript, in_python, node_folder, said, spdx3_schema, validators};
use sbom_gen::{BuildInventory, Inventory, Member, Options, SBOM_FORMATS};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages with thousands of files take the validators minutes; one document of each is enough
/// without its files.
const FILES: usize = 300;

fn write_all(folder: &Path, name: &str, inventory: &Inventory, options: &Options) {
    let options = Options {
        files: inventory.files.len() <= FILES,
        ..options.clone()
    };
    for format in formats() {
        let path = folder.join(format!("{name}{}", format.file_suffix));
        std::fs::write(path, document(format.name, inventory, &options)).unwrap();
    }
}

/// All formats, those on request as well.
fn formats() -> impl Iterator<Item = &'static sbom_gen::SbomFormat> {
    SBOM_FORMATS.iter().chain(sbom_gen::OLDER_FORMATS)
}

/// Writes what the validators get to see; how many of them have to be conformant.
fn write_documents(folder: &Path, real: &[PathBuf]) -> usize {
    let options = common::options();
    let hashed = Options {
        file_hashes: true,
        ..common::options()
    };
    let read = |rpm: &[u8], options| sbom_gen::inventory(rpm, options).unwrap();
    let (fixture, nested, plain) = (common::fixture(), common::nested(), plain());
    // As the server makes them, before signing; and with the hash of the file.
    for (name, rpm, options) in [
        ("conformant-with-parts", &fixture, &options),
        ("conformant-with-further-parts", &nested, &options),
        ("conformant-without-parts", &plain, &options),
        ("conformant-with-parts-hashed", &fixture, &hashed),
        ("conformant-without-parts-hashed", &plain, &hashed),
    ] {
        write_all(folder, name, &read(rpm, options), options);
    }
    write_all(folder, "awkward", &awkward(), &options);
    let (source, packages) = common::build(&hashed);
    let info = common::build_info(&source);
    let members = packages.iter().chain([&source]).map(Member::of_inventory);
    let releases = [
        (
            "conformant-release",
            common::release(members.collect(), &options),
        ),
        (
            "conformant-release-empty",
            common::release(Vec::new(), &options),
        ),
    ];
    for format in formats() {
        let create = |name: &str| {
            let path = folder.join(format!("{name}{}", format.file_suffix));
            std::fs::File::create(path).unwrap()
        };
        let build = BuildInventory {
            source: &source,
            packages: &packages,
            build_info: Some(&info),
        };
        let plain = BuildInventory {
            build_info: None,
            ..build
        };
        for (name, build) in [
            ("conformant-build-with-tools", build),
            ("conformant-build", plain),
        ] {
            let mut file = create(name);
            format
                .write_whole_build(&build, &hashed, &mut file)
                .unwrap();
        }
        for (name, release) in &releases {
            let mut file = create(name);
            format.write_release(release, &options, &mut file).unwrap();
        }
    }
    for path in real {
        let name = path.to_string_lossy().replace('/', "_");
        let name = format!("real{name}");
        let inventory = read(&std::fs::read(path).unwrap(), &options);
        write_all(folder, &name, &inventory, &options);
    }
    9
}

#[test]
fn every_validator_accepts_every_document() {
    let test = "every_validator_accepts_every_document";
    let (python, node) = (validators(test), node_folder(test));
    let folder = tempfile::tempdir().unwrap();
    let real = common::real_packages(test).unwrap_or_default();
    let conformant = write_documents(folder.path(), &real);
    let packages = real.len() + conformant + 1;
    let schema = python
        .as_deref()
        .map(|python| spdx3_schema(python, folder.path()));
    if let Some(node) = node {
        let said = said(&mut in_javascript(&node, folder.path(), schema.as_deref()));
        // CycloneDX 1.5, 1.6 and 1.7; SPDX 3.
        let documents = (3 + usize::from(schema.is_some())) * packages;
        assert!(
            said.contains(&format!("checked {documents}, invalid 0")),
            "{said}"
        );
    }
    if let Some(python) = python {
        let said = said(&mut in_python(&python, folder.path()));
        // NTIA by SPDX 2.3 and 3.0.1, BSI by 3.0.1, for all of them.
        let documents = formats().count() * packages;
        let conformant = 3 * conformant;
        let expected = format!("checked {documents}, invalid 0, conformant {conformant}");
        assert!(said.contains(&expected), "{said}");
    }
}

/// A way to break a document that is right.
struct Breaking {
    name: &'static str,
    suffix: &'static str,
    deed: fn(&mut Value),
    /// What the check in Python says, among other things.
    python: &'static str,
    /// Whether the check in JavaScript refuses it too. A JSON schema does not see where links lead.
    javascript: bool,
}

/// The first element of an SPDX 3 document of this class.
fn element<'a>(document: &'a mut Value, class: &str) -> &'a mut Value {
    let mut elements = document["@graph"].as_array_mut().unwrap().iter_mut();
    elements.find(|one| one["type"] == class).unwrap()
}

fn forget(value: &mut Value, member: &str) {
    assert!(value.as_object_mut().unwrap().remove(member).is_some());
}

const fn spdx3(
    name: &'static str,
    python: &'static str,
    javascript: bool,
    deed: fn(&mut Value),
) -> Breaking {
    Breaking {
        name,
        suffix: ".spdx3.json",
        deed,
        python,
        javascript,
    }
}

/// For SPDX 3 one of each sort of constraint that the shapes of its model have, and what they leave to the
/// schema.
const BREAKINGS: &[Breaking] = &[
    spdx3("too-few", "SHACL MinCount", true, |doc| {
        forget(element(doc, "software_Package"), "creationInfo")
    }),
    spdx3("no-begin", "SHACL MinCount", true, |doc| {
        forget(element(doc, "Relationship"), "from")
    }),
    spdx3("too-many", "SHACL MaxCount", true, |doc| {
        element(doc, "software_Package")["name"] = json!(["one", "two"])
    }),
    spdx3("datatype", "SHACL Datatype", true, |doc| {
        element(doc, "software_Package")["name"] = json!(7)
    }),
    spdx3("pattern", "SHACL Pattern", true, |doc| {
        element(doc, "CreationInfo")["created"] = json!("2023-11-14T22:13:20.5Z");
    }),
    spdx3("enumeration", "SHACL In", true, |doc| {
        element(doc, "Relationship")["relationshipType"] = json!("holds");
    }),
    spdx3("class", "SHACL Class", false, |doc| {
        let tool = element(doc, "Tool")["spdxId"].clone();
        element(doc, "CreationInfo")["createdBy"] = json!([tool]);
    }),
    spdx3("nowhere", "SHACL Class", false, |doc| {
        element(doc, "Relationship")["to"] = json!(["https://example.org/nowhere"]);
    }),
    spdx3("licence", "SHACL Class", false, |doc| {
        element(doc, "SpdxDocument")["dataLicense"] = json!("https://spdx.org/licenses/CC0-1.0");
    }),
    spdx3("nameless-node", "SHACL NodeKind", true, |doc| {
        element(doc, "Relationship")["spdxId"] = json!("_:anybody");
    }),
    spdx3("abstract", "SHACL Not", true, |doc| {
        element(doc, "Tool")["type"] = json!("Artifact");
    }),
    spdx3("profile", "SHACL In", false, |doc| {
        element(doc, "SpdxDocument")["profileConformance"] = json!(["core", "extension"]);
    }),
    spdx3("closed", "colour", true, |doc| {
        element(doc, "software_Package")["colour"] = json!("red")
    }),
    Breaking {
        name: "nameless",
        suffix: ".spdx.json",
        deed: |doc| forget(doc, "name"),
        python: "",
        javascript: false,
    },
    Breaking {
        name: "unparsed",
        suffix: ".spdx.json",
        deed: |doc| doc["packages"][0]["licenseDeclared"] = json!("MIT AND AND MIT"),
        python: "",
        javascript: false,
    },
    Breaking {
        name: "closed",
        suffix: ".cdx.json",
        deed: |doc| doc["metadata"]["component"]["colour"] = json!("red"),
        python: "",
        javascript: true,
    },
    Breaking {
        name: "enumeration",
        suffix: ".cdx17.json",
        deed: |doc| doc["metadata"]["component"]["type"] = json!("thing"),
        python: "",
        javascript: true,
    },
];

#[test]
fn every_validator_refuses_a_broken_document() {
    let test = "every_validator_refuses_a_broken_document";
    let Some(python) = validators(test) else {
        return;
    };
    let inventory = common::inventory(&plain()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for Breaking {
        name, suffix, deed, ..
    } in BREAKINGS
    {
        let format = formats()
            .find(|format| format.file_suffix == *suffix)
            .unwrap();
        let text = document(format.name, &inventory, &common::options());
        let mut broken: Value = serde_json::from_str(&text).unwrap();
        deed(&mut broken);
        let path = folder.path().join(format!("{name}{suffix}"));
        std::fs::write(path, broken.to_string()).unwrap();
    }
    let complaints = |command: &mut Command| {
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let says = |said: &str, breaking: &Breaking, what: &str| {
        let line = format!("{}{}: ", breaking.name, breaking.suffix);
        let mut lines = said.lines().filter_map(|text| text.strip_prefix(&line));
        lines.any(|text| text.contains(what))
    };
    let said = complaints(&mut in_python(&python, folder.path()));
    let all = BREAKINGS.len();
    assert!(
        said.contains(&format!("checked {all}, invalid {all}, ")),
        "{said}"
    );
    for breaking in BREAKINGS {
        let found = says(&said, breaking, breaking.python);
        assert!(found, "{} of {said}", breaking.name);
    }
    let Some(node) = node_folder(test) else {
        return;
    };
    let schema = spdx3_schema(&python, folder.path());
    let said = complaints(&mut in_javascript(&node, folder.path(), Some(&schema)));
    for breaking in BREAKINGS {
        let found = says(&said, breaking, "");
        assert_eq!(found, breaking.javascript, "{} of {said}", breaking.name);
    }
}

/// A package that holds nothing but a file.
fn plain() -> Vec<u8> {
    let mut builder = common::builder("plain", rpm::BuildConfig::v4());
    builder
        .with_file_contents("x", rpm::FileOptions::new("/usr/share/plain/x"))
        .unwrap();
    common::bytes(&mut builder)
}

/// A package whose every text wants to break a document.
fn awkward() -> Inventory {
    let mut builder = rpm::PackageBuilder::new(
        "awk++ward",
        "1~rc1^git+2",
        "Strange, licence; (of \"mine\")",
        "noarch",
        "Quotes \" and \\ and \u{2028}",
    );
    builder.using_config(rpm::BuildConfig::v4().source_date(common::BUILT));
    builder.release("1").epoch(7).build_host("localhost");
    builder.url("not a url at all").vendor("A (B) C <x@y>\nD");
    builder.description("line\nline \u{1F980}");
    for path in [
        "/usr/share/sp ace/ü\"\\é",
        "/usr/share/a",
        "/usr/share/-/a",
        "/usr/share/_/a",
    ] {
        builder
            .with_file_contents(path.as_bytes(), rpm::FileOptions::new(path))
            .unwrap();
    }
    for provide in [
        "bundled(x y)",
        "bundled(../../etc)",
        "bundled(npm(@a/b/c))",
        "bundled(golang(/))",
    ] {
        builder.provides(rpm::Dependency::any(provide));
    }
    let mut inventory = common::inventory(&common::bytes(&mut builder)).unwrap();
    // What the builder refuses to write, other tools have written.
    inventory.package.summary = "bell \u{7}, escape \u{1b}[31m, delete \u{7f}".to_owned();
    inventory.package.description = "\r\n\t\u{0}\u{fffe}".to_owned();
    inventory.package.bug_url = Some("https://ok.example/%zz".to_owned());
    inventory
}

#[test]
fn cyclonedx_bom_refuses_1_6_which_is_why_it_is_not_the_writer() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    let text = document("cyclonedx-1.6", &inventory, &common::options());
    let error = cyclonedx_bom::models::bom::Bom::parse_from_json(text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("1.6"), "{error}");

    // What it knows it reads back, field by field: a second opinion on what we write for 1.5.
    let text = document("cyclonedx-1.5", &inventory, &common::options());
    let bom = cyclonedx_bom::models::bom::Bom::parse_from_json(text.as_bytes()).unwrap();
    let outcome = cyclonedx_bom::validation::Validate::validate(&bom);
    assert!(outcome.passed(), "{outcome:?}");
    let components = bom.components.unwrap().0;
    assert_eq!(
        components.len(),
        inventory.components.len() + inventory.files.len()
    );
    let purls: Vec<_> = components
        .iter()
        .filter_map(|one| one.purl.as_ref().map(ToString::to_string))
        .collect();
    let wanted: Vec<_> = inventory
        .components
        .iter()
        .map(|one| one.purl.clone())
        .collect();
    assert_eq!(purls, wanted);
    let package = bom.metadata.unwrap().component.unwrap();
    assert_eq!(package.name.to_string(), "fixture");
    let references = package.external_references.unwrap().0;
    let hashes = references.iter().filter_map(|one| one.hashes.as_ref());
    assert_eq!(hashes.count(), 1);
}

#[test]
fn spdx_rs_reads_our_2_3_back() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    let text = document("spdx-2.3", &inventory, &common::options());
    let read: spdx_rs::models::SPDX = serde_json::from_str(&text).unwrap();
    // The package, its source, and what is inside.
    assert_eq!(
        read.package_information.len(),
        2 + inventory.components.len() - 1
    );
    let regular = inventory
        .files
        .iter()
        .filter(|file| file.hashes.is_some())
        .count();
    assert_eq!(read.file_information.len(), regular);
    let root = &read.package_information[0];
    assert_eq!(root.package_name, "fixture");
    assert_eq!(
        root.package_verification_code.as_ref().unwrap().value,
        verification_code(&read.file_information)
    );
}

/// SPDX 2.3, 7.9, once more and from the document's own digests.
fn verification_code(files: &[spdx_rs::models::FileInformation]) -> String {
    use sha1::{Digest, Sha1};
    let mut digests: Vec<String> = files
        .iter()
        .flat_map(|file| &file.file_checksum)
        .filter(|checksum| checksum.algorithm == spdx_rs::models::Algorithm::SHA1)
        .map(|checksum| checksum.value.clone())
        .collect();
    digests.sort();
    hex::encode(Sha1::digest(digests.concat()))
}

#[test]
fn spdx_rs_writes_an_invalid_category_which_is_why_it_is_not_the_writer() {
    use spdx_rs::models::ExternalPackageReferenceCategory::PersistentID;
    assert_eq!(
        serde_json::to_string(&PersistentID).unwrap(),
        r#""PERSISTENT-I-D""#
    );
    let fresh = spdx_rs::models::SPDX::new("x").document_creation_information;
    assert_eq!(fresh.spdx_version, "SPDX-2.2");
    assert!(
        fresh
            .creation_info
            .creators
            .contains(&"Person: Jane Doe ()".to_owned())
    );
}
