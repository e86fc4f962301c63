//! CycloneDX 1.6 and 1.7 as JSON (schemas `bom-1.6.schema.json` and `bom-1.7.schema.json`, strict).
//!
//! 1.7 differs where it can say more: a declared and a concluded licence side by side, and the text
//! behind each `LicenseRef-…`.

use super::stream::{self, Each};
use super::{SbomFormat, web_url};
use crate::SbomError;
use crate::component::{Evidence, Scope};
use crate::graph::{EdgeKind, Graph, Node, NodeKind, TOOL};
use crate::hashes::Hashes;
use crate::inventory::FileRecord;
use crate::licence::Licence;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use uuid::Uuid;

pub(super) const V1_6: SbomFormat = SbomFormat {
    name: "cyclonedx-1.6",
    media_type: "application/vnd.cyclonedx+json; version=1.6",
    file_suffix: ".cdx.json",
    predicate_type: "https://cyclonedx.org/bom",
    write: |graph, out| write(graph, out, &Edition::V1_6),
};

pub(super) const V1_7: SbomFormat = SbomFormat {
    name: "cyclonedx-1.7",
    media_type: "application/vnd.cyclonedx+json; version=1.7",
    file_suffix: ".cdx17.json",
    predicate_type: "https://cyclonedx.org/bom",
    write: |graph, out| write(graph, out, &Edition::V1_7),
};

/// What depends on the version of the specification.
struct Edition {
    version: &'static str,
    schema: &'static str,
    /// Several expressions with details may stand in one list.
    many_expressions: bool,
}

impl Edition {
    const V1_6: Self = Self {
        version: "1.6",
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        many_expressions: false,
    };
    const V1_7: Self = Self {
        version: "1.7",
        schema: "http://cyclonedx.org/schema/bom-1.7.schema.json",
        many_expressions: true,
    };
}

/// Namespace of our serial numbers: UUIDv5 of `hallmark sbom serial numbers` under the OID space.
const SERIALS: Uuid = Uuid::from_u128(0x6828_2593_c1bb_5614_87bc_ad06_5609_98f7);

/// The specification wants serial numbers to differ even between equal documents; ours are equal
/// then, because reproducing the document is worth more (as other reproducible tools decided).
fn write(graph: &Graph<'_>, out: &mut dyn Write, edition: &Edition) -> Result<(), SbomError> {
    let digest = stream::digest(&shape(graph, edition, ""))?;
    let version = edition.version;
    let name = format!("cyclonedx|{version}|{}|{digest}", graph.profile());
    let serial = format!("urn:uuid:{}", Uuid::new_v5(&SERIALS, name.as_bytes()));
    stream::write(&shape(graph, edition, &serial), out)
}

fn shape<'a>(graph: &'a Graph<'a>, edition: &'a Edition, serial: &'a str) -> impl Serialize {
    Bom {
        schema: edition.schema,
        bom_format: "CycloneDX",
        spec_version: edition.version,
        serial_number: serial,
        version: 1,
        metadata: metadata(graph, edition),
        components: Each(move || {
            let parts = graph.parts().map(move |node| part(graph, edition, node));
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
    manufacturer: Option<Organization<'a>>,
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
#[serde(rename_all = "camelCase")]
struct License<'a> {
    expression: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expression_details: Vec<LicenseDetail<'a>>,
    acknowledgement: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LicenseDetail<'a> {
    license_identifier: &'a str,
    text: Text<'a>,
}

#[derive(Serialize)]
struct Text<'a> {
    content: &'a str,
}

#[derive(Serialize)]
struct Pedigree<'a> {
    ancestors: Vec<Component<'a>>,
}

#[derive(Serialize)]
struct Reference<'a> {
    url: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
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
    value: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edges<'a> {
    #[serde(rename = "ref")]
    from: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    provides: Vec<&'a str>,
}

