//! `/builds` and `/builds/{build}`.

use super::{build_line, counts, error_page, findings, html, site};
use crate::app::App;
use crate::db;
use crate::http::error::ApiError;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use repo_model::Arch;
use serde::Deserialize;
use web::{BuildLine, BuildView, BuildsView};

/// Builds on one page.
const BUILDS_PER_PAGE: u32 = 50;

/// Query of [`builds`].
#[derive(Debug, Deserialize)]
pub struct BuildsQuery {
    stage: Option<String>,
    package: Option<String>,
    offset: Option<u32>,
}

/// `GET /builds`.
pub async fn builds(
    State(app): State<App>,
    Query(query): Query<BuildsQuery>,
    headers: HeaderMap,
) -> Response {
    builds_page(&app, query)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn builds_page(app: &App, query: BuildsQuery) -> Result<Response, ApiError> {
    let text = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    let (stage, package) = (text(query.stage), text(query.package));
    let offset = query.offset.unwrap_or(0);
    let (of_stage, of_package) = (stage.clone(), package.clone());
    let found = app
        .db
        .read(move |connection| {
            let (stage, package) = (of_stage.as_deref(), of_package.as_deref());
            db::overview::builds(connection, stage, package, offset, BUILDS_PER_PAGE + 1)
        })
        .await?;
    let mut builds: Vec<BuildLine> = found.into_iter().map(build_line).collect();
    let more = builds.len() > BUILDS_PER_PAGE as usize;
    builds.truncate(BUILDS_PER_PAGE as usize);
    let view = BuildsView {
        site: &site(app),
        builds: &builds,
        stage: stage.as_deref(),
        package: package.as_deref(),
        counts: counts(app).await?,
        offset: u64::from(offset),
        limit: u64::from(BUILDS_PER_PAGE),
        next_offset: more.then(|| u64::from(offset) + u64::from(BUILDS_PER_PAGE)),
    };
    html(web::builds(&view))
}

/// `GET /builds/{build}`.
pub async fn build(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    build_page(&app, id)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn build_page(app: &App, id: u64) -> Result<Response, ApiError> {
    let found = crate::http::builds::found(app, id).await?;
    let build = found.ok_or_else(|| ApiError::not_found(format!("there is no build {id}")))?;
    let arches: &[Arch] = app
        .config
        .repo(&build.repo)
        .map_or(&[], |repo| repo.arches.as_slice());
    let bisection = findings::bisection(app, &build).await;
    html(web::build(&BuildView {
        site: &site(app),
        build: &build,
        arches,
        verdicts: &findings::verdicts(app, &build).await,
        bisection: bisection.as_ref().map(|(report, digest)| (report, *digest)),
    }))
}
