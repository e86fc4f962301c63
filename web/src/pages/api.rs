//! `/api`: the operations of the HTTP API, for people.

use super::{Frame, Here, Site};
use crate::RenderError;
use askama::Template;

/// The operations of the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Operations by what they are about.
    pub groups: &'a [ApiGroup<'a>],
}

/// Operations about one thing.
#[derive(Debug, Clone)]
pub struct ApiGroup<'a> {
    /// What they are about.
    pub title: &'a str,
    /// In the order to show.
    pub operations: Vec<ApiOperation<'a>>,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct ApiOperation<'a> {
    /// `get`, `post`, ...
    pub method: &'a str,
    /// With names in braces.
    pub path: &'a str,
    /// What it does.
    pub summary: &'a str,
    /// Names in the query.
    pub query: &'a [&'a str],
    /// Scope of the token that it wants; empty: everybody may.
    pub access: &'a str,
}

#[derive(Template)]
#[template(path = "api.html")]
struct Page<'a> {
    frame: Frame<'a>,
    groups: &'a [ApiGroup<'a>],
    example: super::Command,
}

/// Renders the operations.
pub fn api(view: &ApiView<'_>) -> Result<String, RenderError> {
    Page {
        frame: Frame::new(view.site, "API", Here::Elsewhere),
        groups: view.groups,
        example: super::Command {
            label: "What is held, and why".to_owned(),
            text: format!(
                "curl -f '{}/api/v1/builds?stage=held'",
                view.site.public_url
            ),
        },
    }
    .render()
}
