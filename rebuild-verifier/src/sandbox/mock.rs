//! Backend `mock`: a command in a chroot of mock's, whose root is an overlay above a layer of locked
//! packages.
//!
//! mock is given its chroot ready made: it finds the layer's packages in `rootdir`, marked as
//! initialized, and installs nothing. So the root holds exactly the locked packages, whatever mock's
//! own configuration says. mock then does what it does before each build (users, devices, mounts) and
//! runs the command as its build user with `--chroot --unpriv`.
//!
//! mock has to be root for that (its own helper makes it root for members of the group `mock`), and it
//! has no user namespaces. What is around it makes up for that: namespaces for mounts, processes, IPC,
//! host name and network, no new privileges, one control group, a `/dev` without the block devices that mock would
//! make, and a tmpfs of limited size for all that is written. What the command prints goes through a pipe and not through mock's logs, which would grow with
//! it. The users `mockbuild` and `mock` are seen by mock alone; the machine needs neither.
//!
//! Without a user namespace the numbers of the build user are the machine's own. So nothing runs where they belong
//! to somebody: whoever that is could change the build's files and trace its processes.

use super::cgroup::JobCgroup;
use super::process::{self, Watch};
use super::{Ended, Job, Limits, RebuildBackend, SandboxError, bwrap, export, root, traps, users};
use repo_model::buildinfo::Identity;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The row of this backend.
pub const BACKEND: RebuildBackend = RebuildBackend {
    name: "mock",
    host_root: false,
    // A command is a command: what bubblewrap ran in a layer, mock can run in it.
    replays: &["mock", "bwrap"],
    version,
    run,
};

