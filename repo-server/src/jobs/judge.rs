//! `judge`: the policy over every package of a build. A build is approved when all its packages
//! are, rejected when one is; held only when no more evidence is worth waiting for.

use super::dossier::{Dossier, read_head};
use super::{JobError, rebuilding};
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::evidence::{ByPackage, Kind};
use crate::db::jobs::JobRow;
use crate::db::rounds::{Outlook, outlook};
use crate::db::{self, DbError};
use repo_model::Timestamp;
use repo_model::policy::{Decision, Reason, judge, rejections};
use repo_model::stage::{Event, Stage};

/// Name in the database.
pub const NAME: &str = "judge";

/// Runs it; the input is a build's number.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let build_id: u64 = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no build", job.input)))?;
    let packages = app
        .db
        .read(
            move |connection| match rebuilding::is_under_way(connection, build_id)? {
                true => db::builds::packages(connection, build_id).map(Some),
                false => Ok(None),
            },
        )
        .await?;
    let Some(packages) = packages else {
        let done = move |tx: &rusqlite::Transaction<'_>| db::jobs::finish(tx, job.job_id);
        return Ok(app.db.write(done).await?);
    };
    let unfit = unfit(&app, &packages).await?;
    let (decision, judged, due) = if !unfit.is_empty() {
        (Decision::Reject(unfit), None, Due::Now)
    } else {
        let due = when(&app, build_id, job.job_id).await?;
        if due == Due::Later {
            return Ok(());
        }
        let (decision, judged) = decide(&app, build_id, &packages).await?;
        (decision, Some(judged), due)
    };
    let stage = app.db.write(move |tx| {
        db::jobs::finish(tx, job.job_id)?;
        match (&decision, due) {
            (Decision::Hold(_), Due::NowToRelease(until)) => {
                super::enqueue_judge_at(tx, build_id, millis(until))?;
                Ok(None)
            }
            _ => settle(tx, build_id, decision, judged),
        }
    });
    if let Some(stage) = stage.await? {
        tracing::info!(
            build = build_id,
            stage = stage.name(),
            "build {build_id} is {stage}"
        );
    }
    Ok(())
}

/// Why one of the packages can never be signed, whatever evidence may come.
async fn unfit(app: &App, packages: &[PackageRow]) -> Result<Vec<Reason>, JobError> {
    let mut reasons = Vec::new();
    for package in packages {
        let head = read_head(app, package.unsigned_file).await?;
        add(&mut reasons, rejections(&app.policy, &head));
    }
    Ok(reasons)
}

/// Whether a build is judged now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// All evidence is there that is worth waiting for.
    Now,
    /// Somebody waived findings: it may go out now, and is held only when the time has come.
    NowToRelease(Timestamp),
    /// What comes asks for another judgement, and so does the time when it is waited for no longer.
    Later,
}

/// Whether the build is judged now; when not, the job is done.
async fn when(app: &App, build_id: u64, job_id: u64) -> Result<Due, JobError> {
    let app_too = app.clone();
    let due = app
        .db
        .write(move |tx| {
            if super::sboms_are_coming(tx, build_id)? {
                db::jobs::finish(tx, job_id)?;
                return Ok(Due::Later);
            }
            let build =
                db::builds::by_id(tx, build_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let rules = rebuilding::rules(&app_too, tx, build_id)?;
            let rows = db::rounds::advance(tx, build_id, &rules, true, now())?;
            let until = match outlook(&rows, &rules, build.changed_at, now()) {
                Outlook::Decide => return Ok(Due::Now),
                Outlook::Wait(until) => until,
            };
            let waived = db::evidence::of_build(tx, build_id)?
                .iter()
                .any(|row| row.kind == Kind::Waiver.name());
            if waived {
                return Ok(Due::NowToRelease(until));
            }
            db::jobs::finish(tx, job_id)?;
            super::enqueue_judge_at(tx, build_id, millis(until))?;
            Ok::<_, DbError>(Due::Later)
        })
        .await?;
    // A round may have been opened.
    app.rebuilds_changed.notify_waiters();
    Ok(due)
}

fn millis(at: Timestamp) -> i64 {
    at.unix_secs().saturating_mul(1_000)
}

/// The worst decision over the build's packages, and how many documents it rests on.
async fn decide(
    app: &App,
    build_id: u64,
    packages: &[PackageRow],
) -> Result<(Decision, usize), JobError> {
    let evidence = app
        .db
        .read(move |connection| db::evidence::of_build(connection, build_id))
        .await?;
    let evidence = ByPackage::new(evidence);
    let (mut hold, mut reject) = (Vec::new(), Vec::new());
    for package in packages {
        let dossier = Dossier::gather(app, package, &evidence).await?;
        let app = app.clone();
        // Signatures by the hundred and SBOMs by the megabyte: not on a runtime thread.
        let judged = tokio::task::spawn_blocking(move || {
            judge(&app.policy, &dossier.as_evidence(), now()).decision
        });
        match judged.await? {
            Decision::Release => {}
            Decision::Hold(reasons) => add(&mut hold, reasons),
            Decision::Reject(reasons) => add(&mut reject, reasons),
        }
    }
    let decision = match (reject.is_empty(), hold.is_empty()) {
        (false, _) => Decision::Reject(reject),
        (true, false) => Decision::Hold(hold),
        (true, true) => Decision::Release,
    };
    Ok((decision, evidence.count()))
}

/// The same reason for several packages is told once.
fn add(all: &mut Vec<Reason>, more: Vec<Reason>) {
    for reason in more {
        if !all.contains(&reason) {
            all.push(reason);
        }
    }
}

fn settle(
    tx: &rusqlite::Transaction<'_>,
    build_id: u64,
    decision: Decision,
    judged: Option<usize>,
) -> Result<Option<Stage>, DbError> {
    let build = db::builds::by_id(tx, build_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    if build.stage != Stage::Received {
        return Ok(None);
    }
    // Evidence is only ever added. What came while this was judged may be the rebuild that was missing.
    if let Some(judged) = judged
        && db::evidence::of_build(tx, build_id)?.len() != judged
    {
        super::enqueue_judge(tx, build_id)?;
        return Ok(None);
    }
    let event = match decision {
        Decision::Release => Event::Approved,
        Decision::Reject(reasons) => Event::Rejected(reasons),
        Decision::Hold(reasons) => Event::Held(reasons),
    };
    let stage = db::builds::advance(tx, build_id, event, now())?;
    if stage == Stage::Approved {
        super::enqueue_sign(tx, build_id)?;
    }
    Ok(Some(stage))
}
