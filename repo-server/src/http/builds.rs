//! `/api/v1/builds`: taking builds in, telling where they are, what operators decide about them.

use super::auth::Bearer;
use super::error::ApiError;
use crate::app::App;
use crate::db::DbError;
use crate::db::build_list::{BuildFilter, USUAL};
use crate::jobs::rebuilding;
use crate::{decisions, intake, status};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use repo_model::wire::intake::BuildManifest;
use repo_model::wire::status::{BuildStatus, RejectBuild};
use serde::Deserialize;

/// Most builds in one answer.
const MAX_LIMIT: u32 = 500;

/// `POST /api/v1/builds`: a manifest; 201 a new build, 200 the build it made before.
pub async fn create(
    State(app): State<App>,
    bearer: Bearer,
    body: Bytes,
) -> Result<Response, ApiError> {
    bearer.may_upload()?;
    let manifest: BuildManifest = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is no build manifest: {error}");
        ApiError::client(StatusCode::BAD_REQUEST, "bad-manifest", message)
            .hint("`hallmark publish` writes it; the protocol reference describes it")
    })?;
    bearer.may_publish(&manifest.repo)?;
    let received = intake::receive(&app, &manifest, bearer.name()).await?;
    let status = if received.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(received.receipt)).into_response())
}

/// Query of [`list`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    package: Option<String>,
    stage: Option<String>,
    before: Option<u64>,
    limit: Option<u32>,
}

/// `GET /api/v1/builds?package=&stage=&before=&limit=`: newest first.
pub async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<BuildStatus>>, ApiError> {
    let filter = BuildFilter {
        package: query.package,
        stage: query.stage,
        before: query.before,
        offset: 0,
        limit: query.limit.unwrap_or(USUAL).min(MAX_LIMIT),
    };
    let app_too = app.clone();
    let found = app.db.read(move |connection| {
        let mut builds = status::builds(connection, &filter)?;
        for build in &mut builds {
            build.waits_for = rebuilding::waits_for(&app_too, connection, build)?;
        }
        Ok::<_, DbError>(builds)
    });
    Ok(Json(found.await?))
}

/// A build with whom it waits for; `None` when there is none with this number.
pub async fn found(app: &App, build_id: u64) -> Result<Option<BuildStatus>, DbError> {
    let app_too = app.clone();
    app.db
        .read(move |connection| {
            let mut found = status::build(connection, build_id)?;
            if let Some(build) = &mut found {
                build.waits_for = rebuilding::waits_for(&app_too, connection, build)?;
            }
            Ok(found)
        })
        .await
}

/// `GET /api/v1/builds/{build}`.
pub async fn one(
    State(app): State<App>,
    Path(build_id): Path<u64>,
) -> Result<Json<BuildStatus>, ApiError> {
    found(&app, build_id)
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("there is no build {build_id}")))
}

/// `POST /api/v1/builds/{build}/retry`: a held build is judged anew, with new rebuilds where the old
/// ones did not confirm it.
pub async fn retry(
    State(app): State<App>,
    bearer: Bearer,
    Path(build_id): Path<u64>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    decisions::retry(&app, bearer.name(), build_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/builds/{build}/reject`: a build never goes out with these bytes. 409 once the signer was
/// asked to sign it.
pub async fn reject(
    State(app): State<App>,
    bearer: Bearer,
    Path(build_id): Path<u64>,
    Json(request): Json<RejectBuild>,
) -> Result<StatusCode, ApiError> {
    bearer.may_operate()?;
    decisions::reject(&app, bearer.name(), build_id, &request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
