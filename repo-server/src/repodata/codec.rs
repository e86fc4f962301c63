//! Compression of one frame. A file is a concatenation of frames, so a frame must be complete in
//! itself: a gzip member, a zstd frame, or plain bytes. xz is the exception: one stream a file.

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use liblzma::stream::{Check, Stream};
use liblzma::write::XzEncoder;
use std::io::{self, Read, Write};
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// How the files of a repository are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// zstd at this level (1 to 19), frames without content size. Not for el7 clients.
    Zstd {
        /// Compression level.
        level: i32,
    },
    /// gzip without time and name: every client reads it.
    Gzip,
    /// xz, one stream for the file: no client reads several. Small files, but each publish
    /// compresses the whole file again.
    Xz,
    /// Not compressed.
    None,
}

impl Codec {
    /// zstd at level 8 with tables cut to a group's size: within 2 % of level 10, which createrepo_c
    /// uses, for half the time.
    pub const ZSTD: Self = Self::Zstd { level: 8 };

    /// `.zst`, `.gz`, `.xz` or nothing.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd { .. } => ".zst",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::None => "",
        }
    }

    /// Names the codec in cache keys: equal tags, equal bytes for equal input.
    pub(super) fn cache_tag(self) -> [u8; 2] {
        match self {
            Self::Zstd { level } => [1, level.clamp(1, 22) as u8],
            Self::Gzip => [2, GZIP_LEVEL as u8],
            Self::Xz => [3, XZ_PRESET as u8],
            Self::None => [0, 0],
        }
    }
}

/// A compressed piece of a file, complete in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The compressed bytes; shared, since a cache and a file under way both hold them.
    pub bytes: Bytes,
    /// Bytes before compression.
    pub open_size_bytes: u64,
}

/// A frame larger than this when open is never read back from a cache: such a size means that the
/// cache is damaged, or that rendering again is the smaller evil.
const OPEN_SIZE_MAX_BYTES: u64 = 1 << 30;

/// Hash and chain tables of 2^16 entries, as many as a group has places that are worth finding again, stay
/// in a core's own cache; the tables of such levels for larger content do not, and find little more.
const TABLE_BITS: u32 = 16;
/// Candidates looked at for each match, as a power of two, where tables are cut.
const SEARCH_BITS: u32 = 1;
/// Shortest match, likewise: an XML tag is longer.
const MATCH_BYTES_MIN: u32 = 5;
/// Levels below have smaller tables of their own; levels above search by trees.
const CUT_LEVELS: std::ops::RangeInclusive<i32> = 6..=12;

/// createrepo_c's gzip files are of the same size; level 9 saves 3 % and takes three times as long.
const GZIP_LEVEL: u32 = 5;

/// 4 MiB of dictionary and some 48 MB of memory for each of the three files, which grow side by
/// side; liblzma's default, preset 6, takes 94 MB each.
const XZ_PRESET: u32 = 4;

/// A whole file's xz stream.
pub(super) struct XzStream(XzEncoder<Vec<u8>>);

impl XzStream {
    pub fn new() -> io::Result<Self> {
        // CRC-32: small builds of liblzma have no CRC-64.
        let stream = Stream::new_easy_encoder(XZ_PRESET, Check::Crc32)?;
        Ok(Self(XzEncoder::new_stream(Vec::new(), stream)))
    }

    /// Adds content; returns what is ready of the file.
    pub fn write(&mut self, open: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(open)?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    /// The rest of the file.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.0.finish()
    }
}

/// Compresses frames, keeping the compressor's tables between them.
pub(super) enum Encoder {
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Gzip,
    None,
}

impl Encoder {
    pub fn new(codec: Codec) -> io::Result<Self> {
        Ok(match codec {
            Codec::Zstd { level } => {
                let mut compressor = zstd::bulk::Compressor::new(level.clamp(1, 22))?;
                if CUT_LEVELS.contains(&level) {
                    compressor.set_parameter(CParameter::HashLog(TABLE_BITS))?;
                    compressor.set_parameter(CParameter::ChainLog(TABLE_BITS))?;
                    compressor.set_parameter(CParameter::SearchLog(SEARCH_BITS))?;
                    compressor.set_parameter(CParameter::MinMatch(MATCH_BYTES_MIN))?;
                    // With so few candidates a plain chain finds the same matches in two thirds of the time that
                    // rows of sixteen take.
                    compressor
                        .set_parameter(CParameter::UseRowMatchFinder(ParamSwitch::Disable))?;
                }
                // With a content size in the frame header DNF may read the first frames only.
                compressor.include_contentsize(false)?;
                // Lets a damaged frame from a cache be noticed.
                compressor.include_checksum(true)?;
                Self::Zstd(Box::new(compressor))
            }
            Codec::Gzip => Self::Gzip,
            Codec::Xz => return Err(io::Error::other("xz is one stream, not frames")),
            Codec::None => Self::None,
        })
    }

