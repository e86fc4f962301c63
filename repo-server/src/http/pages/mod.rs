//! The web pages: rows of the database in, the web crate's HTML out. One file a family of pages.

mod builds;
mod changes;
mod feeds;
mod findings;
mod glance;
mod home;
mod inside;
mod log;
mod mirrors;
pub mod operator;
mod package;
mod rebuilders;
mod releases;
mod search;

pub use builds::{build, builds};
pub use changes::{changes, component_changes};
pub use feeds::{held_feed, releases_feed};
pub use findings::{report, submit_bisection};
pub use glance::Glanced;
pub use home::home;
pub use inside::{components, inside, licences};
pub use log::log;
pub use mirrors::mirrors;
pub use package::{badge, dependents, files, package, version};
pub use rebuilders::rebuilders;
pub use releases::{Tallied, contents, release, releases};
pub use search::{api_search, search};

use super::error::ApiError;
use crate::app::App;
use crate::db::{self, DbError, overview};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use tokio::sync::SemaphorePermit;
use web::{Agreement, BuildLine, ErrorView, RenderError, Site, StageCounts};

/// Releases on one page.
const RELEASES_PER_PAGE: u32 = 200;

/// What every page says about the server.
pub fn site(app: &App) -> Site<'_> {
    Site {
        title: &app.config.server.title,
        public_url: &app.config.server.public_url,
    }
}

/// A rendered page as an answer.
pub fn html(rendered: Result<String, RenderError>) -> Result<Response, ApiError> {
    let text = rendered.map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CACHE_CONTROL, "no-cache")], Html(text)).into_response())
}

/// An error as a page for browsers and as JSON for everything else.
pub fn error_page(app: &App, headers: &HeaderMap, error: ApiError) -> Response {
    let wants_html = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_html {
        return error.into_response();
    }
    let view = ErrorView {
        site: &site(app),
        status: error.status().as_u16(),
        what: error.message(),
        next: error
            .next()
            .unwrap_or("Go back to the first page, or look for the package under Builds."),
    };
    match web::error(&view) {
        Ok(text) => (error.status(), Html(text)).into_response(),
        Err(_) => error.into_response(),
    }
}

/// A place among the questions on the SBOM index; only so many run side by side, the others wait.
async fn turn(app: &App) -> Result<SemaphorePermit<'_>, ApiError> {
    let turn = app.sbom_index.asking.acquire().await;
    turn.map_err(|error| ApiError::internal(&error))
}

async fn counts(app: &App) -> Result<StageCounts, DbError> {
    let rows = app.db.read(db::builds::counts).await?;
    let of = |stage: &str| {
        rows.iter()
            .find(|(name, _)| name == stage)
            .map_or(0, |(_, count)| *count)
    };
    Ok(StageCounts {
        received: of("received"),
        approved: of("approved"),
        held: of("held"),
        rejected: of("rejected"),
        signed: of("signed"),
        published: of("published"),
    })
}

/// A line about a build, as pages show it.
fn build_line(line: overview::BuildLine) -> BuildLine {
    BuildLine {
        build: line.build_id,
        repo: line.repo,
        source: line.source,
        stage: line.stage,
        packages: line.packages,
        agreement: Agreement {
            rebuilders: line.rebuilders,
            confirmed: line.confirmed,
            objecting: line.objecting,
        },
        changed_at: line.changed_at,
    }
}

/// `GET /assets/{name}`: stylesheet, script, logo.
pub async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let path = format!("/assets/{name}");
    let asset = web::assets()
        .iter()
        .find(|asset| asset.path == path)
        .ok_or_else(|| ApiError::not_found(format!("there is no {path}")))?;
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((StatusCode::OK, headers, asset.bytes).into_response())
}
