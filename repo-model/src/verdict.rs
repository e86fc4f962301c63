//! What a rebuild found: the ladder of verdicts and the causes of difference.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Result of comparing a rebuilt package with the one that was uploaded, best first
/// (`Identical < IdenticalUnsigned < ...`). Only the first two pass a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole files are equal.
    Identical,
    /// Main header and payload are equal; only signatures differ.
    IdenticalUnsigned,
    /// The uncompressed payloads are equal; header metadata or compression differ.
    SameContent,
    /// All file digests, modes and links are equal; other header data differ.
    SameFiles,
    /// Contents differ.
    Differs,
    /// The rebuild made other packages than the build did.
    SetDiffers,
    /// The build itself failed.
    BuildFailed,
    /// Nothing can be said: fetch, lease, memory, time. Retried, never counted as a mismatch.
    InfraFailed,
}

impl Verdict {
    /// Every verdict, best first.
    pub const LADDER: [Self; 8] = [
        Self::Identical,
        Self::IdenticalUnsigned,
        Self::SameContent,
        Self::SameFiles,
        Self::Differs,
        Self::SetDiffers,
        Self::BuildFailed,
        Self::InfraFailed,
    ];

    /// Whether the rebuild confirms the package bit for bit.
    pub fn confirms(self) -> bool {
        self <= Self::IdenticalUnsigned
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identical => "identical",
            Self::IdenticalUnsigned => "identical-unsigned",
            Self::SameContent => "same-content",
            Self::SameFiles => "same-files",
            Self::Differs => "differs",
            Self::SetDiffers => "set-differs",
            Self::BuildFailed => "build-failed",
            Self::InfraFailed => "infra-failed",
        })
    }
}

/// One found cause of a difference, with where it shows and what cures it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Stable kebab-case code from the rebuilder's table of causes: `build-time`, `embedded-clock`.
    pub code: String,
    /// Path inside the package, when one file shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// RPM tag by name, when a tag shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What was seen, for people: `built "Nov 20 10:00:01", rebuilt "Nov 20 10:03:11"`.
    pub detail: String,
    /// What to change in the package or the build to cure it.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_best_verdicts_confirm_a_package() {
        let confirming: Vec<_> = Verdict::LADDER
            .into_iter()
            .filter(|v| v.confirms())
            .collect();
        assert_eq!(confirming, [Verdict::Identical, Verdict::IdenticalUnsigned]);
        assert!(Verdict::LADDER.is_sorted());
        for verdict in Verdict::LADDER {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.to_string());
        }
    }
}
