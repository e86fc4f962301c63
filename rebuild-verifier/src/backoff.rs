//! Pauses between attempts: they double, and chance spreads them so that many do not return at once.

use std::time::Duration;

/// Shortest pause, milliseconds.
const FIRST_MILLIS: u64 = 1_000;
/// Longest pause, milliseconds.
const LONGEST_MILLIS: u64 = 60_000;

/// Counts attempts that failed.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: between half and all of 1 s, 2 s, 4 s, … 60 s.
    pub fn pause(&mut self) -> Duration {
        let mut random = [0; 2];
        // Without random bytes the pause is only less spread.
        let _ = getrandom::fill(&mut random);
        self.pause_with(u16::from_be_bytes(random))
    }

    fn pause_with(&mut self, random: u16) -> Duration {
        let whole = (FIRST_MILLIS << self.failures.min(10)).min(LONGEST_MILLIS);
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(whole / 2 + whole / 2 * u64::from(random) / u64::from(u16::MAX))
    }

    /// An attempt worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..9)
            .map(|_| backoff.pause_with(u16::MAX).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.pause_with(0).as_millis(), 500);
    }
}
