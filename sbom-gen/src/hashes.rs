//! Hashing a file once, for every digest that a document or a header wants.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// A digest that documents have a name for. Ordered by length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-1.
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
    /// As CycloneDX writes it, such as `SHA-256`.
    pub fn hyphenated(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// As repository metadata and SPDX 3 write it, such as `sha256`.
    pub fn lower(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// As SPDX 2.3 writes it, such as `SHA256`.
    pub fn upper(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }
}

/// The three digests of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    sha1: [u8; 20],
    sha256: [u8; 32],
    sha512: [u8; 64],
}

impl Hashes {
    /// SHA-1, 40 lowercase hex digits. SPDX 2.3 demands it; nothing here trusts it.
    pub fn sha1_hex(&self) -> String {
        hex::encode(self.sha1)
    }

    /// SHA-256, 64 lowercase hex digits.
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }

    /// SHA-512, 128 lowercase hex digits.
    pub fn sha512_hex(&self) -> String {
        hex::encode(self.sha512)
    }

    /// All of them as (algorithm, lowercase hex), sorted.
    pub fn list(&self) -> [(Algorithm, String); 3] {
        [
            (Algorithm::Sha1, self.sha1_hex()),
            (Algorithm::Sha256, self.sha256_hex()),
            (Algorithm::Sha512, self.sha512_hex()),
        ]
    }
}

/// The digest that a header uses for files, where it is none of the three of [`Hashes`].
enum Other {
    None,
    Md5(Md5),
    Sha224(Sha224),
    Sha384(Sha384),
}

/// All digests of one file but SHA-512, fed in pieces. That one takes as long as all the others.
pub(crate) struct ShortHasher {
    sha1: Sha1,
    sha256: Sha256,
    other: Other,
}

/// What [`ShortHasher`] found.
pub(crate) struct Short {
    sha1: [u8; 20],
    sha256: [u8; 32],
    /// Name and lowercase hex.
    other: Option<(&'static str, String)>,
}

impl ShortHasher {
    /// * `openpgp_algorithm`: the extra digest to compute, as FILEDIGESTALGO numbers it; 0 for none.
    pub(crate) fn new(openpgp_algorithm: u32) -> Self {
        Self {
            sha1: Sha1::new(),
            sha256: Sha256::new(),
            other: match openpgp_algorithm {
                1 => Other::Md5(Md5::new()),
                9 => Other::Sha384(Sha384::new()),
                11 => Other::Sha224(Sha224::new()),
                _ => Other::None,
            },
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        match &mut self.other {
            Other::None => {}
            Other::Md5(hasher) => hasher.update(bytes),
            Other::Sha224(hasher) => hasher.update(bytes),
            Other::Sha384(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Short {
        Short {
            sha1: self.sha1.finalize().into(),
            sha256: self.sha256.finalize().into(),
            other: match self.other {
                Other::Md5(hasher) => Some(("MD5", hex::encode(hasher.finalize()))),
                Other::Sha224(hasher) => Some(("SHA-224", hex::encode(hasher.finalize()))),
                Other::Sha384(hasher) => Some(("SHA-384", hex::encode(hasher.finalize()))),
                Other::None => None,
            },
        }
    }
}

impl Hashes {
    /// The three digests, and the one that FILEDIGESTALGO `openpgp_algorithm` means as
    /// (its name, lowercase hex); `None` for an algorithm that is not known here.
    pub(crate) fn of_parts(
        short: Short,
        sha512: [u8; 64],
        openpgp_algorithm: u32,
    ) -> (Self, Option<(&'static str, String)>) {
        let hashes = Self {
            sha1: short.sha1,
            sha256: short.sha256,
            sha512,
        };
        let named = match openpgp_algorithm {
            2 => Some(("SHA-1", hashes.sha1_hex())),
            8 => Some(("SHA-256", hashes.sha256_hex())),
            10 => Some(("SHA-512", hashes.sha512_hex())),
            _ => short.other,
        };
        (hashes, named)
    }
}

/// The three digests of one file, fed in pieces.
pub(crate) struct Hasher {
    short: ShortHasher,
    sha512: Sha512,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self {
            short: ShortHasher::new(0),
            sha512: Sha512::new(),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.short.update(bytes);
        self.sha512.update(bytes);
    }

    pub(crate) fn finish(self) -> Hashes {
        Hashes::of_parts(self.short.finish(), self.sha512.finalize().into(), 0).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_digest_algorithm_of_rpm_gives_the_digest_of_abc() {
        let prefixes = [
            (1, "MD5", "900150983cd24fb0"),
            (2, "SHA-1", "a9993e364706816a"),
            (8, "SHA-256", "ba7816bf8f01cfea"),
            (9, "SHA-384", "cb00753f45a35e8b"),
            (10, "SHA-512", "ddaf35a193617aba"),
            (11, "SHA-224", "23097d223405d822"),
        ];
        let parts = |algorithm| {
            let mut hasher = ShortHasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            Hashes::of_parts(hasher.finish(), Sha512::digest(b"abc").into(), algorithm)
        };
        for (algorithm, name, prefix) in prefixes {
            let (hashes, named) = parts(algorithm);
            let (found_name, found) = named.unwrap();
            assert_eq!((found_name, &found[..16]), (name, prefix));
            let mut hasher = Hasher::new();
            hasher.update(b"ab");
            hasher.update(b"c");
            assert_eq!(hasher.finish(), hashes);
        }
        assert!(parts(99).1.is_none());
    }
}
