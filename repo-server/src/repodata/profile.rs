//! Which clients a repository is for, and what follows from that: codec, checksums, and the form of
//! comps groups. One row each.
//!
//! createrepo_c 1.0 made zstd the default and compressed comps; repositories for older clients
//! broke without a word. So the choice has a name here, and what does not go with it is listed by
//! [`Profile::clashes`].

use super::checksum::ChecksumType;
use super::codec::Codec;
use super::options::{ExtraRecord, Options};
use std::fmt;

/// A family of clients that read a repository.
#[derive(Debug)]
pub struct Profile {
    /// As written in configuration and on the command line.
    pub name: &'static str,
    /// Who that is, for help texts.
    pub clients: &'static str,
    /// What the metadata is compressed with.
    pub codec: Codec,
    /// What records and packages are checked by.
    pub checksum: ChecksumType,
    /// Whether records say the checksum of what they decompress to.
    pub open_checksums: bool,
    /// How comps groups are offered.
    pub groups: GroupForm,
    /// Compressions that every client of this family reads.
    reads: &'static [Compressed],
}

/// How comps groups are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupForm {
    /// `group` not compressed, and `group_gz` beside it: yum and old dnf read the plain one, and
    /// fail on any other.
    PlainAndGzip,
    /// `group` compressed as the rest.
    Compressed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compressed {
    Zstd,
    Gzip,
    Xz,
}

/// Every family.
pub static PROFILES: &[Profile] = &[
    Profile {
        name: "el7",
        clients: "yum 3 and old zypper: RHEL, CentOS 5 to 7, Amazon Linux 2, SLE 12",
        codec: Codec::Gzip,
        checksum: ChecksumType::Sha256,
        open_checksums: true,
        groups: GroupForm::PlainAndGzip,
        reads: &[Compressed::Gzip],
    },
    Profile {
        name: "el8",
        clients: "dnf 4 of RHEL 8 and its like, SLE 15, Photon OS; yum too",
        codec: Codec::Gzip,
        checksum: ChecksumType::Sha256,
        open_checksums: true,
        groups: GroupForm::PlainAndGzip,
        reads: &[Compressed::Gzip, Compressed::Xz],
    },
    Profile {
        name: "modern",
        clients: "dnf 5, dnf 4.14, zypper 1.14.101 and later: RHEL 9, Fedora, openSUSE",
        codec: Codec::ZSTD,
        checksum: ChecksumType::Sha256,
        open_checksums: false,
        groups: GroupForm::Compressed,
        reads: &[Compressed::Zstd, Compressed::Gzip, Compressed::Xz],
    },
];

/// No profile has this name. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no client profile: want el7, el8 or modern")]
pub struct UnknownProfileError {
    text: String,
}

/// Something in the options that clients of a profile cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// They cannot decompress a file.
    Codec {
        /// `primary`, ...; `None` for all files made of the package list.
        record_type: Option<String>,
        /// What it is compressed with, as a suffix: `.zst`.
        suffix: String,
        /// The profile.
        profile: &'static str,
    },
    /// They read groups only when these are not compressed.
    CompressedGroups {
        /// The profile.
        profile: &'static str,
    },
}

impl Clash {
    /// A stable name: `codec` or `compressed-groups`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Codec { .. } => "codec",
            Self::CompressedGroups { .. } => "compressed-groups",
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec {
                record_type,
                suffix,
                profile,
            } => write!(
                f,
                "clients of profile {profile} cannot read {} as `{suffix}`",
                record_type.as_deref().unwrap_or("metadata"),
            ),
            Self::CompressedGroups { profile } => write!(
                f,
                "clients of profile {profile} need a `group` record that is not compressed",
            ),
        }
    }
}

impl Profile {
    /// The profile of this name.
    pub fn named(name: &str) -> Result<&'static Self, UnknownProfileError> {
        PROFILES
            .iter()
            .find(|profile| profile.name == name)
            .ok_or_else(|| UnknownProfileError {
                text: name.chars().take(40).collect(),
            })
    }

    /// Options that these clients can read; the rest as by default.
    pub fn options(&self) -> Options {
        Options {
            codec: self.codec,
            checksum: self.checksum,
            open_checksums: self.open_checksums,
            ..Options::default()
        }
    }

    /// Comps groups as these clients want them; `file_name` such as `comps.xml`.
    pub fn group_records(&self, file_name: &str, comps: &[u8]) -> Vec<ExtraRecord> {
        let record = |record_type: &str, codec| ExtraRecord {
            record_type: record_type.to_owned(),
            file_name: file_name.to_owned(),
            bytes: comps.to_vec(),
            codec,
        };
        match self.groups {
            GroupForm::PlainAndGzip => {
                vec![
                    record("group", Codec::None),
                    record("group_gz", Codec::Gzip),
                ]
            }
            GroupForm::Compressed => vec![record("group", self.codec)],
        }
    }

    /// What of these options the clients cannot use; for a warning, or a refusal.
    pub fn clashes(&self, options: &Options, extras: &[ExtraRecord]) -> Vec<Clash> {
        let mut clashes = Vec::new();
        let mut codec = |record_type: Option<&str>, suffix: &str| {
            if !self.reads_suffix(suffix) {
                clashes.push(Clash::Codec {
                    record_type: record_type.map(str::to_owned),
                    suffix: suffix.to_owned(),
                    profile: self.name,
                });
            }
        };
        codec(None, options.codec.suffix());
        for extra in extras
            .iter()
            .filter(|extra| !is_ignorable(&extra.record_type))
        {
            codec(Some(&extra.record_type), suffix_of(extra));
        }
        let groups: Vec<&ExtraRecord> = extras
            .iter()
            .filter(|extra| extra.record_type == "group")
            .collect();
        let all_compressed = groups.iter().all(|group| !suffix_of(group).is_empty());
        if self.groups == GroupForm::PlainAndGzip && !groups.is_empty() && all_compressed {
            clashes.push(Clash::CompressedGroups { profile: self.name });
        }
        clashes
    }

    fn reads_suffix(&self, suffix: &str) -> bool {
        match suffix {
            "" => true,
            ".gz" => self.reads.contains(&Compressed::Gzip),
            ".zst" => self.reads.contains(&Compressed::Zstd),
            ".xz" => self.reads.contains(&Compressed::Xz),
            _ => false,
        }
    }
}

/// Records that only those clients fetch which can read them, whatever else these are.
fn is_ignorable(record_type: &str) -> bool {
    record_type.ends_with("_zck") || record_type.ends_with("_db")
}

/// The suffix that says how an extra record is compressed, its own or the codec's.
fn suffix_of(extra: &ExtraRecord) -> &str {
    if extra.codec != Codec::None {
        return extra.codec.suffix();
    }
    [".gz", ".zst", ".xz", ".bz2", ".zck"]
        .into_iter()
        .find(|suffix| extra.file_name.ends_with(suffix))
        .unwrap_or("")
}
