//! One leased rebuild: fetch, check, rebuild, compare, sign, commit; with heartbeats all the while.

use crate::backoff::Backoff;
use crate::build::{BuildError, BuiltPackage, Run};
use crate::buildroot::{Root, Store};
use crate::client::{Client, ClientError};
use crate::compare::{self, Comparer, Comparison, Context, Facts};
use crate::keys::RebuilderKeys;
use crate::plan::Plan;
use crate::profile::{self, Profile};
use crate::replay::{self, Rebuilt, Site};
use crate::reveal;
use crate::runs::all_runs;
use crate::sandbox::{Cancel, Limits, SandboxError};
use crate::scratch::Scratch;
use repo_model::buildinfo::{self, BuildInfo, Machine};
use repo_model::statement::{Rebuilder, Resource};
use repo_model::verdict::Verdict;
use repo_model::wire::worker::{ExpectedPackage, Outcome, RebuildJob, Report};
use repo_model::{FileDigest, Nevra};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the heartbeat thread looks up.
const TICK: Duration = Duration::from_millis(100);
/// The rebuild's clock readings may lie this far outside of rpmbuild's run, seconds.
const CLOCK_SLACK: i64 = 5;

/// Packages of one build that diffoscope is asked about.
const MAX_DIFFS: usize = 3;

/// Who works, for whom, and within what.
#[derive(Debug)]
pub struct Workbench {
    /// The server.
    pub client: Client,
    /// Signing keys.
    pub keys: RebuilderKeys,
    /// Name and operator.
    pub rebuilder: Rebuilder,
    /// Scratch space.
    pub work_dir: PathBuf,
    /// Layers of locked packages.
    pub store: Store,
    /// Compares packages where they can do no harm.
    pub comparer: Comparer,
    /// What a build may use.
    pub limits: Limits,
    /// User that builds run as when we are root.
    pub build_uid: u32,
    /// What may be varied on purpose; the server chooses.
    pub profiles: Vec<&'static Profile>,
    /// Asks to stop and drop the job.
    pub stop: Cancel,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// Reported; the worst verdict of its packages, [`Verdict::InfraFailed`] when nothing can be said.
    Reported(Verdict),
    /// There is an answer, and the server has our word that it will not change.
    Committed,
    /// Dropped: the lease is lost or we were asked to stop. Nothing is reported.
    Dropped,
}

/// Why there is no verdict.
pub(crate) enum NoVerdict {
    /// Told to the server, which gives the job out again later.
    Infra(String),
    /// The lease is lost or somebody asked to stop.
    Dropped,
}

impl From<ClientError> for NoVerdict {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::LeaseLost { .. } => Self::Dropped,
            other => Self::Infra(chain(&other)),
        }
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn infra(error: &dyn std::error::Error) -> NoVerdict {
    NoVerdict::Infra(chain(error))
}

/// Does one rebuild to its end. An error means that the result could not be told.
pub fn work_off(bench: &Workbench, job: &RebuildJob) -> Result<JobEnd, ClientError> {
    let lease = Lease {
        job: job.job,
        lease_epoch: job.lease_epoch,
        lease_secs: job.lease_secs,
    };
    under_lease(bench, lease, |cancel| {
        rebuild_and_commit(bench, job, cancel)
    })
}

/// What heartbeats need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub job: u64,
    pub lease_epoch: u64,
    pub lease_secs: u32,
}

/// Does `work` while the lease is kept; it is cancelled when the lease is lost.
pub(crate) fn under_lease<T: Send>(
    bench: &Workbench,
    lease: Lease,
    work: impl FnOnce(&Cancel) -> T,
) -> T {
    let cancel = Cancel::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keep_lease(bench, &lease, &cancel, &done));
        let end = work(&cancel);
        done.store(true, Ordering::Release);
        end
    })
}

