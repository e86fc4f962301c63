//! `sbom/index.json` and `sbom/changes.csv` of a repository: two records of its `repomd.xml`, unpacked.
//! What `repomd.xml` says of them is what is sent, so a pinned release's never change.

use super::content::Caching;
use super::error::ApiError;
use super::tree::Place;
use crate::app::App;
use crate::db;
use crate::db::releases::ReleaseRepoRow;
use crate::publish::sbom_listing::{CHANGES, INDEX};
use crate::repocheck::{REPOMD_MAX_BYTES, RecordClaim, Repomd};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use repo_model::{FileDigest, ReleaseId};
use std::io::{self, Read};

/// Files of the folder: name, record type, media type.
const FILES: &[(&str, &str, &str)] = &[
    ("sbom/index.json", INDEX, "application/json"),
    ("sbom/changes.csv", CHANGES, "text/csv; charset=utf-8"),
];
/// Bytes in one piece of an answer, and pieces under way.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 4;

/// Names in the folder `sbom/`.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES
        .iter()
        .filter_map(|(path, ..)| path.strip_prefix("sbom/"))
}

/// Whether a path is one of these files.
pub fn is_one(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
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
    let missing = || {
        ApiError::not_found(format!("there is no {} in this release", place.rest))
            .hint("releases made before SBOM indexes were published have none; ask for a later one")
    };
    let (_, record_type, media_type) = FILES
        .iter()
        .find(|(path, ..)| *path == place.rest)
        .ok_or_else(missing)?;
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
    let etag = format!("\"{}\"", content_digest(record).ok_or_else(missing)?);
    let mut response = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::CACHE_CONTROL, caching.as_header());
    let known = request.get(header::IF_NONE_MATCH);
    if known.is_some_and(|list| super::content::lists(list, &etag)) {
        response = response.status(StatusCode::NOT_MODIFIED);
        return response
            .body(Body::empty())
            .map_err(|error| ApiError::internal(&error));
    }
    response = response.header(header::CONTENT_TYPE, *media_type);
    if let Some(size) = record.open_size_bytes.or(record.size_bytes) {
        response = response.header(header::CONTENT_LENGTH, size);
    }
    let body = match *method == Method::HEAD {
        true => Body::empty(),
        false => unpacked(app, file.file, &file.name).await?,
    };
    response
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

fn content_digest(record: &RecordClaim) -> Option<&str> {
    let checksum = record.open_checksum.as_ref().or(record.checksum.as_ref());
    checksum.map(|checksum| checksum.hex.as_str())
}

/// The content, decompressed piece by piece as the client takes it.
async fn unpacked(app: &App, file: FileDigest, name: &str) -> Result<Body, ApiError> {
    let reader = app.store.blocking_reader(file).await?;
    let codec = name.rsplit('.').next().unwrap_or_default().to_owned();
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let sent = |piece: io::Result<Bytes>| sender.blocking_send(piece).is_ok();
        let opened: io::Result<Box<dyn Read>> = match codec.as_str() {
            "zst" => zstd::Decoder::new(reader).map(|decoder| Box::new(decoder) as Box<dyn Read>),
            "gz" => Ok(Box::new(flate2::read::MultiGzDecoder::new(reader))),
            _ => Ok(Box::new(reader)),
        };
        let mut content = match opened {
            Ok(content) => content,
            Err(error) => {
                sent(Err(error));
                return;
            }
        };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match content.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => {
                    if !sent(Ok(Bytes::copy_from_slice(&piece[..read]))) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    sent(Err(error));
                    return;
                }
            }
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok(Body::from_stream(pieces))
}
