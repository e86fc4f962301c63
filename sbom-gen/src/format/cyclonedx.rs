//! CycloneDX 1.6 as JSON (schema `bom-1.6.schema.json`, strict).

use super::stream::{self, Each};
use super::{SbomFormat, web_url};
use crate::SbomError;
use crate::component::{Evidence, Scope};
use crate::graph::{EdgeKind, Graph, Node, NodeKind, TOOL};
use crate::hashes::Hashes;
use crate::inventory::FileRecord;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use uuid::Uuid;

pub(super) const V1_6: SbomFormat = SbomFormat {
    name: "cyclonedx-1.6",
    media_type: "application/vnd.cyclonedx+json; version=1.6",
    file_suffix: ".cdx.json",
    predicate_type: "https://cyclonedx.org/bom",
    write,
};

/// Namespace of our serial numbers: UUIDv5 of `hallmark sbom serial numbers` under the OID space.
const SERIALS: Uuid = Uuid::from_u128(0x6828_2593_c1bb_5614_87bc_ad06_5609_98f7);

/// The specification wants serial numbers to differ even between equal documents; ours are equal
/// then, because reproducing the document is worth more (as other reproducible tools decided).
fn write(graph: &Graph<'_>, out: &mut dyn Write) -> Result<(), SbomError> {
    let digest = stream::digest(&Document::new(graph, String::new()).shape())?;
    let name = format!("cyclonedx|1.6|{}|{digest}", graph.profile());
    let serial = format!("urn:uuid:{}", Uuid::new_v5(&SERIALS, name.as_bytes()));
    stream::write(&Document::new(graph, serial).shape(), out)
}

struct Document<'a> {
    graph: &'a Graph<'a>,
    serial: String,
}

impl<'a> Document<'a> {
    fn new(graph: &'a Graph<'a>, serial: String) -> Self {
        Self { graph, serial }
    }

    fn shape(&self) -> impl Serialize {
        let graph = self.graph;
        Bom {
            schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
            bom_format: "CycloneDX",
            spec_version: "1.6",
            serial_number: &self.serial,
            version: 1,
            metadata: metadata(graph),
            components: Each(move || {
                let parts = graph
                    .targets(0, EdgeKind::Contains)
                    .map(|node| component(node));
                parts.chain(graph.files.iter().map(|record| file(record)))
            }),
            dependencies: Each(move || dependencies(graph)),
            compositions: [Composition {
                aggregate: "incomplete",
                assemblies: [&graph.root().key],
                dependencies: [&graph.root().key],
            }],
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom<'a, C, D> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: &'a str,
    version: u32,
    metadata: Metadata<'a>,
    components: C,
    dependencies: D,
    compositions: [Composition<'a>; 1],
}

#[derive(Serialize)]
struct Metadata<'a> {
    timestamp: String,
    lifecycles: [Lifecycle; 1],
    tools: Tools,
    manufacturer: Organization<'a>,
    component: Component<'a>,
    supplier: Organization<'a>,
}

#[derive(Serialize)]
struct Lifecycle {
    phase: &'static str,
}

#[derive(Serialize)]
struct Tools {
    components: [Tool; 1],
}

#[derive(Serialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Organization<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    url: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contact: Vec<Contact<'a>>,
}

#[derive(Serialize)]
struct Contact<'a> {
    email: &'a str,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    bom_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Organization<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<License<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pedigree: Option<Pedigree<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<Reference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Found<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property<'a>>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct License<'a> {
    expression: &'a str,
    acknowledgement: &'static str,
}

#[derive(Serialize)]
struct Pedigree<'a> {
    ancestors: Vec<Component<'a>>,
}

#[derive(Serialize)]
struct Reference<'a> {
    url: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Found<'a> {
    identity: Vec<IdentityClaim<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    occurrences: Vec<Occurrence<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityClaim<'a> {
    field: &'static str,
    confidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    concluded_value: Option<&'a str>,
    methods: Vec<Method>,
}

#[derive(Serialize)]
struct Method {
    technique: &'static str,
    confidence: f64,
    value: &'static str,
}

#[derive(Serialize)]
struct Occurrence<'a> {
    location: &'a str,
}

#[derive(Serialize)]
struct Property<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edges<'a> {
    #[serde(rename = "ref")]
    from: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<&'a str>,
}