/// Sends heartbeats until `done`; sets `cancel` when the lease is lost or we are asked to stop.
fn keep_lease(bench: &Workbench, job: &Lease, cancel: &Cancel, done: &AtomicBool) {
    let lease = Duration::from_secs(job.lease_secs.max(1).into());
    let (mut heard, mut asked) = (Instant::now(), Instant::now());
    while !done.load(Ordering::Acquire) {
        std::thread::sleep(TICK);
        if bench.stop.is_cancelled() {
            cancel.cancel();
            return;
        }
        if asked.elapsed() < lease / 3 {
            continue;
        }
        asked = Instant::now();
        match bench.client.heartbeat(job.job, job.lease_epoch) {
            Ok(()) => heard = asked,
            Err(error @ ClientError::LeaseLost { .. }) => {
                tracing::warn!(job = job.job, "{error}: the build is stopped");
                cancel.cancel();
                return;
            }
            Err(error) => tracing::warn!(job = job.job, "no heartbeat: {}", chain(&error)),
        }
        if heard.elapsed() >= lease {
            tracing::warn!(
                job = job.job,
                "the lease of job {} ran out unheard: the build is stopped",
                job.job
            );
            cancel.cancel();
            return;
        }
    }
}

fn rebuild_and_commit(
    bench: &Workbench,
    job: &RebuildJob,
    cancel: &Cancel,
) -> Result<JobEnd, ClientError> {
    // Of the last run: it helps to see why there is no verdict.
    let mut last = None;
    let answer = all_runs(bench, job, &mut last, cancel)
        .and_then(|runs| reveal::pledge(bench, job, &runs).map_err(|error| infra(&error)));
    match answer {
        Ok(commit) => match persist(cancel, || bench.client.commit(job.job, &commit)) {
            Ok(()) => Ok(JobEnd::Committed),
            Err(ClientError::LeaseLost { .. }) => {
                reveal::forget(bench, &commit);
                Ok(JobEnd::Dropped)
            }
            // Kept: at the next start the server is asked whether it still wants it.
            Err(_) if cancel.is_cancelled() => Ok(JobEnd::Dropped),
            Err(error) => Err(error),
        },
        Err(NoVerdict::Dropped) => Ok(JobEnd::Dropped),
        Err(NoVerdict::Infra(_)) if cancel.is_cancelled() => Ok(JobEnd::Dropped),
        Err(NoVerdict::Infra(message)) => {
            tracing::warn!(job = job.job, "job {} gives no verdict: {message}", job.job);
            let log = last
                .as_ref()
                .map(|scratch: &Scratch| scratch.dir().join(LOG));
            // Without the log the message has to do.
            let attachments = match log
                .filter(|log| log.exists())
                .map(|log| bench.client.upload_file(&log))
            {
                Some(Ok(digest)) => vec![Resource::file(LOG, digest)],
                _ => Vec::new(),
            };
            report_failure(
                bench,
                job.job,
                job.lease_epoch,
                cancel,
                message,
                attachments,
            )
        }
    }
}

/// Tells the server that nothing can be said.
pub(crate) fn report_failure(
    bench: &Workbench,
    job: u64,
    lease_epoch: u64,
    cancel: &Cancel,
    message: String,
    attachments: Vec<Resource>,
) -> Result<JobEnd, ClientError> {
    let report = Report {
        lease_epoch,
        outcome: Outcome::InfraFailed { message },
        attachments,
    };
    deliver(bench, job, cancel, &report, Verdict::InfraFailed)
}

pub(crate) fn deliver(
    bench: &Workbench,
    job: u64,
    cancel: &Cancel,
    report: &Report,
    verdict: Verdict,
) -> Result<JobEnd, ClientError> {
    match persist(cancel, || bench.client.report(job, report)) {
        Ok(()) => Ok(JobEnd::Reported(verdict)),
        Err(ClientError::LeaseLost { .. }) => Ok(JobEnd::Dropped),
        Err(_) if cancel.is_cancelled() => Ok(JobEnd::Dropped),
        Err(error) => Err(error),
    }
}

/// Name of the build log.
pub(crate) const LOG: &str = "build.log";

