//! One CycloneDX document as a stream of facts: the package first, then each component, then each
//! edge. One component at a time is in memory, however long the document is.
//!
//! Only standard fields are read, and the few properties that our documents add:
//! `package:rpm:sha256header` (which package it is about) and `package:rpm:license` (the tag as written).

use crate::json_list::Each;
use repo_model::HeaderDigest;
use repo_model::sbom_facts::HEADER_PROPERTY;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::io::Read;

/// The document cannot be read. Whoever made it is at fault; making it anew may help.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or no CycloneDX.
    #[error("the SBOM is no CycloneDX document in the order that is read here")]
    Json(#[source] serde_json::Error),
    /// It is about another package.
    #[error("the SBOM is about package {found}, not {wanted}")]
    OtherPackage {
        /// Which it should be about.
        wanted: HeaderDigest,
        /// What it says.
        found: String,
    },
}

/// Takes the facts in.
pub trait Sink {
    /// What storing can fail with.
    type Error;
    /// The package; called once, first.
    fn package(&mut self, package: &Component) -> Result<(), Self::Error>;
    /// Something inside it.
    fn component(&mut self, component: &Component) -> Result<(), Self::Error>;
    /// What one of them depends on or holds.
    fn edges(&mut self, edges: &Edges) -> Result<(), Self::Error>;
}

/// A component as CycloneDX writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Component {
    /// `library`, `file`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Name within the document.
    #[serde(rename = "bom-ref")]
    pub bom_ref: Option<String>,
    /// Name; of a file its path.
    pub name: String,
    /// `excluded`: took part in the build only.
    pub scope: Option<String>,
    /// Package URL.
    pub purl: Option<String>,
    /// Digests.
    pub hashes: Vec<Hash>,
    licenses: Vec<LicenseChoice>,
    evidence: Option<Evidence>,
    pedigree: Option<Pedigree>,
    properties: Vec<Property>,
}

/// A digest.
#[derive(Debug, Deserialize)]
pub struct Hash {
    /// `SHA-256`
    pub alg: String,
    /// Hex.
    pub content: String,
}

#[derive(Debug, Deserialize)]
struct LicenseChoice {
    expression: Option<String>,
    license: Option<License>,
    acknowledgement: Option<String>,
}

#[derive(Debug, Deserialize)]
struct License {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Evidence {
    #[serde(deserialize_with = "one_or_many")]
    identity: Vec<Identity>,
    occurrences: Vec<Occurrence>,
}

/// One claim of identity.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Another name of the same thing.
    pub concluded_value: Option<String>,
    /// How it is known.
    pub methods: Vec<Method>,
}

/// One way of knowing.
#[derive(Debug, Deserialize)]
pub struct Method {
    /// `binary-analysis`, `manifest-analysis`.
    pub technique: String,
    /// 0 to 1.
    #[serde(default)]
    pub confidence: f64,
    /// The reader: `go-buildinfo`.
    #[serde(default)]
    pub value: String,
}

#[derive(Debug, Deserialize)]
struct Occurrence {
    #[serde(default)]
    location: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pedigree {
    ancestors: Vec<Ancestor>,
}

#[derive(Debug, Deserialize)]
struct Ancestor {
    purl: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Property {
    name: String,
    #[serde(default)]
    value: String,
}

/// What one component depends on or holds, by `bom-ref`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edges {
    /// From which.
    #[serde(rename = "ref")]
    pub from: String,
    /// To which.
    #[serde(default)]
    pub depends_on: Vec<String>,
}

/// 1.5 has one identity, later versions a list.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Identity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(Identity),
        Many(Vec<Identity>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(identity) => vec![identity],
        Either::Many(many) => many,
    })
}

