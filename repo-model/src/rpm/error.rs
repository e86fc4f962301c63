//! Why the head of an RPM cannot be read: what, where in the file, and which tag.

use super::tag;
use std::fmt;

/// One of the three parts that come before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// The first 96 bytes.
    Lead,
    /// The signature header: digests, sizes, OpenPGP signatures.
    Signature,
    /// The main header: everything about the package.
    Main,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lead => "lead",
            Self::Signature => "signature header",
            Self::Main => "main header",
        })
    }
}

/// A tag with the header that it is in, shown as `tag 1000 (NAME) of the main header`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TagIn {
    /// Which header.
    pub section: Section,
    /// The number.
    pub tag: u32,
}

impl TagIn {
    /// A tag of the main header.
    pub const fn main(tag: u32) -> Self {
        Self {
            section: Section::Main,
            tag,
        }
    }

    /// A tag of the signature header.
    pub const fn signature(tag: u32) -> Self {
        Self {
            section: Section::Signature,
            tag,
        }
    }
}

impl fmt::Display for TagIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.section {
            Section::Signature => tag::signature_name(self.tag),
            Section::Main | Section::Lead => tag::name(self.tag),
        };
        match name {
            Some(name) => write!(f, "tag {} ({name}) of the {}", self.tag, self.section),
            None => write!(f, "tag {} of the {}", self.tag, self.section),
        }
    }
}

/// The head of an RPM cannot be read.
///
/// All but `Read` are the file's fault: the same bytes fail again. Offsets are bytes from the start
/// of the file.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The source of the bytes failed, not the bytes; a retry may help.
    #[error("cannot read the {section} at offset {offset}")]
    Read {
        /// Where the reader was.
        section: Section,
        /// Start of what was being read.
        offset: u64,
        /// What the reader said.
        #[source]
        source: std::io::Error,
    },
    /// The file ends before its own lengths say so.
    #[error(
        "the {section} is cut off: {want_bytes} bytes announced at offset {offset}, {have_bytes} there"
    )]
    Truncated {
        /// Which part.
        section: Section,
        /// Start of what is cut off.
        offset: u64,
        /// Bytes that should follow `offset`.
        want_bytes: u64,
        /// Bytes that do.
        have_bytes: u64,
    },
    /// The lead does not start with ed ab ee db.
    #[error("not an RPM: starts with {found}, want edabeedb")]
    NotRpm {
        /// The first bytes in hex.
        found: String,
    },
    /// A lead that we do not read: file format 1 or 2, or a signature that is no header.
    #[error("unsupported lead: {what} is {found} at offset {offset}, want {want}")]
    UnsupportedLead {
        /// Which field.
        what: &'static str,
        /// Its place.
        offset: u64,
        /// Its value.
        found: u16,
        /// The values that we read.
        want: &'static str,
    },
    /// A header does not start with 8e ad e8 01 00 00 00 00.
    #[error("the {section} has no header magic at offset {offset}: found {found}")]
    BadMagic {
        /// Which header.
        section: Section,
        /// Where it should start.
        offset: u64,
        /// Eight bytes in hex.
        found: String,
    },
    /// More index entries than the limit; nothing of them was read.
    #[error("the {section} announces {entries} entries at offset {offset}, the limit is {limit}")]
    TooManyEntries {
        /// Which header.
        section: Section,
        /// Place of the number.
        offset: u64,
        /// What it says.
        entries: u32,
        /// What we accept.
        limit: u32,
    },
    /// More bytes than the limit; nothing of them was read.
    #[error(
        "the {section} announces {bytes} bytes of data at offset {offset}, the limit is {limit}"
    )]
    TooLarge {
        /// Which header.
        section: Section,
        /// Place of the number.
        offset: u64,
        /// What it says.
        bytes: u32,
        /// What we accept.
        limit: u32,
    },
    /// A header without a single entry.
    #[error("the {section} at offset {offset} has no entries")]
    Empty {
        /// Which header.
        section: Section,
        /// Its start.
        offset: u64,
    },
    /// One index entry is wrong.
    #[error("{tag}, index entry at offset {offset}: {problem}")]
    Entry {
        /// Which tag.
        tag: TagIn,
        /// Place of its 16 index bytes.
        offset: u64,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// The region tag (62, 63) and its trailer do not agree.
    #[error("{tag}, trailer at offset {offset}: {why}")]
    Region {
        /// The region tag.
        tag: TagIn,
        /// Place of the trailer.
        offset: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A tag that every package has.
    #[error("{tag} is missing or empty")]
    Missing {
        /// Which tag.
        tag: TagIn,
    },
    /// A tag of another type than its meaning asks for.
    #[error("{tag} at offset {offset} holds {found}, want {want}")]
    WrongType {
        /// Which tag.
        tag: TagIn,
        /// Place of its data.
        offset: u64,
        /// What it is.
        found: &'static str,
        /// What it should be.
        want: &'static str,
    },
    /// Two lists that must be equally long.
    #[error("{tag} has {count} values but {other} has {other_count}")]
    Lengths {
        /// The list that is off.
        tag: TagIn,
        /// Its length.
        count: usize,
        /// The list it goes with.
        other: TagIn,
        /// Its length.
        other_count: usize,
    },
    /// A file names a directory that is not in the list.
    #[error(
        "{tag} at offset {offset}: file {file} is in directory {index}, but there are {directories}"
    )]
    DirIndex {
        /// DIRINDEXES.
        tag: TagIn,
        /// Place of its data.
        offset: u64,
        /// Number of the file, from 0.
        file: usize,
        /// What it says.
        index: u32,
        /// Length of DIRNAMES.
        directories: usize,
    },
    /// All paths together are longer than any real package's.
    #[error("the paths of all files take more than {limit_bytes} bytes")]
    PathsTooLong {
        /// What we accept.
        limit_bytes: usize,
    },
}

