//! How fast: a common limit for all workers, and the least that an upstream must give.

use super::request::Patience;
use std::io::{self, ErrorKind, Read};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets through so many bytes a second, whoever they are for.
pub(crate) struct Limit {
    bytes_per_sec: Option<u64>,
    /// When the bytes so far are paid for.
    paid_until: Mutex<Option<Instant>>,
}

impl Limit {
    pub fn new(bytes_per_sec: Option<u64>) -> Self {
        Self {
            bytes_per_sec: bytes_per_sec.filter(|rate| *rate > 0),
            paid_until: Mutex::new(None),
        }
    }

    /// The largest piece to read at once: small enough that a low limit does not come in bursts.
    pub fn piece_bytes(&self, most: usize) -> usize {
        match self.bytes_per_sec {
            None => most,
            Some(rate) => usize::try_from(rate / 10).map_or(most, |tenth| tenth.clamp(512, most)),
        }
    }

    /// Waits until these bytes are within the limit.
    pub fn pass(&self, bytes: usize) {
        let wait = self.owed(bytes, Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    fn owed(&self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_sec else {
            return Duration::ZERO;
        };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut paid = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until = paid.map_or(now, |until| until.max(now)) + cost;
        *paid = Some(until);
        until - now
    }
}

/// Watches one download.
pub(crate) struct Pace {
    patience: Patience,
    spent: Duration,
    bytes: u64,
}

impl Pace {
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            spent: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Notes a read and how long it took; the bytes a second when that is too slow.
    pub fn read(&mut self, bytes: usize, took: Duration) -> Result<(), u64> {
        self.spent += took;
        self.bytes += bytes as u64;
        if self.spent < self.patience.slow_window {
            return Ok(());
        }
        let rate = (self.bytes as f64 / self.spent.as_secs_f64()) as u64;
        (self.spent, self.bytes) = (Duration::ZERO, 0);
        match rate < self.patience.slowest_bytes_per_sec {
            true => Err(rate),
            false => Ok(()),
        }
    }
}

/// A body that ends with an error when it comes too slowly.
pub(crate) struct Paced<R> {
    body: R,
    pace: Pace,
    /// Waited for all of it so far.
    spent: Duration,
    bytes: u64,
    most: Option<Duration>,
    too_slow: Option<u64>,
}

impl<R: Read> Paced<R> {
    /// `most`: longest wait for all of it.
    pub fn new(body: R, patience: Patience, most: Option<Duration>) -> Self {
        Self {
            body,
            pace: Pace::new(patience),
            spent: Duration::ZERO,
            bytes: 0,
            most,
            too_slow: None,
        }
    }

    /// The bytes a second, when it ended because of them.
    pub fn too_slow(&self) -> Option<u64> {
        self.too_slow
    }

    fn note(&mut self, count: usize, took: Duration) -> Result<(), u64> {
        self.spent += took;
        self.bytes += count as u64;
        // The end of it is not slow.
        if count == 0 {
            return Ok(());
        }
        self.pace.read(count, took)?;
        match self.most.is_some_and(|most| self.spent > most) {
            true => Err((self.bytes as f64 / self.spent.as_secs_f64()) as u64),
            false => Ok(()),
        }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let count = self.body.read(buffer)?;
        match self.note(count, start.elapsed()) {
            Ok(()) => Ok(count),
            Err(bytes_per_sec) => {
                self.too_slow = Some(bytes_per_sec);
                let why = format!("it is too slow: {bytes_per_sec} bytes a second");
                Err(io::Error::new(ErrorKind::TimedOut, why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_all_together_and_unused_time_is_not_saved_up() {
        let limit = Limit::new(Some(1_000));
        let start = Instant::now();
        assert_eq!(limit.owed(500, start), Duration::from_millis(500));
        assert_eq!(limit.owed(500, start), Duration::from_secs(1));
        let later = start + Duration::from_secs(60);
        assert_eq!(limit.owed(100, later), Duration::from_millis(100));
        assert_eq!(Limit::new(None).owed(1 << 30, start), Duration::ZERO);
        assert_eq!(limit.piece_bytes(1 << 16), 512);
    }

    #[test]
    fn a_small_file_must_come_to_its_end_even_when_it_comes_on() {
        let patience = Patience {
            slowest_bytes_per_sec: 100,
            slow_window: Duration::from_secs(10),
            ..Patience::default()
        };
        let most = Some(Duration::from_secs(40));
        let mut paced = Paced::new(io::empty(), patience, most);
        let second = Duration::from_secs(1);
        let end = (1..100).find_map(|n| Some((n, paced.note(150, second).err()?)));
        assert_eq!(end, Some((41, 150)));
        let mut endless = Paced::new(io::empty(), patience, None);
        assert!((1..100).all(|_| endless.note(150, second).is_ok()));
        assert!((1..100).any(|_| endless.note(1, second).is_err()));
    }

    #[test]
    fn a_trickle_is_too_slow_and_a_pause_is_not() {
        let patience = Patience {
            slowest_bytes_per_sec: 100,
            slow_window: Duration::from_secs(10),
            ..Patience::default()
        };
        let mut pace = Pace::new(patience);
        assert_eq!(pace.read(10_000, Duration::from_secs(9)), Ok(()));
        assert_eq!(pace.read(1, Duration::from_secs(2)), Ok(()));
        let trickle = (0..20).find_map(|_| pace.read(1, Duration::from_secs(1)).err());
        assert_eq!(trickle, Some(1));
    }
}
