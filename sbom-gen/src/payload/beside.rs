//! Hashing beside reading. A payload is hashed as it is packed and as it is unpacked, and each of its files three
//! times over: more work than unpacking it. So the thread that reads copies what it reads once, and two others
//! hash it: SHA-512, which takes as long as all else, and all else.
//!
//! What stands here decides nothing: digests are compared when all are there, by [`super`].

use crate::SbomError;
use crate::hashes::{Hashes, Short, ShortHasher};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes after which what was gathered is handed over.
const PIECE_BYTES: usize = 64 << 10;
/// The same for the beginnings and ends of files, which may all be empty.
const PIECE_MARKS: usize = 4096;
/// Pieces that wait for a thread: some four megabytes.
const WAITING: usize = 16;
/// Room for a piece that is one byte short of full, and the longest read after that.
const ROOM_BYTES: usize = PIECE_BYTES + (128 << 10);

/// What is hashed.
pub(super) struct Wanted<'a> {
    /// Bytes of the main header, which digests of the content begin with.
    pub(super) main_header: &'a [u8],
    /// FILEDIGESTALGO.
    pub(super) file_algorithm: u32,
    /// MD5 of main header and payload.
    pub(super) md5: bool,
    /// SHA-256 of the payload unpacked.
    pub(super) plain_sha256: bool,
}

/// A file in the payload.
pub(super) struct HashedFile {
    /// Index in the header's list.
    pub(super) file: usize,
    pub(super) hashes: Hashes,
    /// The digest that the header should have: name and lowercase hex, where the algorithm is known.
    pub(super) named: Option<(&'static str, String)>,
}

/// All digests, lowercase hex.
pub(super) struct Digests {
    /// In the order of the payload; a file that was not read to its end is not there.
    pub(super) files: Vec<HashedFile>,
    /// Of the packed payload.
    pub(super) sha256: String,
    /// SHA-512 of main header and packed payload.
    pub(super) content_sha512: String,
    /// MD5 of main header and packed payload, where it was wanted.
    pub(super) md5: Option<String>,
    /// SHA-256 of the payload unpacked, where it was wanted.
    pub(super) plain_sha256: Option<String>,
}

/// Where bytes go as they are read.
pub(super) struct Feed {
    long: Lane<LongWork>,
    short: Lane<ShortWork>,
    packed: RefCell<Piece>,
    plain: RefCell<Piece>,
    /// What was handed over, the oldest first: filled again when both threads are done with it.
    given: RefCell<VecDeque<Arc<Piece>>>,
    file_algorithm: u32,
}

impl Feed {
    /// Starts the threads. [`SbomError::Read`] when the system gives none.
    pub(super) fn start(wanted: &Wanted<'_>) -> Result<Self, SbomError> {
        let header = wanted.main_header;
        let long = LongWork {
            content: Sha512::new_with_prefix(header),
            file: Sha512::new(),
            done: Vec::new(),
        };
        let short = ShortWork {
            packed: Sha256::new(),
            md5: wanted.md5.then(|| Md5::new_with_prefix(header)),
            plain: wanted.plain_sha256.then(Sha256::new),
            algorithm: wanted.file_algorithm,
            file: None,
            done: Vec::new(),
        };
        Ok(Self {
            long: Lane::start("sbom-sha512", long).map_err(SbomError::Read)?,
            short: Lane::start("sbom-hashes", short).map_err(SbomError::Read)?,
            packed: RefCell::default(),
            plain: RefCell::default(),
            given: RefCell::default(),
            file_algorithm: wanted.file_algorithm,
        })
    }

    /// Takes bytes of the payload as it is packed.
    pub(super) fn packed(&self, bytes: &[u8]) {
        let mut piece = self.packed.borrow_mut();
        piece.bytes.extend_from_slice(bytes);
        if piece.is_full() {
            self.hand_over(Stream::Packed, &mut piece);
        }
    }

    /// Takes bytes of the payload unpacked.
    pub(super) fn plain(&self, bytes: &[u8]) {
        let mut piece = self.plain.borrow_mut();
        piece.bytes.extend_from_slice(bytes);
        if piece.is_full() {
            self.hand_over(Stream::Plain, &mut piece);
        }
    }

