//! One header structure (signature or main): 16 bytes of introduction, an index of 16-byte
//! entries, a store of data. Every offset, count and string end is checked once, here, so that
//! what hands out values later cannot go wrong.
//!
//! Layout, all numbers big-endian (rpm `docs/manual/format_header.md`):
//! `8eade801 00000000 | entries u32 | store bytes u32 | entries x (tag, type, offset, count) | store`.

use super::error::{EntryProblem, HeaderError, Section, TagIn};
use super::tag;

/// Bytes of introduction, and of one index entry.
pub(super) const ENTRY_BYTES: usize = 16;
/// What every header starts with.
pub(super) const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Most values that one list may have. The largest file lists of real distributions hold about
/// 100,000 files; the limit bounds the memory that a hostile header can ask for.
pub(super) const MAX_VALUES: u32 = 1 << 18;

pub(super) const TYPE_STRING: u32 = 6;
pub(super) const TYPE_BIN: u32 = 7;
pub(super) const TYPE_STRING_ARRAY: u32 = 8;
pub(super) const TYPE_I18N: u32 = 9;

static TYPE_NAMES: [&str; 10] = [
    "nothing",
    "characters",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "a string",
    "bytes",
    "a string array",
    "translated strings",
];

/// A checked index entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub tag: u32,
    pub kind: u32,
    /// From the start of the store.
    pub start: u32,
    pub count: u32,
    /// Bytes of data, NULs included.
    pub length: u32,
}

/// What a region tag says: how much of the header was there when rpm sealed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// 61 or 63 (main header), 62 (signature header).
    pub tag: u32,
    /// Index entries inside, the region's own included.
    pub entries: u32,
    /// Bytes of the store inside.
    pub store_bytes: u32,
}

/// The values of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Type 0.
    Null,
    /// CHAR, INT8, INT16, INT32 or INT64, widened.
    Ints(Vec<u64>),
    /// STRING (one), STRING_ARRAY or I18NSTRING, without the NULs, any bytes.
    Strings(Vec<&'a [u8]>),
    /// BIN.
    Bin(&'a [u8]),
}

/// A header whose every entry was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    section: Section,
    /// Of the introduction, from the start of the file.
    file_offset: u64,
    /// Introduction, index, store and, in the signature header, padding to 8.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    store_start: usize,
    store_bytes: usize,
    region: Option<Region>,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Header({}, {} entries, {} bytes)",
            self.section,
            self.entries.len(),
            self.bytes.len()
        )
    }
}

impl Header {
    /// Checks `bytes` = introduction, index, store (and padding). The caller has made sure that
    /// the lengths in the introduction fit `bytes`.
    pub(super) fn check(
        section: Section,
        file_offset: u64,
        bytes: Vec<u8>,
    ) -> Result<Self, HeaderError> {
        let count = be32(&bytes, 8) as usize;
        let store_bytes = be32(&bytes, 12) as usize;
        let store_start = ENTRY_BYTES * (1 + count);
        if count == 0 {
            return Err(HeaderError::Empty {
                section,
                offset: file_offset,
            });
        }
        let mut header = Self {
            section,
            file_offset,
            bytes,
            entries: Vec::with_capacity(count),
            store_start,
            store_bytes,
            region: None,
        };
        for number in 0..count {
            let entry = header.checked_entry(number)?;
            header.entries.push(entry);
        }
        header.refuse_overlaps()?;
        header.region = header.checked_region()?;
        Ok(header)
    }

    fn checked_entry(&self, number: usize) -> Result<Entry, HeaderError> {
        let at = ENTRY_BYTES * (1 + number);
        let [tag, kind, start, count] = [0, 4, 8, 12].map(|field| be32(&self.bytes, at + field));
        let is_region = (tag::HEADERIMAGE..=tag::HEADERIMMUTABLE).contains(&tag);
        let problem = if tag < tag::HEADERI18NTABLE && !(number == 0 && is_region) {
            EntryProblem::Reserved
        } else {
            match data_length(self.store(), kind, start, count) {
                Ok(length) => {
                    return Ok(Entry {
                        tag,
                        kind,
                        start,
                        count,
                        length,
                    });
                }
                Err(problem) => problem,
            }
        };
        Err(self.entry_error(number, tag, problem))
    }

    fn entry_error(&self, number: usize, tag: u32, problem: EntryProblem) -> HeaderError {
        HeaderError::Entry {
            tag: TagIn {
                section: self.section,
                tag,
            },
            offset: self.file_offset + (ENTRY_BYTES * (1 + number)) as u64,
            problem,
        }
    }

