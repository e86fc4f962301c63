//! `/`: what this is, how to use it, and how it stands.

use super::state::{State, StateView};
use super::{Command, Frame, Here, Site, StageCounts};
use crate::marks::{Step, exemplar};
use crate::text::{self, Tone, When, counted, stage_tone};
use crate::{RenderError, url};
use askama::Template;
use repo_model::wire::status::{ChannelStatus, ReleaseRepoStatus};

/// The home page.
#[derive(Debug, Clone, Copy)]
pub struct HomeView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Channels, the one for most people first.
    pub channels: &'a [ChannelSetup<'a>],
    /// Builds by stage.
    pub counts: StageCounts,
    /// Releases, log, mirrors, rebuilders.
    pub state: StateView<'a>,
    /// More to look at: keys, the API.
    pub links: &'a [Link<'a>],
}

/// A channel and how to use it.
#[derive(Debug, Clone, Copy)]
pub struct ChannelSetup<'a> {
    /// Where it points.
    pub status: &'a ChannelStatus,
    /// Repositories of the release it points to.
    pub repos: &'a [ReleaseRepoStatus],
    /// One command a client: `dnf5`, `dnf4`, `zypper`.
    pub commands: &'a [Command],
    /// The .repo file's text.
    pub repo_file: &'a str,
}

/// A link with a word about it.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Address; trusted, must come from the server's own code.
    pub href: &'a str,
    /// Its text.
    pub label: &'a str,
    /// What is there.
    pub about: &'a str,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Page<'a> {
    frame: Frame<'a>,
    marks: Vec<Step>,
    channels: Vec<Channel<'a>>,
    stages: Vec<StageTile>,
    state: State<'a>,
    links: &'a [Link<'a>],
}

struct Channel<'a> {
    name: String,
    release: Option<(String, String)>,
    moved: Option<When>,
    repos: Vec<Repo>,
    commands: &'a [Command],
    repo_file: &'a str,
}

struct Repo {
    href: String,
    name: String,
    packages: String,
}

struct StageTile {
    href: String,
    name: &'static str,
    count: String,
    tone: Tone,
}

/// Renders the home page.
pub fn home(view: &HomeView<'_>) -> Result<String, RenderError> {
    let tile = |(name, count): (&'static str, u64)| StageTile {
        href: url::builds(Some(name), None, 0),
        name,
        count: text::count(count),
        tone: if count == 0 {
            Tone::Idle
        } else {
            stage_tone(name)
        },
    };
    Page {
        frame: Frame::new(view.site, "Packages you can check", Here::Home),
        marks: exemplar(),
        channels: view.channels.iter().map(channel).collect(),
        stages: view.counts.rows().into_iter().map(tile).collect(),
        state: State::from(&view.state),
        links: view.links,
    }
    .render()
}

fn channel<'a>(setup: &ChannelSetup<'a>) -> Channel<'a> {
    let status = setup.status;
    let repo = |repo: &ReleaseRepoStatus| Repo {
        href: url::channel_repo(&status.channel, &repo.repo, &repo.arch),
        name: format!("{} {}", repo.repo, repo.arch),
        packages: counted(repo.packages, "package", "packages"),
    };
    Channel {
        name: status.channel.to_string(),
        release: status
            .release
            .map(|id| (format!("release {id}"), url::release(id))),
        moved: status.moved_at.map(When::from),
        repos: setup.repos.iter().map(repo).collect(),
        commands: setup.commands,
        repo_file: setup.repo_file,
    }
}
