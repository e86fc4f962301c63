//! `/packages/{name}/{version}/required-by`, and the lists of dependencies on a package's page.

use super::{Frame, Here, Site};
use crate::{RenderError, url};
use askama::Template;
use repo_model::Nevra;
use repo_model::rpm::{Dependency, DependencyFlags};

/// One thing that a package needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedLine {
    /// `requires`, `recommends`, `suggests`, `supplements`, `enhances`.
    pub kind: &'static str,
    /// As the header has it: `libx >= 1.2`.
    pub need: String,
    /// Names of packages that satisfy it.
    pub providers: Vec<String>,
}

/// A package that needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependentLine {
    /// Its name.
    pub name: String,
    /// Kind of need, and what is needed.
    pub needs: Vec<(String, String)>,
}

/// Packages that need a version of a package.
#[derive(Debug, Clone, Copy)]
pub struct DependentsView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The version.
    pub nevra: &'a Nevra,
    /// A part of the packages, by name.
    pub dependents: &'a [DependentLine],
    /// Whether this is not the first part.
    pub continued: bool,
    /// The last name, when there are more behind it.
    pub next: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "dependents.html")]
struct Page<'a> {
    frame: Frame<'a>,
    nevra: &'a Nevra,
    package_href: String,
    version_href: String,
    rows: Vec<DependentRow<'a>>,
    first: Option<String>,
    next: Option<String>,
}

/// Renders a part of the packages that need a package.
pub fn dependents(view: &DependentsView<'_>) -> Result<String, RenderError> {
    let name = &view.nevra.name;
    Page {
        frame: Frame::new(
            view.site,
            format!("Packages that need {name}"),
            Here::Packages,
        ),
        nevra: view.nevra,
        package_href: url::package(name),
        version_href: url::version(view.nevra),
        rows: dependent_rows(view.dependents),
        first: view.continued.then(|| url::dependents(view.nevra, None)),
        next: view
            .next
            .map(|after| url::dependents(view.nevra, Some(after))),
    }
    .render()
}

/// A name and where it leads.
pub(crate) struct Named {
    pub name: String,
    pub href: String,
}

impl Named {
    fn package(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            href: url::package(name),
        }
    }
}

/// Needs of one kind.
pub(crate) struct NeedGroup<'a> {
    pub title: &'static str,
    pub rows: Vec<NeedRow<'a>>,
}

/// One need.
pub(crate) struct NeedRow<'a> {
    pub need: &'a str,
    pub providers: Vec<Named>,
    /// What to say when nobody provides it.
    pub otherwise: &'static str,
}

/// A package that needs another.
pub(crate) struct DependentRow<'a> {
    pub package: Named,
    pub needs: Vec<(&'a str, &'a str)>,
}

pub(crate) fn need_groups(needs: &[NeedLine]) -> Vec<NeedGroup<'_>> {
    const KINDS: [(&str, &str); 5] = [
        ("requires", "Requires"),
        ("recommends", "Recommends"),
        ("suggests", "Suggests"),
        ("supplements", "Supplements"),
        ("enhances", "Enhances"),
    ];
    let group = |(kind, title): (&str, &'static str)| NeedGroup {
        title,
        rows: needs
            .iter()
            .filter(|need| need.kind == kind)
            .map(|need| NeedRow {
                need: &need.need,
                providers: need
                    .providers
                    .iter()
                    .map(|name| Named::package(name))
                    .collect(),
                otherwise: match need.need.starts_with("rpmlib(") {
                    true => "rpm itself",
                    false => "nothing in the newest release",
                },
            })
            .collect(),
    };
    KINDS
        .into_iter()
        .map(group)
        .filter(|group| !group.rows.is_empty())
        .collect()
}

pub(crate) fn dependent_rows(dependents: &[DependentLine]) -> Vec<DependentRow<'_>> {
    dependents
        .iter()
        .map(|line| DependentRow {
            package: Named::package(&line.name),
            needs: line
                .needs
                .iter()
                .map(|(kind, need)| (kind.as_str(), need.as_str()))
                .collect(),
        })
        .collect()
}

/// `libx >= 1.2`.
pub(crate) fn shown(dependency: &Dependency) -> String {
    match &dependency.version {
        None => dependency.name.clone(),
        Some((flags, version)) => {
            let sign = match flags {
                DependencyFlags::Lt => "<",
                DependencyFlags::Gt => ">",
                DependencyFlags::Eq => "=",
                DependencyFlags::Le => "<=",
                DependencyFlags::Ge => ">=",
            };
            format!("{} {sign} {version}", dependency.name)
        }
    }
}
