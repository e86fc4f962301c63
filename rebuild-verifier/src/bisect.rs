//! Why a package does not come out the same: it is built again with one factor changed at a time, and
//! each file that differs is told by the factors that change it.
//!
//! Two plain builds come first. A factor that is *varied* is built once and compared with the first of
//! them: files that only then differ depend on it. A factor that is *held still* is built twice: files
//! that differed between the plain builds and now do not, differed for it.

use crate::build::{self, BuildError, BuildRequest, BuiltPackage, Input, QUOTED, Run};
use crate::buildroot::Root;
use crate::compare::{self, CompareError, Context, Facts, set_cause};
use crate::plan::{self, Plan};
use crate::profile;
use crate::sandbox::SandboxError;
use crate::scratch::Scratch;
use crate::shift;
use repo_model::Nevra;
use repo_model::bisection::{Bisection, Difference, SCHEMA, Trial, TriedFactor};
use repo_model::verdict::Cause;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The builds give way to everything else on the machine.
const LOW_PRIORITY: [&str; 3] = ["nice", "-n", "10"];
/// Place of a difference that has neither file nor tag.
const WHOLE_PACKAGE: &str = "(package)";

/// A row of [`FACTORS`].
pub struct Factor {
    /// Name in the report.
    pub name: &'static str,
    /// What of the build it is.
    pub title: &'static str,
    /// How it is tried.
    pub trial: Trial,
    /// Changes the plan; an error says why this machine cannot.
    change: Change,
}

/// Changes a plan for a build root; an error says why that cannot be.
type Change = fn(&mut Plan, &Path) -> Result<(), String>;

/// All factors, in the order in which they are tried.
pub static FACTORS: &[Factor] = &[
    Factor {
        name: "host-name",
        title: "name of the machine",
        trial: Trial::Varied,
        change: |plan, _| {
            "elsewhere".clone_into(&mut plan.identity.hostname);
            Ok(())
        },
    },
    Factor {
        name: "user",
        title: "name and number of the user",
        trial: Trial::Varied,
        change: |plan, _| {
            plan.identity.uid = 2_000;
            plan.identity.gid = 2_000;
            "other".clone_into(&mut plan.identity.user);
            set(plan, "USER", "other")
        },
    },
    Factor {
        name: "build-path",
        title: "path of the build directory",
        trial: Trial::Varied,
        change: other_path,
    },
    Factor {
        name: "time-zone",
        title: "time zone",
        trial: Trial::Varied,
        change: |plan, _| set(plan, "TZ", "Pacific/Kiritimati"),
    },
    Factor {
        name: "locale",
        title: "language",
        trial: Trial::Varied,
        change: other_locale,
    },
    Factor {
        name: "cpu-count",
        title: "number of processors",
        trial: Trial::Varied,
        change: |plan, root| {
            let one = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
            if one {
                return Err("this machine has one processor".to_owned());
            }
            start_with(plan, root, profile::on_one_cpu())
        },
    },
    Factor {
        name: "kernel",
        title: "version of the kernel",
        trial: Trial::Varied,
        change: |plan, root| start_with(plan, root, profile::on_other_kernel()),
    },
    Factor {
        name: "directory-order",
        title: "order in which directories list their entries",
        trial: Trial::Varied,
        change: |plan, _| {
            profile::reverses().map_err(|error| error.to_string())?;
            plan.extras.reversed = true;
            Ok(())
        },
    },
    Factor {
        name: "date",
        title: "the day: 500 days later, for programs that load libfaketime",
        trial: Trial::Varied,
        change: |plan, root| {
            if root != Path::new("/") {
                return Err("only the machine's own root is given another day".to_owned());
            }
            match shift::put_into(plan) {
                true => Ok(()),
                false => Err("libfaketime is not installed".to_owned()),
            }
        },
    },
    Factor {
        name: "clock",
        title: "the clock, stopped",
        trial: Trial::HeldStill,
        change: |plan, root| {
            let words = ["faketime", "-f", "2030-01-01 00:00:00"];
            start_with(plan, root, words.map(str::to_owned).into())
        },
    },
    Factor {
        name: "hash-seed",
        title: "seeds of hash tables in Python and Perl",
        trial: Trial::HeldStill,
        change: |plan, _| {
            set(plan, "PYTHONHASHSEED", "0")?;
            set(plan, "PERL_HASH_SEED", "0")?;
            set(plan, "PERL_PERTURB_KEYS", "0")
        },
    },
    Factor {
        name: "addresses",
        title: "random addresses in memory",
        trial: Trial::HeldStill,
        change: |plan, root| start_with(plan, root, profile::at_fixed_addresses()),
    },
    Factor {
        name: "parallel-jobs",
        title: "jobs that run at the same time",
        trial: Trial::HeldStill,
        change: |plan, root| {
            set(plan, "RPM_BUILD_NCPUS", "1")?;
            start_with(plan, root, profile::on_one_cpu())
        },
    },
];

