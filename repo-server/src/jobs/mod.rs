//! The server's own work. Each kind is a row of [`JOBS`]; each run ends in one transaction that
//! records the result, asks for what follows, and removes the job. A crash before that runs it again.

mod build_sbom;
mod dossier;
mod judge;
pub mod older_builds;
pub mod rebuilding;
mod sbom;
mod sign;

use crate::app::{App, now, now_millis};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use crate::intake::sweep_spool;
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, Transaction};
use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One kind of work.
pub struct JobKind {
    /// Name in the database and the metrics.
    pub name: &'static str,
    /// How many run at once.
    pub parallel: usize,
    /// Does it.
    pub run: fn(App, JobRow) -> BoxFuture<'static, Result<(), JobError>>,
}

/// Every kind of work.
pub static JOBS: &[JobKind] = &[
    JobKind {
        name: sbom::NAME,
        parallel: 2,
        run: |app, job| Box::pin(sbom::run(app, job)),
    },
    JobKind {
        name: build_sbom::NAME,
        parallel: 1,
        run: |app, job| Box::pin(build_sbom::run(app, job)),
    },
    JobKind {
        name: older_builds::NAME,
        parallel: 1,
        run: |app, job| Box::pin(older_builds::run(app, job)),
    },
    JobKind {
        name: judge::NAME,
        parallel: 1,
        run: |app, job| Box::pin(judge::run(app, job)),
    },
    JobKind {
        name: sign::NAME,
        parallel: 2,
        run: |app, job| Box::pin(sign::run(app, job)),
    },
    JobKind {
        name: crate::sbom_index::NAME,
        parallel: 1,
        run: |app, job| Box::pin(crate::sbom_index::run(app, job)),
    },
    JobKind {
        name: crate::catalogue::NAME,
        parallel: 1,
        run: |app, job| Box::pin(crate::catalogue::run(app, job)),
    },
    JobKind {
        name: crate::publish::NAME,
        parallel: 1,
        run: |app, job| Box::pin(crate::publish::run(app, job)),
    },
    JobKind {
        name: crate::publish::release_sboms::NAME,
        parallel: 1,
        run: |app, job| Box::pin(crate::publish::release_sboms::run(app, job)),
    },
];

