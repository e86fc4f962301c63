//! Backend `bwrap`: bubblewrap with every namespace, below an unprivileged user.
//!
//! bubblewrap started by root with `--uid 1000` would map its 1000 to the machine's root. So root
//! first becomes the build user for good (`setpriv`), and only then is the user namespace made.

use super::cgroup::JobCgroup;
use super::process::{self, Watch};
use super::stage::{self, Stage};
use super::{Ended, HOME_DIR, Job, OUT_DIR, RebuildBackend, SandboxError, export, log, root};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// The row of this backend.
pub const BACKEND: RebuildBackend = RebuildBackend {
    name: "bwrap",
    host_root: true,
    // What mock ran was one command in the same layer: see `crate::mock_build`.
    replays: &["bwrap", "mock"],
    version,
    run,
};

/// First thing inside: waits for [`process::supervise`] to say go, or ends with it. What shells add
/// to the environment is taken out again.
///
/// bubblewrap kills what is inside when its parent dies, but not before it has asked the kernel for
/// that. Once this line runs it has; a rebuilder that died earlier never says go.
///
/// The output directory is a tmpfs that ends with the sandbox: when the command has ended well, what
/// lies there is written to descriptor 4, which the command itself does not get. See [`export`].
const GATE: &str = r#"echo "$0"; read -r go || exit 98
/usr/bin/env -u PWD -u OLDPWD -u SHLVL -u _ "$@" </dev/null 4>&-
code=$?; [ "$code" = 0 ] && cd /builddir/out || exit "$code"
for file in * */* */*/*; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  printf '%s %s\n' "$(wc -c <"$file")" "$file" && cat "$file" || exit 96
done >&4"#;
/// Joins the control groups, opens bwrap's status file and the export, then becomes the command.
const WRAPPER: &str = r#"umask 022; exec 3>"$1" 4>"$2" || exit 97; shift 2
while [ "$1" != -- ]; do echo $$ >"$1" || exit 97; shift; done; shift; exec "$@""#;
/// Options without which the sandbox would hold less than it promises.
static WANTED: &[&str] = &[
    "--unshare-cgroup",
    "--json-status-fd",
    "--die-with-parent",
    "--size",
    "--clearenv",
];
/// `/tmp` and its like may each grow to this, bytes, when the limit is not lower.
const SMALL_TMPFS: u64 = 64 << 20;
/// Of the log's end, what is searched and quoted, bytes.
const TAIL: u64 = 4 << 10;

struct Tool {
    version: String,
    disable_userns: bool,
}

/// The installed bubblewrap, asked once.
fn tool() -> Result<&'static Tool, SandboxError> {
    static TOOL: OnceLock<Result<Tool, String>> = OnceLock::new();
    TOOL.get_or_init(ask_tool)
        .as_ref()
        .map_err(|why| SandboxError::Tool {
            tool: "bwrap",
            why: why.clone(),
        })
}

fn ask_tool() -> Result<Tool, String> {
    let said = |argument: &str| -> Result<String, String> {
        let output = Command::new("bwrap")
            .arg(argument)
            .output()
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr))
    };
    let help = said("--help")?;
    if let Some(missing) = WANTED.iter().find(|option| !help.contains(**option)) {
        return Err(format!(
            "it has no {missing}; version 0.8 or later is needed"
        ));
    }
    let version = said("--version")?;
    Ok(Tool {
        version: version
            .split_whitespace()
            .last()
            .unwrap_or("unknown")
            .to_owned(),
        disable_userns: help.contains("--disable-userns"),
    })
}

fn version(_: &[String]) -> Result<String, SandboxError> {
    tool().map(|tool| tool.version.clone())
}

fn run(job: &Job<'_>) -> Result<Ended, SandboxError> {
    // Asked for each job: one refusal, for want of memory perhaps, must not narrow all later ones.
    if job.extras.overlay && job.root != Path::new("/") {
        match attempt(job, true)? {
            End::Itself(ended) => return Ok(ended),
            End::NoOverlay => {
                tracing::info!("no overlay could be mounted: the root of this job is read-only");
            }
        }
    }
    match attempt(job, false)? {
        End::Itself(ended) => Ok(ended),
        End::NoOverlay => Err(SandboxError::Setup {
            said: "an overlay that nobody asked for was refused".to_owned(),
        }),
    }
}

/// How a start of bubblewrap ended.
enum End {
    /// The command ran to its end.
    Itself(Ended),
    /// Nothing ran: the kernel refused the overlay.
    NoOverlay,
}

fn attempt(job: &Job<'_>, overlay: bool) -> Result<End, SandboxError> {
    let stage = (overlay || job.extras.reversed)
        .then(|| {
            let layer = overlay.then_some(job.root);
            Stage::create(job.dir, layer, job.extras.reversed, job.limits.disk_bytes)
        })
        .transpose()?;
    let arguments = arguments(job, tool()?, stage.as_ref())?;
    let group = JobCgroup::create(job.limits);
    let status = job.dir.join("bwrap.status");
    let exported = job.dir.join("bwrap.export");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", WRAPPER, "sh"])
        .arg(&status)
        .arg(&exported);
    command
        .args(group.iter().flat_map(JobCgroup::joins))
        .arg("--");
    command.arg("setpriv").args(as_build_user(job.build_uid));
    command
        .arg("prlimit")
        .args(["--core=0", &format!("--fsize={}", job.limits.disk_bytes)]);
    if group.is_none() {
        command.arg(format!("--nproc={}", job.limits.max_processes));
    }
    command.args(stage.iter().flat_map(Stage::words));
    command
        .arg("bwrap")
        .args(arguments)
        .args(["--", "/bin/sh", "-c", GATE, process::READY])
        .args(job.command);
    let watch = Watch {
        log: job.log,
        out: None,
        scratch: None,
        limits: job.limits,
        cancel: job.cancel,
    };
    let ended = process::supervise(command, watch)?;
    let limits = if group.is_some() { "cgroup" } else { "weak" };
    let exit_code = match judge(job, group.as_ref(), exit_code(&status)) {
        // Nothing ran; was it for want of what was to be mounted before?
        Err(SandboxError::Setup { said }) => match ended.code() {
            Some(stage::NO_OVERLAY) if overlay => return Ok(End::NoOverlay),
            Some(stage::NO_ORDER) if job.extras.reversed => {
                return Err(SandboxError::Tool {
                    tool: "disorderfs",
                    why: said,
                });
            }
            _ => return Err(SandboxError::Setup { said }),
        },
        judged => judged?,
    };
    if exit_code == 0 {
        export::unpack(&exported, job.out)?;
    }
    let _ = fs::remove_file(&exported);
    Ok(End::Itself(Ended {
        exit_code,
        limits,
        overlay,
    }))
}

/// Options of `setpriv` that let a command end with us, and make it the build user for good when we are
/// root.
pub fn as_build_user(build_uid: u32) -> Vec<String> {
    let mut options = ["--pdeathsig", "KILL"].map(str::to_owned).to_vec();
    if super::is_root() {
        let uid = build_uid.to_string();
        options.extend(["--reuid", &uid, "--regid", &uid].map(str::to_owned));
        options.extend(["--clear-groups", "--bounding-set", "-all"].map(str::to_owned));
        options.extend(["--inh-caps", "-all", "--no-new-privs"].map(str::to_owned));
    }
    options
}

/// Tells an end by itself from an end by a limit.
///
/// * `ended`: the command's exit status, when it is known to have ended by itself.
pub fn judge(
    job: &Job<'_>,
    group: Option<&JobCgroup>,
    ended: Option<i32>,
) -> Result<i32, SandboxError> {
    let limits = job.limits;
    // Whatever the build made of it: something in it was killed, so it is not the build it should be.
    if group.is_some_and(JobCgroup::out_of_memory) {
        return Err(SandboxError::Memory {
            bytes: limits.memory_bytes,
        });
    }
    let said = log::tail(job.log, TAIL);
    let Some(exit_code) = ended else {
        return Err(SandboxError::Setup {
            said: last_lines(&said),
        });
    };
    if exit_code == 0 {
        return Ok(0);
    }
    if group.is_some_and(JobCgroup::out_of_processes) {
        return Err(SandboxError::Processes {
            processes: limits.max_processes,
        });
    }
    if ["No space left on device", "File size limit exceeded"]
        .iter()
        .any(|text| said.contains(text))
    {
        return Err(SandboxError::Disk {
            bytes: limits.disk_bytes,
        });
    }
    Ok(exit_code)
}

/// The exit code that bwrap writes only when the command really ran.
fn exit_code(status: &Path) -> Option<i32> {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(rename = "exit-code")]
        exit_code: Option<i32>,
    }
    let text = fs::read_to_string(status).ok()?;
    text.lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok()?.exit_code)
        .next_back()
}

fn last_lines(said: &str) -> String {
    let mut lines: Vec<&str> = said
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(3)
        .collect();
    lines.reverse();
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines.join("; ")
    }
}

fn arguments(
    job: &Job<'_>,
    tool: &Tool,
    stage: Option<&Stage>,
) -> Result<Vec<String>, SandboxError> {
    let identity = job.identity;
    let [uid, gid] = [identity.uid, identity.gid].map(|number| number.to_string());
    let disk = job.limits.disk_bytes.to_string();
    let small = job.limits.disk_bytes.min(SMALL_TMPFS).to_string();
    let mut list: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(|word| (*word).to_owned()));
    for namespace in ["user", "pid", "ipc", "uts", "net", "cgroup"] {
        add(&[&format!("--unshare-{namespace}")]);
    }
    if tool.disable_userns {
        add(&["--disable-userns"]);
    }
    add(&[
        "--json-status-fd",
        "3",
        "--hostname",
        &identity.hostname,
        "--uid",
        &uid,
        "--gid",
        &gid,
    ]);
    let overlay = stage.and_then(Stage::root);
    list.extend(match &overlay {
        Some(merged) => root::overlaid(merged, job.dir, identity)?,
        None => root::mounts(job.root, job.dir, identity)?,
    });
    let mut add = |words: &[&str]| list.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["--proc", "/proc", "--dev", "/dev"]);
    for dir in ["/tmp", "/var/tmp"] {
        add(&["--size", &disk, "--tmpfs", dir]);
    }
    for dir in ["/run", "/root", "/home"] {
        add(&["--size", &small, "--tmpfs", dir]);
    }
    match stage.and_then(Stage::home) {
        Some(home) => add(&["--bind", &home.to_string_lossy(), HOME_DIR]),
        None => add(&["--size", &disk, "--tmpfs", HOME_DIR]),
    }
    for (path, inside) in job.inputs {
        add(&["--ro-bind", &path.to_string_lossy(), inside]);
    }
    add(&["--size", &disk, "--tmpfs", OUT_DIR]);
    if overlay.is_none() {
        add(&["--remount-ro", "/"]);
    }
    add(&["--clearenv"]);
    for (name, value) in job.env {
        add(&["--setenv", name, value]);
    }
    add(&[
        "--cap-drop",
        "ALL",
        "--die-with-parent",
        "--new-session",
        "--chdir",
        HOME_DIR,
    ]);
    Ok(list)
}
