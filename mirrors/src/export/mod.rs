//! Writes a published tree as plain files, for any web server, rsync or a CDN, so that it is whole at every
//! moment and a copy of it that is made meanwhile is never torn.
//!
//! Content comes first, names last: packages and their documents go to their places, by hard links where that
//! is possible; then each `repodata` is put together aside, with the superseded files that clients may still
//! ask for, and takes the old one's place in one step; then the few other names that move; and what nothing
//! names any more is removed a day later, pointers first. Everything is done by comparing what should be with
//! what is there, so an export that was cut off, at whatever moment, is finished by running it again.
//!
//! ```text
//! DIR/…                          the tree
//! DIR/.hallmark/export           what was exported (see `sync::state`); written before a file is placed, as
//!                                incomplete, and at the end
//! DIR/.hallmark/stage/repodata   new metadata, before it takes the old one's place
//! DIR/.hallmark/lock             held by the export under way
//! ```

mod steps;
#[cfg(test)]
mod tests;

use crate::sync::claim::Claim;
use crate::sync::site::lock;
use crate::sync::state::{Row, State};
use crate::sync::store::Store;
use crate::sync::{OWN_DIRECTORY, Watch};
use repo_model::manifest::is_plain_path;
use repo_model::{FileDigest, Timestamp};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::Export;

/// What a file of the tree holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An object that never changes.
    Object {
        /// Where it is.
        path: PathBuf,
        /// Its SHA-256.
        digest: FileDigest,
    },
    /// Something small that is made for the tree.
    Bytes(Vec<u8>),
}

/// One file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes, below the export's directory.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// A directory that changes in one step: `repodata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// Where it is, below the export's directory.
    pub path: String,
    /// Its files, with their whole paths.
    pub files: Vec<Entry>,
}

/// What an export consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Files whose names never change their meaning.
    pub content: Vec<Entry>,
    /// Names that change together.
    pub switched: Vec<Switched>,
    /// Names that move, in the order in which they are to move.
    pub pointers: Vec<Entry>,
}

impl Tree {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let switched = self.switched.iter().flat_map(|one| &one.files);
        self.content.iter().chain(switched).chain(&self.pointers)
    }
}

/// Where and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The export's directory; made when it is not there.
    pub directory: PathBuf,
    /// What the tree has no longer is removed after so long.
    pub grace: Duration,
    /// Now.
    pub now: Timestamp,
}

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Files of the tree.
    pub files: u64,
    /// Of these, files that were not there before, or not as they should be.
    pub placed: u64,
    /// Bytes that were copied because no hard link was possible.
    pub copied_bytes: u64,
    /// Directories of metadata that were exchanged.
    pub switched: u64,
    /// Files that were removed.
    pub deleted: u64,
}

