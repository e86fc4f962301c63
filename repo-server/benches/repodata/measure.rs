//! What a command costs: seconds of wall clock and of CPU, and peak memory, by looking at its process while it runs. Ours and
//! theirs are measured alike.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::fs;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Cost of one run.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds.
    pub wall: f64,
    /// Seconds, of all threads.
    pub cpu: f64,
    /// MB of resident memory.
    pub peak_mb: f64,
}

/// How often a process is asked for its peak: asking costs it time, and what it has reached is forgotten only at its end.
const LOOK: Duration = Duration::from_millis(5);

/// Runs a command that must succeed and that becomes the measured program by `exec`.
pub fn run(command: &mut Command) -> Cost {
    // What another program has written must not be waited for at this one's expense.
    rustix::fs::sync();
    // A pipe that nobody reads would stop a program that says much.
    let mut said = tempfile::tempfile().expect("a temporary file");
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone().expect("a file"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let process = format!("/proc/{}", child.id());
    let ended = AtomicBool::new(false);
    let (wall, peak_kb) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| peak_until(&ended, &process));
        wait_without_reaping(&child);
        let wall = begun.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (wall, looking.join().expect("no panic"))
    });
    // The process is a zombie now, and its times are final.
    let cpu = cpu_of(&fs::read_to_string(format!("{process}/stat")).unwrap_or_default());
    let status = child.wait().expect("a child");
    if !status.success() {
        let mut text = Vec::new();
        said.rewind().expect("a file");
        said.read_to_end(&mut text).expect("a file");
        panic!("{command:?}: {}", String::from_utf8_lossy(&text));
    }
    Cost {
        wall,
        cpu,
        peak_mb: peak_kb / 1_024.0,
    }
}

fn peak_until(ended: &AtomicBool, process: &str) -> f64 {
    let mut peak_kb = 0.0_f64;
    while !ended.load(Ordering::Relaxed) {
        let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        peak_kb = peak_kb.max(peak_of(&status).unwrap_or_default());
        std::thread::sleep(LOOK);
    }
    peak_kb
}

fn wait_without_reaping(child: &Child) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process");
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).expect("own child");
}

/// proc(5): `VmHWM:     5432 kB`, of the program that runs since the last `exec`.
fn peak_of(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// proc(5): fields 14 and 15, user and system time in hundredths of a second.
fn cpu_of(stat: &str) -> f64 {
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = after_name.split(' ').skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}
