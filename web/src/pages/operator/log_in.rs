//! `/operator/log-in`.

use crate::RenderError;
use crate::pages::{Frame, Here, Site};
use askama::Template;

/// The log-in.
#[derive(Debug, Clone, Copy)]
pub struct LogInView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// What was wrong with the last try, as a sentence.
    pub error: Option<&'a str>,
    /// Where to go afterwards: a path below `/operator`.
    pub next: &'a str,
}

#[derive(Template)]
#[template(path = "operator/log-in.html")]
struct Page<'a> {
    frame: Frame<'a>,
    view: &'a LogInView<'a>,
}

/// Renders the log-in.
pub fn log_in(view: &LogInView<'_>) -> Result<String, RenderError> {
    Page {
        frame: Frame::new(view.site, "Log in", Here::Elsewhere),
        view,
    }
    .render()
}