fn set(plan: &mut Plan, name: &str, value: &str) -> Result<(), String> {
    plan.env.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn start_with(plan: &mut Plan, root: &Path, words: Vec<String>) -> Result<(), String> {
    if let Some(tool) = words.first() {
        profile::installed(root, tool).map_err(|error| error.to_string())?;
    }
    plan.before.extend(words);
    Ok(())
}

fn other_path(plan: &mut Plan, _: &Path) -> Result<(), String> {
    let elsewhere = format!("_topdir {}/elsewhere/build", crate::sandbox::HOME_DIR);
    let here = format!("_topdir {}", plan::BUILD_PATH);
    match plan.argv.iter_mut().find(|word| **word == here) {
        Some(word) => {
            *word = elsewhere;
            Ok(())
        }
        None => Err("the plan names no build path".to_owned()),
    }
}

/// A language other than English without territory, when the root has one.
fn other_locale(plan: &mut Plan, root: &Path) -> Result<(), String> {
    if root != Path::new("/") {
        return Err("only the machine's own root is asked for languages".to_owned());
    }
    let output = std::process::Command::new("locale")
        .arg("-a")
        .output()
        .map_err(|error| format!("locale cannot be asked: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_other = |name: &&str| {
        let language = name.split(['.', '_']).next().unwrap_or_default();
        !["C", "POSIX", "en"].contains(&language)
    };
    match text.lines().map(str::trim).find(is_other) {
        Some(name) => set(plan, "LC_ALL", name),
        None => Err("no other language is installed".to_owned()),
    }
}

/// Nothing can be said: a plain build did not work, or the machine cannot build.
#[derive(Debug, thiserror::Error)]
pub enum BisectError {
    /// The build itself; see there.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The packages cannot be compared. The package's fault.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A plain build fails. The package's fault, or a dependency is missing.
    #[error("the plain build ended with status {exit_code}: {tail}")]
    Failed {
        /// rpmbuild's.
        exit_code: i32,
        /// End of the log.
        tail: String,
    },
}

/// Package and place.
type Place = (String, String);
type Differences = BTreeMap<Place, Cause>;

/// What all builds of a series share.
struct Series<'a> {
    srpm: &'a Path,
    root: &'a Root,
    request: &'a BuildRequest,
}

/// One build of the series.
struct Built {
    _scratch: Scratch,
    packages: Vec<BuiltPackage>,
    facts: Facts,
}

enum Outcome {
    Built(Box<Built>),
    Failed { exit_code: i32, tail: String },
}

/// Builds `request.srpm` under every factor. Takes at most as long as nineteen builds (eleven when two
/// plain ones are equal); nothing is written to `request.out_dir`.
pub fn bisect(request: &BuildRequest) -> Result<Bisection, BisectError> {
    let input = Input::take(request)?;
    let root = request.chosen_root()?;
    let mut plain = Plan::new(&input.source, &root.lock.rpm_version);
    plain.before = LOW_PRIORITY.map(str::to_owned).into();
    build::refuse_future(&plain)?;

    let series = Series {
        srpm: &input.srpm,
        root: &root,
        request,
    };
    let first = plain_build(&plain, &series)?;
    let second = plain_build(&plain, &series)?;
    let anyway = differences(&first, &second)?;
    drop(second);

    let mut tally = Tally::new(&anyway);
    let mut factors = Vec::with_capacity(FACTORS.len());
    for factor in FACTORS {
        tracing::info!("building with another {}", factor.title);
        let not_tried = try_factor(factor, &plain, &first, &series, &mut tally)?;
        factors.push(TriedFactor {
            name: factor.name.to_owned(),
            title: factor.title.to_owned(),
            trial: factor.trial,
            not_tried,
        });
    }
    Ok(Bisection {
        schema: SCHEMA.to_owned(),
        source: input.source.nevra,
        source_sha256: input.sha256,
        repeatable: anyway.is_empty(),
        factors,
        differences: tally.finish(),
    })
}

fn plain_build(plan: &Plan, series: &Series<'_>) -> Result<Built, BisectError> {
    match build_once(plan, series)? {
        Outcome::Built(built) => Ok(*built),
        Outcome::Failed { exit_code, tail } => Err(BisectError::Failed { exit_code, tail }),
    }
}

/// Tries one factor; the answer is why it could not be tried, if so.
fn try_factor(
    factor: &Factor,
    plain: &Plan,
    first: &Built,
    series: &Series<'_>,
    tally: &mut Tally<'_>,
) -> Result<Option<String>, BisectError> {
    if factor.trial == Trial::HeldStill && tally.anyway.is_empty() {
        return Ok(Some("two plain builds are equal".to_owned()));
    }
    let mut plan = plain.clone();
    if let Err(why) = (factor.change)(&mut plan, &series.root.dir) {
        return Ok(Some(why));
    }
    let changed = match build_once(&plan, series) {
        Ok(Outcome::Built(built)) => *built,
        Ok(Outcome::Failed { exit_code, .. }) => {
            return Ok(Some(format!("the build fails with status {exit_code}")));
        }
        // The machine has what it takes, but not for us.
        Err(BuildError::Sandbox(error @ SandboxError::Tool { .. })) => {
            return Ok(Some(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    match factor.trial {
        Trial::Varied => tally.varied(factor.name, differences(first, &changed)?),
        Trial::HeldStill => match build_once(&plan, series)? {
            Outcome::Built(again) => tally.held(factor.name, &differences(&changed, &again)?),
            Outcome::Failed { exit_code, .. } => {
                return Ok(Some(format!("the build fails with status {exit_code}")));
            }
        },
    }
    Ok(None)
}

fn build_once(plan: &Plan, series: &Series<'_>) -> Result<Outcome, BuildError> {
    let request = series.request;
    let work_dir = request.work_dir.display();
    let scratch = Scratch::create(&request.work_dir)
        .map_err(build::io(format!("make a directory below {work_dir}")))?;
    let log: PathBuf = scratch.dir().join("build.log");
    let run = Run {
        scratch: &scratch,
        limits: &request.limits,
        build_uid: request.build_uid,
        cancel: &request.cancel,
    };
    let executed = match build::execute(plan, series.root, series.srpm, &run, &log) {
        Ok(executed) => executed,
        // A limit stopped it; the machine's other troubles end the series.
        Err(BuildError::Sandbox(
            error @ (SandboxError::Time { .. }
            | SandboxError::Memory { .. }
            | SandboxError::Disk { .. }
            | SandboxError::Processes { .. }),
        )) => {
            return Ok(Outcome::Failed {
                exit_code: -1,
                tail: error.to_string(),
            });
        }
        Err(error) => return Err(error),
    };
    let exit_code = executed.ended.exit_code;
    if exit_code != 0 {
        let tail = crate::sandbox::log_tail(&log, QUOTED);
        return Ok(Outcome::Failed { exit_code, tail });
    }
    let packages = build::collect(&executed.out)?;
    let (kernel, ncpu) = profile::seen(&plan.before);
    Ok(Outcome::Built(Box::new(Built {
        _scratch: scratch,
        packages,
        facts: Facts {
            window: Some((
                executed.started.unix_secs() + plan.secs_ahead() - 5,
                executed.finished.unix_secs() + plan.secs_ahead() + 5,
            )),
            host: Some(plan.identity.hostname.clone()),
            kernel,
            ncpu,
            build_path: plan
                .argv
                .iter()
                .find_map(|word| word.strip_prefix("_topdir "))
                .map(str::to_owned),
        },
    })))
}

/// Every place in which two builds differ.
fn differences(a: &Built, b: &Built) -> Result<Differences, CompareError> {
    let names =
        |built: &Built| -> Vec<Nevra> { built.packages.iter().map(|p| p.nevra.clone()).collect() };
    let mut found = Differences::new();
    if let Some(cause) = set_cause(&names(a), &names(b)) {
        found.insert(("(set)".to_owned(), WHOLE_PACKAGE.to_owned()), cause);
    }
    let context = Context {
        expected: a.facts.clone(),
        rebuilt: b.facts.clone(),
    };
    for package in &a.packages {
        let Some(other) = b.packages.iter().find(|p| p.nevra == package.nevra) else {
            continue;
        };
        if package.file == other.file {
            continue;
        }
        let comparison = compare::compare(&package.path, &other.path, &context)?;
        for cause in comparison.causes {
            let place = cause
                .file
                .clone()
                .or_else(|| cause.tag.clone())
                .unwrap_or_else(|| WHOLE_PACKAGE.to_owned());
            found
                .entry((package.nevra.to_string(), place))
                .or_insert(cause);
        }
    }
    Ok(found)
}

/// What the factors did to each place.
struct Tally<'a> {
    anyway: &'a Differences,
    rows: BTreeMap<Place, Difference>,
}

impl<'a> Tally<'a> {
    fn new(anyway: &'a Differences) -> Self {
        let mut tally = Self {
            anyway,
            rows: BTreeMap::new(),
        };
        for (place, cause) in anyway {
            tally.row(place, cause).differs_anyway = true;
        }
        tally
    }

    fn row(&mut self, place: &Place, cause: &Cause) -> &mut Difference {
        self.rows
            .entry(place.clone())
            .or_insert_with(|| Difference {
                package: place.0.clone(),
                place: place.1.clone(),
                differs_anyway: false,
                depends_on: Vec::new(),
                still_under: Vec::new(),
                cause: cause.clone(),
            })
    }

    fn varied(&mut self, factor: &str, found: Differences) {
        for (place, cause) in found {
            if !self.anyway.contains_key(&place) {
                self.row(&place, &cause).depends_on.push(factor.to_owned());
            }
        }
    }

    fn held(&mut self, factor: &str, found: &Differences) {
        let moving: BTreeSet<&Place> = found.keys().collect();
        for (place, cause) in self.anyway {
            if !moving.contains(place) {
                self.row(place, cause).still_under.push(factor.to_owned());
            }
        }
    }

    fn finish(self) -> Vec<Difference> {
        self.rows.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_have_names_of_their_own_and_each_changes_the_plan() {
        let source = plan::SourcePackage {
            nevra: "a-1-1.src".parse().unwrap(),
            header: repo_model::HeaderDigest::of(b""),
            cookie: None,
            changelog_epoch: Some(5),
            build_time: 5,
        };
        let plain = Plan::new(&source, "4.18.0");
        let names: BTreeSet<_> = FACTORS.iter().map(|factor| factor.name).collect();
        assert_eq!(names.len(), FACTORS.len());
        for factor in FACTORS {
            let mut plan = plain.clone();
            match (factor.change)(&mut plan, Path::new("/")) {
                Ok(()) => assert_ne!(plan, plain, "{}", factor.name),
                Err(why) => assert!(
                    why.contains("install") || why.contains("processor"),
                    "{why}"
                ),
            }
        }
    }
}
