//! Waiting by asking again, with a deadline and a last word.

use std::time::{Duration, Instant};

/// Pause before the second question; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Asks `probe` until it answers `Ok` or `limit` is over.
///
/// * `Err` is what was seen instead; the last one is returned when time is up.
pub fn until<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => return Err(seen),
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until everything that was issued so far is older than zero days.
///
/// Instants are whole seconds, and two releases of one second are written a second apart, so the later one's may lie
/// ahead.
pub fn until_issued_is_past() {
    std::thread::sleep(Duration::from_secs(2));
}
