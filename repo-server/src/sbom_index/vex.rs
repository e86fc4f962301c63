//! VEX documents: what somebody states about a vulnerability in a product. Two formats are read.
//!
//! OpenVEX 0.2 (<https://github.com/openvex/spec>):
//!
//! ```json
//! {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://linux.example/vex/7", "author": "Security team",
//!  "timestamp": "2026-01-02T03:04:05Z", "version": 1, "statements": [{
//!    "vulnerability": {"name": "CVE-2025-1"}, "status": "not_affected",
//!    "products": [{"@id": "pkg:rpm/linux/hello", "subcomponents": [{"@id": "pkg:golang/golang.org/x/net"}]}],
//!    "justification": "vulnerable_code_not_in_execute_path"}]}
//! ```
//!
//! CSAF 2.0 and 2.1, profile `csaf_vex` (<https://docs.oasis-open.org/csaf/>).
//!
//! Products and subcomponents are package URLs; one without a version means every version. Products that
//! have no package URL are passed over.

mod csaf;
mod openvex;

use super::purl::Purl;
use repo_model::Timestamp;
use repo_model::wire::sbom::VulnerabilityStatus;

/// Most statements taken from one document.
const MAX_STATEMENTS: usize = 100_000;
/// Longest texts that are kept, characters.
const TEXT: usize = 2_000;

/// The document cannot be used. Whoever made it is at fault; sending it again fails again.
#[derive(Debug, thiserror::Error)]
pub enum VexError {
    /// Not JSON, or a field has another shape.
    #[error("the document does not parse")]
    Json(#[from] serde_json::Error),
    /// Neither format.
    #[error(
        "the document is neither OpenVEX (`@context` of openvex.dev) nor CSAF (`document.category` csaf_vex)"
    )]
    Unknown,
    /// A time is none.
    #[error("`{text}` is no RFC 3339 time")]
    Time {
        /// What it says.
        text: String,
    },
    /// A status is none.
    #[error("`{text}` is no status of a vulnerability")]
    Status {
        /// What it says.
        text: String,
    },
    /// Both formats want a reason.
    #[error(
        "{vulnerability} is said not to affect {product}, without a justification or impact statement"
    )]
    Unjustified {
        /// Which.
        vulnerability: String,
        /// Which.
        product: String,
    },
    /// Nothing in it is about a package.
    #[error("no statement names a product by package URL")]
    NoProduct,
    /// More than any real document has.
    #[error("the document has more than {MAX_STATEMENTS} statements and products")]
    TooMany,
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vex {
    /// `openvex` or `csaf`.
    pub format: &'static str,
    /// Its own identifier.
    pub name: String,
    /// Who wrote it.
    pub author: String,
    /// When, as written.
    pub issued: String,
    /// One for each vulnerability and product.
    pub statements: Vec<Statement>,
}

/// What is stated about one vulnerability in one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// `CVE-2025-1`
    pub vulnerability: String,
    /// Package URL.
    pub product: String,
    /// Package URL of what is inside it.
    pub subcomponent: Option<String>,
    /// What is known.
    pub status: VulnerabilityStatus,
    /// A word of the specification.
    pub justification: Option<String>,
    /// Why, in words.
    pub remark: Option<String>,
    /// When it was stated.
    pub stated_at: Timestamp,
}

/// Reads a document of either format.
pub fn read(json: &[u8]) -> Result<Vex, VexError> {
    #[derive(serde::Deserialize)]
    struct Either {
        #[serde(rename = "@context", default)]
        context: serde_json::Value,
        document: Option<serde_json::Value>,
    }
    let either: Either = serde_json::from_slice(json)?;
    let context = either.context.as_str().unwrap_or_default();
    let vex = if context.starts_with("https://openvex.dev/ns") {
        openvex::read(json)?
    } else if either.document.is_some() {
        csaf::read(json)?
    } else {
        return Err(VexError::Unknown);
    };
    match vex.statements.is_empty() {
        true => Err(VexError::NoProduct),
        false => Ok(vex),
    }
}

/// Gathers statements within the limits.
#[derive(Default)]
struct Statements(Vec<Statement>);

impl Statements {
    fn add(&mut self, statement: Statement) -> Result<(), VexError> {
        if statement.status == VulnerabilityStatus::NotAffected
            && statement.justification.is_none()
            && statement.remark.is_none()
        {
            return Err(VexError::Unjustified {
                vulnerability: clip(&statement.vulnerability),
                product: clip(&statement.product),
            });
        }
        if self.0.len() >= MAX_STATEMENTS {
            return Err(VexError::TooMany);
        }
        self.0.push(statement);
        Ok(())
    }
}

fn clip(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

/// A text that is a package URL.
fn purl(text: Option<&str>) -> Option<String> {
    text.filter(|text| Purl::parse(text).is_some())
        .map(str::to_owned)
}

fn time(text: &str) -> Result<Timestamp, VexError> {
    let format = &time::format_description::well_known::Rfc3339;
    let parsed = time::OffsetDateTime::parse(text, format);
    let parsed = parsed.map_err(|_| VexError::Time {
        text: text.chars().take(80).collect(),
    })?;
    Ok(Timestamp::from_unix_secs(parsed.unix_timestamp()))
}

#[cfg(test)]
mod tests;
