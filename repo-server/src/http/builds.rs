//! `/api/v1/builds`: taking builds in, telling where they are, trying held ones again.

use super::auth::Bearer;
use super::error::ApiError;
use crate::app::{App, now};
use crate::db::builds::{BuildFilter, BuildRow};
use crate::db::{self, DbError};
use crate::jobs::rebuilding;
use crate::{intake, jobs, status};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use repo_model::policy::Reason;
use repo_model::stage::{Event, Stage};
use repo_model::wire::intake::BuildManifest;
use repo_model::wire::status::BuildStatus;
use rusqlite::Transaction;
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
        limit: query.limit.unwrap_or(100).min(MAX_LIMIT),
    };
    Ok(Json(
        app.db
            .read(move |connection| status::builds(connection, &filter))
            .await?,
    ))
}

/// `GET /api/v1/builds/{build}`.
pub async fn one(
    State(app): State<App>,
    Path(build_id): Path<u64>,
) -> Result<Json<BuildStatus>, ApiError> {
    let found = app
        .db
        .read(move |connection| status::build(connection, build_id))
        .await?;
    found
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
    let actor = bearer.name().to_owned();
    let app_too = app.clone();
    let retried = app
        .db
        .write(move |tx| {
            let Some(build) = db::builds::by_id(tx, build_id)? else {
                return Ok(None);
            };
            try_again(tx, &app_too, &build)?;
            db::audit(tx, now(), &actor, "retry", &format!("build {build_id}"), "")?;
            Ok::<_, DbError>(Some(()))
        })
        .await;
    match retried {
        Ok(Some(())) => {
            app.jobs_changed.notify_one();
            app.rebuilds_changed.notify_waiters();
            Ok(StatusCode::NO_CONTENT)
        }
        Ok(None) => Err(ApiError::not_found(format!("there is no build {build_id}"))),
        Err(DbError::Stage(error)) => Err(ApiError::client(
            StatusCode::CONFLICT,
            "wrong-stage",
            error.to_string(),
        )
        .hint("only builds that are held or under way can be tried again; what was rejected has to be built anew")),
        Err(error) => Err(error.into()),
    }
}

/// New rebuilds where the old ones do not count, new SBOMs where they are missing, a new judgement.
fn try_again(tx: &Transaction<'_>, app: &App, build: &BuildRow) -> Result<(), DbError> {
    let build_id = build.build_id;
    let plain_is_missing = build.stage.reasons().contains(&Reason::PlainMissing);
    // A build still under way may be stuck on a rebuilder that gave up.
    if build.stage != Stage::Received {
        db::builds::advance(tx, build_id, Event::Retried, now())?;
    }
    let packages = db::builds::packages(tx, build_id)?;
    let names: Vec<String> = packages.into_iter().map(|p| p.nevra.name).collect();
    let rules = rebuilding::rules(app, tx, build_id)?;
    let enough = db::rounds::enough(&db::rounds::rows(tx, build_id)?, &rules);
    db::rebuilds::retry(tx, build_id, !enough || plain_is_missing, now())?;
    if let Some((arch, runs)) = db::rebuilds::arch_and_runs(tx, build_id)? {
        let source = &build.source.name;
        let mut assignees = rebuilding::assignees(app, tx, source, &names)?;
        let runs = runs.max(app.policy.runs(source, runs > 1));
        assignees
            .iter_mut()
            .for_each(|assignee| assignee.runs = runs);
        db::rebuilds::insert(tx, build_id, &arch, &assignees, now())?;
        db::rebuilds::demand_runs(tx, build_id, runs, now())?;
    }
    jobs::retry_sboms(tx, build_id)?;
    rebuilding::changed(tx, app, build_id)?;
    Ok(())
}
