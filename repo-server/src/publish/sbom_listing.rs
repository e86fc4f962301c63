//! Which SBOMs a repository has, as two records of `repomd.xml` that no package manager asks for:
//!
//! * `sbom` (`sbom.json`): a ROLIE feed (RFC 8322, in the JSON form that CSAF uses), one entry a
//!   package: header digest, package URL, the file's digests, and each document by URL and SHA-256;
//! * `sbom-changes` (`sbom-changes.csv`): `"path","time"` of each document, newest first, as CSAF
//!   providers publish it.
//!
//! Both name the documents about the whole repository too ([`super::release_sboms`]), without a digest,
//! because these are made afterwards: they carry the digest of `repomd.xml` instead.
//!
//! They are covered by the repository's signature and served beside the packages as `sbom/index.json`
//! and `sbom/changes.csv`; URLs in them are relative to that place, so that mirrors can copy them.
//!
//! ```json
//! {"feed": {"id": "hallmark-sbom-base-x86_64", "title": "SBOMs of base x86_64", "link": [{"rel": "self", "href": "index.json"}, …],
//!   "updated": "2026-01-02T03:04:05Z", "entry": [
//!     {"id": "HEADER_SHA256", "title": "hello-2.12-1.x86_64", "published": "…", "updated": "…", "purl": "pkg:rpm/…",
//!      "file": {"sha256": "…", "sha512": "…"},
//!      "content": {"src": "../Packages/h/hello-2.12-1.x86_64.rpm.cdx.json", "type": "application/vnd.cyclonedx+json; version=1.6"},
//!      "link": [{"rel": "sbom", "href": "../Packages/h/…cdx.json", "type": "…", "format": "cyclonedx-1.6", "sha256": "…"}],
//!      "build": "BUILDINFO_SHA256"}],
//!   "build": [
//!     {"id": "BUILDINFO_SHA256", "title": "hello-2.12-1.src", "updated": "…", "source": {"name": "hello-2.12-1.src.rpm", "sha256": "…"},
//!      "packages": ["HEADER_SHA256"], "link": [{"rel": "sbom", "href": "builds/SHA256-hello-2.12-1.src.rpm.cdx.json", …}]}]}}
//! ```
//!
//! `build` is a list of ours beside the feed's entries, which are packages: the documents about each build as a
//! whole, with those of its packages that are listed. Their names begin with their digest, so that they mean the
//! same bytes for ever.

use crate::app::App;
use crate::db::build_sboms::{BuildSbomsRow, Builds};
use crate::db::builds::PackageRow;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use crate::repodata::{Codec, ExtraRecord};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use repo_model::{Arch, FileDigest, HeaderDigest, RepoName, Timestamp};
use sbom_gen::{SBOM_FORMATS, SbomFormat, format_named};
use serde::Serialize;
use sha2::{Digest as _, Sha512};
use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;

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
    link: Vec<FeedLink>,
    category: [Category; 1],
    updated: Timestamp,
    entry: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    build: Vec<Build<'a>>,
}

#[derive(Serialize)]
struct FeedLink {
    rel: &'static str,
    href: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    media_type: Option<&'static str>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<File<'a>>,
    content: Content,
    link: Vec<Link>,
    /// `id` of the build that it comes from, where that has documents of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<FileDigest>,
}

/// A build as a whole.
#[derive(Serialize)]
struct Build<'a> {
    id: FileDigest,
    title: String,
    updated: Timestamp,
    source: SourceFile<'a>,
    packages: Vec<HeaderDigest>,
    link: Vec<Link>,
}

#[derive(Serialize)]
struct SourceFile<'a> {
    name: &'a str,
    sha256: FileDigest,
}

