//! `/releases/{id}/changes?from=…`: the difference between two releases.

use super::release::{Other, others};
use super::{Frame, Here, Site};
use crate::text::counted;
use crate::{RenderError, url};
use askama::Template;
use repo_model::ReleaseId;
use repo_model::wire::sbom::{Difference, Finding};

/// The difference between two releases.
#[derive(Debug, Clone, Copy)]
pub struct ChangesView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The release that is looked at.
    pub to: ReleaseId,
    /// The one it is compared with.
    pub from: ReleaseId,
    /// All releases that can be compared, newest first.
    pub releases: &'a [ReleaseId],
    /// Packages that differ, by name.
    pub packages: &'a [Difference],
    /// Whether there are more of them.
    pub more: bool,
    /// What is known to affect `to` and not `from`.
    pub came: &'a [Finding],
    /// What is known to affect `from` and not `to`.
    pub went: &'a [Finding],
    /// Whether more is known than could be compared.
    pub many_findings: bool,
}

#[derive(Template)]
#[template(path = "changes.html")]
struct Page<'a> {
    frame: Frame<'a>,
    to: (String, String),
    from: (String, String),
    action: String,
    others: Vec<Other>,
    groups: Vec<Group<'a>>,
    more: bool,
    api: String,
    components: String,
    /// No longer affected, affected now; without empty ones.
    findings: Vec<(&'static str, Vec<FindingRow<'a>>)>,
    many_findings: bool,
    swapped: String,
}

struct Group<'a> {
    id: &'static str,
    title: &'static str,
    about: &'static str,
    counted: String,
    rows: Vec<PackageRow<'a>>,
}

struct PackageRow<'a> {
    href: String,
    name: &'a str,
    place: &'a str,
    from: String,
    to: String,
}

struct FindingRow<'a> {
    vulnerability: &'a str,
    summary: &'a str,
    severity: &'a str,
    package: String,
    href: String,
    fixed_in: &'a str,
}

const GROUPS: [(&str, &str, &str); 5] = [
    (
        "upgraded",
        "Upgraded",
        "another version of what upstream publishes",
    ),
    ("added", "Added", "names that were not there before"),
    (
        "rebuilt",
        "Only rebuilt",
        "the same version with another release or other bytes",
    ),
    ("downgraded", "Downgraded", "an older version than before"),
    ("removed", "Removed", "names that are no longer there"),
];

/// Renders the difference between two releases.
pub fn changes(view: &ChangesView<'_>) -> Result<String, RenderError> {
    let named = |id: ReleaseId| (format!("Release {id}"), url::release(id));
    let group = |(change, title, about): (&'static str, &'static str, &'static str)| {
        let rows: Vec<PackageRow<'_>> = view
            .packages
            .iter()
            .filter(|one| one.change == change)
            .map(package_row)
            .collect();
        Group {
            id: change,
            title,
            about,
            counted: counted(rows.len() as u64, "package", "packages"),
            rows,
        }
    };
    let (from, to) = (view.from, view.to);
    Page {
        frame: Frame::new(view.site, format!("Release {from} to {to}"), Here::Releases),
        to: named(to),
        from: named(from),
        action: url::changes(to),
        others: others(view.releases, Some(from)),
        groups: GROUPS
            .into_iter()
            .map(group)
            .filter(|group| !group.rows.is_empty())
            .collect(),
        more: view.more,
        api: format!("/api/v1/sbom/diff?from={from}&to={to}"),
        components: format!("{}?from={from}", url::component_changes(to)),
        findings: [
            ("No longer affected", view.went),
            ("Affected now", view.came),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(title, list)| (title, list.iter().map(finding_row).collect()))
        .collect(),
        many_findings: view.many_findings,
        swapped: format!("{}?from={to}", url::changes(from)),
    }
    .render()
}

fn package_row(one: &Difference) -> PackageRow<'_> {
    PackageRow {
        href: url::package(&one.name),
        name: &one.name,
        place: one.place.as_deref().unwrap_or(""),
        from: one.from.join(", "),
        to: one.to.join(", "),
    }
}

fn finding_row(one: &Finding) -> FindingRow<'_> {
    FindingRow {
        vulnerability: &one.vulnerability,
        summary: &one.summary,
        severity: &one.severity,
        package: one.package.nevra.to_string(),
        href: url::version(&one.package.nevra),
        fixed_in: one.fixed_in.as_deref().unwrap_or(""),
    }
}