    pub fn encode(&mut self, open: &[u8]) -> io::Result<Frame> {
        let bytes: Bytes = match self {
            Self::Zstd(compressor) => compressor.compress(open)?.into(),
            Self::Gzip => {
                let mut member = GzBuilder::new().mtime(0).operating_system(255).write(
                    Vec::with_capacity(open.len() / 4),
                    Compression::new(GZIP_LEVEL),
                );
                member.write_all(open)?;
                member.finish()?.into()
            }
            Self::None => Bytes::copy_from_slice(open),
        };
        Ok(Frame {
            bytes,
            open_size_bytes: open.len() as u64,
        })
    }
}

/// Decompresses frames, keeping the decompressor's tables between them.
pub(super) enum Decoder {
    Zstd(zstd::bulk::Decompressor<'static>),
    Gzip,
    /// Frames are their content.
    None,
}

impl Decoder {
    pub fn new(codec: Codec) -> io::Result<Self> {
        Ok(match codec {
            Codec::Zstd { .. } => Self::Zstd(zstd::bulk::Decompressor::new()?),
            Codec::Gzip => Self::Gzip,
            Codec::Xz => return Err(io::Error::other("xz is one stream, not frames")),
            Codec::None => Self::None,
        })
    }

    /// Puts the open bytes of a frame into `open`, whose own are dropped; `None` when the frame is
    /// damaged.
    pub fn decode(&mut self, frame: &Frame, open: &mut Vec<u8>) -> Option<()> {
        if frame.open_size_bytes > OPEN_SIZE_MAX_BYTES {
            return None;
        }
        let capacity = usize::try_from(frame.open_size_bytes).ok()?;
        open.clear();
        open.reserve(capacity);
        match self {
            Self::Zstd(decompressor) => {
                decompressor.decompress_to_buffer(&frame.bytes, open).ok()?;
            }
            Self::Gzip => {
                GzDecoder::new(&frame.bytes[..])
                    .take(frame.open_size_bytes + 1)
                    .read_to_end(open)
                    .ok()?;
            }
            Self::None => open.extend_from_slice(&frame.bytes),
        }
        (open.len() == capacity).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(codec: Codec, frame: &Frame) -> Option<Vec<u8>> {
        // What an earlier frame has left in the buffer must not matter.
        let mut open = b"left over".to_vec();
        Decoder::new(codec).unwrap().decode(frame, &mut open)?;
        Some(open)
    }

    const EVERY_CODEC: [Codec; 4] = [
        Codec::ZSTD,
        Codec::Zstd { level: 19 },
        Codec::Gzip,
        Codec::None,
    ];

    #[test]
    fn a_frame_decodes_to_what_was_encoded() {
        for codec in EVERY_CODEC {
            let mut encoder = Encoder::new(codec).unwrap();
            for open in [Vec::new(), b"x".to_vec(), b"<package>".repeat(50_000)] {
                let frame = encoder.encode(&open).unwrap();
                assert_eq!(decode(codec, &frame), Some(open), "{codec:?}");
            }
        }
    }

    /// RFC 8878 §3.1.1.1.1: bits 7-6 say how long the content size field is, bit 5 (single
    /// segment) implies one; both must be 0.
    #[test]
    fn no_zstd_frame_carries_its_content_size() {
        for level in [1, 3, 10, 19] {
            let mut encoder = Encoder::new(Codec::Zstd { level }).unwrap();
            for size in [0, 1, 255, 256, 70_000, 3_000_000] {
                let frame = encoder.encode(&vec![b'a'; size]).unwrap();
                assert_eq!(frame.bytes[..4], [0x28, 0xB5, 0x2F, 0xFD]);
                assert_eq!(
                    frame.bytes[4] & 0b1110_0000,
                    0,
                    "level {level}, {size} bytes"
                );
                let content_size = zstd::zstd_safe::get_frame_content_size(&frame.bytes);
                assert!(matches!(content_size, Ok(None)));
            }
        }
    }

    #[test]
    fn a_gzip_member_holds_neither_time_nor_name() {
        let member = Encoder::new(Codec::Gzip)
            .unwrap()
            .encode(b"abc")
            .unwrap()
            .bytes;
        assert_eq!(member[..10], [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]);
    }

    #[test]
    fn a_damaged_frame_is_noticed() {
        for codec in EVERY_CODEC {
            let whole = Encoder::new(codec)
                .unwrap()
                .encode(&b"<package>".repeat(100))
                .unwrap();
            let cut = Frame {
                bytes: whole.bytes.slice(..whole.bytes.len() - 1),
                ..whole.clone()
            };
            let lying = Frame {
                open_size_bytes: u64::MAX,
                ..whole.clone()
            };
            let short = Frame {
                open_size_bytes: 3,
                ..whole.clone()
            };
            for (damage, frame) in [("cut", cut), ("lying", lying), ("short", short)] {
                assert_eq!(decode(codec, &frame), None, "{codec:?}, {damage}");
            }
        }
    }
}
