//! The program itself, and a process of it that serves.

use super::World;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Writes a world's configuration file, with further lines of `[signer]` and below; returns its path.
pub fn configuration(world: &World, more: &str) -> PathBuf {
    let path = world.dir.path().join("hallmark.toml");
    let config = &world.config;
    let quoted = |path: &Path| serde_json::to_string(path).unwrap();
    let text = format!(
        "[signer]\nsocket = {}\nstate_dir = {}\npolicy_file = {}\nunsigned_policy = {}\n{more}",
        quoted(&config.socket),
        quoted(&config.state_dir),
        quoted(&config.policy_file),
        config.unsigned_policy
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// The program with that configuration.
pub fn program(world: &World, arguments: &[&str], more: &str) -> Command {
    within(&[], world, arguments, more)
}

/// The same behind a program that runs it, with arguments of its own.
pub fn within(prefix: &[String], world: &World, arguments: &[&str], more: &str) -> Command {
    let binary = env!("CARGO_BIN_EXE_hallmark-signer").to_owned();
    let mut words = prefix.iter().chain([&binary]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args(arguments)
        .arg("--config")
        .arg(configuration(world, more))
        .env("HALLMARK_LOG", "info");
    command
}

/// A process that serves; killed when dropped.
pub struct Serving(Child);

impl Serving {
    /// Starts it and waits until it answers. `None` when it ended instead: [`log`] says why.
    pub fn start(world: &World, mut command: Command) -> Option<Self> {
        let to = std::fs::File::create(log_file(world)).unwrap();
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = quiet.stderr(Stdio::from(to)).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(&world.config.socket).is_err() {
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < deadline, "not ready: {}", log(world));
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self(child))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn tell(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Asks it to end; returns its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.tell(rustix::process::Signal::TERM);
        self.0.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_file(world: &World) -> PathBuf {
    world.dir.path().join("log")
}

/// What the last process that served said.
pub fn log(world: &World) -> String {
    std::fs::read_to_string(log_file(world)).unwrap_or_default()
}
