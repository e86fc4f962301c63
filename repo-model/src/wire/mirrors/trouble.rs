//! What is wrong with a mirror, as data and in words.

use crate::{ChannelName, FileDigest, ReleaseId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is wrong with a mirror, with values; [`fmt::Display`] tells its operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trouble {
    /// No answer, or one that broke off.
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        why: String,
    },
    /// It answers with an error, or wants to lead elsewhere.
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Something that its own metadata promises is not there, or nothing of ours is.
    Missing {
        /// What was asked for.
        url: String,
    },
    /// Other bytes than were published under this name.
    WrongContent {
        /// What was asked for.
        url: String,
        /// SHA-256 of what came.
        found: FileDigest,
        /// SHA-256 of what was published.
        want: FileDigest,
    },
    /// A `repomd.xml` that was never published.
    NeverPublished {
        /// What was asked for.
        url: String,
        /// SHA-256 of what came.
        found: FileDigest,
    },
    /// More bytes than were published under this name.
    TooLarge {
        /// What was asked for.
        url: String,
        /// Bytes that were published.
        want_bytes: u64,
    },
    /// Slower than the server's operator wants to send clients to.
    TooSlow {
        /// What was asked for.
        url: String,
        /// Bytes a second that came.
        bytes_per_sec: u64,
        /// Bytes a second that are wanted.
        want_bytes_per_sec: u64,
    },
    /// It has an old release for too long.
    Stale {
        /// Channel.
        channel: ChannelName,
        /// What it has.
        release: ReleaseId,
        /// What the channel points to.
        current: ReleaseId,
        /// For how long it lags, seconds.
        behind_secs: u64,
    },
}

impl Trouble {
    /// Whether the mirror gave something that nobody published: damaged, or a lie.
    pub fn is_wrong_content(&self) -> bool {
        matches!(
            self,
            Self::WrongContent { .. } | Self::NeverPublished { .. } | Self::TooLarge { .. }
        )
    }

    /// How bad it is; greater is worse.
    pub fn gravity(&self) -> u8 {
        match self {
            Self::Stale { .. } => 1,
            Self::TooSlow { .. } => 2,
            Self::Missing { .. } | Self::Refused { .. } => 3,
            Self::Unreachable { .. } => 4,
            Self::TooLarge { .. } | Self::WrongContent { .. } | Self::NeverPublished { .. } => 5,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, why } => write!(f, "{url} cannot be reached: {why}"),
            Self::Refused { url, status } if (300..400).contains(status) => write!(
                f,
                "{url} leads elsewhere (status {status}): register the address it leads to"
            ),
            Self::Refused { url, status } => write!(f, "{url} is answered with status {status}"),
            Self::Missing { url } => write!(f, "{url} is not there"),
            Self::WrongContent { url, found, want } => {
                write!(f, "{url} has SHA-256 {found}, published was {want}")
            }
            Self::NeverPublished { url, found } => {
                write!(f, "{url} has SHA-256 {found}, which was never published")
            }
            Self::TooLarge { url, want_bytes } => {
                write!(
                    f,
                    "{url} has more than the {want_bytes} bytes that were published"
                )
            }
            Self::TooSlow {
                url,
                bytes_per_sec,
                want_bytes_per_sec,
            } => write!(
                f,
                "{url} comes with {bytes_per_sec} bytes a second; wanted are {want_bytes_per_sec}"
            ),
            Self::Stale {
                channel,
                release,
                current,
                behind_secs,
            } => write!(
                f,
                "{channel} is at release {release} there and at {current} here, since {}",
                span(*behind_secs)
            ),
        }
    }
}

/// `3 h 20 min`, for people.
pub fn span(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} min", secs / 60),
        7_200..=172_799 => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_told_in_words_with_their_values() {
        let url = "https://m.example/stable/base/x86_64/repodata/repomd.xml".to_owned();
        let moved = Trouble::Refused {
            url: url.clone(),
            status: 301,
        };
        assert!(moved.to_string().contains("leads elsewhere"), "{moved}");
        let stale = Trouble::Stale {
            channel: "stable".parse().unwrap(),
            release: ReleaseId(3),
            current: ReleaseId(5),
            behind_secs: 90_000,
        };
        assert_eq!(
            stale.to_string(),
            "stable is at release 3 there and at 5 here, since 25 h 0 min"
        );
        assert!(
            Trouble::NeverPublished {
                url,
                found: FileDigest::of(b"")
            }
            .is_wrong_content()
        );
    }
}
