//! SHA-256 digests as types. The digest of a file and the digest of an RPM's main header are both
//! 32 bytes, and mixing them up is the easiest way to lose the chain of evidence; so they are two
//! types, and neither can be made from a malformed text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The text is not 64 lowercase hexadecimal digits. The sender's fault; do not retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256 digest: want 64 lowercase hex digits")]
pub struct ParseDigestError {
    text: String,
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes 32 bytes that some hasher already produced.
            pub const fn from_bytes(raw: [u8; 32]) -> Self {
                Self(raw)
            }

            /// SHA-256 of `bytes`, which must be the whole thing that this type names.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }

            /// The 32 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// 64 lowercase hex digits.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;
            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest_type! {
    /// SHA-256 of a complete file as stored: an RPM (signing changes it), an SBOM, a statement.
    FileDigest
}
digest_type! {
    /// SHA-256 of an RPM's main header (tag SHA256HEADER). The header holds the payload's digest,
    /// so this names the whole package, and signing does not change it.
    HeaderDigest
}

fn parse(text: &str) -> Result<[u8; 32], ParseDigestError> {
    let refuse = || ParseDigestError {
        text: text.chars().take(80).collect(),
    };
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(refuse());
    }
    let mut raw = [0; 32];
    hex::decode_to_slice(text, &mut raw).map_err(|_| refuse())?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_lowercase_hex_digits_and_nothing_else() {
        let good = "a".repeat(64);
        assert_eq!(good.parse::<FileDigest>().unwrap().to_hex(), good);
        for bad in [
            "",
            "abc",
            &"A".repeat(64),
            &"a".repeat(63),
            &"a".repeat(65),
            &"g".repeat(64),
            "../../etc/passwd",
        ] {
            let error = bad.parse::<FileDigest>().unwrap_err().to_string();
            assert!(error.contains("64 lowercase hex"), "{bad}: {error}");
        }
    }
}