#[derive(Serialize)]
struct Composition<'a> {
    aggregate: &'static str,
    assemblies: [&'a str; 1],
    dependencies: [&'a str; 1],
}

fn metadata<'a>(graph: &'a Graph<'a>, edition: &Edition) -> Metadata<'a> {
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
        component: package(graph, edition),
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
fn package<'a>(graph: &'a Graph<'a>, edition: &Edition) -> Component<'a> {
    let header = graph.package;
    let ancestors: Vec<_> = graph
        .targets(0, EdgeKind::GeneratedFrom)
        .map(|node| component(edition, node))
        .collect();
    let mut root = component(edition, graph.root());
    if edition.many_expressions {
        // Who supplies the package distributes it under the licence that its header states.
        let concluded = graph.root().licence.as_ref();
        root.licenses
            .extend(concluded.map(|licence| license(edition, licence, "concluded")));
    }
    root.properties
        .extend(bsi(&header_file_name(graph), Shape::Archive));
    Component {
        supplier: Some(organization(graph)),
        manufacturer: Some(organization(graph)),
        publisher: header.vendor.as_deref(),
        description: Some(header.summary.as_str()).filter(|summary| !summary.is_empty()),
        hashes: graph
            .inventory
            .rpm_hashes
            .as_ref()
            .map(hashes)
            .unwrap_or_default(),
        pedigree: (!ancestors.is_empty()).then_some(Pedigree { ancestors }),
        external_references: references(graph),
        evidence: upstream(graph),
        scope: None,
        ..root
    }
}

fn references<'a>(graph: &'a Graph<'a>) -> Vec<Reference<'a>> {
    let header = graph.package;
    let named = [
        ("website", &header.url),
        ("issue-tracker", &header.bug_url),
        ("vcs", &header.vcs),
    ];
    let named = named.into_iter().filter_map(|(kind, url)| {
        Some(Reference {
            url: web_url(url.as_deref()?)?.into(),
            kind,
            hashes: Vec::new(),
        })
    });
    // The deployable form with its SHA-512, where BSI TR-03183-2 looks for it. Which server will
    // hold the file is not known here, so the reference is relative to the document.
    let deployable = graph.inventory.rpm_hashes.as_ref().map(|rpm| Reference {
        url: relative_url(&header_file_name(graph)).into(),
        kind: "distribution",
        hashes: hashes(rpm),
    });
    named.chain(deployable).collect()
}

fn header_file_name(graph: &Graph<'_>) -> String {
    graph.package.nevra.file_name()
}

/// A file name as a relative URL: every byte outside the unreserved ones is escaped.
fn relative_url(name: &str) -> String {
    let mut url = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => url.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// The three yes-or-no facts of BSI TR-03183-2 about a component's file.
#[derive(Clone, Copy)]
enum Shape {
    /// An RPM: an archive whose parts can be told apart, nothing to execute.
    Archive,
    /// A compiled file: parts are linked together and cannot be told apart.
    Compiled,
}

/// BSI's property taxonomy for CycloneDX.
fn bsi<'a>(file_name: &str, shape: Shape) -> [Property<'a>; 4] {
    let (executable, archive, structured) = match shape {
        Shape::Archive => ("non-executable", "archive", "structured"),
        Shape::Compiled => ("executable", "no archive", "unstructured"),
    };
    let property = |name, value| Property { name, value };
    [
        property("bsi:component:filename", Cow::Owned(file_name.to_owned())),
        property("bsi:component:executable", executable.into()),
        property("bsi:component:archive", archive.into()),
        property("bsi:component:structured", structured.into()),
    ]
}

/// Something inside the package: whoever supplies the package supplies it with it.
fn part<'a>(graph: &'a Graph<'a>, edition: &Edition, node: &'a Node<'a>) -> Component<'a> {
    let mut part = component(edition, node);
    part.supplier = Some(organization(graph));
    part.properties.extend(match node.held_in {
        Some(file) => bsi(
            file.path.rsplit('/').next().unwrap_or_default(),
            Shape::Compiled,
        ),
        None => {
            let package = graph.package_of(node);
            bsi(
                package.file_name.as_deref().unwrap_or_default(),
                Shape::Archive,
            )
        }
    });
    part.hashes = node.hashes.map(hashes).unwrap_or_default();
    part
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

fn component<'a>(edition: &Edition, node: &'a Node<'a>) -> Component<'a> {
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
            .map(|licence| license(edition, licence, "declared"))
            .collect(),
        purl: node.purl.as_deref(),
        evidence: node.evidence.map(found),
        properties: properties(&node.properties),
        ..Component::default()
    }
}

fn license<'a>(
    edition: &Edition,
    licence: &'a Licence,
    acknowledgement: &'static str,
) -> License<'a> {
    let details = licence
        .references
        .iter()
        .filter(|_| edition.many_expressions);
    License {
        expression: &licence.expression,
        expression_details: details
            .map(|(id, text)| LicenseDetail {
                license_identifier: id,
                text: Text { content: text },
            })
            .collect(),
        acknowledgement,
    }
}

fn properties(pairs: &BTreeSet<(String, String)>) -> Vec<Property<'_>> {
    pairs
        .iter()
        .map(|(name, value)| Property {
            name,
            value: value.into(),
        })
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
        value: value.into(),
    });
    let target = record.link_target.as_deref().map(|value| Property {
        name: "rpm:link-target",
        value: value.into(),
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

/// What is inside counts as depended on: that is where consumers look. A source package `provides`
/// what was made from it, which is how consumers of CycloneDX read that link.
fn dependencies<'a>(graph: &'a Graph<'a>) -> impl Iterator<Item = Edges<'a>> {
    let mut contained: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in graph.groups(EdgeKind::Contains) {
        contained.insert(
            &from.key,
            to.into_iter().map(|node| node.key.as_str()).collect(),
        );
    }
    let made = graph.groups(EdgeKind::GeneratedFrom);
    let made = made.filter(|(_, sources)| sources.iter().any(|from| from.key == graph.root().key));
    let mut provides: Vec<&str> = made.map(|(node, _)| node.key.as_str()).collect();
    std::iter::once(graph.root())
        .chain(graph.parts())
        .map(move |node| Edges {
            from: &node.key,
            depends_on: contained.remove(node.key.as_str()).unwrap_or_default(),
            // The root comes first, and takes them.
            provides: std::mem::take(&mut provides),
        })
}
