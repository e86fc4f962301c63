//! Installing locked packages into an empty directory with DNF, without network.

use super::{LayerError, tree};
use crate::sandbox::{self, Cancel, Limits, Watch};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Both read the same command line for what is needed here; the newer one first.
static TOOLS: &[&str] = &["dnf5", "dnf"];
/// Longest installation, seconds.
const INSTALL_SECS: u64 = 1_800;
/// Of what a failed installation said, what is quoted, bytes.
const QUOTED: u64 = 2 << 10;
/// In a mount namespace of its own: a few devices and /proc for package scripts, then DNF.
///
/// In a chroot `/` is no mount, so it cannot be made private; whoever made the chroot has seen to that.
const CONFINED: &str = r#"root=$1; shift; umask 022; mkdir -p "$root/dev" "$root/proc" || exit 97
mount --make-rprivate / 2>/dev/null
mount -t tmpfs -o mode=0755 tmpfs "$root/dev" && mount -t proc proc "$root/proc" || exit 97
for node in null zero full random urandom; do
  : >"$root/dev/$node" && mount --bind "/dev/$node" "$root/dev/$node" || exit 97
done
exec "$@""#;

/// The DNF of this machine.
pub fn tool() -> Result<&'static str, LayerError> {
    let installed = |tool: &&&str| crate::profile::installed(Path::new("/"), tool).is_ok();
    TOOLS
        .iter()
        .find(installed)
        .copied()
        .ok_or(LayerError::NoDnf)
}

/// Options that keep DNF from reading this machine's repositories and settings.
pub fn isolated(root: &Path, cache: &Path) -> Vec<String> {
    vec![
        format!("--installroot={}", root.display()),
        format!("--setopt=cachedir={}", cache.display()),
        "--setopt=reposdir=/nonexistent".to_owned(),
        "--setopt=install_weak_deps=False".to_owned(),
        "--setopt=keepcache=False".to_owned(),
        "--releasever=1".to_owned(),
        "--noplugins".to_owned(),
        // Packages are known by digest here. (dnf5 refuses `--nogpgcheck` where there is no repository.)
        "--setopt=gpgcheck=False".to_owned(),
        "--setopt=localpkg_gpgcheck=False".to_owned(),
        "-q".to_owned(),
        "-y".to_owned(),
    ]
}

/// A home directory whose macros say where the database goes: rpm's own answer differs between
/// distributions, and some put it below the home directory.
fn home(dir: &Path) -> Result<PathBuf, LayerError> {
    let home = dir.join("home");
    std::fs::create_dir_all(&home)
        .and_then(|()| {
            let text = format!("%_dbpath /{}\n", tree::RPM_DATABASE);
            std::fs::write(home.join(".rpmmacros"), text)
        })
        .map_err(LayerError::io(format!("write {}", home.display())))?;
    Ok(home)
}

/// Runs DNF and gives its log back; another status than 0 is an error that quotes it.
///
/// * `network`: whether it may use the network. Scripts of packages then do not run in it.
/// * `dir`: for caches and log.
pub fn run(
    root: &Path,
    dir: &Path,
    network: bool,
    words: &[String],
) -> Result<PathBuf, LayerError> {
    let tool = tool()?;
    let log = dir.join("dnf.log");
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--ipc",
        "--uts",
    ]);
    if !network {
        command.arg("--net");
    }
    command.args(["--propagation", "unchanged", "sh", "-c", CONFINED, "sh"]);
    command.arg(root);
    command.arg(tool);
    command
        .args(isolated(root, &dir.join("cache")))
        .args(words)
        .env_clear()
        .envs([
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            // rpm 4.18 and later take this for the time of installation.
            ("SOURCE_DATE_EPOCH", "0"),
        ])
        .env("HOME", home(dir)?);
    let limits = Limits {
        build_secs: INSTALL_SECS,
        log_bytes: 1 << 20,
        ..Limits::default()
    };
    let status = sandbox::supervise(
        command,
        Watch {
            log: &log,
            out: None,
            scratch: None,
            limits: &limits,
            cancel: &Cancel::default(),
        },
    )?;
    if status.success() {
        return Ok(log);
    }
    Err(LayerError::Dnf {
        tool,
        exit_code: status.code().unwrap_or(-1),
        tail: sandbox::log_tail(&log, QUOTED).trim().to_owned(),
    })
}
