//! What a build runs in: the machine's own root (`host`), or a layer of locked packages (`dnf`).
//!
//! A layer is made once for a lock, never changed, mounted read-only by every build that asks for it,
//! and never copied. Layers lie in a [`Store`] under the digest of their lock.

mod install;
mod lockfile;
mod resolve;
mod store;
mod tree;

pub use install::tool;
pub use lockfile::{LockFile, lock_digest};
pub(crate) use resolve::lock_package;
pub use resolve::{Wanted, resolve};
pub use store::Store;
pub use tree::tree_digest;

use crate::lock::{self, LockError, RootLock};
use crate::sandbox::SandboxError;
use repo_model::{FileDigest, Nevra};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Kind of the machine's own root.
pub const HOST: &str = "host";
/// Kind of a layer that DNF made of locked packages.
pub const DNF: &str = "dnf";

/// A build root.
#[derive(Debug, Clone)]
pub struct Root {
    /// [`HOST`] or [`DNF`]: `buildroot.kind` of the buildinfo.
    pub kind: &'static str,
    /// Where it lies: `/` for the machine's own.
    pub dir: PathBuf,
    /// What it holds.
    pub lock: Arc<RootLock>,
    /// Digest of all its files, when they never change.
    pub tree: Option<FileDigest>,
    /// Keeps a layer from being evicted while somebody has this.
    _in_use: Option<Arc<File>>,
}

impl Root {
    /// The machine's own root as it is now.
    pub fn host() -> Result<Self, LockError> {
        Ok(Self {
            kind: HOST,
            dir: Path::new("/").to_owned(),
            lock: lock::host()?,
            tree: None,
            _in_use: None,
        })
    }

    /// The lock of this root now, when it is no longer the one that was seen: packages were installed
    /// or removed in the meantime. `None` when all is as it was.
    pub fn changed(&self) -> Result<Option<FileDigest>, LockError> {
        if self.kind != HOST {
            return Ok(None);
        }
        let now = lock::host()?.sha256;
        Ok((now != self.lock.sha256).then_some(now))
    }
}

/// A layer cannot be had on this machine. Never a verdict about a package.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Not JSON of a lock. Whoever wrote it is at fault.
    #[error("{path} is no rpm-buildroot-lock/1 document")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// A kind of build root without packages by digest.
    #[error("a build root of kind `{kind}` with {packages} locked packages cannot be made")]
    Kind {
        /// `buildroot.kind`.
        kind: String,
        /// How many packages are locked.
        packages: usize,
    },
    /// The lock's digest is not that of its packages. Whoever wrote it is at fault; do not retry.
    #[error("the locked packages have the digest {found}, but the lock says {wanted}")]
    LockDigest {
        /// Of the packages.
        found: FileDigest,
        /// Claimed.
        wanted: FileDigest,
    },
    /// No rpm among the packages.
    #[error("neither rpm-build nor rpm is among the locked packages, so nothing can be built")]
    NoRpm,
    /// A package is neither in the store nor at its URLs. Put it into the store, then retry.
    #[error("package {nevra} ({sha256}) cannot be had{tried}")]
    Missing {
        /// Which.
        nevra: Box<Nevra>,
        /// Its digest.
        sha256: FileDigest,
        /// What was tried, in words.
        tried: String,
    },
    /// Made of the same lock, and another one all the same. Somebody's package scripts are not
    /// deterministic, or the layer was made by another package manager.
    #[error(
        "the layer of lock {lock} has the tree {found} here, but {wanted} where it was recorded"
    )]
    OtherTree {
        /// Digest of the lock.
        lock: FileDigest,
        /// Here.
        found: FileDigest,
        /// In the buildinfo.
        wanted: FileDigest,
    },
    /// Files of any owner have to be made. Run it as root once; builds then need no root.
    #[error(
        "making the layer of lock {lock} needs root: run `hallmark-rebuilder buildroot make` as root first"
    )]
    NeedsRoot {
        /// Digest of the lock.
        lock: FileDigest,
    },
    /// No package manager.
    #[error("neither dnf5 nor dnf is installed, so no layer can be made")]
    NoDnf,
    /// It failed; its words tell why.
    #[error("{tool} ended with status {exit_code}: {tail}")]
    Dnf {
        /// `dnf5` or `dnf`.
        tool: &'static str,
        /// Its status.
        exit_code: i32,
        /// End of what it said.
        tail: String,
    },
    /// It was stopped at a limit, or could not be started.
    #[error(transparent)]
    Run(#[from] SandboxError),
    /// A file cannot be read or written. The machine's fault.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
