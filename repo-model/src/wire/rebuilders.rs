//! Rebuilders as the operator sees them, and how new ones ask to be let in.
//!
//! * `POST /api/v1/worker/enrol`: [`Enrolment`], signed by the request key that it names; 202
//!   [`EnrolmentAnswer`]. The same request again asks what became of it.
//! * `GET /api/v1/rebuilders`: [`RebuilderStatus`] list; scope `operate`.
//! * `POST /api/v1/rebuilders/{name}/approve` and `/reject`: [`Decide`]; scope `operate`.
//! * `POST /api/v1/rebuilders/{name}/mode`: [`SetMode`]; scope `operate`.
//!
//! Approval lets a rebuilder work: it gets jobs, and its statements are kept and shown. Whether they
//! count towards a quorum is for the policy to say, which the signer reads for itself: nothing that
//! the server stores can make a voice count.

use super::worker::RequestPublicKey;
use crate::dsse::{Envelope, StatementPublicKey};
use crate::{OperatorName, Timestamp, WorkerName};
use serde::{Deserialize, Serialize};

/// Predicate type of [`EnrolmentProof`].
pub const ENROLMENT: &str = "https://hallmark.example/attestation/rebuilder-enrolment/v0.1";
/// Longest [`Enrolment::contact`], characters.
pub const MAX_CONTACT_CHARS: usize = 200;

/// A rebuilder asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// How it wants to be called.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Signs its requests, this one included.
    pub request_key: RequestPublicKey,
    /// Signs its statements.
    pub statement_key: StatementPublicKey,
    /// Whom to ask, for the operator who decides.
    pub contact: String,
    /// A statement of [`EnrolmentProof`] signed with the statement key.
    pub proof: Envelope,
}

/// Shows that the statement key belongs to whoever has the request key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolmentProof {
    /// As in [`Enrolment`].
    pub name: WorkerName,
    /// As in [`Enrolment`].
    pub operator: OperatorName,
    /// As in [`Enrolment`].
    pub request_key: RequestPublicKey,
}

/// What became of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentAnswer {
    /// Where it stands.
    pub standing: Standing,
}

/// Where a rebuilder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The policy lists it: its statements count.
    Policy,
    /// Approved: it may work, its statements are shown, they do not count.
    Approved,
    /// Nobody has decided yet.
    Pending,
    /// Turned away.
    Rejected,
}

impl Standing {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
        }
    }
}

/// Whether a rebuilder gets work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It does.
    #[default]
    Active,
    /// It gets no new rebuilds; what waits for it goes on waiting.
    Paused,
    /// It gets no new rebuilds, and nothing waits for it: once it is idle it can be switched off.
    Draining,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Draining];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

/// One rebuilder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuilderStatus {
    /// Its name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Where it stands.
    pub standing: Standing,
    /// Whether it gets work.
    pub mode: Mode,
    /// ed25519 key of its requests; none: it cannot ask for work.
    pub request_key: Option<RequestPublicKey>,
    /// P-256 key of its statements.
    pub statement_key: StatementPublicKey,
    /// Whom to ask, if it enrolled.
    pub contact: Option<String>,
    /// When it asked for work last.
    pub last_seen: Option<Timestamp>,
    /// Tasks it holds the lease of.
    pub leased: u64,
    /// Answers it committed to and has not revealed.
    pub sealed: u64,
}

/// Body of `approve` and `reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// Which of those that ask under this name is meant: anybody can ask under any name.
    pub request_key: RequestPublicKey,
}

/// Body of `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMode {
    /// From now on.
    pub mode: Mode,
}
