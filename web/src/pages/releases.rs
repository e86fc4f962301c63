//! `/releases` and `/releases/{id}`.

use super::{BuildRow, Frame, Here, Site};
use crate::text::{When, count, counted, shell_word};
use crate::{RenderError, url};
use askama::Template;
use repo_model::wire::status::{BuildStatus, ReleaseRepoStatus, ReleaseStatus};

/// A part of the list of releases.
#[derive(Debug, Clone, Copy)]
pub struct ReleasesView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Newest first.
    pub releases: &'a [ReleaseStatus],
    /// Address of the next part, if there is one; trusted, must come from the server's own code.
    pub next: Option<&'a str>,
}

/// One release.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The release.
    pub release: &'a ReleaseStatus,
    /// Builds that were first published in it.
    pub added: &'a [BuildStatus],
}

#[derive(Template)]
#[template(path = "releases.html")]
struct ListPage<'a> {
    frame: Frame<'a>,
    rows: Vec<Row>,
    next: Option<&'a str>,
}

struct Row {
    id: String,
    href: String,
    issued: When,
    channels: Vec<String>,
    packages: String,
    repos: Vec<String>,
}

#[derive(Template)]
#[template(path = "release.html")]
struct OnePage<'a> {
    frame: Frame<'a>,
    row: Row,
    repos: Vec<RepoRow>,
    envelope: String,
    envelope_href: String,
    download: String,
    added: Vec<BuildRow>,
}

struct RepoRow {
    name: String,
    arch: String,
    href: String,
    packages: String,
    repomd: String,
}

/// Renders a part of the list of releases.
pub fn releases(view: &ReleasesView<'_>) -> Result<String, RenderError> {
    ListPage {
        frame: Frame::new(view.site, "Releases", Here::Releases),
        rows: view.releases.iter().map(row).collect(),
        next: view.next,
    }
    .render()
}

/// Renders the page of one release.
pub fn release(view: &ReleaseView<'_>) -> Result<String, RenderError> {
    let release = view.release;
    let repo = |repo: &ReleaseRepoStatus| RepoRow {
        name: repo.repo.to_string(),
        arch: repo.arch.to_string(),
        href: url::pinned_repo(release.id, &repo.repo, &repo.arch),
        packages: count(repo.packages),
        repomd: repo.repomd.to_hex(),
    };
    let envelope_href = url::evidence(release.envelope);
    let address = shell_word(&format!("{}{envelope_href}", view.site.public_url));
    OnePage {
        frame: Frame::new(view.site, format!("Release {}", release.id), Here::Releases),
        row: row(release),
        repos: release.repos.iter().map(repo).collect(),
        envelope: release.envelope.to_hex(),
        download: format!("curl -fL {address} | sha256sum"),
        envelope_href,
        added: view.added.iter().map(BuildRow::from).collect(),
    }
    .render()
}

fn row(release: &ReleaseStatus) -> Row {
    let packages = release
        .repos
        .iter()
        .fold(0_u64, |sum, repo| sum.saturating_add(repo.packages));
    Row {
        id: release.id.to_string(),
        href: url::release(release.id),
        issued: release.issued.into(),
        channels: release.channels.iter().map(ToString::to_string).collect(),
        packages: counted(packages, "package", "packages"),
        repos: release
            .repos
            .iter()
            .map(|repo| format!("{} {}", repo.repo, repo.arch))
            .collect(),
    }
}
