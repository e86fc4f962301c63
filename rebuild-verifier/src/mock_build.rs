//! Recording a build that mock makes: `hallmark buildinfo --mock CONFIG`.
//!
//! The configuration is the operator's; what has to be the same wherever the build is made again (names, times,
//! environment, network) is set after it. mock runs twice:
//!
//! 1. `--calculate-build-dependencies`, with network: installs the build requirements and lists the whole root in
//!    `buildroot_lock.json`. Its packages are fetched and locked by digest, and a layer is made of them: what cannot be
//!    made again is noticed now.
//! 2. `--rebuild`, without network whatever mock's isolation, in the root of the first run.
//!
//! mock's root lies on the disk here and counts as scratch space. What the build could have changed in it is read
//! like anything else that a build leaves: no more of it than there should be, and through no link.
//!
//! What came out is recorded as a build in that layer, in mock's way of calling rpmbuild ([`crate::mock_plan`]).

use crate::build::{
    self, BuildError, BuildRequest, Description, Destination, Input, QUOTED, Recorded,
};
use crate::buildroot::{LayerError, LockFile, Root, Store};
use crate::mock_lock::{self, MockLockError};
use crate::mock_plan::{self, Call};
use crate::plan::{self, Plan, SourcePackage};
use crate::sandbox::{self, JobCgroup, SandboxError, Watch, mock, users};
use repo_model::buildinfo::Sandbox;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The lock that mock writes.
const LOCK: &str = "buildroot_lock.json";
/// After [`mock::PRIVATE`]: lends mock our users, then runs it. Not `exec`: process 1 of a namespace gets no signals
/// of its own.
const SCRIPT: &str = r#"for file in passwd group; do mount --bind "$1/$file" "/etc/$file" || exit 97; done
shift; "$@" </dev/null; exit $?"#;
/// Longest macro file of mock's, bytes.
const MACROS_BYTES: u64 = 64 << 10;

/// What to build with mock.
#[derive(Debug)]
pub struct MockRequest {
    /// Source package, output, limits. Its root is not asked: mock makes one.
    pub build: BuildRequest,
    /// A `.cfg` file, or a name below mock's own configurations: `fedora-42-x86_64`.
    pub config: String,
    /// mock and its options; empty: what is in the path.
    pub program: Vec<String>,
    /// Where the packages of the root are kept.
    pub store: Store,
}

/// mock made no build that can be made again.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// The source package, the sandbox or what came out; see there whether to retry.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// mock did not get the root or the packages done. Its log tells whose fault it is.
    #[error("mock {step} ended with status {exit_code}; its logs are {log}*; its end: {tail}")]
    Mock {
        /// `--calculate-build-dependencies` or `--rebuild`.
        step: &'static str,
        /// Its exit status.
        exit_code: i32,
        /// What it said.
        log: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// Its list of the root's packages cannot be used.
    #[error("mock's {LOCK} cannot be used")]
    Lock(#[from] MockLockError),
    /// The root cannot be made again; see there whether to retry.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The configuration makes mock build in a way that is not replayed. The operator's fault.
    #[error("the build cannot be replayed: {why}")]
    NotReplayed {
        /// What is other than it has to be.
        why: String,
    },
}

impl From<SandboxError> for MockError {
    fn from(error: SandboxError) -> Self {
        Self::Build(error.into())
    }
}

fn io(action: String) -> impl FnOnce(std::io::Error) -> MockError {
    |source| build::io(action)(source).into()
}

/// Builds a source package with mock and writes what [`build::record`] writes. Needs root.
pub fn record(request: &MockRequest) -> Result<Recorded, MockError> {
    let build = &request.build;
    // Whether it is there at all, before anything is copied.
    let version = (mock::BACKEND.version)(&request.program)?;
    let input = Input::take(build)?;
    build::refuse_future(&Plan::new(&input.source, ""))?;
    let destination = Destination::create(&build.out_dir, &input.source)?;

    let site = Site::create(request, &input)?;
    site.run(&CALCULATE, &input.srpm, &destination.log)?;
    let root = site.lock()?;
    let started = build::now();
    let limits = site.run(&REBUILD, &input.srpm, &destination.log)?;
    let finished = build::now();
    let plan = site.plan(&input.source)?;
    let evaluated =
        plan::evaluate(&plan, &root, &build.work_dir, build.build_uid).map_err(BuildError::from)?;
    let built = build::collect(&site.packages()?)?;
    let description = Description {
        input: &input,
        plan: &plan,
        root: &root,
        evaluated,
        sandbox: Sandbox {
            kind: mock::BACKEND.name.to_owned(),
            version,
            network: "none".to_owned(),
            build_path: plan::BUILD_PATH.to_owned(),
            limits: limits.to_owned(),
        },
    };
    Ok(destination.put(description, &built, (started, finished))?)
}

/// One of the two runs.
struct Step {
    option: &'static str,
    result: &'static str,
    before: &'static [&'static str],
    network: bool,
}

