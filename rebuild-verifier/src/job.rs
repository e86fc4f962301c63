//! One leased job: fetch, check, rebuild, compare, sign, report; with heartbeats all the while.

use crate::attest::{self, PackageReport, RebuildFacts, Report as ComparisonReport};
use crate::backoff::Backoff;
use crate::build::{BuildError, BuiltPackage, Run};
use crate::buildroot::{Root, Store};
use crate::client::{Client, ClientError};
use crate::compare::{self, Comparer, Comparison, Context, Facts};
use crate::keys::RebuilderKeys;
use crate::profile::{self, Profile};
use crate::replay::{self, Rebuilt, Site};
use crate::sandbox::{Cancel, Limits, SandboxError};
use crate::scratch::Scratch;
use repo_model::buildinfo::{self, BuildInfo, Machine};
use repo_model::in_toto;
use repo_model::statement::{Rebuilder, Resource};
use repo_model::verdict::Verdict;
use repo_model::wire::worker::{ExpectedPackage, LeasedJob, Outcome, Report};
use repo_model::{FileDigest, Nevra};
use std::fs;
use std::path::{Path, PathBuf};
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
    /// What is varied on purpose.
    pub profile: &'static Profile,
    /// Asks to stop and drop the job.
    pub stop: Cancel,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// Reported; the worst verdict of its packages, [`Verdict::InfraFailed`] when nothing can be said.
    Reported(Verdict),
    /// Dropped: the lease is lost or we were asked to stop. Nothing is reported.
    Dropped,
}

/// Why there is no verdict.
enum NoVerdict {
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

/// Does one job to its end. An error means that the result could not be reported.
pub fn work_off(bench: &Workbench, job: &LeasedJob) -> Result<JobEnd, ClientError> {
    let cancel = Cancel::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keep_lease(bench, job, &cancel, &done));
        let end = rebuild_and_report(bench, job, &cancel);
        done.store(true, Ordering::Release);
        end
    })
}

/// Sends heartbeats until `done`; sets `cancel` when the lease is lost or we are asked to stop.
fn keep_lease(bench: &Workbench, job: &LeasedJob, cancel: &Cancel, done: &AtomicBool) {
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
        match bench.client.heartbeat(job) {
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

fn rebuild_and_report(
    bench: &Workbench,
    job: &LeasedJob,
    cancel: &Cancel,
) -> Result<JobEnd, ClientError> {
    let scratch = match Scratch::create(&bench.work_dir) {
        Ok(scratch) => scratch,
        Err(error) => {
            let message = format!(
                "cannot make a directory below {}: {error}",
                bench.work_dir.display()
            );
            return deliver(
                bench,
                job,
                cancel,
                Outcome::InfraFailed { message },
                Vec::new(),
                Verdict::InfraFailed,
            );
        }
    };
    let log = scratch.dir().join("build.log");
    match rebuild(bench, job, &scratch, &log, cancel) {
        Ok((statements, attachments, verdict)) => deliver(
            bench,
            job,
            cancel,
            Outcome::Judged { statements },
            attachments,
            verdict,
        ),
        Err(NoVerdict::Dropped) => Ok(JobEnd::Dropped),
        Err(NoVerdict::Infra(message)) => {
            if cancel.is_cancelled() {
                return Ok(JobEnd::Dropped);
            }
            tracing::warn!(job = job.job, "job {} gives no verdict: {message}", job.job);
            // The log helps to see why; without it the message has to do.
            let attachments = match log.exists().then(|| bench.client.upload_file(&log)) {
                Some(Ok(digest)) => vec![Resource::file("build.log", digest)],
                _ => Vec::new(),
            };
            deliver(
                bench,
                job,
                cancel,
                Outcome::InfraFailed { message },
                attachments,
                Verdict::InfraFailed,
            )
        }
    }
}

fn deliver(
    bench: &Workbench,
    job: &LeasedJob,
    cancel: &Cancel,
    outcome: Outcome,
    attachments: Vec<Resource>,
    verdict: Verdict,
) -> Result<JobEnd, ClientError> {
    let report = Report {
        lease_epoch: job.lease_epoch,
        outcome,
        attachments,
    };
    match persist(cancel, || bench.client.report(job.job, &report)) {
        Ok(()) => Ok(JobEnd::Reported(verdict)),
        Err(ClientError::LeaseLost { .. }) => Ok(JobEnd::Dropped),
        Err(_) if cancel.is_cancelled() => Ok(JobEnd::Dropped),
        Err(error) => Err(error),
    }
}

/// Repeats what fails because the server is not available, as long as the lease holds.
fn persist<T>(
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

type Judged = (Vec<FileDigest>, Vec<Resource>, Verdict);

fn rebuild(
    bench: &Workbench,
    job: &LeasedJob,
    scratch: &Scratch,
    log: &Path,
    cancel: &Cancel,
) -> Result<Judged, NoVerdict> {
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
    ready.plan.before = bench
        .profile
        .before(&ready.root.dir)
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
            let context = context(&info.machine, &rebuilt, &ready.plan.before);
            compare_all(bench, job, &rebuilt, &context, scratch, cancel, &mut diffs)?
        }
    };
    let done = Done {
        info: &info,
        root: &ready.root,
        rebuilt: &rebuilt,
        comparisons: &comparisons,
        diffs,
        log,
    };
    testify(bench, job, &done, cancel)
}

fn fetch_buildinfo(
    bench: &Workbench,
    job: &LeasedJob,
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

type Compared = Vec<(Option<FileDigest>, Comparison)>;

/// Compares package by package, in the job's order. A package whose file is equal is not fetched.
fn compare_all(
    bench: &Workbench,
    job: &LeasedJob,
    rebuilt: &Rebuilt,
    context: &Context,
    scratch: &Scratch,
    cancel: &Cancel,
    diffs: &mut Vec<Resource>,
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
    diffs: &mut Vec<Resource>,
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
        let digest = persist(cancel, || bench.client.upload(&text))?;
        let name = format!("{}.diffoscope.txt", package.nevra);
        diffs.push(Resource::file(&name, digest));
    }
    let _ = fs::remove_file(&path);
    compared
}

/// What is known of the build and of its rebuild.
pub(crate) fn context(machine: &Machine, rebuilt: &Rebuilt, before: &[String]) -> Context {
    let (kernel, ncpu) = profile::seen(before);
    Context {
        expected: Facts {
            kernel: Some(machine.kernel.clone()),
            ncpu: Some(machine.ncpu),
            ..Facts::default()
        },
        rebuilt: Facts {
            window: Some((
                rebuilt.started.unix_secs() - CLOCK_SLACK,
                rebuilt.finished.unix_secs() + CLOCK_SLACK,
            )),
            kernel,
            ncpu,
            ..Facts::default()
        },
    }
}

/// A rebuild with its comparisons, to be told of.
struct Done<'a> {
    info: &'a BuildInfo,
    root: &'a Root,
    rebuilt: &'a Rebuilt,
    comparisons: &'a Compared,
    diffs: Vec<Resource>,
    log: &'a Path,
}

