//! Group commit: one flush of the journal serves every line that was written before it began, so
//! that requests on many connections wait for the disk together and not one after the other.
//!
//! A line is written under the ledger's lock and waited for outside it. Lines reach the disk in the
//! order they were written: who waited for a later one has the earlier ones too.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What is known about the file; positions in bytes from its start.
#[derive(Debug)]
struct Progress {
    /// End of the last whole line that was written.
    written: u64,
    /// End of the last line that is on the disk.
    durable: u64,
    /// Whether somebody flushes just now.
    flushing: bool,
    /// After a failed flush nobody knows what is on the disk.
    failed: bool,
}

/// The flushing side of one file; shared by all who wait.
#[derive(Debug)]
pub(crate) struct Flusher {
    file: File,
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Flusher {
    /// * `file`: a handle of the file that the lines are written to.
    /// * `end`: its length, all of it on the disk.
    pub(crate) fn new(file: File, end: u64) -> Arc<Self> {
        let progress = Progress {
            written: end,
            durable: end,
            flushing: false,
            failed: false,
        };
        Arc::new(Self {
            file,
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        })
    }

    /// Takes note of a line that ends at `end`.
    pub(crate) fn wrote(self: &Arc<Self>, end: u64) -> Ticket {
        self.lock().written = end;
        Ticket {
            flusher: Arc::clone(self),
            end,
        }
    }

    /// Whether a flush failed; then no line may be written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        // No code that holds the lock can panic half-way through a change.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self, end: u64) -> io::Result<()> {
        let mut progress = self.lock();
        loop {
            if progress.durable >= end {
                return Ok(());
            }
            if progress.failed {
                return Err(io::Error::other("the flush failed for somebody else"));
            }
            if progress.flushing {
                let waited = self.changed.wait(progress);
                progress = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            progress.flushing = true;
            let target = progress.written;
            drop(progress);
            let flushed = self.file.sync_data();
            progress = self.lock();
            progress.flushing = false;
            match &flushed {
                Ok(()) => progress.durable = target,
                Err(_) => progress.failed = true,
            }
            self.changed.notify_all();
            flushed?;
        }
    }
}

/// A line that is written but perhaps not on the disk yet.
#[derive(Debug)]
#[must_use = "what the line allows may leave the process only once it is on the disk"]
pub(crate) struct Ticket {
    flusher: Arc<Flusher>,
    end: u64,
}

impl Ticket {
    /// Returns once the line, and every line before it, is on the disk.
    pub(crate) fn durable(&self) -> io::Result<()> {
        self.flusher.until(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn whoever_waits_for_a_later_line_has_the_earlier_ones() {
        let flusher = Flusher::new(tempfile::tempfile().unwrap(), 10);
        let (first, second) = (flusher.wrote(20), flusher.wrote(30));
        second.durable().unwrap();
        assert_eq!(flusher.lock().durable, 30);
        first.durable().unwrap();
    }

    #[test]
    fn many_wait_together() {
        let flusher = Flusher::new(tempfile::tempfile().unwrap(), 0);
        std::thread::scope(|scope| {
            for end in 1..=16 {
                let ticket = flusher.wrote(end);
                scope.spawn(move || ticket.durable().unwrap());
            }
        });
        assert_eq!(flusher.lock().durable, 16);
    }

    #[test]
    fn after_a_failed_flush_nobody_is_told_that_a_line_is_safe() {
        // A pipe cannot be flushed.
        let (_reader, writer) = std::io::pipe().unwrap();
        let flusher = Flusher::new(File::from(OwnedFd::from(writer)), 0);
        let (first, second) = (flusher.wrote(1), flusher.wrote(2));
        assert!(second.durable().is_err());
        assert!(first.durable().is_err());
        assert!(flusher.has_failed());
    }
}
