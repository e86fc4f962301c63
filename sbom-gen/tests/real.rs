//! Every package of the public set, of all three formats: documents, or an error that says why.

mod common;

#[test]
fn every_real_package_gives_documents() {
    let Some(packages) = common::real_packages("every_real_package_gives_documents") else {
        return;
    };
    let mut refused = Vec::new();
    for path in &packages {
        match common::inventory(&std::fs::read(path).unwrap()) {
            Ok(inventory) => {
                for format in sbom_gen::SBOM_FORMATS {
                    let text = common::document(format.name, &inventory, &common::options());
                    let facts = repo_model::sbom_facts::read(text.as_bytes()).unwrap();
                    assert_eq!(facts.header_digest, inventory.package.header_digest);
                }
            }
            Err(error) => refused.push(format!("{}: {error}", path.display())),
        }
    }
    assert!(
        refused.is_empty(),
        "{} of {}: {refused:#?}",
        refused.len(),
        packages.len()
    );
}

#[test]
fn the_upstream_of_a_real_source_package_is_named_by_url_and_digest() {
    let test = "the_upstream_of_a_real_source_package_is_named_by_url_and_digest";
    let packages = common::real_packages(test).unwrap_or_default();
    let is_it = |path: &&std::path::PathBuf| path.ends_with("Cython-0.17.1-2.el7.src.rpm");
    let Some(path) = packages.iter().find(is_it) else {
        return;
    };
    let inventory = common::inventory(&std::fs::read(path).unwrap()).unwrap();
    let text = common::document("cyclonedx-1.6", &inventory, &common::options());
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let upstream = &document["metadata"]["component"]["pedigree"]["ancestors"][0];
    // sha256sum of the archive in the package; the URL stands in the spec with a macro.
    let wanted = "pkg:generic/Cython@0.17.1?checksum=sha256:\
        0d631b67d73aece33eb98c70257adf946e1e5b31633d701c3fcac2dcf42f0e84\
        &download_url=http:%2F%2Fwww.cython.org%2FCython-0.17.1.tar.gz";
    assert_eq!(upstream["purl"], wanted);
}
