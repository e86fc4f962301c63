//! The archive inside a payload: cpio `newc`, and rpm's stripped form of it.
//!
//! `newc` (magic `070701`, `070702` with checksums): 110 bytes of ASCII, thirteen fields of eight
//! hex digits after the magic, then the name, then the content, each padded to four bytes.
//! Stripped (magic `07070X`, used when a file is over 4 GiB, and always by rpm 6): the magic and
//! eight hex digits, an index into the header's file list, which also holds the size. Either ends
//! with a `newc` entry named `TRAILER!!!`. Source: rpm `lib/cpio.cc`.
//!
//! What stands here knows no header: the caller gives the size of stripped entries.

use super::plain::Plain;
use crate::SbomError;

/// Longest name accepted: PATH_MAX and its final NUL, with room for the leading `.`.
const NAME_BYTES: u32 = 4098;

/// Which file an entry is about.
pub(super) enum Entry {
    /// A `newc` entry: its name without the final NUL, and the size of its content in bytes.
    Named {
        /// Raw bytes; may start with `./` or `/`.
        name: Vec<u8>,
        /// Bytes of content that follow.
        size_bytes: u64,
    },
    /// A stripped entry: index into the header's file list.
    Indexed(usize),
}

/// Reads entries one after the other; between two calls of `next` the caller must read the content
/// of the entry, all of it.
pub(super) struct Archive<'a> {
    plain: Plain<'a>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(plain: Plain<'a>) -> Self {
        Self { plain }
    }

    /// The next entry; `None` at the trailer.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, SbomError> {
        self.plain.skip_padding()?;
        let mut magic = [0; 6];
        self.plain.fill(&mut magic)?;
        match &magic {
            b"070701" | b"070702" => self.newc(),
            b"07070X" => self.stripped(),
            _ => Err(self.plain.malformed("no cpio magic")),
        }
    }

    fn newc(&mut self) -> Result<Option<Entry>, SbomError> {
        let mut fields = [0; 104];
        self.plain.fill(&mut fields)?;
        let size = self.hex(&fields[48..56])?;
        let name_bytes = self.hex(&fields[88..96])?;
        if name_bytes == 0 || name_bytes > NAME_BYTES {
            return Err(self.plain.malformed("a name that is empty or too long"));
        }
        let mut name = vec![0; name_bytes as usize];
        self.plain.fill(&mut name)?;
        if name.pop() != Some(0) || name.contains(&0) {
            return Err(self
                .plain
                .malformed("a name that does not end where it says"));
        }
        self.plain.skip_padding()?;
        if name == b"TRAILER!!!" {
            return Ok(None);
        }
        Ok(Some(Entry::Named {
            name,
            size_bytes: u64::from(size),
        }))
    }

    fn stripped(&mut self) -> Result<Option<Entry>, SbomError> {
        let mut index = [0; 8];
        self.plain.fill(&mut index)?;
        let index = self.hex(&index)?;
        self.plain.skip_padding()?;
        Ok(Some(Entry::Indexed(index as usize)))
    }

    fn hex(&self, digits: &[u8]) -> Result<u32, SbomError> {
        digits
            .iter()
            .try_fold(0_u32, |value, digit| match (*digit as char).to_digit(16) {
                Some(digit) => Ok(value << 4 | digit),
                None => Err(self.plain.malformed("a field that is not eight hex digits")),
            })
    }

    /// Reads exactly `size_bytes` of content, in pieces.
    pub(super) fn content(
        &mut self,
        size_bytes: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), SbomError> {
        let mut buffer = vec![0; size_bytes.clamp(1, 128 << 10) as usize];
        let mut left = size_bytes;
        while left > 0 {
            let piece = left.min(buffer.len() as u64) as usize;
            self.plain.fill(&mut buffer[..piece])?;
            each(&buffer[..piece]);
            left -= piece as u64;
        }
        Ok(())
    }

    /// Gives the stream back, for what follows the trailer.
    pub(super) fn into_plain(self) -> Plain<'a> {
        self.plain
    }
}
