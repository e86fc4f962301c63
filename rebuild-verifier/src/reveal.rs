//! Committing to an answer, and telling it once the others have theirs.
//!
//! An answer is told for one round only: whoever hears it in another could have copied it.

use crate::attest::{self, PackageReport, RebuildFacts, Report as ComparisonReport};
use crate::build::now;
use crate::client::ClientError;
use crate::job::{self, JobEnd, Lease, Workbench, deliver, persist, report_failure};
use crate::lock;
use crate::pledge::{Pledge, Pledges};
use crate::runs::{PackageRuns, Runs};
use crate::sandbox::Cancel;
use crate::scratch;
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::in_toto;
use repo_model::sealed::{COMMITMENT, Commitment, REVEAL, Reveal, seal};
use repo_model::statement::{Resource, Statement, StatementError, Subject};
use repo_model::verdict::Verdict;
use repo_model::wire::worker::{Commit, Outcome, RebuildJob, Report, RevealJob};
use std::io;
use std::time::SystemTime;

/// An answer cannot be kept. This machine's fault; the job is given out again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PledgeError {
    /// It cannot be written.
    #[error("cannot keep the answer below {work_dir}")]
    Io {
        /// Where.
        work_dir: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be signed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// It cannot be written as JSON.
    #[error("the comparison cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The root cannot be found out.
    #[error(transparent)]
    Root(#[from] lock::LockError),
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Signs statements about all packages and a commitment to them, and keeps all on disk; gives what is to be
/// told to the server now.
pub(crate) fn pledge(
    bench: &Workbench,
    job: &RebuildJob,
    runs: &Runs,
) -> Result<Commit, PledgeError> {
    let io = |source| PledgeError::Io {
        work_dir: bench.work_dir.clone(),
        source,
    };
    let log = runs.log();
    let (log_digest, _) = scratch::hash_file(&log).map_err(io)?;
    let report = serde_json::to_vec_pretty(&comparison_report(bench, job, runs))?;
    let mut further = vec![("comparison.json".to_owned(), report)];
    further.extend(runs.diffs.iter().cloned());
    let same =
        |found: &PackageRuns| found.rebuilt.is_some() && found.worst.verdict == Verdict::Identical;
    if runs.packages.iter().all(same) {
        let link = attest::sign_link(&bench.keys.statement, job);
        further.push((in_toto::ATTACHMENT.to_owned(), link));
    }
    let mut attachments = vec![Resource::file(job::LOG, log_digest)];
    attachments.extend(
        further
            .iter()
            .map(|(name, bytes)| Resource::file(name, FileDigest::of(bytes))),
    );
    let mut documents = statements(bench, job, runs, &attachments)?;
    let statements: Vec<FileDigest> = documents.iter().map(|json| FileDigest::of(json)).collect();
    documents.extend(further.into_iter().map(|(_, bytes)| bytes));
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(|_| PledgeError::Random)?;
    let salt = hex::encode(salt);
    let said = Commitment {
        rebuilder: bench.rebuilder.clone(),
        source: Resource::file(&job.source_name, job.source),
        buildinfo: Resource::file("buildinfo.json", job.buildinfo),
        sealed: seal(&salt, &statements),
        committed_on: now(),
    };
    let subject = vec![Subject::file("buildinfo.json", job.buildinfo)];
    let commitment = Statement::new(COMMITMENT, subject, said).sign(&bench.keys.statement)?;
    let verdicts = runs.packages.iter().map(|package| package.worst.verdict);
    let pledge = Pledge {
        job: job.job,
        lease_epoch: job.lease_epoch,
        commitment,
        salt,
        statements,
        attachments,
        verdict: verdicts.max().unwrap_or(Verdict::Identical),
    };
    Pledges::of(&bench.work_dir)
        .keep(&pledge, &documents, (&log, log_digest))
        .map_err(io)?;
    Ok(Commit {
        lease_epoch: job.lease_epoch,
        commitment: pledge.commitment,
    })
}

fn comparison_report<'a>(
    bench: &'a Workbench,
    job: &'a RebuildJob,
    runs: &'a Runs,
) -> ComparisonReport<'a> {
    let packages = job.packages.iter().zip(&runs.packages);
    ComparisonReport {
        schema: attest::REPORT_SCHEMA,
        rebuilder: &bench.rebuilder,
        source: job.source,
        buildinfo: job.buildinfo,
        profile: runs.profile.name,
        exit_code: runs.rebuilt.exit_code,
        started: runs.rebuilt.started,
        finished: runs.rebuilt.finished,
        packages: packages
            .map(|(expected, found)| PackageReport {
                expected,
                rebuilt: found.rebuilt,
                comparison: &found.worst,
            })
            .collect(),
    }
}

/// One signed statement a package, as JSON.
fn statements(
    bench: &Workbench,
    job: &RebuildJob,
    runs: &Runs,
    attachments: &[Resource],
) -> Result<Vec<Vec<u8>>, PledgeError> {
    let facts = RebuildFacts {
        rebuilder: bench.rebuilder.clone(),
        lock: runs.root.lock.sha256,
        rpm_version: runs.root.lock.rpm_version.clone(),
        profile: runs.profile.name,
        limits: runs.rebuilt.limits,
        attachments: attachments.to_vec(),
        started: runs.rebuilt.started,
        finished: runs.rebuilt.finished,
    };
    let each = job.packages.iter().zip(&runs.packages);
    each.map(|(package, found)| {
        let envelope = attest::sign_rebuild(
            &bench.keys.statement,
            job,
            &runs.info,
            package,
            &found.worst,
            &found.verdicts,
            &facts,
        )?;
        Ok(envelope.to_json())
    })
    .collect()
}

