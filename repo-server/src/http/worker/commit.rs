//! Taking a commitment: there is an answer, and nobody knows it yet.

use super::{SMALL, Signed, lease_lost, signed};
use crate::app::{App, now};
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::rebuilds::End;
use crate::db::{self, DbError};
use crate::http::auth::Worker;
use crate::http::error::ApiError;
use crate::jobs::rebuilding;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use repo_model::FileDigest;
use repo_model::policy::MadeFrom;
use repo_model::sealed::{COMMITMENT, Commitment, MAX_COMMITMENT_BYTES};
use repo_model::statement::Statement;
use repo_model::wire::worker::Commit;

/// Media type of envelopes.
pub(super) const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// `POST /api/v1/worker/jobs/{job}/commit`: 204, or 409 when the lease is lost.
pub async fn commit(
    State(app): State<App>,
    Path(job): Path<u64>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let request = signed::<Commit>(&app, request, SMALL).await?;
    let (by, epoch) = (request.by.name.clone(), request.body.lease_epoch);
    let json = request.body.commitment.to_json();
    let commitment = FileDigest::of(&json);
    let found = app
        .db
        .read(move |connection| {
            let Some(held) = db::rebuilds::held(connection, job, &by, epoch)? else {
                return Ok(None);
            };
            let build = db::builds::by_id(connection, held.build_id)?;
            Ok(build.filter(|_| held.reveal.is_none()))
        })
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    let Some(build) = found else {
        return answered_before(&app, job, &request, commitment).await;
    };
    let made_from = MadeFrom {
        source: build.source_file,
        buildinfo: build.buildinfo,
    };
    check(&request, &json, made_from)?;
    app.store.put(json).await?;
    record(&app, job, &request.by, epoch, build.build_id, commitment).await
}

/// The answer to a commitment may be lost on its way; the same commitment again is answered alike.
async fn answered_before(
    app: &App,
    job: u64,
    request: &Signed<Commit>,
    commitment: FileDigest,
) -> Result<StatusCode, ApiError> {
    let by = request.by.name.clone();
    let known = app
        .db
        .read(move |connection| db::rebuilds::is_committed(connection, job, &by, commitment))
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    match known {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(lease_lost(job)),
    }
}

fn check(request: &Signed<Commit>, json: &[u8], made_from: MadeFrom) -> Result<(), ApiError> {
    let by = &request.by;
    let refuse = |why: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-commitment", why).hint(
            "a commitment is signed with the rebuilder's statement key, about the leased build",
        )
    };
    if json.len() > MAX_COMMITMENT_BYTES {
        return Err(refuse(format!(
            "the commitment is {} bytes; the limit is {MAX_COMMITMENT_BYTES}",
            json.len()
        )));
    }
    let said =
        Statement::<Commitment>::open(&request.body.commitment, &by.statement_key, COMMITMENT)
            .map_err(|error| refuse(format!("the commitment of {}: {error}", by.name)))?
            .predicate;
    if said.rebuilder.id != by.name || said.rebuilder.operator != by.operator {
        let other = &said.rebuilder;
        return Err(refuse(format!(
            "the commitment is of {} run by {}, not of {} run by {}",
            other.id, other.operator, by.name, by.operator
        )));
    }
    if said.made_from() != Some(made_from) {
        return Err(refuse(
            "the commitment is about another source package or buildinfo".to_owned(),
        ));
    }
    Ok(())
}

async fn record(
    app: &App,
    job: u64,
    by: &Worker,
    epoch: u64,
    build_id: u64,
    commitment: FileDigest,
) -> Result<StatusCode, ApiError> {
    let (app_too, by_too) = (app.clone(), by.clone());
    let recorded = app
        .db
        .write(move |tx| {
            let held = db::rebuilds::held(tx, job, &by_too.name, epoch)?;
            if held.is_none_or(|held| held.reveal.is_some()) {
                return Ok(false);
            }
            let new = NewEvidence {
                build_id,
                package_id: None,
                kind: Kind::Commitment,
                label: by_too.name.to_string(),
                digest: commitment,
                media_type: ENVELOPE,
            };
            db::evidence::insert(tx, &new, now())?;
            db::rebuilds::end(tx, job, &End::Committed { commitment }, now())?;
            rebuilding::changed(tx, &app_too, build_id)?;
            Ok::<_, DbError>(true)
        })
        .await?;
    if !recorded {
        return Err(lease_lost(job));
    }
    tracing::info!(build = build_id, worker = %by.name, "{} has an answer about build {build_id}", by.name);
    app.jobs_changed.notify_one();
    app.rebuilds_changed.notify_waiters();
    Ok(StatusCode::NO_CONTENT)
}
