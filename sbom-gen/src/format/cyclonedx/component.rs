//! Components: what the document is about, packages, parts, files.

use super::Edition;
use super::fields::{
    Claims, Component, Contact, Diff, Found, Hash, IdentityClaim, License, LicenseDetail, Method,
    Occurrence, Organization, Patch, Pedigree, Property, Reference, Text,
};
use crate::component::{Evidence, Scope};
use crate::format::{CONTENT_DIGEST, web_url};
use crate::graph::{EdgeKind, Graph, Node, NodeKind, SourceRole, Standing};
use crate::hashes::{Algorithm, Hashes};
use crate::inventory::FileRecord;
use crate::licence::Licence;
use crate::purl::relative_url;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Who supplies the packages.
pub(super) fn organization<'a>(graph: &'a Graph<'a>) -> Organization<'a> {
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

/// What the document is about.
pub(super) fn subject<'a>(graph: &'a Graph<'a>, edition: &Edition) -> Component<'a> {
    let root = graph.root();
    let mut subject = match root.standing {
        Standing::Release => release(graph, edition),
        _ => package(graph, edition, 0, root),
    };
    subject.manufacturer = edition.has_origins.then(|| organization(graph));
    if edition.has_many_expressions && root.standing != Standing::Release {
        // Who supplies the package distributes it under the licence that its header states.
        let concluded = root.licence.as_ref();
        let concluded = concluded.map(|licence| license(edition, licence, "concluded"));
        subject.licenses.extend(concluded);
    }
    subject
}

fn release<'a>(graph: &'a Graph<'a>, edition: &Edition) -> Component<'a> {
    let root = graph.root();
    let cpe = root
        .properties
        .iter()
        .find(|(name, _)| name == "release:cpe");
    let location = root.location.as_deref().and_then(web_url);
    let index = root.index_location.as_deref().map(|url| Reference {
        hashes: hash_list(&root.digests.list),
        ..reference("distribution", url)
    });
    let file_name = root.file_name.as_deref();
    let facts = file_name.map(|name| bsi(name, Shape::Index));
    Component {
        supplier: Some(organization(graph)),
        cpe: cpe.map(|(_, cpe)| cpe.as_str()),
        hashes: hash_list(&root.digests.list),
        external_references: location
            .map(|url| reference("distribution", url))
            .into_iter()
            .chain(index)
            .collect(),
        properties: facts.into_iter().flatten().collect(),
        ..component(edition, root)
    }
}

/// A component of its own: whoever supplies the package supplies it with it.
pub(super) fn part<'a>(
    graph: &'a Graph<'a>,
    edition: &Edition,
    at: usize,
    node: &'a Node<'a>,
) -> Component<'a> {
    if node.standing == Standing::Package {
        return package(graph, edition, at, node);
    }
    let mut part = component(edition, node);
    part.supplier = Some(organization(graph));
    part.properties.extend(match (node.held_in, node.standing) {
        (_, Standing::NamedSource) => bsi(
            node.file_name.as_deref().unwrap_or_default(),
            Shape::Archive,
        ),
        (Some(file), _) => bsi(
            file.path.rsplit('/').next().unwrap_or_default(),
            Shape::Compiled,
        ),
        (None, _) => {
            let package = graph.package_of(node);
            bsi(
                package.file_name.as_deref().unwrap_or_default(),
                Shape::Archive,
            )
        }
    });
    part
}

/// A package of the build environment, with what is known of its file.
pub(super) fn tool<'a>(edition: &Edition, node: &'a Node<'a>) -> Component<'a> {
    let mut tool = component(edition, node);
    if let Some(file_name) = node.file_name.as_deref() {
        tool.properties.extend(bsi(file_name, Shape::Archive));
    }
    Component {
        hashes: hash_list(&node.digests.list),
        external_references: references(node),
        ..tool
    }
}

/// A package that the document was made from.
fn package<'a>(
    graph: &'a Graph<'a>,
    edition: &Edition,
    at: usize,
    node: &'a Node<'a>,
) -> Component<'a> {
    let mut package = component(edition, node);
    let file_name = node.file_name.as_deref().unwrap_or_default();
    package.properties.extend(bsi(file_name, Shape::Archive));
    Component {
        supplier: Some(organization(graph)),
        publisher: node.details.vendor,
        description: node.details.summary,
        hashes: match node.digests.of_content {
            // A digest of a part of the file is no digest of the file.
            true => Vec::new(),
            false => hash_list(&node.digests.list),
        },
        pedigree: pedigree(graph, edition, at),
        external_references: references(node),
        evidence: upstream(edition, node),
        scope: None,
        ..package
    }
}