/// Nobody wants the answer.
pub(crate) fn forget(bench: &Workbench, commit: &Commit) {
    let name = FileDigest::of(&commit.commitment.to_json());
    Pledges::of(&bench.work_dir).forget(name);
}

/// After a start: commits again to what was kept, in case the server was never told, and forgets what it
/// does not want any more.
pub(crate) fn resume(bench: &Workbench) {
    let pledges = Pledges::of(&bench.work_dir);
    for pledge in pledges.all(SystemTime::now()) {
        let name = pledge.name();
        let commit = Commit {
            lease_epoch: pledge.lease_epoch,
            commitment: pledge.commitment,
        };
        match bench.client.commit(pledge.job, &commit) {
            Ok(()) => tracing::info!(job = pledge.job, "job {}: the answer is kept", pledge.job),
            Err(ClientError::LeaseLost { .. }) => pledges.forget(name),
            // It stays, and the server may ask for it.
            Err(error) => {
                tracing::warn!(
                    job = pledge.job,
                    "job {}: {}",
                    pledge.job,
                    job::chain(&error)
                );
            }
        }
    }
}

/// Why an answer is not told.
enum NotTold {
    /// Told to the server: the rebuild is made anew.
    Gone(String),
    Client(ClientError),
}

/// Tells one answer. An error means that it could not be told; it is kept then.
pub(crate) fn tell(bench: &Workbench, task: &RevealJob) -> Result<JobEnd, ClientError> {
    let lease = Lease {
        job: task.job,
        lease_epoch: task.lease_epoch,
        lease_secs: task.lease_secs,
    };
    job::under_lease(bench, lease, |cancel| {
        let end = match prepare(bench, task, cancel) {
            Ok((report, verdict)) => deliver(bench, task.job, cancel, &report, verdict),
            Err(NotTold::Client(ClientError::LeaseLost { .. })) => return Ok(JobEnd::Dropped),
            Err(NotTold::Client(_)) if cancel.is_cancelled() => return Ok(JobEnd::Dropped),
            Err(NotTold::Client(error)) => return Err(error),
            Err(NotTold::Gone(message)) => {
                tracing::warn!(job = task.job, "job {}: {message}", task.job);
                let (job, epoch) = (task.job, task.lease_epoch);
                report_failure(bench, job, epoch, cancel, message, Vec::new())
            }
        };
        if let Ok(JobEnd::Reported(_)) = &end {
            Pledges::of(&bench.work_dir).forget(task.commitment);
        }
        end
    })
}

fn prepare(
    bench: &Workbench,
    task: &RevealJob,
    cancel: &Cancel,
) -> Result<(Report, Verdict), NotTold> {
    let pledges = Pledges::of(&bench.work_dir);
    let name = task.commitment;
    let gone = |error: &dyn std::error::Error| {
        NotTold::Gone(format!("the answer cannot be read: {}", job::chain(error)))
    };
    let pledge = pledges
        .find(name)
        .map_err(|error| gone(&error))?
        .ok_or_else(|| NotTold::Gone("the answer is not here any more".to_owned()))?;
    let reveal = match pledges.reveal(name).map_err(|error| gone(&error))? {
        Some(told) => told_before(told, task)?,
        None => {
            let reveal = sign(bench, &pledge, task).map_err(|error| gone(&error))?;
            pledges
                .keep_reveal(name, &reveal)
                .map_err(|error| gone(&error))?;
            reveal
        }
    };
    let attached = pledge
        .attachments
        .iter()
        .filter_map(|attachment| attachment.digest.get("sha256")?.parse().ok());
    let files = attached.chain(pledge.statements.iter().copied());
    for digest in files {
        let file = pledges.file(name, digest);
        persist(cancel, || bench.client.upload_file(&file)).map_err(NotTold::Client)?;
    }
    let report = Report {
        lease_epoch: task.lease_epoch,
        outcome: Outcome::Revealed { reveal },
        attachments: pledge.attachments,
    };
    Ok((report, pledge.verdict))
}

/// The reveal that was made before, if it is for this round.
fn told_before(reveal: Envelope, task: &RevealJob) -> Result<Envelope, NotTold> {
    let round = Statement::<Reveal>::open_unverified(&reveal, REVEAL)
        .map(|statement| statement.predicate.round);
    match round {
        Ok(round) if round == task.round => Ok(reveal),
        _ => Err(NotTold::Gone(
            "the answer was told for another round, and is not told twice".to_owned(),
        )),
    }
}

fn sign(bench: &Workbench, pledge: &Pledge, task: &RevealJob) -> Result<Envelope, StatementError> {
    let said = Reveal {
        rebuilder: bench.rebuilder.clone(),
        commitment: task.commitment,
        salt: pledge.salt.clone(),
        statements: pledge.statements.clone(),
        round: task.round.clone(),
        revealed_on: now(),
    };
    let subject = vec![Subject::file("commitment", task.commitment)];
    Statement::new(REVEAL, subject, said).sign(&bench.keys.statement)
}
