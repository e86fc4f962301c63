//! Names that reach paths, URLs and SQL: each refuses at the edge what could escape a directory.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The text is not a usable name. The sender's fault; do not retry.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "`{text}` is not a {kind}: want 1 to 64 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit"
)]
pub struct ParseNameError {
    kind: &'static str,
    text: String,
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=64).contains(&text.len())
        && text.bytes().all(allowed)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;
            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                if is_name(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(ParseNameError {
                    kind: $kind,
                    text: text.chars().take(80).collect(),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
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

name_type! {
    /// A repository within a release: `base`, `extras`.
    RepoName, "repository name"
}
name_type! {
    /// A moving pointer to a release: `preview`, `stable`.
    ChannelName, "channel name"
}
name_type! {
    /// A rebuilder or a builder.
    WorkerName, "worker name"
}
name_type! {
    /// Who runs a worker; two workers of one operator count as one voice.
    OperatorName, "operator name"
}
name_type! {
    /// A registered mirror: whoever runs it chooses the name.
    MirrorName, "mirror name"
}
name_type! {
    /// A machine architecture as rpm names it: `x86_64`, `aarch64`. `noarch` packages are in each.
    Arch, "architecture"
}

/// Number of a release; releases are numbered 1, 2, 3, ... and compare as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseId(pub u64);

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ReleaseId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_directory() {
        for good in ["base", "x86_64", "el9.4", "0ad"] {
            assert_eq!(good.parse::<RepoName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "-x",
            "A",
            "a b",
            "a\0",
            "é",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad:?}");
        }
    }
}
