//! Measuring questions, for tests that run on request.

use std::time::{Duration, Instant};

/// What is measured against which limit.
pub struct Goal {
    /// How often each question is asked.
    pub rounds: usize,
    /// Longest that the 99th percentile may be.
    pub limit: Duration,
}

/// How long questions took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The longest.
    pub most: Duration,
}

impl Goal {
    /// Asks so often.
    pub fn times(&self, mut ask: impl FnMut(usize)) -> Times {
        let mut times: Vec<Duration> = (0..self.rounds)
            .map(|round| {
                let started = Instant::now();
                ask(round);
                started.elapsed()
            })
            .collect();
        times.sort();
        Times {
            p50: times[self.rounds / 2],
            p99: times[self.rounds * 99 / 100],
            most: times[self.rounds - 1],
        }
    }

    /// Asks so often, prints median, 99th percentile and maximum, and panics when the goal is missed.
    pub fn p99(&self, name: &str, ask: impl FnMut(usize)) {
        let Times { p50, p99, most } = self.times(ask);
        eprintln!("{name}: p50 {p50:?}, p99 {p99:?}, most {most:?}");
        assert!(p99 < self.limit, "{name}: {p99:?}");
    }
}
