//! Runs one command with a clock, a log of bounded size and an eye on its output directory, and
//! leaves nothing of it behind.

use super::log::LogKeeper;
use super::{Limits, SandboxError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the limits are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often the output directory is measured, in ticks.
const MEASURE_TICKS: u32 = 5;
/// How often the scratch tree is measured, in ticks.
const SCRATCH_TICKS: u32 = 30;
/// More entries in the output directory than this count as a full disk.
const MAX_OUT_ENTRIES: u32 = 100_000;

/// What the command prints on a line of its own when it may be told to go; it then reads one line.
pub const READY: &str = "hallmark-sandbox: ready";

/// A request to stop that any thread can make; it cannot be taken back.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What is watched while the command runs.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// Where stdout and stderr go.
    pub log: &'a Path,
    /// Directory of the machine that may grow to `limits.disk_bytes`, if the command can write to one.
    pub out: Option<&'a Path>,
    /// A whole directory tree of the machine that may take up `limits.disk_bytes` of its disk, if any. Looked at
    /// less often than `out`: a root has many files.
    pub scratch: Option<&'a Path>,
    /// Time, disk and log limits.
    pub limits: &'a Limits,
    /// Stops the command.
    pub cancel: &'a Cancel,
}

/// Runs `command` in a process group of its own and waits for its end, or kills the group.
///
/// The command gets a line on stdin when it has printed [`READY`], which is kept out of the log.
/// The command is told by its own means (`--die-with-parent`, control group) to take its
/// descendants with it.
pub fn supervise(mut command: Command, watch: Watch<'_>) -> Result<ExitStatus, SandboxError> {
    let (reader, writer) = std::io::pipe().map_err(SandboxError::io("make a pipe"))?;
    let second = writer
        .try_clone()
        .map_err(SandboxError::io("make a pipe"))?;
    let mut keeper = LogKeeper::create(watch.log, watch.limits.log_bytes)
        .map_err(SandboxError::io(format!("write {}", watch.log.display())))?;
    let (gate, key) = std::io::pipe().map_err(SandboxError::io("make a pipe"))?;
    command
        .stdin(gate)
        .stdout(writer)
        .stderr(second)
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(SandboxError::io("start the sandbox"))?;
    // The command holds the pipe's writing ends; the log ends when the last of them is closed.
    drop(command);
    std::thread::scope(|scope| {
        let logger = scope.spawn(move || {
            let kept = keeper.drain(Gatekeeper {
                said: reader,
                key: Some(key),
            });
            kept.and_then(|()| keeper.finish())
        });
        let ended = wait(&mut child, &watch);
        let logged = logger.join();
        let status = ended?;
        match logged {
            Ok(Ok(_)) => Ok(status),
            Ok(Err(source)) => Err(SandboxError::Io {
                action: format!("write {}", watch.log.display()),
                source,
            }),
            Err(_) => Err(SandboxError::Setup {
                said: "the log writer stopped".to_owned(),
            }),
        }
    })
}

/// What a command says, until it is ready and told to go; then everything.
struct Gatekeeper {
    said: PipeReader,
    key: Option<PipeWriter>,
}

impl Read for Gatekeeper {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.said.read(buffer)?;
        if self.key.is_none() {
            return Ok(count);
        }
        // Written at once by one process, so it is never split.
        let ready = format!("{READY}\n");
        let found = buffer[..count]
            .windows(ready.len())
            .position(|line| line == ready.as_bytes());
        let (Some(at), Some(mut key)) = (found, found.and_then(|_| self.key.take())) else {
            return Ok(count);
        };
        // When nobody listens any more, the command has ended, and waiting for it tells how.
        let _ = key.write_all(b"go\n");
        buffer.copy_within(at + ready.len()..count, at);
        match count - ready.len() {
            // Nothing else came yet, but this is not the end.
            0 => self.said.read(buffer),
            rest => Ok(rest),
        }
    }
}

fn wait(child: &mut Child, watch: &Watch<'_>) -> Result<ExitStatus, SandboxError> {
    let pid = Pid::from_child(child);
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
    let started = Instant::now();
    let mut ticks = 0_u32;
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(SandboxError::io("wait for the sandbox"))?
        {
            return Ok(status);
        }
        ticks = ticks.wrapping_add(1);
        let measure = ticks.is_multiple_of(MEASURE_TICKS);
        let full = ticks.is_multiple_of(SCRATCH_TICKS)
            && watch
                .scratch
                .is_some_and(|dir| fills(dir, watch.limits.disk_bytes));
        if let Some(error) = limit_reached(started, measure, full, watch) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            child
                .wait()
                .map_err(SandboxError::io("wait for the sandbox"))?;
            return Err(error);
        }
        match &handle {
            Some(handle) => {
                let tick = Timespec {
                    tv_sec: 0,
                    tv_nsec: i64::from(TICK.subsec_nanos()),
                };
                let _ = rustix::event::poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&tick));
            }
            None => std::thread::sleep(TICK / 10),
        }
    }
}

fn limit_reached(
    started: Instant,
    measure: bool,
    full: bool,
    watch: &Watch<'_>,
) -> Option<SandboxError> {
    let limits = watch.limits;
    if watch.cancel.is_cancelled() {
        return Some(SandboxError::Cancelled);
    }
    if started.elapsed() >= Duration::from_secs(limits.build_secs) {
        return Some(SandboxError::Time {
            secs: limits.build_secs,
        });
    }
    if full || measure && watch.out.is_some_and(|out| exceeds(out, limits.disk_bytes)) {
        return Some(SandboxError::Disk {
            bytes: limits.disk_bytes,
        });
    }
    None
}

/// Whether the files below `dir` are larger in sum than `limit_bytes`, or too many to count.
pub fn exceeds(dir: &Path, limit_bytes: u64) -> bool {
    outgrows(dir, limit_bytes, MAX_OUT_ENTRIES, fs::Metadata::len)
}

/// Whether the tree below `dir` takes up more of the disk than `limit_bytes`, holes not counted.
fn fills(dir: &Path, limit_bytes: u64) -> bool {
    outgrows(dir, limit_bytes, u32::MAX, |found| {
        found.blocks().saturating_mul(512)
    })
}

fn outgrows(
    dir: &Path,
    limit_bytes: u64,
    max_entries: u32,
    size: fn(&fs::Metadata) -> u64,
) -> bool {
    let mut bytes = 0_u64;
    let mut entries = 0_u32;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            entries = entries.saturating_add(1);
            let Ok(found) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            if found.is_dir() {
                dirs.push(entry.path());
            } else {
                bytes = bytes.saturating_add(size(&found));
            }
            if bytes > limit_bytes || entries > max_entries {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fills_the_scratch_tree_is_stopped_and_holes_in_files_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            build_secs: 60,
            disk_bytes: 4 << 20,
            ..Limits::default()
        };
        let said = tempfile::NamedTempFile::new().unwrap();
        let run = |line: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", line]).current_dir(dir.path());
            let watch = Watch {
                log: said.path(),
                out: None,
                scratch: Some(dir.path()),
                limits: &limits,
                cancel: &Cancel::default(),
            };
            supervise(command, watch)
        };
        assert!(run("truncate -s 1G hole; sleep 4").unwrap().success());
        let ended = run("mkdir -p a/b; head -c 8000000 /dev/zero >a/b/c; sleep 60");
        assert!(
            matches!(ended, Err(SandboxError::Disk { bytes: 4_194_304 })),
            "{ended:?}"
        );
    }
}
