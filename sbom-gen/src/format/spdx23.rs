//! SPDX 2.3 as JSON (schema `spdx-schema.json` of 2.3; stricter still: pyspdxtools).

use super::stream::{self, Each};
use super::{SbomFormat, document_base, evidence_text, local_id, web_url};
use crate::SbomError;
use crate::graph::{EdgeKind, Graph, Node, TOOL};
use crate::hashes::Hashes;
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
    built: String,
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
            built: graph.package.build_time.to_string(),
            verification_code: verification_code(graph),
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
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_verification_code: Option<VerificationCode<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<Cow<'a, str>>,
    license_concluded: &'static str,
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
    built_date: Option<&'a str>,
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
        files: Each(move || regular(graph).map(|(record, hashes)| file(record, hashes))),
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

/// The package that the document is about.
fn root<'a>(graph: &'a Graph<'a>, facts: &'a Facts) -> Package<'a> {
    let header = graph.package;
    let node = graph.root();
    let mut package = package(node, facts);
    let analyzed = regular(graph).next().is_some();
    // The package's own URL stays first: it is the one that readers of a single URL want.
    let upstream = graph.identities.iter().map(|identity| purl(&identity.purl));
    package.external_refs.extend(upstream);
    let some = |text: &'a str| Some(text).filter(|text| !text.trim().is_empty());
    Package {
        originator: header
            .vendor
            .as_deref()
            .map(plain)
            .filter(|vendor| !vendor.is_empty())
            .map(|vendor| format!("Organization: {vendor}")),
        files_analyzed: analyzed,
        package_verification_code: analyzed.then_some(VerificationCode {
            package_verification_code_value: &facts.verification_code,
        }),
        homepage: header.url.as_deref().and_then(web_url).map(Cow::Borrowed),
        summary: some(&header.summary),
        description: some(&header.description),
        primary_package_purpose: Some(if header.is_source {
            "SOURCE"
        } else {
            "INSTALL"
        }),
        built_date: Some(&facts.built),
        ..package
    }
}

fn package<'a>(node: &'a Node<'a>, facts: &'a Facts) -> Package<'a> {
    Package {
        id: node_id(node),
        name: node.full_name(),
        version_info: node.version.as_deref(),
        package_file_name: node.file_name.as_deref(),
        // A part comes with the package, so it comes from whoever supplies the package.
        supplier: &facts.supplier,
        originator: None,
        download_location: NOASSERTION,
        files_analyzed: false,
        package_verification_code: None,
        checksums: node.hashes.map(checksums).unwrap_or_default(),
        homepage: None,
        license_concluded: NOASSERTION,
        license_declared: node.licence.as_ref().map_or(NOASSERTION, |l| &l.expression),
        license_comments: node
            .licence
            .as_ref()
            .map(|l| format!("As written: {}", l.raw)),
        copyright_text: NOASSERTION,
        summary: None,
        description: None,
        comment: evidence_text(node),
        external_refs: node.purl.iter().map(|locator| purl(locator)).collect(),
        annotations: node
            .properties
            .iter()
            .map(|(name, value)| Annotation {
                annotation_date: &facts.created,
                annotation_type: "OTHER",
                annotator: &facts.annotator,
                comment: format!("{name}={value}"),
            })
            .collect(),
        primary_package_purpose: None,
        built_date: None,
    }
}

fn purl(locator: &str) -> ExternalRef<'_> {
    ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: locator,
    }
}

fn file(record: &FileRecord, hashes: &Hashes) -> File {
    let mut file_types = Vec::new();
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
        checksums: checksums(hashes),
        license_concluded: NOASSERTION,
        license_info_in_files: [NOASSERTION],
        copyright_text: NOASSERTION,
        comment: record
            .build_id
            .as_ref()
            .map(|build_id| format!("elf:build-id={build_id}")),
    }
}

fn checksums(hashes: &Hashes) -> Vec<Checksum> {
    vec![
        Checksum {
            algorithm: "SHA1",
            checksum_value: hashes.sha1_hex(),
        },
        Checksum {
            algorithm: "SHA256",
            checksum_value: hashes.sha256_hex(),
        },
        Checksum {
            algorithm: "SHA512",
            checksum_value: hashes.sha512_hex(),
        },
    ]
}

fn relationships<'a>(graph: &'a Graph<'a>) -> impl Iterator<Item = Relationship> {
    let related = |from: String, kind, to: String| Relationship {
        spdx_element_id: from,
        relationship_type: kind,
        related_spdx_element: to,
    };
    let describes = related(
        "SPDXRef-DOCUMENT".to_owned(),
        "DESCRIBES",
        node_id(graph.root()),
    );
    let edges = graph.edges.iter().map(move |(from, kind, to)| {
        let kind = match kind {
            EdgeKind::Contains => "CONTAINS",
            EdgeKind::GeneratedFrom => "GENERATED_FROM",
        };
        related(
            node_id(&graph.nodes[*from]),
            kind,
            node_id(&graph.nodes[*to]),
        )
    });
    let files = regular(graph)
        .map(move |(record, _)| related(node_id(graph.root()), "CONTAINS", file_id(record)));
    std::iter::once(describes).chain(edges).chain(files)
}

fn node_id(node: &Node<'_>) -> String {
    local_id("SPDXRef-Package", node.name, &node.key)
}

fn file_id(record: &FileRecord) -> String {
    let base = record.path.rsplit('/').next().unwrap_or_default();
    local_id("SPDXRef-File", base, &record.path)
}
