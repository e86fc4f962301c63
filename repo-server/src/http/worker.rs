//! `/api/v1/worker`: leases for rebuilders, and their reports.

use super::auth::worker;
use super::error::ApiError;
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::rebuilds::{End, HeldRebuild, LeasedRebuild};
use crate::db::{self, DbError};
use crate::jobs;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use repo_model::dsse::Envelope;
use repo_model::statement::{REBUILD, Rebuild, Resource, Statement};
use repo_model::verdict::Verdict;
use repo_model::wire::worker::{
    ExpectedPackage, Heartbeat, LeaseRequest, LeasedJob, Outcome, Report,
};
use repo_model::{FileDigest, Timestamp, WorkerName};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::Instant;

/// Longest that a lease request waits for work.
const MAX_WAIT_SECS: u32 = 60;
/// Largest statement, bytes.
const MAX_ENVELOPE_BYTES: u64 = 16 << 20;
/// Most attachments of one report.
const MAX_ATTACHMENTS: usize = 100;
/// First pause after an infrastructure failure, seconds; doubled with each, up to an hour.
const BACK_OFF_SECS: i64 = 10;

/// A body that its rebuilder signed.
struct Signed<T> {
    by: WorkerName,
    body: T,
}

async fn signed<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    method: &Method,
    uri: &OriginalUri,
    body: &Bytes,
) -> Result<Signed<T>, ApiError> {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let by = worker(app, headers, method.as_str(), path, FileDigest::of(body)).await?;
    let body = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not what this expects: {error}");
        ApiError::client(StatusCode::BAD_REQUEST, "bad-body", message)
    })?;
    Ok(Signed { by, body })
}

