//! `/builds/{build}/reports/{digest}`: what diffoscope says of a built and a rebuilt package, in colour.

use super::{Frame, Here, Site};
use crate::{RenderError, url};
use askama::Template;
use repo_model::{FileDigest, Nevra};

/// How the names of such reports end; before it stands the package.
pub const REPORT_SUFFIX: &str = ".diffoscope.txt";
/// Most lines that are shown; the document has all.
const LINES: usize = 20_000;

/// A report on the differences of one package.
#[derive(Debug, Clone, Copy)]
pub struct ReportView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The build.
    pub build: u64,
    /// Its source package.
    pub source: &'a Nevra,
    /// `REBUILDER: PACKAGE.diffoscope.txt`
    pub label: &'a str,
    /// The document.
    pub digest: FileDigest,
    /// Its text.
    pub text: &'a str,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    frame: Frame<'a>,
    build_href: String,
    source: &'a Nevra,
    package: &'a str,
    rebuilder: &'a str,
    href: String,
    lines: Vec<Line<'a>>,
    left_out: usize,
}

struct Line<'a> {
    class: &'static str,
    text: &'a str,
}

/// Renders a report.
pub fn report(view: &ReportView<'_>) -> Result<String, RenderError> {
    let (rebuilder, name) = view.label.split_once(": ").unwrap_or(("", view.label));
    let line = |text| Line {
        class: class(text),
        text,
    };
    Page {
        frame: Frame::new(
            view.site,
            format!("Differences of {}", view.source),
            Here::Builds,
        ),
        build_href: url::build(view.build),
        source: view.source,
        package: name.strip_suffix(REPORT_SUFFIX).unwrap_or(name),
        rebuilder,
        href: url::evidence(view.digest),
        lines: view.text.lines().take(LINES).map(line).collect(),
        left_out: view.text.lines().count().saturating_sub(LINES),
    }
    .render()
}

/// By the first character behind the branches of the tree that diffoscope draws.
fn class(line: &str) -> &'static str {
    let branches = ['│', '├', '└', '─', '┄', ' '];
    let inside = line.trim_start_matches(branches);
    let is_deep = inside.len() < line.len();
    match inside.chars().next() {
        Some('+') => "came",
        Some('-') => "went",
        Some('@') => "place",
        Some(_) if is_deep && (line.contains('├') || line.contains('└')) => "branch",
        _ => "same",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_behind_the_branches() {
        for (line, want) in [
            ("--- built.rpm", "went"),
            ("├── content", "branch"),
            ("│ @@ -1 +1 @@", "place"),
            ("│ │ -built", "went"),
            ("│ │ +built", "came"),
            ("│ │  same", "same"),
            ("", "same"),
        ] {
            assert_eq!(class(line), want, "{line}");
        }
    }
}