#[derive(Serialize)]
struct Composition<'a> {
    aggregate: &'static str,
    assemblies: [&'a str; 1],
    dependencies: [&'a str; 1],
}

fn metadata<'a>(graph: &'a Graph<'a>) -> Metadata<'a> {
    Metadata {
        timestamp: graph.created.to_string(),
        lifecycles: [Lifecycle {
            phase: "post-build",
        }],
        tools: Tools {
            components: [Tool {
                kind: "application",
                name: TOOL.0,
                version: TOOL.1,
            }],
        },
        manufacturer: organization(graph),
        component: package(graph),
        supplier: organization(graph),
    }
}

fn organization<'a>(graph: &'a Graph<'a>) -> Organization<'a> {
    let supplier = &graph.options.supplier;
    Organization {
        name: &supplier.name,
        url: web_url(&supplier.url).into_iter().collect(),
        contact: Some(supplier.email.as_str())
            .filter(|email| !email.is_empty())
            .map(|email| Contact { email })
            .into_iter()
            .collect(),
    }
}

/// The package that the document is about.
fn package<'a>(graph: &'a Graph<'a>) -> Component<'a> {
    let header = graph.package;
    let ancestors: Vec<_> = graph
        .targets(0, EdgeKind::GeneratedFrom)
        .map(component)
        .collect();
    let references = [
        ("website", &header.url),
        ("issue-tracker", &header.bug_url),
        ("vcs", &header.vcs),
    ];
    Component {
        supplier: Some(organization(graph)),
        publisher: header.vendor.as_deref(),
        description: Some(header.summary.as_str()).filter(|summary| !summary.is_empty()),
        hashes: graph
            .inventory
            .rpm_hashes
            .as_ref()
            .map(hashes)
            .unwrap_or_default(),
        pedigree: (!ancestors.is_empty()).then_some(Pedigree { ancestors }),
        external_references: references
            .into_iter()
            .filter_map(|(kind, url)| {
                Some(Reference {
                    url: web_url(url.as_deref()?)?,
                    kind,
                })
            })
            .collect(),
        evidence: upstream(graph),
        scope: None,
        ..component(graph.root())
    }
}

/// The package under its upstream's names.
fn upstream<'a>(graph: &'a Graph<'a>) -> Option<Found<'a>> {
    let claims = graph.identities.iter().map(|identity| IdentityClaim {
        concluded_value: Some(&identity.purl),
        ..claim(&identity.evidence)
    });
    let identity: Vec<_> = claims.collect();
    (!identity.is_empty()).then_some(Found {
        identity,
        occurrences: Vec::new(),
    })
}

fn component<'a>(node: &'a Node<'a>) -> Component<'a> {
    Component {
        kind: match node.kind {
            NodeKind::Application => "application",
            NodeKind::Library => "library",
            NodeKind::Firmware => "firmware",
        },
        bom_ref: Some(node.key.clone()),
        group: node.group,
        name: node.name,
        version: node.version.as_deref(),
        scope: match node.scope {
            Scope::Required => None,
            Scope::Excluded => Some("excluded"),
        },
        licenses: node
            .licence
            .iter()
            .map(|licence| License {
                expression: &licence.expression,
                acknowledgement: "declared",
            })
            .collect(),
        purl: node.purl.as_deref(),
        evidence: node.evidence.map(found),
        properties: properties(&node.properties),
        ..Component::default()
    }
}

fn properties(pairs: &BTreeSet<(String, String)>) -> Vec<Property<'_>> {
    pairs
        .iter()
        .map(|(name, value)| Property { name, value })
        .collect()
}

fn found(evidence: &BTreeSet<Evidence>) -> Found<'_> {
    let places: BTreeSet<&str> = evidence
        .iter()
        .filter_map(|one| one.path.as_deref())
        .collect();
    Found {
        identity: vec![claim(evidence)],
        occurrences: places
            .into_iter()
            .map(|location| Occurrence { location })
            .collect(),
    }
}

/// One claim of identity: each reader is a method, however many files it read.
fn claim(evidence: &BTreeSet<Evidence>) -> IdentityClaim<'_> {
    let methods: BTreeSet<_> = evidence
        .iter()
        .map(|one| (one.source, one.technique.as_str(), one.confidence_percent))
        .collect();
    let confidence = methods.iter().map(|method| method.2).max().unwrap_or(0);
    IdentityClaim {
        field: "purl",
        confidence: f64::from(confidence) / 100.0,
        concluded_value: None,
        methods: methods
            .into_iter()
            .map(|(value, technique, percent)| Method {
                technique,
                confidence: f64::from(percent) / 100.0,
                value,
            })
            .collect(),
    }
}

fn file(record: &FileRecord) -> Component<'_> {
    let build_id = record.build_id.as_deref().map(|value| Property {
        name: "elf:build-id",
        value,
    });
    let target = record.link_target.as_deref().map(|value| Property {
        name: "rpm:link-target",
        value,
    });
    Component {
        kind: "file",
        bom_ref: Some(format!("file:{}", record.path)),
        name: &record.path,
        hashes: record.hashes.as_ref().map(hashes).unwrap_or_default(),
        properties: build_id.into_iter().chain(target).collect(),
        ..Component::default()
    }
}

fn hashes(hashes: &Hashes) -> Vec<Hash> {
    vec![
        Hash {
            alg: "SHA-1",
            content: hashes.sha1_hex(),
        },
        Hash {
            alg: "SHA-256",
            content: hashes.sha256_hex(),
        },
        Hash {
            alg: "SHA-512",
            content: hashes.sha512_hex(),
        },
    ]
}

/// What is inside counts as depended on: that is where consumers look.
fn dependencies<'a>(graph: &'a Graph<'a>) -> impl Iterator<Item = Edges<'a>> {
    let parts = || {
        graph
            .targets(0, EdgeKind::Contains)
            .map(|node| node.key.as_str())
    };
    let root = Edges {
        from: &graph.root().key,
        depends_on: parts().collect(),
    };
    let leaves = parts().map(|from| Edges {
        from,
        depends_on: Vec::new(),
    });
    std::iter::once(root).chain(leaves)
}