/// The file as it is published.
#[derive(Serialize)]
struct File<'a> {
    sha256: FileDigest,
    sha512: &'a str,
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
    let build_ids: BTreeSet<u64> = packages.iter().map(|package| package.build_id).collect();
    let build_ids = Builds::Numbered(build_ids.into_iter().collect());
    let (sboms, of_builds) = app
        .db
        .read(move |connection| {
            let sboms = db::evidence::sboms_of_packages(connection, &ids)?;
            let of_builds = db::build_sboms::build_sboms(connection, &build_ids)?;
            Ok::<_, DbError>((sboms, of_builds))
        })
        .await?;
    let of_builds: HashMap<u64, BuildSbomsRow> = of_builds
        .into_iter()
        .map(|build| (build.build_id, build))
        .collect();
    let headers: Vec<HeaderDigest> = packages.iter().map(|package| package.header).collect();
    let purls = app
        .sbom_index
        .db
        .read(move |connection| crate::sbom_index::purls(connection, &headers))
        .await?;
    let sha512s = sha512s(app, packages).await?;
    let mut sorted: Vec<&PackageRow> = packages.iter().collect();
    sorted.sort_by(|a, b| (&a.nevra, a.header).cmp(&(&b.nevra, b.header)));
    let entries = sorted.iter().filter_map(|package| {
        let one = entry(package, sboms.get(&package.package_id)?, &purls, &sha512s)?;
        Some(Entry {
            build: of_builds
                .get(&package.build_id)
                .map(|build| build.buildinfo),
            ..one
        })
    });
    let entries: Vec<Entry<'_>> = entries.collect();
    let builds = builds(&of_builds, &sorted);
    let changes = changes(&entries, &builds);
    let newest = entries.iter().map(|entry| entry.updated).max();
    let document = Document {
        feed: Feed {
            id: format!("hallmark-sbom-{repo}-{arch}"),
            title: format!("SBOMs of {repo} {arch}"),
            link: feed_links(),
            category: [Category {
                scheme: "urn:ietf:params:rolie:category:information-type",
                term: "software-descriptor",
            }],
            updated: newest.unwrap_or_default(),
            entry: entries,
            build: builds,
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

/// Name of a document about the whole repository, beside `index.json`.
pub fn whole_name(format: &SbomFormat) -> String {
    format!("release{}", format.file_suffix)
}

fn feed_links() -> Vec<FeedLink> {
    let own = FeedLink {
        rel: "self",
        href: "index.json".to_owned(),
        media_type: None,
    };
    let whole = SBOM_FORMATS.iter().map(|format| FeedLink {
        rel: "sbom",
        href: whole_name(format),
        media_type: Some(format.media_type),
    });
    std::iter::once(own).chain(whole).collect()
}

/// Digests computed before they are remembered.
const BATCH: usize = 200;

/// SHA-512 of the signed files: of those that are new they are computed, which reads them once.
async fn sha512s(
    app: &App,
    packages: &[PackageRow],
) -> Result<HashMap<FileDigest, String>, JobError> {
    let signed = packages
        .iter()
        .filter_map(|package| package.signed.as_ref());
    let files: Vec<FileDigest> = signed.map(|signed| signed.file).collect();
    let wanted = files.clone();
    let mut known = app
        .db
        .read(move |connection| db::release_documents::sha512s(connection, &wanted))
        .await?;
    let missing: Vec<FileDigest> = files
        .into_iter()
        .filter(|file| !known.contains_key(file))
        .collect();
    for batch in missing.chunks(BATCH) {
        let mut computed = Vec::with_capacity(batch.len());
        for file in batch {
            computed.push((*file, sha512(app, *file).await?));
        }
        known.extend(computed.iter().cloned());
        app.db
            .write(move |tx| {
                computed.iter().try_for_each(|(file, sha512)| {
                    db::release_documents::insert_sha512(tx, *file, sha512)
                })
            })
            .await?;
    }
    Ok(known)
}

async fn sha512(app: &App, file: FileDigest) -> Result<String, JobError> {
    let mut reader = app.store.blocking_reader(file).await?;
    let hashed = tokio::task::spawn_blocking(move || {
        let mut hasher = Sha512::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hex::encode(hasher.finalize())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    Ok(hashed.await??)
}

fn entry<'a>(
    package: &PackageRow,
    sboms: &[(String, FileDigest)],
    purls: &'a HashMap<HeaderDigest, String>,
    sha512s: &'a HashMap<FileDigest, String>,
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
        file: package.signed.as_ref().and_then(|signed| {
            Some(File {
                sha256: signed.file,
                sha512: sha512s.get(&signed.file)?,
            })
        }),
        content: Content {
            src: first.href.clone(),
            media_type: first.media_type,
        },
        link,
        build: None,
    })
}

/// Name of a document about a build as a whole, below the folder of `index.json`.
pub fn build_name(source_name: &str, format: &SbomFormat, digest: FileDigest) -> String {
    format!("{BUILDS}{digest}-{source_name}{}", format.file_suffix)
}

/// What `build_name` gives begins with it.
pub const BUILDS: &str = "builds/";

/// The documents about a build: (format, document, name), in the order of preference.
pub fn build_documents(
    build: &BuildSbomsRow,
) -> impl Iterator<Item = (&'static SbomFormat, FileDigest, String)> {
    SBOM_FORMATS.iter().filter_map(|format| {
        let mut documents = build.documents.iter();
        let (_, digest) = documents.find(|(label, _)| label == format.name)?;
        let name = build_name(&build.source_name, format, *digest);
        Some((format, *digest, name))
    })
}

/// * `packages`: all that are listed, sorted.
/// * Returns builds sorted by their source package.
fn builds<'a>(known: &'a HashMap<u64, BuildSbomsRow>, packages: &[&PackageRow]) -> Vec<Build<'a>> {
    let mut listed: HashMap<u64, Vec<&PackageRow>> = HashMap::new();
    for package in packages {
        listed.entry(package.build_id).or_default().push(package);
    }
    let mut sorted: Vec<&BuildSbomsRow> = known.values().collect();
    sorted.sort_by(|a, b| (&a.source, a.buildinfo).cmp(&(&b.source, b.buildinfo)));
    let one = |build: &'a BuildSbomsRow| {
        let packages = listed.remove(&build.build_id).unwrap_or_default();
        let times = packages.iter().filter_map(|package| package.added_at);
        let link = |(format, sha256, name): (&'static SbomFormat, FileDigest, String)| Link {
            rel: "sbom",
            href: utf8_percent_encode(&name, PATH).to_string(),
            media_type: format.media_type,
            format: format.name,
            sha256,
        };
        Build {
            id: build.buildinfo,
            title: build.source.to_string(),
            updated: times.max().unwrap_or_default(),
            source: SourceFile {
                name: &build.source_name,
                sha256: build.source_file,
            },
            packages: packages.iter().map(|package| package.header).collect(),
            link: build_documents(build).map(link).collect(),
        }
    };
    sorted.into_iter().map(one).collect()
}

/// Newest first; of one time packages before builds, each in their order. The documents about all of them are as
/// new as the newest.
fn changes(entries: &[Entry<'_>], builds: &[Build<'_>]) -> String {
    let packages = entries.iter().map(|entry| (entry.updated, &entry.link));
    let builds = builds.iter().map(|build| (build.updated, &build.link));
    let mut sorted: Vec<(Timestamp, &Vec<Link>)> = packages.chain(builds).collect();
    sorted.sort_by_key(|(updated, _)| std::cmp::Reverse(*updated));
    let mut text = String::new();
    let mut line = |path: &str, at: Timestamp| text.push_str(&format!("\"{path}\",\"{at}\"\n"));
    if let Some((newest, _)) = sorted.first() {
        for format in SBOM_FORMATS {
            line(&whole_name(format), *newest);
        }
    }
    for (updated, links) in sorted {
        for link in links {
            line(&link.href, updated);
        }
    }
    text
}
