//! `/builds`: the list, newest change first, by stage and by package.

use super::{BuildLine, BuildRow, Frame, Here, Nav, Site, StageCounts};
use crate::{RenderError, text, url};
use askama::Template;

/// A part of the list of builds.
#[derive(Debug, Clone, Copy)]
pub struct BuildsView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The builds of this part, in the order to show.
    pub builds: &'a [BuildLine],
    /// Only this stage, by its name.
    pub stage: Option<&'a str>,
    /// Only this package, by name or NEVRA, as the visitor typed it.
    pub package: Option<&'a str>,
    /// All builds by stage.
    pub counts: StageCounts,
    /// How many builds are before this part.
    pub offset: u64,
    /// Most builds in a part.
    pub limit: u64,
    /// Offset of the next part, if there is one.
    pub next_offset: Option<u64>,
}

#[derive(Template)]
#[template(path = "builds.html")]
struct Page<'a> {
    frame: Frame<'a>,
    filters: Vec<Nav>,
    stage: Option<&'a str>,
    package: Option<&'a str>,
    rows: Vec<BuildRow>,
    span: String,
    previous: Option<String>,
    next: Option<String>,
}

/// Renders a part of the list of builds.
pub fn builds(view: &BuildsView<'_>) -> Result<String, RenderError> {
    let filter = |name: Option<&str>, count: u64| Nav {
        href: url::builds(name, view.package, 0),
        words: match view.package {
            // The counts are of all packages: beside a search they would mislead.
            Some(_) => name.unwrap_or("all").to_owned(),
            None => format!("{} {}", name.unwrap_or("all"), text::count(count)),
        },
        current: view.stage == name,
    };
    let mut filters = vec![filter(None, view.counts.all())];
    filters.extend(
        view.counts
            .rows()
            .into_iter()
            .map(|(name, count)| filter(Some(name), count)),
    );
    let link = |offset| url::builds(view.stage, view.package, offset);
    let shown = view.builds.len() as u64;
    Page {
        frame: Frame::new(view.site, "Builds", Here::Builds),
        filters,
        stage: view.stage,
        package: view.package,
        rows: view.builds.iter().map(BuildRow::from).collect(),
        span: text::span(view.offset, shown),
        previous: (view.offset > 0).then(|| link(view.offset.saturating_sub(view.limit))),
        next: view.next_offset.map(link),
    }
    .render()
}
