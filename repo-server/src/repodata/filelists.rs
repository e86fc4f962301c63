//! One package in `filelists.xml`: all its files.
//!
//! ```text
//! <package pkgid="6f1b..." name="hello" arch="x86_64">
//!   <version epoch="0" ver="2.12" rel="1"/>
//!   <file>/usr/bin/hello</file>
//!   <file type="dir">/usr/share/doc/hello</file>
//!   <file type="ghost">/var/log/hello.log</file>
//! </package>
//! ```

use super::entry::Entry;
use super::error::PackageFault;
use super::kinds::Kind;
use super::options::Options;
use super::primary::render_version;
use super::xml::Xml;
use repo_model::rpm::{FileEntry, FileKind, Package};
use std::collections::HashSet;

pub(super) const KIND: Kind = Kind {
    record_type: "filelists",
    opening: "<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\"",
    closing: "</filelists>",
    render,
    option_identity: |_, _| {},
    entry_identity: |_, _| {},
};

fn render(
    xml: &mut Xml,
    entry: &Entry,
    package: &Package,
    options: &Options,
) -> Result<(), PackageFault> {
    open_package(xml, entry, package, options)?;
    for file in distinct(&package.files) {
        render_file(xml, "  ", file)?;
    }
    xml.raw("</package>\n");
    Ok(())
}

/// The files without repetitions of a path, which naive readers would list twice; the first stays.
pub(super) fn distinct(files: &[FileEntry]) -> Vec<&FileEntry> {
    // rpmbuild sorts by path, so that nearly every list shows at a glance that it has none.
    if files.windows(2).all(|pair| pair[0].path < pair[1].path) {
        return files.iter().collect();
    }
    let mut seen = HashSet::with_capacity(files.len());
    files
        .iter()
        .filter(|file| seen.insert(file.path.as_str()))
        .collect()
}

/// The beginning that filelists, filelists-ext and other share.
pub(super) fn open_package(
    xml: &mut Xml,
    entry: &Entry,
    package: &Package,
    options: &Options,
) -> Result<(), PackageFault> {
    xml.raw("<package pkgid=\"");
    xml.raw(&entry.pkgid(options.checksum));
    xml.raw("\"");
    xml.attribute("name", &package.nevra.name)?;
    xml.attribute("arch", &package.nevra.arch)?;
    xml.raw(">\n");
    render_version(xml, package)
}

/// The start tag up to its other attributes. A directory is a directory even when it is a ghost;
/// plain files have no type.
pub(super) fn file_start(file: &FileEntry) -> &'static str {
    match file.kind {
        FileKind::Dir => "<file type=\"dir\"",
        _ if file.is_ghost() => "<file type=\"ghost\"",
        _ => "<file",
    }
}

/// One file, without its digest.
pub(super) fn render_file(
    xml: &mut Xml,
    indent: &str,
    file: &FileEntry,
) -> Result<(), PackageFault> {
    xml.raw(indent);
    xml.raw(file_start(file));
    xml.raw(">");
    xml.text("file", &file.path)?;
    xml.raw("</file>\n");
    Ok(())
}
