//! Carrying out a plan: rpmbuild in a root, in the sandbox.

use super::{BuildError, io, now};
use crate::buildroot::{self, Root};
use crate::plan::{self, Plan, RootError};
use crate::sandbox::{self, Cancel, Ended, Extras, Job, Limits};
use crate::scratch::Scratch;
use crate::shift;
use repo_model::Timestamp;
use std::path::{Path, PathBuf};

/// Where and within what a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Scratch space of this run.
    pub scratch: &'a Scratch,
    /// What the build may use.
    pub limits: &'a Limits,
    /// User that the build runs as when we are root.
    pub build_uid: u32,
    /// Stops the build.
    pub cancel: &'a Cancel,
}

/// A plan that was carried out; its packages are in `out`, below the scratch directory.
pub(crate) struct Executed {
    pub ended: Ended,
    pub out: PathBuf,
    pub started: Timestamp,
    pub finished: Timestamp,
}

/// Runs rpmbuild in `root` as `plan` says on `srpm`, which lies in the scratch directory.
pub(crate) fn execute(
    plan: &Plan,
    root: &Root,
    srpm: &Path,
    run: &Run<'_>,
    log: &Path,
) -> Result<Executed, BuildError> {
    let out = run
        .scratch
        .dir_of("out", run.build_uid)
        .map_err(io(format!(
            "make a directory below {}",
            run.scratch.dir().display()
        )))?;
    let macros = plan::write_macros(plan, run.scratch)?;
    let mut inputs = vec![
        (srpm.to_owned(), plan::SRPM_INSIDE.to_owned()),
        (macros.clone(), plan::MACROS_INSIDE.to_owned()),
        (macros, plan::MACROS_OF_USER.to_owned()),
    ];
    inputs.extend(shift::input(plan));
    let started = now();
    let ended = (sandbox::chosen_backend().run)(&Job {
        dir: run.scratch.dir(),
        root: &root.dir,
        inputs: &inputs,
        out: &out,
        backend_command: sandbox::backend_command(),
        command: &plan.command(),
        env: &plan.env,
        identity: &plan.identity,
        extras: Extras {
            overlay: plan.extras.overlay && root.kind == buildroot::DNF,
            ..plan.extras
        },
        limits: run.limits,
        build_uid: run.build_uid,
        log,
        cancel: run.cancel,
    })?;
    if let Some(after) = root.changed().map_err(RootError::from)? {
        let before = root.lock.sha256;
        return Err(BuildError::RootChanged { before, after });
    }
    Ok(Executed {
        ended,
        out,
        started,
        finished: now(),
    })
}
