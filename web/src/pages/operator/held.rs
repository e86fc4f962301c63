//! `/operator/held`: what is held back, and why.

use super::{At, Desk, Nav, age, tabs};
use crate::pages::{BuildLine, Frame};
use crate::text::When;
use crate::{RenderError, url};
use askama::Template;
use repo_model::Timestamp;

/// What is held back.
#[derive(Debug, Clone, Copy)]
pub struct HeldView<'a> {
    /// Who looks.
    pub desk: Desk<'a>,
    /// Newest first, as they stand.
    pub builds: &'a [BuildLine],
    /// Offset of the next part, if there is one.
    pub next_offset: Option<u64>,
}

/// Reasons that a line names.
const REASONS: usize = 3;

#[derive(Template)]
#[template(path = "operator/held.html")]
struct Page<'a> {
    frame: Frame<'a>,
    desk: Desk<'a>,
    tabs: Vec<Nav>,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    href: String,
    number: u64,
    source: String,
    age: String,
    changed: When,
    /// Code and sentence.
    reasons: Vec<(&'static str, String)>,
    more: usize,
}

/// Renders what is held back.
pub fn held(view: &HeldView<'_>) -> Result<String, RenderError> {
    Page {
        frame: view.desk.frame("Held"),
        desk: view.desk,
        tabs: tabs(At::Held),
        rows: view
            .builds
            .iter()
            .map(|build| row(build, view.desk.now))
            .collect(),
        next: view
            .next_offset
            .map(|offset| format!("/operator/held?offset={offset}")),
    }
    .render()
}

fn row(build: &BuildLine, now: Timestamp) -> Row {
    let mut reasons: Vec<(&'static str, String)> = Vec::new();
    for reason in build.stage.reasons() {
        let one = (reason.code(), reason.to_string());
        if !reasons.contains(&one) {
            reasons.push(one);
        }
    }
    let more = reasons.len().saturating_sub(REASONS);
    reasons.truncate(REASONS);
    Row {
        href: url::operator_build(build.build),
        number: build.build,
        source: build.source.to_string(),
        age: age(build.changed_at, now),
        changed: build.changed_at.into(),
        reasons,
        more,
    }
}
