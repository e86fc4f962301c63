//! Second opinions: what other implementations make of our documents.

mod common;

use common::document;
use sbom_gen::{Inventory, Options, SBOM_FORMATS};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python environment with the validators (`tests/lab/make-venv.sh` makes it).
fn validators() -> Option<PathBuf> {
    let venv = match std::env::var_os("HALLMARK_VENV") {
        Some(venv) => PathBuf::from(venv),
        None => match std::env::var_os("HALLMARK_CACHE") {
            Some(cache) => PathBuf::from(cache).join("venv"),
            None => PathBuf::from("/var/cache/hallmark/venv"),
        },
    };
    let python = venv.join("bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI has no validators: run tests/lab/make-venv.sh"
    );
    eprintln!(
        "SKIP every_validator_accepts_every_document: no {}",
        python.display()
    );
    None
}

/// Packages with thousands of files take the validators minutes; one document of each is enough
/// without its files.
const FILES: usize = 300;

fn write_all(folder: &Path, name: &str, inventory: &Inventory, options: &Options) {
    let options = Options {
        files: inventory.files.len() <= FILES,
        ..options.clone()
    };
    for format in SBOM_FORMATS {
        let path = folder.join(format!("{name}{}", format.file_suffix));
        std::fs::write(path, document(format.name, inventory, &options)).unwrap();
    }
}

#[test]
fn every_validator_accepts_every_document() {
    let Some(python) = validators() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = common::options();
    let hashed = Options {
        file_hashes: true,
        ..common::options()
    };
    let read = |rpm: &[u8], options| sbom_gen::inventory(rpm, options).unwrap();
    let fixture = common::fixture();
    write_all(
        folder.path(),
        "fixture",
        &read(&fixture, &options),
        &options,
    );
    write_all(
        folder.path(),
        "conformant-with-parts",
        &read(&fixture, &hashed),
        &hashed,
    );
    let plain = plain();
    write_all(
        folder.path(),
        "conformant-without-parts",
        &read(&plain, &hashed),
        &hashed,
    );
    write_all(folder.path(), "awkward", &awkward(), &options);
    let (source, packages) = common::build(&hashed);
    for format in SBOM_FORMATS {
        let name = format!("conformant-build{}", format.file_suffix);
        let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
        format
            .write_build(&source, &packages, &hashed, &mut file)
            .unwrap();
    }
    let real = common::real_packages("every_validator_accepts_every_document").unwrap_or_default();
    for path in &real {
        let name = path.to_string_lossy().replace('/', "_");
        write_all(
            folder.path(),
            &name,
            &read(&std::fs::read(path).unwrap(), &options),
            &options,
        );
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/validators/check.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // NTIA by SPDX 2.3 and 3.0.1, BSI by 3.0.1, for all three of them.
    let documents = SBOM_FORMATS.len() * (real.len() + 5);
    let expected = format!("checked {documents}, invalid 0, conformant 9");
    assert!(said.contains(&expected), "{said}");
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

    // What 1.5 already had reads back: a second opinion on the shape.
    let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
    older["specVersion"] = "1.5".into();
    older["$schema"] = "http://cyclonedx.org/schema/bom-1.5.schema.json".into();
    let metadata = older["metadata"].as_object_mut().unwrap();
    metadata.remove("manufacturer"); // new in 1.6
    metadata["component"]
        .as_object_mut()
        .unwrap()
        .remove("evidence"); // an array since 1.6
    metadata["component"]
        .as_object_mut()
        .unwrap()
        .remove("manufacturer");
    for component in older["components"].as_array_mut().unwrap() {
        component.as_object_mut().unwrap().remove("evidence");
    }
    let bom = cyclonedx_bom::models::bom::Bom::parse_json_value(older).unwrap();
    assert_eq!(
        bom.components.unwrap().0.len(),
        inventory.components.len() + inventory.files.len()
    );
    let package = bom.metadata.unwrap().component.unwrap();
    assert_eq!(package.name.to_string(), "fixture");
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
