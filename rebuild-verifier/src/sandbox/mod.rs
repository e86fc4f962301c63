//! Where a build runs: a table of backends with one contract.
//!
//! A backend runs one command of one [`Job`] with no network, no other processes in sight, nothing
//! of the machine writable, and kills everything it started before it returns. What a command that
//! ended well has put into [`OUT_DIR`] is then in [`Job::out`].

mod bwrap;
mod cgroup;
mod exec;
mod export;
mod log;
pub(crate) mod mock;
mod process;
mod root;
mod stage;
mod traps;
pub(crate) mod users;

pub(crate) use cgroup::JobCgroup;
pub use cgroup::sweep as sweep_cgroups;
pub use log::{LogKeeper, tail as log_tail};
pub use process::Cancel;
pub(crate) use process::{Watch, supervise};
pub use root::is_visible;
pub(crate) use root::make_passable_dir;
pub use stage::try_overlay;

use repo_model::buildinfo::Identity;
use repo_model::config::RebuilderConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What one build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest run, seconds.
    pub build_secs: u64,
    /// Memory, bytes. Scratch space is in memory and counts as well.
    pub memory_bytes: u64,
    /// Scratch space, and separately the packages that come out, bytes.
    pub disk_bytes: u64,
    /// Processes and threads at one time.
    pub max_processes: u64,
    /// Longest log that is kept, bytes: its first and its last half.
    pub log_bytes: u64,
}

impl Limits {
    /// The limits in `[rebuilder]`.
    pub fn from_config(config: &RebuilderConfig) -> Self {
        Self {
            build_secs: config.build_secs,
            memory_bytes: config.memory_bytes,
            disk_bytes: config.disk_bytes,
            max_processes: config.max_processes,
            log_bytes: config.log_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from_config(&RebuilderConfig::default())
    }
}

/// What a job asks for beyond what every backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// The command may write into its root, which must be a layer: into an overlay that ends with it.
    /// Where the kernel refuses that the root is read-only, and [`Ended::overlay`] says so.
    pub overlay: bool,
    /// Directories below [`HOME_DIR`] list their entries in reverse. A backend that cannot do that
    /// answers [`SandboxError::Tool`].
    pub reversed: bool,
}

/// One command to run.
#[derive(Debug)]
pub struct Job<'a> {
    /// Scratch directory of this job, ours alone; the build user must be able to pass through it.
    pub dir: &'a Path,
    /// What the command runs in: `/` is the machine's own root through an allow-list, any other
    /// directory a build root of its own, all of which is seen.
    pub root: &'a Path,
    /// Files of the machine and where they are to be seen, read-only, inside.
    pub inputs: &'a [(PathBuf, String)],
    /// Directory that gets the files of [`OUT_DIR`] when the command has ended with status 0. Only
    /// regular files not deeper than two directories; links and all else stay behind.
    pub out: &'a Path,
    /// What backends of that kind are started by, see [`choose`].
    pub backend_command: &'a [String],
    /// The command, without any shell.
    pub command: &'a [String],
    /// The whole environment.
    pub env: &'a BTreeMap<String, String>,
    /// Names and numbers that the command can see.
    pub identity: &'a Identity,
    /// What else it asks for.
    pub extras: Extras,
    /// What it may use.
    pub limits: &'a Limits,
    /// User that the command runs as on the machine when we are root; ignored otherwise.
    pub build_uid: u32,
    /// Where stdout and stderr go.
    pub log: &'a Path,
    /// Stops the command when set.
    pub cancel: &'a Cancel,
}

/// Home of the build inside the sandbox.
pub const HOME_DIR: &str = "/builddir";
/// Where packages come out inside the sandbox.
pub const OUT_DIR: &str = "/builddir/out";

/// A command that ran to its end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// How memory and processes were limited: `cgroup` or `weak` (rlimits only).
    pub limits: &'static str,
    /// Whether what it wrote into its root went to an overlay; `false`: it could not write there.
    pub overlay: bool,
}

