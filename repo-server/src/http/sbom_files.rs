//! The folder `sbom/` of a repository.
//!
//! `index.json` and `changes.csv` are two records of its `repomd.xml`, unpacked: what `repomd.xml` says of
//! them is what is sent, so a pinned release's never change. `release.cdx.json` and its kin are about the
//! whole repository and made after the release; each is also there as it is stored, with `.zst` behind.
//! `builds/SHA256-hello-2.12-1.src.rpm.cdx.json` is about a build as a whole.

use super::content::{Caching, Object, answer, lists};
use super::error::ApiError;
use super::tree::Place;
use super::unpack;
use crate::app::App;
use crate::db::release_documents::ReleaseDocumentRow;
use crate::db::releases::ReleaseRepoRow;
use crate::db::{self, DbError};
use crate::publish::sbom_listing::{BUILDS, CHANGES, INDEX, build_name, whole_name};
use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use mirrors::reading::{REPOMD_MAX_BYTES, RecordClaim, Repomd};
use repo_model::{FileDigest, ReleaseId};
use sbom_gen::{SBOM_FORMATS, SbomFormat};

/// Records of `repomd.xml` in the folder: name, record type, media type.
const RECORDS: &[(&str, &str, &str)] = &[
    ("index.json", INDEX, "application/json"),
    ("changes.csv", CHANGES, "text/csv; charset=utf-8"),
];
/// Media type of what is compressed.
const ZSTD: &str = "application/zstd";

