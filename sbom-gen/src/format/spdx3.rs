//! SPDX 3.0.1 as JSON-LD: one `@graph` of elements that name each other by address.
//!
//! An address is the document's own (which ends in its digest), `#`, and a local name. The fields
//! stand in [`super::spdx3_element`]; here is which elements a graph becomes:
//!
//! * The package, its source package and its parts are `software_Package`.
//! * `contains` leads to parts (never complete: more may hide) and files (complete).
//! * `generates` leads from source package to package.
//! * `hasDistributionArtifact` leads to the file that one gets: the `.rpm`, or for a part that was
//!   linked in, the file of the package that holds it.
//! * Properties are CycloneDX properties, for which SPDX has an extension of its own.

use super::spdx3_element::{
    CREATION, Dictionary, Element, Extension, ExternalIdentifier, ExternalRef, Hash, PropertyEntry,
};
use super::stream::{self, Each};
use super::{SbomFormat, document_base, evidence_text, local_id, web_url};
use crate::SbomError;
use crate::graph::{EdgeKind, Graph, Node, NodeKind, TOOL};
use crate::hashes::Hashes;
use crate::inventory::FileRecord;
use crate::licence::Licence;
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
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph<'a>, address: String) -> Self {
        let licences = graph.nodes.iter().filter_map(|node| node.licence.as_ref());
        let holders = graph.nodes.iter().filter_map(|node| node.held_in);
        Self {
            graph,
            address,
            licences: licences
                .map(|licence| (licence.expression.as_str(), licence))
                .collect(),
            holders: holders.map(|file| (file.path.as_str(), file)).collect(),
        }
    }

    fn shape(&self) -> impl Serialize {
        Document {
            context: "https://spdx.org/rdf/3.0.1/spdx-context.jsonld",
            graph: Each(move || self.elements()),
        }
    }

    fn elements(&self) -> impl Iterator<Item = Element<'_>> {
        let graph = self.graph;
        let parts = graph.nodes[1..].iter().map(|node| self.node(node));
        self.frame()
            .into_iter()
            .chain(self.organizations())
            .chain(self.licence_elements())
            .chain(std::iter::once(self.root()))
            .chain(parts)
            .chain(self.rpm_files())
            .chain(self.file_records().map(|record| self.file(record)))
            .chain(self.containment())
            .chain(self.generation())
            .chain(graph.nodes.iter().flat_map(|node| self.facts(node)))
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
        let profiles = vec!["core", "software", "simpleLicensing", "extension"];
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
            sbom_type: vec!["analyzed"],
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
        let vendor = self.vendor().map(|vendor| Element {
            name: Some(vendor.into()),
            ..self.element("Organization", "Vendor")
        });
        std::iter::once(operator).chain(vendor)
    }

    /// Who built the package first, where that is someone else.
    fn vendor(&self) -> Option<&'a str> {
        let vendor = self.graph.package.vendor.as_deref()?;
        let is_other = vendor != self.graph.options.supplier.name;
        Some(vendor).filter(|vendor| !vendor.trim().is_empty() && is_other)
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

    /// The package that the document is about.
    fn root(&self) -> Element<'_> {
        let header = self.graph.package;
        let some = |text: &'a str| Some(text).filter(|text| !text.trim().is_empty());
        let mut root = self.node(self.graph.root());
        let upstream = self.graph.identities.iter();
        root.external_identifier
            .extend(upstream.map(|identity| ExternalIdentifier::new("packageUrl", &identity.purl)));
        let references = [("issueTracker", &header.bug_url), ("vcs", &header.vcs)];
        let references = references.into_iter().filter_map(|(kind, url)| {
            Some(ExternalRef {
                kind: "ExternalRef",
                external_ref_type: kind,
                locator: [web_url(url.as_deref()?)?],
            })
        });
        root.originated_by
            .extend(self.vendor().map(|_| self.id("Vendor")));
        Element {
            summary: some(&header.summary),
            description: some(&header.description),
            built_time: Some(header.build_time.to_string()),
            home_page: header.url.as_deref().and_then(web_url),
            external_ref: references.collect(),
            primary_purpose: Some(if header.is_source {
                "source"
            } else {
                "install"
            }),
            ..root
        }
    }

    fn node<'b>(&'b self, node: &'b Node<'a>) -> Element<'b> {
        // Who wrote a part is not known here; who keeps it in the package is.
        let supplier = self.id("Supplier");
        Element {
            name: Some(node.full_name().into()),
            package_version: node.version.as_deref(),
            package_url: node.purl.as_deref(),
            external_identifier: node
                .purl
                .iter()
                .map(|purl| ExternalIdentifier::new("packageUrl", purl))
                .collect(),
            originated_by: vec![supplier.clone()],
            supplied_by: Some(supplier),
            primary_purpose: Some(match node.kind {
                _ if node.is_source_package() => "source",
                NodeKind::Application => "application",
                NodeKind::Library => "library",
                NodeKind::Firmware => "firmware",
            }),
            comment: evidence_text(node),
            extension: Extension::of(node.properties.iter().map(|(name, value)| PropertyEntry {
                kind: "extension_CdxPropertyEntry",
                name,
                value,
            })),
            ..self.element(
                "software_Package",
                &local_id("Package", node.name, &node.key),
            )
        }
    }

    /// Nodes whose `.rpm` the document was made from: not the source package that a header names.
    fn in_hand(&self) -> impl Iterator<Item = &Node<'a>> {
        let packages = std::iter::once(self.graph.root()).chain(self.graph.parts());
        packages.filter(|node| node.file_name.is_some())
    }

    fn rpm_id(&self, node: &Node<'_>) -> String {
        self.id(&local_id("Rpm", node.name, &node.key))
    }

    fn rpm_files(&self) -> impl Iterator<Item = Element<'_>> {
        self.in_hand().map(|node| Element {
            name: node.file_name.as_deref().map(Into::into),
            primary_purpose: Some("archive"),
            // BSI TR-03183-2: `container` stands for an archive whose parts can be told apart.
            additional_purpose: vec!["container"],
            verified_using: node.hashes.map(verified).unwrap_or_default(),
            ..self.element("software_File", &local_id("Rpm", node.name, &node.key))
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
        let build_id = record
            .build_id
            .as_deref()
            .map(|value| ("elf:build-id", value));
        let target = record
            .link_target
            .as_deref()
            .map(|value| ("rpm:link-target", value));
        let properties = build_id.into_iter().chain(target);
        let base = record.path.rsplit('/').next().unwrap_or_default();
        Element {
            name: Some(record.path.as_str().into()),
            primary_purpose: match record.flags & FLAG_DOC {
                _ if is_elf => Some("executable"),
                0 => None,
                _ => Some("documentation"),
            },
            // BSI TR-03183-2: `firmware` stands for a file whose parts cannot be told apart.
            additional_purpose: is_elf.then_some("firmware").into_iter().collect(),
            verified_using: record.hashes.as_ref().map(verified).unwrap_or_default(),
            extension: Extension::of(properties.map(|(name, value)| PropertyEntry {
                kind: "extension_CdxPropertyEntry",
                name,
                value,
            })),
            ..self.element("software_File", &local_id("File", base, &record.path))
        }
    }

    fn relationship(
        &self,
        local: &str,
        from: String,
        kind: &'static str,
        to: Vec<String>,
    ) -> Element<'a> {
        Element {
            from: Some(from),
            relationship_type: Some(kind),
            to,
            ..self.element("Relationship", local)
        }
    }

    fn containment(&self) -> impl Iterator<Item = Element<'a>> {
        let parts = self.graph.groups(EdgeKind::Contains).map(|(node, parts)| {
            let local = local_id("ContainsPackages", node.name, &node.key);
            let parts = parts.into_iter().map(|node| self.node_id(node)).collect();
            Element {
                completeness: Some("incomplete"),
                ..self.relationship(&local, self.node_id(node), "contains", parts)
            }
        });
        let files: Vec<_> = self
            .graph
            .files
            .iter()
            .map(|file| self.file_id(file))
            .collect();
        let root = self.node_id(self.graph.root());
        let files = (!files.is_empty()).then(|| Element {
            completeness: Some("complete"),
            ..self.relationship("ContainsFiles", root, "contains", files)
        });
        parts.chain(files)
    }

    fn generation(&self) -> impl Iterator<Item = Element<'a>> {
        let made = self.graph.groups(EdgeKind::GeneratedFrom);
        made.flat_map(move |(node, sources)| {
            sources.into_iter().map(move |source| {
                let local = local_id("Generates", node.name, &node.key);
                let to = vec![self.node_id(node)];
                self.relationship(&local, self.node_id(source), "generates", to)
            })
        })
    }

    /// Licences and file of one package.
    fn facts(&self, node: &Node<'_>) -> impl Iterator<Item = Element<'a>> {
        let local = |kind| local_id(kind, node.name, &node.key);
        let from = || self.node_id(node);
        let licence_id = |licence: &Licence| vec![self.id(&expression_id(&licence.expression))];
        let declared = node.licence.as_ref().map(|licence| Element {
            comment: Some(format!("As written: {}", licence.raw)),
            ..self.relationship(
                &local("Declared"),
                from(),
                "hasDeclaredLicense",
                licence_id(licence),
            )
        });
        // What comes inside a package is distributed under the package's licence unless it
        // states its own: a package's licence tag covers all of its content.
        let own = node.licence.as_ref();
        let concluded = own
            .or(self.graph.root().licence.as_ref())
            .map(|licence| Element {
                comment: own
                    .is_none()
                    .then(|| "The licence of the package that holds it.".to_owned()),
                ..self.relationship(
                    &local("Concluded"),
                    from(),
                    "hasConcludedLicense",
                    licence_id(licence),
                )
            });
        let file = match node.held_in {
            Some(file) => self.file_id(file),
            None => self.rpm_id(self.graph.package_of(node)),
        };
        let artifact = "hasDistributionArtifact";
        let artifact = self.relationship(&local("Artifact"), from(), artifact, vec![file]);
        let is_only_named = node.is_source_package() && node.key != self.graph.root().key;
        let (concluded, artifact) = match is_only_named {
            true => (None, None),
            false => (concluded, Some(artifact)),
        };
        [declared, concluded, artifact].into_iter().flatten()
    }
}

fn text_id(reference: &str) -> String {
    local_id("LicenseText", reference, reference)
}

fn expression_id(expression: &str) -> String {
    local_id("License", "", expression)
}

fn verified(hashes: &Hashes) -> Vec<Hash> {
    let hash = |algorithm, hash_value| Hash {
        kind: "Hash",
        algorithm,
        hash_value,
    };
    vec![
        hash("sha1", hashes.sha1_hex()),
        hash("sha256", hashes.sha256_hex()),
        hash("sha512", hashes.sha512_hex()),
    ]
}
