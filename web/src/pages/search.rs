//! `/search?q=…`: packages by name and summary, by what they provide, by file.

use super::{Frame, Here, Nav, Site};
use crate::{RenderError, text, url};
use askama::Template;
use repo_model::wire::search::{CapabilityFound, FileFound, NameFound, SearchAnswer};

/// Which kind of answer fills a page of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchIn {
    /// Names and summaries.
    Names,
    /// What packages provide.
    Provides,
    /// Files.
    Files,
}

impl SearchIn {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Names, Self::Provides, Self::Files];

    /// In addresses: `name`, `provides`, `files`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Names => "name",
            Self::Provides => "provides",
            Self::Files => "files",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Names => "Packages",
            Self::Provides => "Provided by packages",
            Self::Files => "Files",
        }
    }
}

/// Answers to a search; without a question, an invitation to ask.
#[derive(Debug, Clone, Copy)]
pub struct SearchView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// As the visitor typed it; empty: nothing was asked.
    pub query: &'a str,
    /// Only this kind, or a few of each.
    pub only: Option<SearchIn>,
    /// What was found.
    pub answer: &'a SearchAnswer,
    /// Answers before these, of the one kind.
    pub offset: u64,
    /// Most answers of the one kind on a page.
    pub limit: u64,
}

#[derive(Template)]
#[template(path = "search.html")]
struct Page<'a> {
    frame: Frame<'a>,
    query: &'a str,
    kinds: Vec<Nav>,
    names: Vec<NameRow<'a>>,
    provides: Vec<CapabilityRow<'a>>,
    files: Vec<FileRow<'a>>,
    more_names: Option<String>,
    more_provides: Option<String>,
    more_files: Option<String>,
    span: Option<String>,
    previous: Option<String>,
    next: Option<String>,
    nothing: bool,
}

struct NameRow<'a> {
    href: String,
    found: &'a NameFound,
}

struct CapabilityRow<'a> {
    href: String,
    found: &'a CapabilityFound,
}

struct FileRow<'a> {
    href: String,
    found: &'a FileFound,
}

/// Renders a search.
pub fn search(view: &SearchView<'_>) -> Result<String, RenderError> {
    let answer = view.answer;
    let link =
        |only: Option<SearchIn>, offset| url::search(view.query, only.map(SearchIn::name), offset);
    let kind = |only: Option<SearchIn>| Nav {
        href: link(only, 0),
        words: only.map_or("All", SearchIn::words).to_owned(),
        current: view.only == only,
    };
    let all_of =
        |only: SearchIn, more: bool| (view.only.is_none() && more).then(|| link(Some(only), 0));
    let (shown, more) = match view.only {
        Some(SearchIn::Names) => (answer.names.hits.len(), answer.names.more),
        Some(SearchIn::Provides) => (answer.provides.hits.len(), answer.provides.more),
        Some(SearchIn::Files) => (answer.files.hits.len(), answer.files.more),
        None => (0, false),
    };
    let mut frame = Frame::new(view.site, title(view.query), Here::Packages);
    frame.find = false;
    Page {
        frame,
        query: view.query,
        kinds: std::iter::once(None)
            .chain(SearchIn::ALL.map(Some))
            .map(kind)
            .collect(),
        names: answer
            .names
            .hits
            .iter()
            .map(|found| NameRow {
                href: url::package(&found.name),
                found,
            })
            .collect(),
        provides: answer
            .provides
            .hits
            .iter()
            .map(|found| CapabilityRow {
                href: url::package(&found.package),
                found,
            })
            .collect(),
        files: answer
            .files
            .hits
            .iter()
            .map(|found| FileRow {
                href: url::package(&found.package),
                found,
            })
            .collect(),
        more_names: all_of(SearchIn::Names, answer.names.more),
        more_provides: all_of(SearchIn::Provides, answer.provides.more),
        more_files: all_of(SearchIn::Files, answer.files.more),
        span: (shown > 0).then(|| text::span(view.offset, shown as u64)),
        previous: (view.offset > 0)
            .then(|| link(view.only, view.offset.saturating_sub(view.limit))),
        next: more.then(|| link(view.only, view.offset.saturating_add(view.limit))),
        nothing: answer.names.hits.is_empty()
            && answer.provides.hits.is_empty()
            && answer.files.hits.is_empty(),
    }
    .render()
}

fn title(query: &str) -> String {
    match query.is_empty() {
        true => "Packages".to_owned(),
        false => format!("{query} in packages"),
    }
}
