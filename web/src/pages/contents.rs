//! `/releases/{id}/packages`: the packages of one repository of a release.

use super::{Frame, Here, Site};
use crate::{RenderError, text, url};
use askama::Template;
use repo_model::{Arch, Nevra, ReleaseId, RepoName};

/// Packages of one repository of a release, a part of them.
#[derive(Debug, Clone, Copy)]
pub struct ContentsView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The release.
    pub release: ReleaseId,
    /// The repository.
    pub repo: &'a RepoName,
    /// Its architecture.
    pub arch: &'a Arch,
    /// Only names that begin so, as the visitor typed it.
    pub prefix: &'a str,
    /// Packages, by name.
    pub packages: &'a [ContentsLine],
    /// Packages before this part.
    pub offset: u64,
    /// Most packages in a part.
    pub limit: u64,
    /// Whether there are more.
    pub more: bool,
}

/// A package of a release in one line.
#[derive(Debug, Clone)]
pub struct ContentsLine {
    /// Identity.
    pub nevra: Nevra,
    /// SUMMARY.
    pub summary: String,
    /// Path below the repository's base.
    pub href: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The release that brought it.
    pub added: ReleaseId,
}

#[derive(Template)]
#[template(path = "contents.html")]
struct Page<'a> {
    frame: Frame<'a>,
    release: (String, String),
    repo: &'a RepoName,
    arch: &'a Arch,
    action: String,
    prefix: &'a str,
    rows: Vec<Row<'a>>,
    span: Option<String>,
    previous: Option<String>,
    next: Option<String>,
}

struct Row<'a> {
    href: String,
    nevra: String,
    summary: &'a str,
    download: String,
    size: String,
    size_bytes: u64,
    added: (String, String),
}

/// Renders a part of the packages.
pub fn contents(view: &ContentsView<'_>) -> Result<String, RenderError> {
    let id = view.release;
    let base = url::pinned_repo(id, view.repo, view.arch);
    let link = |offset| url::contents(id, view.repo, view.arch, view.prefix, offset);
    let mut rows = Vec::with_capacity(view.packages.len());
    for line in view.packages {
        rows.push(Row {
            href: url::version(&line.nevra),
            nevra: line.nevra.to_string(),
            summary: &line.summary,
            download: format!("{base}{}", url::path(&line.href)),
            size: text::size(line.size_bytes),
            size_bytes: line.size_bytes,
            added: (line.added.to_string(), url::release(line.added)),
        });
    }
    Page {
        frame: Frame::new(
            view.site,
            format!("{} {} in release {id}", view.repo, view.arch),
            Here::Releases,
        ),
        release: (format!("Release {id}"), url::release(id)),
        repo: view.repo,
        arch: view.arch,
        action: url::release(id) + "/packages",
        prefix: view.prefix,
        span: (!rows.is_empty()).then(|| text::span(view.offset, rows.len() as u64)),
        rows,
        previous: (view.offset > 0).then(|| link(view.offset.saturating_sub(view.limit))),
        next: view
            .more
            .then(|| link(view.offset.saturating_add(view.limit))),
    }
    .render()
}
