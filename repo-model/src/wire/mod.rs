//! What travels between the processes: intake, status, workers, signer. Plain serde types, read by
//! both sides; unknown fields are refused, so a version mismatch is an error and not a surprise.

pub mod evidence;
pub mod intake;
mod keys;
pub mod mirrors;
pub mod operator;
pub mod rebuilders;
pub mod sbom;
pub mod search;
pub mod signer;
pub mod status;
pub mod worker;

use serde::{Deserialize, Serialize};

/// Body of every 4xx answer of the HTTP API; a 5xx has only `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, where and why, in one sentence.
    pub error: String,
    /// Stable kebab-case code.
    pub code: String,
    /// What to do next, when there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