    /// What comes next is a file's content.
    pub(super) fn begin(&self) {
        self.mark(Mark::Begin);
    }

    /// What came since [`Self::begin`] is the content of this file.
    pub(super) fn end(&self, file: usize) {
        self.mark(Mark::End(file));
    }

    fn mark(&self, mark: Mark) {
        let mut piece = self.plain.borrow_mut();
        let at = piece.bytes.len();
        piece.marks.push((at, mark));
        if piece.is_full() {
            self.hand_over(Stream::Plain, &mut piece);
        }
    }

    /// Gives what is gathered to both threads, and leaves an empty piece in its place.
    fn hand_over(&self, of: Stream, gathered: &mut Piece) {
        let next = self.empty();
        let mut full = std::mem::replace(gathered, next);
        full.of = of;
        let full = Arc::new(full);
        self.long.give(&full);
        self.short.give(&full);
        self.given.borrow_mut().push_back(full);
    }

    /// A piece that both threads are done with, or else a new one: what the system gave once is not asked for again.
    fn empty(&self) -> Piece {
        let mut given = self.given.borrow_mut();
        let oldest = given.pop_front().map(Arc::try_unwrap);
        match oldest {
            Some(Ok(mut done)) => {
                done.bytes.clear();
                done.marks.clear();
                return done;
            }
            Some(Err(in_use)) => given.push_front(in_use),
            None => {}
        }
        Piece {
            bytes: Vec::with_capacity(ROOM_BYTES),
            ..Piece::default()
        }
    }

    /// Waits for all that was handed over.
    pub(super) fn finish(self) -> Result<Digests, SbomError> {
        self.hand_over(Stream::Packed, &mut self.packed.borrow_mut());
        self.hand_over(Stream::Plain, &mut self.plain.borrow_mut());
        let long = self.long.finish()?;
        let short = self.short.finish()?;
        let files = long.done.into_iter().zip(short.done);
        let files = files.map(|((file, sha512), short)| {
            let (hashes, named) = Hashes::of_parts(short, sha512, self.file_algorithm);
            HashedFile {
                file,
                hashes,
                named,
            }
        });
        Ok(Digests {
            files: files.collect(),
            sha256: hex::encode(short.packed.finalize()),
            content_sha512: hex::encode(long.content.finalize()),
            md5: short.md5.map(|md5| hex::encode(md5.finalize())),
            plain_sha256: short.plain.map(|sha256| hex::encode(sha256.finalize())),
        })
    }
}

/// What bytes are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stream {
    /// The payload as it is packed.
    #[default]
    Packed,
    /// The payload unpacked.
    Plain,
}

enum Mark {
    Begin,
    End(usize),
}

/// Bytes that follow each other.
#[derive(Default)]
struct Piece {
    of: Stream,
    bytes: Vec<u8>,
    /// Where in the unpacked payload files begin and end.
    marks: Vec<(usize, Mark)>,
}

impl Piece {
    fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE_BYTES || self.marks.len() >= PIECE_MARKS
    }
}

/// What a thread does with pieces, which come in the order in which they were read.
trait Work: Send + 'static {
    fn packed(&mut self, bytes: &[u8]);
    fn plain(&mut self, bytes: &[u8]);
    fn begin(&mut self);
    fn content(&mut self, bytes: &[u8]);
    fn end(&mut self, file: usize);
}

fn work_off<W: Work>(mut work: W, pieces: &Receiver<Arc<Piece>>) -> W {
    let mut in_file = false;
    while let Ok(piece) = pieces.recv() {
        let bytes = piece.bytes.as_slice();
        if piece.of == Stream::Packed {
            work.packed(bytes);
            continue;
        }
        work.plain(bytes);
        let mut from = 0;
        for (at, mark) in &piece.marks {
            if in_file {
                work.content(&bytes[from..*at]);
            }
            from = *at;
            in_file = match mark {
                Mark::Begin => {
                    work.begin();
                    true
                }
                Mark::End(file) => {
                    work.end(*file);
                    false
                }
            };
        }
        if in_file {
            work.content(&bytes[from..]);
        }
    }
    work
}

/// One thread and the way to it.
struct Lane<W> {
    pieces: SyncSender<Arc<Piece>>,
    thread: JoinHandle<W>,
}

