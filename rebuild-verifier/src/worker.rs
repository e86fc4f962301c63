//! The rebuilder's loop: ask for a job, do it, ask again.

use crate::backoff::Backoff;
use crate::client::ClientError;
use crate::job::{self, JobEnd, Workbench};
use crate::{reveal, sandbox, scratch};
use repo_model::Arch;
use repo_model::wire::worker::{LeaseRequest, Task};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long the server may hold a request for work, seconds.
const WAIT_SECS: u32 = 30;

/// Whether nothing would be lost by ending the process now.
#[derive(Debug, Clone, Default)]
pub struct Idle(Arc<AtomicBool>);

impl Idle {
    /// True while the rebuilder waits for work.
    pub fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, idle: bool) {
        self.0.store(idle, Ordering::Release);
    }
}

/// What ends the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Only a request to stop.
    Stopped,
    /// One job.
    OneJob,
}

/// This machine's architecture by rpm's name.
pub fn arch() -> Option<Arch> {
    match std::env::consts::ARCH {
        "x86" => "i686",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    }
    .parse()
    .ok()
}

/// Works until asked to stop, or until one job is done.
///
/// With [`Until::Stopped`] every failure is waited out; with [`Until::OneJob`] the first one that is
/// not a lost lease is returned.
pub fn run(bench: &Workbench, until: Until, idle: &Idle) -> Result<(), ClientError> {
    scratch::sweep(&bench.work_dir);
    sandbox::sweep_cgroups();
    let mut request = LeaseRequest {
        arches: arch().into_iter().collect(),
        profiles: bench
            .profiles
            .iter()
            .map(|profile| profile.name.to_owned())
            .collect(),
        wait_secs: WAIT_SECS,
    };
    reveal::resume(bench);
    let name = &bench.rebuilder.id;
    let mut backoff = Backoff::default();
    tracing::info!(worker = %name, "rebuilder {name} asks for work");
    while !bench.stop.is_cancelled() {
        match one_job(bench, &request, idle) {
            Ok(Some(JobEnd::Reported(_))) if until == Until::OneJob => return Ok(()),
            Ok(end) => {
                backoff.reset();
                if end == Some(JobEnd::Committed) && until == Until::OneJob {
                    // The one job is done when its answer is told: no other build meanwhile.
                    request.arches.clear();
                }
            }
            Err(error) if until == Until::OneJob => return Err(error),
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(worker = %name, "{}; trying again in {} ms", job::chain(&error), pause.as_millis());
                idle.set(true);
                job::pause(pause, &bench.stop);
                idle.set(false);
            }
        }
    }
    tracing::info!(worker = %name, "rebuilder {name} stops");
    Ok(())
}

/// Waits for a task and does it; none when there was none.
fn one_job(
    bench: &Workbench,
    request: &LeaseRequest,
    idle: &Idle,
) -> Result<Option<JobEnd>, ClientError> {
    idle.set(true);
    let leased = bench.client.lease(request);
    idle.set(false);
    let Some(task) = leased? else {
        return Ok(None);
    };
    let number = task.job();
    let (name, end) = match &task {
        Task::Rebuild(job) => (job.source_name.clone(), job::work_off(bench, job)?),
        Task::Reveal(job) => (format!("build {}", job.build), reveal::tell(bench, job)?),
    };
    match end {
        JobEnd::Reported(verdict) => {
            tracing::info!(job = number, %verdict, "job {number} ({name}) is {verdict}");
        }
        JobEnd::Committed => {
            tracing::info!(
                job = number,
                "job {number} ({name}) is done; its answer is told when the others have theirs"
            );
        }
        JobEnd::Dropped => tracing::info!(job = number, "job {number} ({name}) is dropped"),
    }
    Ok(Some(end))
}
