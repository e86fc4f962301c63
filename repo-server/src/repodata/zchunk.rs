//! zchunk: a compressed file with an index of its chunks in front, so that a client which has an
//! older version fetches only the chunks that it lacks.
//!
//! ```text
//! lead     "\0ZCK1" | checksum type (ci) | header size (ci) | header checksum
//! preface  data checksum | flags (ci) | compression (ci)
//! index    index size (ci) | chunk checksum type (ci) | count (ci) | { checksum | size (ci) | open size (ci) } ...
//! signatures  count (ci), always 0 here
//! body     dictionary (none here) | chunk | chunk ...
//! ```
//!
//! `ci` is a little-endian number in groups of seven bits, the last of which has bit 7 set. The
//! header checksum covers lead and header apart from itself; "header size" is without the lead.
//! Source: zchunk's `zchunk_format.txt` and what zck 1.5 writes (they disagree on the order of
//! checksum and size in the lead; files have the size first).
//!
//! A chunk here is the zstd frame of a group of packages, byte for byte the one that the `.zst`
//! file has. So one more package changes its own group's chunk and the first one, which counts the
//! packages; and a client that has neither dictionary nor the older file loses nothing.

use super::codec::Frame;
use repo_model::FileDigest;
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 5] = b"\0ZCK1";
/// Checksum types of the format.
const SHA256: u64 = 1;
/// Compression types of the format.
const ZSTD: u64 = 2;

/// The part of a zchunk file that names its chunks, as `repomd.xml` describes it: a client fetches
/// it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZchunkHeader {
    /// `sha1`, `sha256` or `sha512`.
    pub checksum_type: &'static str,
    /// Lowercase hex digits.
    pub checksum: String,
    /// Bytes from the file's start to its first chunk.
    pub size_bytes: u64,
}

/// A zchunk file whose chunks are being collected.
#[derive(Default)]
pub(super) struct Draft {
    chunks: Vec<Chunk>,
}

/// A frame, and the key of the group that it was made of.
type Chunk = (Frame, Option<[u8; 32]>);

impl Draft {
    /// Adds a chunk; the frame must be zstd without a dictionary.
    pub fn push(&mut self, frame: &Frame, key: Option<&[u8; 32]>) {
        self.chunks.push((frame.clone(), key.copied()));
    }

    /// The header, its description, and the chunks that follow it.
    pub fn finish(self) -> (Vec<u8>, ZchunkHeader, Vec<Chunk>) {
        let mut data_hash = Sha256::new();
        let mut index = Vec::with_capacity(64 + self.chunks.len() * 40);
        put_number(&mut index, SHA256);
        put_number(&mut index, self.chunks.len() as u64 + 1);
        // The place of the dictionary.
        index.extend_from_slice(&[0; 32]);
        put_number(&mut index, 0);
        put_number(&mut index, 0);
        for (chunk, _) in &self.chunks {
            data_hash.update(&chunk.bytes);
            index.extend_from_slice(&Sha256::digest(&chunk.bytes));
            put_number(&mut index, chunk.bytes.len() as u64);
            put_number(&mut index, chunk.open_size_bytes);
        }

        let mut header = data_hash.finalize().to_vec();
        put_number(&mut header, 0);
        put_number(&mut header, ZSTD);
        put_number(&mut header, index.len() as u64);
        header.append(&mut index);
        put_number(&mut header, 0);

        let mut bytes = MAGIC.to_vec();
        put_number(&mut bytes, SHA256);
        put_number(&mut bytes, header.len() as u64);
        let digest: [u8; 32] = Sha256::new()
            .chain_update(&bytes)
            .chain_update(&header)
            .finalize()
            .into();
        bytes.extend_from_slice(&digest);
        bytes.append(&mut header);
        let described = ZchunkHeader {
            checksum_type: "sha256",
            checksum: FileDigest::from_bytes(digest).to_hex(),
            size_bytes: bytes.len() as u64,
        };
        (bytes, described, self.chunks)
    }
}

/// A piece that is cut by content has at least this many bytes, unless it is the last.
const PIECE_MIN_BYTES: usize = 8 << 10;
/// And at most this many.
const PIECE_MAX_BYTES: usize = 256 << 10;
/// One place in this many is a border.
const PLACES_PER_BORDER: u64 = 32 << 10;

/// Cuts a text where its content says so: a change moves the borders near it alone. For records
/// that have no packages to be cut at, such as advisories.
pub(super) fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(border(rest));
        rest = after;
        Some(piece)
    })
}

