//! A directory of files as a page. Rows are written straight into the output: a directory may
//! have tens of thousands of them.

use super::{Frame, Here, Nav, Site};
use crate::escape::write_visible;
use crate::text::{counted, size};
use crate::{RenderError, url};
use askama::Template;
use repo_model::FileDigest;
use std::fmt::{self, Write};

/// A directory.
#[derive(Debug, Clone, Copy)]
pub struct ListingView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Its path on the server, with slashes at both ends: `/stable/base/x86_64/Packages/`.
    pub path: &'a str,
    /// The highest directory above it that has a listing too: `/stable/base/x86_64/`.
    pub top: &'a str,
    /// What is in it, in any order.
    pub entries: &'a [ListingEntry<'a>],
}

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListingEntry<'a> {
    /// Its name, without a slash.
    pub name: &'a str,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes, of a file.
    pub size_bytes: Option<u64>,
    /// SHA-256 of a file.
    pub digest: Option<FileDigest>,
}

/// What a name stands for. Directories sort before files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// Has a listing of its own.
    Directory,
    /// A file.
    File,
}

/// The page with a placeholder where the rows go.
#[derive(Template)]
#[template(path = "listing.html")]
struct Page<'a> {
    frame: Frame<'a>,
    crumbs: Vec<Nav>,
    parent: bool,
    totals: String,
}

/// Stands in the template for the rows; no escaped text can hold its `<`.
const ROWS: &str = "<!--rows-->";

/// Renders a directory: directories first, then files, each by name.
pub fn listing(view: &ListingView<'_>) -> Result<String, RenderError> {
    let mut out = String::with_capacity(4096 + view.entries.len() * 320);
    listing_into(view, &mut out)?;
    Ok(out)
}

/// The same into any writer, piece by piece.
pub fn listing_into<W: Write>(view: &ListingView<'_>, out: &mut W) -> Result<(), RenderError> {
    let page = Page {
        frame: Frame::new(
            view.site,
            format!("Index of {}", view.path),
            Here::Elsewhere,
        ),
        crumbs: crumbs(view),
        parent: view.path.len() > view.top.len() && view.path.starts_with(view.top),
        totals: totals(view.entries),
    }
    .render()?;
    let (before, after) = page.split_once(ROWS).ok_or(RenderError::Fmt)?;
    out.write_str(before)?;
    let mut sorted: Vec<_> = view.entries.iter().collect();
    sorted.sort_unstable_by_key(|entry| (entry.kind, entry.name));
    for entry in sorted {
        write_row(out, entry)?;
    }
    out.write_str(after)?;
    Ok(())
}

fn write_row<W: Write>(out: &mut W, entry: &ListingEntry<'_>) -> fmt::Result {
    let slash = if entry.kind == EntryKind::Directory {
        "/"
    } else {
        ""
    };
    write!(
        out,
        "<tr><th scope=\"row\"><a href=\"{}{slash}\"><bdi>",
        url::segment(entry.name)
    )?;
    write_visible(out, entry.name)?;
    write!(out, "</bdi>{slash}</a></th>")?;
    match entry.size_bytes {
        Some(bytes) => write!(out, "<td title=\"{bytes} bytes\">{}</td>", size(bytes))?,
        None => out.write_str("<td></td>")?,
    }
    match entry.digest {
        Some(digest) => writeln!(out, "<td>{digest}</td></tr>"),
        None => out.write_str("<td></td></tr>\n"),
    }
}

fn totals(entries: &[ListingEntry<'_>]) -> String {
    let directories = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Directory)
        .count();
    let files = entries.len() - directories;
    let bytes = entries.iter().fold(0_u64, |sum, entry| {
        sum.saturating_add(entry.size_bytes.unwrap_or(0))
    });
    let mut parts = Vec::new();
    if directories > 0 {
        parts.push(counted(directories as u64, "directory", "directories"));
    }
    if files > 0 {
        parts.push(format!(
            "{}, {}",
            counted(files as u64, "file", "files"),
            size(bytes)
        ));
    }
    if parts.is_empty() {
        "Empty.".to_owned()
    } else {
        parts.join(", ")
    }
}

/// One crumb a segment; those from `top` on are links.
fn crumbs(view: &ListingView<'_>) -> Vec<Nav> {
    let mut out = Vec::new();
    let mut path = String::from("/");
    for name in view.path.split('/').filter(|name| !name.is_empty()) {
        path.push_str(name);
        path.push('/');
        let current = path == view.path;
        let listed = path.starts_with(view.top) && !current;
        out.push(Nav {
            href: if listed {
                url::path(&path)
            } else {
                String::new()
            },
            words: name.to_owned(),
            current,
        });
    }
    out
}