impl Component {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        let found = self
            .properties
            .iter()
            .find(|property| property.name == name);
        found.map(|property| property.value.as_str())
    }

    /// The licence that it declares: expression, SPDX identifier or name.
    pub fn licence(&self) -> Option<&str> {
        let declared =
            |choice: &&LicenseChoice| choice.acknowledgement.as_deref() == Some("declared");
        let choice = self.licenses.iter().find(declared);
        let choice = choice.or_else(|| self.licenses.first())?;
        let license = choice.license.as_ref();
        let named =
            || license.and_then(|license| license.id.as_deref().or(license.name.as_deref()));
        choice.expression.as_deref().or_else(named)
    }

    /// Claims of identity.
    pub fn identities(&self) -> &[Identity] {
        self.evidence
            .as_ref()
            .map_or(&[], |evidence| &evidence.identity)
    }

    /// Files that it was seen in.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let occurrences = self
            .evidence
            .iter()
            .flat_map(|evidence| &evidence.occurrences);
        occurrences.map(|occurrence| occurrence.location.as_str())
    }

    /// Package URLs of what it was made from.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        let ancestors = self
            .pedigree
            .iter()
            .flat_map(|pedigree| &pedigree.ancestors);
        ancestors.filter_map(|ancestor| ancestor.purl.as_deref())
    }

    /// The first digest of this algorithm, if it has so many bytes.
    pub fn hash(&self, algorithm: &str, bytes: usize) -> Option<Vec<u8>> {
        let hash = self.hashes.iter().find(|hash| hash.alg == algorithm)?;
        hex::decode(&hash.content)
            .ok()
            .filter(|raw| raw.len() == bytes)
    }
}

/// Reads a document to its end.
///
/// * `about`: the package that it must be about.
/// * The outer error is the sink's.
pub fn read<S: Sink>(
    document: impl Read,
    about: HeaderDigest,
    sink: &mut S,
) -> Result<Result<(), ReadError>, S::Error> {
    let mut failed = None;
    let mut deserializer = serde_json::Deserializer::from_reader(document);
    let bom = Bom {
        about,
        sink,
        failed: &mut failed,
    };
    let read = bom.deserialize(&mut deserializer);
    match (failed, read) {
        (Some(Stop::Sink(error)), _) => Err(error),
        (Some(Stop::Other(error)), _) => Ok(Err(error)),
        (None, Err(error)) => Ok(Err(ReadError::Json(error))),
        (None, Ok(())) => Ok(Ok(())),
    }
}

enum Stop<E> {
    Sink(E),
    Other(ReadError),
}

struct Bom<'a, S: Sink> {
    about: HeaderDigest,
    sink: &'a mut S,
    failed: &'a mut Option<Stop<S::Error>>,
}

#[derive(Deserialize)]
struct Metadata {
    component: Component,
}

impl<'de, S: Sink> DeserializeSeed<'de> for Bom<'_, S> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Bom<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CycloneDX document")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut named = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "metadata" => {
                    let metadata: Metadata = map.next_value()?;
                    self.package(&metadata.component)?;
                    named = true;
                }
                "components" if named => {
                    map.next_value_seed(Each::new(|component: Component| {
                        self.keep::<A::Error>(|sink| sink.component(&component))
                    }))?
                }
                "dependencies" if named => map.next_value_seed(Each::new(|edges: Edges| {
                    self.keep::<A::Error>(|sink| sink.edges(&edges))
                }))?,
                "components" | "dependencies" => {
                    return Err(serde::de::Error::custom("metadata does not come first"));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match named {
            true => Ok(()),
            false => Err(serde::de::Error::missing_field("metadata")),
        }
    }
}

impl<S: Sink> Bom<'_, S> {
    fn package<E: serde::de::Error>(&mut self, package: &Component) -> Result<(), E> {
        let found = package.property(HEADER_PROPERTY).unwrap_or("none");
        if found != self.about.to_hex() {
            *self.failed = Some(Stop::Other(ReadError::OtherPackage {
                wanted: self.about,
                found: found.chars().take(80).collect(),
            }));
            return Err(E::custom("another package"));
        }
        self.keep(|sink| sink.package(package))
    }

    /// What the sink fails with ends the reading and is told by [`read`].
    fn keep<E: serde::de::Error>(
        &mut self,
        give: impl FnOnce(&mut S) -> Result<(), S::Error>,
    ) -> Result<(), E> {
        give(self.sink).map_err(|error| {
            *self.failed = Some(Stop::Sink(error));
            E::custom("the sink failed")
        })
    }
}
