//! How much each key may be asked for. Whoever has taken over the server can then still not have
//! everything signed before somebody looks, nor fill the disk with refusals.
//!
//! A token bucket a key: it holds a minute's worth and fills up again all the time. An empty one is an
//! alarm, in the log and in the journal, at most once a minute a key.

use repo_model::Timestamp;
use repo_model::config::SignerConfig;
use std::sync::{Mutex, PoisonError};

/// Seconds between two alarms about one key.
const ALARM_SECS: i64 = 60;

/// Which key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Package,
    Metadata,
}

impl Key {
    /// Its name in journal, log and answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Metadata => "metadata",
        }
    }
}

/// The buckets.
#[derive(Debug)]
pub(super) struct Limits {
    package: Mutex<Bucket>,
    metadata: Mutex<Bucket>,
}

/// A request that must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany {
    /// The limit.
    pub(super) per_minute: u32,
    /// Whether this is the first in a minute.
    pub(super) alarm: bool,
}

impl Limits {
    pub(super) fn new(config: &SignerConfig, now: Timestamp) -> Self {
        let full = |per_minute| Mutex::new(Bucket::full(per_minute, now));
        Self {
            package: full(config.package_requests_per_minute),
            metadata: full(config.release_requests_per_minute),
        }
    }

    /// Takes one request out of the key's bucket.
    pub(super) fn take(&self, key: Key, now: Timestamp) -> Result<(), TooMany> {
        let bucket = match key {
            Key::Package => &self.package,
            Key::Metadata => &self.metadata,
        };
        // Nothing that holds the lock can panic.
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(now)
    }
}

#[derive(Debug)]
struct Bucket {
    per_minute: u32,
    /// In sixtieths of a request: `per_minute` of them come in each second.
    level: u64,
    filled_at: Timestamp,
    alarmed_at: Option<Timestamp>,
}

/// One request.
const REQUEST: u64 = 60;

impl Bucket {
    fn full(per_minute: u32, now: Timestamp) -> Self {
        Self {
            per_minute,
            level: u64::from(per_minute) * REQUEST,
            filled_at: now,
            alarmed_at: None,
        }
    }

    fn take(&mut self, now: Timestamp) -> Result<(), TooMany> {
        if self.per_minute == 0 {
            return Ok(());
        }
        // A clock that was set back fills nothing, and does not stop the filling until it is back.
        let secs = u64::try_from(now.unix_secs() - self.filled_at.unix_secs()).unwrap_or(0);
        let rate = u64::from(self.per_minute);
        self.level = (self.level + secs.min(60) * rate).min(rate * REQUEST);
        self.filled_at = now;
        if self.level >= REQUEST {
            self.level -= REQUEST;
            return Ok(());
        }
        let quiet_for = self
            .alarmed_at
            .map(|at| now.unix_secs().abs_diff(at.unix_secs()));
        let alarm = quiet_for.is_none_or(|secs| secs >= ALARM_SECS.unsigned_abs());
        if alarm {
            self.alarmed_at = Some(now);
        }
        Err(TooMany {
            per_minute: self.per_minute,
            alarm,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(1_763_600_000 + secs)
    }

    #[test]
    fn a_bucket_gives_a_minute_s_worth_at_once_and_then_its_rate() {
        let mut bucket = Bucket::full(30, at(0));
        let given = |bucket: &mut Bucket, now| {
            (0..100)
                .take_while(|_| bucket.take(at(now)).is_ok())
                .count()
        };
        for (now, count) in [
            (0, 30),
            (0, 0),
            (1, 0),
            (2, 1),
            (12, 5),
            (1_000, 30),
            (1_001, 0),
        ] {
            assert_eq!(given(&mut bucket, now), count, "at {now}");
        }
    }

    #[test]
    fn a_clock_set_back_neither_fills_nor_starves() {
        let mut bucket = Bucket::full(60, at(0));
        while bucket.take(at(0)).is_ok() {}
        assert!(bucket.take(at(-5_000)).is_err());
        assert!(bucket.take(at(-4_999)).is_ok());
    }

    #[test]
    fn one_alarm_a_minute_and_zero_is_no_limit() {
        let mut bucket = Bucket::full(1, at(0));
        bucket.take(at(0)).unwrap();
        let alarms: Vec<bool> = [0, 1, 30, 59]
            .into_iter()
            .filter_map(|now| bucket.take(at(now)).err())
            .map(|no| no.alarm)
            .collect();
        assert_eq!(alarms, [true, false, false, false]);
        bucket.take(at(60)).unwrap();
        assert!(bucket.take(at(60)).unwrap_err().alarm);
        let mut open = Bucket::full(0, at(0));
        assert!((0..10_000).all(|_| open.take(at(0)).is_ok()));
    }
}