impl<W: Work> Lane<W> {
    fn start(name: &str, work: W) -> io::Result<Self> {
        let (pieces, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work_off(work, &waiting))?;
        Ok(Self { pieces, thread })
    }

    fn give(&self, piece: &Arc<Piece>) {
        // Nobody takes it when the thread has ended too early, which `finish` tells.
        let _ = self.pieces.send(Arc::clone(piece));
    }

    fn finish(self) -> Result<W, SbomError> {
        drop(self.pieces);
        let ended =
            |_| SbomError::Read(io::Error::other("a thread that hashes has ended too early"));
        self.thread.join().map_err(ended)
    }
}

struct LongWork {
    content: Sha512,
    file: Sha512,
    done: Vec<(usize, [u8; 64])>,
}

impl Work for LongWork {
    fn packed(&mut self, bytes: &[u8]) {
        self.content.update(bytes);
    }

    fn plain(&mut self, _bytes: &[u8]) {}

    fn begin(&mut self) {
        self.file.reset();
    }

    fn content(&mut self, bytes: &[u8]) {
        self.file.update(bytes);
    }

    fn end(&mut self, file: usize) {
        self.done.push((file, self.file.finalize_reset().into()));
    }
}

struct ShortWork {
    packed: Sha256,
    md5: Option<Md5>,
    plain: Option<Sha256>,
    algorithm: u32,
    file: Option<ShortHasher>,
    done: Vec<Short>,
}

impl Work for ShortWork {
    fn packed(&mut self, bytes: &[u8]) {
        self.packed.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    fn plain(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.plain {
            sha256.update(bytes);
        }
    }

    fn begin(&mut self) {
        self.file = Some(ShortHasher::new(self.algorithm));
    }

    fn content(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            file.update(bytes);
        }
    }

    fn end(&mut self, _file: usize) {
        self.done.extend(self.file.take().map(ShortHasher::finish));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_bytes_however_they_are_cut() {
        let files: [&[u8]; 4] = [b"first", b"", &[7; 300_000], b"last"];
        let packed: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for cut in [1, 1000, 65_536, 1 << 20] {
            let wanted = Wanted {
                main_header: b"header",
                file_algorithm: 1,
                md5: true,
                plain_sha256: true,
            };
            let feed = Feed::start(&wanted).unwrap();
            packed.chunks(cut).for_each(|piece| feed.packed(piece));
            let mut plain = b"before".to_vec();
            feed.plain(b"before");
            for (number, content) in files.iter().enumerate() {
                feed.begin();
                content.chunks(cut).for_each(|piece| feed.plain(piece));
                feed.end(number * 2);
                feed.plain(b"between");
                plain.extend_from_slice(content);
                plain.extend_from_slice(b"between");
            }
            // One that breaks off.
            feed.begin();
            feed.plain(b"half");
            plain.extend_from_slice(b"half");
            let found = feed.finish().unwrap();
            assert_eq!(found.sha256, hex::encode(Sha256::digest(&packed)));
            let content = [b"header", packed.as_slice()].concat();
            assert_eq!(found.content_sha512, hex::encode(Sha512::digest(&content)));
            assert_eq!(found.md5, Some(hex::encode(Md5::digest(&content))));
            let plain = hex::encode(Sha256::digest(&plain));
            assert_eq!(found.plain_sha256, Some(plain));
            assert_eq!(found.files.len(), files.len());
            for (number, (one, content)) in found.files.iter().zip(files).enumerate() {
                assert_eq!(one.file, number * 2);
                let sha512 = hex::encode(Sha512::digest(content));
                assert_eq!(one.hashes.sha512_hex(), sha512);
                let md5 = hex::encode(Md5::digest(content));
                assert_eq!(one.named, Some(("MD5", md5)));
            }
        }
    }

    #[test]
    fn a_feed_that_is_given_up_leaves_no_thread_behind() {
        let wanted = Wanted {
            main_header: b"",
            file_algorithm: 8,
            md5: false,
            plain_sha256: false,
        };
        let Feed { long, short, .. } = Feed::start(&wanted).unwrap();
        let (long, short) = (
            {
                drop(long.pieces);
                long.thread
            },
            {
                drop(short.pieces);
                short.thread
            },
        );
        assert!(long.join().is_ok() && short.join().is_ok());
    }
}
