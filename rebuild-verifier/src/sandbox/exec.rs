//! Backend `exec`: a program of the operator's runs the build, in a virtual machine for example.
//!
//! It is called with one argument, a directory that holds `job.json`:
//!
//! ```json
//! {"schema":"hallmark-exec-job/1","root":"/","home":"/builddir",
//!  "inputs":[{"path":"/w/in.src.rpm","inside":"/builddir/in.src.rpm"}],
//!  "out":"/w/out","out_inside":"/builddir/out","command":["rpmbuild","…"],"env":{"LC_ALL":"C.UTF-8"},
//!  "identity":{"hostname":"mockbuild","uid":1000,"gid":1000,"user":"mockbuild","umask":"0022"},
//!  "limits":{"build_secs":3600,"memory_bytes":4294967296,"disk_bytes":8589934592,"max_processes":4096},
//!  "build_uid":65534}
//! ```
//!
//! * It runs `command` with exactly `env` in a root like `root`, where `inputs` are seen read-only,
//!   `home` is empty and writable, and there is no network.
//! * What it prints is the build's log. Its standard input is at its end or stays silent.
//! * When the command has ended it writes `result.json` beside `job.json`: `{"exit_code":0,"limits":
//!   "cgroup"}` (or `"weak"`), and when that is 0 it has put the files of `out_inside` into `out`.
//! * It ends with status 0 whatever the command's was; anything else, or no result, means that nothing
//!   can be said. At a limit on time it is killed with its process group (SIGKILL): what it started must
//!   not outlive it.

use super::process::{self, Watch};
use super::{Ended, HOME_DIR, Job, OUT_DIR, RebuildBackend, SandboxError, log};
use repo_model::buildinfo::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The row of this backend.
pub const BACKEND: RebuildBackend = RebuildBackend {
    name: "exec",
    host_root: true,
    replays: &["exec"],
    version,
    run,
};

/// Longest result that is read, bytes.
const MAX_RESULT: usize = 4 << 10;

#[derive(Serialize)]
struct ExecJob<'a> {
    schema: &'static str,
    root: &'a Path,
    home: &'static str,
    inputs: Vec<Input<'a>>,
    out: &'a Path,
    out_inside: &'static str,
    command: &'a [String],
    env: &'a BTreeMap<String, String>,
    identity: &'a Identity,
    limits: ExecLimits,
    build_uid: u32,
}

#[derive(Serialize)]
struct Input<'a> {
    path: &'a Path,
    inside: &'a str,
}

#[derive(Serialize)]
struct ExecLimits {
    build_secs: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    max_processes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecResult {
    exit_code: i32,
    limits: String,
}

/// What the program says to `--version`, first line.
fn version(program: &[String]) -> Result<String, SandboxError> {
    let unusable = |why: String| SandboxError::Tool { tool: "exec", why };
    let output = command(program)?
        .arg("--version")
        .output()
        .map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.chars().take(80).collect()),
        _ => Err(unusable("it does not answer --version".to_owned())),
    }
}

fn command(program: &[String]) -> Result<Command, SandboxError> {
    let (first, rest) = program.split_first().ok_or_else(|| SandboxError::Tool {
        tool: "exec",
        why: "rebuilder.backend_command is not set".to_owned(),
    })?;
    let mut command = Command::new(first);
    command.args(rest);
    Ok(command)
}

fn run(job: &Job<'_>) -> Result<Ended, SandboxError> {
    if job.extras.reversed {
        return Err(SandboxError::Tool {
            tool: "exec",
            why: "the order of directories cannot be asked for".to_owned(),
        });
    }
    let mut program = command(job.backend_command)?;
    let description = ExecJob {
        schema: "hallmark-exec-job/1",
        root: job.root,
        home: HOME_DIR,
        inputs: job
            .inputs
            .iter()
            .map(|(path, inside)| Input { path, inside })
            .collect(),
        out: job.out,
        out_inside: OUT_DIR,
        command: job.command,
        env: job.env,
        identity: job.identity,
        limits: ExecLimits {
            build_secs: job.limits.build_secs,
            memory_bytes: job.limits.memory_bytes,
            disk_bytes: job.limits.disk_bytes,
            max_processes: job.limits.max_processes,
        },
        build_uid: job.build_uid,
    };
    let json = serde_json::to_vec_pretty(&description).unwrap_or_default();
    let path = job.dir.join("job.json");
    fs::write(&path, json).map_err(SandboxError::io(format!("write {}", path.display())))?;
    program.arg(job.dir);
    let status = process::supervise(
        program,
        Watch {
            log: job.log,
            out: Some(job.out),
            scratch: None,
            limits: job.limits,
            cancel: job.cancel,
        },
    )?;
    if !status.success() {
        return Err(SandboxError::Setup {
            said: format!(
                "the program ended with {status}: {}",
                log::tail(job.log, 400).trim()
            ),
        });
    }
    result(&job.dir.join("result.json"))
}

fn result(path: &Path) -> Result<Ended, SandboxError> {
    let json = fs::read(path).map_err(SandboxError::io(format!("read {}", path.display())))?;
    let result: Option<ExecResult> = (json.len() <= MAX_RESULT)
        .then(|| serde_json::from_slice(&json).ok())
        .flatten();
    let unusable = SandboxError::Setup {
        said: format!("{} is no result of a job", path.display()),
    };
    match result {
        Some(ExecResult { exit_code, limits }) if limits == "cgroup" => Ok(Ended {
            exit_code,
            limits: "cgroup",
            overlay: false,
        }),
        Some(ExecResult { exit_code, limits }) if limits == "weak" => Ok(Ended {
            exit_code,
            limits: "weak",
            overlay: false,
        }),
        _ => Err(unusable),
    }
}
