//! Repository metadata: `repomd.xml` and the files it names, as a pure function of (package list,
//! options, instant). Equal input gives equal bytes, whatever was published before.
//!
//! Packages are sorted by (name, EVR, arch, file digest) and cut into groups of about 50 to 200 at
//! borders that depend on package names alone (`groups`). Each group is rendered and compressed to
//! one frame per file; a frame is cached by the digest of what went into it, so adding a package
//! to a repository of 60,000 renders one group. A file is
//!
//! ```text
//! [frame: <?xml ...><metadata ... packages="2">]  [frame: group 0] [frame: group 1] ... [frame: </metadata>]
//! ```
//!
//! gzip members and zstd frames may be concatenated. **A zstd frame here never carries its content
//! size**: DNF may then stop reading after the first ones, without an error.
//!
//! xz files are one stream instead, made from frames that are cached as zstd; zchunk files are an
//! index in front of the same zstd frames. [`Profile`] says which of it a family of clients reads.
//!
//! What is written for one package equals createrepo_c 1.2 byte for byte, apart from the
//! deliberate differences that `docs/decisions/0005-repodata-differences.md` lists.
//!
//! Here live no clock, no database and no directories: packages come through [`PackageSource`],
//! frames through [`FrameCache`], and bytes leave through [`Sink`].

mod ahead;
mod assemble;
mod build;
mod cache;
mod cache_directory;
mod checksum;
mod codec;
mod dependencies;
mod entry;
mod error;
mod extras;
mod filelists;
mod filelists_ext;
mod fragments;
mod frames;
mod groups;
mod kinds;
mod options;
mod other;
mod primary;
mod profile;
mod repomd;
mod stream;
mod xml;
mod zchunk;

pub use build::{Inputs, Manifest, Repodata, RepodataFile, Sink, build, build_into};
pub use cache::{FrameCache, MemoryFrameCache, NoFrameCache};
pub use cache_directory::DirectoryFrameCache;
pub use checksum::{ChecksumType, ParseChecksumTypeError, Sha512Digest};
pub use codec::{Codec, Frame};
pub use entry::{Entry, PackageSource, sort};
pub use error::{MetadataError, PackageFault, SourceError};
pub use groups::{GROUP_PACKAGES_MAX, GROUP_PACKAGES_MIN};
pub use kinds::check_package;
pub use mirrors::reading::{Href, ParseHrefError};
pub use options::{DistroTag, ExtraRecord, Options};
pub use profile::{Clash, GroupForm, PROFILES, Profile, UnknownProfileError};
pub use repomd::{OpenContent, Record};
pub use zchunk::ZchunkHeader;

pub(crate) use ahead::Ahead;
pub(crate) use dependencies::{EvrText, Requires, flags_text, is_primary_path, libc_order};
pub(crate) use extras::{is_another_form, write_zchunk_of};
pub(crate) use filelists_ext::algorithm_name;
pub(crate) use fragments::{Fragments, build_fragments_into};
pub(crate) use groups::groups_of;
pub(crate) use repomd::rendered;
pub(crate) use stream::{StreamedRecord, write_stream};
