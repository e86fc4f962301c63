//! Services that a test needs, as processes that end with it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Processes that are killed when this is dropped, the last one first.
#[derive(Default)]
pub struct Children(Vec<Child>);

impl Children {
    /// Starts one; what it says goes to a file.
    pub fn start(&mut self, command: &mut Command, log: &Path) {
        let to = std::fs::File::create(log).unwrap();
        let quiet = command.stdin(Stdio::null()).stdout(to.try_clone().unwrap());
        let child = quiet.stderr(to).spawn();
        self.0
            .push(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// Whether the one that was started last has ended by itself.
    pub fn last_has_ended(&mut self) -> bool {
        let last = self.0.last_mut();
        last.is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends the one that was started last.
    pub fn end_last(&mut self) {
        if let Some(mut child) = self.0.pop() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        while !self.0.is_empty() {
            self.end_last();
        }
    }
}

/// Waits until something is so; `what` and the log are told when it never is.
pub fn until(what: &str, log: &Path, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "{what}: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port of this machine that nobody listens on, whose successor is free as well.
pub fn free_port_pair() -> u16 {
    let bind = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port));
    loop {
        let first = bind(0).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && bind(port + 1).is_ok() {
            return port;
        }
    }
}
