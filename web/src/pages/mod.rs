//! One file a page: its view, and the template's fields made from it.

pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod error;
pub(crate) mod home;
pub(crate) mod listing;
pub(crate) mod package;
pub(crate) mod releases;

use crate::assets;
use crate::text::{Chip, When, agreement, counted, stage_chip};
use crate::timeline::agreement_chip;
use crate::url;
use repo_model::wire::status::BuildStatus;

/// What every page needs to know about the server.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Name of the distribution.
    pub title: &'a str,
    /// How clients reach the server, without a slash at the end; for commands that people copy.
    pub public_url: &'a str,
}

/// A command for people to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it is for: `dnf5`, `check the signature`.
    pub label: String,
    /// One or more lines for a shell.
    pub text: String,
}

/// How many builds are in each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageCounts {
    /// SBOMs and rebuilds are being made.
    pub received: u64,
    /// Waiting for signatures.
    pub approved: u64,
    /// Held by the policy.
    pub held: u64,
    /// Rejected by the policy.
    pub rejected: u64,
    /// Waiting for a release.
    pub signed: u64,
    /// In a release.
    pub published: u64,
}

impl StageCounts {
    fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("published", self.published),
            ("held", self.held),
            ("received", self.received),
            ("approved", self.approved),
            ("signed", self.signed),
            ("rejected", self.rejected),
        ]
    }

    fn all(&self) -> u64 {
        self.rows().iter().map(|(_, count)| count).sum()
    }
}

/// The parts of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Here {
    Home,
    Builds,
    Releases,
    Elsewhere,
}

/// What surrounds every page.
pub(crate) struct Frame<'a> {
    pub site: &'a Site<'a>,
    pub title: String,
    here: Here,
}

impl<'a> Frame<'a> {
    pub fn new(site: &'a Site<'a>, title: impl Into<String>, here: Here) -> Self {
        Self {
            site,
            title: title.into(),
            here,
        }
    }

    /// Address, words and whether it is this page, for the navigation.
    pub fn nav(&self) -> [(&'static str, &'static str, bool); 3] {
        [
            ("/", "Use it", self.here == Here::Home),
            ("/builds", "Builds", self.here == Here::Builds),
            ("/releases", "Releases", self.here == Here::Releases),
        ]
    }

    pub fn style(&self) -> &'static str {
        assets::style()
    }

    pub fn script(&self) -> &'static str {
        assets::script()
    }

    pub fn logo(&self) -> &'static str {
        assets::logo()
    }
}

/// One line of a list of builds.
pub(crate) struct BuildRow {
    pub href: String,
    pub number: u64,
    pub source: String,
    pub stage: Chip,
    pub packages: String,
    pub repo: String,
    pub agreement: Chip,
    pub agreement_words: String,
    pub changed: When,
}

impl From<&BuildStatus> for BuildRow {
    fn from(build: &BuildStatus) -> Self {
        let (confirmed, all) = agreement(build);
        Self {
            href: url::build(build.build),
            number: build.build,
            source: build.source.to_string(),
            stage: stage_chip(&build.stage),
            packages: counted(build.packages.len() as u64, "package", "packages"),
            repo: build.repo.to_string(),
            agreement: agreement_chip(build),
            agreement_words: match all {
                0 => "no rebuilder yet".to_owned(),
                _ => format!("{confirmed} of {all} rebuilders made the same bytes"),
            },
            changed: build.changed_at.into(),
        }
    }
}

/// A link that may be the current one.
pub(crate) struct Nav {
    pub href: String,
    pub words: String,
    pub current: bool,
}
