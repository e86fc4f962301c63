//! A clock that is behind: whoever has set it back, or a machine that cannot keep time, takes what is old for new. What
//! was signed at a time that is to come shows it.

use crate::Timestamp;

/// What to do about it.
pub(super) const SET_IT: &str = "set the clock, and verify again: to a clock that is behind, what is old looks new (or, where this clock is right, theirs is ahead)";

/// The finding, when something was signed later than this clock can know.
///
/// * `what`: with its verb, as in `release 4 is`.
pub(super) fn behind(what: &str, at: Timestamp, now: Timestamp) -> Option<String> {
    let says = || format!("the clock of this machine is behind: {what} of {at}, and it says {now}");
    at.is_to_come(now).then(says)
}
