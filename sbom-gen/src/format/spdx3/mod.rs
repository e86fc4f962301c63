//! SPDX 3.0.1 as JSON-LD: one `@graph` of elements that name each other by address.
//!
//! An address is the document's own (which ends in its digest), `#`, and a local name. The fields
//! stand in [`element`]; here is which elements a graph becomes:
//!
//! * The release, packages, source packages, parts and tools are `software_Package`.
//! * [`relations`]: `contains` leads to parts (never complete: more may hide), files and the packages
//!   of a release (complete); `generates` from source to package, and from what upstream published to
//!   the file of a source package; `patchedBy` from source to patch; `dependsOn` between packages.
//! * `hasDistributionArtifact` leads to the file that one gets: the `.rpm`, or for a part that was
//!   linked in, the file of the package that holds it.
//! * Properties are CycloneDX properties, for which SPDX has an extension of its own.

mod element;
mod relations;

use super::stream::{self, Each};
use super::{CONTENT_DIGEST, SbomFormat, document_base, evidence_text, local_id, web_url};
use crate::SbomError;
use crate::graph::{Graph, Node, NodeKind, SourceRole, Standing, TOOL};
use crate::hashes::Algorithm;
use crate::inventory::FileRecord;
use crate::licence::Licence;
use element::{
    CREATION, Dictionary, Element, Extension, ExternalIdentifier, ExternalRef, Hash, PropertyEntry,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

pub(super) const V3_0_1: SbomFormat = SbomFormat {
    name: "spdx-3.0.1",
    media_type: "application/spdx+json; version=3.0.1",
    file_suffix: ".spdx3.json",
    predicate_type: "https://spdx.dev/Document/v3.0.1",
    write,
};

/// RPMFILE_DOC.
const FLAG_DOC: u32 = 1 << 1;

fn write(graph: &Graph<'_>, out: &mut dyn Write) -> Result<(), SbomError> {
    let base = document_base(graph.options)?;
    let digest = stream::digest(&Writer::new(graph, String::new()).shape())?;
    let address = format!("{base}/spdx-3.0.1/{}/{digest}", graph.profile());
    stream::write(&Writer::new(graph, address).shape(), out)
}

#[derive(Serialize)]
struct Document<G> {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@graph")]
    graph: G,
}

/// A graph and the address of the document that it becomes.
struct Writer<'a> {
    graph: &'a Graph<'a>,
    address: String,
    /// Every licence in use, by expression.
    licences: BTreeMap<&'a str, &'a Licence>,
    /// Files that hold parts, by path.
    holders: BTreeMap<&'a str, &'a FileRecord>,
    /// Who built packages first, where that is somebody else than who supplies them.
    vendors: BTreeSet<&'a str>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph<'a>, address: String) -> Self {
        let licences = graph.nodes.iter().filter_map(|node| node.licence.as_ref());
        let holders = graph.nodes.iter().filter_map(|node| node.held_in);
        let vendors = graph.nodes.iter().filter_map(|node| node.details.vendor);
        let supplier = graph.options.supplier.name.as_str();
        Self {
            graph,
            address,
            licences: licences
                .map(|licence| (licence.expression.as_str(), licence))
                .collect(),
            holders: holders.map(|file| (file.path.as_str(), file)).collect(),
            vendors: vendors.filter(|vendor| *vendor != supplier).collect(),
        }
    }

    fn shape(&self) -> impl Serialize {
        Document {
            context: "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
            graph: Each(move || self.elements()),
        }
    }

    fn elements(&self) -> impl Iterator<Item = Element<'_>> {
        self.frame()
            .into_iter()
            .chain(self.organizations())
            .chain(self.licence_elements())
            .chain(self.graph.nodes.iter().map(|node| self.node(node)))
            .chain(self.artifacts())
            .chain(self.file_records().map(|record| self.file(record)))
            .chain(self.relations())
    }

    fn id(&self, local: &str) -> String {
        format!("{}#{local}", self.address)
    }

    fn element(&self, kind: &'static str, local: &str) -> Element<'a> {
        Element {
            kind,
            spdx_id: Some(self.id(local)),
            creation_info: Some(CREATION),
            ..Element::default()
        }
    }

    /// Who made the document, when, with what, about which package.
    fn frame(&self) -> [Element<'_>; 5] {
        let creation = Element {
            kind: "CreationInfo",
            blank_id: Some(CREATION),
            spec_version: Some("3.0.1"),
            created: Some(self.graph.created.to_string()),
            created_by: vec![self.id("Supplier")],
            created_using: vec![self.id("Tool")],
            ..Element::default()
        };
        let tool = Element {
            name: Some(format!("{} {}", TOOL.0, TOOL.1).into()),
            ..self.element("Tool", "Tool")
        };
        let data_licence = Element {
            license_expression: Some("CC0-1.0"),
            ..self.element("simplelicensing_LicenseExpression", "DataLicense")
        };
        // Never `extension`: JSON-LD takes a term before a vocabulary, so that in SPDX's context the word is
        // the property of that name and no profile, which the shapes refuse.
        let mut profiles = vec!["core", "software", "simpleLicensing"];
        if self.graph.build_info.is_some() {
            profiles.insert(1, "build");
        }
        let document = Element {
            name: Some(self.graph.name.as_str().into()),
            data_license: Some(self.id("DataLicense")),
            root_element: vec![self.id("Sbom")],
            profile_conformance: profiles.clone(),
            ..self.element("SpdxDocument", "Document")
        };
        let sbom = Element {
            root_element: vec![self.node_id(self.graph.root())],
            element: self
                .graph
                .nodes
                .iter()
                .map(|node| self.node_id(node))
                .collect(),
            profile_conformance: profiles,
            sbom_type: match self.graph.build_info {
                Some(_) => vec!["analyzed", "build"],
                None => vec!["analyzed"],
            },
            ..self.element("software_Sbom", "Sbom")
        };
        [creation, tool, data_licence, document, sbom]
    }

    fn organizations(&self) -> impl Iterator<Item = Element<'_>> {
        let supplier = &self.graph.options.supplier;
        let identifiers = [
            (
                "email",
                Some(supplier.email.as_str()).filter(|email| email.contains('@')),
            ),
            ("other", web_url(&supplier.url)),
        ];
        let operator = Element {
            name: Some(supplier.name.as_str().into()),
            external_identifier: identifiers
                .into_iter()
                .filter_map(|(kind, value)| Some(ExternalIdentifier::new(kind, value?)))
                .collect(),
            ..self.element("Organization", "Supplier")
        };
        let vendors = self.vendors.iter().map(|vendor| Element {
            name: Some((*vendor).into()),
            ..self.element("Organization", &local_id("Vendor", vendor, vendor))
        });
        std::iter::once(operator).chain(vendors)
    }

    fn licence_elements(&self) -> impl Iterator<Item = Element<'_>> {
        let texts = self.graph.licence_texts.iter().map(|(id, text)| Element {
            name: Some(id.as_str().into()),
            license_text: Some(text),
            ..self.element("simplelicensing_SimpleLicensingText", &text_id(id))
        });
        let expressions = self.licences.iter().map(|(expression, licence)| Element {
            license_expression: Some(expression),
            custom_id_to_uri: licence
                .references
                .keys()
                .map(|id| Dictionary {
                    kind: "DictionaryEntry",
                    key: id,
                    value: self.id(&text_id(id)),
                })
                .collect(),
            ..self.element(
                "simplelicensing_LicenseExpression",
                &expression_id(expression),
            )
        });
        texts.chain(expressions)
    }

    fn node_id(&self, node: &Node<'_>) -> String {
        self.id(&local_id("Package", node.name, &node.key))
    }

    fn file_id(&self, record: &FileRecord) -> String {
        let base = record.path.rsplit('/').next().unwrap_or_default();
        self.id(&local_id("File", base, &record.path))
    }

    fn node(&self, node: &'a Node<'a>) -> Element<'a> {
        let supplier = self.id("Supplier");
        let is_supplied = !matches!(node.standing, Standing::Upstream | Standing::Tool);
        let details = &node.details;
        let vendor = details.vendor.filter(|one| self.vendors.contains(one));
        let vendor = vendor.map(|one| self.id(&local_id("Vendor", one, one)));
        let references = [("issueTracker", details.bug_url), ("vcs", details.vcs)];
        let references = references
            .into_iter()
            .filter_map(|(kind, url)| Some(external_ref(kind, web_url(url?)?)));
        let own = node.purl.as_deref();
        let purls = own.into_iter();
        let purls = purls.chain(node.identities.iter().map(|one| one.purl.as_str()));
        let documents = node
            .documents
            .iter()
            .map(|(url, _)| ("sbom:document", url.as_str()));
        let pairs = node.properties.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        Element {
            name: Some(node.full_name().into()),
            summary: details.summary,
            description: details.description,
            built_time: details.built.map(|time| time.to_string()),
            home_page: details.url.and_then(web_url),
            download_location: node.location.as_deref().and_then(web_url),
            external_ref: references.collect(),
            package_version: node.version.as_deref(),
            package_url: own,
            external_identifier: purls
                .map(|purl| ExternalIdentifier::new("packageUrl", purl))
                .chain(cpe(node))
                .collect(),
            originated_by: is_supplied
                .then(|| supplier.clone())
                .into_iter()
                .chain(vendor)
                .collect(),
            supplied_by: is_supplied.then_some(supplier),
            primary_purpose: Some(purpose(node)),
            comment: evidence_text(node),
            extension: properties(pairs.chain(documents)),
            ..self.element(
                "software_Package",
                &local_id("Package", node.name, &node.key),
            )
        }
    }

    /// The files that one gets: those of the packages, or of a release the one that names them.
    fn artifacts(&self) -> impl Iterator<Item = Element<'_>> {
        let nodes = self.graph.nodes.iter().filter(|node| node.is_file());
        nodes.map(|node| Element {
            name: node.file_name.as_deref().map(Into::into),
            primary_purpose: Some(match node.standing {
                Standing::Release => "manifest",
                _ => "archive",
            }),
            // BSI TR-03183-2: `container` stands for a file whose parts can be told apart.
            additional_purpose: vec!["container"],
            external_ref: node
                .index_location
                .as_deref()
                .or(node.location.as_deref())
                .and_then(web_url)
                .map(|url| external_ref("binaryArtifact", url))
                .into_iter()
                .collect(),
            verified_using: verified(
                &node.digests.list,
                node.digests.of_content.then_some(CONTENT_DIGEST),
            ),
            ..self.element("software_File", &artifact_id(node))
        })
    }

    /// The files that the document lists, and those that hold parts in any case.
    fn file_records(&self) -> impl Iterator<Item = &'a FileRecord> {
        let listed: BTreeSet<&str> = self
            .graph
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        let holders: Vec<_> = self
            .holders
            .values()
            .copied()
            .filter(|file| !listed.contains(file.path.as_str()))
            .collect();
        self.graph.files.iter().copied().chain(holders)
    }

    fn file(&self, record: &'a FileRecord) -> Element<'a> {
        let is_elf = record.build_id.is_some() || self.holders.contains_key(record.path.as_str());
        let role = self.graph.source_roles.get(record.path.as_str());
        let facts = [
            ("elf:build-id", record.build_id.as_deref()),
            ("rpm:link-target", record.link_target.as_deref()),
        ];
        let facts = facts.into_iter();
        let base = record.path.rsplit('/').next().unwrap_or_default();
        let hashes = record.hashes.map(|hashes| verified(&hashes.list(), None));
        Element {
            name: Some(record.path.as_str().into()),
            primary_purpose: match (role, record.flags & FLAG_DOC) {
                (Some(SourceRole::Patch), _) => Some("patch"),
                (Some(SourceRole::Source(_)), _) => Some("source"),
                _ if is_elf => Some("executable"),
                (None, 0) => None,
                (None, _) => Some("documentation"),
            },
            // BSI TR-03183-2: `firmware` stands for a file whose parts cannot be told apart.
            additional_purpose: is_elf.then_some("firmware").into_iter().collect(),
            verified_using: hashes.unwrap_or_default(),
            extension: properties(facts.filter_map(|(name, value)| Some((name, value?)))),
            ..self.element("software_File", &local_id("File", base, &record.path))
        }
    }
}

