//! `/rebuilders`.

use super::glance::glance;
use super::{error_page, html, site};
use crate::app::{App, now};
use crate::db::{self, DbError, overview};
use crate::http::error::ApiError;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use web::{PairLine, RebuilderLine, RebuildersView};

/// The newest builds, whose rebuilds are counted.
const BUILDS: u64 = 2_000;

/// `GET /rebuilders`: those of the policy and those that ever got work.
pub async fn rebuilders(State(app): State<App>, headers: HeaderMap) -> Response {
    rebuilders_page(&app)
        .await
        .unwrap_or_else(|error| error_page(&app, &headers, error))
}

async fn rebuilders_page(app: &App) -> Result<Response, ApiError> {
    let glance = glance(app).await?;
    html(web::rebuilders(&RebuildersView {
        site: &site(app),
        rebuilders: &glance.rebuilders,
        pairs: &glance.pairs,
        builds: BUILDS,
        now: now(),
    }))
}

/// Everybody who rebuilds, by name, and every two who answered about the same builds.
pub(super) async fn lines(app: &App) -> Result<(Vec<RebuilderLine>, Vec<PairLine>), DbError> {
    let (work, pairs, modes) = app
        .db
        .read(|connection| {
            Ok::<_, DbError>((
                overview::rebuilders(connection, BUILDS)?,
                overview::pairs(connection, BUILDS)?,
                db::rebuilders::modes(connection)?,
            ))
        })
        .await?;
    let mut lines: Vec<RebuilderLine> = Vec::new();
    // Those that the policy lists and that have had no work yet.
    let without_work = app
        .policy
        .rebuilders
        .iter()
        .filter(|holder| !work.iter().any(|one| one.name == holder.name))
        .map(|holder| overview::RebuilderWork {
            name: holder.name.clone(),
            operator: holder.operator.clone(),
            waiting: 0,
            leased: 0,
            sealed: 0,
            confirmed: 0,
            objecting: 0,
            failed: 0,
        });
    for one in work.iter().cloned().chain(without_work) {
        let mode = modes.get(&one.name).copied().unwrap_or_default();
        lines.push(RebuilderLine {
            in_policy: app.policy.rebuilder(&one.name).is_some(),
            mode: mode.mode,
            last_seen: mode.last_seen,
            name: one.name,
            operator: one.operator,
            waiting: one.waiting,
            leased: one.leased,
            sealed: one.sealed,
            confirmed: one.confirmed,
            objecting: one.objecting,
            failed: one.failed,
        });
    }
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    let pairs: Vec<PairLine> = pairs
        .into_iter()
        .map(|pair| PairLine {
            a: pair.a,
            b: pair.b,
            both: pair.both,
            agree: pair.agree,
        })
        .collect();
    Ok((lines, pairs))
}
