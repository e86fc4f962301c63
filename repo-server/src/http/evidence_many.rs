//! Evidence about many packages in few answers (`repo_model::wire::evidence`): what a machine asks before it
//! installs two hundred packages. Everything in them can be had one by one as well, and is no more trusted.

use super::error::ApiError;
use super::evidence::{bundle_of, media_type};
use crate::app::App;
use crate::db::{self, DbError};
use crate::status;
use crate::store::StoreError;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mirrors::tar;
use repo_model::wire::evidence::{
    AskDocuments, AskPackages, MAX_ASKED, MAX_FILE_BYTES, TAR, bundle_name, document_name,
    head_name,
};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Files of one answer that are read side by side: so many times [`MAX_FILE_BYTES`] is what it holds in memory.
const AT_ONCE: usize = 8;
/// Such answers under way at once, all together.
static ANSWERING: Semaphore = Semaphore::const_new(32);
/// A further request waits this long for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);
/// Seconds after which a client that had no turn may ask again.
const RETRY_AFTER: &str = "5";

/// `POST /api/v1/evidence/packages`: the builds of packages, with those packages alone.
pub async fn packages(
    State(app): State<App>,
    Json(asked): Json<AskPackages>,
) -> Result<Json<Vec<BuildStatus>>, ApiError> {
    demand(asked.headers.len())?;
    let headers: BTreeSet<HeaderDigest> = asked.headers.into_iter().collect();
    let builds = app
        .db
        .read(move |connection| status::of_headers(connection, &headers))
        .await?;
    Ok(Json(builds))
}

/// `POST /api/v1/evidence/documents`: files by digest, in one tar.
pub async fn documents(
    State(app): State<App>,
    Json(asked): Json<AskDocuments>,
) -> Result<Response, ApiError> {
    demand(asked.count())?;
    let place = place().await?;
    let files = app
        .db
        .read(move |connection| known(connection, &asked))
        .await?;
    let packed = stream::iter(files)
        .map(move |file| pack(app.clone(), file))
        .buffered(AT_ONCE)
        .chain(stream::once(async move {
            // Until here the answer has its place.
            let _place = place;
            end()
        }))
        .try_filter(|bytes| std::future::ready(!bytes.is_empty()));
    let body = Body::from_stream(packed);
    Ok(([(header::CONTENT_TYPE, TAR)], body).into_response())
}

fn demand(count: usize) -> Result<(), ApiError> {
    if (1..=MAX_ASKED).contains(&count) {
        return Ok(());
    }
    let message = format!("{count} names are asked for; the limit is {MAX_ASKED}");
    Err(ApiError::client(
        StatusCode::UNPROCESSABLE_ENTITY,
        "too-many",
        message,
    ))
}

/// A turn to answer. Who gets none asks for its files one by one: so do all clients after a 4xx, but not after a 503.
async fn place() -> Result<SemaphorePermit<'static>, ApiError> {
    match tokio::time::timeout(TURN_MAX, ANSWERING.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        _ => {
            let message = "too many such answers are under way";
            let refused = ApiError::client(StatusCode::TOO_MANY_REQUESTS, "busy", message);
            Err(refused
                .hint("ask again in a few seconds, or for each file by itself")
                .header(header::RETRY_AFTER, RETRY_AFTER))
        }
    }
}

/// One file of an answer.
enum File {
    Document(FileDigest),
    Bundle(FileDigest),
    /// So many bytes of the signed file.
    Head {
        header: HeaderDigest,
        signed: FileDigest,
        size_bytes: u64,
    },
}

/// What is public of what is asked for, each once.
fn known(connection: &Connection, asked: &AskDocuments) -> Result<Vec<File>, DbError> {
    let mut files = Vec::with_capacity(asked.count());
    for digest in once(&asked.documents) {
        if media_type(connection, digest)?.is_some() {
            files.push(File::Document(digest));
        }
    }
    for digest in once(&asked.bundles) {
        if media_type(connection, digest)?.is_some() {
            files.push(File::Bundle(digest));
        }
    }
    for header in once(&asked.heads) {
        let mut packages = db::builds::with_header(connection, header)?.into_iter();
        let released = packages.find(|package| package.added_at.is_some());
        if let Some(signed) = released.and_then(|package| package.signed) {
            files.push(File::Head {
                header,
                signed: signed.file,
                size_bytes: signed.head_bytes,
            });
        }
    }
    Ok(files)
}

fn once<T: Ord + Copy>(names: &[T]) -> BTreeSet<T> {
    names.iter().copied().collect()
}

/// A file as it stands in the tar; nothing when it cannot be had that way.
async fn pack(app: App, file: File) -> io::Result<Bytes> {
    let (name, content) = match file {
        File::Document(digest) => (document_name(digest), small(&app, digest).await?),
        File::Bundle(digest) => (bundle_name(digest), bundle(&app, digest).await?),
        File::Head {
            header,
            signed,
            size_bytes,
        } => {
            let bytes = match size_bytes <= MAX_FILE_BYTES {
                true => there(app.store.get_start(signed, size_bytes).await)?,
                false => None,
            };
            (head_name(header), bytes)
        }
    };
    let mut packed = Vec::new();
    if let Some(content) = content.filter(|content| content.len() as u64 <= MAX_FILE_BYTES) {
        tar::write_file(&mut packed, &name, &content)?;
    }
    Ok(packed.into())
}

async fn small(app: &App, digest: FileDigest) -> io::Result<Option<Bytes>> {
    there(app.store.get(digest, MAX_FILE_BYTES).await)
}

/// What is made of a small statement; a bundle is never smaller than its statement.
async fn bundle(app: &App, digest: FileDigest) -> io::Result<Option<Bytes>> {
    let size_bytes = app.store.size_bytes(digest).await;
    let size_bytes = size_bytes.map_err(io::Error::other)?;
    if size_bytes.is_none_or(|bytes| bytes > MAX_FILE_BYTES) {
        return Ok(None);
    }
    let made = bundle_of(app, digest).await;
    // Whoever asks for it alone is told what is wrong.
    Ok(made.ok().flatten().map(Bytes::from))
}

/// What is lost or too large is left out.
fn there(read: Result<Bytes, StoreError>) -> io::Result<Option<Bytes>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Missing { .. } | StoreError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn end() -> io::Result<Bytes> {
    let mut end = Vec::new();
    tar::finish(&mut end)?;
    Ok(end.into())
}
