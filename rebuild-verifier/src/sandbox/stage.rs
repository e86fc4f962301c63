//! What has to be mounted before bubblewrap runs: an overlay above a layer, and a build directory whose
//! entries are read in another order.
//!
//! Both are mounted by the build user, in a user and mount namespace of its own, on a tmpfs that nobody
//! else sees. So they need no root, and the last process that ends takes them along. bubblewrap then
//! makes its own namespaces inside. What lies in the stage's directory:
//!
//! ```text
//! lower -> layer   up/  wk/  root/   the overlay: root/ is what the build gets as its root
//! home/  turned/                     the build directory, and the same through disorderfs
//! ```

use super::process::{self, Watch};
use super::{Cancel, Limits, SandboxError, log, root};
use crate::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The script ends with this status when the kernel refuses the overlay.
pub const NO_OVERLAY: i32 = 94;
/// And with this one when disorderfs does not get going.
pub const NO_ORDER: i32 = 95;

/// Arguments: directory, its size, layer or nothing, `reversed` or nothing, names of the directories and
/// of the files that lie above those of the layer, one a line; then the command that takes over.
///
/// Paths in the options of the overlay are relative: a colon or comma in one of ours means nothing then.
/// disorderfs ends with its parent, which bubblewrap becomes.
const SCRIPT: &str = r#"umask 022; set -f; IFS='
'
cd "$1" && mount -t tmpfs -o "size=$2,mode=0755" tmpfs "$1" && cd "$1" || exit 97
if [ -n "$3" ]; then
  ln -s "$3" lower && mkdir -p wk root $5 || exit 97
  for file in $6; do : >"$file" || exit 97; done
  mount -t overlay overlay -o lowerdir=lower,upperdir=up,workdir=wk,userxattr root || exit 94
fi
if [ -n "$4" ]; then
  mkdir -p home/.ready turned || exit 97
  setpriv --pdeathsig KILL disorderfs -f --reverse-dirents=yes --shuffle-dirents=no --pad-blocks=0 "$1/home" "$1/turned" >said 2>&1 &
  tries=0
  until [ -d turned/.ready ]; do
    tries=$((tries + 1)); [ $tries -lt 300 ] || { cat said; exit 95; }; sleep 0.01
  done
  rmdir home/.ready || exit 97
fi
shift 6; exec "$@""#;

/// What is to be mounted, and where.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    layer: Option<PathBuf>,
    reversed: bool,
    size_bytes: u64,
}

impl Stage {
    /// Plans a stage in the new directory `dir/stage`: an overlay above `layer`, if any, and a build
    /// directory of reversed order, if asked for. Each may hold `size_bytes` together with the other.
    pub fn create(
        dir: &Path,
        layer: Option<&Path>,
        reversed: bool,
        size_bytes: u64,
    ) -> Result<Self, SandboxError> {
        let dir = dir.join("stage");
        root::make_passable_dir(&dir)?;
        let layer = layer.map(std::path::absolute).transpose();
        Ok(Self {
            dir,
            layer: layer.map_err(SandboxError::io("find the layer"))?,
            reversed,
            size_bytes,
        })
    }

    /// The overlay, when there is one: the root of the build.
    pub fn root(&self) -> Option<PathBuf> {
        self.layer.as_ref().map(|_| self.dir.join("root"))
    }

    /// The build directory, when there is one.
    pub fn home(&self) -> Option<PathBuf> {
        self.reversed.then(|| self.dir.join("turned"))
    }

    /// The words before the command that is to run with all this mounted.
    pub fn words(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let above = |names: Vec<String>| {
            let names = names.iter().filter(|name| !name.contains('\n'));
            names.map(|name| format!("up/{name}\n")).collect::<String>()
        };
        let layer = self.layer.as_deref();
        let mut words = ["unshare", "--user", "--map-root-user", "--mount"]
            .map(str::to_owned)
            .to_vec();
        words.extend(["/bin/sh", "-c", SCRIPT, "sh"].map(str::to_owned));
        words.push(text(&self.dir));
        words.push(self.size_bytes.to_string());
        words.push(layer.map(text).unwrap_or_default());
        words.push(if self.reversed { "reversed" } else { "" }.to_owned());
        words.push(format!(
            "up\n{}",
            layer.map(root::top_dirs).map(above).unwrap_or_default()
        ));
        words.push(above(root::pinned_names()));
        words
    }
}

/// Whether builds get an overlay above a layer here: makes one, and changes it.
pub fn try_overlay(work_dir: &Path, build_uid: u32) -> Result<(), SandboxError> {
    let scratch = Scratch::create(work_dir).map_err(SandboxError::io(format!(
        "make a directory below {}",
        work_dir.display()
    )))?;
    let etc = scratch.dir().join("layer/etc");
    root::make_passable_dir(&scratch.dir().join("layer"))?;
    root::make_passable_dir(&etc)?;
    let old = etc.join("old");
    std::fs::write(&old, "old").map_err(SandboxError::io(format!("write {}", old.display())))?;
    let layer = scratch.dir().join("layer");
    let stage = Stage::create(scratch.dir(), Some(&layer), false, 1 << 20)?;
    let log = scratch.dir().join("log");
    let limits = Limits {
        build_secs: 20,
        ..Limits::default()
    };
    let mut command = Command::new("setpriv");
    command.args(super::bwrap::as_build_user(build_uid));
    command.args(stage.words()).args([
        "/bin/sh",
        "-c",
        "echo new >root/etc/new && rm root/etc/old && ls -A root/etc",
    ]);
    let watch = Watch {
        log: &log,
        out: None,
        scratch: None,
        limits: &limits,
        cancel: &Cancel::default(),
    };
    let ended = process::supervise(command, watch)?;
    let said = log::tail(&log, 400);
    if ended.success() && said.lines().any(|line| line == "new") && old.exists() {
        return Ok(());
    }
    Err(SandboxError::Setup {
        said: said.trim().to_owned(),
    })
}
