//! `/operator/…`: pages behind the log-in. What their forms do, the API does too, by the same functions.

mod decide;
mod log_in;
mod looks;
mod tokens;

pub use decide::{decide, reject, retry, unsigned_waiver, waive};
pub use log_in::{log_in, log_in_page, log_out};
pub use looks::{audit, held, keys, queue};
pub use tokens::{create_token, revoke_token, tokens};

use crate::app::now;
use crate::http::desk::Operator;
use web::{Desk, Site};

/// Who looks at a page, and what was done just now.
fn desk<'a>(site: &'a Site<'a>, operator: &'a Operator, done: Option<&'a str>) -> Desk<'a> {
    Desk {
        site,
        who: operator.bearer.name(),
        csrf: operator.csrf.reveal(),
        done,
        now: now(),
    }
}

/// What a page says after a form was sent: the form's answer leads to it with `?done=CODE`, so that loading it
/// again sends nothing again.
const DONE: &[(&str, &str)] = &[
    ("retry", "It is tried again."),
    (
        "reject",
        "It is rejected, and never goes out with these bytes.",
    ),
    (
        "waiver",
        "The waiver was taken in; what it names is judged again.",
    ),
    ("revoke", "The token is revoked."),
];

fn done(code: Option<&str>) -> Option<&'static str> {
    let row = DONE.iter().find(|(own, _)| Some(*own) == code);
    row.map(|(_, sentence)| *sentence)
}
