//! `/packages/{name}/{version}/files`: all files of a version of a package.

use super::{Frame, Here, Site};
use crate::{RenderError, text, url};
use askama::Template;
use repo_model::Nevra;
use repo_model::rpm::{FileEntry, FileKind};
use std::fmt::Write as _;

/// Files of a version of a package.
#[derive(Debug, Clone, Copy)]
pub struct FilesView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// The version.
    pub nevra: &'a Nevra,
    /// All of its files.
    pub files: &'a [FileEntry],
    /// Files before those that are shown.
    pub offset: usize,
    /// Most files that are shown.
    pub limit: usize,
}

#[derive(Template)]
#[template(path = "files.html")]
struct Page<'a> {
    frame: Frame<'a>,
    nevra: &'a Nevra,
    package_href: String,
    version_href: String,
    counted: String,
    rows: Vec<FileRow<'a>>,
    span: Option<String>,
    previous: Option<String>,
    next: Option<String>,
}

/// Renders a part of the files.
pub fn files(view: &FilesView<'_>) -> Result<String, RenderError> {
    let from = view.offset.min(view.files.len());
    let to = view.files.len().min(from.saturating_add(view.limit));
    let link = |offset: usize| match offset {
        0 => url::files(view.nevra),
        _ => format!("{}?offset={offset}", url::files(view.nevra)),
    };
    let name = &view.nevra.name;
    Page {
        frame: Frame::new(view.site, format!("Files of {name}"), Here::Packages),
        nevra: view.nevra,
        package_href: url::package(name),
        version_href: url::version(view.nevra),
        counted: text::counted(view.files.len() as u64, "file", "files"),
        rows: file_rows(&view.files[from..to]),
        span: Some(text::span(from as u64, (to - from) as u64)),
        previous: (from > 0).then(|| link(from.saturating_sub(view.limit))),
        next: (to < view.files.len()).then(|| link(to)),
    }
    .render()
}

/// One file.
pub(crate) struct FileRow<'a> {
    /// `-rwxr-xr-x`
    pub mode: String,
    pub path: &'a str,
    /// Of a link.
    pub target: &'a str,
    /// Empty for what has none.
    pub size: String,
    pub size_bytes: u64,
    /// Configuration, documentation, licence, ghost.
    pub marks: Vec<&'static str>,
}

pub(crate) fn file_rows(files: &[FileEntry]) -> Vec<FileRow<'_>> {
    files.iter().map(row).collect()
}

fn row(file: &FileEntry) -> FileRow<'_> {
    const MARKS: [(u32, &str); 4] = [(1, "config"), (2, "doc"), (64, "ghost"), (128, "licence")];
    FileRow {
        mode: mode(file),
        path: &file.path,
        target: &file.link_target,
        size: match file.kind {
            FileKind::Regular => text::size(file.size_bytes),
            FileKind::Dir | FileKind::Symlink | FileKind::Other => String::new(),
        },
        size_bytes: file.size_bytes,
        marks: MARKS
            .into_iter()
            .filter(|(bit, _)| file.flags & bit != 0)
            .map(|(_, word)| word)
            .collect(),
    }
}

/// As `ls -l` writes it.
fn mode(file: &FileEntry) -> String {
    let bit = |mask: u16| file.mode & mask != 0;
    let mut out = String::from(match file.kind {
        FileKind::Dir => "d",
        FileKind::Symlink => "l",
        FileKind::Regular => "-",
        FileKind::Other => "?",
    });
    for (shift, special, sign) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let execute = match (bit(special), bit(1 << shift)) {
            (true, true) => sign,
            (true, false) => sign.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        };
        let read = if bit(4 << shift) { 'r' } else { '-' };
        let write = if bit(2 << shift) { 'w' } else { '-' };
        // Writing into a String cannot fail.
        let _ = write!(out, "{read}{write}{execute}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::Timestamp;

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        for (kind, bits, want) in [
            (FileKind::Regular, 0o100644, "-rw-r--r--"),
            (FileKind::Dir, 0o041777, "drwxrwxrwt"),
            (FileKind::Regular, 0o104755, "-rwsr-xr-x"),
            (FileKind::Regular, 0o102644, "-rw-r-Sr--"),
            (FileKind::Symlink, 0o120777, "lrwxrwxrwx"),
        ] {
            let file = FileEntry {
                path: "/a".to_owned(),
                dir: "/".to_owned(),
                base: "a".to_owned(),
                size_bytes: 0,
                mode: bits,
                kind,
                flags: 0,
                mtime: Timestamp::default(),
                digest: String::new(),
                link_target: String::new(),
                user: String::new(),
                group: String::new(),
                inode: 0,
            };
            assert_eq!(mode(&file), want);
        }
    }
}