/// Repeats what fails because the server is not available, as long as the lease holds.
pub(crate) fn persist<T>(
    cancel: &Cancel,
    mut attempt: impl FnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut backoff = Backoff::default();
    loop {
        match attempt() {
            Err(error) if error.is_unavailable() && !cancel.is_cancelled() => {
                tracing::warn!("{}; trying again", chain(&error));
                pause(backoff.pause(), cancel);
            }
            other => return other,
        }
    }
}

/// Sleeps, but not longer than until `cancel`.
pub(crate) fn pause(duration: Duration, cancel: &Cancel) {
    let until = Instant::now() + duration;
    while !cancel.is_cancelled() && Instant::now() < until {
        std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
    }
}

/// What one run gave.
pub(crate) struct OneRun {
    pub info: BuildInfo,
    /// What it ran in.
    pub root: Root,
    pub rebuilt: Rebuilt,
    pub compared: Compared,
    /// Reports of diffoscope by file name.
    pub diffs: Vec<(String, Vec<u8>)>,
}

/// One run.
pub(crate) fn rebuild(
    bench: &Workbench,
    job: &RebuildJob,
    profile: &Profile,
    scratch: &Scratch,
    cancel: &Cancel,
) -> Result<OneRun, NoVerdict> {
    let log = &scratch.dir().join(LOG);
    let info = fetch_buildinfo(bench, job, scratch, cancel)?;
    let srpm = scratch.dir().join("in.src.rpm");
    let limit = bench.limits.disk_bytes;
    persist(cancel, || bench.client.download(job.source, &srpm, limit))?;
    let site = Site {
        work_dir: &bench.work_dir,
        build_uid: bench.build_uid,
        store: &bench.store,
    };
    let mut ready = replay::check(&info, &srpm, &site).map_err(|error| infra(&error))?;
    profile
        .apply(&mut ready.plan, &ready.root, &site)
        .map_err(|error| infra(&error))?;
    tracing::info!(job = job.job, source = %info.source.nevra, "rebuilding {}", info.source.nevra);
    let run = Run {
        scratch,
        limits: &bench.limits,
        build_uid: bench.build_uid,
        cancel,
    };
    let result = replay::replay(&ready, &srpm, &run, log);
    let rebuilt = match result {
        Ok(rebuilt) => rebuilt,
        Err(BuildError::Sandbox(SandboxError::Cancelled)) => return Err(NoVerdict::Dropped),
        Err(error) => return Err(infra(&error)),
    };
    let mut diffs = Vec::new();
    let comparisons = match &rebuilt.failure {
        Some(said) => {
            let cause = compare::cause("build-failed", said.clone());
            let failed = Comparison {
                verdict: Verdict::BuildFailed,
                causes: vec![cause],
            };
            vec![(None, failed); job.packages.len()]
        }
        None => {
            let context = context(&info.machine, &rebuilt, &ready.plan);
            compare_all(bench, job, &rebuilt, &context, scratch, cancel, &mut diffs)?
        }
    };
    let mut verdicts = comparisons.iter().map(|(_, found)| found.verdict);
    let confirms = verdicts.all(Verdict::confirms);
    rebuilt.tells(confirms).map_err(|error| infra(&error))?;
    Ok(OneRun {
        info,
        root: ready.root,
        rebuilt,
        compared: comparisons,
        diffs,
    })
}

fn fetch_buildinfo(
    bench: &Workbench,
    job: &RebuildJob,
    scratch: &Scratch,
    cancel: &Cancel,
) -> Result<BuildInfo, NoVerdict> {
    let path = scratch.dir().join("buildinfo.json");
    persist(cancel, || {
        bench
            .client
            .download(job.buildinfo, &path, buildinfo::MAX_BYTES as u64)
    })?;
    let json = fs::read(&path).map_err(|error| infra(&error))?;
    let info = BuildInfo::from_json(&json).map_err(|error| infra(&error))?;
    let in_info = |package: &ExpectedPackage| {
        info.outputs.iter().any(|output| {
            output.nevra == package.nevra
                && output.file_sha256 == package.file
                && output.header_sha256 == package.header
        })
    };
    match job.packages.iter().find(|package| !in_info(package)) {
        Some(package) => Err(NoVerdict::Infra(format!(
            "the buildinfo has no output {} of header {}, which the job asks about",
            package.nevra, package.header
        ))),
        None if job.packages.len() != info.outputs.len() => Err(NoVerdict::Infra(format!(
            "the buildinfo has {} outputs, the job {} packages",
            info.outputs.len(),
            job.packages.len()
        ))),
        None => Ok(info),
    }
}

