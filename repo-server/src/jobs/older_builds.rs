//! `older-build-sboms`: the documents about builds that were published before such documents were made, or without
//! them. One build a run, the newest first; each run asks for the next. New builds, which are judged after they have
//! their documents, never wait behind these: this kind has a place of its own, and works at most half of the time.
//!
//! A release lists the documents that are there when it is made, so these are in the next one.

use super::{JobError, build_sbom};
use crate::app::{App, now_millis};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use rusqlite::Transaction;
use std::time::Instant;

/// Name in the database.
pub const NAME: &str = "older-build-sboms";
/// Failures after which a build is passed over, until the server starts again.
const TRIES: u32 = 5;

/// Asks at start for what published builds lack, unless that is under way.
pub async fn ensure(app: &App) -> Result<(), DbError> {
    app.db
        .write(|tx| {
            if db::jobs::is_any_asked_for(tx, NAME)? {
                return Ok(());
            }
            enqueue_next(tx, None, now_millis())
        })
        .await
}

/// Asks for the newest build that lacks documents and is older than `than`.
fn enqueue_next(
    tx: &Transaction<'_>,
    than: Option<u64>,
    run_at_millis: i64,
) -> Result<(), DbError> {
    let Some(build_id) = db::build_sboms::newest_lacking(tx, than)? else {
        return Ok(());
    };
    let input = build_id.to_string();
    db::jobs::enqueue(tx, NAME, &input, Some(build_id), run_at_millis)
}

/// Runs it; the input is a build's number.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let build_id: u64 = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no build", job.input)))?;
    let started = Instant::now();
    let made = match build_sbom::made(&app, build_id).await {
        Ok(made) => made,
        // What cannot be read now cannot be read later.
        Err(error)
            if job.attempt + 1 >= TRIES
                || matches!(error, JobError::Rpm(_) | JobError::Sbom { .. }) =>
        {
            let error = super::chain(&error);
            tracing::warn!(
                build = build_id,
                error,
                "build {build_id} gets no SBOM of its own: {error}"
            );
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let pause = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    app.db
        .write(move |tx| {
            build_sbom::record(tx, build_id, made)?;
            db::jobs::finish(tx, job.job_id)?;
            enqueue_next(tx, Some(build_id), now_millis().saturating_add(pause))
        })
        .await?;
    Ok(())
}
