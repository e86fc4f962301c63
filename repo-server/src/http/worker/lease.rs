//! Giving work out, and keeping it given.

use super::{SMALL, lease_lost, signed};
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::leases::{Asking, Leased, LeasedFor};
use crate::db::{self, DbError};
use crate::http::error::ApiError;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use repo_model::WorkerName;
use repo_model::wire::worker::{
    ExpectedPackage, Heartbeat, LeaseRequest, RebuildJob, RevealJob, Task,
};
use std::time::Duration;
use tokio::time::Instant;

/// Longest that a lease request waits for work.
const MAX_WAIT_SECS: u32 = 60;
/// Most architectures and profiles that are looked at.
const MAX_OFFERS: usize = 32;

/// `POST /api/v1/worker/lease`: 200 with work, or 204 after the wait.
pub async fn lease(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let request = signed::<LeaseRequest>(&app, request, SMALL).await?;
    let (by, mut body) = (request.by.name, request.body);
    body.arches.truncate(MAX_OFFERS);
    body.profiles.truncate(MAX_OFFERS);
    let wait = Duration::from_secs(u64::from(body.wait_secs.min(MAX_WAIT_SECS)));
    let deadline = Instant::now() + wait;
    loop {
        // Listen before looking, so that work made in between is not missed.
        let changed = app.rebuilds_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(leased) = next(&app, &by, &body).await? {
            return Ok(Json(task(&app, leased).await?).into_response());
        }
        // Back-offs and lost leases fall due without a ring.
        let pause = Duration::from_secs(2).min(deadline.saturating_duration_since(Instant::now()));
        if pause.is_zero() || app.stop.is_cancelled() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        tokio::select! {
            () = &mut changed => {}
            () = tokio::time::sleep(pause) => {}
            () = app.stop.cancelled() => {}
        }
    }
}

async fn next(
    app: &App,
    by: &WorkerName,
    request: &LeaseRequest,
) -> Result<Option<Leased>, ApiError> {
    let (name, arches, profiles) = (by.clone(), request.arches.clone(), request.profiles.clone());
    let lease_secs = app.config.server.lease_secs;
    let leased = app
        .db
        .write(move |tx| {
            let asking = Asking {
                mode: db::rebuilders::seen(tx, &name, now())?,
                rebuilder: name,
                arches,
                profiles,
                lease_secs,
            };
            db::leases::lease(tx, &asking, now())
        })
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    if let Some(leased) = &leased {
        let what = match &leased.what {
            LeasedFor::Rebuild { profile, .. } => format!("rebuilds it ({profile})"),
            LeasedFor::Reveal { .. } => "reveals its answer".to_owned(),
        };
        tracing::info!(
            rebuild = leased.rebuild_id, build = leased.build_id, worker = %by,
            "build {}: {by} {what}", leased.build_id
        );
    }
    Ok(leased)
}

async fn task(app: &App, leased: Leased) -> Result<Task, ApiError> {
    let lease_secs = app.config.server.lease_secs;
    let Leased {
        rebuild_id: job,
        build_id: build,
        lease_epoch,
        what,
    } = leased;
    let (profile, runs) = match what {
        LeasedFor::Rebuild { profile, runs } => (profile, runs),
        LeasedFor::Reveal { commitment, round } => {
            return Ok(Task::Reveal(RevealJob {
                job,
                build,
                lease_epoch,
                lease_secs,
                commitment,
                round,
            }));
        }
    };
    app.db
        .read(move |connection| {
            let row = db::builds::by_id(connection, build)?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
                .map_err(DbError::from)?;
            let packages = db::builds::packages(connection, build)?;
            Ok(Task::Rebuild(RebuildJob {
                job,
                build,
                lease_epoch,
                lease_secs,
                profile,
                runs,
                source_name: row.source_name,
                source: row.source_file,
                buildinfo: row.buildinfo,
                packages: packages.iter().map(expected).collect(),
            }))
        })
        .await
        .map_err(|error: DbError| error.into())
}

fn expected(package: &PackageRow) -> ExpectedPackage {
    ExpectedPackage {
        nevra: package.nevra.clone(),
        file: package.unsigned_file,
        header: package.header,
        size_bytes: package.unsigned_size_bytes,
    }
}

/// `POST /api/v1/worker/jobs/{job}/heartbeat`: 204, or 409 when the lease is lost.
pub async fn heartbeat(
    State(app): State<App>,
    Path(job): Path<u64>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let request = signed::<Heartbeat>(&app, request, SMALL).await?;
    let lease_secs = i64::from(app.config.server.lease_secs);
    let held = app
        .db
        .write(move |tx| {
            let epoch = request.body.lease_epoch;
            let held = db::rebuilds::held(tx, job, &request.by.name, epoch)?.is_some();
            if held {
                db::rebuilds::extend(tx, job, now().plus_secs(lease_secs))?;
            }
            Ok::<_, DbError>(held)
        })
        .await?;
    if held {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(lease_lost(job))
    }
}
