//! One file a page: its view, and the template's fields made from it.

pub(crate) mod api;
pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod component_changes;
pub(crate) mod contents;
pub(crate) mod dependencies;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod home;
pub(crate) mod inside;
pub(crate) mod listing;
pub(crate) mod log;
pub(crate) mod mirrors;
pub(crate) mod operator;
pub(crate) mod package;
pub(crate) mod rebuilders;
pub(crate) mod release;
pub(crate) mod releases;
pub(crate) mod report;
pub(crate) mod search;
pub(crate) mod state;

use crate::assets;
use crate::rebuilt::agreement_chip;
use crate::text::{Chip, When, counted, stage_chip};
use crate::url;
use repo_model::stage::Stage;
use repo_model::{Nevra, RepoName, Timestamp};

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

/// What the rebuilders of a build say, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Those that were asked.
    pub rebuilders: u64,
    /// Those that made the same bytes.
    pub confirmed: u64,
    /// Those that made something else, or could not build it.
    pub objecting: u64,
}

impl Agreement {
    /// Whether all that were asked made the same bytes.
    pub(crate) fn is_unanimous(self) -> bool {
        self.rebuilders > 0 && self.confirmed == self.rebuilders
    }

    /// `2 of 2`.
    pub(crate) fn short(self) -> String {
        match self.rebuilders {
            0 => "not yet".to_owned(),
            all => format!("{} of {all}", self.confirmed),
        }
    }

    fn words(self) -> String {
        match self.rebuilders {
            0 => "no rebuilder yet".to_owned(),
            all => format!("{} of {all} rebuilders made the same bytes", self.confirmed),
        }
    }
}

/// A build in one line.
#[derive(Debug, Clone)]
pub struct BuildLine {
    /// Number.
    pub build: u64,
    /// Repository.
    pub repo: RepoName,
    /// Source package.
    pub source: Nevra,
    /// Where it is.
    pub stage: Stage,
    /// Number of its packages.
    pub packages: u64,
    /// What its rebuilders say.
    pub agreement: Agreement,
    /// When its stage changed last.
    pub changed_at: Timestamp,
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
    Packages,
    Builds,
    Releases,
    Inside,
    Rebuilders,
    Mirrors,
    Log,
    Elsewhere,
}

/// What surrounds every page.
pub(crate) struct Frame<'a> {
    pub site: &'a Site<'a>,
    pub title: String,
    /// Whether there is a search field at the top.
    pub find: bool,
    here: Here,
}

impl<'a> Frame<'a> {
    pub fn new(site: &'a Site<'a>, title: impl Into<String>, here: Here) -> Self {
        Self {
            site,
            title: title.into(),
            find: true,
            here,
        }
    }

    /// Address, words and whether it is this page, for the navigation.
    pub fn nav(&self) -> [(&'static str, &'static str, bool); 8] {
        [
            ("/", "Use it", self.here == Here::Home),
            ("/search", "Packages", self.here == Here::Packages),
            ("/builds", "Builds", self.here == Here::Builds),
            ("/releases", "Releases", self.here == Here::Releases),
            ("/inside", "Inside", self.here == Here::Inside),
            ("/rebuilders", "Rebuilders", self.here == Here::Rebuilders),
            ("/mirrors", "Mirrors", self.here == Here::Mirrors),
            ("/log", "Log", self.here == Here::Log),
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

impl From<&BuildLine> for BuildRow {
    fn from(build: &BuildLine) -> Self {
        Self {
            href: url::build(build.build),
            number: build.build,
            source: build.source.to_string(),
            stage: stage_chip(&build.stage),
            packages: counted(build.packages, "package", "packages"),
            repo: build.repo.to_string(),
            agreement: agreement_chip(&build.stage, build.agreement),
            agreement_words: build.agreement.words(),
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
