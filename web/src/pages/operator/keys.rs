//! `/operator/keys`: the signer's keys, where each is in its life, and what is to be done.

use super::{At, Desk, Nav, tabs};
use crate::RenderError;
use crate::pages::Frame;
use crate::text::{Chip, Tone, When};
use askama::Template;
use repo_model::wire::signer::{KeyState, PublishedKey, PublishedLogKey};

/// The keys.
#[derive(Debug, Clone, Copy)]
pub struct KeysView<'a> {
    /// Who looks.
    pub desk: Desk<'a>,
    /// As the signer listed them last; none when it was never reached.
    pub keys: Option<&'a [PublishedKey]>,
    /// Those of the log; empty when the signer did not tell of them.
    pub log_keys: &'a [PublishedLogKey],
    /// Whether the signer answers now.
    pub answers: bool,
}

#[derive(Template)]
#[template(path = "operator/keys.html")]
struct Page<'a> {
    frame: Frame<'a>,
    desk: Desk<'a>,
    tabs: Vec<Nav>,
    answers: bool,
    known: bool,
    rows: Vec<Row<'a>>,
    log_rows: Vec<LogRow<'a>>,
}

struct LogRow<'a> {
    key: &'a PublishedLogKey,
    made: Option<When>,
}

struct Row<'a> {
    key: &'a PublishedKey,
    state: Chip,
    made: Option<When>,
    expires: Option<When>,
    warnings: Vec<String>,
}

/// Renders the keys.
pub fn keys(view: &KeysView<'_>) -> Result<String, RenderError> {
    let row = |key| row(&view.desk, key);
    Page {
        frame: view.desk.frame("Keys"),
        desk: view.desk,
        tabs: tabs(At::Keys),
        answers: view.answers,
        known: view.keys.is_some(),
        rows: view.keys.unwrap_or_default().iter().map(row).collect(),
        log_rows: view.log_keys.iter().map(log_row).collect(),
    }
    .render()
}

fn row<'a>(desk: &Desk<'_>, key: &'a PublishedKey) -> Row<'a> {
    let warnings = key.warnings(desk.now);
    let tone = match key.state {
        KeyState::Revoked => Tone::Bad,
        _ if !warnings.is_empty() => Tone::Warn,
        KeyState::Current => Tone::Good,
        KeyState::Next => Tone::Busy,
        KeyState::Retired => Tone::Idle,
    };
    Row {
        key,
        state: Chip {
            tone,
            words: key.state.name().to_owned(),
        },
        made: key.made.map(When::from),
        expires: key.expires.map(When::from),
        warnings,
    }
}

fn log_row(key: &PublishedLogKey) -> LogRow<'_> {
    LogRow {
        key,
        made: key.made.map(When::from),
    }
}
