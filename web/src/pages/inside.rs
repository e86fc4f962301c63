//! `/inside`: which packages of a release hold a component, or have a licence; `/releases/{id}/licences`; and
//! `/packages/{name}/{version}/inside`: the components of one package.

use super::release::{Other, others};
use super::{Frame, Here, Site};
use crate::text::{counted, format_name, listed};
use crate::{RenderError, url};
use askama::Template;
use repo_model::wire::sbom::{LicenceUse, Shipped};
use repo_model::{Nevra, ReleaseId};

/// What is looked for inside the packages of a release.
#[derive(Debug, Clone, Copy)]
pub struct InsideView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Name or package URL of a component, as typed; empty: nothing was asked.
    pub component: &'a str,
    /// Range of its versions, as typed.
    pub version: &'a str,
    /// A licence instead of a component.
    pub licence: &'a str,
    /// The release that is asked about; none before the first.
    pub release: Option<ReleaseId>,
    /// All releases, newest first.
    pub releases: &'a [ReleaseId],
    /// What was found.
    pub found: &'a [Shipped],
    /// What leads to more of it.
    pub next: Option<&'a str>,
    /// Why the question cannot be answered.
    pub error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "inside.html")]
struct InsidePage<'a> {
    frame: Frame<'a>,
    view: &'a InsideView<'a>,
    asked: bool,
    releases: Vec<Other>,
    licences: Option<String>,
    rows: Vec<ShippedRow<'a>>,
    next: Option<String>,
    api: String,
}

struct ShippedRow<'a> {
    package: String,
    href: String,
    component: &'a str,
    version: &'a str,
    how: String,
    places: Vec<&'a str>,
    more_places: u64,
}

/// Renders a question about what is inside.
pub fn inside(view: &InsideView<'_>) -> Result<String, RenderError> {
    let query = url::inside_query(view.component, view.version, view.licence, view.release);
    let kind = if view.licence.is_empty() {
        "components"
    } else {
        "licensed"
    };
    InsidePage {
        frame: Frame::new(view.site, "What is inside", Here::Inside),
        view,
        asked: !view.component.is_empty() || !view.licence.is_empty(),
        releases: others(view.releases, view.release),
        licences: view.release.map(url::licences),
        rows: view.found.iter().map(shipped_row).collect(),
        next: view
            .next
            .map(|after| format!("/inside?{query}&after={}", url::segment(after))),
        api: format!("/api/v1/sbom/{kind}?{query}"),
    }
    .render()
}

fn shipped_row(found: &Shipped) -> ShippedRow<'_> {
    ShippedRow {
        package: found.package.nevra.to_string(),
        href: url::inside_package(&found.package.nevra),
        component: &found.component,
        version: found.version.as_deref().unwrap_or(""),
        how: how(&found.relation, found.build_only),
        places: found.places.iter().take(3).map(String::as_str).collect(),
        more_places: found
            .places_total
            .saturating_sub(3.min(found.places.len() as u64)),
    }
}

fn how(relation: &str, build_only: bool) -> String {
    let words = match relation {
        "self" => "the package itself",
        "upstream" => "what it packages",
        "source" => "its source package",
        "part" => "a part of it",
        other => other,
    };
    match build_only {
        true => format!("{words}, for the build only"),
        false => words.to_owned(),
    }
}

/// The licences of a release.
#[derive(Debug, Clone, Copy)]
pub struct LicencesView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The release.
    pub release: ReleaseId,
    /// Licences with the number of packages, the most frequent first.
    pub licences: &'a [LicenceUse],
}

#[derive(Template)]
#[template(path = "licences.html")]
struct LicencesPage<'a> {
    frame: Frame<'a>,
    release: (String, String),
    counted: String,
    groups: Vec<(&'static str, &'static str, Vec<LicenceRow<'a>>)>,
}

struct LicenceRow<'a> {
    licence: &'a LicenceUse,
    href: String,
    packages: String,
}

/// Renders the licences of a release.
pub fn licences(view: &LicencesView<'_>) -> Result<String, RenderError> {
    let rows = |of: &str| -> Vec<LicenceRow<'_>> {
        let wanted = view.licences.iter().filter(|licence| licence.of == of);
        wanted
            .map(|licence| LicenceRow {
                licence,
                href: format!(
                    "/inside?{}",
                    url::inside_query("", "", &licence.expression, Some(view.release))
                ),
                packages: counted(licence.packages, "package", "packages"),
            })
            .collect()
    };
    let groups = [
        ("own", "Of the packages themselves", rows("package")),
        ("parts", "Of what is inside them", rows("part")),
    ];
    LicencesPage {
        frame: Frame::new(
            view.site,
            format!("Licences of release {}", view.release),
            Here::Inside,
        ),
        release: (
            format!("Release {}", view.release),
            url::release(view.release),
        ),
        counted: counted(view.licences.len() as u64, "licence", "licences"),
        groups: groups
            .into_iter()
            .filter(|(_, _, rows)| !rows.is_empty())
            .collect(),
    }
    .render()
}

/// The components of one package.
#[derive(Debug, Clone, Copy)]
pub struct ComponentsView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The package.
    pub nevra: &'a Nevra,
    /// Components, by ecosystem and name.
    pub components: &'a [ComponentLine],
    /// How many there are.
    pub total: u64,
    /// Why its SBOM could not be read, if it could not.
    pub unreadable: Option<&'a str>,
    /// Its SBOMs: format, document.
    pub sboms: &'a [(String, repo_model::FileDigest)],
}

/// A component in one line.
#[derive(Debug, Clone)]
pub struct ComponentLine {
    /// Package URL.
    pub purl: String,
    /// Type of the package URL.
    pub ecosystem: String,
    /// Name.
    pub name: String,
    /// Empty when none is known.
    pub version: String,
    /// As in [`Shipped::relation`].
    pub relation: String,
    /// Whether it took part in the build only.
    pub build_only: bool,
    /// What found it: `go-buildinfo`, `bundled-provide`.
    pub found_by: Vec<String>,
    /// SPDX expression.
    pub licence: Option<String>,
    /// A file that shows it.
    pub place: Option<String>,
}

#[derive(Template)]
#[template(path = "components.html")]
struct ComponentsPage<'a> {
    frame: Frame<'a>,
    view: &'a ComponentsView<'a>,
    package_href: String,
    version_href: String,
    sboms: Vec<(String, String)>,
    counted: String,
    left_out: u64,
    rows: Vec<ComponentRow<'a>>,
}

struct ComponentRow<'a> {
    line: &'a ComponentLine,
    who_ships: String,
    how: String,
    found_by: String,
}

/// Renders the components of one package.
pub fn components(view: &ComponentsView<'_>) -> Result<String, RenderError> {
    let name = &view.nevra.name;
    ComponentsPage {
        frame: Frame::new(view.site, format!("What is inside {name}"), Here::Inside),
        view,
        package_href: url::package(name),
        version_href: url::version(view.nevra),
        sboms: view
            .sboms
            .iter()
            .map(|(format, digest)| (format_name(format), url::evidence(*digest)))
            .collect(),
        counted: counted(view.total, "component", "components"),
        left_out: view.total.saturating_sub(view.components.len() as u64),
        rows: view.components.iter().map(component_row).collect(),
    }
    .render()
}

fn component_row(line: &ComponentLine) -> ComponentRow<'_> {
    ComponentRow {
        who_ships: format!("/inside?{}", url::inside_query(&line.name, "", "", None)),
        how: how(&line.relation, line.build_only),
        found_by: listed(&line.found_by),
        line,
    }
}
