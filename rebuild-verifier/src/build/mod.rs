//! Building a source package in the sandbox, and recording how: `hallmark buildinfo`.

mod carry_out;
mod description;
mod error;
mod input;
mod packages;
mod provenance;
mod recorded;

pub use carry_out::Run;
pub(crate) use carry_out::{Executed, execute};
pub(crate) use description::Description;
pub use error::BuildError;
pub(crate) use error::io;
pub use input::BuildRequest;
pub(crate) use input::Input;
pub use packages::BuiltPackage;
pub(crate) use packages::collect;
pub use provenance::provenance;
pub(crate) use recorded::Destination;
pub use recorded::Recorded;

use crate::buildroot::Root;
use crate::plan::{self, Plan, RootError};
use crate::sandbox;
use repo_model::Timestamp;
use repo_model::buildinfo::Sandbox;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of a failed build's log, what an error quotes, bytes.
pub(crate) const QUOTED: u64 = 2 << 10;

/// Builds a source package in the sandbox and writes the packages, `….buildinfo.json` and
/// `….build.log` to `out_dir`. A log is written also when the build fails.
pub fn record(request: &BuildRequest) -> Result<Recorded, BuildError> {
    // The backend is asked who it is while everything else is found out; it answers once.
    let asked = std::thread::spawn(sandbox::backend_version);
    let input = Input::take(request)?;
    let root = request.chosen_root()?;
    // What it says is read again for the record.
    let _ = asked.join();
    let plan = Plan::new(&input.source, &root.lock.rpm_version);
    refuse_future(&plan)?;
    let destination = Destination::create(&request.out_dir, &input.source)?;
    let (executed, evaluated) = build_and_ask(request, &input, &plan, &root, &destination.log)?;
    let built = collect(&executed.out)?;
    let backend = sandbox::chosen_backend();
    let confined = Sandbox {
        kind: sandbox::kind(backend, executed.ended.overlay),
        version: sandbox::backend_version()?,
        network: "none".to_owned(),
        build_path: plan::BUILD_PATH.to_owned(),
        limits: executed.ended.limits.to_owned(),
    };
    let description = Description {
        input: &input,
        plan: &plan,
        root: &root,
        evaluated,
        sandbox: confined,
    };
    destination.put(description, &built, (executed.started, executed.finished))
}

/// Builds, and asks for the values of macros beside it: they are for the record alone, so the build does not wait.
fn build_and_ask(
    request: &BuildRequest,
    input: &Input,
    plan: &Plan,
    root: &Root,
    log: &Path,
) -> Result<(Executed, BTreeMap<String, String>), BuildError> {
    let run = Run {
        scratch: &input.scratch,
        limits: &request.limits,
        build_uid: request.build_uid,
        cancel: &request.cancel,
    };
    let (evaluated, executed) = std::thread::scope(|scope| {
        let ask = || plan::evaluate(plan, root, &request.work_dir, request.build_uid);
        let evaluated = scope.spawn(ask);
        let executed = execute(plan, root, &input.srpm, &run, log);
        (evaluated.join(), executed)
    });
    let executed = executed?;
    if executed.ended.exit_code != 0 {
        return Err(BuildError::Failed {
            exit_code: executed.ended.exit_code,
            log: log.to_owned(),
            tail: sandbox::log_tail(log, QUOTED),
        });
    }
    let evaluated = evaluated.map_err(|_| RootError::Macros {
        said: "the thread that asks has stopped".to_owned(),
    })??;
    Ok((executed, evaluated))
}

/// Refuses a plan whose time has not come.
pub(crate) fn refuse_future(plan: &Plan) -> Result<(), BuildError> {
    let now = now();
    match plan.time.source_date_epoch.map(Timestamp::from_unix_secs) {
        Some(epoch) if epoch > now => Err(BuildError::Future { epoch, now }),
        _ => Ok(()),
    }
}

/// The clock, in whole seconds.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
