//! The rebuilder's loop: ask for a job, do it, ask again.

use crate::backoff::Backoff;
use crate::client::ClientError;
use crate::job::{self, JobEnd, Workbench};
use crate::{sandbox, scratch};
use repo_model::Arch;
use repo_model::wire::worker::LeaseRequest;
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
    let request = LeaseRequest {
        arches: arch().into_iter().collect(),
        wait_secs: WAIT_SECS,
    };
    let name = &bench.rebuilder.id;
    let mut backoff = Backoff::default();
    tracing::info!(worker = %name, "rebuilder {name} asks for work");
    while !bench.stop.is_cancelled() {
        match one_job(bench, &request, idle) {
            Ok(worked) => {
                backoff.reset();
                if worked && until == Until::OneJob {
                    return Ok(());
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

/// Waits for a job and does it; whether there was one that was not dropped.
fn one_job(bench: &Workbench, request: &LeaseRequest, idle: &Idle) -> Result<bool, ClientError> {
    idle.set(true);
    let leased = bench.client.lease(request);
    idle.set(false);
    let Some(job) = leased? else { return Ok(false) };
    let number = job.job;
    match job::work_off(bench, &job)? {
        JobEnd::Reported(verdict) => {
            tracing::info!(job = number, %verdict, "job {number} ({}) is {verdict}", job.source_name);
            Ok(true)
        }
        JobEnd::Dropped => {
            tracing::info!(
                job = number,
                "job {number} ({}) is dropped",
                job.source_name
            );
            Ok(false)
        }
    }
}
