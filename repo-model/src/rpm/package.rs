//! An RPM's header as typed fields: what metadata, SBOMs, comparison and lint read.

use super::files::FileDetail;
use super::{Head, HeaderError};
use crate::{HeaderDigest, Nevra, Timestamp};
use std::ops::Range;

/// The file format, told from what the headers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RpmFormat {
    /// rpm 1.x to 3.x: no immutable region, MD5 only.
    V3,
    /// rpm 4.x.
    V4,
    /// rpm 6.x: tag RPMFORMAT is 6, no MD5, no SHA-1, no size tags.
    V6,
}

/// Comparison of a versioned dependency: the low four sense bits (rpm `rpmds.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyFlags {
    /// `<`
    Lt,
    /// `>`
    Gt,
    /// `=`
    Eq,
    /// `<=`
    Le,
    /// `>=`
    Ge,
}

/// One entry of a dependency list, in header order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// The capability, or a whole rich dependency `(a if b)`.
    pub name: String,
    /// Comparison and `[epoch:]version[-release]` as written; `None` when unversioned or when the
    /// sense bits name no comparison.
    pub version: Option<(DependencyFlags, String)>,
    /// All sense bits as stored, for the rules that need them (pre, rpmlib, missingok, strong).
    pub sense: u32,
}

impl Dependency {
    /// Sense bits of `rpmds.h` that make a requirement one for before the scripts: PREREQ, %pre, %post, %pretrans,
    /// %posttrans. Not %preun and %postun: those only matter when it is removed.
    const PRE: u32 = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 7 | 1 << 5;
    /// RPMSENSE_MISSINGOK.
    const MISSING_OK: u32 = 1 << 19;

    /// Whether it must be there before the package's scripts run (createrepo_c's rule, `src/parsehdr.c`).
    pub fn is_pre(&self) -> bool {
        self.sense & Self::PRE != 0
    }

    /// Whether it stands among the requirements and may be missing all the same: how SUSE and Mageia wrote a
    /// recommendation before rpm 4.12.
    pub fn is_missing_ok(&self) -> bool {
        self.sense & Self::MISSING_OK != 0
    }
}

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A directory.
    Dir,
    /// A symbolic link; its target is `FileEntry::link_target`.
    Symlink,
    /// A regular file.
    Regular,
    /// Device, socket, pipe.
    Other,
}

/// One file of the package, in header order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Absolute path: directory name + base name.
    pub path: String,
    /// Directory part with its trailing slash, as in DIRNAMES.
    pub dir: String,
    /// Base name; empty when the entry is the directory itself.
    pub base: String,
    /// Bytes.
    pub size_bytes: u64,
    /// `st_mode`, file type included.
    pub mode: u16,
    /// File type taken from `mode`.
    pub kind: FileKind,
    /// RPMFILE_* flags (1 config, 2 doc, 64 ghost, 128 license, ...).
    pub flags: u32,
    /// Seconds since 1970.
    pub mtime: Timestamp,
    /// Lowercase hex digest of the content; empty for directories, links and ghosts.
    pub digest: String,
    /// Empty unless `kind` is a link.
    pub link_target: String,
    /// Owner's name.
    pub user: String,
    /// Group's name.
    pub group: String,
    /// Inode within the package: equal for hard links.
    pub inode: u32,
}

impl FileEntry {
    /// RPMFILE_GHOST: owned, but not in the payload.
    pub const GHOST: u32 = 1 << 6;

    /// Whether the entry is a `%ghost`.
    pub fn is_ghost(&self) -> bool {
        self.flags & Self::GHOST != 0
    }
}

/// One changelog entry, in header order (newest first as rpmbuild writes it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogEntry {
    /// The day, at noon UTC as rpmbuild writes it.
    pub time: Timestamp,
    /// `Name <mail> - version`.
    pub author: String,
    /// The text.
    pub text: String,
}

