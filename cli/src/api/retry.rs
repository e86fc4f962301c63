//! When to try again, and how long to wait before.

use super::ApiError;
use std::time::Duration;

/// How patient a caller is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries in all, the first one included.
    pub tries: u32,
    /// Wait before the second try; doubled for each further one.
    pub first_wait: Duration,
    /// Longest wait.
    pub longest_wait: Duration,
}

impl Patience {
    /// For people who wait at the terminal: about one second.
    pub const READING: Self = Self {
        tries: 3,
        first_wait: Duration::from_millis(200),
        longest_wait: Duration::from_secs(2),
    };
    /// For uploads, which should outlive a restart of the server: about a minute.
    pub const UPLOADING: Self = Self {
        tries: 8,
        first_wait: Duration::from_millis(500),
        longest_wait: Duration::from_secs(15),
    };

    /// The wait after `failed` failures in a row; none: give up.
    ///
    /// * `spread`: any byte; moves the wait within its upper half, so that many clients that
    ///   failed together do not come back together.
    pub fn wait_after(&self, failed: u32, error: &ApiError, spread: u8) -> Option<Duration> {
        if failed >= self.tries || !error.is_transient() {
            return None;
        }
        let doubled = self
            .first_wait
            .saturating_mul(1 << failed.saturating_sub(1).min(16));
        let full = doubled.min(self.longest_wait);
        Some(full.mul_f64(0.5 + f64::from(spread) / 510.0))
    }
}

/// A random byte; 128 when the system has none to give, for it only spreads waits.
pub fn spread() -> u8 {
    let mut byte = [128];
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

/// Runs `attempt` until it succeeds, fails for good, or patience ends. `attempt` must be idempotent.
pub fn with_patience<T>(
    patience: Patience,
    mut attempt: impl FnMut() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut failed = 0;
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failed += 1;
        match patience.wait_after(failed, &error, spread()) {
            Some(wait) => std::thread::sleep(wait),
            None => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::wire::ErrorBody;

    fn broken() -> ApiError {
        ApiError::Broken {
            url: "u".to_owned(),
            status: 503,
            message: "m".to_owned(),
        }
    }

    fn refused(status: u16) -> ApiError {
        let body = ErrorBody {
            error: "no".to_owned(),
            code: "no".to_owned(),
            hint: None,
        };
        ApiError::Refused {
            status,
            body: Box::new(body),
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_then_end() {
        let patience = Patience {
            tries: 5,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_millis(300),
        };
        let wait = |failed| {
            patience
                .wait_after(failed, &broken(), 255)
                .map(|wait| wait.as_millis())
        };
        assert_eq!(
            [1, 2, 3, 4, 5].map(wait),
            [Some(100), Some(200), Some(300), Some(300), None]
        );
        assert_eq!(
            patience.wait_after(1, &broken(), 0),
            Some(Duration::from_millis(50))
        );
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let patience = Patience::UPLOADING;
        assert!(patience.wait_after(1, &broken(), 0).is_some());
        assert!(patience.wait_after(1, &refused(429), 0).is_some());
        for status in [400, 401, 403, 404, 409, 413, 422] {
            assert!(
                patience.wait_after(1, &refused(status), 0).is_none(),
                "{status}"
            );
        }
    }

    #[test]
    fn an_attempt_that_recovers_gives_its_value_and_one_that_is_refused_is_made_once() {
        let patience = Patience {
            first_wait: Duration::ZERO,
            ..Patience::READING
        };
        let mut calls = 0;
        let value = with_patience(patience, || {
            calls += 1;
            if calls < 3 { Err(broken()) } else { Ok(calls) }
        });
        assert_eq!(value.unwrap(), 3);
        let mut calls = 0;
        let refusal = with_patience(patience, || {
            calls += 1;
            Err::<(), _>(refused(409))
        });
        assert_eq!((refusal.unwrap_err().refused_with(), calls), (Some(409), 1));
    }
}
