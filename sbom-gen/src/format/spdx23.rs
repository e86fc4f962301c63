//! SPDX 2.3 as JSON (schema `spdx-schema.json` of 2.3; stricter still: pyspdxtools).

use super::stream::{self, Each};
use super::{
    ALL_LICENCES, SbomFormat, build_facts, document_base, evidence_text, local_id, web_url,
};
use crate::SbomError;
use crate::graph::{EdgeKind, Graph, Node, SourceRole, Standing, TOOL};
use crate::hashes::{Algorithm, Hashes};
use crate::inventory::FileRecord;
use serde::Serialize;
use sha1::Sha1;
use sha2::Digest;
use std::borrow::Cow;
use std::io::Write;

pub(super) const V2_3: SbomFormat = SbomFormat {
    name: "spdx-2.3",
    media_type: "application/spdx+json; version=2.3",
    file_suffix: ".spdx.json",
    predicate_type: "https://spdx.dev/Document/v2.3",
    write,
};

const NOASSERTION: &str = "NOASSERTION";
/// RPMFILE_DOC.
const FLAG_DOC: u32 = 1 << 1;

fn write(graph: &Graph<'_>, out: &mut dyn Write) -> Result<(), SbomError> {
    let base = document_base(graph.options)?;
    let facts = Facts::of(graph);
    let digest = stream::digest(&document(graph, &facts, ""))?;
    let namespace = format!("{base}/spdx-2.3/{}/{digest}", graph.profile());
    stream::write(&document(graph, &facts, &namespace), out)
}

/// Values that the document borrows.
struct Facts {
    supplier: String,
    creators: [String; 2],
    annotator: String,
    created: String,
    verification_code: String,
}

impl Facts {
    fn of(graph: &Graph<'_>) -> Self {
        let supplier = &graph.options.supplier;
        let supplier = match supplier.email.as_str() {
            "" => format!("Organization: {}", plain(&supplier.name)),
            email => format!("Organization: {} ({})", plain(&supplier.name), plain(email)),
        };
        let annotator = format!("Tool: {}-{}", TOOL.0, TOOL.1);
        Self {
            creators: [supplier.clone(), annotator.clone()],
            supplier,
            annotator,
            created: graph.created.to_string(),
            verification_code: verification_code(graph),
        }
    }

    fn annotation(&self, name: &str, value: &str) -> Annotation<'_> {
        Annotation {
            annotation_date: &self.created,
            annotation_type: "OTHER",
            annotator: &self.annotator,
            comment: format!("{name}={value}"),
        }
    }
}

/// Parentheses mean a mail address there.
fn plain(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.replace('(', "[").replace(')', "]")
}

/// SHA-1 over the sorted SHA-1 of all files (SPDX 2.3, 7.9).
fn verification_code(graph: &Graph<'_>) -> String {
    let mut digests: Vec<_> = regular(graph)
        .map(|(_, hashes)| hashes.sha1_hex())
        .collect();
    digests.sort_unstable();
    let mut all = Sha1::new();
    for digest in digests {
        all.update(digest);
    }
    hex::encode(all.finalize())
}

