//! `judge`: the policy over every package of a build. A build is approved when all its packages
//! are, rejected when one is; held only when no more evidence is under way.

use super::JobError;
use super::dossier::Dossier;
use crate::app::{App, now};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use repo_model::policy::{Decision, Reason, judge};
use repo_model::stage::{Event, Stage};

/// Name in the database.
pub const NAME: &str = "judge";

/// Runs it; the input is a build's number.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let build_id: u64 = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no build", job.input)))?;
    let (decision, judged) = decide(&app, build_id).await?;
    let stage = app.db.write(move |tx| {
        db::jobs::finish(tx, job.job_id)?;
        settle(tx, build_id, decision, judged)
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

/// The worst decision over the build's packages, and how many documents it rests on.
async fn decide(app: &App, build_id: u64) -> Result<(Decision, usize), JobError> {
    let (packages, evidence) = app
        .db
        .read(move |connection| {
            let packages = db::builds::packages(connection, build_id)?;
            Ok::<_, DbError>((packages, db::evidence::of_build(connection, build_id)?))
        })
        .await?;
    let (mut hold, mut reject) = (Vec::new(), Vec::new());
    for package in &packages {
        let dossier = Dossier::gather(app, package, &evidence).await?;
        match judge(&app.policy, &dossier.as_evidence(), now()).decision {
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
    Ok((decision, evidence.len()))
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
    judged: usize,
) -> Result<Option<Stage>, DbError> {
    let build = db::builds::by_id(tx, build_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    if build.stage != Stage::Received {
        return Ok(None);
    }
    // Evidence is only ever added. What came while this was judged may be the rebuild that was missing,
    // and nobody would ask again for a build that is held.
    if db::evidence::of_build(tx, build_id)?.len() != judged {
        super::enqueue_judge(tx, build_id)?;
        return Ok(None);
    }
    let event = match decision {
        Decision::Release => Event::Approved,
        Decision::Reject(reasons) => Event::Rejected(reasons),
        Decision::Hold(_) if more_to_come(tx, build_id)? => return Ok(None),
        Decision::Hold(reasons) => Event::Held(reasons),
    };
    let stage = db::builds::advance(tx, build_id, event, now())?;
    if stage == Stage::Approved {
        super::enqueue_sign(tx, build_id)?;
    }
    Ok(Some(stage))
}

fn more_to_come(tx: &rusqlite::Transaction<'_>, build_id: u64) -> Result<bool, DbError> {
    Ok(db::jobs::pending(tx, build_id, super::sbom::NAME)? || db::rebuilds::pending(tx, build_id)?)
}
