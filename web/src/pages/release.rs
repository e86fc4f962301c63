//! `/releases/{id}`: what a release names, what came with it, and who pointed to it.

use super::releases::{MoveLine, MoveRow, Row, move_rows, row};
use super::{BuildLine, BuildRow, Command, Frame, Here, Site};
use crate::text::{self, count, format_name, shell_word};
use crate::{RenderError, url};
use askama::Template;
use repo_model::wire::status::{ReleaseRepoStatus, ReleaseStatus};
use repo_model::{FileDigest, ReleaseId};

/// One release.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The release.
    pub release: &'a ReleaseStatus,
    /// Builds that were first published in it, a part of them.
    pub added: &'a [BuildLine],
    /// Builds before this part.
    pub offset: u64,
    /// Most builds in a part.
    pub limit: u64,
    /// Whether there are more.
    pub more: bool,
    /// Moves of channels to it and away from it, newest first.
    pub moves: &'a [MoveLine],
    /// Releases that it can be compared with, newest first.
    pub others: &'a [ReleaseId],
    /// SBOMs of its repositories as wholes; none before they are made, and where the release is passed over.
    pub sboms: &'a [ReleaseSbomLine],
}

/// An SBOM of a whole repository of a release.
#[derive(Debug, Clone)]
pub struct ReleaseSbomLine {
    /// Repository and architecture.
    pub place: String,
    /// Name of the format.
    pub format: String,
    /// Where it is; with `.zst` behind, compressed.
    pub path: String,
    /// Its bytes.
    pub size_bytes: u64,
    /// Its bytes when compressed.
    pub packed_size_bytes: u64,
    /// SHA-256 of the document.
    pub digest: FileDigest,
}

#[derive(Template)]
#[template(path = "release.html")]
struct Page<'a> {
    frame: Frame<'a>,
    row: Row,
    repos: Vec<RepoRow>,
    envelope: String,
    envelope_href: String,
    bundle_href: String,
    download: String,
    added: Vec<BuildRow>,
    span: Option<String>,
    previous: Option<String>,
    next: Option<String>,
    moves: Vec<MoveRow>,
    others: Vec<Other>,
    changes: String,
    sboms: Vec<SbomRow<'a>>,
    pack: Command,
    pack_href: String,
    inside: String,
    components: Option<String>,
    licences: String,
    before: Option<(String, String)>,
}

struct RepoRow {
    name: String,
    arch: String,
    href: String,
    contents: String,
    packages: String,
    repomd: String,
}

struct SbomRow<'a> {
    line: &'a ReleaseSbomLine,
    format: String,
    size: String,
    packed: String,
    digest: String,
}

/// A choice of the form that compares.
pub(crate) struct Other {
    pub id: String,
    pub chosen: bool,
}

/// Renders the page of one release.
pub fn release(view: &ReleaseView<'_>) -> Result<String, RenderError> {
    let release = view.release;
    let id = release.id;
    let repo = |repo: &ReleaseRepoStatus| RepoRow {
        name: repo.repo.to_string(),
        arch: repo.arch.to_string(),
        href: url::pinned_repo(id, &repo.repo, &repo.arch),
        contents: url::contents(id, &repo.repo, &repo.arch, "", 0),
        packages: count(repo.packages),
        repomd: repo.repomd.to_hex(),
    };
    let envelope_href = url::evidence(release.envelope);
    let address = shell_word(&format!("{}{envelope_href}", view.site.public_url));
    let link = |offset: u64| match offset {
        0 => url::release(id),
        _ => format!("{}?offset={offset}", url::release(id)),
    };
    let before = view.others.iter().copied().find(|other| *other < id);
    Page {
        frame: Frame::new(view.site, format!("Release {id}"), Here::Releases),
        row: row(release),
        repos: release.repos.iter().map(repo).collect(),
        envelope: release.envelope.to_hex(),
        download: format!("curl -fL {address} | sha256sum"),
        bundle_href: format!("{envelope_href}{}", repo_model::bundle::FILE_SUFFIX),
        envelope_href,
        added: view.added.iter().map(BuildRow::from).collect(),
        span: Some(text::span(view.offset, view.added.len() as u64)),
        previous: (view.offset > 0).then(|| link(view.offset.saturating_sub(view.limit))),
        next: view
            .more
            .then(|| link(view.offset.saturating_add(view.limit))),
        moves: move_rows(view.moves),
        others: others(view.others, before),
        changes: url::changes(id),
        sboms: view.sboms.iter().map(sbom_row).collect(),
        pack_href: url::evidence_pack(id),
        pack: Command {
            label: "All of it in one file, checked years later without any server".to_owned(),
            text: format!(
                "hallmark evidence {id} --server {} -o release-{id}.tar.zst\nhallmark verify --trust trust/ release-{id}.tar.zst",
                shell_word(view.site.public_url)
            ),
        },
        components: before.map(|before| format!("{}?from={before}", url::component_changes(id))),
        inside: format!("/inside?release={id}"),
        licences: url::licences(id),
        before: before.map(|before| {
            let href = format!("{}?from={before}", url::changes(id));
            (format!("Changes since release {before}"), href)
        }),
    }
    .render()
}

fn sbom_row(line: &ReleaseSbomLine) -> SbomRow<'_> {
    SbomRow {
        line,
        format: format_name(&line.format),
        size: text::size(line.size_bytes),
        packed: text::size(line.packed_size_bytes),
        digest: line.digest.to_hex(),
    }
}

/// The choices, one of them chosen.
pub(crate) fn others(ids: &[ReleaseId], chosen: Option<ReleaseId>) -> Vec<Other> {
    ids.iter()
        .map(|id| Other {
            id: id.to_string(),
            chosen: Some(*id) == chosen,
        })
        .collect()
}
