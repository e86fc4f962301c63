//! One process of ours: started in a group of its own, logging into a file, and ended in every way a
//! process can end. [`Reaper`] cleans up behind a test that ends without saying so.

use crate::wait;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a process may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Where the binaries are: `$HALLMARK_BIN_DIR`, or the folder above the test executable's.
///
/// # Panics
/// When they have not been built.
pub fn binary(name: &str) -> PathBuf {
    let dir = match std::env::var_os("HALLMARK_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => target_profile_dir(),
    };
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{} is not built: run `cargo build --workspace --bins` first, or set HALLMARK_BIN_DIR",
        path.display()
    );
    path
}

/// `target/debug`, told from where this executable is (`target/debug/deps/story-1234`).
pub fn target_profile_dir() -> PathBuf {
    let executable = std::env::current_exe().expect("the test executable has a path");
    executable
        .ancestors()
        .nth(2)
        .expect("it lies two folders deep")
        .to_owned()
}

/// A command with nothing of ours and no proxy in its environment.
pub fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HALLMARK_") || text.to_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command
        .env("no_proxy", "*")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end; stdout when it succeeds.
///
/// # Panics
/// When it fails, with all it printed.
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// A process of ours, running or ended.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Describes it; [`Process::start`] starts it.
    pub fn new(name: &str, program: PathBuf, arguments: &[&str], log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: arguments.iter().map(OsString::from).collect(),
            environment: Vec::new(),
            log,
            child: None,
        }
    }

    /// Sets a variable for the starts to come.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it, in a process group of its own.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    pub fn start(&mut self, reaper: &Reaper) {
        assert!(!self.is_running(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log opens");
        let mut command = command(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdout(log.try_clone().expect("the log's handle is copied"))
            .stderr(log);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        reaper.remember(child.id());
        self.child = Some(child);
    }

    /// Whether it has been started and has not ended.
    pub fn is_running(&mut self) -> bool {
        let Some(child) = &mut self.child else {
            return false;
        };
        matches!(child.try_wait(), Ok(None))
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it was never started.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// `kill -9` of this process alone: what it started has to notice by itself.
    pub fn kill_9(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // It may have ended by itself already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGSTOP: it stands still, and nobody is told.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = pid_of(self.pid());
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("it was started");
        let ended = wait::until(STOP_LIMIT, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs on".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        match ended {
            Ok(status) => status,
            Err(seen) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "{} did not end {} s after SIGTERM: {seen}",
                    self.name,
                    STOP_LIMIT.as_secs()
                );
            }
        }
    }

    /// All it has logged.
    pub fn log_text(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Peak resident memory since it started, bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn peak_memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("{path} has no VmHWM")) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            // The whole group: what it started too. It may have ended by itself.
            let _ = kill_process_group(pid_of(child.id()), Signal::KILL);
        }
        self.kill_9();
    }
}

fn pid_of(raw: u32) -> Pid {
    i32::try_from(raw)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id")
}

/// Kills the process groups of a world and removes its folder, however the test process ends: it is a
/// small shell that waits for a pipe to close.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
    pipe: Option<ChildStdin>,
    groups: PathBuf,
}

/// `$1`: file of process group ids, `$2`: the folder. A number may be somebody else's by then: ours have
/// the folder in their arguments.
const REAP: &str = r#"
cat
while read -r group; do
  if grep -qaF "$2/" "/proc/$group/cmdline"; then kill -s KILL -- "-$group"; fi
done < "$1"
rm -rf --one-file-system "$2"
"#;

impl Reaper {
    /// Watches over `dir`, which is removed in the end.
    ///
    /// # Panics
    /// When the shell cannot be started.
    pub fn watch(dir: &Path) -> Self {
        let groups = dir.join("process-groups");
        File::create(&groups).expect("the folder is writable");
        let mut shell = command("/bin/sh")
            .args(["-c", REAP, "reaper"])
            .arg(&groups)
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let pipe = shell.stdin.take();
        Self {
            shell,
            pipe,
            groups,
        }
    }

    fn remember(&self, group: u32) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(&self.groups)
            .expect("the reaper's list opens");
        writeln!(file, "{group}").expect("the reaper's list is written");
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // The processes have been waited for: their numbers may be somebody else's by now.
        let _ = File::create(&self.groups);
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_process_that_dies_leaves_neither_processes_nor_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder").keep();
        let mut reaper = Reaper::watch(&dir);
        let mark = dir.join("x").display().to_string();
        let mut child = Process::new(
            "child",
            "/bin/sh".into(),
            &["-c", "sleep 1000; :", &mark],
            dir.join("log"),
        );
        child.start(&reaper);
        assert!(child.is_running());
        // As the system does for a dead process: its end of the pipe is closed, and nothing else.
        drop(reaper.pipe.take());
        reaper.shell.wait().expect("the reaper ends");
        let ended = wait::until(STOP_LIMIT, || {
            if child.is_running() {
                Err("it runs".to_owned())
            } else {
                Ok(())
            }
        });
        ended.expect("the child was killed");
        assert!(!dir.exists());
        std::fs::create_dir(&dir).expect("its drop writes once more");
    }
}
