//! CSAF, profile `csaf_vex`.

use super::{Statement, Statements, Vex, VexError, clip, purl, time};
use repo_model::wire::sbom::VulnerabilityStatus;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct Root {
    document: Document,
    #[serde(default)]
    product_tree: Tree,
    #[serde(default)]
    vulnerabilities: Vec<Vulnerability>,
}

#[derive(Deserialize)]
struct Document {
    category: String,
    #[serde(default)]
    publisher: Publisher,
    tracking: Tracking,
}

#[derive(Default, Deserialize)]
struct Publisher {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Tracking {
    id: String,
    current_release_date: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tree {
    branches: Vec<Branch>,
    full_product_names: Vec<Product>,
    relationships: Vec<Relationship>,
}

/// Nested at most as deep as JSON may be: serde_json stops at 128.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Branch {
    branches: Vec<Branch>,
    product: Option<Product>,
}

#[derive(Deserialize)]
struct Product {
    product_id: String,
    product_identification_helper: Option<Helper>,
}

#[derive(Deserialize)]
struct Helper {
    purl: Option<String>,
    /// CSAF 2.1 has several.
    #[serde(default)]
    purls: Vec<String>,
}

#[derive(Deserialize)]
struct Relationship {
    full_product_name: Product,
    product_reference: String,
    relates_to_product_reference: String,
}

#[derive(Deserialize)]
struct Vulnerability {
    cve: Option<String>,
    #[serde(default)]
    ids: Vec<Id>,
    #[serde(default)]
    product_status: HashMap<String, Vec<String>>,
    #[serde(default)]
    flags: Vec<Remark>,
    #[serde(default)]
    threats: Vec<Remark>,
    #[serde(default)]
    remediations: Vec<Remark>,
}

#[derive(Deserialize)]
struct Id {
    text: String,
}

/// A flag has a label, threats and remediations have details.
#[derive(Deserialize)]
struct Remark {
    #[serde(default)]
    label: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    details: String,
    #[serde(default)]
    product_ids: Vec<String>,
}

/// A product, and the part of it that a relationship is about.
#[derive(Clone)]
struct Named {
    product: String,
    subcomponent: Option<String>,
}

impl Product {
    fn purl(&self) -> Option<String> {
        let helper = self.product_identification_helper.as_ref()?;
        purl(
            helper
                .purl
                .as_deref()
                .or(helper.purls.first().map(String::as_str)),
        )
    }
}

fn products(tree: &Tree) -> HashMap<&str, Named> {
    let mut known: HashMap<&str, Named> = HashMap::new();
    let mut open: Vec<&Branch> = tree.branches.iter().collect();
    let mut all: Vec<&Product> = tree.full_product_names.iter().collect();
    while let Some(branch) = open.pop() {
        open.extend(&branch.branches);
        all.extend(&branch.product);
    }
    for product in all {
        if let Some(purl) = product.purl() {
            let named = Named {
                product: purl,
                subcomponent: None,
            };
            known.insert(product.product_id.as_str(), named);
        }
    }
    for relationship in &tree.relationships {
        let of = |id: &str| known.get(id).map(|named| named.product.clone());
        let part = of(&relationship.product_reference);
        let whole = of(&relationship.relates_to_product_reference);
        let own = relationship.full_product_name.purl();
        let named = match (own, whole, part) {
            (Some(own), _, _) => Named {
                product: own,
                subcomponent: None,
            },
            (None, Some(whole), Some(part)) => Named {
                product: whole,
                subcomponent: Some(part),
            },
            // A component of a product that is no package: the component itself.
            (None, None, Some(part)) => Named {
                product: part,
                subcomponent: None,
            },
            (None, _, None) => continue,
        };
        known.insert(relationship.full_product_name.product_id.as_str(), named);
    }
    known
}

fn status(name: &str) -> Option<VulnerabilityStatus> {
    Some(match name {
        "fixed" | "first_fixed" => VulnerabilityStatus::Fixed,
        "known_affected" | "first_affected" | "last_affected" => VulnerabilityStatus::Affected,
        "known_not_affected" => VulnerabilityStatus::NotAffected,
        "under_investigation" => VulnerabilityStatus::UnderInvestigation,
        // `recommended` says nothing about a vulnerability; what is unknown says nothing at all.
        _ => return None,
    })
}

/// The first remark about a product that passes.
fn about<'r>(
    remarks: &'r [Remark],
    product: &str,
    passes: impl Fn(&Remark) -> bool,
) -> Option<&'r Remark> {
    let mut remarks = remarks.iter().filter(|remark| passes(remark));
    remarks.find(|remark| remark.product_ids.iter().any(|id| id == product))
}

pub(super) fn read(json: &[u8]) -> Result<Vex, VexError> {
    let root: Root = serde_json::from_slice(json)?;
    if root.document.category != "csaf_vex" {
        return Err(VexError::Unknown);
    }
    let tracking = &root.document.tracking;
    let stated_at = time(&tracking.current_release_date)?;
    let known = products(&root.product_tree);
    let mut statements = Statements::default();
    for vulnerability in &root.vulnerabilities {
        let names: Vec<&String> = vulnerability
            .cve
            .iter()
            .chain(vulnerability.ids.iter().map(|id| &id.text))
            .collect();
        // A map has no order; statements do.
        let mut lists: Vec<_> = vulnerability.product_status.iter().collect();
        lists.sort();
        for (list, ids) in lists {
            let Some(status) = status(list) else {
                continue;
            };
            for id in ids {
                let Some(named) = known.get(id.as_str()) else {
                    continue;
                };
                let flag = about(&vulnerability.flags, id, |_| true);
                let words = about(&vulnerability.threats, id, |threat| {
                    threat.category == "impact"
                })
                .or_else(|| about(&vulnerability.remediations, id, |_| true));
                for name in &names {
                    statements.add(Statement {
                        vulnerability: clip(name),
                        product: named.product.clone(),
                        subcomponent: named.subcomponent.clone(),
                        status,
                        justification: flag.map(|flag| clip(&flag.label)),
                        remark: words.map(|words| clip(&words.details)),
                        stated_at,
                    })?;
                }
            }
        }
    }
    Ok(Vex {
        format: "csaf",
        name: clip(&tracking.id),
        author: clip(&root.document.publisher.name),
        issued: tracking.current_release_date.clone(),
        statements: statements.0,
    })
}
