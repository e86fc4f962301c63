//! What metadata claims of a file, in little memory, and hashing a file by it.

use crate::reading::{Algorithm, Checksum, Hasher};
use repo_model::FileDigest;
use std::fmt;
use std::io::{self, Read};

/// A checksum that a file must have. There are as many of them as files, and nearly all are SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Claim {
    Sha256(FileDigest),
    /// As many bytes as the algorithm makes.
    Other(Algorithm, Box<[u8]>),
}

impl Claim {
    /// None: the digits are not as many as the algorithm makes, so no file has this checksum.
    pub fn new(checksum: &Checksum) -> Option<Self> {
        let raw = hex::decode(&checksum.hex).ok()?;
        if raw.len() != checksum.algorithm.size_bytes() {
            return None;
        }
        Some(match checksum.algorithm {
            Algorithm::Sha256 => Self::Sha256(FileDigest::from_bytes(raw.try_into().ok()?)),
            other => Self::Other(other, raw.into_boxed_slice()),
        })
    }

    /// The claim that a SHA-256 makes.
    pub fn of(digest: FileDigest) -> Self {
        Self::Sha256(digest)
    }

    /// The SHA-256 that it names; none when it is of another kind.
    pub fn sha256(&self) -> Option<FileDigest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::Other(..) => None,
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Other(algorithm, _) => *algorithm,
        }
    }

    fn raw(&self) -> &[u8] {
        match self {
            Self::Sha256(digest) => digest.as_bytes(),
            Self::Other(_, raw) => raw,
        }
    }

    /// Lowercase hex digits: a package's pkgid.
    pub fn hex(&self) -> String {
        hex::encode(self.raw())
    }

    /// Whether somebody could make two files with it.
    pub fn is_weak(&self) -> bool {
        self.algorithm().is_weak()
    }
}

/// `sha256:…`
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.hex())
    }
}

impl std::str::FromStr for Claim {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, hex) = text.split_once(':').ok_or(())?;
        let algorithm = Algorithm::named(name).ok_or(())?;
        let hex = hex.to_owned();
        Self::new(&Checksum { algorithm, hex }).ok_or(())
    }
}

/// Hashes what a file must be, and its SHA-256 in any case.
pub(crate) struct Sum {
    sha256: Hasher,
    claimed: Option<Hasher>,
}

impl Sum {
    pub fn new(claim: &Claim) -> Self {
        let algorithm = claim.algorithm();
        let other = (algorithm != Algorithm::Sha256).then_some(algorithm);
        Self {
            sha256: Hasher::new(Algorithm::Sha256),
            claimed: other.map(Hasher::new),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(claimed) = &mut self.claimed {
            claimed.update(bytes);
        }
    }

    /// The SHA-256, whatever is claimed.
    pub fn sha256(self) -> FileDigest {
        let mut raw = [0; 32];
        let found = self.sha256.raw();
        // SHA-256 has 32 bytes.
        raw.copy_from_slice(&found[..32]);
        FileDigest::from_bytes(raw)
    }

    /// The SHA-256 when the file is what is claimed; else what it is.
    pub fn finish(self, claim: &Claim) -> Result<FileDigest, String> {
        let sha256 = self.sha256.raw();
        let found = match self.claimed {
            Some(claimed) => claimed.raw(),
            None => sha256.clone(),
        };
        if found[..] != *claim.raw() {
            return Err(hex::encode(found));
        }
        match <[u8; 32]>::try_from(&sha256[..]) {
            Ok(raw) => Ok(FileDigest::from_bytes(raw)),
            Err(_) => Err(hex::encode(sha256)),
        }
    }
}

/// Adds a file's bytes from its current place to its end; returns how many there were.
pub(crate) fn hash_rest(file: &mut impl Read, sum: &mut Sum) -> io::Result<u64> {
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                sum.update(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_for_its_file_and_no_other() {
        for claim in [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
            "md5:900150983cd24fb0d6963f7d28e17f72",
        ] {
            let claim: Claim = claim.parse().unwrap();
            let digest = |text: &[u8]| {
                let mut sum = Sum::new(&claim);
                sum.update(text);
                sum.finish(&claim)
            };
            assert_eq!(digest(b"abc"), Ok(FileDigest::of(b"abc")), "{claim}");
            assert!(digest(b"abd").is_err(), "{claim}");
        }
        for bad in ["sha256:ab", "crc:00", "sha256", "sha1:zz"] {
            assert!(bad.parse::<Claim>().is_err(), "{bad}");
        }
    }
}
