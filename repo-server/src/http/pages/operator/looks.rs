//! Pages that show and change nothing: the queue, what is held, keys, the audit trail.

use super::{desk, done};
use crate::app::App;
use crate::db::operators::{self as rows, AuditFilter};
use crate::db::{self, DbError};
use crate::http::desk::Operator;
use crate::http::error::ApiError;
use crate::http::keys as signer_keys;
use crate::http::pages::{build_line, counts, error_page, html, site};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use web::{AuditView, BuildLine, HeldView, KeysView, QueueView, UnderWayLine};

/// Lines of each list of the queue.
const QUEUE: u32 = 200;
/// Held builds, or lines of the audit trail, on one page.
const PER_PAGE: u32 = 100;

/// `GET /operator`.
pub async fn queue(State(app): State<App>, operator: Operator, headers: HeaderMap) -> Response {
    queue_page(&app, &operator)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn queue_page(app: &App, operator: &Operator) -> Result<Response, ApiError> {
    let (builds, jobs) = app
        .db
        .read(|connection| {
            Ok::<_, DbError>((
                rows::under_way(connection, QUEUE)?,
                rows::jobs(connection, QUEUE)?,
            ))
        })
        .await?;
    let builds: Vec<UnderWayLine> = builds.into_iter().map(under_way).collect();
    html(web::queue(&QueueView {
        desk: desk(&site(app), operator, None),
        counts: counts(app).await?,
        builds: &builds,
        jobs: &jobs,
        limit: QUEUE as usize,
    }))
}

fn under_way(row: rows::UnderWay) -> UnderWayLine {
    UnderWayLine {
        build: build_line(row.line),
        waiting: row.waiting,
        at_work: row.at_work,
        answered: row.answered,
        gave_up: row.gave_up,
        sboms_to_do: row.sboms_to_do,
        error: row.error,
    }
}

/// Query of [`held`].
#[derive(Debug, Deserialize)]
pub struct HeldQuery {
    offset: Option<u32>,
    done: Option<String>,
}

/// `GET /operator/held?offset=`.
pub async fn held(
    State(app): State<App>,
    Query(query): Query<HeldQuery>,
    operator: Operator,
    headers: HeaderMap,
) -> Response {
    held_page(&app, &operator, &query)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn held_page(
    app: &App,
    operator: &Operator,
    query: &HeldQuery,
) -> Result<Response, ApiError> {
    let offset = query.offset.unwrap_or(0);
    let found = app
        .db
        .read(move |connection| {
            db::overview::builds(connection, Some("held"), None, offset, PER_PAGE + 1)
        })
        .await?;
    let mut builds: Vec<BuildLine> = found.into_iter().map(build_line).collect();
    let more = builds.len() > PER_PAGE as usize;
    builds.truncate(PER_PAGE as usize);
    html(web::held(&HeldView {
        desk: desk(&site(app), operator, done(query.done.as_deref())),
        builds: &builds,
        next_offset: more.then(|| u64::from(offset) + u64::from(PER_PAGE)),
    }))
}

/// `GET /operator/keys`.
pub async fn keys(State(app): State<App>, operator: Operator, headers: HeaderMap) -> Response {
    let seen = signer_keys::seen(&app).await;
    let identity = match signer_keys::identity(&app).await {
        Ok(identity) => Some(identity),
        // The signer was never reached; the page says so.
        Err(error) if !seen.answers() && error.status().is_server_error() => None,
        Err(error) => return error_page(&app, &headers, error),
    };
    let page = html(web::keys(&KeysView {
        desk: desk(&site(&app), &operator, None),
        keys: identity.as_ref().map(|identity| identity.keys.as_slice()),
        log_keys: identity
            .as_ref()
            .map(|identity| identity.log_keys.as_slice())
            .unwrap_or_default(),
        answers: seen.answers(),
    }));
    page.unwrap_or_else(|error| error_page(&app, &headers, error))
}

/// Query of [`audit`].
#[derive(Debug, Deserialize)]
pub struct AuditQuery {
    before: Option<u64>,
    about: Option<String>,
    people: Option<bool>,
}

/// `GET /operator/audit?before=&about=&people=true`.
pub async fn audit(
    State(app): State<App>,
    Query(query): Query<AuditQuery>,
    operator: Operator,
    headers: HeaderMap,
) -> Response {
    audit_page(&app, &operator, query)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn audit_page(
    app: &App,
    operator: &Operator,
    query: AuditQuery,
) -> Result<Response, ApiError> {
    let about = query.about.map(|text| text.trim().to_owned());
    let about = about.filter(|text| !text.is_empty());
    let filter = AuditFilter {
        before: query.before,
        about: about.clone(),
        people: query.people.unwrap_or(false),
        limit: PER_PAGE + 1,
    };
    let people = filter.people;
    let mut lines = app
        .db
        .read(move |connection| rows::audit_trail(connection, &filter))
        .await?;
    let more = lines.len() > PER_PAGE as usize;
    lines.truncate(PER_PAGE as usize);
    html(web::audit(&AuditView {
        desk: desk(&site(app), operator, None),
        next: lines.last().filter(|_| more).map(|line| line.line),
        lines: &lines,
        people,
        about: about.as_deref().unwrap_or_default(),
    }))
}
