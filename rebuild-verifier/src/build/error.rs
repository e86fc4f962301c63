//! Why a build gave no packages.

use crate::plan::{RootError, SourceError};
use crate::sandbox::SandboxError;
use repo_model::{FileDigest, Timestamp};
use std::path::PathBuf;

/// A build did not give packages.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No usable source package. The caller's fault; do not retry.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Times would be clamped to a moment that has not come, so every build would differ. Correct the
    /// date of the newest changelog entry, or the clock.
    #[error(
        "the build's time {epoch} is in the future (now {now}): correct the changelog's date or the clock"
    )]
    Future {
        /// SOURCE_DATE_EPOCH.
        epoch: Timestamp,
        /// The clock.
        now: Timestamp,
    },
    /// The root cannot be recorded. The machine's fault.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Packages were installed or removed while it ran, so nobody knows what it ran in. Try again.
    #[error(
        "the machine's packages changed while the build ran (lock {before}, now {after}): build again"
    )]
    RootChanged {
        /// The root's lock at the start.
        before: FileDigest,
        /// At the end.
        after: FileDigest,
    },
    /// Limits or the sandbox stopped it; see there whether to retry.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// rpmbuild failed: the package's fault, or a build dependency is missing. The log tells.
    #[error("rpmbuild ended with status {exit_code}; the log is {log}; its end: {tail}")]
    Failed {
        /// Its exit status.
        exit_code: i32,
        /// The whole log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The build failed or gave something else where it could not write into its root, which it could when it
    /// was recorded. Never a mismatch. A machine whose kernel mounts overlays tells more.
    #[error(
        "rpmbuild ended with status {exit_code} and the build is not confirmed, which says nothing: its root is read-only here, and the recorded build could write into its root"
    )]
    NarrowRoot {
        /// Its exit status.
        exit_code: i32,
    },
    /// The build ended well but what it left is no set of packages. The package's fault.
    #[error("the build left {what}")]
    Output {
        /// What is wrong with it.
        what: String,
    },
    /// A file cannot be read or written. The machine's fault.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// [`BuildError::Io`] of a failed `action`.
pub(crate) fn io(action: String) -> impl FnOnce(std::io::Error) -> BuildError {
    move |source| BuildError::Io { action, source }
}