static CALCULATE: Step = Step {
    option: "--calculate-build-dependencies",
    result: "first",
    before: &[],
    network: true,
};

static REBUILD: Step = Step {
    option: "--rebuild",
    result: "second",
    before: &["--no-clean", "--offline"],
    network: false,
};

/// Where mock builds, below the scratch directory.
struct Site<'a> {
    request: &'a MockRequest,
    dir: &'a Path,
    /// mock's own settings are those of this plan.
    plan: Plan,
}

impl<'a> Site<'a> {
    fn create(request: &'a MockRequest, input: &'a Input) -> Result<Self, MockError> {
        let site = Self {
            request,
            dir: input.scratch.dir(),
            plan: Plan::new(&input.source, ""),
        };
        let identity = &site.plan.identity;
        users::write(site.dir, identity)?;
        for step in [&CALCULATE, &REBUILD] {
            let dir = site.dir.join(step.result);
            fs::create_dir(&dir)
                .and_then(|()| chown(&dir, Some(identity.uid), Some(identity.gid)))
                .map_err(io(format!("make {}", dir.display())))?;
        }
        let config = site.config();
        fs::write(&config, site.settings())
            .and_then(|()| fs::set_permissions(&config, fs::Permissions::from_mode(0o644)))
            .map_err(io(format!("write {}", config.display())))?;
        Ok(site)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("hallmark.cfg")
    }

    /// The operator's configuration, and after it what it cannot choose.
    fn settings(&self) -> String {
        let config = &self.request.config;
        // mock finds names beside its own configurations.
        let included = match config.strip_suffix(".cfg") {
            Some(_) => std::path::absolute(config)
                .unwrap_or_else(|_| config.into())
                .to_string_lossy()
                .into_owned(),
            None => format!("{config}.cfg"),
        };
        let base = mock::python(&self.dir.join("base").to_string_lossy());
        let mut text = format!(
            "include({})\n\
             config_opts['root'] = 'hallmark'\n\
             config_opts['basedir'] = {base}\n\
             config_opts['rootdir'] = '{{{{basedir}}}}/{{{{root}}}}/root'\n\
             config_opts['isolation'] = 'simple'\n\
             config_opts['plugin_conf']['root_cache_enable'] = False\n\
             config_opts['plugin_conf']['buildroot_lock_enable'] = True\n",
            mock::python(&included)
        );
        for (name, value) in mock_plan::macros() {
            text.push_str(&format!(
                "config_opts['macros'][{}] = {}\n",
                mock::python(&name),
                mock::python(value)
            ));
        }
        text.push_str(&mock::settings(&self.plan.env, &self.plan.identity));
        text
    }