/// `POST /api/v1/worker/lease`: 200 with work, or 204 after the wait.
pub async fn lease(
    State(app): State<App>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: Signed<LeaseRequest> = signed(&app, &headers, &method, &uri, &body).await?;
    let wait = Duration::from_secs(u64::from(request.body.wait_secs.min(MAX_WAIT_SECS)));
    let deadline = Instant::now() + wait;
    loop {
        // Listen before looking, so that work made in between is not missed.
        let changed = app.rebuilds_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let (by, arches) = (request.by.clone(), request.body.arches.clone());
        let lease_secs = app.config.server.lease_secs;
        let leased = app
            .db
            .write(move |tx| db::rebuilds::lease(tx, &by, &arches, lease_secs, now()))
            .await?;
        if let Some(leased) = leased {
            tracing::info!(
                rebuild = leased.rebuild_id, build = leased.build_id, worker = %request.by,
                "{} rebuilds build {}", request.by, leased.build_id
            );
            return Ok(Json(job(&app, leased).await?).into_response());
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

async fn job(app: &App, leased: LeasedRebuild) -> Result<LeasedJob, ApiError> {
    let lease_secs = app.config.server.lease_secs;
    app.db
        .read(move |connection| {
            let build = db::builds::by_id(connection, leased.build_id)?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
                .map_err(DbError::from)?;
            let packages = db::builds::packages(connection, leased.build_id)?;
            Ok(LeasedJob {
                job: leased.rebuild_id,
                build: leased.build_id,
                lease_epoch: leased.lease_epoch,
                lease_secs,
                source_name: build.source_name,
                source: build.source_file,
                buildinfo: build.buildinfo,
                packages: packages.iter().map(expected).collect(),
            })
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

fn lease_lost(job: u64) -> ApiError {
    let message = format!("you do not hold this lease of job {job} (any more)");
    ApiError::client(StatusCode::CONFLICT, "lease-lost", message)
        .hint("drop the work and lease again")
}

/// `POST /api/v1/worker/jobs/{job}/heartbeat`: 204, or 409 when the lease is lost.
pub async fn heartbeat(
    State(app): State<App>,
    method: Method,
    uri: OriginalUri,
    Path(job): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let request: Signed<Heartbeat> = signed(&app, &headers, &method, &uri, &body).await?;
    let lease_secs = i64::from(app.config.server.lease_secs);
    let held = app
        .db
        .write(move |tx| {
            let epoch = request.body.lease_epoch;
            let held = db::rebuilds::held(tx, job, &request.by, epoch)?.is_some();
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

/// What a report adds to the evidence.
struct Findings {
    end: End,
    evidence: Vec<NewEvidence>,
    log: Option<FileDigest>,
}

/// `POST /api/v1/worker/jobs/{job}/report`: 204, or 409 when the lease is lost.
pub async fn report(
    State(app): State<App>,
    method: Method,
    uri: OriginalUri,
    Path(job): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let request: Signed<Report> = signed(&app, &headers, &method, &uri, &body).await?;
    let (by, epoch) = (request.by.clone(), request.body.lease_epoch);
    let (held, packages) = app
        .db
        .read(move |connection| {
            let held = db::rebuilds::held(connection, job, &by, epoch)?;
            let packages = match &held {
                Some(held) => db::builds::packages(connection, held.build_id)?,
                None => Vec::new(),
            };
            Ok::<_, DbError>((held, packages))
        })
        .await?;
    let held = held.ok_or_else(|| lease_lost(job))?;
    let build_id = held.build_id;
    let findings = match &request.body.outcome {
        Outcome::InfraFailed { message } => infra_failed(&app, &held, message),
        Outcome::Judged { statements } => {
            judged(&app, &request.by, &held, &packages, statements).await?
        }
    };
    let findings = with_attachments(&app, findings, &request, build_id).await?;
    record(&app, job, &request.by, epoch, build_id, findings).await
}

async fn record(
    app: &App,
    job: u64,
    by: &WorkerName,
    epoch: u64,
    build_id: u64,
    findings: Findings,
) -> Result<StatusCode, ApiError> {
    let (worker, by) = (by.clone(), by.clone());
    let end = findings.end.clone();
    let recorded = app
        .db
        .write(move |tx| {
            if db::rebuilds::held(tx, job, &by, epoch)?.is_none() {
                return Ok(false);
            }
            for new in &findings.evidence {
                db::evidence::insert(tx, new, now())?;
            }
            db::rebuilds::end(tx, job, &findings.end, findings.log)?;
            jobs::enqueue_judge(tx, build_id)?;
            Ok::<_, DbError>(true)
        })
        .await?;
    if !recorded {
        return Err(lease_lost(job));
    }
    match &end {
        End::Done { verdict, .. } | End::RunAgain { verdict, .. } => {
            tracing::info!(build = build_id, %worker, %verdict, "{worker}'s rebuild of build {build_id} is {verdict}");
        }
        End::BackOff { error, .. } | End::GiveUp { error } => {
            tracing::warn!(build = build_id, %worker, error, "{worker} could not rebuild build {build_id}: {error}");
        }
    }
    app.jobs_changed.notify_one();
    app.rebuilds_changed.notify_waiters();
    Ok(StatusCode::NO_CONTENT)
}

fn infra_failed(app: &App, held: &HeldRebuild, message: &str) -> Findings {
    let error: String = message.chars().take(2_000).collect();
    let end = if held.attempt + 1 >= app.config.server.max_rebuild_attempts {
        End::GiveUp { error }
    } else {
        let pause = (BACK_OFF_SECS << held.attempt.min(8)).min(3_600);
        End::BackOff {
            error,
            run_at: jittered(pause),
        }
    };
    Findings {
        end,
        evidence: Vec::new(),
        log: None,
    }
}

/// Between three quarters and five quarters of the pause from now, so that many do not return at once.
fn jittered(pause_secs: i64) -> Timestamp {
    let mut random = [0; 2];
    // Without random bytes everybody returns at once, which is only slower.
    let _ = getrandom::fill(&mut random);
    let spread = i64::from(u16::from_be_bytes(random)) * pause_secs / (2 * 65_536);
    now().plus_secs(pause_secs * 3 / 4 + spread)
}

/// Verifies one statement a package, in the job's order.
async fn judged(
    app: &App,
    by: &WorkerName,
    held: &HeldRebuild,
    packages: &[PackageRow],
    statements: &[FileDigest],
) -> Result<Findings, ApiError> {
    let refuse = |message: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-statement", message)
    };
    if statements.len() != packages.len() {
        let (have, want) = (statements.len(), packages.len());
        return Err(refuse(format!(
            "the report has {have} statements for {want} packages"
        )));
    }
    let build_id = held.build_id;
    let build = app
        .db
        .read(move |connection| db::builds::by_id(connection, build_id))
        .await?;
    let buildinfo = build.map(|build| build.buildinfo.to_hex());
    let holder = app
        .policy
        .rebuilder(by)
        .ok_or_else(|| refuse(format!("the policy has no {by}")))?;
    let mut worst = Verdict::Identical;
    let mut causes = Vec::new();
    let mut evidence = Vec::new();
    for (package, digest) in packages.iter().zip(statements) {
        let json = app.store.get(*digest, MAX_ENVELOPE_BYTES).await?;
        let statement = Envelope::from_json(&json)
            .map_err(|error| refuse(format!("statement {digest}: {error}")))
            .and_then(|envelope| {
                Statement::<Rebuild>::open(&envelope, &holder.statement_key, REBUILD)
                    .map_err(|error| refuse(format!("statement {digest}: {error}")))
            })?;
        let rebuild = &statement.predicate;
        if !statement.is_about(package.header) || rebuild.rebuilder.id != *by {
            return Err(refuse(format!(
                "statement {digest} is not {by}'s about {}",
                package.nevra
            )));
        }
        if rebuild.buildinfo.digest.get("sha256") != buildinfo.as_ref() {
            return Err(refuse(format!(
                "statement {digest} is bound to another buildinfo"
            )));
        }
        worst = worst.max(rebuild.verdict);
        for cause in &rebuild.causes {
            if !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
        evidence.push(NewEvidence {
            build_id,
            package_id: Some(package.package_id),
            kind: Kind::Rebuild,
            label: by.to_string(),
            digest: *digest,
            media_type: "application/vnd.dsse.envelope.v1+json",
        });
    }
    let end = if worst == Verdict::InfraFailed {
        return Err(refuse(
            "a statement cannot say infra-failed; report the failure instead".to_owned(),
        ));
    } else if worst.confirms() || held.confirmations > 0 {
        End::Done {
            verdict: worst,
            causes,
        }
    } else {
        End::RunAgain {
            verdict: worst,
            causes,
            run_at: now(),
        }
    };
    Ok(Findings {
        end,
        evidence,
        log: None,
    })
}

async fn with_attachments(
    app: &App,
    mut findings: Findings,
    request: &Signed<Report>,
    build_id: u64,
) -> Result<Findings, ApiError> {
    let attachments = &request.body.attachments;
    let refuse = |message: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-attachment", message)
    };
    if attachments.len() > MAX_ATTACHMENTS {
        return Err(refuse(format!(
            "the report has more than {MAX_ATTACHMENTS} attachments"
        )));
    }
    for attachment in attachments {
        let (name, digest) = named(attachment)
            .ok_or_else(|| refuse("an attachment lacks its name or its sha256".to_owned()))?;
        if app.store.size_bytes(digest).await?.is_none() {
            return Err(refuse(format!(
                "attachment {name} ({digest}) has not been uploaded"
            )));
        }
        let media_type = match name.ends_with(".json") {
            true => "application/json",
            false => "text/plain; charset=utf-8",
        };
        if name.ends_with(".log") {
            findings.log = Some(digest);
        }
        findings.evidence.push(NewEvidence {
            build_id,
            package_id: None,
            kind: Kind::Attachment,
            label: format!("{}: {name}", request.by),
            digest,
            media_type,
        });
    }
    Ok(findings)
}

fn named(attachment: &Resource) -> Option<(&str, FileDigest)> {
    let name = attachment.name.as_deref()?;
    let fits = name.len() <= 255 && !name.chars().any(char::is_control);
    let digest = attachment.digest.get("sha256")?.parse().ok()?;
    fits.then_some((name, digest))
}
