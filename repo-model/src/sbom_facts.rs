//! The two facts about an SBOM document that the policy needs: its format, and which package it is
//! about. The document binds itself to a package by the header digest.

use crate::HeaderDigest;
use serde::Deserialize;

/// Name of the CycloneDX property and the SPDX annotation that hold the header digest.
pub const HEADER_PROPERTY: &str = "package:rpm:sha256header";
/// Largest document that is read, bytes: some 100,000 files. Four of them, as base64, fit a message to
/// the signer.
pub const MAX_BYTES: usize = 64 << 20;

/// What an SBOM document says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbomFacts {
    /// `cyclonedx-1.6`, `spdx-2.3`, ...
    pub format: String,
    /// The package it is about.
    pub header_digest: HeaderDigest,
}

/// The document cannot serve as evidence. Whoever made it is at fault; making it anew may help.
#[derive(Debug, thiserror::Error)]
pub enum SbomFactsError {
    /// Larger than [`MAX_BYTES`].
    #[error("the SBOM is {bytes} bytes; the limit is {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, or not of a format that is known.
    #[error("not a CycloneDX or SPDX JSON document")]
    Json(#[source] serde_json::Error),
    /// It names no package by header digest.
    #[error("the SBOM names no package: it has no `{HEADER_PROPERTY}` with 64 hex digits")]
    Unbound,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: Option<String>,
    spec_version: Option<String>,
    spdx_version: Option<String>,
    metadata: Option<Metadata>,
    #[serde(default)]
    packages: Vec<SpdxPackage>,
    /// SPDX 3: which version's vocabulary the graph is written in.
    #[serde(rename = "@context")]
    context: Option<serde_json::Value>,
    #[serde(rename = "@graph", default)]
    graph: Vec<Spdx3Element>,
}

#[derive(Deserialize)]
struct Spdx3Element {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    extension: Vec<Spdx3Extension>,
}

#[derive(Deserialize)]
struct Spdx3Extension {
    #[serde(rename = "extension_cdxProperty", default)]
    properties: Vec<Spdx3Property>,
}

#[derive(Deserialize)]
struct Spdx3Property {
    #[serde(rename = "extension_cdxPropName")]
    name: String,
    #[serde(rename = "extension_cdxPropValue", default)]
    value: String,
}

#[derive(Deserialize)]
struct Metadata {
    component: Option<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct SpdxPackage {
    #[serde(default)]
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    comment: String,
}

/// Reads the facts out of a document.
pub fn read(document: &[u8]) -> Result<SbomFacts, SbomFactsError> {
    if document.len() > MAX_BYTES {
        return Err(SbomFactsError::TooLarge {
            bytes: document.len(),
        });
    }
    let document: Document = serde_json::from_slice(document).map_err(SbomFactsError::Json)?;
    let (format, digest) = match (&document.bom_format, &document.spdx_version) {
        (Some(format), _) if format == "CycloneDX" => (
            format!(
                "cyclonedx-{}",
                document.spec_version.as_deref().unwrap_or("?")
            ),
            cyclonedx_digest(&document),
        ),
        (_, Some(version)) => (version.to_lowercase(), spdx_digest(&document)),
        _ => match spdx3_version(&document) {
            Some(version) => (format!("spdx-{version}"), spdx3_digest(&document)),
            None => return Err(SbomFactsError::Unbound),
        },
    };
    let header_digest = digest
        .and_then(|text| text.parse().ok())
        .ok_or(SbomFactsError::Unbound)?;
    Ok(SbomFacts {
        format,
        header_digest,
    })
}

fn cyclonedx_digest(document: &Document) -> Option<&str> {
    let component = document.metadata.as_ref()?.component.as_ref()?;
    let property = component
        .properties
        .iter()
        .find(|p| p.name == HEADER_PROPERTY)?;
    Some(&property.value)
}

fn spdx_digest(document: &Document) -> Option<&str> {
    document
        .packages
        .iter()
        .flat_map(|package| &package.annotations)
        .find_map(|annotation| {
            annotation
                .comment
                .strip_prefix(HEADER_PROPERTY)?
                .strip_prefix('=')
        })
}

/// `3.0.1` of `https://spdx.org/rdf/3.0.1/spdx-context.jsonld`.
fn spdx3_version(document: &Document) -> Option<&str> {
    let context = document.context.as_ref()?.as_str()?;
    let version = context.strip_prefix("https://spdx.org/rdf/")?;
    let version = version.strip_suffix("/spdx-context.jsonld")?;
    let is_version =
        version.starts_with("3.") && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_version.then_some(version)
}

fn spdx3_digest(document: &Document) -> Option<&str> {
    let packages = document
        .graph
        .iter()
        .filter(|element| element.kind == "software_Package");
    packages
        .flat_map(|package| &package.extension)
        .flat_map(|extension| &extension.properties)
        .find(|property| property.name == HEADER_PROPERTY)
        .map(|property| property.value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_names_its_package() {
        let hex = "ab".repeat(32);
        let cyclonedx = format!(
            r#"{{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{{"component":{{"properties":[{{"name":"{HEADER_PROPERTY}","value":"{hex}"}}]}}}}}}"#
        );
        let spdx = format!(
            r#"{{"spdxVersion":"SPDX-2.3","packages":[{{"annotations":[{{"comment":"{HEADER_PROPERTY}={hex}"}}]}}]}}"#
        );
        let spdx3 = format!(
            r#"{{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{{"type":"CreationInfo"}},{{"type":"software_Package","extension":[{{"type":"extension_CdxPropertiesExtension","extension_cdxProperty":[{{"extension_cdxPropName":"{HEADER_PROPERTY}","extension_cdxPropValue":"{hex}"}}]}}]}}]}}"#
        );
        let documents = [
            (cyclonedx.replace("1.6", "1.7"), "cyclonedx-1.7"),
            (cyclonedx, "cyclonedx-1.6"),
            (spdx, "spdx-2.3"),
            (spdx3, "spdx-3.0.1"),
        ];
        for (document, format) in documents {
            let facts = read(document.as_bytes()).unwrap();
            assert_eq!(facts.format, format);
            assert_eq!(facts.header_digest.to_hex(), hex);
        }
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"bomFormat":"CycloneDX"}"#,
            r#"{"spdxVersion":"SPDX-2.3"}"#,
            r#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}"#,
            r#"{"@context":["https://spdx.org/rdf/3.0.1/spdx-context.jsonld"]}"#,
            r#"{"@context":"https://elsewhere.example/rdf/3.0.1/spdx-context.jsonld","@graph":[]}"#,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
