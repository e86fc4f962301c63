//! `/releases` and what is below.

use super::{RELEASES_PER_PAGE, build_line, error_page, html, site};
use crate::app::App;
use crate::db::{self, DbError, overview};
use crate::http::error::ApiError;
use crate::http::sbom;
use crate::status;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use repo_model::{Arch, ReleaseId, RepoName, Timestamp};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use web::{
    BuildLine, ContentsLine, ContentsView, MoveLine, ReleaseSbomLine, ReleaseTally, ReleaseView,
    ReleasesView,
};

/// Builds of a release on one page, and packages.
const BUILDS_PER_PAGE: u32 = 50;
const PACKAGES_PER_PAGE: u32 = 200;
/// Releases in the plot.
const TALLIES: u32 = 90;
/// Moves of channels that are listed.
const MOVES: u32 = 50;

/// Counting looks at every build of every release, so it is done once in this time.
const TALLY_LIFE: Duration = Duration::from_secs(30);

/// How builds fared, release by release, and when that was counted.
pub struct Tallied {
    at: Instant,
    tallies: Arc<Vec<ReleaseTally>>,
}

async fn tallied(app: &App) -> Result<Arc<Vec<ReleaseTally>>, DbError> {
    let mut last = app.tallied.lock().await;
    if let Some(tallied) = last.as_ref()
        && tallied.at.elapsed() < TALLY_LIFE
    {
        return Ok(Arc::clone(&tallied.tallies));
    }
    let counted = app
        .db
        .read(|connection| {
            let tallies = overview::tallies(connection, TALLIES)?;
            // What was kept back before the first release of a plot that is cut would stand at that release.
            let since = match tallies.len() == TALLIES as usize {
                true => tallies.first().map(|first| first.issued),
                false => None,
            };
            let kept_back = overview::kept_back(connection, since.unwrap_or_default())?;
            Ok::<_, DbError>(with_kept_back(&tallies, &kept_back))
        })
        .await?;
    let tallies = Arc::new(counted);
    *last = Some(Tallied {
        at: Instant::now(),
        tallies: Arc::clone(&tallies),
    });
    Ok(tallies)
}

/// `GET /releases`.
pub async fn releases(State(app): State<App>, headers: HeaderMap) -> Response {
    let page = async {
        let (releases, moves) = app
            .db
            .read(|connection| {
                let releases = status::releases(connection, RELEASES_PER_PAGE)?;
                Ok::<_, DbError>((releases, overview::moves(connection, None, MOVES)?))
            })
            .await?;
        html(web::releases(&ReleasesView {
            site: &site(&app),
            releases: &releases,
            tallies: &tallied(&app).await?,
            moves: &moves.into_iter().map(move_line).collect::<Vec<_>>(),
            next: None,
        }))
    };
    page.await
        .unwrap_or_else(|error: ApiError| error_page(&app, &headers, error))
}

/// What is kept back is counted with the first release that came after it; what came in since the newest
/// release stands by itself.
fn with_kept_back(
    tallies: &[overview::ReleaseTally],
    kept_back: &[Timestamp],
) -> Vec<ReleaseTally> {
    let mut kept = kept_back.iter().peekable();
    let mut out = Vec::with_capacity(tallies.len() + 1);
    let mut until = |issued: Option<Timestamp>| {
        let mut count = 0;
        while kept
            .next_if(|at| issued.is_none_or(|issued| **at <= issued))
            .is_some()
        {
            count += 1;
        }
        count
    };
    for tally in tallies {
        out.push(ReleaseTally {
            release: Some(tally.release),
            issued: Some(tally.issued),
            builds: tally.builds,
            all_agreed: tally.all_agreed,
            disputed: tally.disputed,
            kept_back: until(Some(tally.issued)),
        });
    }
    let since = until(None);
    if since > 0 {
        out.push(ReleaseTally {
            release: None,
            issued: None,
            builds: 0,
            all_agreed: 0,
            disputed: 0,
            kept_back: since,
        });
    }
    out
}

fn move_line(line: overview::MoveLine) -> MoveLine {
    MoveLine {
        channel: line.channel,
        from: line.from,
        to: line.to,
        at: line.at,
    }
}

/// Query of [`release`].
#[derive(Debug, Deserialize)]
pub struct Offset {
    offset: Option<u32>,
}