/// Uploads log, report and statements.
fn testify(
    bench: &Workbench,
    job: &LeasedJob,
    done: &Done<'_>,
    cancel: &Cancel,
) -> Result<Judged, NoVerdict> {
    let Done {
        info,
        root,
        rebuilt,
        comparisons,
        ref diffs,
        log,
    } = *done;
    let packages = job.packages.iter().zip(comparisons);
    let report = ComparisonReport {
        schema: attest::REPORT_SCHEMA,
        rebuilder: &bench.rebuilder,
        source: job.source,
        buildinfo: job.buildinfo,
        profile: bench.profile.name,
        exit_code: rebuilt.exit_code,
        started: rebuilt.started,
        finished: rebuilt.finished,
        packages: packages
            .clone()
            .map(|(expected, (file, comparison))| PackageReport {
                expected,
                rebuilt: *file,
                comparison,
            })
            .collect(),
    };
    let report = serde_json::to_vec_pretty(&report).map_err(|error| infra(&error))?;
    let log = persist(cancel, || bench.client.upload_file(log))?;
    let report = persist(cancel, || bench.client.upload(&report))?;
    let mut attachments = vec![
        Resource::file("build.log", log),
        Resource::file("comparison.json", report),
    ];
    attachments.extend(diffs.iter().cloned());
    if comparisons
        .iter()
        .all(|(file, comparison)| file.is_some() && comparison.verdict == Verdict::Identical)
    {
        let link = attest::sign_link(&bench.keys.statement, job);
        let digest = persist(cancel, || bench.client.upload(&link))?;
        attachments.push(Resource::file(in_toto::ATTACHMENT, digest));
    }
    let facts = RebuildFacts {
        rebuilder: bench.rebuilder.clone(),
        lock: root.lock.sha256,
        rpm_version: root.lock.rpm_version.clone(),
        profile: bench.profile.name,
        limits: rebuilt.limits,
        attachments: attachments.clone(),
        started: rebuilt.started,
        finished: rebuilt.finished,
    };
    let mut statements = Vec::with_capacity(job.packages.len());
    let mut worst = Verdict::Identical;
    for (package, (_, comparison)) in packages {
        worst = worst.max(comparison.verdict);
        let envelope = attest::sign_rebuild(
            &bench.keys.statement,
            job,
            info,
            package,
            comparison,
            &facts,
        )
        .map_err(|error| infra(&error))?;
        statements.push(persist(cancel, || {
            bench.client.upload(&envelope.to_json())
        })?);
    }
    Ok((statements, attachments, worst))
}