/// Where the first piece ends: at a place decided by the 64 bytes before it ("gear" hash).
fn border(text: &[u8]) -> usize {
    let end = text.len().min(PIECE_MAX_BYTES);
    let mut hash = 0_u64;
    for (at, byte) in text[..end].iter().enumerate() {
        hash = (hash << 1).wrapping_add(spread(*byte));
        if at + 1 >= PIECE_MIN_BYTES && hash >> (64 - PLACES_PER_BORDER.ilog2()) == 0 {
            return at + 1;
        }
    }
    end
}

/// A well-mixed number for each byte (the finalizer of splitmix64).
fn spread(byte: u8) -> u64 {
    let mut mixed = (u64::from(byte) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        out.push((number & 0x7F) as u8);
        number >>= 7;
    }
    out.push(number as u8 | 0x80);
}

/// The description of a zchunk file's header, for a file made elsewhere that is carried; `None`
/// when it is not one, or its header is damaged.
pub(super) fn describe(file: &[u8]) -> Option<ZchunkHeader> {
    let mut rest = file.strip_prefix(MAGIC)?;
    let (checksum_type, checksum_size) = match take_number(&mut rest)? {
        0 => ("sha1", 20),
        1 => ("sha256", 32),
        2 => ("sha512", 64),
        _ => return None,
    };
    let header_size = usize::try_from(take_number(&mut rest)?).ok()?;
    let before_checksum = &file[..file.len() - rest.len()];
    let (checksum, rest) = rest.split_at_checked(checksum_size)?;
    let header = rest.get(..header_size)?;
    let is_whole = match checksum_type {
        "sha256" => Sha256::new()
            .chain_update(before_checksum)
            .chain_update(header)
            .finalize()[..]
            .eq(checksum),
        "sha512" => sha2::Sha512::new()
            .chain_update(before_checksum)
            .chain_update(header)
            .finalize()[..]
            .eq(checksum),
        // Weak: carried, but not vouched for.
        _ => true,
    };
    is_whole.then(|| ZchunkHeader {
        checksum_type,
        checksum: hex::encode(checksum),
        size_bytes: (before_checksum.len() + checksum_size + header_size) as u64,
    })
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 != 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_with_bit_seven() {
        for (number, bytes) in [
            (0, &[0x80][..]),
            (2, &[0x82]),
            (127, &[0xFF]),
            (128, &[0x00, 0x81]),
            (836, &[0x44, 0x86]),
            (
                u64::MAX >> 1,
                &[0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0x7F, 0xFF],
            ),
        ] {
            let mut written = Vec::new();
            put_number(&mut written, number);
            assert_eq!(written, bytes);
            assert_eq!(take_number(&mut &written[..]), Some(number));
        }
        assert_eq!(take_number(&mut &[0; 12][..]), None);
        assert_eq!(take_number(&mut &[1][..]), None);
    }

    #[test]
    fn a_change_of_a_text_changes_the_pieces_near_it_alone() {
        let advisory = |n: usize| format!("<update><id>X-{n}</id><n>{}</n></update>\n", n * n);
        let text: String = (0..60_000).map(advisory).collect();
        let before: std::collections::HashSet<&[u8]> = pieces(text.as_bytes()).collect();
        assert!(before.len() > 40, "{} pieces", before.len());
        assert_eq!(
            pieces(text.as_bytes()).collect::<Vec<_>>().concat(),
            text.as_bytes()
        );
        for piece in pieces(text.as_bytes()) {
            assert!(piece.len() <= PIECE_MAX_BYTES);
        }
        let at = text.find("<update><id>X-30000<").unwrap();
        let changed = format!("{}{}{}", &text[..at], advisory(70_000), &text[at..]);
        let new = pieces(changed.as_bytes())
            .filter(|piece| !before.contains(piece))
            .count();
        assert!((1..=3).contains(&new), "{new} new pieces");
        assert_eq!(pieces(b"").count(), 0);
        assert_eq!(pieces(b"x").collect::<Vec<_>>(), [b"x"]);
    }

    #[test]
    fn a_header_is_described_and_damage_to_it_is_noticed() {
        let mut draft = Draft::default();
        for text in ["<a>", "b", "</a>"] {
            let frame = Frame {
                bytes: text.as_bytes().into(),
                open_size_bytes: 1_000,
            };
            draft.push(&frame, None);
        }
        let (mut file, described, chunks) = draft.finish();
        assert_eq!(described.size_bytes, file.len() as u64);
        assert_eq!(chunks.len(), 3);
        for (chunk, _) in &chunks {
            file.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(describe(&file), Some(described.clone()));
        let header_bytes = usize::try_from(described.size_bytes).unwrap();
        for at in 0..header_bytes {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_ne!(describe(&damaged), Some(described.clone()), "byte {at}");
            assert_eq!(describe(&file[..at]), None);
        }
    }
}
