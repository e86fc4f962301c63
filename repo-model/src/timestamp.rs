//! Whole seconds since 1970 in UTC. The clock is never read here: times come in as arguments.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, whole seconds since 1970-01-01T00:00:00Z. Serialises as RFC 3339 with `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time. The sender's fault; do not retry.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time such as 2026-11-20T10:06:00Z")]
pub struct ParseTimestampError {
    text: String,
}

/// Clocks of other machines may be a little ahead: so many seconds.
pub const CLOCK_SKEW_SECS: i64 = 600;

impl Timestamp {
    /// The years 0000 to 9999, the range that RFC 3339 can write.
    const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

    /// Takes seconds since 1970; values outside the years 0 to 9999 are clamped to them.
    pub fn from_unix_secs(secs: i64) -> Self {
        Self(secs.clamp(*Self::RANGE.start(), *Self::RANGE.end()))
    }

    /// Seconds since 1970.
    pub const fn unix_secs(self) -> i64 {
        self.0
    }

    /// This time moved by `secs` seconds (negative: earlier), saturating.
    #[must_use]
    pub fn plus_secs(self, secs: i64) -> Self {
        Self::from_unix_secs(self.0.saturating_add(secs))
    }

    /// Whether it is later than any good clock can say at `now`: the clock that said this time is ahead, or the one
    /// that says `now` is behind.
    pub fn is_to_come(self, now: Self) -> bool {
        self > now.plus_secs(CLOCK_SKEW_SECS)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .ok_or(fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;
    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        OffsetDateTime::parse(text, &Rfc3339)
            .map(|time| Self::from_unix_secs(time.unix_timestamp()))
            .map_err(|_| ParseTimestampError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_written_and_never_overflow() {
        for secs in [0, 1_763_600_000, -1, i64::MAX, i64::MIN] {
            let time = Timestamp::from_unix_secs(secs);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
        assert_eq!(
            Timestamp::from_unix_secs(0).to_string(),
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn what_is_to_come_is_more_than_a_clock_s_fault_ahead() {
        let now = Timestamp::from_unix_secs(1_763_600_000);
        for (secs, to_come) in [(-1, false), (0, false), (600, false), (601, true)] {
            assert_eq!(now.plus_secs(secs).is_to_come(now), to_come, "{secs}");
        }
        let end = Timestamp::from_unix_secs(i64::MAX);
        assert!(end.is_to_come(now) && !now.is_to_come(end) && !end.is_to_come(end));
    }
}
