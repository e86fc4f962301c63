//! Blobs from rebuilders: small, only while a lease is held, and remembered as theirs. A rebuilder that names
//! a blob it does not have, to have it shown, must send its bytes first.

use super::error::ApiError;
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::intake::{PutOutcome, put_blob};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use repo_model::wire::worker::MAX_BLOB_BYTES;
use repo_model::{FileDigest, WorkerName};
use sha2::{Digest as _, Sha256};

/// Most that one rebuilder may store in a day, bytes.
const MAX_BYTES_A_DAY: u64 = 8 << 30;

/// Takes a blob: 201 stored, 200 stored before.
pub async fn put(
    app: &App,
    worker: &WorkerName,
    digest: FileDigest,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let size_bytes = announced(headers)?;
    may_store(app, worker, size_bytes).await?;
    let known = app.store.size_bytes(digest).await?.is_some();
    let status = if known {
        verify(digest, size_bytes, body).await?;
        StatusCode::OK
    } else {
        let owner = worker.to_string();
        match put_blob(app, &owner, digest, None, body.into_data_stream()).await? {
            PutOutcome::Created => StatusCode::CREATED,
            PutOutcome::Existing | PutOutcome::Partial { .. } => {
                let message = format!("blob {digest} was stored by somebody else meanwhile");
                return Err(
                    ApiError::client(StatusCode::CONFLICT, "busy", message).hint("send it again")
                );
            }
        }
    };
    let worker = worker.clone();
    app.db
        .write(move |tx| db::rebuilders::stored(tx, &worker, digest, size_bytes, now()))
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    Ok(status.into_response())
}

fn announced(headers: &HeaderMap) -> Result<u64, ApiError> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let Some(size_bytes) = length.filter(|_| !headers.contains_key(header::CONTENT_RANGE)) else {
        let message = "a rebuilder's blob is sent whole, with its Content-Length";
        return Err(ApiError::client(
            StatusCode::LENGTH_REQUIRED,
            "length-required",
            message,
        ));
    };
    if size_bytes > MAX_BLOB_BYTES {
        let message = format!("the blob is {size_bytes} bytes; the limit is {MAX_BLOB_BYTES}");
        return Err(
            ApiError::client(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
                .hint("lower rebuilder.log_bytes"),
        );
    }
    Ok(size_bytes)
}

async fn may_store(app: &App, worker: &WorkerName, size_bytes: u64) -> Result<(), ApiError> {
    let name = worker.clone();
    let (holds, stored) = app
        .db
        .read(move |connection| {
            let since = now().plus_secs(-86_400);
            Ok::<_, DbError>((
                db::rebuilds::holds_any(connection, &name)?,
                db::rebuilders::stored_bytes(connection, &name, since)?,
            ))
        })
        .await?;
    if !holds {
        let message = format!("{worker} holds no lease, so it has nothing to store");
        return Err(ApiError::client(
            StatusCode::FORBIDDEN,
            "forbidden",
            message,
        ));
    }
    if stored.saturating_add(size_bytes) > MAX_BYTES_A_DAY {
        let message =
            format!("{worker} has stored {stored} bytes in a day; the limit is {MAX_BYTES_A_DAY}");
        return Err(
            ApiError::client(StatusCode::TOO_MANY_REQUESTS, "quota", message)
                .hint("try again tomorrow; lower rebuilder.log_bytes"),
        );
    }
    Ok(())
}

/// Reads the body and compares its digest; nothing is stored.
async fn verify(digest: FileDigest, size_bytes: u64, body: Body) -> Result<(), ApiError> {
    let refuse = |message: String| {
        Err(
            ApiError::client(StatusCode::BAD_REQUEST, "wrong-digest", message)
                .hint("compute the file's SHA-256 anew and upload it again"),
        )
    };
    let mut hasher = Sha256::new();
    let mut total = 0_u64;
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else {
            return refuse(format!("the upload broke off after {total} bytes"));
        };
        total += chunk.len() as u64;
        if total > size_bytes {
            return refuse(format!("more than the announced {size_bytes} bytes came"));
        }
        hasher.update(&chunk);
    }
    let actual = FileDigest::from_bytes(hasher.finalize().into());
    match actual == digest {
        true => Ok(()),
        false => refuse(format!(
            "the uploaded bytes have digest {actual}, not {digest}"
        )),
    }
}
