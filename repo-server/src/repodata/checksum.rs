//! The checksums that `repomd.xml` and `pkgid` are written with: SHA-256, or SHA-512 on request.
//!
//! SHA-256 is always computed, since it is what a file is stored and known by; SHA-512 stands in
//! the metadata instead of it, not in its place inside the program.

use repo_model::FileDigest;
use sha2::{Digest, Sha256, Sha512};
use std::fmt;
use std::str::FromStr;

/// Which checksum the metadata is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChecksumType {
    /// What every client reads.
    #[default]
    Sha256,
    /// Twice as long and about three times as slow; no client needs it.
    Sha512,
}

impl ChecksumType {
    /// The `type` attribute: `sha256` or `sha512`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// The text names no checksum that we write. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no checksum to write metadata with: want sha256 or sha512")]
pub struct ParseChecksumTypeError {
    text: String,
}

impl FromStr for ChecksumType {
    type Err = ParseChecksumTypeError;

    /// Weak ones (`md5`, `sha`, `sha1`) are refused: clients under FIPS rules cannot check them.
    fn from_str(text: &str) -> Result<Self, ParseChecksumTypeError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(ParseChecksumTypeError {
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

/// A SHA-512 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha512Digest([u8; 64]);

impl Sha512Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha512::digest(bytes).into())
    }

    /// Takes 64 bytes for a digest.
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// 128 lowercase hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Sha512Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Sha512Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha512Digest({self})")
    }
}

/// Digests and size of a stream.
#[derive(Clone)]
pub(super) struct Hasher {
    sha256: Sha256,
    sha512: Option<Sha512>,
    size_bytes: u64,
}

/// What a [`Hasher`] saw.
pub(super) struct Hashed {
    pub digest: FileDigest,
    /// Only when asked for.
    pub sha512: Option<Sha512Digest>,
    pub size_bytes: u64,
}

impl Hasher {
    pub fn new(checksum: ChecksumType) -> Self {
        Self {
            sha256: Sha256::new(),
            sha512: (checksum == ChecksumType::Sha512).then(Sha512::new),
            size_bytes: 0,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
        self.size_bytes += bytes.len() as u64;
    }

    pub fn finish(self) -> Hashed {
        Hashed {
            digest: FileDigest::from_bytes(self.sha256.finalize().into()),
            sha512: self
                .sha512
                .map(|sha512| Sha512Digest(sha512.finalize().into())),
            size_bytes: self.size_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strong_checksums_are_written() {
        for checksum in [ChecksumType::Sha256, ChecksumType::Sha512] {
            assert_eq!(checksum.as_str().parse(), Ok(checksum));
        }
        for weak in ["sha", "sha1", "md5", "sha224", "SHA256", ""] {
            assert!(weak.parse::<ChecksumType>().is_err(), "{weak}");
        }
    }

    #[test]
    fn sha512_is_computed_only_when_asked_for_and_sha256_always() {
        for (checksum, has_sha512) in [(ChecksumType::Sha256, false), (ChecksumType::Sha512, true)]
        {
            let mut hasher = Hasher::new(checksum);
            hasher.update(b"a");
            hasher.update(b"bc");
            let hashed = hasher.finish();
            assert_eq!(hashed.digest, FileDigest::of(b"abc"));
            assert_eq!(hashed.sha512, has_sha512.then(|| Sha512Digest::of(b"abc")));
            assert_eq!(hashed.size_bytes, 3);
        }
    }
}
