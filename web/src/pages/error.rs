//! What people see when a page cannot be shown: what happened, and what to do next.

use super::{Frame, Here, Site};
use crate::RenderError;
use askama::Template;

/// An error page.
#[derive(Debug, Clone, Copy)]
pub struct ErrorView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// HTTP status.
    pub status: u16,
    /// What happened, as a sentence; may quote the visitor's input. Nothing about our inside.
    pub what: &'a str,
    /// What to do next, as a sentence.
    pub next: &'a str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    frame: Frame<'a>,
    view: &'a ErrorView<'a>,
    heading: &'static str,
}

/// Renders an error page.
pub fn error(view: &ErrorView<'_>) -> Result<String, RenderError> {
    let heading = heading(view.status);
    Page {
        frame: Frame::new(view.site, heading, Here::Elsewhere),
        view,
        heading,
    }
    .render()
}

fn heading(status: u16) -> &'static str {
    match status {
        401 => "Please sign in",
        403 => "Not for you",
        404 => "Nothing here",
        410 => "No longer here",
        413 => "Too large",
        429 => "Too many requests",
        503 => "Not ready",
        400..=499 => "That request does not work",
        _ => "Something broke here",
    }
}
