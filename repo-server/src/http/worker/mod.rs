//! `/api/v1/worker`: leases for rebuilders, their commitments, their reports.

mod commit;
mod enrol;
mod lease;
mod report;

pub use commit::commit;
pub use enrol::enrol;
pub use lease::{heartbeat, lease};
pub use report::report;

use super::auth::{Worker, WorkerClaim};
use super::error::ApiError;
use crate::app::App;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use repo_model::FileDigest;
use serde::de::DeserializeOwned;

/// Largest body of requests that say little, bytes.
const SMALL: usize = 64 << 10;
/// Largest report, bytes: a reveal of 20,000 statements in base64.
const REPORT: usize = 4 << 20;

/// A body that its rebuilder signed.
struct Signed<T> {
    by: Worker,
    body: T,
}

/// Reads a request that a rebuilder signed. Nothing of the body is read for somebody whom nobody knows.
async fn signed<T: DeserializeOwned>(
    app: &App,
    request: Request,
    limit_bytes: usize,
) -> Result<Signed<T>, ApiError> {
    let (parts, body) = request.into_parts();
    let claim = WorkerClaim::read(app, &parts.headers).await?;
    let bytes = read(body, limit_bytes).await?;
    let path = super::auth::path_and_query(&parts);
    let by = claim
        .prove(app, parts.method.as_str(), &path, FileDigest::of(&bytes))
        .await?;
    Ok(Signed {
        by,
        body: parse(&bytes)?,
    })
}

async fn read(body: Body, limit_bytes: usize) -> Result<bytes::Bytes, ApiError> {
    axum::body::to_bytes(body, limit_bytes).await.map_err(|_| {
        let message = format!("the body is longer than {limit_bytes} bytes, or broke off");
        ApiError::client(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
            .hint("statements and logs are uploaded as blobs, and named by their digest here")
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the body is not what this expects: {error}");
        ApiError::client(StatusCode::BAD_REQUEST, "bad-body", message)
            .hint("the protocol reference describes every request")
    })
}

fn lease_lost(job: u64) -> ApiError {
    let message = format!("you do not hold this lease of job {job} (any more)");
    ApiError::client(StatusCode::CONFLICT, "lease-lost", message)
        .hint("drop the work and lease again")
}