/// What a package was made from, and how that was changed.
fn pedigree<'a>(graph: &'a Graph<'a>, edition: &Edition, at: usize) -> Option<Pedigree<'a>> {
    let sources = graph.targets(at, EdgeKind::GeneratedFrom);
    // In a build the source is the root, which `provides` the packages.
    let sources = sources.filter(|source| source.key != graph.root().key);
    let ancestors = sources.map(|source| ancestor(graph, edition, source));
    let patches = match at {
        0 => patches(graph),
        _ => Vec::new(),
    };
    let pedigree = Pedigree {
        ancestors: ancestors.collect(),
        patches,
    };
    (!pedigree.ancestors.is_empty() || !pedigree.patches.is_empty()).then_some(pedigree)
}

fn ancestor<'a>(graph: &'a Graph<'a>, edition: &Edition, source: &'a Node<'a>) -> Component<'a> {
    if graph.is_release() {
        // The source is a component of its own, with this reference; here is only which one.
        return Component {
            kind: kind(source),
            name: source.name,
            version: source.version.as_deref(),
            purl: source.purl.as_deref(),
            ..Component::default()
        };
    }
    let location = source.location.as_deref().and_then(web_url);
    let reference_kind = match edition.has_origins {
        true => "source-distribution",
        false => "distribution",
    };
    let location = location.map(|url| Reference {
        hashes: hash_list(&source.digests.list),
        ..reference(reference_kind, url)
    });
    Component {
        external_references: location.into_iter().collect(),
        ..component(edition, source)
    }
}

/// Changes to what upstream published, which is what CycloneDX calls unofficial.
fn patches(graph: &Graph<'_>) -> Vec<Patch> {
    let roles = graph.source_roles.iter();
    roles
        .filter(|(_, role)| **role == SourceRole::Patch)
        .map(|(path, _)| Patch {
            kind: "unofficial",
            diff: Diff {
                url: relative_url(path.trim_start_matches('/')),
            },
        })
        .collect()
}

fn reference<'a>(kind: &'static str, url: &'a str) -> Reference<'a> {
    Reference {
        url: url.into(),
        kind,
        comment: None,
        hashes: Vec::new(),
    }
}

fn references<'a>(node: &'a Node<'a>) -> Vec<Reference<'a>> {
    let details = &node.details;
    let named = [
        ("website", details.url),
        ("issue-tracker", details.bug_url),
        ("vcs", details.vcs),
    ];
    let named = named
        .into_iter()
        .filter_map(|(kind, url)| Some(reference(kind, web_url(url?)?)));
    // The deployable form with its digests, where BSI TR-03183-2 looks for them. Where it is not
    // known which server will hold the file, the reference is relative to the document.
    let deployable = node.location.as_deref().map(|location| Reference {
        comment: node.digests.of_content.then_some(CONTENT_DIGEST),
        hashes: hash_list(&node.digests.list),
        ..reference("distribution", location)
    });
    let documents = node.documents.iter().map(|(url, sha256)| Reference {
        hashes: match sha256.is_empty() {
            true => Vec::new(),
            false => hash_list(&[(Algorithm::Sha256, sha256.clone())]),
        },
        ..reference("bom", url)
    });
    named.chain(deployable).chain(documents).collect()
}

/// The three yes-or-no facts of BSI TR-03183-2 about a component's file.
#[derive(Clone, Copy)]
enum Shape {
    /// An RPM: an archive whose parts can be told apart, nothing to execute.
    Archive,
    /// The file that names a repository's packages: these are its parts, and it is text.
    Index,
    /// A compiled file: parts are linked together and cannot be told apart.
    Compiled,
}

