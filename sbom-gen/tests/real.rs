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
