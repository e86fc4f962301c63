//! What a repository's owner may choose about its metadata.

use super::checksum::ChecksumType;
use super::codec::Codec;

/// How metadata is written. Part of the function's input: other options, other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Compression of primary, filelists and other.
    pub codec: Codec,
    /// The checksum of `repomd.xml`'s records, in file names, and the `pkgid` of packages. SHA-512
    /// needs [`Entry::sha512`](super::Entry::sha512) of every entry.
    pub checksum: ChecksumType,
    /// Also write filelists-ext: filelists with the digest of each file.
    pub filelists_ext: bool,
    /// Also write each of these files as zchunk (`primary_zck`, ...), which dnf fetches in parts.
    pub zchunk: bool,
    /// Write `<open-checksum>` of compressed primary, filelists and other, as createrepo_c does. It is over
    /// the whole decompressed content, which begins with the number of packages: without it, the cost of
    /// one package more does not grow with the content of all others. No client of today reads it; yum's kin may
    /// (`docs/decisions/0016`).
    pub open_checksums: bool,
    /// Changelog entries for each package, newest kept; `None` writes all of them.
    pub changelog_limit: Option<usize>,
    /// `<revision>`, a free text; `None` writes the publish instant in seconds since 1970.
    pub revision: Option<String>,
    /// `<content>` tags, in this order.
    pub content_tags: Vec<String>,
    /// `<repo>` tags, in this order.
    pub repo_tags: Vec<String>,
    /// `<distro>` tags, in this order.
    pub distro_tags: Vec<DistroTag>,
}

impl Default for Options {
    /// Zstd, ten changelog entries, revision from the instant and no tags, as createrepo_c; no open checksums.
    fn default() -> Self {
        Self {
            codec: Codec::ZSTD,
            checksum: ChecksumType::Sha256,
            filelists_ext: false,
            zchunk: false,
            open_checksums: false,
            changelog_limit: Some(10),
            revision: None,
            content_tags: Vec::new(),
            repo_tags: Vec::new(),
            distro_tags: Vec::new(),
        }
    }
}

impl Options {
    /// How groups are compressed and cached: as the file is, or for xz, which must be one stream,
    /// as zstd.
    pub(super) fn frame_codec(&self) -> Codec {
        match self.codec {
            Codec::Xz => Codec::ZSTD,
            codec @ (Codec::Zstd { .. } | Codec::Gzip | Codec::None) => codec,
        }
    }

    /// Whether the content of frames is wanted: to compress it again, or to hash it.
    pub(super) fn reads_open(&self) -> bool {
        match self.codec {
            Codec::None => false,
            Codec::Xz => true,
            Codec::Zstd { .. } | Codec::Gzip => self.open_checksums,
        }
    }
}

/// A `<distro>` tag of `repomd.xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistroTag {
    /// Name such as `Fedora 43`.
    pub text: String,
    /// CPE name such as `cpe:/o:fedoraproject:fedora:43`.
    pub cpe_id: Option<String>,
}

/// A record beside primary, filelists and other: updateinfo, group, modules, an SBOM index, or
/// any type that an upstream repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraRecord {
    /// `type` in `repomd.xml`: `updateinfo`, `group`, `modules`, ...
    pub record_type: String,
    /// Name without the suffix that `codec` adds: `updateinfo.xml`, `comps.xml`, `modules.yaml`. A digest
    /// in front, as an upstream file may have it, is replaced by the right one.
    pub file_name: String,
    /// The content, not compressed; or, with `Codec::None` and a name that ends in `.gz`, `.zst`,
    /// `.xz`, `.bz2` or `.zck`, a file that is already compressed and is carried byte for byte.
    pub bytes: Vec<u8>,
    /// How to compress it; some clients want groups uncompressed.
    pub codec: Codec,
}
