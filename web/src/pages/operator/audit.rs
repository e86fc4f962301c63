//! `/operator/audit`: who did what, newest first.

use super::{At, Desk, Nav, TrailRow, tabs};
use crate::pages::Frame;
use crate::{RenderError, url};
use askama::Template;
use repo_model::wire::operator::AuditLine;

/// A part of the audit trail.
#[derive(Debug, Clone, Copy)]
pub struct AuditView<'a> {
    /// Who looks.
    pub desk: Desk<'a>,
    /// The lines of this part.
    pub lines: &'a [AuditLine],
    /// Only what people did.
    pub people: bool,
    /// Only what is about this.
    pub about: &'a str,
    /// Where the next part begins: before this line.
    pub next: Option<u64>,
}

#[derive(Template)]
#[template(path = "operator/audit.html")]
struct Page<'a> {
    frame: Frame<'a>,
    desk: Desk<'a>,
    tabs: Vec<Nav>,
    filters: [Nav; 2],
    people: bool,
    about: &'a str,
    rows: Vec<TrailRow<'a>>,
    next: Option<String>,
}

/// Renders a part of the audit trail.
pub fn audit(view: &AuditView<'_>) -> Result<String, RenderError> {
    let filter = |words: &str, people: bool| Nav {
        href: url::audit(people, view.about, None),
        words: words.to_owned(),
        current: view.people == people,
    };
    Page {
        frame: view.desk.frame("Audit trail"),
        desk: view.desk,
        tabs: tabs(At::Audit),
        filters: [filter("everything", false), filter("what people did", true)],
        people: view.people,
        about: view.about,
        rows: view.lines.iter().map(TrailRow::from).collect(),
        next: view
            .next
            .map(|line| url::audit(view.people, view.about, Some(line))),
    }
    .render()
}
