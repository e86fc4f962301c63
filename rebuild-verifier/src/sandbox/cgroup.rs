//! One control group for each job: memory, processes, and a sure way to find every process.
//!
//! Version 2 when its controllers are there, version 1 otherwise, nothing when neither is ours to
//! write: then rlimits are all there is, and the statement says `weak`. Of version 2 the topmost group
//! will do, or the one that this process was started in, when it has been delegated to our user.

use super::Limits;
use crate::scratch::left_by_the_dead;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Groups are named `hallmark-<pid of the rebuilder>-<number>`.
const PREFIX: &str = "hallmark-";
/// Where this process goes when its own group is to have groups below it.
const ASIDE: &str = "hallmark";
/// A killed process is gone from its group after this many short waits, or never.
const WAITS: u32 = 200;
const WAIT: Duration = Duration::from_millis(5);

static NUMBER: AtomicU32 = AtomicU32::new(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The control group of one job; killed and removed when dropped.
#[derive(Debug)]
pub struct JobCgroup {
    version: Version,
    /// Version 2: one directory. Version 1: memory, then pids.
    dirs: Vec<PathBuf>,
}

impl JobCgroup {
    /// Makes a group with these limits; `None` when this process may not.
    pub fn create(limits: &Limits) -> Option<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let (version, parents) = parents()?;
        let mut group = Self {
            version: *version,
            dirs: Vec::new(),
        };
        for parent in parents {
            let dir = parent.join(&name);
            fs::create_dir(&dir).ok()?;
            group.dirs.push(dir);
        }
        group.limit(limits).ok()?;
        Some(group)
    }

    fn limit(&self, limits: &Limits) -> std::io::Result<()> {
        let memory = limits.memory_bytes.to_string();
        let processes = limits.max_processes.to_string();
        let dir = |index: usize| self.dirs.get(index).ok_or(std::io::ErrorKind::NotFound);
        if self.version == Version::Two {
            fs::write(dir(0)?.join("memory.max"), memory)?;
            fs::write(dir(0)?.join("pids.max"), processes)?;
            // Absent without swap, and with old kernels; the limit above holds all the same.
            let _ = fs::write(dir(0)?.join("memory.swap.max"), "0");
            let _ = fs::write(dir(0)?.join("memory.oom.group"), "1");
        } else {
            fs::write(dir(0)?.join("memory.limit_in_bytes"), &memory)?;
            fs::write(dir(1)?.join("pids.max"), processes)?;
            let _ = fs::write(dir(0)?.join("memory.memsw.limit_in_bytes"), memory);
        }
        Ok(())
    }

    /// Files that a process writes its number to in order to join.
    pub fn joins(&self) -> impl Iterator<Item = PathBuf> {
        self.dirs.iter().map(|dir| dir.join("cgroup.procs"))
    }

    /// Whether the kernel killed something for its memory.
    pub fn out_of_memory(&self) -> bool {
        let file = if self.version == Version::Two {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        self.counter(0, file, "oom_kill") > 0
    }

    /// Whether a fork was refused for the number of processes.
    pub fn out_of_processes(&self) -> bool {
        self.counter(self.dirs.len().saturating_sub(1), "pids.events", "max") > 0
    }

    fn counter(&self, dir: usize, file: &str, key: &str) -> u64 {
        let Some(dir) = self.dirs.get(dir) else {
            return 0;
        };
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for JobCgroup {
    fn drop(&mut self) {
        for dir in &self.dirs {
            remove(dir);
        }
    }
}

/// Kills what is in a group and removes it. Forks are outrun by repeating.
fn remove(dir: &Path) {
    for _ in 0..WAITS {
        let _ = fs::write(dir.join("cgroup.kill"), "1");
        let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if fs::remove_dir(dir).is_ok() || !dir.exists() {
            return;
        }
        std::thread::sleep(WAIT);
    }
    // Another user's, perhaps: it costs nothing but its name.
    tracing::debug!(cgroup.dir = %dir.display(), "control group {} cannot be removed", dir.display());
}

/// Removes groups of rebuilders that are no longer alive, with whatever still runs in them.
pub fn sweep() {
    let Some((_, parents)) = parents() else {
        return;
    };
    for parent in parents {
        for group in left_by_the_dead(parent, PREFIX) {
            remove(&group);
        }
    }
}

/// Directories under which groups can be made: one for version 2; memory and pids for version 1. Found
/// out once, as it may take moving this process.
fn parents() -> Option<&'static (Version, Vec<PathBuf>)> {
    static FOUND: OnceLock<Option<(Version, Vec<PathBuf>)>> = OnceLock::new();
    FOUND.get_or_init(find_parents).as_ref()
}

fn find_parents() -> Option<(Version, Vec<PathBuf>)> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut memory = None;
    let mut pids = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(at), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let at = PathBuf::from(at);
        if kind == "cgroup2" {
            let mut places = vec![at.clone()];
            places.extend(own_group(&at).filter(|own| *own != at));
            if let Some(place) = places.into_iter().find(|place| delegates(place)) {
                return Some((Version::Two, vec![place]));
            }
        }
        if kind == "cgroup" {
            let has = |controller| options.split(',').any(|option| option == controller);
            if has("memory") {
                memory = Some(at.clone());
            }
            if has("pids") {
                pids = Some(at);
            }
        }
    }
    Some((Version::One, vec![memory?, pids?]))
}

/// The group of version 2 that this process is in, below the mount `at`.
fn own_group(at: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(if path.is_empty() {
        at.to_owned()
    } else {
        at.join(path)
    })
}

/// Whether we can make groups below `dir` that get memory and process limits, after asking for them.
///
/// A group with processes in it cannot have such groups below, unless it is the topmost of all. When
/// the processes in it are this one, it moves aside: that is how a service manager delegates.
fn delegates(dir: &Path) -> bool {
    let has = |file: &str| {
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        ["memory", "pids"]
            .iter()
            .all(|wanted| text.split_whitespace().any(|found| found == *wanted))
    };
    let ask = || fs::write(dir.join("cgroup.subtree_control"), "+memory +pids");
    let probe = dir.join(format!("{PREFIX}{}-probe", std::process::id()));
    if !has("cgroup.controllers") || fs::create_dir(&probe).is_err() {
        return false;
    }
    let _ = fs::remove_dir(&probe);
    if ask().is_ok() && has("cgroup.subtree_control") {
        return true;
    }
    let aside = dir.join(ASIDE);
    let us = std::process::id().to_string();
    let _ = fs::create_dir(&aside);
    if fs::write(aside.join("cgroup.procs"), &us).is_err() {
        let _ = fs::remove_dir(&aside);
        return false;
    }
    if ask().is_ok() && has("cgroup.subtree_control") {
        return true;
    }
    // Others are in it as well; back to them.
    let _ = fs::write(dir.join("cgroup.procs"), us);
    let _ = fs::remove_dir(&aside);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_kills_its_members_and_is_gone_when_dropped() {
        let Some(group) = JobCgroup::create(&Limits::default()) else {
            eprintln!(
                "SKIPPED a_group_kills_its_members_and_is_gone_when_dropped: no writable cgroup"
            );
            return;
        };
        let dirs = group.dirs.clone();
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        for file in group.joins() {
            fs::write(file, child.id().to_string()).unwrap();
        }
        assert!(!group.out_of_memory() && !group.out_of_processes());
        // Reaps as the group is dropped: a zombie stays in its group until then.
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        drop(group);
        assert!(!reaper.join().unwrap().success());
        assert!(dirs.iter().all(|dir| !dir.exists()));
    }
}
