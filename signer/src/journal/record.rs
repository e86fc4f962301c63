//! What a line of the journal says.

use repo_model::dsse::EnvelopeSignature;
use repo_model::log::NodeHash;
use repo_model::policy::Reason;
use repo_model::policy::waivers::Waived;
use repo_model::wire::signer::{Base64, KeyRole, KeyState};
use repo_model::{
    ChannelName, FileDigest, HeaderDigest, Nevra, OperatorName, ReleaseId, RepoName, Timestamp,
    WorkerName,
};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1, 2, 3, ...
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// SHA-256 of the line before.
    pub prev: FileDigest,
    /// What happened.
    pub event: Event,
}

/// The policy in use and what vouches for it; the last three only for a signed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyInUse {
    /// SHA-256 of the policy file.
    pub digest: FileDigest,
    /// The policy's version.
    pub version: u64,
    /// Digest of the newest root document, as signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<FileDigest>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_version: Option<u64>,
    /// Version of the targets document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets_version: Option<u64>,
}

/// A signature over a main header, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderSignature {
    /// Fingerprint of the key.
    pub key: String,
    /// The OpenPGP packet.
    pub packet: Base64,
}

/// Longest reason that is written down, bytes.
const MAX_REASON_BYTES: usize = 2_000;
/// Most reasons of one refusal.
const MAX_REASONS: usize = 100;

/// A reason in words, short enough for the journal.
pub(crate) fn clipped(text: &str) -> String {
    if text.len() <= MAX_REASON_BYTES {
        return text.to_owned();
    }
    let mut end = MAX_REASON_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}... ({} bytes)", &text[..end], text.len())
}

/// Reasons as they are written down: whoever sends a hostile header chooses their words and number, and
/// must not choose the length of a line. What is clipped keeps its beginning.
pub fn recorded(reasons: &[Reason]) -> Vec<Reason> {
    let one = |reason: &Reason| {
        let words = reason.to_string();
        if words.len() <= MAX_REASON_BYTES {
            return reason.clone();
        }
        Reason::Lint {
            finding: "clipped".to_owned(),
            message: clipped(&words),
        }
    };
    reasons.iter().take(MAX_REASONS).map(one).collect()
}

/// What the signer did. Digests are SHA-256; `request` is that of the request's JSON.
#[expect(
    clippy::large_enum_variant,
    reason = "one exists at a time, and the largest is the usual one"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The signer began to serve.
    Started {
        /// The policy in use.
        policy: PolicyInUse,
        /// Fingerprint of the package key.
        package_key: String,
        /// Fingerprint of the metadata key.
        metadata_key: String,
        /// Key id of the statement key.
        statement_key: String,
        /// Whether what is signed from here on must be shown to be in the log; not in records of signers that
        /// did not ask.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        asks_for_log: bool,
    },
    /// The policy was read again.
    PolicyRead {
        /// The policy in use from now on.
        policy: PolicyInUse,
    },
    /// A key came into another state; by hand, while no signer ran.
    KeyChanged {
        /// What it signs.
        role: KeyRole,
        /// What it is kept under.
        label: String,
        /// The new state.
        state: KeyState,
        /// Fingerprint or key id.
        key: String,
        /// Why it was revoked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A header was signed.
    PackageSigned {
        /// The request.
        request: FileDigest,
        /// The repository that it is for; none in records from before requests said it: every one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo: Option<RepoName>,
        /// The package.
        header: HeaderDigest,
        /// Its name for people.
        nevra: Nevra,
        /// The policy that was applied.
        policy: FileDigest,
        /// Envelopes and documents that counted.
        inputs: Vec<FileDigest>,
        /// Rebuilders that confirmed it, and who runs them.
        confirmed_by: Vec<(WorkerName, OperatorName)>,
        /// Findings that two people set aside.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waived: Vec<Waived>,
        /// Entries of the log's head under which all that counted was found, 0 when nothing had to be; none when
        /// the policy did not demand it, and in records from before requests brought proofs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_size: Option<u64>,
        /// Lead, signature header and main header as signed.
        signed_head: FileDigest,
        /// Envelope of the verification summary.
        summary: FileDigest,
        /// Envelope of the SBOM statement.
        sbom_statement: FileDigest,
        /// The signatures over the header, so that the same request gets the same bytes again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signatures: Vec<HeaderSignature>,
    },
    /// The policy said no.
    PackageRefused {
        /// The request.
        request: FileDigest,
        /// The package.
        header: HeaderDigest,
        /// The policy that was applied.
        policy: FileDigest,
        /// Whether more evidence could change that.
        held: bool,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// More requests came than the limit allows; those that follow within a minute are not recorded.
    LimitReached {
        /// `package` or `metadata`.
        key: String,
        /// The limit.
        per_minute: u32,
    },
    /// A whole file was signed, detached.
    FileSigned {
        /// Its package.
        header: HeaderDigest,
        /// The file.
        file: FileDigest,
        /// The armoured signature.
        signature: FileDigest,
        /// Envelope of the release statement.
        statement: FileDigest,
    },
    /// A file did not hold what was signed.
    FileRefused {
        /// The package it was said to be.
        header: HeaderDigest,
        /// Why.
        reason: String,
    },
    /// A release was signed.
    ReleaseSigned {
        /// The request.
        request: FileDigest,
        /// Its number.
        id: ReleaseId,
        /// Its publish instant.
        issued: Timestamp,
        /// The document's JSON.
        document: FileDigest,
        /// The signed envelope.
        envelope: FileDigest,
        /// Its signature, so that the same request gets the same envelope again from a key that cannot repeat
        /// itself; none in records from before it was kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signatures: Vec<EnvelopeSignature>,
    },
    /// A head of the log was signed.
    CheckpointSigned {
        /// Entries.
        size: u64,
        /// Root over them.
        root: NodeHash,
    },
    /// A statement about the repository itself was signed.
    Announced {
        /// The request.
        request: FileDigest,
        /// What it says, for people.
        what: String,
        /// The signed envelope.
        envelope: FileDigest,
    },
    /// What was signed was said for the log.
    SignaturesSaid {
        /// The request.
        request: FileDigest,
        /// The last record that it speaks of.
        through: u64,
        /// How many it speaks of.
        packages: u64,
        /// The signed envelope.
        envelope: FileDigest,
    },
    /// That statement was shown to be in the log.
    SignaturesShown {
        /// The request.
        request: FileDigest,
        /// The statement's envelope.
        envelope: FileDigest,
        /// Entries of the log's head that it was found under.
        log_size: u64,
    },
    /// A head of the log did not go on from the last one.
    CheckpointRefused {
        /// The request.
        request: FileDigest,
        /// Why.
        reason: String,
    },
    /// A channel was called fresh.
    FreshnessSigned {
        /// Channel.
        channel: ChannelName,
        /// Where it points.
        release: ReleaseId,
        /// From when on nothing is said any more.
        expires: Timestamp,
    },
    /// Nothing was said about a channel.
    FreshnessRefused {
        /// The request.
        request: FileDigest,
        /// Channel.
        channel: ChannelName,
        /// Why.
        reason: String,
    },
    /// What was seen of mirrors was said.
    SightingsSigned {
        /// How many mirrors.
        mirrors: u64,
        /// From when on nothing is said any more.
        expires: Timestamp,
    },
    /// Nothing was said about mirrors.
    SightingsRefused {
        /// The request.
        request: FileDigest,
        /// Why.
        reason: String,
    },
    /// A release was not fit to be signed.
    ReleaseRefused {
        /// The request.
        request: FileDigest,
        /// Why.
        reason: String,
    },
}
