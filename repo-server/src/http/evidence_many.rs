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

/// Files of one answer that are read side by side: so many times [`MAX_FILE_BYTES`] is what it holds in memory.
const AT_ONCE: usize = 8;

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
    let files = app
        .db
        .read(move |connection| known(connection, &asked))
        .await?;
    let packed = stream::iter(files)
        .map(move |file| pack(app.clone(), file))
        .buffered(AT_ONCE)
        .chain(stream::once(async { end() }))
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

/// What is public of what is asked for.
fn known(connection: &Connection, asked: &AskDocuments) -> Result<Vec<File>, DbError> {
    let mut files = Vec::with_capacity(asked.count());
    for digest in &asked.documents {
        if media_type(connection, *digest)?.is_some() {
            files.push(File::Document(*digest));
        }
    }
    for digest in &asked.bundles {
        if media_type(connection, *digest)?.is_some() {
            files.push(File::Bundle(*digest));
        }
    }
    for header in &asked.heads {
        let mut packages = db::builds::with_header(connection, *header)?.into_iter();
        let released = packages.find(|package| package.added_at.is_some());
        if let Some(signed) = released.and_then(|package| package.signed) {
            files.push(File::Head {
                header: *header,
                signed: signed.file,
                size_bytes: signed.head_bytes,
            });
        }
    }
    Ok(files)
}

/// A file as it stands in the tar; nothing when it cannot be had that way.
async fn pack(app: App, file: File) -> io::Result<Bytes> {
    let (name, content) = match file {
        File::Document(digest) => (document_name(digest), small(&app, digest).await?),
        File::Bundle(digest) => {
            let made = bundle_of(&app, digest).await;
            // Whoever asks for it alone is told what is wrong.
            let bytes = made.ok().flatten().map(Bytes::from);
            (bundle_name(digest), bytes)
        }
        File::Head {
            header,
            signed,
            size_bytes,
        } => {
            let is_small = size_bytes <= MAX_FILE_BYTES;
            let start = match is_small {
                true => Some(app.store.get_start(signed, size_bytes).await),
                false => None,
            };
            let bytes = start.transpose().map_err(io::Error::other)?;
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
    match app.store.get(digest, MAX_FILE_BYTES).await {
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
