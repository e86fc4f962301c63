//! The elements of the chosen packages, as they go into the merged lists.

use super::repeated::without_repeated_files;
use super::source::{LISTS, Package, Repository};
use crate::repodata::Fragments;
use quick_xml::escape::escape;
use std::io;

/// The chosen packages in their order.
pub(super) struct Elements<'a> {
    repositories: &'a [Repository],
    chosen: &'a [(usize, usize)],
}

impl<'a> Elements<'a> {
    pub fn new(repositories: &'a [Repository], chosen: &'a [(usize, usize)]) -> Self {
        Self {
            repositories,
            chosen,
        }
    }

    fn package(&self, number: usize) -> (&'a Repository, &'a Package) {
        let (repository, place) = self.chosen[number];
        let repository = &self.repositories[repository];
        (repository, &repository.packages[place])
    }
}

impl Fragments for Elements<'_> {
    fn count(&self) -> usize {
        self.chosen.len()
    }

    fn name(&self, number: usize) -> &str {
        &self.package(number).1.nevra.name
    }

    fn append(&self, record_type: &str, number: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let (repository, package) = self.package(number);
        let list = LISTS
            .iter()
            .position(|(name, _)| *name == record_type)
            .ok_or_else(|| io::Error::other("no such list"))?;
        let Some(span) = package.spans[list].clone() else {
            out.extend_from_slice(without_content(package).as_bytes());
            return Ok(());
        };
        let text = repository.text(list, span.clone())?;
        if list == 0 {
            // The location lies inside the element: both come from one reading.
            let at = |offset: u64| usize::try_from(offset - span.start).map_err(io::Error::other);
            let (from, to) = (at(package.location.start)?, at(package.location.end)?);
            let (Some(before), Some(after)) = (text.get(..from), text.get(to..)) else {
                return Err(io::Error::other("its location lies outside its element"));
            };
            out.extend_from_slice(before);
            out.extend_from_slice(location(package).as_bytes());
            out.extend_from_slice(after);
        } else if record_type == "filelists" {
            let text = without_repeated_files(&text).map_err(io::Error::other)?;
            out.extend_from_slice(&text);
        } else {
            out.extend_from_slice(&text);
        }
        out.push(b'\n');
        Ok(())
    }
}

fn location(package: &Package) -> String {
    let href = escape(&package.href);
    match &package.base {
        Some(base) => format!("<location xml:base=\"{}\" href=\"{href}\"/>", escape(base)),
        None => format!("<location href=\"{href}\"/>"),
    }
}

/// What stands in filelists or other for a package of a repository that has no such list: the three
/// lists must name the same packages.
fn without_content(package: &Package) -> String {
    let pkgid = package.pkgid.rsplit(':').next().unwrap_or_default();
    let evr = &package.nevra.evr;
    format!(
        "<package pkgid=\"{pkgid}\" name=\"{}\" arch=\"{}\">\n  \
         <version epoch=\"{}\" ver=\"{}\" rel=\"{}\"/>\n</package>\n",
        escape(&package.nevra.name),
        escape(&package.nevra.arch),
        evr.epoch,
        escape(&evr.version),
        escape(&evr.release),
    )
}
