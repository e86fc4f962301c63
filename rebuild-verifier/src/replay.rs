//! Making a recorded build again: first every reason why the result would say nothing, then the build.

use crate::build::{self, BuildError, BuiltPackage, Run};
use crate::buildroot::{self, LayerError, Root, Store};
use crate::mock_plan;
use crate::plan::{self, Plan, RootError, SourceError, SourcePackage};
use crate::sandbox;
use crate::scratch;
use repo_model::buildinfo::BuildInfo;
use repo_model::{FileDigest, HeaderDigest, Timestamp};
use std::path::Path;

/// A recorded build cannot be made again here, so nothing can be said of it. Never a mismatch.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Another source package than the buildinfo's. Whoever brought them together is at fault.
    #[error("the source package is {found}, but the buildinfo is of {wanted}")]
    OtherSource {
        /// The file's digest.
        found: FileDigest,
        /// The buildinfo's.
        wanted: FileDigest,
    },
    /// The digests of the buildinfo contradict each other. The builder's fault; do not retry.
    #[error("the source package's header is {found}, but the buildinfo says {wanted}")]
    OtherSourceHeader {
        /// The file's.
        found: HeaderDigest,
        /// The buildinfo's.
        wanted: HeaderDigest,
    },
    /// The macro text is not what its digest says. The builder's fault; do not retry.
    #[error("the buildinfo's macro text has digest {found}, but it says {wanted}")]
    MacroDigest {
        /// Of the text.
        found: FileDigest,
        /// Claimed.
        wanted: FileDigest,
    },
    /// Built in a way that this version does not replay. A rebuilder of the builder's version may.
    #[error("the build's {what} is {wanted:?}; this rebuilder would use {found:?}")]
    OtherPlan {
        /// `mode`, `macro file`, `build path`, ...
        what: String,
        /// In the buildinfo.
        wanted: String,
        /// Here.
        found: String,
    },
    /// This machine has other packages installed. Retry on one with the builder's packages.
    #[error(
        "this rebuilder's root is another one: its lock is {found} ({packages} packages), the build's is {wanted}{}",
        toolchain(differing)
    )]
    OtherRoot {
        /// Here.
        found: FileDigest,
        /// Packages here.
        packages: u32,
        /// In the buildinfo.
        wanted: FileDigest,
        /// Packages that shape what is built and are others here: `has X, the build had Y`.
        differing: Vec<String>,
    },
    /// The layer that the build ran in cannot be had here; see there whether to retry.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The source package cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The root cannot be found out.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Where builds are made again on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Scratch space.
    pub work_dir: &'a Path,
    /// User that builds run as when we are root.
    pub build_uid: u32,
    /// Where layers of locked packages are kept.
    pub store: &'a Store,
}

/// A build that can be made again here: how, and in what.
#[derive(Debug, Clone)]
pub struct Ready {
    /// How; a challenge profile may be put into it.
    pub plan: Plan,
    /// In what.
    pub root: Root,
}

/// Checks that building `srpm` here is making the build of `info` again, and tells how.
///
/// Looks at source package, mode, options, macros (file and values), environment, identity, times,
/// build path, rpm and the root's lock. Machine and sandbox version are for diagnosis and not compared.
/// A layer that is not there yet is made.
pub fn check(info: &BuildInfo, srpm: &Path, site: &Site<'_>) -> Result<Ready, ReplayError> {
    let source = same_source(info, srpm)?;
    let found = FileDigest::of(info.macros.text.as_bytes());
    if found != info.macros.file_sha256 {
        return Err(ReplayError::MacroDigest {
            found,
            wanted: info.macros.file_sha256,
        });
    }
    // The cheap questions first: a layer takes seconds to make.
    let root = match info.buildroot.kind.as_str() {
        buildroot::HOST => Root::host().map_err(RootError::from)?,
        _ => {
            same_plan(info, &plan_of(info, &source, &info.rpmbuild.version)?)?;
            site.store.layer_of(&info.buildroot)?
        }
    };
    let mut plan = plan_of(info, &source, &root.lock.rpm_version)?;
    plan.extras.overlay = sandbox::of_kind(&info.sandbox.kind).1;
    same_plan(info, &plan)?;
    same(
        "rpm version",
        &info.rpmbuild.version,
        &root.lock.rpm_version,
    )?;
    if info.buildroot.lock_sha256 != root.lock.sha256 {
        return Err(ReplayError::OtherRoot {
            found: root.lock.sha256,
            packages: root.lock.packages,
            wanted: info.buildroot.lock_sha256,
            differing: differing(&info.buildroot.toolchain, &root.lock.toolchain),
        });
    }
    let evaluated = plan::evaluate(&plan, &root, site.work_dir, site.build_uid)?;
    let names = info.macros.evaluated.keys().chain(evaluated.keys());
    for name in names {
        let value = |values: &std::collections::BTreeMap<String, String>| {
            values
                .get(name)
                .cloned()
                .unwrap_or_else(|| "not defined".to_owned())
        };
        same(
            &format!("macro %{name}"),
            &value(&info.macros.evaluated),
            &value(&evaluated),
        )?;
    }
    Ok(Ready { plan, root })
}