/// A tree could not be exported. What was there before is whole still.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The caller's fault: two exports to one directory at once. Retry when the other one has ended.
    #[error("another export to {} is under way", directory.display())]
    Busy {
        /// The directory.
        directory: PathBuf,
    },
    /// This machine's fault, or its disk's.
    #[error("cannot use {}", path.display())]
    Local {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tree's fault: a path leads elsewhere, or is there twice.
    #[error("`{path}` is no place in the tree: {why}")]
    Path {
        /// Which.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The store is damaged: put the object back from a backup or a mirror.
    #[error("{} is not what it should be: it does not have SHA-256 {digest}", path.display())]
    Damaged {
        /// The object.
        path: PathBuf,
        /// The digest that it should have.
        digest: FileDigest,
    },
}

impl ExportError {
    fn local(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Local {
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes `request.directory` hold the tree.
///
/// On an error the directory holds what it held before, or a part of the new content that nothing names yet;
/// running it again goes on.
pub fn export(tree: &Tree, request: &Request, watch: &dyn Watch) -> Result<Summary, ExportError> {
    check_paths(tree)?;
    let own = request.directory.join(OWN_DIRECTORY);
    let fail = ExportError::local;
    fs::create_dir_all(&own).map_err(fail(&own))?;
    let lock = lock(&own).map_err(fail(&own))?;
    let Some(_lock) = lock else {
        return Err(ExportError::Busy {
            directory: request.directory.clone(),
        });
    };
    export_locked(tree, request, watch)
}

/// The same for a caller that holds the lock of the directory, which has an [`OWN_DIRECTORY`].
pub(crate) fn export_locked(
    tree: &Tree,
    request: &Request,
    watch: &dyn Watch,
) -> Result<Summary, ExportError> {
    check_paths(tree)?;
    let own = request.directory.join(OWN_DIRECTORY);
    let fail = ExportError::local;
    let remembered = own.join("export");
    let before = State::load(&remembered).map_err(fail(&remembered))?;
    let state = planned(tree, &before, request.now)?;
    let store = Store::open(&own.join("aside"), false).map_err(fail(&own))?;
    let device = fs::metadata(&own).map_err(fail(&own))?.dev();
    let mut export = Export {
        request,
        own,
        store,
        device,
        before: &before,
        state,
        summary: Summary::default(),
        watch,
    };
    let mut cut_off = before.head.incomplete;
    if export.state.files != before.files {
        // Until its end nobody takes a file for what is written of it.
        export.state.head.incomplete = true;
        export.remember(&remembered)?;
        cut_off = true;
    }
    watch.step("files");
    for entry in &tree.content {
        export.place(entry)?;
    }
    watch.step("metadata");
    for switched in &tree.switched {
        export.switch(switched)?;
    }
    for entry in &tree.pointers {
        export.place(entry)?;
    }
    export.settle()?;
    watch.step("removing");
    // Only now does nothing name it any more.
    let dropped = export.mark_dropped(tree);
    if export.delete_due()? || dropped || cut_off {
        export.state.head.incomplete = false;
        export.remember(&remembered)?;
    }
    Ok(export.summary)
}

/// Every path is judged before anything is written.
fn check_paths(tree: &Tree) -> Result<(), ExportError> {
    let refuse = |path: &str, why| ExportError::Path {
        path: path.chars().take(200).collect(),
        why,
    };
    let mut seen = HashSet::new();
    for entry in tree.entries() {
        let first = entry.path.split('/').next();
        if !is_plain_path(&entry.path) || first == Some(OWN_DIRECTORY) {
            return Err(refuse(&entry.path, "it could lead elsewhere"));
        }
        if !seen.insert(entry.path.as_str()) {
            return Err(refuse(&entry.path, "it is there twice"));
        }
    }
    for switched in &tree.switched {
        let inside = |entry: &Entry| {
            let below = entry.path.strip_prefix(&switched.path);
            below.is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(stray) = switched.files.iter().find(|entry| !inside(entry)) {
            return Err(refuse(&stray.path, "it is not in its directory"));
        }
    }
    Ok(())
}

/// What will be there: the tree, and what it no longer has.
fn planned(tree: &Tree, before: &State, now: Timestamp) -> Result<State, ExportError> {
    let mut files: HashMap<Box<str>, Row> = HashMap::new();
    for entry in tree.entries() {
        let old = before.files.get(entry.path.as_str());
        files.insert(entry.path.as_str().into(), row(entry, old, now)?);
    }
    for (path, old) in &before.files {
        files.entry(path.clone()).or_insert_with(|| old.clone());
    }
    Ok(State {
        files,
        ..State::default()
    })
}

/// How the file will look at its place: links and copies have the time of their object.
fn row(entry: &Entry, old: Option<&Row>, now: Timestamp) -> Result<Row, ExportError> {
    match &entry.content {
        Content::Object { path, digest } => {
            let data = fs::metadata(path).map_err(ExportError::local(path))?;
            Ok(Row::of(&data, *digest, &Claim::of(*digest)))
        }
        Content::Bytes(bytes) => {
            let fresh = Row {
                size_bytes: bytes.len() as u64,
                sha256: FileDigest::of(bytes),
                claim: None,
                modified_ns: now.unix_secs().saturating_mul(1_000_000_000),
                etag: None,
                dropped_at: None,
            };
            let same = old.filter(|old| old.sha256 == fresh.sha256);
            let modified_ns = same.map_or(fresh.modified_ns, |old| old.modified_ns);
            Ok(Row {
                modified_ns,
                ..fresh
            })
        }
    }
}
