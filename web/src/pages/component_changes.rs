//! `/releases/{id}/components?from=…`: components that one release has anywhere and another has nowhere.

use super::release::{Other, others};
use super::{Frame, Here, Site};
use crate::text::counted;
use crate::{RenderError, url};
use askama::Template;
use repo_model::ReleaseId;
use repo_model::wire::sbom::Difference;

/// The difference between what is inside two releases.
#[derive(Debug, Clone, Copy)]
pub struct ComponentChangesView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The release that is looked at.
    pub to: ReleaseId,
    /// The one it is compared with.
    pub from: ReleaseId,
    /// All releases that can be compared, newest first.
    pub releases: &'a [ReleaseId],
    /// Components that differ, by ecosystem and name.
    pub components: &'a [Difference],
    /// Where the next part begins, if there is one.
    pub next: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "component-changes.html")]
struct Page<'a> {
    frame: Frame<'a>,
    to: (String, String),
    from: (String, String),
    action: String,
    others: Vec<Other>,
    rows: Vec<Row<'a>>,
    counted: String,
    next: Option<String>,
    packages: String,
    swapped: String,
    api: String,
}

struct Row<'a> {
    ecosystem: &'a str,
    name: &'a str,
    change: &'a str,
    from: String,
    to: String,
    /// Who ships it.
    href: String,
}

/// Renders the difference between what is inside two releases.
pub fn component_changes(view: &ComponentChangesView<'_>) -> Result<String, RenderError> {
    let (from, to) = (view.from, view.to);
    let named = |id: ReleaseId| (format!("Release {id}"), url::release(id));
    Page {
        frame: Frame::new(
            view.site,
            format!("Inside release {from} and {to}"),
            Here::Releases,
        ),
        to: named(to),
        from: named(from),
        action: url::component_changes(to),
        others: others(view.releases, Some(from)),
        rows: view.components.iter().map(|one| row(one, view)).collect(),
        counted: counted(view.components.len() as u64, "component", "components"),
        next: view.next.map(|after| {
            let after = url::segment(after);
            format!("{}?from={from}&after={after}", url::component_changes(to))
        }),
        packages: format!("{}?from={from}", url::changes(to)),
        swapped: format!("{}?from={to}", url::component_changes(from)),
        api: format!("/api/v1/sbom/diff?of=component&from={from}&to={to}"),
    }
    .render()
}

fn row<'a>(one: &'a Difference, view: &ComponentChangesView<'_>) -> Row<'a> {
    let (ecosystem, name) = one.name.split_once(':').unwrap_or(("", &one.name));
    // What is gone is to be found in the release that had it.
    let release = match one.to.is_empty() {
        true => view.from,
        false => view.to,
    };
    Row {
        ecosystem,
        name,
        change: &one.change,
        from: one.from.join(", "),
        to: one.to.join(", "),
        href: format!("/inside?{}", url::inside_query(name, "", "", Some(release))),
    }
}
