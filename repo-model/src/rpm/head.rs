//! Everything of an RPM that comes before the payload: lead, signature header, main header.

use super::error::{HeaderError, Section};
use super::header::{ENTRY_BYTES, Header, MAGIC, be32};
use crate::HeaderDigest;
use std::io::Read;
use std::ops::Range;

/// Bytes of the lead.
pub(super) const LEAD_BYTES: usize = 96;
/// Most entries of a signature header; rpm's own limit (`lib/header.c`, `hdrblobRead`). A real one
/// has 5 to 12.
const SIGNATURE_ENTRIES: u32 = 32;

/// How much a header may announce before a byte of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of data in the signature header. Default 32 MiB, half of rpm's limit: an OpenPGP
    /// signature takes at most some 10 KiB (ML-DSA-87), but IMA signatures take up to 1 KiB for
    /// each file.
    pub signature_bytes: u32,
    /// Bytes of data in the main header. Default 64 MiB: four times what rpm before 4.14 could
    /// read, a quarter of what it reads since.
    pub main_bytes: u32,
    /// Entries in the main header. Default 65,535, rpm's limit.
    pub entries: u32,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            signature_bytes: 32 << 20,
            main_bytes: 64 << 20,
            entries: 0xffff,
        }
    }
}

/// Lead, signature header and main header of one RPM, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    lead: [u8; LEAD_BYTES],
    signature: Header,
    main: Header,
    main_start: u64,
}

impl Head {
    /// Reads lead, signature header, padding and main header, and not a byte more: `reader` is
    /// left at the payload.
    ///
    /// A header that announces more than `limits` is refused before it is read, and memory grows
    /// only with the bytes that really come.
    pub fn read(mut reader: impl Read, limits: &HeadLimits) -> Result<Self, HeaderError> {
        let mut place = Place {
            section: Section::Lead,
            offset: 0,
        };
        let lead = read_lead(&mut reader, &mut place)?;
        place.section = Section::Signature;
        let entries = limits.entries.min(SIGNATURE_ENTRIES);
        let signature = read_header(&mut reader, &mut place, entries, limits.signature_bytes)?;
        place.section = Section::Main;
        let main_start = place.offset;
        let main = read_header(&mut reader, &mut place, limits.entries, limits.main_bytes)?;
        Ok(Self {
            lead,
            signature,
            main,
            main_start,
        })
    }

    /// The same from the first bytes of a file, with the default limits; bytes after the main
    /// header are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::read(bytes, &HeadLimits::default())
    }

    /// The 96 bytes of the lead.
    pub fn lead(&self) -> &[u8] {
        &self.lead
    }

    /// Whether the lead calls this a source package; what old files have instead of a tag.
    pub(super) fn lead_says_source(&self) -> bool {
        self.lead[6..8] == [0, 1]
    }

    /// The signature header.
    pub fn signature(&self) -> &Header {
        &self.signature
    }

    /// The signature header as it is in the file, with its padding to 8 bytes.
    pub fn signature_bytes(&self) -> &[u8] {
        self.signature.bytes()
    }

    /// The main header.
    pub fn main(&self) -> &Header {
        &self.main
    }

    /// The main header as it is in the file: what a header signature is made over.
    pub fn main_bytes(&self) -> &[u8] {
        self.main.bytes()
    }

    /// SHA-256 of the main header: the name of the package, signed or not.
    pub fn header_digest(&self) -> HeaderDigest {
        HeaderDigest::of(self.main_bytes())
    }

    /// Byte range of the main header in the file.
    pub fn header_range(&self) -> Range<u64> {
        self.main_start..self.main_start + self.main_bytes().len() as u64
    }

    /// Where the payload starts.
    pub fn payload_offset(&self) -> u64 {
        self.header_range().end
    }

    /// Lead, signature header and main header again, byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.lead(), self.signature_bytes(), self.main_bytes()].concat()
    }
}

/// Where in the file the reader is.
struct Place {
    section: Section,
    offset: u64,
}

fn read_lead(reader: &mut impl Read, place: &mut Place) -> Result<[u8; LEAD_BYTES], HeaderError> {
    let mut bytes = Vec::with_capacity(LEAD_BYTES);
    let outcome = read_exactly(reader, place, LEAD_BYTES, &mut bytes);
    // A short text file should be told "not an RPM", not "cut off".
    let magic_bytes = bytes.len().min(4);
    if bytes[..magic_bytes] != [0xed, 0xab, 0xee, 0xdb][..magic_bytes] {
        return Err(HeaderError::NotRpm {
            found: hex::encode(&bytes[..magic_bytes]),
        });
    }
    outcome?;
    let mut lead = [0; LEAD_BYTES];
    lead.copy_from_slice(&bytes);
    let be16 = |at: usize| u16::from_be_bytes([lead[at], lead[at + 1]]);
    let refuse = |what, offset, found, want| HeaderError::UnsupportedLead {
        what,
        offset,
        found,
        want,
    };
    if !matches!(lead[4], 3 | 4) {
        return Err(refuse("the major version", 4, u16::from(lead[4]), "3 or 4"));
    }
    if be16(6) > 1 {
        return Err(refuse(
            "the package type",
            6,
            be16(6),
            "0 (binary) or 1 (source)",
        ));
    }
    if be16(78) != 5 {
        return Err(refuse("the signature type", 78, be16(78), "5 (header)"));
    }
    Ok(lead)
}

fn read_header(
    reader: &mut impl Read,
    place: &mut Place,
    entries_limit: u32,
    bytes_limit: u32,
) -> Result<Header, HeaderError> {
    let (section, start) = (place.section, place.offset);
    let mut bytes = Vec::new();
    read_exactly(reader, place, ENTRY_BYTES, &mut bytes)?;
    if bytes[..8] != MAGIC {
        let found = hex::encode(&bytes[..8]);
        return Err(HeaderError::BadMagic {
            section,
            offset: start,
            found,
        });
    }
    let (entries, store) = (be32(&bytes, 8), be32(&bytes, 12));
    if entries > entries_limit {
        let limit = entries_limit;
        return Err(HeaderError::TooManyEntries {
            section,
            offset: start + 8,
            entries,
            limit,
        });
    }
    if store > bytes_limit {
        let (offset, limit) = (start + 12, bytes_limit);
        return Err(HeaderError::TooLarge {
            section,
            offset,
            bytes: store,
            limit,
        });
    }
    let rest = entries as usize * ENTRY_BYTES + store as usize;
    read_exactly(reader, place, rest, &mut bytes)?;
    if section == Section::Signature {
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        read_exactly(reader, place, padding, &mut bytes)?;
    }
    Header::check(section, start, bytes)
}

/// Memory that is taken on a header's word alone: enough for nearly all real ones.
const RESERVED_BYTES: usize = 64 << 10;

/// Appends exactly `want` bytes; beyond [`RESERVED_BYTES`] grows with what comes, not with what was
/// announced.
fn read_exactly(
    reader: &mut impl Read,
    place: &mut Place,
    want: usize,
    into: &mut Vec<u8>,
) -> Result<(), HeaderError> {
    let (section, offset) = (place.section, place.offset);
    into.reserve(want.min(RESERVED_BYTES));
    let have = reader
        .take(want as u64)
        .read_to_end(into)
        .map_err(|source| HeaderError::Read {
            section,
            offset,
            source,
        })?;
    if have < want {
        let (want_bytes, have_bytes) = (want as u64, have as u64);
        return Err(HeaderError::Truncated {
            section,
            offset,
            want_bytes,
            have_bytes,
        });
    }
    place.offset += want as u64;
    Ok(())
}
