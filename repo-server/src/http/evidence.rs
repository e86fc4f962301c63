//! `/evidence/sha256/{digest}`: every document about a package, for anyone.

use super::content::{Caching, Object, answer};
use super::error::ApiError;
use crate::app::App;
use crate::db::{self, DbError};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use repo_model::FileDigest;

/// Serves a document that is evidence, a release's envelope or its package list.
pub async fn get(
    State(app): State<App>,
    method: Method,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || {
        ApiError::not_found(format!("no public evidence has digest {digest}"))
            .hint("a source package is public once its build is published")
    };
    let wanted: FileDigest = digest.parse().map_err(|_| missing())?;
    let media_type = app
        .db
        .read(move |connection| {
            let evidence = db::evidence::media_type(connection, wanted)?;
            match evidence {
                Some(media_type) => Ok(Some(media_type)),
                None => db::releases::media_type(connection, wanted),
            }
        })
        .await
        .map_err(|error: DbError| ApiError::from(error))?
        .ok_or_else(missing)?;
    let object = Object::find(&app, wanted, &media_type, Caching::Immutable).await?;
    answer(&app, &method, &headers, &object).await
}
