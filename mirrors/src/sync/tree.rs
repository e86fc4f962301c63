//! New metadata of a copy in a directory is put together aside and takes the old one's place in one step.

use super::beside::{Beside, belongs_to_repomd};
use super::pointer::Pointer;
use super::site::{Site, is_absent, remove_tree};
use super::state::{Row, State};
use super::store::make_parent;
use crate::reading::REPOMD;
use repo_model::{FileDigest, Timestamp};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Metadata that was superseded stays this long, for clients that have just read the old `repomd.xml`.
pub(super) const METADATA_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Where a file of metadata goes.
pub(super) fn below_repodata(path: &str) -> Option<&str> {
    path.strip_prefix("repodata/")
}

/// A directory that becomes `repodata`.
pub(super) struct Stage<'a> {
    site: &'a Site,
    directory: PathBuf,
}

impl<'a> Stage<'a> {
    /// An empty one.
    pub fn new(site: &'a Site) -> io::Result<Self> {
        let directory = site.own.join("stage/repodata");
        remove_tree(&site.own.join("stage"))?;
        fs::create_dir_all(&directory)?;
        Ok(Self { site, directory })
    }

    /// Upstream's metadata, byte by byte.
    pub fn take<'f>(
        &self,
        pointer: &Pointer,
        beside: &[Beside],
        files: impl Iterator<Item = (&'f str, &'f Row)>,
    ) -> io::Result<()> {
        for (path, row) in files {
            if let Some(name) = below_repodata(path) {
                self.site
                    .store
                    .place(row.sha256, &self.directory.join(name))?;
            }
        }
        write(&self.directory.join("repomd.xml"), &pointer.text)?;
        if let Some(signature) = &pointer.signature {
            write(&self.directory.join("repomd.xml.asc"), signature)?;
        }
        for (path, bytes) in beside {
            if let Some(name) = below_repodata(path) {
                write(&self.directory.join(name), bytes)?;
            }
        }
        Ok(())
    }

    /// Metadata that was written anew, in `rewritten`; gives what it consists of.
    pub fn take_rewritten(&self, rewritten: &Path) -> io::Result<Vec<(Box<str>, Row)>> {
        let mut rows = Vec::new();
        for name in files_below(rewritten)? {
            let from = rewritten.join(&name);
            let bytes = fs::read(&from)?;
            let digest = FileDigest::of(&bytes);
            let target = self.directory.join(&name);
            make_parent(&target)?;
            fs::rename(&from, &target)?;
            let row = Row::of(
                &fs::metadata(&target)?,
                digest,
                &super::claim::Claim::of(digest),
            );
            rows.push((format!("repodata/{name}").into_boxed_str(), row));
        }
        rows.retain(|(path, _)| path.as_ref() != REPOMD);
        Ok(rows)
    }

    /// Takes over what is served now and has no successor: superseded files for the clients that know
    /// their names, and files that are not ours to remove.
    pub fn carry_over(&self, state: &State, now: Timestamp) -> io::Result<()> {
        let live = self.site.place("repodata");
        for name in files_below(&live)? {
            let target = self.directory.join(&name);
            if belongs_to_repomd(&name) || target.exists() {
                continue;
            }
            let row = state.files.get(format!("repodata/{name}").as_str());
            if row.is_some_and(|row| is_due(row, Some(METADATA_GRACE), now)) {
                continue;
            }
            make_parent(&target)?;
            let from = live.join(&name);
            if fs::hard_link(&from, &target).is_err() {
                fs::copy(&from, &target)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable, then takes the old metadata's place.
    pub fn switch(self) -> io::Result<()> {
        let directory = File::open(&self.site.directory)?;
        self.site.journal.settle(&directory)?;
        let live = self.site.place("repodata");
        let live = fs::canonicalize(&live).unwrap_or(live);
        crate::switch::switch(&self.directory, &live)?;
        // What was served before, or nothing.
        remove_tree(&self.site.own.join("stage"))
    }
}

/// Writes a file, durably.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Paths of all regular files below a directory, sorted; none when it is not there.
pub(crate) fn files_below(root: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    each_below(root, &mut |path| files.push(path.to_owned()))?;
    files.sort();
    Ok(files)
}

/// Shows the paths of all regular files below a directory, in no order; none when it is not there.
pub(crate) fn each_below(root: &Path, see: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut open = vec![String::new()];
    while let Some(prefix) = open.pop() {
        let entries = match fs::read_dir(root.join(&prefix)) {
            Err(error) if is_absent(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(format!("{prefix}{name}/"));
            } else if kind.is_file() {
                see(&format!("{prefix}{name}"));
            }
        }
    }
    Ok(())
}

/// Whether a dropped file's time is over.
pub(crate) fn is_due(row: &Row, after: Option<Duration>, now: Timestamp) -> bool {
    let (Some(since), Some(after)) = (row.dropped_at, after) else {
        return false;
    };
    let age = now.unix_secs().saturating_sub(since);
    u64::try_from(age).is_ok_and(|age| age >= after.as_secs())
}

/// Removes the directories above a file that are empty, below `root`.
pub(crate) fn remove_empty_parents(path: &Path, root: &Path) {
    let parents = path.ancestors().skip(1);
    for parent in parents.take_while(|parent| *parent != root) {
        // Not empty: others live there.
        if fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_is_due_when_its_time_is_over_and_a_served_one_never() {
        let now = Timestamp::from_unix_secs(1_000);
        let row = |dropped_at| Row {
            size_bytes: 0,
            sha256: FileDigest::of(b""),
            claim: None,
            modified_ns: 0,
            etag: None,
            dropped_at,
        };
        let secs = |secs| Some(Duration::from_secs(secs));
        for (dropped_at, after, due) in [
            (None, secs(0), false),
            (Some(1_000), secs(0), true),
            (Some(900), secs(100), true),
            (Some(901), secs(100), false),
            (Some(900), None, false),
            (Some(2_000), secs(0), false),
        ] {
            assert_eq!(is_due(&row(dropped_at), after, now), due, "{dropped_at:?}");
        }
    }
}
