//! `/releases`: the list, reproducibility over time, and where channels pointed when.

use super::{Frame, Here, Site};
use crate::plot::{self, ReleaseTally};
use crate::text::{When, count, counted};
use crate::{RenderError, url};
use askama::Template;
use repo_model::wire::status::ReleaseStatus;
use repo_model::{ChannelName, ReleaseId, Timestamp};

/// A part of the list of releases.
#[derive(Debug, Clone, Copy)]
pub struct ReleasesView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Newest first.
    pub releases: &'a [ReleaseStatus],
    /// How builds fared, release by release, oldest first.
    pub tallies: &'a [ReleaseTally],
    /// Moves of channels, newest first.
    pub moves: &'a [MoveLine],
    /// Address of the next part, if there is one; trusted, must come from the server's own code.
    pub next: Option<&'a str>,
}

/// A channel was moved.
#[derive(Debug, Clone)]
pub struct MoveLine {
    /// Which.
    pub channel: ChannelName,
    /// Where it pointed before.
    pub from: Option<ReleaseId>,
    /// Where it points since.
    pub to: ReleaseId,
    /// When.
    pub at: Timestamp,
}

#[derive(Template)]
#[template(path = "releases.html")]
struct Page<'a> {
    frame: Frame<'a>,
    rows: Vec<Row>,
    next: Option<&'a str>,
    plot: String,
    shares: Vec<Share>,
    moves: Vec<MoveRow>,
}

/// One release in a list.
pub(crate) struct Row {
    pub id: String,
    pub href: String,
    pub issued: When,
    pub channels: Vec<String>,
    pub packages: String,
    pub repos: Vec<String>,
}

struct Share {
    words: String,
    href: Option<String>,
    issued: Option<When>,
    agreed: String,
    unseen: String,
    disputed: String,
    kept: String,
    percent: String,
}

/// One move of a channel.
pub(crate) struct MoveRow {
    pub channel: String,
    pub words: &'static str,
    pub from: Option<(String, String)>,
    pub to: (String, String),
    pub at: When,
}

/// Renders a part of the list of releases.
pub fn releases(view: &ReleasesView<'_>) -> Result<String, RenderError> {
    Page {
        frame: Frame::new(view.site, "Releases", Here::Releases),
        rows: view.releases.iter().map(row).collect(),
        next: view.next,
        plot: plot::svg(view.tallies),
        shares: view.tallies.iter().rev().map(share).collect(),
        moves: move_rows(view.moves),
    }
    .render()
}

pub(crate) fn row(release: &ReleaseStatus) -> Row {
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

fn share(tally: &ReleaseTally) -> Share {
    Share {
        words: tally
            .release
            .map_or_else(|| "since then".to_owned(), |id| format!("Release {id}")),
        href: tally.release.map(url::release),
        issued: tally.issued.map(When::from),
        agreed: count(tally.all_agreed),
        unseen: count(tally.unseen()),
        disputed: count(tally.disputed),
        kept: count(tally.kept_back),
        percent: tally
            .percent()
            .map_or_else(|| "–".to_owned(), |percent| format!("{percent} %")),
    }
}

pub(crate) fn move_rows(moves: &[MoveLine]) -> Vec<MoveRow> {
    let named = |id: ReleaseId| (format!("release {id}"), url::release(id));
    let row = |line: &MoveLine| MoveRow {
        channel: line.channel.to_string(),
        words: match line.from {
            Some(from) if line.to < from => "rolled back",
            _ => "moved on",
        },
        from: line.from.map(named),
        to: named(line.to),
        at: line.at.into(),
    };
    moves.iter().map(row).collect()
}