fn cpe<'a>(node: &'a Node<'a>) -> Option<ExternalIdentifier<'a>> {
    let mut properties = node.properties.iter();
    let (_, cpe) = properties.find(|(name, _)| name == "release:cpe")?;
    let kind = match cpe.starts_with("cpe:2.3:") {
        true => "cpe23",
        false => "cpe22",
    };
    Some(ExternalIdentifier::new(kind, cpe))
}

fn purpose(node: &Node<'_>) -> &'static str {
    match (node.standing, node.kind) {
        (Standing::Release, _) => "operatingSystem",
        _ if node.is_source => "source",
        (Standing::Upstream, _) => "source",
        (Standing::Package, _) => "install",
        (_, NodeKind::Application) => "application",
        (_, NodeKind::Firmware) => "firmware",
        (_, NodeKind::Library | NodeKind::OperatingSystem) => "library",
    }
}

fn properties<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Extension<'a>> {
    Extension::of(pairs.map(|(name, value)| PropertyEntry {
        kind: "extension_CdxPropertyEntry",
        name,
        value,
    }))
}

fn artifact_id(node: &Node<'_>) -> String {
    let kind = match node.standing {
        Standing::Release => "Index",
        _ => "Rpm",
    };
    local_id(kind, node.name, &node.key)
}

/// * `kind`: a value of ExternalRefType, such as `vcs`.
fn external_ref<'a>(kind: &'static str, url: &'a str) -> ExternalRef<'a> {
    ExternalRef {
        kind: "ExternalRef",
        external_ref_type: kind,
        locator: [url],
    }
}

fn text_id(reference: &str) -> String {
    local_id("LicenseText", reference, reference)
}

fn expression_id(expression: &str) -> String {
    local_id("License", "", expression)
}

/// * `comment`: what the digests are of, where it is not the whole file.
fn verified(list: &[(Algorithm, String)], comment: Option<&'static str>) -> Vec<Hash> {
    list.iter()
        .map(|(algorithm, hex)| Hash {
            kind: "Hash",
            comment,
            algorithm: algorithm.lower(),
            hash_value: hex.clone(),
        })
        .collect()
}