    /// Runs mock and keeps its logs beside `log`; how limits were enforced.
    fn run(&self, step: &Step, srpm: &Path, log: &Path) -> Result<&'static str, MockError> {
        let build = &self.request.build;
        let group = JobCgroup::create(&build.limits);
        let result = self.dir.join(step.result);
        let mut command = mock::confined(&build.limits, group.as_ref(), step.network);
        let script = format!("{}{SCRIPT}", mock::PRIVATE);
        command.args(["/bin/sh", "-c", &script, "sh"]).arg(self.dir);
        command.args(mock::program(&self.request.program));
        command.arg("-r").arg(self.config());
        command.arg("--resultdir").arg(&result);
        command.arg("--no-cleanup-after").args(step.before);
        command.arg(step.option).arg(srpm);
        command
            .env_clear()
            .envs(mock::environment(&self.plan.identity));
        let said = self.dir.join("said");
        let ended = sandbox::supervise(
            command,
            Watch {
                log: &said,
                out: Some(&result),
                scratch: Some(&self.dir.join("base")),
                limits: &build.limits,
                cancel: &build.cancel,
            },
        );
        keep_logs(&result, &said, log);
        let status = ended?;
        if group.as_ref().is_some_and(JobCgroup::out_of_memory) {
            let bytes = build.limits.memory_bytes;
            return Err(SandboxError::Memory { bytes }.into());
        }
        if !status.success() {
            return Err(MockError::Mock {
                step: step.option,
                exit_code: status.code().unwrap_or(-1),
                log: log.to_owned(),
                tail: sandbox::log_tail(&said, QUOTED).trim().to_owned(),
            });
        }
        Ok(if group.is_some() { "cgroup" } else { "weak" })
    }

    /// A layer of the packages that mock installed.
    fn lock(&self) -> Result<Root, MockError> {
        let path = self.dir.join(CALCULATE.result).join(LOCK);
        let json = fs::read(&path).map_err(io(format!("read {}", path.display())))?;
        let store = &self.request.store;
        let lock = LockFile::new(mock_lock::locked(&json, store)?);
        Ok(store.layer_of(&lock.buildroot())?)
    }

    /// The plan that a replay follows, made of what mock really did.
    fn plan(&self, source: &SourcePackage) -> Result<Plan, MockError> {
        let not_replayed = |why: String| MockError::NotReplayed { why };
        let path = self.dir.join(REBUILD.result).join("build.log");
        let calls = fs::File::open(&path)
            .and_then(|file| mock_plan::calls(BufReader::new(file)))
            .map_err(io(format!("read {}", path.display())))?;
        let Call { mode, target } =
            mock_plan::call(&calls, &self.plan.env).map_err(not_replayed)?;
        let path = self.dir.join("base/hallmark/root/builddir/.rpmmacros");
        let macros = small_text(&path).map_err(io(format!("read {}", path.display())))?;
        if let Some(why) = mock_plan::objection(&macros) {
            return Err(not_replayed(format!("of mock's macros, {why}")));
        }
        Ok(mock_plan::plan(source, mode, target, &macros))
    }

    /// The directory of the binary packages.
    fn packages(&self) -> Result<PathBuf, MockError> {
        let result = self.dir.join(REBUILD.result);
        let entries = fs::read_dir(&result).map_err(io(format!("list {}", result.display())))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            // mock's own copy of the source package.
            let name = path.to_string_lossy();
            if [".src.rpm", ".nosrc.rpm"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                fs::remove_file(&path).map_err(io(format!("remove {}", path.display())))?;
            }
        }
        Ok(result)
    }
}

/// A text file of a build's own making: a regular file of at most [`MACROS_BYTES`], never waited for.
fn small_text(path: &Path) -> std::io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file any more"));
    }
    let mut text = String::new();
    file.take(MACROS_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MACROS_BYTES {
        let why = format!("it is longer than {MACROS_BYTES} bytes");
        return Err(std::io::Error::other(why));
    }
    Ok(text)
}

/// Copies mock's logs: its build.log to `log`, the others beside it.
fn keep_logs(result: &Path, said: &Path, log: &Path) {
    let beside = |name: &str| {
        let mut path = log.as_os_str().to_owned();
        path.push(format!(".{name}"));
        PathBuf::from(path)
    };
    // One that is not there was never begun.
    let _ = fs::copy(result.join("build.log"), log);
    let _ = fs::copy(said, beside("mock.log"));
    for name in ["root.log", "state.log"] {
        let _ = fs::copy(result.join(name), beside(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_the_build_put_in_place_of_the_macro_file_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("good"), "%a b\n").unwrap();
        assert_eq!(small_text(&path("good")).unwrap(), "%a b\n");
        symlink("good", path("link")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
        fs::write(path("long"), vec![b'a'; (64 << 10) + 1]).unwrap();
        for name in ["link", "zero", "pipe", "long", "."] {
            assert!(small_text(&path(name)).is_err(), "{name}");
        }
    }
}
