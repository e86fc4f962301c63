//! The runs of one rebuild: as many as are asked for, and one more when the only one did not confirm the
//! build. What is told is the worst of them.

use crate::buildroot::Root;
use crate::compare::Comparison;
use crate::job::{LOG, NoVerdict, OneRun, Workbench, rebuild};
use crate::profile::Profile;
use crate::replay::Rebuilt;
use crate::sandbox::Cancel;
use crate::scratch::Scratch;
use repo_model::FileDigest;
use repo_model::buildinfo::BuildInfo;
use repo_model::verdict::Verdict;
use repo_model::wire::worker::RebuildJob;
use std::path::PathBuf;

/// All runs of a rebuild, with the worst comparison of each package.
pub(crate) struct Runs {
    pub info: BuildInfo,
    /// What the runs were made in.
    pub root: Root,
    /// Reports of diffoscope on the worst run, by file name.
    pub diffs: Vec<(String, Vec<u8>)>,
    /// The run that came out worst; its log is in `scratch`.
    pub rebuilt: Rebuilt,
    pub scratch: Scratch,
    pub profile: &'static Profile,
    /// In the job's order.
    pub packages: Vec<PackageRuns>,
}

/// What all runs found about one package.
pub(crate) struct PackageRuns {
    pub rebuilt: Option<FileDigest>,
    pub worst: Comparison,
    pub verdicts: Vec<Verdict>,
}

impl Runs {
    /// The build log of the worst run.
    pub(crate) fn log(&self) -> PathBuf {
        self.scratch.dir().join(LOG)
    }
}

/// Rebuilds as often as the job says; a single run that does not confirm the build is confirmed by one
/// more. `last`: scratch directory of a run that gave no verdict.
pub(crate) fn all_runs(
    bench: &Workbench,
    job: &RebuildJob,
    last: &mut Option<Scratch>,
    cancel: &Cancel,
) -> Result<Runs, NoVerdict> {
    let offered = |profile: &&&Profile| profile.name == job.profile;
    let profile = bench
        .profiles
        .iter()
        .find(offered)
        .copied()
        .ok_or_else(|| {
            NoVerdict::Infra(format!(
                "the server asks for profile {}, which is not offered",
                job.profile
            ))
        })?;
    let mut all: Option<Runs> = None;
    let mut wanted = job.runs.max(1);
    let mut done = 0;
    while done < wanted {
        let scratch = Scratch::create(&bench.work_dir).map_err(|error| {
            let dir = bench.work_dir.display();
            NoVerdict::Infra(format!("cannot make a directory below {dir}: {error}"))
        })?;
        let run = match rebuild(bench, job, profile, &scratch, cancel) {
            Ok(run) => run,
            Err(why) => {
                *last = Some(scratch);
                return Err(why);
            }
        };
        done += 1;
        let runs = with_run(all, run, scratch, profile);
        let confirmed = runs
            .packages
            .iter()
            .all(|package| package.worst.verdict.confirms());
        if wanted == 1 && !confirmed {
            wanted = 2;
        }
        all = Some(runs);
    }
    all.ok_or_else(|| NoVerdict::Infra("no run was made".to_owned()))
}

/// One more run: the worst comparison of each package stays, and the worst run's log.
fn with_run(
    before: Option<Runs>,
    run: OneRun,
    scratch: Scratch,
    profile: &'static Profile,
) -> Runs {
    let OneRun {
        info,
        root,
        rebuilt,
        compared,
        diffs,
    } = run;
    let Some(mut runs) = before else {
        let packages = compared.into_iter().map(|(rebuilt, worst)| PackageRuns {
            rebuilt,
            verdicts: vec![worst.verdict],
            worst,
        });
        return Runs {
            info,
            root,
            diffs,
            rebuilt,
            scratch,
            profile,
            packages: packages.collect(),
        };
    };
    let mut is_worse = false;
    for (package, (file, comparison)) in runs.packages.iter_mut().zip(compared) {
        package.verdicts.push(comparison.verdict);
        if comparison.verdict > package.worst.verdict {
            (package.rebuilt, package.worst) = (file, comparison);
            is_worse = true;
        }
    }
    // The runs' times are one span: from the first start to the last end.
    let (started, finished) = (runs.rebuilt.started, rebuilt.finished);
    if is_worse {
        (runs.rebuilt, runs.scratch, runs.diffs) = (rebuilt, scratch, diffs);
    }
    (runs.rebuilt.started, runs.rebuilt.finished) = (started, finished);
    runs
}
