//! `/log`: the head of the transparency log, how to check it, and what was said last.

use super::{Command, Frame, Here, Site};
use crate::text::{count, counted, listed, shell_word};
use crate::{RenderError, url};
use askama::Template;
use repo_model::{FileDigest, Nevra, ReleaseId};

/// The log.
#[derive(Debug, Clone, Copy)]
pub struct LogView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Its head; none before the first.
    pub head: Option<&'a LogHead>,
    /// Entries of this part, newest first.
    pub entries: &'a [LogEntryLine],
    /// Where the next part begins: below this place.
    pub next: Option<u64>,
}

/// What the log says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// Its name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root over them, base64.
    pub root: String,
    /// Names of those who signed it too.
    pub cosigners: Vec<String>,
}

/// An entry, and what it is of.
#[derive(Debug, Clone)]
pub struct LogEntryLine {
    /// Its place.
    pub index: u64,
    /// The statement.
    pub statement: FileDigest,
    /// Kind of the statement; none when nothing here says what it is.
    pub kind: Option<String>,
    /// Who made it, or in which form.
    pub label: Option<String>,
    /// The build that it is about, with its source package.
    pub build: Option<(u64, Nevra)>,
    /// The release that it is.
    pub release: Option<ReleaseId>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct Page<'a> {
    frame: Frame<'a>,
    head: Option<Head<'a>>,
    rows: Vec<Row<'a>>,
    checks: Vec<Command>,
    next: Option<String>,
}

struct Head<'a> {
    head: &'a LogHead,
    entries: String,
    cosigners: String,
}

struct Row<'a> {
    index: String,
    kind: &'a str,
    label: &'a str,
    /// Words and address of what it is about.
    about: Option<(String, String)>,
    href: String,
    digest: String,
    /// The statement with its proof of being in the log.
    bundle: String,
}

/// Renders the log.
pub fn log(view: &LogView<'_>) -> Result<String, RenderError> {
    let head = view.head.map(|head| Head {
        head,
        entries: counted(head.size, "entry", "entries"),
        cosigners: listed(&head.cosigners),
    });
    Page {
        frame: Frame::new(view.site, "Transparency log", Here::Log),
        head,
        rows: view.entries.iter().map(row).collect(),
        checks: checks(view.site),
        next: view.next.map(|place| format!("/log?before={place}")),
    }
    .render()
}

fn row(entry: &LogEntryLine) -> Row<'_> {
    let href = url::evidence(entry.statement);
    let about = match (&entry.build, entry.release) {
        (_, Some(release)) => Some((format!("release {release}"), url::release(release))),
        (Some((build, source)), None) => Some((source.to_string(), url::build(*build))),
        (None, None) => None,
    };
    let kind = match entry.release {
        Some(_) => "release",
        None => entry.kind.as_deref().unwrap_or("statement"),
    };
    Row {
        index: count(entry.index),
        kind,
        label: entry.label.as_deref().unwrap_or(""),
        about,
        bundle: format!("{href}{}", repo_model::bundle::FILE_SUFFIX),
        href,
        digest: entry.statement.to_hex(),
    }
}

fn checks(site: &Site<'_>) -> Vec<Command> {
    let url = shell_word(site.public_url);
    let command = |label: &str, text: String| Command {
        label: label.to_owned(),
        text,
    };
    vec![
        command(
            "Read all of it, and be told when it forks, shrinks, or says something strange",
            format!("hallmark monitor {url} --trust trust/ --state monitor.json --max-age 30"),
        ),
        command(
            "A package, and that what is said about it is in the log",
            "hallmark verify --trust trust/ hello-2.12-1.x86_64.rpm".to_owned(),
        ),
        command(
            "The head itself",
            format!(
                "curl -f {}",
                shell_word(&format!("{}/log/checkpoint", site.public_url))
            ),
        ),
    ]
}