/// What is wrong with one index entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// Types are 0 to 9.
    #[error("type {found} is unknown, want 0 to 9")]
    UnknownType {
        /// The number.
        found: u32,
    },
    /// Numbers below 100 are for regions, which come first.
    #[error("numbers below 100 are reserved for the first entry")]
    Reserved,
    /// A string is one string.
    #[error("a string with a count of {count}, want 1")]
    StringCount {
        /// The count.
        count: u32,
    },
    /// More values than any real package has.
    #[error("{count} values, the limit is {limit}")]
    TooManyValues {
        /// The count.
        count: u32,
        /// What we accept.
        limit: u32,
    },
    /// The data would begin before or after the store.
    #[error("its data starts at {start} of {store_bytes} bytes of data")]
    OutOfStore {
        /// Offset in the store.
        start: u32,
        /// Bytes in the store.
        store_bytes: u32,
    },
    /// The data would end after the store.
    #[error("its {want_bytes} bytes at {start} pass the end of {store_bytes} bytes of data")]
    PassesEnd {
        /// Offset in the store.
        start: u32,
        /// Size of the value.
        want_bytes: u64,
        /// Bytes in the store.
        store_bytes: u32,
    },
    /// A string runs to the end of the store without a NUL.
    #[error("a string at {start} has no end")]
    Unterminated {
        /// Offset in the store.
        start: u32,
    },
    /// Integers lie at multiples of their size.
    #[error("its data starts at {start}, want a multiple of {alignment}")]
    Misaligned {
        /// Offset in the store.
        start: u32,
        /// 2, 4 or 8.
        alignment: u32,
    },
    /// Data shared with another entry; rpm refuses it too, and it would make reading quadratic.
    #[error("its data at {start} overlaps that of tag {other}")]
    Overlaps {
        /// Offset in the store.
        start: u32,
        /// The other tag.
        other: u32,
    },
}