fn same_source(info: &BuildInfo, srpm: &Path) -> Result<SourcePackage, ReplayError> {
    let (digest, _) = scratch::hash_file(srpm).map_err(|source| ReplayError::Io {
        path: srpm.to_owned(),
        source,
    })?;
    if digest != info.source.sha256 {
        return Err(ReplayError::OtherSource {
            found: digest,
            wanted: info.source.sha256,
        });
    }
    let source = plan::read_source(srpm)?;
    if source.header != info.source.header_sha256 {
        return Err(ReplayError::OtherSourceHeader {
            found: source.header,
            wanted: info.source.header_sha256,
        });
    }
    Ok(source)
}

/// What the build had of the toolchain and this machine has not, each with what is here instead.
fn differing(wanted: &[String], found: &[String]) -> Vec<String> {
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let missing = wanted.iter().filter(|line| !found.contains(line));
    missing
        .map(|line| {
            let here = found.iter().find(|other| name(other) == name(line));
            match here {
                Some(here) => format!("has {here}, the build had {line}"),
                None => format!("lacks {line}"),
            }
        })
        .collect()
}

/// The first few of them, for the end of a message.
fn toolchain(differing: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for line in differing.iter().take(SHOWN) {
        text.push_str("; this machine ");
        text.push_str(line);
    }
    if differing.len() > SHOWN {
        text.push_str(&format!("; and {} more", differing.len() - SHOWN));
    }
    text
}

/// What this version does with a source package in the way of the recorded build: its own, or mock's.
fn plan_of(
    info: &BuildInfo,
    source: &SourcePackage,
    rpm_version: &str,
) -> Result<Plan, ReplayError> {
    let Some(mode) = mock_plan::mode(&info.rpmbuild.mode) else {
        return Ok(Plan::new(source, rpm_version));
    };
    if let Some(why) = mock_plan::objection(&info.macros.text) {
        same("macro file", &why, "macros of this version, and names")?;
    }
    let target = &info.rpmbuild.target;
    if !mock_plan::is_target(target) {
        same("target", target, std::env::consts::ARCH)?;
    }
    Ok(mock_plan::plan(source, mode, target, &info.macros.text))
}

fn same_plan(info: &BuildInfo, plan: &Plan) -> Result<(), ReplayError> {
    same("mode", &info.rpmbuild.mode, plan.mode)?;
    if ![buildroot::HOST, buildroot::DNF].contains(&info.buildroot.kind.as_str()) {
        let known = format!("{} or {}", buildroot::HOST, buildroot::DNF);
        same("kind of build root", &info.buildroot.kind, &known)?;
    }
    let (kind, backend) = (
        sandbox::of_kind(&info.sandbox.kind).0,
        sandbox::chosen_backend(),
    );
    if !backend.replays.contains(&kind) {
        same("kind of sandbox", kind, backend.name)?;
    }
    same("network", &info.sandbox.network, "none")?;
    same("build path", &info.sandbox.build_path, plan::BUILD_PATH)?;
    same("macro file", &info.macros.text, &plan.macros)?;
    same(
        "list of rpmbuild options",
        &info.rpmbuild.argv.join(" "),
        &plan.argv.join(" "),
    )?;
    same(
        "environment",
        &format!("{:?}", info.env),
        &format!("{:?}", plan.env),
    )?;
    same(
        "identity",
        &format!("{:?}", info.identity),
        &format!("{:?}", plan.identity),
    )?;
    same(
        "time rule",
        &format!("{:?}", info.time),
        &format!("{:?}", plan.time),
    )
}

