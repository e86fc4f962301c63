//! The web pages: rows of the database in, the web crate's HTML out.

use super::error::ApiError;
use super::keys::repo_file_text;
use crate::app::App;
use crate::db::builds::BuildFilter;
use crate::db::{self, DbError};
use crate::status;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use repo_model::wire::status::{BuildStatus, ReleaseStatus};
use repo_model::{Arch, ReleaseId};
use serde::Deserialize;
use web::{
    BuildView, BuildsView, ChannelSetup, Command, ErrorView, HomeView, Link, PackageView,
    ReleaseView, ReleasesView, RenderError, Site, StageCounts,
};

/// Builds on one page.
const BUILDS_PER_PAGE: u32 = 50;
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
        next: "Go back to the first page, or look for the package under Builds.",
    };
    match web::error(&view) {
        Ok(text) => (error.status(), Html(text)).into_response(),
        Err(_) => error.into_response(),
    }
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

/// `GET /`.
pub async fn home(State(app): State<App>, headers: HeaderMap) -> Response {
    home_page(&app)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn home_page(app: &App) -> Result<Response, ApiError> {
    let (channels, releases) = app
        .db
        .read(|connection| {
            Ok::<_, DbError>((
                db::channels::all(connection)?,
                status::releases(connection, RELEASES_PER_PAGE)?,
            ))
        })
        .await?;
    let mut setups = Vec::new();
    for name in &app.config.server.channels {
        let Some(channel) = channels.iter().find(|channel| &channel.channel == name) else {
            continue;
        };
        let repos = releases
            .iter()
            .find(|release| Some(release.id) == channel.release)
            .map_or(&[][..], |release| release.repos.as_slice());
        setups.push((
            channel,
            repos,
            commands(app, name.as_str()),
            repo_file_text(app, name),
        ));
    }
    let setups: Vec<_> = setups
        .iter()
        .map(|(status, repos, commands, repo_file)| ChannelSetup {
            status,
            repos,
            commands,
            repo_file,
        })
        .collect();
    let links = [
        Link {
            href: "/keys/RPM-GPG-KEY",
            label: "Signing keys",
            about: "OpenPGP certificates of packages and metadata",
        },
        Link {
            href: "/keys/statement.pub",
            label: "Statement key",
            about: "verifies the signer's statements",
        },
        Link {
            href: "/metrics",
            label: "Metrics",
            about: "for Prometheus",
        },
    ];
    let view = HomeView {
        site: &site(app),
        channels: &setups,
        counts: counts(app).await?,
        links: &links,
    };
    html(web::home(&view))
}

fn commands(app: &App, channel: &str) -> Vec<Command> {
    let url = &app.config.server.public_url;
    let command = |label: &str, text: String| Command {
        label: label.to_owned(),
        text,
    };
    vec![
        command(
            "dnf5",
            format!("sudo dnf5 config-manager addrepo --from-repofile={url}/{channel}.repo"),
        ),
        command(
            "dnf",
            format!("sudo curl -fo /etc/yum.repos.d/hallmark-{channel}.repo {url}/{channel}.repo"),
        ),
        command(
            "zypper",
            format!("sudo zypper addrepo {url}/{channel}.repo"),
        ),
    ]
}

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
    let filter = BuildFilter {
        package: package.clone(),
        stage: stage.clone(),
        before: None,
        offset,
        limit: BUILDS_PER_PAGE + 1,
    };
    let mut builds = app
        .db
        .read(move |connection| status::builds(connection, &filter))
        .await?;
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
    let found = app
        .db
        .read(move |connection| status::build(connection, id))
        .await?;
    let build = found.ok_or_else(|| ApiError::not_found(format!("there is no build {id}")))?;
    let arches: &[Arch] = app
        .config
        .repo(&build.repo)
        .map_or(&[], |repo| repo.arches.as_slice());
    html(web::build(&BuildView {
        site: &site(app),
        build: &build,
        arches,
    }))
}

/// `GET /packages/{name}`.
pub async fn package(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    package_page(&app, name)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn package_page(app: &App, name: String) -> Result<Response, ApiError> {
    let filter = BuildFilter {
        package: Some(name.clone()),
        limit: RELEASES_PER_PAGE,
        ..BuildFilter::default()
    };
    let builds = app
        .db
        .read(move |connection| status::builds(connection, &filter))
        .await?;
    let has = |build: &BuildStatus| {
        build
            .packages
            .iter()
            .any(|package| package.nevra.name == name)
    };
    if !builds.iter().any(has) {
        return Err(ApiError::not_found(format!("there is no package {name}")));
    }
    html(web::package(&PackageView {
        site: &site(app),
        name: &name,
        builds: &builds,
    }))
}

/// `GET /releases`.
pub async fn releases(State(app): State<App>, headers: HeaderMap) -> Response {
    let page = async {
        let releases = all_releases(&app).await?;
        html(web::releases(&ReleasesView {
            site: &site(&app),
            releases: &releases,
            next: None,
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

async fn all_releases(app: &App) -> Result<Vec<ReleaseStatus>, DbError> {
    app.db
        .read(|connection| status::releases(connection, RELEASES_PER_PAGE))
        .await
}

/// `GET /releases/{release}`.
pub async fn release(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    release_page(&app, ReleaseId(id))
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn release_page(app: &App, id: ReleaseId) -> Result<Response, ApiError> {
    let (release, added) = app
        .db
        .read(move |connection| {
            Ok::<_, DbError>((
                status::release(connection, id)?,
                status::published_in(connection, id)?,
            ))
        })
        .await?;
    let release =
        release.ok_or_else(|| ApiError::not_found(format!("there is no release {id}")))?;
    html(web::release(&ReleaseView {
        site: &site(app),
        release: &release,
        added: &added,
    }))
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
