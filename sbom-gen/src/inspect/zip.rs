//! Zip archives that hold code: jars, wheels, eggs. Read by their central directory (PKWARE APPNOTE 6.3), without
//! ZIP64: none that is looked into is that large. Nothing is trusted: every offset is checked, every entry bounded.

use flate2::read::DeflateDecoder;
use std::io::Read;

/// Entries of one archive; the largest known have some tens of thousands.
const ENTRIES: usize = 200_000;
/// Bytes inflated for one file of the package, all archives within it together.
const INFLATED_BYTES: u64 = 256 << 20;

/// Bytes that may still be inflated.
pub(super) struct Budget(u64);

impl Budget {
    /// For one file of the package.
    pub(super) fn new() -> Self {
        Self(INFLATED_BYTES)
    }

    /// What is left.
    pub(super) fn left(&self) -> u64 {
        self.0
    }
}

/// A file of the archive.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    is_deflated: bool,
    compressed_bytes: usize,
    header_at: usize,
}

/// Whether a file begins as an archive does that is not empty.
pub(super) fn is_archive(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

/// The central directory; entries with other methods or names that are not UTF-8 are left out. `None` for what is
/// no whole archive.
pub(super) fn entries(zip: &[u8]) -> Option<Vec<Entry<'_>>> {
    // The end record is 22 bytes and a comment of up to 65,535.
    let first = zip.len().saturating_sub(22 + 0xffff);
    let end_at = (first..=zip.len().checked_sub(22)?)
        .rev()
        .find(|at| zip[*at..].starts_with(b"PK\x05\x06"))?;
    let count = usize::from(u16_at(zip, end_at + 10)?);
    let mut at = u32_at(zip, end_at + 16)?;
    let mut found = Vec::new();
    for _ in 0..count.min(ENTRIES) {
        if !zip.get(at..)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let method = u16_at(zip, at + 10)?;
        let lengths = [28, 30, 32].map(|offset| u16_at(zip, at + offset).map(usize::from));
        let (name_bytes, extra, comment) = (lengths[0]?, lengths[1]?, lengths[2]?);
        let name = zip.get(at + 46..at + 46 + name_bytes)?;
        if let (Ok(name), 0 | 8) = (std::str::from_utf8(name), method) {
            found.push(Entry {
                name,
                is_deflated: method == 8,
                compressed_bytes: u32_at(zip, at + 20)?,
                header_at: u32_at(zip, at + 42)?,
            });
        }
        at += 46 + name_bytes + extra + comment;
    }
    Some(found)
}

/// An entry's content; `None` when it is damaged or longer than `limit_bytes` or the budget.
pub(super) fn content(
    zip: &[u8],
    entry: &Entry<'_>,
    limit_bytes: u64,
    budget: &mut Budget,
) -> Option<Vec<u8>> {
    let header = zip.get(entry.header_at..)?;
    if !is_archive(header) {
        return None;
    }
    let skipped = 30 + usize::from(u16_at(header, 26)?) + usize::from(u16_at(header, 28)?);
    let stored = header.get(skipped..skipped.checked_add(entry.compressed_bytes)?)?;
    let limit = limit_bytes.min(budget.0);
    let mut content = Vec::new();
    if entry.is_deflated {
        let inflater = DeflateDecoder::new(stored);
        inflater.take(limit + 1).read_to_end(&mut content).ok()?;
    } else {
        stored.take(limit + 1).read_to_end(&mut content).ok()?;
    }
    let length = content.len() as u64;
    budget.0 = budget.0.saturating_sub(length);
    (length <= limit).then_some(content)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(raw.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(raw.try_into().ok()?)).ok()
}