/// `GET /releases/{release}?offset=`.
pub async fn release(
    State(app): State<App>,
    Path(id): Path<u64>,
    Query(query): Query<Offset>,
    headers: HeaderMap,
) -> Response {
    release_page(&app, ReleaseId(id), query.offset.unwrap_or(0))
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn release_page(app: &App, id: ReleaseId, offset: u32) -> Result<Response, ApiError> {
    let (release, added, moves, others) = app
        .db
        .read(move |connection| {
            Ok::<_, DbError>((
                status::release(connection, id)?,
                overview::builds_of_release(connection, id, offset, BUILDS_PER_PAGE + 1)?,
                overview::moves(connection, Some(id), MOVES)?,
                overview::release_ids(connection, RELEASES_PER_PAGE)?,
            ))
        })
        .await?;
    let release = release.ok_or_else(|| no_release(id))?;
    let mut added: Vec<BuildLine> = added.into_iter().map(build_line).collect();
    let more = added.len() > BUILDS_PER_PAGE as usize;
    added.truncate(BUILDS_PER_PAGE as usize);
    let others: Vec<ReleaseId> = others.into_iter().filter(|other| *other != id).collect();
    let sboms: Vec<ReleaseSbomLine> = sbom::whole_of(app, id)
        .await?
        .into_iter()
        .map(|one| ReleaseSbomLine {
            place: format!("{} {}", one.repo, one.arch),
            format: one.format,
            path: one.path,
            size_bytes: one.size_bytes,
            packed_size_bytes: one.zst_size_bytes,
            digest: one.sha256,
        })
        .collect();
    html(web::release(&ReleaseView {
        site: &site(app),
        release: &release,
        added: &added,
        offset: u64::from(offset),
        limit: u64::from(BUILDS_PER_PAGE),
        more,
        moves: &moves.into_iter().map(move_line).collect::<Vec<_>>(),
        others: &others,
        sboms: &sboms,
    }))
}

/// There is no such release.
pub(super) fn no_release(id: ReleaseId) -> ApiError {
    ApiError::not_found(format!("there is no release {id}"))
}

/// Query of [`contents`].
#[derive(Debug, Deserialize)]
pub struct ContentsQuery {
    repo: RepoName,
    arch: Arch,
    prefix: Option<String>,
    offset: Option<u32>,
}

/// `GET /releases/{release}/packages?repo=&arch=&prefix=&offset=`.
pub async fn contents(
    State(app): State<App>,
    Path(id): Path<u64>,
    Query(query): Query<ContentsQuery>,
    headers: HeaderMap,
) -> Response {
    contents_page(&app, ReleaseId(id), query)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn contents_page(
    app: &App,
    id: ReleaseId,
    query: ContentsQuery,
) -> Result<Response, ApiError> {
    let ContentsQuery {
        repo,
        arch,
        prefix,
        offset,
    } = query;
    let offset = offset.unwrap_or(0);
    let prefix: String = prefix
        .unwrap_or_default()
        .trim()
        .chars()
        .take(200)
        .collect();
    let (in_repo, in_arch, wanted) = (repo.clone(), arch.clone(), prefix.clone());
    let found = app
        .db
        .read(move |connection| {
            if db::releases::repo(connection, id, &in_repo, &in_arch)?.is_none() {
                return Ok(None);
            }
            let part = (offset, PACKAGES_PER_PAGE + 1);
            overview::members(connection, id, (&in_repo, &in_arch), &wanted, part).map(Some)
        })
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    let missing = || {
        let message = format!("release {id} has no repository {repo} for {arch}");
        ApiError::client(StatusCode::NOT_FOUND, "not-found", message)
    };
    let mut packages: Vec<ContentsLine> = found
        .ok_or_else(missing)?
        .into_iter()
        .map(|line| ContentsLine {
            nevra: line.nevra,
            summary: line.summary,
            href: line.href,
            size_bytes: line.size_bytes,
            added: line.added,
        })
        .collect();
    let more = packages.len() > PACKAGES_PER_PAGE as usize;
    packages.truncate(PACKAGES_PER_PAGE as usize);
    html(web::contents(&ContentsView {
        site: &site(app),
        release: id,
        repo: &repo,
        arch: &arch,
        prefix: &prefix,
        packages: &packages,
        offset: u64::from(offset),
        limit: u64::from(PACKAGES_PER_PAGE),
        more,
    }))
}