/// The command did not run to its end. Never the package's verdict: what to do is in each variant.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A tool is missing. The machine's fault; `hallmark-rebuilder doctor` tells more.
    #[error("{tool} cannot be used: {why}")]
    Tool {
        /// `bwrap`, `mock`, ...
        tool: &'static str,
        /// What it said.
        why: String,
    },
    /// The sandbox could not be set up. The machine's fault.
    #[error("the sandbox could not be set up: {said}")]
    Setup {
        /// Last lines of what the tool said.
        said: String,
    },
    /// Longer than `build_secs`. Raise the limit, or the package hangs.
    #[error("the build was stopped after its limit of {secs} s")]
    Time {
        /// The limit.
        secs: u64,
    },
    /// More memory than `memory_bytes`.
    #[error("the build was stopped at its memory limit of {bytes} bytes (scratch space counts)")]
    Memory {
        /// The limit.
        bytes: u64,
    },
    /// More processes than `max_processes`, and it failed for it.
    #[error("the build ran into its limit of {processes} processes")]
    Processes {
        /// The limit.
        processes: u64,
    },
    /// More scratch space or output than `disk_bytes`.
    #[error("the build ran into its disk limit of {bytes} bytes")]
    Disk {
        /// The limit.
        bytes: u64,
    },
    /// Somebody asked to stop. Nobody's fault; try again.
    #[error("the build was stopped on request")]
    Cancelled,
    /// A file or process operation failed. The machine's fault.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl SandboxError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// One way to run a build: a row of [`REBUILD_BACKENDS`].
pub struct RebuildBackend {
    /// Name in buildinfo and statements.
    pub name: &'static str,
    /// Whether it can show builds the machine's own root. Others need a layer.
    pub host_root: bool,
    /// Names of the backends whose recorded builds it can make again: what runs in them sees the same.
    pub replays: &'static [&'static str],
    /// Version of the tool; an error when it cannot be used on this machine. Gets the same words as
    /// [`Job::backend_command`].
    pub version: fn(&[String]) -> Result<String, SandboxError>,
    /// Runs a job; nothing of it is left running when this returns, whatever it returns.
    pub run: fn(&Job<'_>) -> Result<Ended, SandboxError>,
}

/// All backends, the default first. One file and one row each.
pub static REBUILD_BACKENDS: &[RebuildBackend] = &[bwrap::BACKEND, mock::BACKEND, exec::BACKEND];

/// Added to a backend's name in buildinfos of builds that could write into their root.
const OVERLAY: &str = "+overlay";

/// `sandbox.kind` of a buildinfo: the backend's name, and whether the root was an overlay.
pub fn kind(backend: &RebuildBackend, overlay: bool) -> String {
    format!("{}{}", backend.name, if overlay { OVERLAY } else { "" })
}

/// The two parts of a `sandbox.kind`.
pub fn of_kind(kind: &str) -> (&str, bool) {
    match kind.strip_suffix(OVERLAY) {
        Some(name) => (name, true),
        None => (kind, false),
    }
}

/// The backend of this name.
pub fn backend(name: &str) -> Option<&'static RebuildBackend> {
    REBUILD_BACKENDS.iter().find(|backend| backend.name == name)
}

/// What this process builds with; chosen once.
static CHOSEN: OnceLock<(&'static RebuildBackend, Vec<String>)> = OnceLock::new();

/// The configuration names a backend that there is not. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[error("rebuilder.backend is `{found}`; known are {known}")]
pub struct UnknownBackend {
    found: String,
    known: String,
}

/// Has this process build with the configured backend instead of the first of the table. The first
/// choice holds: a second one would mix builds of two backends in one report.
pub fn choose(config: &RebuilderConfig) -> Result<(), UnknownBackend> {
    let row = backend(&config.backend).ok_or_else(|| UnknownBackend {
        found: config.backend.clone(),
        known: REBUILD_BACKENDS
            .iter()
            .map(|row| row.name)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let _ = CHOSEN.set((row, config.backend_command.clone()));
    Ok(())
}

/// The backend that this process builds with.
pub fn chosen_backend() -> &'static RebuildBackend {
    CHOSEN.get().map_or(&REBUILD_BACKENDS[0], |(row, _)| row)
}

/// The words that the chosen backend is started by.
pub fn backend_command() -> &'static [String] {
    CHOSEN.get().map_or(&[], |(_, words)| words)
}

/// Version of the chosen backend's tool.
pub fn backend_version() -> Result<String, SandboxError> {
    (chosen_backend().version)(backend_command())
}

/// Whether this process is root, so that builds must be given another user.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether resource limits can be enforced by cgroups here.
pub fn has_cgroups() -> bool {
    cgroup::JobCgroup::create(&Limits::default()).is_some()
}