/// First thing in the chroot: what it prints goes into the pipe. What shells add to the environment is
/// taken out again.
const INNER: &str = r#"umask "$1"; shift; exec /usr/bin/env -u PWD -u OLDPWD -u SHLVL -u _ "$@" >/.hallmark-log 2>&1 </dev/null"#;
/// What mock's root.log says when it starts that, up to the first argument that differs.
const STARTS: &str = "Executing command: ['/bin/sh', '-c', 'umask ";
/// And when it has ended.
const ENDED: &str = "Child return code was: ";
/// Writes the files of the output directory to stdout as [`export`] reads them. Runs in the chroot as
/// the build user: links lead nowhere that it could not read itself.
const EXPORT: &str = r#"cd /builddir/out || exit 96
for file in * */* */*/*; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  printf '%s %s\n' "$(wc -c <"$file")" "$file" && cat "$file" || exit 96
done"#;
/// Joins the control groups, then becomes the command.
const JOIN: &str =
    r#"while [ "$1" != -- ]; do echo $$ >"$1" || exit 97; shift; done; shift; exec "$@""#;
/// The script ends with this status when the overlay cannot be mounted.
const NO_OVERLAY: i32 = 94;
/// Keeps what is mounted from here on to this namespace, or ends. A root that is no mount point (a chroot) cannot be
/// asked to, and what is mounted over `/etc` there could be seen by the whole machine.
pub(crate) const PRIVATE: &str = r#"mount --make-rprivate / || {
  echo "its mounts cannot be kept to itself: the root of whoever starts mock has to be a mount point"; exit 97
}
if grep -q ' shared:' /proc/self/mountinfo; then echo "some mounts are still shared with the machine"; exit 97; fi
"#;
/// After [`PRIVATE`]. Arguments: [`EXPORT`], stage, its size, layer, our directory, export, `uid:gid`; files and where they are seen;
/// `--`; mock with its arguments. Process 1 of its namespace: what mock leaves behind is stopped all at once, so that
/// nothing can run away from what follows, and killed before anything is taken out. All that is written lies on one
/// tmpfs, `/dev/shm` too.
const SCRIPT: &str = r#"umask 022; stage=$1 size=$2 layer=$3 dir=$4 export=$5 owner=$6; shift 6; set -C
mount -t tmpfs -o "size=$size,mode=0755" tmpfs "$stage" && cd "$stage" || exit 97
mkdir up wk root base cache dev && ln -s "$layer" lower || exit 97
mount -t overlay overlay -o lowerdir=lower,upperdir=up,workdir=wk root || exit 94
for file in passwd group; do mount --bind "$dir/$file" "/etc/$file" || exit 97; done
mkdir root/builddir root/builddir/out && mkdir -p root/tmp root/var/tmp && chown -R "$owner" root/builddir || exit 97
chmod 1777 root/tmp root/var/tmp && mkdir -p root/dev || exit 97
mount --bind dev root/dev || exit 97
for node in null zero full random urandom tty; do
  : >"root/dev/$node" && mount --bind "/dev/$node" "root/dev/$node" || exit 97
done
mkdir root/dev/shm root/dev/pts && chmod 1777 root/dev/shm || exit 97
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts root/dev/pts || exit 97
ln -s pts/ptmx root/dev/ptmx && ln -s /proc/self/fd root/dev/fd || exit 97
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${number%:*}" "root/dev/${number#*:}" || exit 97; done
: >root/.initialized && mkfifo -m 0666 root/.hallmark-log || exit 97
while [ "$1" != -- ]; do
  : >"root$2" && mount --bind "$1" "root$2" && mount -o remount,bind,ro "root$2" || exit 97
  shift 2
done
shift; exec 5<>root/.hallmark-log
cat <root/.hallmark-log 5>&- & reader=$!
"$@" >|"$dir/said" 2>&1 </dev/null 5>&-
code=$?
kill -STOP -1
for process in /proc/[0-9]*; do
  process=${process#/proc/}
  case $process in 1 | "$reader") ;; *) kill -KILL "$process" 2>/dev/null ;; esac
done
kill -CONT "$reader"
exec 5>&-; wait "$reader"; [ "$code" = 0 ] || exit "$code"
prlimit "--fsize=$size" chroot "--userspec=$owner" --groups= root /usr/bin/env -i PATH=/usr/bin:/bin \
  /bin/sh -c "$0" >|"$export" </dev/null || exit 96"#;
/// Of what mock said, what is searched and quoted, bytes.
const TAIL: u64 = 4 << 10;
/// mock's logs that are kept beside the build's. (Its build.log is of `--rebuild` alone.)
static LOGS: &[&str] = &["root.log", "state.log"];

/// mock and its options: what the configuration says, else what is in the path.
pub fn program(words: &[String]) -> Vec<String> {
    match words {
        [] => vec!["mock".to_owned()],
        words => words.to_vec(),
    }
}

pub(super) fn unusable(why: impl Into<String>) -> SandboxError {
    SandboxError::Tool {
        tool: "mock",
        why: why.into(),
    }
}

/// `6.7`.
fn version(words: &[String]) -> Result<String, SandboxError> {
    if !super::is_root() {
        return Err(unusable("it needs root"));
    }
    users::refuse_owned(&crate::plan::identity())?;
    asked_version(words, users::ASKED_SECS)
}

fn asked_version(words: &[String], secs: u64) -> Result<String, SandboxError> {
    let words = program(words);
    let nobody = "65534";
    let output = users::in_time(&words, secs)
        .arg("--version")
        .envs([("SUDO_UID", nobody), ("SUDO_GID", nobody)])
        .output()
        .map_err(|error| unusable(format!("{}: {error}", words[0])))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().chars().take(80).collect()),
        _ if [Some(124), Some(137)].contains(&output.status.code()) => Err(unusable(format!(
            "--version: {} has not answered within {secs} s",
            words[0]
        ))),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().next_back().unwrap_or("it says nothing");
            Err(unusable(format!("--version: {last}")))
        }
    }
}

fn run(job: &Job<'_>) -> Result<Ended, SandboxError> {
    if job.root == Path::new("/") {
        return Err(unusable(
            "it has no build root of its own: give it one of locked packages",
        ));
    }
    if job.extras.reversed {
        return Err(unusable("the order of directories cannot be asked for"));
    }
    if !super::is_root() {
        return Err(unusable("it needs root"));
    }
    users::refuse_owned(job.identity)?;
    if let Some(why) = traps::found(job.root) {
        return Err(SandboxError::Setup { said: why });
    }
    let place = Place::create(job)?;
    let group = JobCgroup::create(job.limits);
    let exported = place.dir.join("export");
    let command = command(job, &place, group.as_ref(), &exported)?;
    let watch = Watch {
        log: job.log,
        out: Some(&place.result),
        scratch: None,
        limits: job.limits,
        cancel: job.cancel,
    };
    let status = process::supervise(command, watch);
    place.keep_logs(job.log);
    let status = status?;
    let ended = place.ended().filter(|code| {
        // A process status has eight bits of it; of a signal that is what is left of the negative number.
        status.code() == Some(code & 0xff) || (*code == 0 && status.code() == Some(96))
    });
    if ended.is_none() && group.as_ref().is_some_and(JobCgroup::out_of_processes) {
        // What the build left running kept mock from going on.
        return Err(SandboxError::Processes {
            processes: job.limits.max_processes,
        });
    }
    if ended.is_none() {
        place.tell(job.log, status.code());
    }
    let code = bwrap::judge(job, group.as_ref(), ended.map(of_signal))?;
    if code == 0 {
        if !status.success() {
            return Err(SandboxError::Setup {
                said: "the packages could not be taken out of mock's chroot".to_owned(),
            });
        }
        export::unpack(&exported, job.out)?;
    }
    let _ = fs::remove_file(&exported);
    Ok(Ended {
        exit_code: code,
        limits: if group.is_some() { "cgroup" } else { "weak" },
        overlay: false,
    })
}

/// Python's negative numbers of signals as shells write them.
fn of_signal(code: i32) -> i32 {
    if code < 0 { 128 - code } else { code }
}

fn command(
    job: &Job<'_>,
    place: &Place,
    group: Option<&JobCgroup>,
    exported: &Path,
) -> Result<Command, SandboxError> {
    let layer = std::path::absolute(job.root).map_err(SandboxError::io("find the layer"))?;
    let Identity { uid, gid, .. } = job.identity;
    let mut command = confined(job.limits, group, false);
    command.args(["/bin/sh", "-c", &format!("{PRIVATE}{SCRIPT}"), EXPORT]);
    command.arg(&place.stage);
    command.arg(job.limits.disk_bytes.to_string());
    command.args([&layer, &place.dir]).arg(exported);
    command.arg(format!("{uid}:{gid}"));
    for (path, inside) in job.inputs {
        command.arg(path).arg(inside);
    }
    command.arg("--").args(program(job.backend_command));
    command.arg("-r").arg(&place.config).args([
        "--no-clean",
        "--no-cleanup-after",
        "--offline",
        "--unpriv",
        "--cwd",
        super::HOME_DIR,
        "--chroot",
        "--",
        "/bin/sh",
        "-c",
        INNER,
        "sh",
        &job.identity.umask,
    ]);
    command.args(job.command);
    command.env_clear().envs(environment(job.identity));
    Ok(command)
}

/// The words before what mock and all that it starts are confined with, which shall be process 1: control group,
/// limits, no new privileges, namespaces.
///
/// * `network`: whether it may use the network.
pub(crate) fn confined(limits: &Limits, group: Option<&JobCgroup>, network: bool) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", JOIN, "sh"]);
    command.args(group.iter().flat_map(|group| group.joins()));
    command.args(["--", "setpriv", "--pdeathsig", "KILL", "--no-new-privs"]);
    command.args(["prlimit", "--core=0"]);
    command.arg(format!("--fsize={}", limits.disk_bytes));
    if group.is_none() {
        command.arg(format!("--nproc={}", limits.max_processes));
    }
    command.args([
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--ipc",
        "--uts",
        "--mount-proc",
        "--propagation",
        "unchanged",
    ]);
    if !network {
        command.arg("--net");
    }
    command
}

/// What mock itself runs with: it takes whoever called sudo for its build user.
pub(crate) fn environment(identity: &Identity) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("SUDO_UID", identity.uid.to_string()),
        ("SUDO_GID", identity.gid.to_string()),
    ])
}

/// Where everything of one run lies, below the job's directory.
struct Place {
    dir: PathBuf,
    stage: PathBuf,
    result: PathBuf,
    config: PathBuf,
}

impl Place {
    fn create(job: &Job<'_>) -> Result<Self, SandboxError> {
        let dir = job.dir.join("mock");
        let place = Self {
            stage: dir.join("stage"),
            result: dir.join("result"),
            config: dir.join("mock.cfg"),
            dir,
        };
        for dir in [&place.dir, &place.stage, &place.result] {
            root::make_passable_dir(dir)?;
        }
        let Identity { uid, gid, .. } = *job.identity;
        chown(&place.result, Some(uid), Some(gid)).map_err(SandboxError::io(format!(
            "hand over {}",
            place.result.display()
        )))?;
        users::write(&place.dir, job.identity)?;
        fs::write(&place.config, place.settings(job))
            .and_then(|()| root::make_readable(&place.config))
            .map_err(SandboxError::io(format!(
                "write {}",
                place.config.display()
            )))?;
        Ok(place)
    }

    /// mock's configuration, which is Python.
    fn settings(&self, job: &Job<'_>) -> String {
        let path = |path: &Path| python(&path.to_string_lossy());
        let arch = python(std::env::consts::ARCH);
        format!(
            "config_opts['root'] = 'hallmark'\n\
             config_opts['target_arch'] = {arch}\n\
             config_opts['legal_host_arches'] = ({arch},)\n\
             config_opts['basedir'] = {base}\n\
             config_opts['cache_topdir'] = {cache}\n\
             config_opts['rootdir'] = {root}\n\
             config_opts['resultdir'] = {result}\n\
             config_opts['isolation'] = 'simple'\n\
             config_opts['use_bootstrap'] = False\n\
             config_opts['use_bootstrap_image'] = False\n\
             config_opts['package_manager'] = 'dnf5'\n\
             config_opts['dnf_warning'] = False\n\
             config_opts['dnf.conf'] = '[main]\\nreposdir=/dev/null\\n'\n\
             config_opts['update_before_build'] = False\n\
             config_opts['internal_dev_setup'] = False\n\
             for plugin in list(config_opts['plugins']):\n    \
                 config_opts['plugin_conf'][plugin + '_enable'] = False\n\
             {common}",
            base = path(&self.stage.join("base")),
            cache = path(&self.stage.join("cache")),
            root = path(&self.stage.join("root")),
            result = path(&self.result),
            common = settings(job.env, job.identity),
        )
    }

    /// The command's own exit status, when it ran to its end.
    fn ended(&self) -> Option<i32> {
        let text = fs::read(self.result.join("root.log")).ok()?;
        ended(&String::from_utf8_lossy(&text))
    }

    /// Puts the end of what mock itself said into the build's log.
    fn tell(&self, log: &Path, status: Option<i32>) {
        let mut said = super::log_tail(&self.dir.join("said"), TAIL);
        if status == Some(NO_OVERLAY) {
            said.push_str("the kernel refused to mount an overlay above the build root\n");
        }
        let appended = fs::File::options()
            .append(true)
            .open(log)
            .and_then(|mut file| std::io::Write::write_all(&mut file, said.as_bytes()));
        if let Err(error) = appended {
            tracing::warn!("cannot write {}: {error}", log.display());
        }
    }

    /// Copies mock's logs beside the build's: `….root.log`, `….state.log`.
    fn keep_logs(&self, log: &Path) {
        for name in LOGS {
            let mut kept = log.as_os_str().to_owned();
            kept.push(format!(".{name}"));
            // One that is not there was never begun; `tell` says why.
            let _ = fs::copy(self.result.join(name), kept);
        }
    }
}

/// The exit status in mock's root.log of the command that [`INNER`] starts. The command cannot write there.
fn ended(root_log: &str) -> Option<i32> {
    root_log
        .lines()
        .skip_while(|line| !line.contains(STARTS))
        .find_map(|line| line.split_once(ENDED)?.1.trim().parse().ok())
}

/// Settings that every run of ours has: environment, names, no network.
pub(crate) fn settings(env: &BTreeMap<String, String>, identity: &Identity) -> String {
    let env: String = env
        .iter()
        .map(|(name, value)| format!("{}: {}, ", python(name), python(value)))
        .collect();
    format!(
        "config_opts['environment'] = {{{env}}}\n\
         config_opts['hostname'] = {host}\n\
         config_opts['chroothome'] = {home}\n\
         config_opts['chrootuser'] = {user}\n\
         config_opts['chrootuid'] = {uid}\n\
         config_opts['chrootgid'] = {gid}\n\
         config_opts['chrootgroup'] = 'mock'\n\
         config_opts['rpmbuild_networking'] = False\n\
         config_opts['use_host_resolv'] = False\n\
         config_opts['use_container_host_hostname'] = False\n",
        host = python(&identity.hostname),
        home = python(super::HOME_DIR),
        user = python(&identity.user),
        uid = identity.uid,
        gid = identity.gid,
    )
}

/// A string as Python writes it; JSON's escapes mean the same there.
pub(crate) fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_our_command_and_of_none_before_or_after() {
        let log = "DEBUG util.py:556:  Executing command: ['useradd', 'x'] with env {}\n\
                   DEBUG util.py:608:  Child return code was: 9\n\
                   DEBUG util.py:556:  Executing command: ['/bin/sh', '-c', 'umask \"$1\"; shift; exec']\n\
                   DEBUG util.py:608:  Child return code was: -9\n\
                   DEBUG util.py:556:  Executing command: ['/bin/umount', '/proc'] with env {}\n\
                   DEBUG util.py:608:  Child return code was: 0\n";
        assert_eq!(ended(log).map(of_signal), Some(137));
        let cut = log.lines().take(3).collect::<Vec<_>>().join("\n");
        assert_eq!(ended(&cut), None);
        assert_eq!(ended(""), None);
    }

    #[test]
    fn a_mock_that_never_answers_is_given_up() {
        let started = std::time::Instant::now();
        let words = ["sh", "-c", "exec sleep 600"].map(str::to_owned);
        let error = asked_version(&words, 1).unwrap_err().to_string();
        assert!(error.contains("has not answered within 1 s"), "{error}");
        assert!(started.elapsed().as_secs() < 30);
        let words = ["sh", "-c", "echo 6.7"].map(str::to_owned);
        assert_eq!(asked_version(&words, 20).unwrap(), "6.7");
    }

    #[test]
    fn mounts_that_cannot_be_kept_from_the_machine_end_the_build() {
        let mut command = Command::new("setpriv");
        // The build user may not change mounts.
        if crate::sandbox::is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        let output = command
            .args(["/bin/sh", "-c", &format!("{PRIVATE}echo went on")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(97), "{said}");
        assert!(
            said.contains("mount point") && !said.contains("went on"),
            "{said}"
        );
    }

    #[test]
    fn settings_are_python_whatever_the_values_hold() {
        let env = BTreeMap::from([("A".to_owned(), "it's \"q\"\n\\".to_owned())]);
        let text = settings(&env, &crate::plan::identity());
        let first = text.lines().next().unwrap();
        assert_eq!(
            first,
            r#"config_opts['environment'] = {"A": "it's \"q\"\n\\", }"#
        );
    }
}