/// Regular files: a link has no content, so it has no SHA-1, which SPDX 2.3 demands of files.
fn regular<'a>(graph: &'a Graph<'a>) -> impl Iterator<Item = (&'a FileRecord, &'a Hashes)> {
    graph
        .files
        .iter()
        .filter_map(|record| Some((*record, record.hashes.as_ref()?)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, P, F, R, L> {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: &'a str,
    document_namespace: &'a str,
    creation_info: CreationInfo<'a>,
    packages: P,
    files: F,
    has_extracted_licensing_infos: L,
    relationships: R,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreationInfo<'a> {
    created: &'a str,
    creators: &'a [String],
    license_list_version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<&'a str>,
    supplier: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    originator: Option<String>,
    download_location: &'a str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_verification_code: Option<VerificationCode<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<Cow<'a, str>>,
    license_concluded: &'a str,
    license_declared: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_comments: Option<String>,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    built_date: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode<'a> {
    package_verification_code_value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef<'a> {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotation<'a> {
    annotation_date: &'a str,
    annotation_type: &'static str,
    annotator: &'a str,
    comment: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    file_name: String,
    #[serde(rename = "SPDXID")]
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    file_types: Vec<&'static str>,
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_info_in_files: [&'static str; 1],
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtractedLicence<'a> {
    license_id: &'a str,
    extracted_text: &'a str,
    name: &'a str,
}

fn document<'a>(graph: &'a Graph<'a>, facts: &'a Facts, namespace: &'a str) -> impl Serialize {
    let list = spdx::license_version();
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: "SPDXRef-DOCUMENT",
        name: &graph.name,
        document_namespace: namespace,
        creation_info: CreationInfo {
            created: &facts.created,
            creators: &facts.creators,
            // Two numbers: the third is not in the grammar of 2.3.
            license_list_version: list.split('.').take(2).collect::<Vec<_>>().join("."),
        },
        packages: Each(move || {
            let others = graph.nodes[1..]
                .iter()
                .map(move |node| package(node, facts));
            std::iter::once(root(graph, facts)).chain(others)
        }),
        files: Each(move || regular(graph).map(|(record, hashes)| file(graph, record, hashes))),
        has_extracted_licensing_infos: Each(move || {
            graph
                .licence_texts
                .iter()
                .map(|(id, text)| ExtractedLicence {
                    license_id: id,
                    extracted_text: text,
                    name: id.strip_prefix("LicenseRef-").unwrap_or(id),
                })
        }),
        relationships: Each(move || relationships(graph)),
    }
}

/// The package that the document is about: the only one whose files are listed.
fn root<'a>(graph: &'a Graph<'a>, facts: &'a Facts) -> Package<'a> {
    let mut package = package(graph.root(), facts);
    let analyzed = regular(graph).next().is_some();
    let build = graph.build_info.map(build_facts).unwrap_or_default();
    let build = build.into_iter();
    package
        .annotations
        .extend(build.map(|(name, value)| facts.annotation(name, &value)));
    Package {
        files_analyzed: analyzed,
        package_verification_code: analyzed.then_some(VerificationCode {
            package_verification_code_value: &facts.verification_code,
        }),
        ..package
    }
}

fn package<'a>(node: &'a Node<'a>, facts: &'a Facts) -> Package<'a> {
    let details = &node.details;
    let vendor = details.vendor.map(plain);
    let is_supplied = !matches!(node.standing, Standing::Upstream | Standing::Tool);
    // The package's own URL stays first: it is the one that readers of a single URL want.
    let purls = node.purl.iter();
    let purls = purls.chain(node.identities.iter().map(|identity| &identity.purl));
    let documents = node.documents.iter();
    let documents = documents.map(|(url, _)| facts.annotation("sbom:document", url));
    let properties = node.properties.iter();
    let properties = properties.map(|(name, value)| facts.annotation(name, value));
    let licence = node.licence.as_ref();
    let expression = licence.map_or(NOASSERTION, |licence| &licence.expression);
    let (license_declared, license_concluded) = match node.standing {
        Standing::Release => (NOASSERTION, expression),
        _ => (expression, NOASSERTION),
    };
    Package {
        id: node_id(node),
        name: node.full_name(),
        version_info: node.version.as_deref(),
        package_file_name: node.file_name.as_deref(),
        // A part comes with the package, so it comes from whoever supplies the package.
        supplier: match is_supplied {
            true => &facts.supplier,
            false => NOASSERTION,
        },
        originator: vendor
            .filter(|vendor| !vendor.is_empty())
            .map(|vendor| format!("Organization: {vendor}")),
        download_location: node
            .location
            .as_deref()
            .and_then(web_url)
            .unwrap_or(NOASSERTION),
        files_analyzed: false,
        package_verification_code: None,
        // A checksum is of the whole file; of content alone it stands in a property.
        checksums: match node.digests.of_content {
            true => Vec::new(),
            false => checksum_list(&node.digests.list),
        },
        homepage: details.url.and_then(web_url).map(Cow::Borrowed),
        license_concluded,
        license_declared,
        license_comments: licence.map(|licence| match node.standing {
            Standing::Release => ALL_LICENCES.to_owned(),
            _ => format!("As written: {}", licence.raw),
        }),
        copyright_text: NOASSERTION,
        summary: details.summary,
        description: details.description,
        comment: evidence_text(node),
        external_refs: purls.map(|locator| purl(locator)).collect(),
        annotations: properties.chain(documents).collect(),
        primary_package_purpose: match node.standing {
            Standing::Release => Some("OPERATING_SYSTEM"),
            Standing::Package if node.is_source => Some("SOURCE"),
            Standing::Package => Some("INSTALL"),
            _ => None,
        },
        built_date: details.built.map(|time| time.to_string()),
    }
}

