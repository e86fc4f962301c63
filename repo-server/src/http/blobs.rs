//! `/api/v1/blobs` and `/api/v1/uploads`: content by digest, for builders and rebuilders.

use super::auth::{Bearer, WorkerClaim};
use super::content::{Caching, Object, answer};
use super::error::ApiError;
use super::worker_blobs;
use crate::app::App;
use crate::db::{self, DbError};
use crate::intake::{ContentRange, IntakeError, PutOutcome, put_blob, upload_offset};
use axum::Json;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use repo_model::FileDigest;
use repo_model::wire::worker::HEADER;

/// `PUT /api/v1/blobs/{sha256}`: 201 stored, 200 stored before, 202 more parts to come.
pub async fn put(
    State(app): State<App>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    Path(digest): Path<String>,
    bearer: Option<Bearer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let digest = parse(&digest)?;
    let owner = match bearer {
        Some(bearer) => {
            bearer.may_upload()?;
            bearer.name().to_owned()
        }
        None if headers.contains_key(HEADER) => {
            // The digest in the path is the body's: signing it signs the body.
            let path = uri.path_and_query().map_or("", |path| path.as_str());
            let claim = WorkerClaim::read(&app, &headers).await?;
            let worker = claim.prove(&app, method.as_str(), path, digest).await?;
            return worker_blobs::put(&app, &worker.name, digest, &headers, body).await;
        }
        None => return Err(ApiError::unauthorized("uploading needs a token")),
    };
    let range = headers
        .get(header::CONTENT_RANGE)
        .map(|value| ContentRange::parse(value.to_str().unwrap_or_default()))
        .transpose()?;
    // What is announced as too large is refused before it is sent.
    let limit_bytes = app.config.server.max_blob_bytes;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if let Some(size_bytes) = announced.filter(|size_bytes| *size_bytes > limit_bytes) {
        return Err(IntakeError::TooLarge {
            size_bytes,
            limit_bytes,
        }
        .into());
    }
    let outcome = put_blob(&app, &owner, digest, range, body.into_data_stream()).await?;
    Ok(match outcome {
        PutOutcome::Created => StatusCode::CREATED.into_response(),
        PutOutcome::Existing => StatusCode::OK.into_response(),
        PutOutcome::Partial { have } => {
            (StatusCode::ACCEPTED, [("upload-offset", have.to_string())]).into_response()
        }
    })
}

/// `GET` and `HEAD /api/v1/blobs/{sha256}`: for tokens that may read, and for the rebuilder that works on
/// it; any token may ask whether a blob is here.
pub async fn get(
    State(app): State<App>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    Path(digest): Path<String>,
    bearer: Option<Bearer>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let digest = parse(&digest)?;
    if let Some(bearer) = &bearer {
        // Whether a blob is here is asked before each upload.
        if method != Method::HEAD {
            bearer.may_read()?;
        }
    } else {
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let claim = WorkerClaim::read(&app, &headers).await?;
        let worker = claim
            .prove(&app, method.as_str(), path, FileDigest::of(b""))
            .await?;
        let name = worker.name;
        let rebuilder = name.clone();
        let concerns = app
            .db
            .read(move |connection| db::rebuilds::concerns(connection, &rebuilder, digest))
            .await
            .map_err(|error: DbError| ApiError::from(error))?;
        if !concerns {
            let message = format!("{name} holds no lease that concerns blob {digest}");
            return Err(ApiError::client(
                StatusCode::FORBIDDEN,
                "forbidden",
                message,
            ));
        }
    }
    let object = Object::find(&app, digest, "application/octet-stream", Caching::Immutable).await?;
    answer(&app, &method, &headers, &object).await
}

/// `GET /api/v1/uploads/{sha256}`: `{"offset_bytes": N}`, where to go on; 404 when nothing is here.
pub async fn offset(
    State(app): State<App>,
    Path(digest): Path<String>,
    bearer: Bearer,
) -> Result<Json<serde_json::Value>, ApiError> {
    let digest = parse(&digest)?;
    let offset = upload_offset(&app, bearer.name(), digest).await;
    let offset =
        offset.ok_or_else(|| ApiError::not_found(format!("no upload of {digest} was begun")))?;
    Ok(Json(serde_json::json!({ "offset_bytes": offset })))
}

fn parse(digest: &str) -> Result<FileDigest, ApiError> {
    digest.parse().map_err(|error| {
        ApiError::client(StatusCode::BAD_REQUEST, "bad-digest", format!("{error}"))
            .hint("a blob's name is the SHA-256 of its bytes, as `sha256sum` prints it")
    })
}
