//! `/api/v1/vex`: documents that say whether a vulnerability matters here.

use super::auth::Bearer;
use super::error::ApiError;
use super::params::{Params, bad};
use crate::app::{App, now};
use crate::db::{self, DbError};
use crate::jobs::chain;
use crate::sbom_index::vex::{self, VexError};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use repo_model::FileDigest;
use repo_model::wire::sbom::VexDocument;
use std::collections::BTreeMap;

/// Most documents in one answer.
const MAX_LIMIT: u32 = 1_000;

/// `POST /api/v1/vex`: an OpenVEX or CSAF document; scope `operate`. Sending it again changes nothing, but
/// that a withdrawn one counts again.
pub async fn create(
    State(app): State<App>,
    bearer: Bearer,
    body: Bytes,
) -> Result<(StatusCode, Json<VexDocument>), ApiError> {
    bearer.may_operate()?;
    let bytes = body.clone();
    let read = tokio::task::spawn_blocking(move || vex::read(&bytes));
    let document = read.await.map_err(|error| ApiError::internal(&error))??;
    let digest = app.store.put(body).await?;
    let actor = bearer.name().to_owned();
    let stored = app
        .db
        .write(move |tx| {
            db::vex::insert(tx, digest, &document, &actor, now())?;
            db::audit(
                tx,
                now(),
                &actor,
                "vex-upload",
                &digest.to_hex(),
                &document.name,
            )?;
            db::vex::by_digest(tx, digest)
        })
        .await?;
    let stored = stored.ok_or_else(|| ApiError::not_found("the document is gone"))?;
    Ok((StatusCode::CREATED, Json(stored)))
}

/// `GET /api/v1/vex?after=&limit=`: newest first, withdrawn ones too.
pub async fn list(
    State(app): State<App>,
    Query(given): Query<BTreeMap<String, String>>,
) -> Result<Json<Vec<VexDocument>>, ApiError> {
    let mut params = Params::new(given);
    let after = params.parsed::<u32>("after")?.map_or(0, u64::from);
    let limit = params.parsed::<u32>("limit")?.unwrap_or(100).min(MAX_LIMIT);
    params.finish()?;
    let read = app
        .db
        .read(move |connection| db::vex::list(connection, limit, after));
    Ok(Json(read.await?))
}

/// `DELETE /api/v1/vex/{digest}`: takes a document out of use; its bytes stay. Scope `operate`.
pub async fn withdraw(
    State(app): State<App>,
    bearer: Bearer,
    Path(digest): Path<String>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    let wanted: FileDigest = digest.parse().map_err(|error| bad(format!("{error}")))?;
    let actor = bearer.name().to_owned();
    let withdrawn = app
        .db
        .write(move |tx| {
            let withdrawn = db::vex::withdraw(tx, wanted, now())?;
            if withdrawn {
                db::audit(tx, now(), &actor, "vex-withdraw", &wanted.to_hex(), "")?;
            }
            Ok::<_, DbError>(withdrawn)
        })
        .await?;
    match withdrawn {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(
            ApiError::not_found(format!("no VEX document in use has digest {wanted}"))
                .hint("GET /api/v1/vex names them"),
        ),
    }
}

impl From<VexError> for ApiError {
    fn from(error: VexError) -> Self {
        Self::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-vex", chain(&error)).hint(
            "check it with a validator of its format; products must be named by package URL, such as pkg:rpm/NAMESPACE/NAME",
        )
    }
}