/// BSI's property taxonomy for CycloneDX.
fn bsi<'a>(file_name: &str, shape: Shape) -> [Property<'a>; 4] {
    let (executable, archive, structured) = match shape {
        Shape::Archive => ("non-executable", "archive", "structured"),
        Shape::Index => ("non-executable", "no archive", "structured"),
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

/// The package under other names.
fn upstream<'a>(edition: &Edition, node: &'a Node<'a>) -> Option<Found<'a>> {
    // 1.5 has room for one claim, and none for what it concludes.
    if node.identities.is_empty() || !edition.has_origins {
        return None;
    }
    let claims = node.identities.iter().map(|identity| IdentityClaim {
        concluded_value: Some(&identity.purl),
        ..claim(&identity.evidence)
    });
    Some(Found {
        identity: Claims::Many(claims.collect()),
        occurrences: Vec::new(),
    })
}

fn kind(node: &Node<'_>) -> &'static str {
    match node.kind {
        NodeKind::Application => "application",
        NodeKind::Library => "library",
        NodeKind::Firmware => "firmware",
        NodeKind::OperatingSystem => "operating-system",
    }
}

/// What every component has, whatever it stands for.
pub(super) fn component<'a>(edition: &Edition, node: &'a Node<'a>) -> Component<'a> {
    Component {
        kind: kind(node),
        bom_ref: Some(node.key.as_str().into()),
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
            .map(|licence| license(edition, licence, acknowledgement(node)))
            .collect(),
        purl: node.purl.as_deref(),
        evidence: node.evidence.map(|evidence| found(edition, evidence)),
        properties: properties(&node.properties),
        ..Component::default()
    }
}

/// A package states its licence; that of a release follows from its packages'.
fn acknowledgement(node: &Node<'_>) -> &'static str {
    match node.standing {
        Standing::Release => "concluded",
        _ => "declared",
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
        .filter(|_| edition.has_many_expressions);
    License {
        expression: &licence.expression,
        expression_details: details
            .map(|(id, text)| LicenseDetail {
                license_identifier: id,
                text: Text { content: text },
            })
            .collect(),
        acknowledgement: edition.has_origins.then_some(acknowledgement),
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

fn found<'a>(edition: &Edition, evidence: &'a BTreeSet<Evidence>) -> Found<'a> {
    let places: BTreeSet<&str> = evidence
        .iter()
        .filter_map(|one| one.path.as_deref())
        .collect();
    Found {
        identity: match edition.has_origins {
            true => Claims::Many(vec![claim(evidence)]),
            false => Claims::One(claim(evidence)),
        },
        occurrences: places
            .into_iter()
            .map(|location| Occurrence { location })
            .collect(),
    }
}

/// One claim of identity: each reader is a method, however many files it read. Without any, it is
/// not a conclusion but who the package is.
fn claim(evidence: &BTreeSet<Evidence>) -> IdentityClaim<'_> {
    let methods: BTreeSet<_> = evidence
        .iter()
        .map(|one| (one.source, one.technique.as_str(), one.confidence_percent))
        .collect();
    let confidence = methods.iter().map(|method| method.2).max().unwrap_or(100);
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

/// A file of the package.
pub(super) fn file<'a>(graph: &'a Graph<'a>, record: &'a FileRecord) -> Component<'a> {
    let role = graph.source_roles.get(record.path.as_str());
    let facts = [
        ("elf:build-id", record.build_id.as_deref()),
        ("rpm:link-target", record.link_target.as_deref()),
        (
            "rpm:source-role",
            role.map(|role| match role {
                SourceRole::Source(_) => "source",
                SourceRole::Patch => "patch",
            }),
        ),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| {
        let value = value?.into();
        Some(Property { name, value })
    });
    Component {
        kind: "file",
        bom_ref: Some(format!("file:{}", record.path).into()),
        name: &record.path,
        hashes: record.hashes.as_ref().map(hashes).unwrap_or_default(),
        properties: facts.collect(),
        ..Component::default()
    }
}

fn hashes(hashes: &Hashes) -> Vec<Hash> {
    hash_list(&hashes.list())
}

fn hash_list(list: &[(Algorithm, String)]) -> Vec<Hash> {
    // SHA-224 is the one digest that rpm knows and CycloneDX does not.
    let known = list.iter().filter(|(one, _)| *one != Algorithm::Sha224);
    known
        .map(|(algorithm, hex)| Hash {
            alg: algorithm.hyphenated(),
            content: hex.clone(),
        })
        .collect()
}
