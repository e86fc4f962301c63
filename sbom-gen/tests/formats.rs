//! The contract that every row of `SBOM_FORMATS` keeps, and the documents themselves as goldens.

mod common;

use common::document;
use sbom_gen::{Inventory, Options, SBOM_FORMATS, SbomError};
use std::path::Path;

#[test]
fn every_format_is_found_by_its_own_name_and_suffix() {
    for format in SBOM_FORMATS {
        assert_eq!(
            sbom_gen::format_named(format.name).unwrap().name,
            format.name
        );
        let same = SBOM_FORMATS
            .iter()
            .filter(|other| other.file_suffix == format.file_suffix);
        assert_eq!(same.count(), 1, "{}", format.file_suffix);
        assert!(format.media_type.starts_with("application/"));
    }
    assert!(sbom_gen::format_named("cyclonedx-0.1").is_none());
}

#[test]
fn every_format_names_the_package_by_its_header_digest_and_says_its_own_name() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    for format in SBOM_FORMATS {
        let document = document(format.name, &inventory, &common::options());
        let facts = repo_model::sbom_facts::read(document.as_bytes()).unwrap();
        assert_eq!(facts.format, format.name);
        assert_eq!(facts.header_digest, inventory.package.header_digest);
        assert!(document.ends_with("}\n"));
    }
}

/// Everything that may come in another order, in another order.
fn shuffled(inventory: &Inventory) -> Inventory {
    let mut other = inventory.clone();
    other.components.reverse();
    other.files.rotate_left(3);
    other.identities.reverse();
    other.not_inspected.reverse();
    other.package.requires.reverse();
    other
}

#[test]
fn every_format_writes_equal_bytes_whatever_the_order_of_facts() {
    let rpm = common::fixture();
    let (one, two) = (
        common::inventory(&rpm).unwrap(),
        common::inventory(&rpm).unwrap(),
    );
    assert_eq!(one, two);
    for format in SBOM_FORMATS {
        for files in [true, false] {
            let options = Options {
                files,
                ..common::options()
            };
            let first = document(format.name, &one, &options);
            assert_eq!(
                first,
                document(format.name, &shuffled(&two), &options),
                "{}",
                format.name
            );
        }
    }
}

#[test]
fn every_format_takes_its_time_from_the_options_or_else_the_package() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    for format in SBOM_FORMATS {
        let built = document(format.name, &inventory, &common::options());
        assert!(built.contains("2023-11-14T22:13:20Z"), "{}", format.name);
        let options = Options {
            created: common::at(1),
            ..common::options()
        };
        assert!(document(format.name, &inventory, &options).contains("1970-01-01T00:00:01Z"));
    }
}

#[test]
fn a_document_holds_for_the_package_before_and_after_signing() {
    let Some(packages) =
        common::real_packages("a_document_holds_for_the_package_before_and_after_signing")
    else {
        return;
    };
    let mut pairs = 0;
    for signed in packages
        .iter()
        .filter(|path| path.to_string_lossy().contains("/signed-"))
    {
        let unsigned = signed.with_file_name("rpm-basic-none.noarch.rpm");
        let read = |path: &Path| common::inventory(&std::fs::read(path).unwrap()).unwrap();
        let (signed, unsigned) = (read(signed), read(&unsigned));
        if signed.package.header_digest != unsigned.package.header_digest {
            continue; // another package
        }
        pairs += 1;
        for format in SBOM_FORMATS {
            let document = |inventory| document(format.name, inventory, &common::options());
            assert_eq!(document(&signed), document(&unsigned), "{}", format.name);
        }
    }
    assert!(
        pairs >= 3,
        "only {pairs} signed packages had an unsigned twin"
    );
}

#[test]
fn serials_and_namespaces_differ_when_anything_differs() {
    let one = common::inventory(&common::fixture()).unwrap();
    let mut builder = common::builder("other", rpm::BuildConfig::v4());
    let two = common::inventory(&common::bytes(&mut builder)).unwrap();
    let serial = |format: &str, inventory: &Inventory, options: &Options| {
        let document: serde_json::Value =
            serde_json::from_str(&document(format, inventory, options)).unwrap();
        let name = ["serialNumber", "documentNamespace"]
            .iter()
            .find_map(|key| document[key].as_str());
        // SPDX 3: the address that every element's begins with.
        let elements = document["@graph"].as_array().into_iter().flatten();
        let address = elements
            .filter(|element| element["type"] == "SpdxDocument")
            .find_map(|element| element["spdxId"].as_str());
        name.or(address).unwrap().to_owned()
    };
    for format in SBOM_FORMATS {
        let plain = common::options();
        let bare = Options {
            files: false,
            ..common::options()
        };
        let later = Options {
            created: common::at(5),
            ..common::options()
        };
        let mut found = vec![
            serial(format.name, &one, &plain),
            serial(format.name, &two, &plain),
            serial(format.name, &one, &bare),
            serial(format.name, &one, &later),
        ];
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 4, "{}", format.name);
    }
}

#[test]
fn options_that_no_document_can_hold_are_refused() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    let spdx = ["spdx-2.3", "spdx-3.0.1"].map(|name| sbom_gen::format_named(name).unwrap());
    for url in ["", "repo.example", "ftp//x", "https://a b", "https://a#b"] {
        let options = Options {
            document_base_url: url.to_owned(),
            ..common::options()
        };
        for format in spdx {
            let outcome = format.write(&inventory, &options, &mut Vec::new());
            assert!(matches!(outcome, Err(SbomError::Options { .. })), "{url}");
        }
    }
}

/// Set `HALLMARK_BLESS=1` to write the goldens anew after a deliberate change; then read the diff.
#[test]
fn documents_are_as_they_were_reviewed() {
    let inventory = common::inventory(&common::fixture()).unwrap();
    for format in SBOM_FORMATS.iter().chain(sbom_gen::OLDER_FORMATS) {
        let found = document(format.name, &inventory, &common::options());
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("fixture{}", format.file_suffix));
        if std::env::var_os("HALLMARK_BLESS").is_some() {
            std::fs::write(&golden, &found).unwrap();
        }
        let wanted = std::fs::read_to_string(&golden).unwrap();
        assert!(
            found == wanted,
            "{} differs from {}",
            format.name,
            golden.display()
        );
    }
}
