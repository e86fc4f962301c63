//! What operators decide about a build: another try, or its end. Each decision and its line in the audit
//! trail are one transaction; the API and the web pages call the same functions.

use crate::app::{App, now};
use crate::db::builds::BuildRow;
use crate::db::{self, DbError};
use crate::jobs::{self, rebuilding};
use repo_model::Timestamp;
use repo_model::policy::Reason;
use repo_model::stage::{Event, Stage, StageError};
use repo_model::wire::status::MAX_REASON_CHARS;
use rusqlite::Transaction;

/// The job that asks the signer (`jobs/sign.rs`).
const SIGN: &str = "sign";

/// A decision was not taken; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// There is no such build. The caller's fault.
    #[error("there is no build {0}")]
    NoBuild(u64),
    /// The build is in a stage where this cannot happen. Read it again; do not retry.
    #[error(transparent)]
    Stage(StageError),
    /// The build is signed, out, or the signer was asked to sign it: only the policy can take it back now.
    #[error("build {build_id} is {stage} and cannot be rejected any more")]
    TooLate {
        /// Which.
        build_id: u64,
        /// Where it is, in words.
        stage: &'static str,
    },
    /// The caller's fault.
    #[error("a reason has 1 to {MAX_REASON_CHARS} characters, this one has {chars}")]
    BadReason {
        /// Found.
        chars: usize,
    },
    /// The database failed; retrying is safe.
    #[error(transparent)]
    Db(DbError),
}

impl From<DbError> for DecisionError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Stage(error) => Self::Stage(error),
            other => Self::Db(other),
        }
    }
}

/// A held build is judged anew, with new rebuilds where the old ones did not confirm it. One that is under way
/// gets the same: it may be stuck on a rebuilder that gave up.
///
/// * `actor`: as the audit trail names it.
pub async fn retry(app: &App, actor: &str, build_id: u64) -> Result<(), DecisionError> {
    let (actor, app_too) = (actor.to_owned(), app.clone());
    app.db
        .write(move |tx| {
            let build = known(tx, build_id)?;
            try_again(tx, &app_too, &build)?;
            db::audit(tx, now(), &actor, "retry", &format!("build {build_id}"), "")?;
            Ok::<_, DecisionError>(())
        })
        .await?;
    ring(app);
    Ok(())
}

/// A build that is not signed yet never goes out with these bytes: its packages' names are free again.
///
/// * `reason`: shown to everybody; trimmed, 1 to [`MAX_REASON_CHARS`] characters.
///
/// That holds until the signer is asked for the first signature: it remembers what it signed for ever, and would
/// hold a mended build of the same names. From then on a revocation in the policy takes the build back.
pub async fn reject(
    app: &App,
    actor: &str,
    build_id: u64,
    reason: &str,
) -> Result<(), DecisionError> {
    let reason = reason.trim().to_owned();
    let chars = reason.chars().count();
    if !(1..=MAX_REASON_CHARS).contains(&chars) {
        return Err(DecisionError::BadReason { chars });
    }
    let actor = actor.to_owned();
    app.db
        .write(move |tx| turn_away(tx, &actor, build_id, reason))
        .await?;
    ring(app);
    Ok(())
}

fn turn_away(
    tx: &Transaction<'_>,
    actor: &str,
    build_id: u64,
    reason: String,
) -> Result<(), DecisionError> {
    let build = known(tx, build_id)?;
    let over = match build.stage {
        Stage::Received | Stage::Approved | Stage::Held { .. } => signing(tx, build_id)?,
        Stage::Rejected { .. } | Stage::Signed | Stage::Published { .. } => {
            Some(build.stage.name())
        }
    };
    if let Some(stage) = over {
        return Err(DecisionError::TooLate { build_id, stage });
    }
    let about = format!("build {build_id}");
    db::audit(tx, now(), actor, "reject", &about, &reason)?;
    let reasons = vec![Reason::RejectedByOperator { reason }];
    db::builds::advance(tx, build_id, Event::Rejected(reasons), now())?;
    db::jobs::drop_waiting(tx, build_id)?;
    Ok(())
}

