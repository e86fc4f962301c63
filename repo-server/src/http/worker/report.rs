//! Taking a report: the answer behind a commitment, or why there is none.

use super::commit::ENVELOPE;
use super::{REPORT, Signed, lease_lost, signed};
use crate::app::{App, now};
use crate::db::builds::{BuildRow, PackageRow};
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::rebuilds::{End, Held};
use crate::db::{self, DbError};
use crate::http::auth::Worker;
use crate::http::error::ApiError;
use crate::jobs::rebuilding;
use crate::store::StoreError;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use repo_model::dsse::Envelope;
use repo_model::policy::MadeFrom;
use repo_model::sealed;
use repo_model::stage::Stage;
use repo_model::statement::{REBUILD, Rebuild, Resource, Statement};
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::worker::{
    MAX_ATTACHMENTS, MAX_CAUSE_CHARS, MAX_CAUSES, MAX_STATEMENT_BYTES, Outcome, Report,
};
use repo_model::{FileDigest, Timestamp};
use std::sync::Arc;

/// First pause after an infrastructure failure, seconds; doubled with each, up to an hour.
const BACK_OFF_SECS: i64 = 10;
/// Longest message of a failure that is kept, characters.
const MAX_MESSAGE_CHARS: usize = 2_000;
/// Longest path or tag in a cause, characters.
const MAX_PATH_CHARS: usize = 4_096;
/// Commitments are at most this large when they are read back, bytes.
const MAX_COMMITMENT_BYTES: u64 = sealed::MAX_COMMITMENT_BYTES as u64;

/// What a report adds to the evidence.
struct Findings {
    end: End,
    /// Whether the package was seen to come out different and then the same.
    flaky: bool,
    evidence: Vec<NewEvidence>,
}

/// The leased rebuild, its build, its packages.
struct Subject {
    held: Held,
    build: BuildRow,
    packages: Vec<PackageRow>,
}

/// `POST /api/v1/worker/jobs/{job}/report`: 204, or 409 when the lease is lost.
pub async fn report(
    State(app): State<App>,
    Path(job): Path<u64>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let request = signed::<Report>(&app, request, REPORT).await?;
    let Some(subject) = subject(&app, job, &request).await? else {
        return answered_before(&app, job, &request).await;
    };
    let build_id = subject.build.build_id;
    let (attachments, log) = attachments(&app, &request, build_id).await?;
    let mut findings = match &request.body.outcome {
        Outcome::InfraFailed { message } => infra_failed(&app, &subject.held, message, log),
        Outcome::Revealed { reveal } => revealed(&app, &request.by, subject, reveal, log).await?,
    };
    findings.evidence.extend(attachments);
    record(&app, job, &request, build_id, findings).await
}

async fn subject(
    app: &App,
    job: u64,
    request: &Signed<Report>,
) -> Result<Option<Subject>, ApiError> {
    let (by, epoch) = (request.by.name.clone(), request.body.lease_epoch);
    app.db
        .read(move |connection| {
            let Some(held) = db::rebuilds::held(connection, job, &by, epoch)? else {
                return Ok(None);
            };
            let packages = db::builds::packages(connection, held.build_id)?;
            let build = db::builds::by_id(connection, held.build_id)?;
            Ok(build.map(|build| Subject {
                held,
                build,
                packages,
            }))
        })
        .await
        .map_err(|error: DbError| error.into())
}

/// The answer to a reveal may be lost on its way; the same again is answered alike.
async fn answered_before(
    app: &App,
    job: u64,
    request: &Signed<Report>,
) -> Result<StatusCode, ApiError> {
    let (by, epoch) = (request.by.name.clone(), request.body.lease_epoch);
    let reveals = matches!(request.body.outcome, Outcome::Revealed { .. });
    let known = app
        .db
        .read(move |connection| db::rebuilds::was_revealed(connection, job, &by, epoch))
        .await
        .map_err(|error: DbError| ApiError::from(error))?;
    match known && reveals {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(lease_lost(job)),
    }
}

