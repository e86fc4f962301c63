//! Bundles: what a machine without a network lacks of a tree, signed and with an end, in one file.
//!
//! ```text
//! have.txt   # hallmark-have/1, then the SHA-256 of each file that the other side has, a line each
//! bundle     a zstd-compressed tar:
//!   bundle.json   a DSSE envelope: a statement about `files` that says when the bundle was made and until
//!                 when it may be applied
//!   files         # hallmark-bundle/1, then `SHA256 BYTES PATH` of every file of the tree, sorted by path
//!   sha256/HEX    the objects that the other side lacks, each once, by their digests
//! ```
//!
//! Who applies a bundle trusts the key that signed it, and nothing else in the file: the list is what the
//! signature covers, objects are what the list says, and nothing is visible before all of them are there. Then
//! the tree is put in place as an export is (`export`). Objects that came stay for the next try when a bundle
//! was cut short.

mod apply;
mod create;
mod survey;
#[cfg(test)]
mod tests;

pub use apply::{Applied, Apply, apply};
pub use create::{Create, Created, create};
pub use survey::{have, read_have, write_have};

use crate::export::ExportError;
use crate::sync::OWN_DIRECTORY;
use repo_model::dsse::StatementPublicKey;
use repo_model::manifest::is_plain_path;
use repo_model::statement::StatementError;
use repo_model::{FileDigest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// Predicate type of the statement.
pub const BUNDLE: &str = "https://hallmark.example/attestation/bundle/v0.1";
/// Name of the statement in the archive, and of its subject.
const HEAD: &str = "bundle.json";
const FILES: &str = "files";
/// Largest statement, bytes: it names one file.
const HEAD_MAX_BYTES: u64 = 1 << 20;
/// Largest list of files, bytes: two million files.
const FILES_MAX_BYTES: u64 = 512 << 20;
const FILES_SCHEMA: &str = "# hallmark-bundle/1";

/// What the statement says about the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlePredicate {
    /// When the bundle was made; one that was made before the last applied one is refused.
    pub created: Timestamp,
    /// From when on it is refused.
    pub expires: Timestamp,
    /// Files of the tree.
    pub files: u64,
    /// Name of the tree; where a bundle of another one was applied before it is refused.
    pub tree: String,
}

/// One file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    path: String,
    digest: FileDigest,
    size_bytes: u64,
}

/// A bundle cannot be made or applied. What was there before is whole still.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The caller's fault: something else is at work on the directory. Retry when it has ended.
    #[error("a sync, an export or another bundle is at work on {}", directory.display())]
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
    /// A file changed while the bundle was made. Retry when nobody writes there.
    #[error("{path} changed while the bundle was made")]
    Changed {
        /// Which.
        path: String,
    },
    /// Whoever made the file is at fault, or it was damaged on its way: it is no bundle.
    #[error("the bundle cannot be used: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
    /// The bundle ends too early. Objects that came are kept: apply a whole copy of it.
    #[error("the bundle is cut short after {objects} objects")]
    CutShort {
        /// Objects that came whole.
        objects: u64,
        /// What was met.
        #[source]
        source: io::Error,
    },
    /// No trusted key signed it. Ask its maker for the key by another way.
    #[error("no trusted key signed the bundle")]
    Untrusted,
    /// Its time is over: ask for a new one.
    #[error("the bundle expired at {expires}, and now it is {now}")]
    Expired {
        /// Until when it could be applied.
        expires: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// It was made in the future: one of the two clocks is wrong.
    #[error("the bundle was made at {created}, and now it is {now}")]
    FromFuture {
        /// When it was made.
        created: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// A later bundle was applied before: somebody replays an old one, or a release was taken back.
    #[error("the bundle was made at {created}, before the last one applied, made at {applied}")]
    Older {
        /// When it was made.
        created: Timestamp,
        /// When the last one was made.
        applied: Timestamp,
    },
    /// A bundle of another tree was applied there before: the wrong directory, or the wrong bundle.
    #[error("the bundle is of the tree `{tree}`, and {} holds the tree `{here}`", directory.display())]
    OtherTree {
        /// The tree that the bundle is of.
        tree: String,
        /// The tree that is there.
        here: String,
        /// Where.
        directory: PathBuf,
    },
    /// The caller's fault.
    #[error("`{name}` is no name of a tree: want 1 to 200 characters, and no control characters")]
    Name {
        /// What was given.
        name: String,
    },
    /// It was made for a machine that has other files: make one with this machine's list.
    #[error("{count} files are neither here nor in the bundle, among them {first}")]
    Lacking {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
    /// The statement could not be signed.
    #[error("the bundle could not be signed")]
    Sign(#[from] StatementError),
    /// The tree could not be put in place.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl BundleError {
    fn local(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Local {
            path: path.to_owned(),
            source,
        }
    }

    /// What went wrong while the bundle was read.
    fn reading(objects: u64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutShort { objects, source },
            _ => Self::malformed(source.to_string()),
        }
    }

    fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed { why: why.into() }
    }
}

/// Writes the list of files, which must be sorted by path.
fn write_files(files: &[Listed]) -> String {
    let mut out = format!("{FILES_SCHEMA}\n");
    for file in files {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{} {} {}", file.digest, file.size_bytes, file.path);
    }
    out
}

/// Reads the list; refuses paths that lead elsewhere, are there twice, or lie below a file.
fn read_files(text: &str) -> Result<Vec<Listed>, BundleError> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some(FILES_SCHEMA) {
        return Err(BundleError::malformed(format!(
            "its list does not begin with `{FILES_SCHEMA}`"
        )));
    }
    let mut files: Vec<Listed> = Vec::new();
    for (index, line) in lines {
        let wrong = |why| BundleError::malformed(format!("line {} of its list: {why}", index + 1));
        let file = read_line(line).ok_or_else(|| wrong("want a digest, a size and a path"))?;
        let own = |part| part == OWN_DIRECTORY;
        if !is_plain_path(&file.path) || file.path.split('/').any(own) {
            return Err(wrong("its path could lead elsewhere"));
        }
        if files.last().is_some_and(|last| last.path >= file.path) {
            return Err(wrong("paths are not sorted"));
        }
        files.push(file);
    }
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for file in &files {
        let mut above = file.path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if paths.contains(parent) {
                return Err(BundleError::malformed(format!(
                    "its list has {parent} as a file and as a directory"
                )));
            }
            above = parent;
        }
    }
    Ok(files)
}

fn read_line(line: &str) -> Option<Listed> {
    let mut words = line.splitn(3, ' ');
    Some(Listed {
        digest: words.next()?.parse().ok()?,
        size_bytes: words.next()?.parse().ok()?,
        path: words.next()?.to_owned(),
    })
}

fn is_tree_name(name: &str) -> bool {
    (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// Name of an object in the archive.
fn object_name(digest: FileDigest) -> String {
    format!("sha256/{digest}")
}

/// Keys that may sign bundles.
pub type Trusted<'a> = &'a [StatementPublicKey];