fn purl(locator: &str) -> ExternalRef<'_> {
    ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: locator,
    }
}

fn file(graph: &Graph<'_>, record: &FileRecord, hashes: &Hashes) -> File {
    let mut file_types = Vec::new();
    match graph.source_roles.get(record.path.as_str()) {
        Some(SourceRole::Source(_)) => file_types.push("SOURCE"),
        Some(SourceRole::Patch) => file_types.push("TEXT"),
        None => {}
    }
    if record.build_id.is_some() {
        file_types.push("BINARY");
    }
    if record.flags & FLAG_DOC != 0 {
        file_types.push("DOCUMENTATION");
    }
    File {
        file_name: format!("./{}", record.path.trim_start_matches('/')),
        id: file_id(record),
        file_types,
        checksums: checksum_list(&hashes.list()),
        license_concluded: NOASSERTION,
        license_info_in_files: [NOASSERTION],
        copyright_text: NOASSERTION,
        comment: record
            .build_id
            .as_ref()
            .map(|build_id| format!("elf:build-id={build_id}")),
    }
}

fn checksum_list(list: &[(Algorithm, String)]) -> Vec<Checksum> {
    list.iter()
        .map(|(algorithm, hex)| Checksum {
            algorithm: algorithm.upper(),
            checksum_value: hex.clone(),
        })
        .collect()
}

fn related(from: String, kind: &'static str, to: String) -> Relationship {
    Relationship {
        spdx_element_id: from,
        relationship_type: kind,
        related_spdx_element: to,
        comment: None,
    }
}

fn relationships<'a>(graph: &'a Graph<'a>) -> impl Iterator<Item = Relationship> {
    let root = || node_id(graph.root());
    let describes = related("SPDXRef-DOCUMENT".to_owned(), "DESCRIBES", root());
    let edges = graph.edges.iter().map(move |(from, kind, to)| {
        let (from, to) = (node_id(&graph.nodes[*from]), node_id(&graph.nodes[*to]));
        match kind {
            EdgeKind::Contains => related(from, "CONTAINS", to),
            EdgeKind::GeneratedFrom => related(from, "GENERATED_FROM", to),
            EdgeKind::DependsOn => related(from, "DEPENDS_ON", to),
            EdgeKind::DependsOnToInstall => Relationship {
                comment: Some("While it is installed or removed."),
                ..related(from, "DEPENDS_ON", to)
            },
            // These three have no form that starts at the one that needs.
            EdgeKind::DependsOnToBuild => related(to, "BUILD_DEPENDENCY_OF", from),
            EdgeKind::DependsOptionally => related(to, "OPTIONAL_DEPENDENCY_OF", from),
            EdgeKind::BuiltWith => related(to, "BUILD_TOOL_OF", from),
        }
    });
    let files = regular(graph).flat_map(move |(record, _)| {
        let inside = related(root(), "CONTAINS", file_id(record));
        let origin = match graph.source_roles.get(record.path.as_str()) {
            Some(SourceRole::Source(Some(at))) => {
                let origin = node_id(&graph.nodes[*at]);
                Some(related(file_id(record), "GENERATED_FROM", origin))
            }
            // Which source a patch is for is the spec's to say, so it is one for the package.
            Some(SourceRole::Patch) => Some(related(file_id(record), "PATCH_FOR", root())),
            Some(SourceRole::Source(None)) | None => None,
        };
        std::iter::once(inside).chain(origin)
    });
    std::iter::once(describes).chain(edges).chain(files)
}

fn node_id(node: &Node<'_>) -> String {
    local_id("SPDXRef-Package", node.name, &node.key)
}

fn file_id(record: &FileRecord) -> String {
    let base = record.path.rsplit('/').next().unwrap_or_default();
    local_id("SPDXRef-File", base, &record.path)
}
