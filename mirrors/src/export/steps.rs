//! The steps of an export: place a file, exchange a directory, remove what its time is over for.

use super::{Content, Entry, ExportError, Request, Summary, Switched, Tree};
use crate::sync::claim::Claim;
use crate::sync::site::{is_absent, remove_tree};
use crate::sync::state::{Row, State};
use crate::sync::store::{Store, is_file, make_parent, same_file};
use crate::sync::tree::{files_below, is_due, remove_empty_parents, write};
use crate::sync::{Action, FileReport, Watch};
use repo_model::FileDigest;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// An export under way.
pub(super) struct Export<'a> {
    pub request: &'a Request,
    pub own: PathBuf,
    /// Holds links on their way; nothing stays in it.
    pub store: Store,
    /// Of the export's file system.
    pub device: u64,
    /// As the export before left it.
    pub before: &'a State,
    pub state: State,
    pub summary: Summary,
    pub watch: &'a dyn Watch,
}

impl Export<'_> {
    /// Writes down what will be there, durably.
    pub fn remember(&self, path: &Path) -> Result<(), ExportError> {
        self.state.save(path).map_err(ExportError::local(path))
    }

    fn target(&self, path: &str) -> PathBuf {
        self.request.directory.join(path)
    }

    fn row(&self, entry: &Entry) -> Result<Row, ExportError> {
        let row = self.state.files.get(entry.path.as_str());
        row.cloned().ok_or_else(|| ExportError::Path {
            path: entry.path.clone(),
            why: "it was not planned",
        })
    }

    /// Whether the file lies there as it should.
    fn is_there(&self, entry: &Entry, row: &Row, target: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(target) {
            Ok(data) if !row.is_untouched(&data) => Ok(false),
            Ok(_) => match &entry.content {
                Content::Object { path, digest } => self.holds(&entry.path, *digest, path, target),
                Content::Bytes(bytes) => Ok(fs::read(target)? == *bytes),
            },
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a file that has the object's size and time is the object: a link to it, or a copy of it.
    fn holds(
        &self,
        path: &str,
        digest: FileDigest,
        object: &Path,
        target: &Path,
    ) -> io::Result<bool> {
        if same_file(object, target) {
            return Ok(true);
        }
        // Only copies onto another file system are many. What was being placed when an export was cut off may
        // still be what was there before.
        let is_elsewhere = fs::metadata(object)?.dev() != self.device;
        let known = self.before.files.get(path).map(|row| row.sha256);
        if is_elsewhere && !self.before.head.incomplete && known == Some(digest) {
            return Ok(true);
        }
        Ok(is_file(target, &Claim::of(digest))?.is_some())
    }

    /// Puts a file at its place unless it is there.
    pub fn place(&mut self, entry: &Entry) -> Result<(), ExportError> {
        let (row, target) = (self.row(entry)?, self.target(&entry.path));
        let there = self.is_there(entry, &row, &target);
        let there = there.map_err(ExportError::local(&target))?;
        if !there {
            self.put(entry, &row, &target)?;
        }
        self.tell(entry, &row, there);
        Ok(())
    }

    fn tell(&mut self, entry: &Entry, row: &Row, there: bool) {
        self.summary.files += 1;
        self.summary.placed += u64::from(!there);
        let action = match there {
            true => Action::Had,
            false => Action::Linked,
        };
        self.report(&entry.path, action, row);
    }

    fn report(&self, path: &str, action: Action, row: &Row) {
        self.watch.file(&FileReport {
            path,
            action,
            size_bytes: Some(row.size_bytes),
            sha256: Some(row.sha256.to_hex()),
            upstream: None,
            fetched_bytes: None,
            problems: &[],
        });
    }

    fn put(&mut self, entry: &Entry, row: &Row, target: &Path) -> Result<(), ExportError> {
        let fail = ExportError::local(target);
        match &entry.content {
            Content::Bytes(bytes) => self.put_bytes(bytes, row, target).map_err(fail),
            Content::Object { path, digest } => {
                let data = fs::metadata(path).map_err(ExportError::local(path))?;
                if data.dev() != self.device {
                    let sound = is_file(path, &Claim::of(*digest));
                    if sound.map_err(ExportError::local(path))?.is_none() {
                        return Err(ExportError::Damaged {
                            path: path.clone(),
                            digest: *digest,
                        });
                    }
                }
                self.store
                    .place_from(path, *digest, target)
                    .map_err(ExportError::local(target))?;
                if !same_file(path, target) {
                    self.summary.copied_bytes += row.size_bytes;
                }
                Ok(())
            }
        }
    }

    /// In one step, and with the time that the state has of it.
    fn put_bytes(&self, bytes: &[u8], row: &Row, target: &Path) -> io::Result<()> {
        let aside = self.own.join("pointer.new");
        write(&aside, bytes)?;
        let nanos = u64::try_from(row.modified_ns).unwrap_or(0);
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        File::options().write(true).open(&aside)?.set_modified(at)?;
        make_parent(target)?;
        fs::rename(&aside, target)
    }

    /// Brings everything to the disk.
    pub fn settle(&self) -> Result<(), ExportError> {
        let directory = &self.request.directory;
        let sync = || io::Result::Ok(rustix::fs::syncfs(File::open(directory)?)?);
        sync().map_err(ExportError::local(directory))
    }

    /// Has a directory hold its files, those that were superseded lately and those of others.
    pub fn switch(&mut self, switched: &Switched) -> Result<(), ExportError> {
        let live = self.target(&switched.path);
        let fail = || ExportError::local(&live);
        let mut missing = false;
        for entry in &switched.files {
            let row = self.row(entry)?;
            let there = self.is_there(entry, &row, &self.target(&entry.path));
            let there = there.map_err(fail())?;
            missing |= !there;
            self.tell(entry, &row, there);
        }
        let outdated = self.outdated(switched).map_err(fail())?;
        if !missing && outdated.is_empty() {
            return Ok(());
        }
        let stage = self.own.join("stage");
        remove_tree(&stage).map_err(ExportError::local(&stage))?;
        let staged = stage.join("repodata");
        fs::create_dir_all(&staged).map_err(ExportError::local(&staged))?;
        for entry in &switched.files {
            let row = self.row(entry)?;
            let name = &entry.path[switched.path.len() + 1..];
            self.put(entry, &row, &staged.join(name))?;
        }
        carry_over(&live, &staged, &outdated).map_err(fail())?;
        make_parent(&live).map_err(fail())?;
        // All that the new metadata names is on the disk before it can be seen.
        self.settle()?;
        crate::switch::switch(&staged, &live).map_err(fail())?;
        remove_tree(&stage).map_err(ExportError::local(&stage))?;
        self.summary.switched += 1;
        Ok(())
    }

    /// Files of the directory whose time is over.
    fn outdated(&self, switched: &Switched) -> io::Result<Vec<String>> {
        let names = files_below(&self.target(&switched.path))?.into_iter();
        let outdated = names.filter(|name| {
            let path = format!("{}/{name}", switched.path);
            let row = self.state.files.get(path.as_str());
            row.is_some_and(|row| self.is_due(row))
        });
        Ok(outdated.collect())
    }

    fn is_due(&self, row: &Row) -> bool {
        is_due(row, Some(self.request.grace), self.request.now)
    }

    /// Notes since when the tree lacks what it lacks; whether there is anything new.
    pub fn mark_dropped(&mut self, tree: &Tree) -> bool {
        let wanted: HashSet<&str> = tree.entries().map(|entry| entry.path.as_str()).collect();
        let mut any = false;
        for (path, row) in &mut self.state.files {
            if row.dropped_at.is_none() && !wanted.contains(&**path) {
                row.dropped_at = Some(self.request.now.unix_secs());
                any = true;
            }
        }
        any
    }

    /// Removes what the tree dropped long enough ago, pointers first; a file that somebody has touched since
    /// is not ours any more, and stays. Whether anything was to be removed.
    pub fn delete_due(&mut self) -> Result<bool, ExportError> {
        let due = self.state.files.iter().filter(|(_, row)| self.is_due(row));
        let mut due: Vec<Box<str>> = due.map(|(path, _)| path.clone()).collect();
        due.sort_by_key(|path| (!path.ends_with("/repomd.xml"), path.clone()));
        for path in &due {
            let Some(row) = self.state.files.remove(path) else {
                continue;
            };
            let target = self.target(path);
            let there = fs::symlink_metadata(&target);
            if !there.is_ok_and(|data| row.is_untouched(&data)) {
                continue;
            }
            fs::remove_file(&target).map_err(ExportError::local(&target))?;
            remove_empty_parents(&target, &self.request.directory);
            self.summary.deleted += 1;
            self.report(path, Action::Deleted, &row);
        }
        Ok(!due.is_empty())
    }
}

/// Takes over what is served now and has no successor, but for what is outdated.
fn carry_over(live: &Path, staged: &Path, outdated: &[String]) -> io::Result<()> {
    for name in files_below(live)? {
        let target = staged.join(&name);
        if target.exists() || outdated.contains(&name) || is_pointer(&name) {
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

/// Names that mean another file after each switch: an old one beside new metadata would belong to nothing.
fn is_pointer(name: &str) -> bool {
    name.starts_with("repomd.xml") || name.starts_with("SHA256SUMS")
}