fn infra_failed(app: &App, held: &Held, message: &str, log: Option<FileDigest>) -> Findings {
    let error: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let end = if held.attempt.saturating_add(1) >= app.config.server.max_rebuild_attempts {
        End::GiveUp { error, log }
    } else {
        let pause = (BACK_OFF_SECS << held.attempt.min(8)).min(3_600);
        End::BackOff {
            error,
            run_at: jittered(pause),
            log,
        }
    };
    Findings {
        end,
        flaky: false,
        evidence: Vec::new(),
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

fn bad_reveal(why: impl std::fmt::Display) -> ApiError {
    ApiError::client(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad-reveal",
        format!("the reveal is not accepted: {why}"),
    )
    .hint("reveal what was committed to, for the round of the lease")
}

fn bad_statement(digest: FileDigest, why: impl std::fmt::Display) -> ApiError {
    ApiError::client(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad-statement",
        format!("statement {digest}: {why}"),
    )
    .hint("a statement is signed with the rebuilder's statement key, about the leased build as it was leased")
}

/// Verifies the reveal, then one statement a package, in the job's order.
async fn revealed(
    app: &App,
    by: &Worker,
    subject: Subject,
    reveal: &Envelope,
    log: Option<FileDigest>,
) -> Result<Findings, ApiError> {
    let Some((commitment, round)) = subject.held.reveal.clone() else {
        return Err(bad_reveal("this lease is to rebuild: commit first"));
    };
    let committed = app.store.get(commitment, MAX_COMMITMENT_BYTES).await?;
    let committed = Envelope::from_json(&committed).map_err(bad_reveal)?;
    let opened = sealed::open(&committed, reveal, &by.statement_key).map_err(bad_reveal)?;
    if opened.reveal.round != round {
        return Err(bad_reveal("it is for another round than the lease's"));
    }
    let digests = opened.reveal.statements;
    if digests.len() != subject.packages.len() {
        let (have, want) = (digests.len(), subject.packages.len());
        return Err(bad_reveal(format_args!(
            "it has {have} statements for {want} packages"
        )));
    }
    let mut envelopes = Vec::with_capacity(digests.len());
    for digest in &digests {
        envelopes.push((*digest, statement(app, by, *digest).await?));
    }
    let reveal_digest = app.store.put(reveal.to_json()).await?;
    let (by, subject) = (Arc::new(by.clone()), Arc::new(subject));
    let checking = (Arc::clone(&by), Arc::clone(&subject));
    let verdicts = tokio::task::spawn_blocking(move || {
        let (by, subject) = (&checking.0, &checking.1);
        let each = envelopes.iter().zip(&subject.packages);
        each.map(|((digest, envelope), package)| {
            check_statement(by, subject, package, *digest, envelope)
        })
        .collect::<Result<Vec<Rebuild>, ApiError>>()
    });
    let rebuilds = verdicts
        .await
        .map_err(|error| ApiError::internal(&error))??;
    Ok(findings(
        &by,
        &subject,
        &rebuilds,
        &digests,
        reveal_digest,
        log,
    ))
}

/// Fetches a statement that this rebuilder stored.
async fn statement(app: &App, by: &Worker, digest: FileDigest) -> Result<Envelope, ApiError> {
    let missing = || {
        ApiError::client(
            StatusCode::UNPROCESSABLE_ENTITY,
            "blob-missing",
            format!("statement {digest} has not been uploaded by {}", by.name),
        )
        .hint(format!("PUT it to /api/v1/blobs/{digest} first"))
    };
    if !may_show(app, by, digest).await? {
        return Err(missing());
    }
    let json = match app.store.get(digest, MAX_STATEMENT_BYTES).await {
        Err(StoreError::Missing { .. }) => return Err(missing()),
        Err(StoreError::TooLarge { .. }) => {
            return Err(bad_statement(
                digest,
                format_args!("it is larger than {MAX_STATEMENT_BYTES} bytes"),
            ));
        }
        other => other?,
    };
    Envelope::from_canonical_json(&json).map_err(|error| bad_statement(digest, error))
}

async fn may_show(app: &App, by: &Worker, digest: FileDigest) -> Result<bool, ApiError> {
    let name = by.name.clone();
    app.db
        .read(move |connection| db::rebuilders::may_show(connection, &name, digest))
        .await
        .map_err(|error: DbError| error.into())
}

fn check_statement(
    by: &Worker,
    subject: &Subject,
    package: &PackageRow,
    digest: FileDigest,
    envelope: &Envelope,
) -> Result<Rebuild, ApiError> {
    let refuse = |why: String| Err(bad_statement(digest, why));
    let statement = Statement::<Rebuild>::open(envelope, &by.statement_key, REBUILD)
        .map_err(|error| bad_statement(digest, error))?;
    let about = statement.is_about(package.header);
    let rebuild = statement.predicate;
    if !about || rebuild.rebuilder.id != by.name || rebuild.rebuilder.operator != by.operator {
        return refuse(format!("it is not {}'s about {}", by.name, package.nevra));
    }
    let made_from = MadeFrom {
        source: subject.build.source_file,
        buildinfo: subject.build.buildinfo,
    };
    if rebuild.made_from() != Some(made_from) {
        return refuse("it is bound to another source package or buildinfo".to_owned());
    }
    if rebuild.profile != subject.held.profile {
        return refuse(format!(
            "it is of a build under profile {}, not {}",
            rebuild.profile, subject.held.profile
        ));
    }
    if rebuild.run_count() < subject.held.runs {
        return refuse(format!(
            "it tells of {} runs; {} were asked for",
            rebuild.run_count(),
            subject.held.runs
        ));
    }
    if rebuild.worst() != rebuild.verdict {
        return refuse(format!(
            "its verdict is {}, but one of its runs was {}",
            rebuild.verdict,
            rebuild.worst()
        ));
    }
    if rebuild.verdict == Verdict::InfraFailed {
        return refuse("it cannot say infra-failed: report the failure instead".to_owned());
    }
    if let Some(why) = too_wordy(&rebuild.causes) {
        return refuse(why);
    }
    Ok(rebuild)
}

fn too_wordy(causes: &[Cause]) -> Option<String> {
    if causes.len() > MAX_CAUSES {
        return Some(format!(
            "it has {} causes; the limit is {MAX_CAUSES}",
            causes.len()
        ));
    }
    let longer = |text: &str, limit: usize| text.chars().nth(limit).is_some();
    let too_long = causes.iter().any(|cause| {
        let words = [&cause.code, &cause.detail, &cause.hint];
        let places = [&cause.file, &cause.tag];
        words.iter().any(|text| longer(text, MAX_CAUSE_CHARS))
            || places
                .into_iter()
                .flatten()
                .any(|place| longer(place, MAX_PATH_CHARS))
    });
    too_long.then(|| {
        format!(
            "a cause has a text of more than {MAX_CAUSE_CHARS} or a place of more than {MAX_PATH_CHARS} characters"
        )
    })
}

fn findings(
    by: &Worker,
    subject: &Subject,
    rebuilds: &[Rebuild],
    digests: &[FileDigest],
    reveal: FileDigest,
    log: Option<FileDigest>,
) -> Findings {
    let build_id = subject.build.build_id;
    let mut verdict = Verdict::Identical;
    let mut causes: Vec<Cause> = Vec::new();
    for rebuild in rebuilds {
        verdict = verdict.max(rebuild.verdict);
        for cause in &rebuild.causes {
            if causes.len() < MAX_CAUSES && !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
    }
    let about = |package_id, kind, digest| NewEvidence {
        build_id,
        package_id,
        kind,
        label: by.name.to_string(),
        digest,
        media_type: ENVELOPE,
    };
    let mut evidence = vec![about(None, Kind::Reveal, reveal)];
    let each = subject.packages.iter().zip(digests);
    evidence.extend(
        each.map(|(package, digest)| about(Some(package.package_id), Kind::Rebuild, *digest)),
    );
    let differed = subject
        .held
        .verdict
        .is_some_and(|before| !before.confirms());
    Findings {
        end: End::Revealed {
            verdict,
            causes,
            log,
        },
        flaky: rebuilds.iter().any(Rebuild::is_mixed) || (differed && verdict.confirms()),
        evidence,
    }
}

/// The report's attachments as evidence, and the build log among them.
async fn attachments(
    app: &App,
    request: &Signed<Report>,
    build_id: u64,
) -> Result<(Vec<NewEvidence>, Option<FileDigest>), ApiError> {
    let attachments = &request.body.attachments;
    let refuse = |message: String| {
        ApiError::client(StatusCode::UNPROCESSABLE_ENTITY, "bad-attachment", message)
            .hint("attach only what you uploaded yourself: the build log and the comparison")
    };
    if attachments.len() > MAX_ATTACHMENTS {
        return Err(refuse(format!(
            "the report has more than {MAX_ATTACHMENTS} attachments"
        )));
    }
    let (mut evidence, mut log) = (Vec::new(), None);
    for attachment in attachments {
        let (name, digest) = named(attachment)
            .ok_or_else(|| refuse("an attachment lacks its name or its sha256".to_owned()))?;
        if !may_show(app, &request.by, digest).await? {
            return Err(refuse(format!(
                "attachment {name} ({digest}) has not been uploaded by {}",
                request.by.name
            )));
        }
        let media_type = match name.ends_with(".json") {
            true => "application/json",
            false => "text/plain; charset=utf-8",
        };
        if name.ends_with(".log") {
            log = Some(digest);
        }
        evidence.push(NewEvidence {
            build_id,
            package_id: None,
            kind: Kind::Attachment,
            label: format!("{}: {name}", request.by.name),
            digest,
            media_type,
        });
    }
    Ok((evidence, log))
}

fn named(attachment: &Resource) -> Option<(&str, FileDigest)> {
    let name = attachment.name.as_deref()?;
    let fits = name.len() <= 255 && !name.chars().any(char::is_control);
    let digest = attachment.digest.get("sha256")?.parse().ok()?;
    fits.then_some((name, digest))
}

async fn record(
    app: &App,
    job: u64,
    request: &Signed<Report>,
    build_id: u64,
    findings: Findings,
) -> Result<StatusCode, ApiError> {
    let (app_too, by, epoch) = (
        app.clone(),
        request.by.name.clone(),
        request.body.lease_epoch,
    );
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
            db::rebuilds::end(tx, job, &findings.end, now())?;
            if findings.flaky && rebuilding::is_undecided(tx, build_id)? {
                let runs = app_too.policy.flaky_runs;
                db::rebuilds::demand_runs(tx, build_id, runs, now())?;
            }
            note_late_dissent(tx, build_id, by.as_str(), &findings.end)?;
            rebuilding::changed(tx, &app_too, build_id)?;
            Ok::<_, DbError>(true)
        })
        .await?;
    if !recorded {
        return Err(lease_lost(job));
    }
    let worker = &request.by.name;
    match &end {
        End::Revealed { verdict, .. } => {
            tracing::info!(build = build_id, %worker, %verdict, "{worker}'s rebuild of build {build_id} is {verdict}");
        }
        End::BackOff { error, .. } | End::GiveUp { error, .. } => {
            tracing::warn!(build = build_id, %worker, error, "{worker} could not rebuild build {build_id}: {error}");
        }
        End::Committed { .. } => {}
    }
    app.jobs_changed.notify_one();
    app.rebuilds_changed.notify_waiters();
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody who was not waited for differs: what is decided stays decided, and people hear of it.
fn note_late_dissent(
    tx: &rusqlite::Transaction<'_>,
    build_id: u64,
    by: &str,
    end: &End,
) -> Result<(), DbError> {
    let End::Revealed { verdict, .. } = end else {
        return Ok(());
    };
    let decided = db::builds::by_id(tx, build_id)?.is_some_and(|build| {
        matches!(
            build.stage,
            Stage::Approved | Stage::Signed | Stage::Published { .. }
        )
    });
    if decided && !verdict.confirms() {
        tracing::warn!(build = build_id, worker = by, %verdict, "{by}'s rebuild of build {build_id}, which is out, is {verdict}");
        let subject = format!("build {build_id}");
        db::audit(
            tx,
            now(),
            by,
            "late-dissent",
            &subject,
            &verdict.to_string(),
        )?;
    }
    Ok(())
}
