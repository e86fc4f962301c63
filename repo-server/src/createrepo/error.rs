//! What can go wrong while a directory becomes a repository.

use crate::repodata::{MetadataError, PackageFault, ParseHrefError};
use mirrors::reading::XmlError;
use repo_model::Nevra;
use repo_model::rpm::HeaderError;
use std::io;
use std::path::PathBuf;

/// A package that cannot be part of a repository, and why.
#[derive(Debug)]
pub struct BadPackage {
    /// Path below the directory.
    pub path: String,
    /// Why.
    pub error: PackageError,
}

/// Why one file is no usable package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file's name or place; rename it.
    #[error("its name is not UTF-8")]
    Name,
    /// The file's place; move it.
    #[error(transparent)]
    Href(#[from] ParseHrefError),
    /// The system's fault or a dangling link; retry when it can be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The package's fault: tag and offset are in the message.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The package's fault: download it again.
    #[error("it is cut off: it has {have_bytes} bytes, its signature header says {want_bytes}")]
    Truncated {
        /// Bytes that it should have.
        want_bytes: u64,
        /// Bytes that it has.
        have_bytes: u64,
    },
    /// The package's fault: clients could not read the metadata.
    #[error(transparent)]
    Metadata(#[from] PackageFault),
    /// Somebody wrote to it meanwhile; retry.
    #[error("it changed while it was read")]
    Changed,
}

/// Two packages that claim to be the same and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The identity that both claim.
    pub nevra: Nevra,
    /// Path of the first.
    pub first: String,
    /// Path of the second.
    pub second: String,
}

/// The repository was not made or changed. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum CreaterepoError {
    /// The directory is not there or cannot be read.
    #[error("cannot read the directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An input file (group file, package list, metadata to add) cannot be read.
    #[error("cannot read {}", path.display())]
    Input {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else is writing this repository; wait for it.
    #[error("another process is making the metadata of {}", path.display())]
    Busy {
        /// Which repository.
        path: PathBuf,
    },
    /// The packages' fault; remove or mend them, or skip them explicitly.
    #[error("{} packages cannot be part of a repository", .0.len())]
    BadPackages(Vec<BadPackage>),
    /// The packages' fault; decide which are wanted.
    #[error("{} packages have the NEVRA of another package with different content", .0.len())]
    Duplicates(Vec<Duplicate>),
    /// The metadata that is there cannot be used; make it anew.
    #[error("the old {} is not usable: {why}", path.display())]
    OldMetadata {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The old `repomd.xml` cannot be read; make the metadata anew.
    #[error("the old {} is not usable", path.display())]
    OldRepomd {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: XmlError,
    },
    /// There is no metadata to change.
    #[error("{} is no repository: it has no repodata/repomd.xml", path.display())]
    NoRepository {
        /// Which directory.
        path: PathBuf,
    },
    /// `repomd.xml` has no such record.
    #[error("there is no record `{record_type}` to remove")]
    NoRecord {
        /// Which type.
        record_type: String,
    },
    /// Two metadata files would have one name without digests.
    #[error("two metadata files are called `{name}`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A repository's fault, or its server's.
    #[error("cannot merge {repository}")]
    Merge {
        /// Its path or URL.
        repository: String,
        /// Why.
        #[source]
        source: super::merge::MergeError,
    },
    /// Ours or the disk's fault; the old metadata is untouched.
    #[error("cannot make the database {record_type}")]
    Database {
        /// `primary_db`, `filelists_db` or `other_db`.
        record_type: String,
        /// What went wrong.
        #[source]
        source: super::database::DatabaseError,
    },
    /// See there.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The disk's fault; the old metadata is untouched.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
