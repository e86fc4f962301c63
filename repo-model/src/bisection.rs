//! The report of a bisection: which factor of a build changes which of its files. A rebuilder's program makes
//! it (`hallmark-rebuilder bisect`); the server shows it beside the build.

use crate::verdict::Cause;
use crate::{FileDigest, Nevra};
use serde::{Deserialize, Serialize};

/// Schema of [`Bisection`].
pub const SCHEMA: &str = "hallmark-bisection/1";
/// Largest report, bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Most factors.
const MAX_FACTORS: usize = 64;
/// Most places that differ.
const MAX_DIFFERENCES: usize = 10_000;

/// How a factor is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// One build with another value.
    Varied,
    /// Two builds with one value that never changes.
    HeldStill,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bisection {
    /// [`SCHEMA`].
    pub schema: String,
    /// Source package.
    pub source: Nevra,
    /// Its digest.
    pub source_sha256: FileDigest,
    /// Whether two plain builds are equal.
    pub repeatable: bool,
    /// What became of each factor, in the order in which they were tried.
    pub factors: Vec<TriedFactor>,
    /// Everything that differed in any of the builds, by package and place.
    pub differences: Vec<Difference>,
}

/// One factor's part in a [`Bisection`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriedFactor {
    /// Name: `host-name`.
    pub name: String,
    /// What of the build it is: `name of the machine`.
    pub title: String,
    /// How it was tried.
    pub trial: Trial,
    /// Why it was not, or what came of it that could not be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_tried: Option<String>,
}

/// One place that differed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Package.
    pub package: String,
    /// Path of a file, or name of a header tag.
    pub place: String,
    /// Whether it differs already between two plain builds.
    pub differs_anyway: bool,
    /// Varied factors that change it although it does not differ anyway.
    pub depends_on: Vec<String>,
    /// Held factors that keep it from differing.
    pub still_under: Vec<String>,
    /// What the two versions show, by the table of causes.
    pub cause: Cause,
}

/// The text is no report. The sender's fault; do not retry.
#[derive(Debug, thiserror::Error)]
pub enum BisectionError {
    /// Not the JSON of a report.
    #[error("not the report of a bisection")]
    Json(#[from] serde_json::Error),
    /// Of another version, or another thing.
    #[error("the schema is `{found}`, not {SCHEMA}")]
    Schema {
        /// What it says.
        found: String,
    },
    /// More than anybody could look at.
    #[error(
        "{factors} factors and {differences} differences: at most {MAX_FACTORS} and {MAX_DIFFERENCES}"
    )]
    TooLong {
        /// Factors.
        factors: usize,
        /// Differences.
        differences: usize,
    },
}

impl Bisection {
    /// Reads a report and checks its size.
    pub fn from_json(json: &[u8]) -> Result<Self, BisectionError> {
        let read: Self = serde_json::from_slice(json)?;
        if read.schema != SCHEMA {
            let found = read.schema.chars().take(80).collect();
            return Err(BisectionError::Schema { found });
        }
        let (factors, differences) = (read.factors.len(), read.differences.len());
        match factors > MAX_FACTORS || differences > MAX_DIFFERENCES {
            true => Err(BisectionError::TooLong {
                factors,
                differences,
            }),
            false => Ok(read),
        }
    }
}