/// A run failed. The job stays and is tried again with back-off; operators see the message.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A scratch file failed.
    #[error("a scratch file failed")]
    Scratch(#[from] std::io::Error),
    /// A stored package does not read back.
    #[error("a stored package does not read back")]
    Rpm(#[from] repo_model::rpm::HeaderError),
    /// No SBOM could be made of a package.
    #[error("no SBOM could be made of {nevra}")]
    Sbom {
        /// Which.
        nevra: repo_model::Nevra,
        /// Why.
        #[source]
        source: sbom_gen::SbomError,
    },
    /// The signer did not sign for another reason than policy.
    #[error("the signer did not sign")]
    Signer(#[source] hallmark_signer::client::ClientError),
    /// What the signer returned does not verify.
    #[error("the signature of {what} does not verify; it was not stored")]
    BadSignature {
        /// Which file.
        what: String,
        /// Why.
        #[source]
        source: hallmark_signer::verify::VerifyError,
    },
    /// The metadata could not be made.
    #[error("the metadata could not be made")]
    Metadata(#[from] crate::repodata::MetadataError),
    /// A record that the operator lists by a file cannot be: the operator's fault, and tried again.
    #[error(transparent)]
    Further(#[from] crate::publish::further::FurtherError),
    /// The metadata of a release does not read back.
    #[error("the metadata of {place} does not read back")]
    ReleaseMetadata {
        /// Repository, architecture and release.
        place: String,
        /// Why.
        #[source]
        source: crate::repocheck::ReleaseReadError,
    },
    /// No SBOM could be made of a release.
    #[error("no SBOM could be made of {place}")]
    ReleaseSbom {
        /// Repository, architecture and release.
        place: String,
        /// Why.
        #[source]
        source: sbom_gen::SbomError,
    },
    /// The transparency log did not advance.
    #[error("the log did not advance")]
    Log(#[from] crate::log::LogError),
    /// What is said about a package could not be packed.
    #[error("the evidence about a package cannot be packed")]
    Pack(#[from] mirrors::evidence::pack::PackError),
    /// Another party is away: it is asked again.
    #[error("{0}")]
    Away(String),
    /// What a job works on is not there or not what it should be: a fault of ours.
    #[error("{0}")]
    Broken(String),
}

/// A job that no run is at any more is given to another after this time.
const LEASE_SECS: u32 = 3_600;
/// First pause after a failure; doubled with each, up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(300);

/// Asks for the SBOMs of a package.
pub fn enqueue_sbom(tx: &Transaction<'_>, build_id: u64, package_id: u64) -> Result<(), DbError> {
    db::jobs::enqueue(
        tx,
        sbom::NAME,
        &package_id.to_string(),
        Some(build_id),
        now_millis(),
    )
}

/// Asks for the SBOMs of a build as a whole, which is judged after that.
fn enqueue_build_sbom(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
    let input = build_id.to_string();
    db::jobs::enqueue(tx, build_sbom::NAME, &input, Some(build_id), now_millis())
}

/// Whether SBOMs of a build or its packages are still to come: nothing is judged before the last of them.
fn sboms_are_coming(connection: &Connection, build_id: u64) -> Result<bool, DbError> {
    Ok(db::jobs::pending(connection, build_id, sbom::NAME)?
        || db::jobs::pending(connection, build_id, build_sbom::NAME)?)
}

/// Asks for a judgement of a build.
pub fn enqueue_judge(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
    enqueue_judge_at(tx, build_id, now_millis())
}

fn enqueue_judge_at(
    tx: &Transaction<'_>,
    build_id: u64,
    run_at_millis: i64,
) -> Result<(), DbError> {
    let input = build_id.to_string();
    db::jobs::enqueue(tx, judge::NAME, &input, Some(build_id), run_at_millis)
}

/// Asks anew for SBOMs that are missing: those that failed begin as if they never had.
pub fn retry_sboms(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
    for name in [sbom::NAME, build_sbom::NAME] {
        db::jobs::start_over(tx, build_id, name, now_millis())?;
    }
    Ok(())
}

fn enqueue_sign(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
    db::jobs::enqueue(
        tx,
        sign::NAME,
        &build_id.to_string(),
        Some(build_id),
        now_millis(),
    )
}

/// Asks for a release of what is signed, after the configured delay.
fn enqueue_publish(tx: &Transaction<'_>, delay_millis: u64) -> Result<(), DbError> {
    let run_at = now_millis().saturating_add(i64::try_from(delay_millis).unwrap_or(i64::MAX));
    db::jobs::enqueue(tx, crate::publish::NAME, "", None, run_at)
}

/// Runs jobs until `stop`; those that run then are finished first.
pub async fn run(app: App, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut running = Running::default();
    while !stop.is_cancelled() {
        running.forget_finished();
        match lease(&app, &running.busy()).await {
            Ok(Some(job)) => running.start(&app, &tasks, job),
            Ok(None) => wait(&app, &running.busy(), &stop).await,
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "cannot lease jobs: {}",
                    chain(&error)
                );
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Housekeeping that needs no row: leases that ended, uploads that went nowhere.
pub async fn sweep(app: App, stop: CancellationToken) {
    let expiry = Duration::from_secs(app.config.server.upload_expiry_secs);
    let objects = crate::layout::objects(&app.config.server.data_dir);
    let swept =
        tokio::task::spawn_blocking(move || crate::store::Store::sweep_local(&objects, expiry));
    if let Ok(Err(error)) = swept.await {
        tracing::warn!(%error, "cannot sweep the object store: {error}");
    }
    while tokio::time::timeout(Duration::from_secs(60), stop.cancelled())
        .await
        .is_err()
    {
        let spool = crate::layout::spool(&app.config.server.data_dir);
        if let Ok(Err(error)) =
            tokio::task::spawn_blocking(move || sweep_spool(&spool, expiry)).await
        {
            tracing::warn!(%error, "cannot sweep the spool: {error}");
        }
        let running: Vec<u64> = running_here(&app).iter().copied().collect();
        let release = move |tx: &Transaction<'_>| db::jobs::release(tx, Some(now()), &running);
        match app.db.write(release).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(count, "{count} jobs did not end in time and run again");
                app.jobs_changed.notify_one();
            }
            Err(error) => tracing::error!(
                error = chain(&error),
                "cannot release jobs: {}",
                chain(&error)
            ),
        }
    }
}

/// The jobs that this process is at.
fn running_here(app: &App) -> MutexGuard<'_, HashSet<u64>> {
    // Nothing that holds the lock can panic.
    app.jobs_running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, the job is not given to another run.
struct Hold {
    app: App,
    job_id: u64,
}

impl Hold {
    fn on(app: &App, job_id: u64) -> Self {
        running_here(app).insert(job_id);
        let app = app.clone();
        Self { app, job_id }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        running_here(&self.app).remove(&self.job_id);
    }
}

#[derive(Default)]
struct Running(HashMap<&'static str, Vec<tokio::task::JoinHandle<()>>>);

impl Running {
    fn forget_finished(&mut self) {
        for tasks in self.0.values_mut() {
            tasks.retain(|task| !task.is_finished());
        }
    }

    fn busy(&self) -> Vec<&'static str> {
        let full = |kind: &&JobKind| {
            self.0
                .get(kind.name)
                .is_some_and(|t| t.len() >= kind.parallel)
        };
        JOBS.iter().filter(full).map(|kind| kind.name).collect()
    }

    fn start(&mut self, app: &App, tasks: &TaskTracker, job: JobRow) {
        let Some(kind) = JOBS.iter().find(|kind| kind.name == job.name) else {
            tracing::error!(job.name, "job {} is of no known kind", job.name);
            return;
        };
        let hold = Hold::on(app, job.job_id);
        let task = tasks.spawn(attempt(app.clone(), kind, job, hold));
        self.0.entry(kind.name).or_default().push(task);
    }
}

async fn lease(app: &App, busy: &[&'static str]) -> Result<Option<JobRow>, DbError> {
    let busy = busy.to_vec();
    app.db
        .write(move |tx| db::jobs::lease(tx, now_millis(), LEASE_SECS, &busy))
        .await
}

/// Waits until a job may be due: something changed, one ended, or the next one's time has come.
async fn wait(app: &App, busy: &[&'static str], stop: &CancellationToken) {
    let busy = busy.to_vec();
    let due = app
        .db
        .read(move |connection| db::jobs::next_run_at_millis(connection, &busy))
        .await
        .ok()
        .flatten();
    let millis = due.map_or(1_000, |due| (due - now_millis()).clamp(10, 1_000));
    let pause = Duration::from_millis(millis.unsigned_abs());
    tokio::select! {
        () = app.jobs_changed.notified() => {}
        () = tokio::time::sleep(pause) => {}
        () = stop.cancelled() => {}
    }
}

async fn attempt(app: App, kind: &'static JobKind, job: JobRow, hold: Hold) {
    let started = std::time::Instant::now();
    let result = (kind.run)(app.clone(), job.clone()).await;
    app.metrics
        .job_ended(kind.name, result.is_ok(), started.elapsed());
    if let Err(error) = result {
        let message = chain(&error);
        tracing::warn!(
            job.name = kind.name,
            job.input,
            job.attempt,
            error = message,
            "job {} {} failed: {message}",
            kind.name,
            job.input
        );
        let run_at = now_millis() + i64::try_from(back_off(job.attempt).as_millis()).unwrap_or(0);
        let put_back = app
            .db
            .write(move |tx| {
                db::jobs::put_back(tx, &job, &message, run_at)?;
                wake_judge(tx, &job)
            })
            .await;
        if let Err(error) = put_back {
            // The lease ends by itself; the job then runs again.
            tracing::error!(
                error = chain(&error),
                "cannot put a job back: {}",
                chain(&error)
            );
        }
    }
    drop(hold);
    app.jobs_changed.notify_one();
}

/// A build whose SBOM cannot be made must not look as if it were still under way.
fn wake_judge(tx: &Transaction<'_>, job: &JobRow) -> Result<(), DbError> {
    let number = job.input.parse().unwrap_or_default();
    let build_id = match job.name.as_str() {
        sbom::NAME => db::builds::package(tx, number)?.map(|package| package.build_id),
        build_sbom::NAME => db::builds::by_id(tx, number)?.map(|build| build.build_id),
        _ => None,
    };
    build_id.map_or(Ok(()), |build_id| enqueue_judge(tx, build_id))
}

fn back_off(attempt: u32) -> Duration {
    BACK_OFF
        .saturating_mul(1 << attempt.min(16))
        .min(MAX_BACK_OFF)
}

/// An error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_kind_has_a_name_of_its_own_and_can_run() {
        for (index, kind) in JOBS.iter().enumerate() {
            assert!(kind.parallel > 0, "{}", kind.name);
            assert!(
                JOBS[..index].iter().all(|other| other.name != kind.name),
                "{}",
                kind.name
            );
        }
    }

    #[test]
    fn back_off_grows_to_its_limit() {
        assert_eq!(back_off(0), BACK_OFF);
        assert_eq!(back_off(3), BACK_OFF * 8);
        assert_eq!(back_off(u32::MAX), MAX_BACK_OFF);
    }
}