/// A file of the folder.
#[derive(Clone, Copy)]
enum Wanted {
    /// Record type, media type.
    Record(&'static str, &'static str),
    /// A document about the whole repository, as it is stored or unpacked.
    Whole(&'static SbomFormat, Packing),
    /// A document about a build.
    Build(&'static SbomFormat, FileDigest),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Stored,
    Unpacked,
}

fn wanted(path: &str) -> Option<Wanted> {
    let name = path.strip_prefix("sbom/")?;
    if let Some((_, record_type, media_type)) = RECORDS.iter().find(|(known, ..)| *known == name) {
        return Some(Wanted::Record(record_type, media_type));
    }
    if let Some(name) = name.strip_prefix(BUILDS) {
        // What stands between the digest and the suffix is for people.
        let digest = name.split_once('-')?.0.parse().ok()?;
        let mut formats = SBOM_FORMATS.iter();
        let format = formats.find(|format| name.ends_with(format.file_suffix))?;
        return Some(Wanted::Build(format, digest));
    }
    let (name, packing) = match name.strip_suffix(".zst") {
        Some(name) => (name, Packing::Stored),
        None => (name, Packing::Unpacked),
    };
    let mut formats = SBOM_FORMATS.iter();
    let format = formats.find(|format| whole_name(format) == name)?;
    Some(Wanted::Whole(format, packing))
}

/// Whether a path is one of these files.
pub fn is_one(path: &str) -> bool {
    wanted(path).is_some()
}

/// A file that is listed: name, and bytes where they are known.
pub type Listed = (String, Option<u64>);

/// What the folder of a repository holds.
pub async fn names(
    app: &App,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<Vec<Listed>, ApiError> {
    let documents = documents(app, release, repo).await?;
    let records = RECORDS.iter().map(|(name, ..)| ((*name).to_owned(), None));
    let whole = SBOM_FORMATS.iter().filter_map(|format| {
        let row = documents.iter().find(|row| row.label == format.name)?;
        let name = whole_name(format);
        let stored = (format!("{name}.zst"), Some(row.packed_size_bytes));
        Some([(name, Some(row.size_bytes)), stored])
    });
    Ok(records.chain(whole.flatten()).collect())
}

/// `Link` of `repomd.xml`: the documents about the repository, where they are made.
pub async fn links(
    app: &App,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<Option<String>, ApiError> {
    let documents = documents(app, release, repo).await?;
    let links = SBOM_FORMATS.iter().filter_map(|format| {
        documents.iter().find(|row| row.label == format.name)?;
        let (name, media_type) = (whole_name(format), format.media_type);
        Some(format!(
            "<../sbom/{name}>; rel=\"sbom\"; type=\"{media_type}\""
        ))
    });
    let links: Vec<String> = links.collect();
    Ok((!links.is_empty()).then(|| links.join(", ")))
}

async fn documents(
    app: &App,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<Vec<ReleaseDocumentRow>, ApiError> {
    let (name, arch) = (repo.repo.clone(), repo.arch.clone());
    let read = move |connection: &rusqlite::Connection| {
        db::release_documents::of_repo(connection, release, &name, &arch)
    };
    Ok(app.db.read(read).await?)
}

/// Answers with one of the files, as the release has it.
pub async fn serve(
    app: &App,
    method: &Method,
    request: &HeaderMap,
    place: &Place,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
    caching: Caching,
) -> Result<Response, ApiError> {
    let asked = Asked {
        app,
        method,
        request,
        caching,
    };
    match wanted(&place.rest) {
        Some(Wanted::Record(record_type, media_type)) => {
            let (file, record) = record(app, place, release, repo, record_type).await?;
            let content = Content {
                digest: content_digest(&record)
                    .ok_or_else(|| no_record(place))?
                    .to_owned(),
                size_bytes: record.open_size_bytes.or(record.size_bytes),
                media_type,
                stored: file,
                codec: record
                    .href
                    .rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            };
            unpacked(&asked, content).await
        }
        Some(Wanted::Whole(format, packing)) => {
            let rows = documents(app, release, repo).await?;
            let mut rows = rows.into_iter();
            let row = rows.find(|row| row.label == format.name).ok_or_else(|| {
                ApiError::not_found(format!("release {release} has no {} yet", place.rest)).hint(
                    "it is made within minutes of the release; of older releases `hallmark sbom --release` makes the same",
                )
            })?;
            whole(&asked, format, packing, row).await
        }
        Some(Wanted::Build(format, digest)) => about_build(&asked, place, format, digest).await,
        None => Err(no_record(place)),
    }
}

/// The document about a build, wherever the place has ever had a package of it.
async fn about_build(
    asked: &Asked<'_>,
    place: &Place,
    format: &'static SbomFormat,
    digest: FileDigest,
) -> Result<Response, ApiError> {
    let Asked { app, .. } = asked;
    let wanted = place.clone();
    let name = app
        .db
        .read(move |connection| {
            let Some(newest) = super::tree::horizon(connection, &wanted.root)? else {
                return Ok(None);
            };
            let (repo, arch) = (&wanted.repo, &wanted.arch);
            let found = db::build_sboms::build_sbom_at(
                connection,
                repo,
                arch,
                format.name,
                digest,
                newest,
            )?;
            let Some(build) = found else {
                return Ok(None);
            };
            let build = db::builds::by_id(connection, build)?;
            Ok::<_, DbError>(build.map(|build| build_name(&build.source_name, format, digest)))
        })
        .await?;
    match name.filter(|name| place.rest == format!("sbom/{name}")) {
        Some(_) => {
            let object = Object::find(app, digest, format.media_type, Caching::Immutable).await?;
            answer(app, asked.method, asked.request, &object).await
        }
        None => Err(
            ApiError::not_found(format!("there is no {} in this repository", place.rest))
                .hint("sbom/index.json names the documents about builds"),
        ),
    }
}

/// A request for one of the files.
struct Asked<'a> {
    app: &'a App,
    method: &'a Method,
    request: &'a HeaderMap,
    caching: Caching,
}

async fn whole(
    asked: &Asked<'_>,
    format: &SbomFormat,
    packing: Packing,
    row: ReleaseDocumentRow,
) -> Result<Response, ApiError> {
    if packing == Packing::Stored {
        let object = Object {
            digest: row.packed,
            size_bytes: row.packed_size_bytes,
            media_type: ZSTD.to_owned(),
            caching: asked.caching,
            modified: None,
        };
        return answer(asked.app, asked.method, asked.request, &object).await;
    }
    let content = Content {
        digest: row.digest.to_hex(),
        size_bytes: Some(row.size_bytes),
        media_type: format.media_type,
        stored: row.packed,
        codec: "zst".to_owned(),
    };
    unpacked(asked, content).await
}

fn no_record(place: &Place) -> ApiError {
    ApiError::not_found(format!("there is no {} in this release", place.rest))
        .hint("releases made before SBOM indexes were published have none; ask for a later one")
}

/// The stored file of a record of `repomd.xml`, and what that says of it.
async fn record(
    app: &App,
    place: &Place,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
    record_type: &str,
) -> Result<(FileDigest, RecordClaim), ApiError> {
    let missing = || no_record(place);
    let repomd = app.store.get(repo.repomd, REPOMD_MAX_BYTES).await?;
    let repomd = Repomd::parse(&repomd).map_err(|error| ApiError::internal(&error))?;
    let record = repomd.of_type(record_type).next().ok_or_else(missing)?;
    let (name, in_repo, arch) = (record.href.clone(), place.repo.clone(), place.arch.clone());
    let file = app
        .db
        .read(move |connection| {
            db::releases::repodata_file(connection, &in_repo, &arch, &name, release)
        })
        .await?
        .ok_or_else(missing)?;
    Ok((file.file, record.clone()))
}

fn content_digest(record: &RecordClaim) -> Option<&str> {
    let checksum = record.open_checksum.as_ref().or(record.checksum.as_ref());
    checksum.map(|checksum| checksum.hex.as_str())
}

/// A file that is stored compressed and sent as it is.
struct Content {
    /// Of what is sent.
    digest: String,
    /// Of what is sent, where it is known.
    size_bytes: Option<u64>,
    media_type: &'static str,
    stored: FileDigest,
    /// `zst`, `gz`, or another suffix of what is not compressed.
    codec: String,
}

async fn unpacked(asked: &Asked<'_>, content: Content) -> Result<Response, ApiError> {
    let etag = format!("\"{}\"", content.digest);
    let mut response = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::CACHE_CONTROL, asked.caching.as_header());
    let known = asked.request.get(header::IF_NONE_MATCH);
    if known.is_some_and(|list| lists(list, &etag)) {
        response = response.status(StatusCode::NOT_MODIFIED);
        return response
            .body(Body::empty())
            .map_err(|error| ApiError::internal(&error));
    }
    response = response.header(header::CONTENT_TYPE, content.media_type);
    if let Some(size) = content.size_bytes {
        response = response.header(header::CONTENT_LENGTH, size);
    }
    let body = match *asked.method == Method::HEAD {
        true => Body::empty(),
        false => {
            let (store, places) = (&asked.app.store, &asked.app.unpacking);
            unpack::body(store, places, content.stored, &content.codec).await?
        }
    };
    response
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_has_the_records_and_each_format_twice_and_nothing_else() {
        for name in ["index.json", "changes.csv"] {
            assert!(is_one(&format!("sbom/{name}")));
            assert!(!is_one(&format!("sbom/{name}.zst")));
        }
        for format in SBOM_FORMATS {
            let name = format!("sbom/release{}", format.file_suffix);
            assert!(is_one(&name) && is_one(&format!("{name}.zst")));
        }
        let digest = "ab".repeat(32);
        for format in SBOM_FORMATS {
            let suffix = format.file_suffix;
            assert!(is_one(&format!(
                "sbom/builds/{digest}-a-1-1.src.rpm{suffix}"
            )));
        }
        for other in [
            format!("sbom/builds/{digest}-a-1-1.src.rpm.cdx15.json").as_str(),
            &format!("sbom/builds/{digest}.cdx.json"),
            "sbom/builds/xy-a-1-1.src.rpm.cdx.json",
            "sbom/builds/",
            "sbom/",
            "sbom/release",
            "sbom/release.cdx15.json",
            "release.cdx.json",
        ] {
            assert!(!is_one(other), "{other}");
        }
    }
}
