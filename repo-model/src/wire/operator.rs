//! What operators ask for: the audit trail, the server's work, tokens. All of it wants a token with scope
//! `operate`; making and revoking tokens wants `tokens`.
//!
//! * `GET /api/v1/audit?before=&about=&people=true&limit=100`: [`AuditLine`] list, newest first.
//! * `GET /api/v1/jobs`: [`JobLine`] list, what fails first.
//! * `GET`, `POST /api/v1/tokens`, `DELETE /api/v1/tokens/{token}`: [`TokenStatus`], [`CreateToken`], [`CreatedToken`].

use crate::{Nevra, Timestamp};
use serde::{Deserialize, Serialize};

/// One change, and who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Number; grows with time.
    pub line: u64,
    /// When.
    pub at: Timestamp,
    /// Who: `alice (token 3)`, `server`, `local administrator`.
    pub actor: String,
    /// What: `retry`, `reject`, `waiver`, `held`, `token-create`, ...
    pub action: String,
    /// To what: `build 17`, ...
    pub subject: String,
    /// In words; may be empty.
    pub detail: String,
}

/// One job of the server that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLine {
    /// `make-sbom`, `judge`, `sign`, `publish`, ...
    pub name: String,
    /// What it works on, as the job's kind has it; may be empty.
    pub input: String,
    /// The build it is for; none: for no single one.
    pub build: Option<u64>,
    /// That build's source package.
    pub source: Option<Nevra>,
    /// `waiting` or `running`.
    pub state: String,
    /// Failed tries so far.
    pub attempt: u32,
    /// When it runs next.
    pub run_at: Timestamp,
    /// When its build came to the stage that it is in.
    pub since: Option<Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Number, for revoking it.
    pub id: u64,
    /// Who it was made for.
    pub name: String,
    /// What it allows: `publish`, `publish:REPO`, `operate`, `read`, `tokens`.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself; none: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Asks for a new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Who or what it is for, 1 to [`MAX_TOKEN_NAME_CHARS`] characters.
    pub name: String,
    /// What it allows; at least one.
    pub scopes: Vec<String>,
    /// It ends by itself after so many days, 1 to [`MAX_TOKEN_DAYS`].
    pub days: u32,
}

/// Longest name of a token, characters.
pub const MAX_TOKEN_NAME_CHARS: usize = 100;
/// Longest life of a token that is made over the network, days.
pub const MAX_TOKEN_DAYS: u32 = 3_650;

/// A new token. The secret is in this answer and nowhere else.
#[derive(Clone, Serialize, Deserialize)]
pub struct CreatedToken {
    /// Number, for revoking it.
    pub id: u64,
    /// What the client sends as `Authorization: Bearer …`.
    pub secret: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreatedToken {{ id: {}, .. }}", self.id)
    }
}
