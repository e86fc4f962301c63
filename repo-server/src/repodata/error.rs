//! What can go wrong while metadata is made.

use repo_model::{FileDigest, Nevra};
use std::io;
use std::sync::Arc;

/// Whatever a [`PackageSource`](super::PackageSource) failed with.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Why one package cannot be written as metadata. The package's fault: it must be refused at
/// intake, since leaving it out would make it vanish silently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageFault {
    /// XML 1.0 has no way to write this character, not even escaped.
    #[error("{field} holds U+{code_point:04X} at byte {offset}, which XML cannot hold")]
    Character {
        /// Element or attribute that would hold it.
        field: &'static str,
        /// Byte offset in the field's UTF-8 text.
        offset: usize,
        /// The character.
        code_point: u32,
    },
    /// createrepo_c drops such a dependency; a client would then install a broken system.
    #[error("dependency `{name}` in {list} has version `{version}`, whose epoch is not a number")]
    DependencyEpoch {
        /// `requires`, `provides`, ...
        list: &'static str,
        /// The capability.
        name: String,
        /// `[epoch:]version[-release]` as stored.
        version: String,
    },
}

/// Metadata could not be made. Nothing was published; what a sink received is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The caller's fault: call [`sort`](super::sort) first.
    #[error("entries are not sorted: {second} comes after {first}")]
    Unsorted {
        /// The entry that stands first and should not.
        first: Arc<Nevra>,
        /// The entry after it.
        second: Arc<Nevra>,
    },
    /// The caller's fault: naive readers append files twice when a pkgid repeats.
    #[error("the file {digest} is listed twice, last as {nevra}")]
    DuplicateFile {
        /// The pkgid.
        digest: FileDigest,
        /// The second entry.
        nevra: Arc<Nevra>,
    },
    /// The caller's fault: two packages cannot be served from one place.
    #[error("two packages are located at `{href}`")]
    DuplicateHref {
        /// The location.
        href: String,
    },
    /// The caller's fault: the options want SHA-512, and the entry has none.
    #[error("the options want SHA-512, which the entry of {nevra} does not have")]
    NoPkgid {
        /// The entry.
        nevra: Arc<Nevra>,
    },
    /// The fault of whoever made the file; do not retry with the same bytes.
    #[error("`{file_name}`, to be carried as {record_type}, cannot be read to its end")]
    Carried {
        /// `updateinfo`, `group`, ...
        record_type: String,
        /// Its name, whose suffix says how it is compressed.
        file_name: String,
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// The store's fault; retry when it can be read again.
    #[error("cannot load the header of {nevra}")]
    Load {
        /// The entry.
        nevra: Arc<Nevra>,
        /// What the package source said.
        #[source]
        source: SourceError,
    },
    /// The caller's fault: the list and the store disagree.
    #[error("the header listed as {listed} is that of {found}")]
    WrongPackage {
        /// The entry's identity.
        listed: Arc<Nevra>,
        /// The header's identity.
        found: Arc<Nevra>,
    },
    /// The package's fault; do not retry.
    #[error("{nevra} cannot be written as metadata")]
    Package {
        /// The package.
        nevra: Arc<Nevra>,
        /// Why.
        #[source]
        fault: PackageFault,
    },
    /// The caller's fault: a revision, tag or record cannot be written.
    #[error("{what} `{text}` cannot be written: {why}")]
    Option {
        /// Which option.
        what: &'static str,
        /// Its value.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Ours: the compressor failed; retry is safe.
    #[error("cannot compress a frame of {record_type}")]
    Compress {
        /// `primary`, `filelists`, ...
        record_type: String,
        /// What the codec said.
        #[source]
        source: io::Error,
    },
    /// The sink's fault; retry is safe with a new sink.
    #[error("cannot write {record_type}")]
    Sink {
        /// `primary`, `filelists`, ...
        record_type: String,
        /// What the sink said.
        #[source]
        source: io::Error,
    },
    /// The disk's fault, or the other repository changed meanwhile; retry.
    #[error("cannot read what {record_type} of another repository says of {name}")]
    Fragment {
        /// `primary`, `filelists` or `other`.
        record_type: String,
        /// Name of the package.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Ours: a worker thread ended without a result.
    #[error("a rendering worker ended early")]
    Worker,
}
