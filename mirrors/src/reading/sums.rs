//! Checksums of all kinds that repository metadata uses, over whatever is read, as it is read.

use sha2::Digest as _;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

/// A checksum algorithm as `type="..."` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Broken; only fit to notice accidents.
    Md5,
    /// `sha` or `sha1`; broken likewise.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The algorithm of a `type` attribute; none when we do not know it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" => Self::Md5,
            "sha" | "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// `md5`, `sha1`, `sha256`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a checksum.
    pub(crate) fn size_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Whether somebody could make two files with the same checksum.
    pub fn is_weak(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }
}

/// A checksum that some file claims for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checksum {
    /// How it was made.
    pub algorithm: Algorithm,
    /// Lowercase hex digits.
    pub hex: String,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// A checksum under way.
pub(crate) enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Sha224 => Self::Sha224(sha2::Sha224::new()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha224(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The checksum's bytes.
    pub(crate) fn raw(self) -> Vec<u8> {
        match self {
            Self::Md5(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha224(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        }
    }

    fn hex(self) -> String {
        hex::encode(self.raw())
    }
}

/// What has gone through a [`Tap`] so far.
struct Tally {
    hasher: Option<Hasher>,
    size_bytes: u64,
}

/// Reads the sums of a [`Tap`] that some other reader has taken in.
#[derive(Clone)]
pub struct Meter(Rc<RefCell<Tally>>);

impl Meter {
    /// Bytes that went through.
    pub fn size_bytes(&self) -> u64 {
        self.0.borrow().size_bytes
    }

    /// The checksum in lowercase hex, once; none when none was asked for.
    pub fn take_hex(&self) -> Option<String> {
        self.0.borrow_mut().hasher.take().map(Hasher::hex)
    }
}

/// A reader that counts and hashes what goes through it, and refuses to yield more than a limit.
pub struct Tap<R> {
    inner: R,
    tally: Rc<RefCell<Tally>>,
    limit_bytes: u64,
}

impl<R: Read> Tap<R> {
    /// `limit_bytes`: reading beyond them is an error of kind `FileTooLarge`.
    pub fn new(inner: R, algorithm: Option<Algorithm>, limit_bytes: u64) -> (Self, Meter) {
        let tally = Rc::new(RefCell::new(Tally {
            hasher: algorithm.map(Hasher::new),
            size_bytes: 0,
        }));
        let meter = Meter(Rc::clone(&tally));
        (
            Self {
                inner,
                tally,
                limit_bytes,
            },
            meter,
        )
    }
}

impl<R> Tap<R> {
    /// The reader inside.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let mut tally = self.tally.borrow_mut();
        tally.size_bytes += count as u64;
        if tally.size_bytes > self.limit_bytes {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {} bytes", self.limit_bytes),
            ));
        }
        if let Some(hasher) = &mut tally.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

/// Reads to the end and throws it away.
pub fn drain(mut reader: impl Read) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    while reader.read(&mut buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_gives_its_published_digest_of_abc() {
        for (name, start) in [
            ("md5", "900150983cd24fb0"),
            ("sha", "a9993e364706816a"),
            ("sha1", "a9993e364706816a"),
            ("sha224", "23097d223405d822"),
            ("sha256", "ba7816bf8f01cfea"),
            ("sha384", "cb00753f45a35e8b"),
            ("SHA512", "ddaf35a193617aba"),
        ] {
            let algorithm = Algorithm::named(name).unwrap();
            let (tap, meter) = Tap::new(&b"abc"[..], Some(algorithm), 3);
            drain(tap).unwrap();
            assert!(meter.take_hex().unwrap().starts_with(start), "{name}");
            assert_eq!(meter.size_bytes(), 3);
        }
        assert_eq!(Algorithm::named("crc32"), None);
    }

    #[test]
    fn a_tap_yields_no_more_than_its_limit() {
        let (tap, _) = Tap::new(&b"abcd"[..], None, 3);
        let error = drain(tap).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