fn same(what: &str, wanted: &str, found: &str) -> Result<(), ReplayError> {
    if wanted == found {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(300).collect::<String>();
    Err(ReplayError::OtherPlan {
        what: what.to_owned(),
        wanted: short(wanted),
        found: short(found),
    })
}

/// What making a build again gave.
#[derive(Debug)]
pub struct Rebuilt {
    /// rpmbuild's exit status; packages are there only when it is 0.
    pub exit_code: i32,
    /// Why there are no packages, when there are none: in words for the cause of the verdict.
    pub failure: Option<String>,
    /// The packages, sorted by NEVRA, below the scratch directory.
    pub packages: Vec<BuiltPackage>,
    /// Its root was read-only, that of the recorded build was not: only what confirms the build counts, see
    /// [`Rebuilt::tells`].
    pub narrow: bool,
    /// How limits were enforced: `cgroup` or `weak`.
    pub limits: &'static str,
    /// Start of rpmbuild.
    pub started: Timestamp,
    /// End of rpmbuild.
    pub finished: Timestamp,
}

impl Rebuilt {
    /// Whether a verdict on the build may be told: a build that could not write into its root, as the recorded
    /// one could, may have come out otherwise for that alone.
    ///
    /// * `confirms`: all of its packages confirm the recorded ones.
    pub fn tells(&self, confirms: bool) -> Result<(), BuildError> {
        match self.narrow && !confirms {
            true => Err(BuildError::NarrowRoot {
                exit_code: self.exit_code,
            }),
            false => Ok(()),
        }
    }
}

/// Carries out what [`check`] gave, on the same `srpm`, which must lie in the run's scratch space.
///
/// A failing rpmbuild is a result, and so is one that leaves no usable packages; but not one that fails
/// in a root that is read-only here and was not when the build was recorded. Whether a result of such a root may
/// be told is known after the comparison: ask [`Rebuilt::tells`].
pub fn replay(
    ready: &Ready,
    srpm: &Path,
    run: &Run<'_>,
    log: &Path,
) -> Result<Rebuilt, BuildError> {
    build::refuse_future(&ready.plan)?;
    let executed = build::execute(&ready.plan, &ready.root, srpm, run, log)?;
    let exit_code = executed.ended.exit_code;
    let narrow =
        ready.plan.extras.overlay && ready.root.kind == buildroot::DNF && !executed.ended.overlay;
    if exit_code != 0 && narrow {
        return Err(BuildError::NarrowRoot { exit_code });
    }
    let (packages, failure) = if exit_code == 0 {
        match build::collect(&executed.out) {
            Ok(packages) => (packages, None),
            Err(BuildError::Output { what }) => {
                (Vec::new(), Some(format!("the build left {what}")))
            }
            Err(error) => return Err(error),
        }
    } else {
        let said = format!("rpmbuild ended with status {exit_code}; its log is attached");
        (Vec::new(), Some(said))
    };
    Ok(Rebuilt {
        exit_code,
        failure,
        packages,
        narrow,
        limits: executed.ended.limits,
        started: executed.started,
        finished: executed.finished,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_in_a_narrower_root_only_ever_confirms() {
        for (narrow, confirms, tells) in [
            (false, false, true),
            (false, true, true),
            (true, true, true),
            (true, false, false),
        ] {
            let rebuilt = Rebuilt {
                exit_code: 0,
                failure: None,
                packages: Vec::new(),
                narrow,
                limits: "weak",
                started: Timestamp::from_unix_secs(0),
                finished: Timestamp::from_unix_secs(1),
            };
            let told = rebuilt.tells(confirms);
            assert_eq!(told.is_ok(), tells, "{narrow} {confirms}");
            assert!(matches!(
                told,
                Ok(()) | Err(BuildError::NarrowRoot { exit_code: 0 })
            ));
        }
    }
}
