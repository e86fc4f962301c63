//! How long a connection is listened to: long between requests, not long within one, and no longer
//! than we are told to stop.

use crate::server::{Stop, TICK};
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connection on which nothing is asked for so long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Within a request, the longest wait for the next byte.
const STALL: Duration = Duration::from_secs(30);

/// A socket to read from that gives up in time.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: UnixStream,
    stop: Stop,
    within_request: bool,
    since: Instant,
}

impl Patient {
    pub(crate) fn new(stream: UnixStream, stop: Stop) -> io::Result<Self> {
        stream.set_read_timeout(Some(TICK))?;
        Ok(Self {
            stream,
            stop,
            within_request: false,
            since: Instant::now(),
        })
    }

    /// The next byte begins a new request.
    pub(crate) fn between_requests(&mut self) {
        self.within_request = false;
        self.since = Instant::now();
    }

    /// Whether to wait another tick; `Ok(true)` is the end of the connection.
    fn gives_up(&self) -> io::Result<bool> {
        let waited = self.since.elapsed();
        if self.within_request && waited > STALL {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                "a request stopped half-way",
            ));
        }
        Ok(!self.within_request && (self.stop.is_stopped() || waited > IDLE))
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(read) => {
                    self.within_request = true;
                    self.since = Instant::now();
                    return Ok(read);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        if self.gives_up()? {
                            return Ok(0);
                        }
                    }
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}
