//! OpenVEX.

use super::{Statement, Statements, Vex, VexError, clip, purl, time};
use repo_model::wire::sbom::VulnerabilityStatus;
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@id", default)]
    id: String,
    #[serde(default)]
    author: String,
    timestamp: String,
    #[serde(default)]
    statements: Vec<RawStatement>,
}

#[derive(Deserialize)]
struct RawStatement {
    vulnerability: Vulnerability,
    #[serde(default)]
    products: Vec<Product>,
    status: String,
    timestamp: Option<String>,
    justification: Option<String>,
    impact_statement: Option<String>,
    action_statement: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vulnerability {
    Name(String),
    Object {
        name: String,
        #[serde(default)]
        aliases: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Product {
    Id(String),
    Object {
        #[serde(rename = "@id")]
        id: Option<String>,
        identifiers: Option<Identifiers>,
        #[serde(default)]
        subcomponents: Vec<Subcomponent>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Subcomponent {
    Id(String),
    Object {
        #[serde(rename = "@id")]
        id: Option<String>,
        identifiers: Option<Identifiers>,
    },
}

#[derive(Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

fn named(id: Option<&str>, identifiers: Option<&Identifiers>) -> Option<String> {
    purl(identifiers.and_then(|known| known.purl.as_deref())).or_else(|| purl(id))
}

impl Subcomponent {
    fn purl(&self) -> Option<String> {
        match self {
            Self::Id(id) => purl(Some(id)),
            Self::Object { id, identifiers } => named(id.as_deref(), identifiers.as_ref()),
        }
    }
}

impl Product {
    fn purl(&self) -> Option<String> {
        match self {
            Self::Id(id) => purl(Some(id)),
            Self::Object {
                id, identifiers, ..
            } => named(id.as_deref(), identifiers.as_ref()),
        }
    }

    /// What the statement is about within the product. A part that has no package URL cannot be found, and
    /// the statement must not be taken to be about the whole product.
    fn subjects(&self) -> Vec<Option<String>> {
        match self {
            Self::Object { subcomponents, .. } if !subcomponents.is_empty() => subcomponents
                .iter()
                .filter_map(Subcomponent::purl)
                .map(Some)
                .collect(),
            _ => vec![None],
        }
    }
}

pub(super) fn read(json: &[u8]) -> Result<Vex, VexError> {
    let document: Document = serde_json::from_slice(json)?;
    let mut statements = Statements::default();
    for raw in &document.statements {
        let status = VulnerabilityStatus::named(&raw.status).ok_or_else(|| VexError::Status {
            text: raw.status.chars().take(80).collect(),
        })?;
        let stated_at = time(raw.timestamp.as_ref().unwrap_or(&document.timestamp))?;
        let names: Vec<&String> = match &raw.vulnerability {
            Vulnerability::Name(name) => vec![name],
            Vulnerability::Object { name, aliases } => {
                std::iter::once(name).chain(aliases).collect()
            }
        };
        let remark = raw
            .impact_statement
            .as_ref()
            .or(raw.action_statement.as_ref());
        for product in &raw.products {
            let Some(purl) = product.purl() else {
                continue;
            };
            for subcomponent in product.subjects() {
                for name in &names {
                    statements.add(Statement {
                        vulnerability: clip(name),
                        product: purl.clone(),
                        subcomponent: subcomponent.clone(),
                        status,
                        justification: raw.justification.as_deref().map(clip),
                        remark: remark.map(|text| clip(text)),
                        stated_at,
                    })?;
                }
            }
        }
    }
    Ok(Vex {
        format: "openvex",
        name: clip(&document.id),
        author: clip(&document.author),
        issued: document.timestamp,
        statements: statements.0,
    })
}
