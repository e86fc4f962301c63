//! The state's form on disk: read and written on every run, so plain bytes rather than text.
//!
//! ```text
//! "hm-createrepo 3\n" | scanned at | packages | files | frames | seal of all before (32)
//! ```
//!
//! A list is its count and its items; a number takes 8 bytes, little-endian; a text is its length and
//! its bytes; a digest or seal is 32 bytes. No other version of the program reads it: the number in front
//! counts up with each change.

use super::scan::Look;
use super::state::{Known, SavedFrame, Seal, State};
use repo_model::{Evr, FileDigest, HeaderDigest, Nevra};
use std::io::{self, Write};
use std::sync::Arc;

const MAGIC: &[u8] = b"hm-createrepo 3\n";

/// So much is collected before it is hashed and written.
const PIECE_BYTES: usize = 256 << 10;

/// Writes a state, a piece at a time: as a whole it has some 250 bytes for each package.
pub(super) fn encode(state: &State, out: &mut dyn Write) -> io::Result<()> {
    let mut out = Writer {
        out,
        hash: blake3::Hasher::new(),
        piece: Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 3)),
    };
    out.piece.extend_from_slice(MAGIC);
    out.signed(state.scanned_at);
    out.number(state.packages.len() as u64);
    for known in &state.packages {
        out.package(known);
        out.spill(PIECE_BYTES)?;
    }
    out.number(state.files.len() as u64);
    for name in &state.files {
        out.text(name);
    }
    out.number(state.frames.len() as u64);
    for frame in &state.frames {
        out.digest(frame.key.as_bytes());
        out.digest(&frame.seal.0);
        out.number(frame.file as u64);
        out.number(frame.offset);
        out.number(frame.size_bytes);
        out.number(frame.open_size_bytes);
        out.spill(PIECE_BYTES)?;
    }
    out.spill(0)?;
    let seal: [u8; 32] = out.hash.finalize().into();
    out.out.write_all(&seal)
}

/// The state; `None` when it is damaged or of another version.
pub(super) fn decode(bytes: &[u8]) -> Option<State> {
    let (body, seal) = bytes.split_last_chunk::<32>()?;
    if Seal::of(body) != Seal(*seal) {
        return None;
    }
    let mut rest = Reader(body.strip_prefix(MAGIC)?);
    let mut state = State::new(rest.signed()?);
    state.packages = rest.list(Reader::package)?;
    state.files = rest.list(Reader::text)?;
    state.frames = rest.list(|rest| {
        Some(SavedFrame {
            key: FileDigest::from_bytes(rest.digest()?),
            seal: Seal(rest.digest()?),
            file: usize::try_from(rest.number()?).ok()?,
            offset: rest.number()?,
            size_bytes: rest.number()?,
            open_size_bytes: rest.number()?,
        })
    })?;
    rest.0.is_empty().then_some(state)
}

struct Writer<'o> {
    out: &'o mut dyn Write,
    hash: blake3::Hasher,
    piece: Vec<u8>,
}

impl Writer<'_> {
    /// Writes what has come together, if it is so much.
    fn spill(&mut self, least_bytes: usize) -> io::Result<()> {
        if self.piece.len() < least_bytes {
            return Ok(());
        }
        self.hash.update(&self.piece);
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    fn number(&mut self, number: u64) {
        self.piece.extend_from_slice(&number.to_le_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.piece.extend_from_slice(&number.to_le_bytes());
    }

    fn digest(&mut self, digest: &[u8; 32]) {
        self.piece.extend_from_slice(digest);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.piece.extend_from_slice(text.as_bytes());
    }

    fn package(&mut self, known: &Known) {
        let Known {
            path,
            look,
            file_digest,
            sha512,
            header_digest,
            nevra,
            built_at,
        } = known;
        self.text(path);
        self.number(look.size_bytes);
        for part in [look.mtime.0, look.mtime.1, look.ctime.0, look.ctime.1] {
            self.signed(part);
        }
        self.digest(file_digest.as_bytes());
        // Empty when there is none.
        self.text(sha512.as_deref().unwrap_or_default());
        self.digest(header_digest.as_bytes());
        self.number(u64::from(nevra.evr.epoch));
        for part in [
            &nevra.name,
            &nevra.evr.version,
            &nevra.evr.release,
            &nevra.arch,
        ] {
            self.text(part);
        }
        self.signed(*built_at);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn signed(&mut self) -> Option<i64> {
        self.fixed().map(i64::from_le_bytes)
    }

    fn digest(&mut self) -> Option<[u8; 32]> {
        self.fixed()
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        // Every item takes some bytes, so a false count asks for no more memory than the file has.
        let mut items = Vec::with_capacity(count.min(self.0.len() / 16));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn package(&mut self) -> Option<Known> {
        let path = self.text()?;
        let size_bytes = self.number()?;
        let mtime = (self.signed()?, self.signed()?);
        let ctime = (self.signed()?, self.signed()?);
        let file_digest = FileDigest::from_bytes(self.digest()?);
        let sha512 = Some(self.text()?).filter(|digits| !digits.is_empty());
        let header_digest = HeaderDigest::from_bytes(self.digest()?);
        let epoch = u32::try_from(self.number()?).ok()?;
        let (name, version) = (self.text()?, self.text()?);
        let (release, arch) = (self.text()?, self.text()?);
        Some(Known {
            path,
            look: Look {
                size_bytes,
                mtime,
                ctime,
            },
            file_digest,
            sha512,
            header_digest,
            nevra: Arc::new(Nevra {
                name,
                evr: Evr {
                    epoch,
                    version,
                    release,
                },
                arch,
            }),
            built_at: self.signed()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::new(-5);
        for (number, sha512) in [(1, None), (2, Some("ab".repeat(64)))] {
            state.packages.push(Known {
                path: format!("a/é-{number}.rpm"),
                look: Look {
                    size_bytes: u64::MAX,
                    mtime: (-1, 999_999_999),
                    ctime: (i64::MAX, 0),
                },
                file_digest: FileDigest::of(&[number]),
                sha512,
                header_digest: HeaderDigest::of(&[number]),
                nevra: Arc::new(format!("a-{number}:1.0-1.noarch").parse().unwrap()),
                built_at: i64::MIN,
            });
        }
        state.files = vec![String::new(), "primary".to_owned()];
        state.frames.push(SavedFrame {
            key: FileDigest::of(b"key"),
            seal: Seal::of(b"frame"),
            file: 1,
            offset: 7,
            size_bytes: 8,
            open_size_bytes: 9,
        });
        state
    }

    fn encoded(state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(state, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut long = state();
        let package = long.packages[0].clone();
        long.packages.extend(std::iter::repeat_n(package, 5_000));
        for state in [state(), long] {
            let bytes = encoded(&state);
            let read = decode(&bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{state:?}"));
            assert_eq!(encoded(&read), bytes);
        }
    }

    #[test]
    fn damage_anywhere_and_lies_with_a_right_digest_are_noticed() {
        let bytes = encoded(&state());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_none(), "byte {at}");
            assert!(decode(&bytes[..at]).is_none(), "cut at {at}");
            // Every number a lie, with a digest that fits.
            let body = bytes.len() - 32;
            if (MAGIC.len()..body - 8).contains(&at) {
                damaged[at..at + 8].fill(0xFF);
                let seal = Seal::of(&damaged[..body]);
                damaged[body..].copy_from_slice(&seal.0);
                // Whatever comes of it: no panic, and no memory for what is not there.
                let _ = decode(&damaged);
            }
        }
    }
}