    fn refuse_overlaps(&self) -> Result<(), HeaderError> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|number| (self.entries[*number].start, self.entries[*number].length));
        for pair in order.windows(2) {
            let (before, entry) = (self.entries[pair[0]], self.entries[pair[1]]);
            if u64::from(before.start) + u64::from(before.length) > u64::from(entry.start) {
                let problem = EntryProblem::Overlaps {
                    start: entry.start,
                    other: before.tag,
                };
                return Err(self.entry_error(pair[1], entry.tag, problem));
            }
        }
        Ok(())
    }

    fn checked_region(&self) -> Result<Option<Region>, HeaderError> {
        let Some(entry) = self
            .entries
            .first()
            .filter(|entry| entry.tag < tag::HEADERI18NTABLE)
        else {
            return Ok(None);
        };
        let refuse = |why| HeaderError::Region {
            tag: TagIn {
                section: self.section,
                tag: entry.tag,
            },
            offset: self.data_offset(entry),
            why,
        };
        if entry.kind != TYPE_BIN || entry.length as usize != ENTRY_BYTES {
            return Err(refuse("the region is not 16 bytes"));
        }
        if (self.section == Section::Signature) != (entry.tag == tag::SIG_HEADERSIGNATURES) {
            return Err(refuse("the region tag belongs into the other header"));
        }
        let trailer = self.data(entry);
        let [seal, kind, back, count] = [0, 4, 8, 12].map(|field| be32(trailer, field));
        // Files from before rpm 4.0.3 seal the signature header with HEADERIMAGE.
        if seal != entry.tag && seal != tag::HEADERIMAGE {
            return Err(refuse("the trailer is of another region"));
        }
        if kind != TYPE_BIN || count as usize != ENTRY_BYTES {
            return Err(refuse("the trailer is not 16 bytes"));
        }
        let index_bytes = back.wrapping_neg();
        let entries = index_bytes / ENTRY_BYTES as u32;
        if !(index_bytes as usize).is_multiple_of(ENTRY_BYTES)
            || entries == 0
            || entries as usize > self.entries.len()
        {
            return Err(refuse("the trailer does not point back to the index"));
        }
        let store_bytes = entry.start + entry.length;
        Ok(Some(Region {
            tag: entry.tag,
            entries,
            store_bytes,
        }))
    }

    /// The first entry with this number; rpm refuses packages with several, and so does our lint.
    pub(super) fn entry(&self, tag: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn data(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        self.store()
            .get(start..start + entry.length as usize)
            .unwrap_or_default()
    }

    pub(super) fn data_offset(&self, entry: &Entry) -> u64 {
        self.file_offset + self.store_start as u64 + u64::from(entry.start)
    }

    fn store(&self) -> &[u8] {
        self.bytes
            .get(self.store_start..self.store_start + self.store_bytes)
            .unwrap_or_default()
    }

    /// Introduction, index and store; the signature header with its padding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes without the padding.
    pub(super) fn unpadded_bytes(&self) -> usize {
        self.store_start + self.store_bytes
    }

    /// Which header this is.
    pub fn section(&self) -> Section {
        self.section
    }

    /// The region, `None` in files of rpm 3 and older.
    pub fn region(&self) -> Option<Region> {
        self.region
    }

    /// Entries or data outside the region; rpm 4.14 and later refuse a package that has any.
    pub fn has_dribbles(&self) -> bool {
        self.region.is_some_and(|region| {
            region.entries as usize != self.entries.len()
                || region.store_bytes as usize != self.store_bytes
        })
    }

    /// The values of a tag; of the first entry when the tag is there twice.
    pub fn get(&self, tag: u32) -> Option<Value<'_>> {
        let entry = self.entry(tag)?;
        Some(match entry.kind {
            0 => Value::Null,
            1..=5 => Value::Ints(ints(entry.kind, self.data(entry)).collect()),
            TYPE_BIN => Value::Bin(self.data(entry)),
            _ => Value::Strings(split_strings(self.data(entry), entry.count)),
        })
    }

    /// The string, or the first of several, without its NUL; `None` when absent or not text.
    pub fn string(&self, tag: u32) -> Option<&[u8]> {
        let entry = self.entry(tag).filter(|entry| is_text(entry.kind))?;
        self.data(entry)
            .split(|byte| *byte == 0)
            .next()
            .filter(|_| entry.count > 0)
    }

    /// All strings of a tag; empty when absent or not text.
    pub fn strings(&self, tag: u32) -> Vec<&[u8]> {
        match self.entry(tag) {
            Some(entry) if is_text(entry.kind) => split_strings(self.data(entry), entry.count),
            _ => Vec::new(),
        }
    }

    /// All numbers of a tag that are 32 bits or less; empty when absent or of another type.
    pub fn u32s(&self, tag: u32) -> Vec<u32> {
        match self.entry(tag) {
            Some(entry) if matches!(entry.kind, 1..=4) => ints(entry.kind, self.data(entry))
                .map(|number| number as u32)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// All numbers of a tag, widened from INT8, INT16, INT32 or INT64; empty when absent or text.
    pub fn u64s(&self, tag: u32) -> Vec<u64> {
        match self.entry(tag) {
            Some(entry) if matches!(entry.kind, 1..=5) => {
                ints(entry.kind, self.data(entry)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The bytes of a BIN tag.
    pub fn bin(&self, tag: u32) -> Option<&[u8]> {
        let entry = self.entry(tag).filter(|entry| entry.kind == TYPE_BIN)?;
        Some(self.data(entry))
    }

    /// Whether the tag is there.
    pub fn has(&self, tag: u32) -> bool {
        self.entry(tag).is_some()
    }

    /// Number, type and count of every entry, in the index's order.
    pub fn tags(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        self.entries
            .iter()
            .map(|entry| (entry.tag, entry.kind, entry.count))
    }

    /// Place of the tag's data in the file.
    pub fn offset_of(&self, tag: u32) -> Option<u64> {
        self.entry(tag).map(|entry| self.data_offset(entry))
    }
}

/// Big-endian number at `at`, 0 past the end (callers have checked).
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Whether the type is one of the three that hold text.
pub(super) fn is_text(kind: u32) -> bool {
    matches!(kind, TYPE_STRING | TYPE_STRING_ARRAY | TYPE_I18N)
}

/// What the type holds, in words.
pub(super) fn type_name(kind: u32) -> &'static str {
    TYPE_NAMES
        .get(kind as usize)
        .copied()
        .unwrap_or("an unknown type")
}

/// Alignment of a type's data in the store.
pub(super) fn alignment(kind: u32) -> u32 {
    match kind {
        3 => 2,
        4 => 4,
        5 => 8,
        _ => 1,
    }
}

fn ints(kind: u32, data: &[u8]) -> impl Iterator<Item = u64> {
    data.chunks_exact(alignment(kind) as usize)
        .map(|chunk| match *chunk {
            [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
            [a, b] => u64::from(u16::from_be_bytes([a, b])),
            _ => chunk
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        })
}

fn split_strings(data: &[u8], count: u32) -> Vec<&[u8]> {
    let mut strings = Vec::with_capacity((count as usize).min(data.len()));
    strings.extend(data.split(|byte| *byte == 0).take(count as usize));
    strings
}

/// Bytes that `count` values of type `kind` take from `start` on.
fn data_length(store: &[u8], kind: u32, start: u32, count: u32) -> Result<u32, EntryProblem> {
    let store_bytes = store.len() as u32;
    let data = store
        .get(start as usize..)
        .filter(|_| start < i32::MAX as u32)
        .ok_or(EntryProblem::OutOfStore { start, store_bytes })?;
    if kind > TYPE_I18N {
        return Err(EntryProblem::UnknownType { found: kind });
    }
    if !start.is_multiple_of(alignment(kind)) {
        return Err(EntryProblem::Misaligned {
            start,
            alignment: alignment(kind),
        });
    }
    let is_list = kind != TYPE_BIN && kind != 0;
    if is_list && count > MAX_VALUES {
        return Err(EntryProblem::TooManyValues {
            count,
            limit: MAX_VALUES,
        });
    }
    let length = match kind {
        0 => 0,
        TYPE_STRING if count != 1 => return Err(EntryProblem::StringCount { count }),
        TYPE_STRING | TYPE_STRING_ARRAY | TYPE_I18N => {
            strings_length(data, count).ok_or(EntryProblem::Unterminated { start })?
        }
        _ => u64::from(count) * u64::from(alignment(kind)),
    };
    match u32::try_from(length) {
        Ok(fits) if fits as usize <= data.len() => Ok(fits),
        _ => Err(EntryProblem::PassesEnd {
            start,
            want_bytes: length,
            store_bytes,
        }),
    }
}

fn strings_length(data: &[u8], count: u32) -> Option<u64> {
    let mut length = 0_usize;
    for _ in 0..count {
        length += data.get(length..)?.iter().position(|byte| *byte == 0)? + 1;
    }
    Some(length as u64)
}