/// How far signing has come, when it has begun: nobody but the signer knows then which names it remembers.
fn signing(tx: &Transaction<'_>, build_id: u64) -> Result<Option<&'static str>, DbError> {
    let packages = db::builds::packages(tx, build_id)?;
    if packages.iter().any(|package| package.signed.is_some()) {
        return Ok(Some("partly signed"));
    }
    let work = db::jobs::of_build(tx, build_id)?;
    let begun = work.iter().any(|job| {
        // A run that ended with the server's process is due since 1970 and counts no attempt.
        let lost = job.run_at == Timestamp::from_unix_secs(0);
        job.name == SIGN && (job.state == "running" || job.attempt > 0 || lost)
    });
    Ok(begun.then_some("being signed"))
}

fn known(tx: &Transaction<'_>, build_id: u64) -> Result<BuildRow, DecisionError> {
    let build = db::builds::by_id(tx, build_id).map_err(|error| match error {
        // Numbers in the database end at 2^63.
        DbError::Sqlite(rusqlite::Error::ToSqlConversionFailure(_)) => {
            DecisionError::NoBuild(build_id)
        }
        other => other.into(),
    })?;
    build.ok_or(DecisionError::NoBuild(build_id))
}

/// Wakes who may have something to do now.
fn ring(app: &App) {
    app.jobs_changed.notify_one();
    app.rebuilds_changed.notify_waiters();
}

/// New rebuilds where the old ones do not count, new SBOMs where they are missing, a new judgement.
fn try_again(tx: &Transaction<'_>, app: &App, build: &BuildRow) -> Result<(), DbError> {
    let build_id = build.build_id;
    let plain_is_missing = build.stage.reasons().contains(&Reason::PlainMissing);
    // A build still under way may be stuck on a rebuilder that gave up.
    if build.stage != Stage::Received {
        db::builds::advance(tx, build_id, Event::Retried, now())?;
    }
    let packages = db::builds::packages(tx, build_id)?;
    let names: Vec<String> = packages.into_iter().map(|p| p.nevra.name).collect();
    let rules = rebuilding::rules(app, tx, build_id)?;
    let enough = db::rounds::enough(&db::rounds::rows(tx, build_id)?, &rules);
    db::rebuilds::retry(tx, build_id, !enough || plain_is_missing, now())?;
    if let Some((arch, runs)) = db::rebuilds::arch_and_runs(tx, build_id)? {
        let source = &build.source.name;
        let mut assignees = rebuilding::assignees(app, tx, source, &names)?;
        let runs = runs.max(app.policy.runs(source, runs > 1));
        assignees
            .iter_mut()
            .for_each(|assignee| assignee.runs = runs);
        db::rebuilds::insert(tx, build_id, &arch, &assignees, now())?;
        db::rebuilds::demand_runs(tx, build_id, runs, now())?;
    }
    jobs::retry_sboms(tx, build_id)?;
    rebuilding::changed(tx, app, build_id)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::params;

    fn build(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
        tx.execute(
            "INSERT INTO builds VALUES (?1, ?1, 'base', 'x-1-1.src', 'x', '', '', NULL, '', 0, 0, 'approved', '{}')",
            params![build_id],
        )?;
        Ok(())
    }

    #[tokio::test]
    async fn signing_has_begun_with_the_first_run_of_its_job_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let db = db::Db::open(&dir.path().join("hallmark.db")).unwrap();
        let done: Result<(), DbError> = db
            .write(|tx| {
                build(tx, 1)?;
                build(tx, 2)?;
                assert_eq!(signing(tx, 1)?, None);
                db::jobs::enqueue(tx, SIGN, "1", Some(1), 5_000)?;
                db::jobs::enqueue(tx, "judge", "2", Some(2), 0)?;
                assert_eq!(signing(tx, 1)?, None, "it only waits");
                let lease = || db::jobs::lease(tx, 9_000, 60, &["judge"]);
                assert!(lease()?.is_some());
                assert_eq!(signing(tx, 1)?, Some("being signed"));
                // The server was killed meanwhile.
                db::jobs::release(tx, None, &[])?;
                assert_eq!(signing(tx, 1)?, Some("being signed"));
                let run = lease()?.expect("it runs again");
                db::jobs::put_back(tx, &run, "the signer is away", 10_000)?;
                assert_eq!(signing(tx, 1)?, Some("being signed"));
                assert_eq!(signing(tx, 2)?, None, "another build's job");
                Ok(())
            })
            .await;
        done.unwrap();
    }
}
