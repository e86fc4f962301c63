//! Reading a repository, ours or anybody's: `repomd.xml`, what it names, and the packages that those
//! files list. Nothing that is read is trusted: see `xml` for documents, `packed` for compression.
//!
//! Everything is streamed. What is wrong with a repository is for its readers to say: the check and the
//! writers of metadata in the server's crate, the sync here.

mod href;
mod lists;
mod modules;
mod packed;
mod repomd;
mod source;
mod sums;
mod xml;

pub use href::{Href, ParseHrefError};
pub use lists::{
    Announced, ListedPackage, PackageClaim, Version, each_package, read_listed, read_listed_spans,
    read_primary, read_primary_spans, version as read_version,
};
pub use modules::ModularPackages;
pub use packed::{Packed, Sums};
pub use repomd::{REPOMD_MAX_BYTES, RecordClaim, Repomd};
pub use source::{Directory, Source, SourceError, Stream, read_small};
pub(crate) use sums::Hasher;
pub use sums::{Algorithm, Checksum, Meter, Tap, drain};
pub use xml::{Start, Token, XmlError, XmlProblem, XmlReader};

/// Path of the file that names the others.
pub const REPOMD: &str = "repodata/repomd.xml";
/// A detached signature of one key has some hundred bytes.
pub const SIGNATURE_MAX_BYTES: u64 = 1 << 20;
