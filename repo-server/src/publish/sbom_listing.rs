//! Which SBOMs a repository has, as two records of `repomd.xml` that no package manager asks for:
//!
//! * `sbom` (`sbom.json`): a ROLIE feed (RFC 8322, in the JSON form that CSAF uses), one entry a
//!   package: header digest, package URL, and each document by URL and SHA-256;
//! * `sbom-changes` (`sbom-changes.csv`): `"path","time"` of each document, newest first, as CSAF
//!   providers publish it.
//!
//! They are covered by the repository's signature and served beside the packages as `sbom/index.json`
//! and `sbom/changes.csv`; URLs in them are relative to that place, so that mirrors can copy them.
//!
//! ```json
//! {"feed": {"id": "hallmark-sbom-base-x86_64", "title": "SBOMs of base x86_64", "link": [{"rel": "self", "href": "index.json"}],
//!   "updated": "2026-01-02T03:04:05Z", "entry": [
//!     {"id": "HEADER_SHA256", "title": "hello-2.12-1.x86_64", "published": "…", "updated": "…", "purl": "pkg:rpm/…",
//!      "content": {"src": "../Packages/h/hello-2.12-1.x86_64.rpm.cdx.json", "type": "application/vnd.cyclonedx+json; version=1.6"},
//!      "link": [{"rel": "sbom", "href": "../Packages/h/…cdx.json", "type": "…", "format": "cyclonedx-1.6", "sha256": "…"}]}]}}
//! ```

use crate::app::App;
use crate::db;
use crate::db::builds::PackageRow;
use crate::jobs::JobError;
use crate::repodata::{Codec, ExtraRecord};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use repo_model::{Arch, FileDigest, HeaderDigest, RepoName, Timestamp};
use sbom_gen::{SBOM_FORMATS, format_named};
use serde::Serialize;
use std::collections::HashMap;

/// Record types in `repomd.xml`.
pub const INDEX: &str = "sbom";
/// See [`INDEX`].
pub const CHANGES: &str = "sbom-changes";

/// What a relative URL may hold as it is.
pub const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Serialize)]
struct Document<'a> {
    feed: Feed<'a>,
}

#[derive(Serialize)]
struct Feed<'a> {
    id: String,
    title: String,
    link: [SelfLink; 1],
    category: [Category; 1],
    updated: Timestamp,
    entry: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct SelfLink {
    rel: &'static str,
    href: &'static str,
}

#[derive(Serialize)]
struct Category {
    scheme: &'static str,
    term: &'static str,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: HeaderDigest,
    title: String,
    published: Timestamp,
    updated: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<&'a str>,
    content: Content,
    link: Vec<Link>,
}

#[derive(Serialize)]
struct Content {
    src: String,
    #[serde(rename = "type")]
    media_type: &'static str,
}

#[derive(Serialize)]
struct Link {
    rel: &'static str,
    href: String,
    #[serde(rename = "type")]
    media_type: &'static str,
    format: &'static str,
    sha256: FileDigest,
}

/// The two records for these packages; `added_at` of each must be set. Equal packages give equal bytes,
/// whatever the release.
pub async fn records(
    app: &App,
    repo: &RepoName,
    arch: &Arch,
    packages: &[PackageRow],
    codec: Codec,
) -> Result<[ExtraRecord; 2], JobError> {
    let ids: Vec<u64> = packages.iter().map(|package| package.package_id).collect();
    let sboms = app
        .db
        .read(move |connection| db::evidence::sboms_of_packages(connection, &ids))
        .await?;
    let headers: Vec<HeaderDigest> = packages.iter().map(|package| package.header).collect();
    let purls = app
        .sbom_index
        .db
        .read(move |connection| crate::sbom_index::purls(connection, &headers))
        .await?;
    let mut sorted: Vec<&PackageRow> = packages.iter().collect();
    sorted.sort_by(|a, b| (&a.nevra, a.header).cmp(&(&b.nevra, b.header)));
    let entries = sorted
        .into_iter()
        .filter_map(|package| entry(package, sboms.get(&package.package_id)?, &purls));
    let entries: Vec<Entry<'_>> = entries.collect();
    let changes = changes(&entries);
    let newest = entries.iter().map(|entry| entry.updated).max();
    let document = Document {
        feed: Feed {
            id: format!("hallmark-sbom-{repo}-{arch}"),
            title: format!("SBOMs of {repo} {arch}"),
            link: [SelfLink {
                rel: "self",
                href: "index.json",
            }],
            category: [Category {
                scheme: "urn:ietf:params:rolie:category:information-type",
                term: "software-descriptor",
            }],
            updated: newest.unwrap_or_default(),
            entry: entries,
        },
    };
    let index = serde_json::to_vec(&document)
        .map_err(|error| JobError::Broken(format!("the SBOM index does not serialise: {error}")))?;
    let record = |record_type: &str, file_name: &str, bytes| ExtraRecord {
        record_type: record_type.to_owned(),
        file_name: file_name.to_owned(),
        bytes,
        codec,
    };
    Ok([
        record(INDEX, "sbom.json", index),
        record(CHANGES, "sbom-changes.csv", changes.into_bytes()),
    ])
}

fn entry<'a>(
    package: &PackageRow,
    sboms: &[(String, FileDigest)],
    purls: &'a HashMap<HeaderDigest, String>,
) -> Option<Entry<'a>> {
    let base = format!("../{}", utf8_percent_encode(&package.href, PATH));
    let mut link: Vec<Link> = sboms
        .iter()
        .filter_map(|(label, sha256)| {
            let format = format_named(label)?;
            Some(Link {
                rel: "sbom",
                href: format!("{base}{}", format.file_suffix),
                media_type: format.media_type,
                format: format.name,
                sha256: *sha256,
            })
        })
        .collect();
    let rank = |link: &Link| {
        SBOM_FORMATS
            .iter()
            .position(|format| format.name == link.format)
    };
    link.sort_by_key(rank);
    let first = link.first()?;
    let at = package.added_at.unwrap_or_default();
    Some(Entry {
        id: package.header,
        title: package.nevra.to_string(),
        published: at,
        updated: at,
        purl: purls.get(&package.header).map(String::as_str),
        content: Content {
            src: first.href.clone(),
            media_type: first.media_type,
        },
        link,
    })
}

/// Newest first; of one time in the order of the packages.
fn changes(entries: &[Entry<'_>]) -> String {
    let mut sorted: Vec<&Entry<'_>> = entries.iter().collect();
    sorted.sort_by_key(|entry| std::cmp::Reverse(entry.updated));
    let mut text = String::new();
    for entry in sorted {
        for link in &entry.link {
            text.push_str(&format!("\"{}\",\"{}\"\n", link.href, entry.updated));
        }
    }
    text
}