/// The header of one RPM as typed fields.
///
/// Text that is not UTF-8 is read as Latin-1, so nothing is lost. String tags that hold the literal
/// `(none)` count as absent. Lists keep the header's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Identity. For a source package the arch is `src` or `nosrc`, whatever ARCH says.
    pub nevra: Nevra,
    /// True when the header itself has an EPOCH tag, even 0.
    pub has_epoch_tag: bool,
    /// File format.
    pub format: RpmFormat,
    /// Source package (tag SOURCEPACKAGE, or no SOURCERPM in old formats).
    pub is_source: bool,
    /// SHA-256 of the main header.
    pub header_digest: HeaderDigest,
    /// Byte range of the main header in the file (`rpm:header-range`).
    pub header_range: Range<u64>,
    /// SOURCERPM; `None` for source packages.
    pub source_rpm: Option<String>,
    /// SUMMARY, first locale.
    pub summary: String,
    /// DESCRIPTION, first locale.
    pub description: String,
    /// LICENSE as written.
    pub license: String,
    /// VENDOR.
    pub vendor: Option<String>,
    /// GROUP, first locale.
    pub group: String,
    /// PACKAGER.
    pub packager: Option<String>,
    /// URL.
    pub url: Option<String>,
    /// BUGURL.
    pub bug_url: Option<String>,
    /// VCS.
    pub vcs: Option<String>,
    /// DISTRIBUTION.
    pub distribution: Option<String>,
    /// BUILDHOST.
    pub build_host: String,
    /// BUILDTIME; 1970 when absent.
    pub build_time: Timestamp,
    /// RPMVERSION of the rpm that built it.
    pub rpm_version: Option<String>,
    /// COOKIE: host and time of the SRPM's making.
    pub cookie: Option<String>,
    /// OPTFLAGS.
    pub optflags: Option<String>,
    /// PLATFORM.
    pub platform: Option<String>,
    /// MODULARITYLABEL.
    pub modularity_label: Option<String>,
    /// LONGSIZE or SIZE: bytes installed.
    pub installed_size_bytes: u64,
    /// LONGARCHIVESIZE or ARCHIVESIZE, main header first and then signature header: bytes of the
    /// uncompressed payload; 0 when absent.
    pub archive_size_bytes: u64,
    /// PAYLOADCOMPRESSOR: `gzip` when absent.
    pub payload_compressor: String,
    /// PAYLOADFLAGS: compression level and options.
    pub payload_flags: Option<String>,
    /// PAYLOADSHA256: lowercase hex of the compressed payload's digest.
    pub payload_sha256: Option<String>,
    /// PAYLOADSHA256ALT: of the uncompressed payload.
    pub payload_sha256_alt: Option<String>,
    /// FILEDIGESTALGO: OpenPGP hash number (8 = SHA-256); absent means 1 (MD5).
    pub file_digest_algorithm: u32,
    /// Files.
    pub files: Vec<FileEntry>,
    /// PROVIDES.
    pub provides: Vec<Dependency>,
    /// REQUIRES.
    pub requires: Vec<Dependency>,
    /// CONFLICTS.
    pub conflicts: Vec<Dependency>,
    /// OBSOLETES.
    pub obsoletes: Vec<Dependency>,
    /// SUGGESTS (with old SUSE tags mapped in, as createrepo_c does).
    pub suggests: Vec<Dependency>,
    /// ENHANCES.
    pub enhances: Vec<Dependency>,
    /// RECOMMENDS.
    pub recommends: Vec<Dependency>,
    /// SUPPLEMENTS.
    pub supplements: Vec<Dependency>,
    /// Changelog.
    pub changelog: Vec<ChangelogEntry>,
    /// SOURCE: file names, in a source package (or those a binary's header keeps).
    pub sources: Vec<String>,
    /// PATCH: file names.
    pub patches: Vec<String>,
}

impl Package {
    /// Reads the fields of a parsed head.
    ///
    /// Errors name the tag; they are the package's fault and sending it again fails again.
    pub fn from_head(head: &Head) -> Result<Self, HeaderError> {
        super::fields::package_fields(head, FileDetail::All)
    }

    /// The same for who only lists packages: of the files path, kind, flags, numbers, and the digest if
    /// `digests`; their other texts are empty. Fails where [`Self::from_head`] does, in half the time.
    pub fn for_listing(head: &Head, digests: bool) -> Result<Self, HeaderError> {
        super::fields::package_fields(head, FileDetail::Listing { digests })
    }
}