pub(crate) type Compared = Vec<(Option<FileDigest>, Comparison)>;

/// Compares package by package, in the job's order. A package whose file is equal is not fetched.
fn compare_all(
    bench: &Workbench,
    job: &RebuildJob,
    rebuilt: &Rebuilt,
    context: &Context,
    scratch: &Scratch,
    cancel: &Cancel,
    diffs: &mut Vec<(String, Vec<u8>)>,
) -> Result<Compared, NoVerdict> {
    let names = |list: &mut dyn Iterator<Item = &Nevra>| list.cloned().collect::<Vec<_>>();
    let set = compare::set_cause(
        &names(&mut job.packages.iter().map(|package| &package.nevra)),
        &names(&mut rebuilt.packages.iter().map(|package| &package.nevra)),
    );
    let mut compared = Vec::with_capacity(job.packages.len());
    for package in &job.packages {
        let counterpart = rebuilt
            .packages
            .iter()
            .find(|built| built.nevra == package.nevra);
        let mut comparison = match counterpart {
            Some(built) => compare_one(bench, package, built, context, scratch, cancel, diffs)?,
            None => Comparison {
                verdict: Verdict::SetDiffers,
                causes: Vec::new(),
            },
        };
        if let Some(cause) = &set {
            comparison.verdict = comparison.verdict.max(Verdict::SetDiffers);
            comparison.causes.push(cause.clone());
        }
        compared.push((counterpart.map(|built| built.file), comparison));
    }
    Ok(compared)
}

fn compare_one(
    bench: &Workbench,
    package: &ExpectedPackage,
    built: &BuiltPackage,
    context: &Context,
    scratch: &Scratch,
    cancel: &Cancel,
    diffs: &mut Vec<(String, Vec<u8>)>,
) -> Result<Comparison, NoVerdict> {
    if built.file == package.file {
        return Ok(Comparison {
            verdict: Verdict::Identical,
            causes: Vec::new(),
        });
    }
    let path = scratch.dir().join("expected.rpm");
    persist(cancel, || {
        bench
            .client
            .download(package.file, &path, package.size_bytes)
    })?;
    let compared = bench
        .comparer
        .compare(&path, &built.path, context, cancel)
        .map_err(|error| infra(&error));
    let differs = matches!(&compared, Ok(found) if !found.verdict.confirms());
    if differs
        && diffs.len() < MAX_DIFFS
        && let Some(text) = bench.comparer.diffoscope(&path, &built.path, cancel)
    {
        diffs.push((format!("{}.diffoscope.txt", package.nevra), text));
    }
    let _ = fs::remove_file(&path);
    compared
}

/// What is known of the build and of its rebuild.
pub(crate) fn context(machine: &Machine, rebuilt: &Rebuilt, plan: &Plan) -> Context {
    let (kernel, ncpu) = profile::seen(&plan.before);
    let ahead = plan.secs_ahead();
    Context {
        expected: Facts {
            kernel: Some(machine.kernel.clone()),
            ncpu: Some(machine.ncpu),
            ..Facts::default()
        },
        rebuilt: Facts {
            window: Some((
                rebuilt.started.unix_secs() + ahead - CLOCK_SLACK,
                rebuilt.finished.unix_secs() + ahead + CLOCK_SLACK,
            )),
            kernel,
            ncpu,
            ..Facts::default()
        },
    }
}
