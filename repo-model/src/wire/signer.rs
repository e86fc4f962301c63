//! The server and the signer, over a Unix socket.
//!
//! A message is a four-byte big-endian length and that many bytes of JSON; at most
//! [`MAX_MESSAGE_BYTES`]. [`Request::SignFile`] is followed by the raw bytes of the file. The signer
//! answers every request with one [`Response`], in order; a connection may carry many.

pub use super::keys::{
    KeyRole, KeyState, ListedKey, LogKeyRole, MIN_STAGED_DAYS, ParseKeyRoleError, PublishedKey,
    PublishedLogKey, listed,
};
use crate::announcement::{ChannelMove, RebuilderDecision};
use crate::dsse::Envelope;
use crate::log::NodeHash;
use crate::policy::Reason;
use crate::policy::logged::{LogPlace, LogProofs};
use crate::sightings::Sighting;
use crate::{ChannelName, FileDigest, HeaderDigest, ReleaseId, RepoName, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest JSON message. A head has at most some 140 MB, an SBOM can have as much.
pub const MAX_MESSAGE_BYTES: u32 = 512 << 20;
/// Most envelopes in one request: each rebuilder of a policy has a few.
pub const MAX_ENVELOPES: usize = 1_024;
/// Most SBOM documents in one request: one a format.
pub const MAX_SBOMS: usize = 64;

/// Bytes that travel as base64 text in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not base64"))
    }
}

/// What the server asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Who are you? Answered by [`Response::Identity`].
    Identity,
    /// Which release did you sign last? Answered by [`Response::LastRelease`].
    LastRelease,
    /// Judge this package and sign its header. Answered by [`Response::PackageSigned`].
    SignPackage {
        /// The repository that it is for: names and versions are compared within each. None, as before
        /// requests said it: compared with all, and counted in all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repo: Option<RepoName>,
        /// Lead + signature header + main header of the unsigned file.
        head: Base64,
        /// Provenance and rebuild statements as they were signed.
        envelopes: Vec<Envelope>,
        /// SBOM documents as they are stored.
        sboms: Vec<Base64>,
        /// That the envelopes are in the log. None: for a policy that does not demand it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<LogProofs>,
    },
    /// Sign the whole file that follows, detached: only a file whose header was signed before and
    /// whose payload is the one that header names. Answered by [`Response::FileSigned`].
    SignFile {
        /// The file's main header.
        header: HeaderDigest,
        /// Raw bytes that follow this message.
        size_bytes: u64,
    },
    /// Sign a release: only if every listed package was signed here, with this summary, and the
    /// number is higher than any before. Answered by [`Response::ReleaseSigned`].
    SignRelease {
        /// JSON of the release document.
        document: Base64,
        /// Each repository's files, in the document's order.
        repos: Vec<ReleaseFiles>,
    },
    /// How many entries has the last checkpoint that was signed? Answered by
    /// [`Response::LastCheckpoint`].
    LastCheckpoint,
    /// Sign the head of the log: only if it goes on from the last one signed. Answered by
    /// [`Response::CheckpointSigned`].
    SignCheckpoint(CheckpointRequest),
    /// Say, for the log, that a channel was moved. Answered by [`Response::Announced`].
    AnnounceMove(ChannelMove),
    /// Say, for the log, which keys and policy are in force. Answered by [`Response::Announced`].
    AnnounceKeys,
    /// Say, for the log, that a rebuilder was let in or turned away. Answered by [`Response::Announced`].
    AnnounceRebuilder(Box<RebuilderDecision>),
    /// Say, for the log, which packages were signed that were not shown to be in the log yet. Answered by
    /// [`Response::SignaturesSaid`].
    SaySignatures,
    /// See that such a statement is in the log. Answered by [`Response::SignaturesShown`].
    ShowSignatures(Box<ShownSignatures>),
    /// Say that a channel is at a release, for a while: only if it never was at a later one. Answered by
    /// [`Response::FreshnessSigned`].
    SignFreshness(FreshnessRequest),
    /// Say what was seen of mirrors, for a while: only of releases that it signed. Answered by
    /// [`Response::SightingsSigned`].
    SignSightings(SightingsRequest),
}

/// A statement of [`crate::announcement::Signatures`] and its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownSignatures {
    /// As it was signed.
    pub envelope: Envelope,
    /// The signed head with its cosignatures.
    pub head: String,
    /// Where the statement is under it.
    pub place: LogPlace,
}

/// What was seen of mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SightingsRequest {
    /// Each of them.
    pub mirrors: Vec<Sighting>,
    /// The signer's own statements of the releases that they have.
    pub releases: Vec<Envelope>,
    /// How long the statement shall hold.
    pub secs: u64,
}

/// A channel and where it points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshnessRequest {
    /// Channel.
    pub channel: ChannelName,
    /// The signer's own statement of the release.
    pub release: Envelope,
    /// How long the new statement shall hold.
    pub secs: u64,
}

/// A head of the transparency log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointRequest {
    /// Entries.
    pub size: u64,
    /// Root over them.
    pub root: NodeHash,
    /// Entries of the last checkpoint that was signed; 0 when none was.
    pub before: u64,
    /// Consistency proof from there (RFC 6962 §2.1.2).
    pub proof: Vec<NodeHash>,
}

/// The files of one repository of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFiles {
    /// `repodata/repomd.xml`.
    pub repomd: Base64,
    /// The package list.
    pub package_list: Base64,
}

/// What the signer answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Response {
    /// Public keys and policy.
    Identity(Identity),
    /// The release signed last, if there is one.
    LastRelease {
        /// What the signer remembers of it.
        last: Option<LastRelease>,
    },
    /// The package may go out.
    PackageSigned {
        /// The signature header with its padding, to stand between lead and main header.
        signature_header: Base64,
        /// Verification summary, signed with the statement key.
        summary: Envelope,
        /// One reference statement over the SBOMs.
        sbom_statement: Envelope,
    },
    /// Detached signature.
    FileSigned {
        /// ASCII-armoured OpenPGP signature over the file.
        armored: String,
        /// The same, post-quantum, unless that is off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        post_quantum: Option<String>,
        /// Release statement: names the file by its digest.
        statement: Envelope,
    },
    /// The release may go out.
    ReleaseSigned {
        /// ASCII-armoured OpenPGP signature over each repomd.xml, in the document's order.
        repomd_signatures: Vec<String>,
        /// The same, post-quantum; empty when that is off.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        repomd_post_quantum: Vec<String>,
        /// The release document as a signed statement.
        envelope: Envelope,
        /// The manifest of each repository, in the document's order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        manifests: Vec<SignedManifest>,
    },
    /// Size of the last checkpoint; 0 when none was signed.
    LastCheckpoint {
        /// Entries.
        size: u64,
    },
    /// The log's head, signed.
    CheckpointSigned {
        /// A signed note (C2SP `tlog-checkpoint`).
        note: String,
    },
    /// A statement about the repository itself.
    Announced {
        /// The statement, signed with the statement key.
        envelope: Envelope,
    },
    /// What was signed and not shown to be in the log yet.
    SignaturesSaid {
        /// A statement of [`crate::announcement::Signatures`]; none: there is nothing to say.
        envelope: Option<Envelope>,
    },
    /// The signatures are in the log.
    SignaturesShown {
        /// How many were signed since, or did not fit into the statement: say those, too.
        left: u64,
    },
    /// The channel is at this release.
    FreshnessSigned {
        /// A statement of [`crate::freshness::Freshness`].
        envelope: Envelope,
    },
    /// What was seen of mirrors.
    SightingsSigned {
        /// A statement of [`crate::sightings::Sightings`].
        envelope: Envelope,
    },
    /// The policy says no. Asking again with the same evidence gives the same answer.
    Refused {
        /// Whether more evidence could change that.
        held: bool,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// The request itself is wrong. The server's fault; do not retry.
    BadRequest {
        /// What is wrong.
        message: String,
    },
    /// The signer could not do it now. Its fault; retry later.
    Failed {
        /// What went wrong.
        message: String,
    },
}

/// The manifest of one repository of a release, see [`crate::manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// What `SHA256SUMS` holds.
    pub text: String,
    /// ASCII-armoured OpenPGP signature over it, by the metadata key.
    pub armored: String,
    /// The same, post-quantum, unless that is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_quantum: Option<String>,
}

/// The release that the signer signed last: the next one must follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastRelease {
    /// Its number.
    pub id: ReleaseId,
    /// Its publish instant.
    pub issued: Timestamp,
    /// SHA-256 of its document.
    pub document: FileDigest,
    /// SHA-256 of its envelope.
    pub envelope: FileDigest,
}

/// The signer's public face.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// OpenPGP certificate of the package key, armoured.
    pub package_certificate: String,
    /// OpenPGP certificate of the metadata key, armoured.
    pub metadata_certificate: String,
    /// OpenPGP v6 certificate of the post-quantum package key, armoured, unless that is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_pqc_certificate: Option<String>,
    /// OpenPGP v6 certificate of the post-quantum metadata key, armoured, unless that is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_pqc_certificate: Option<String>,
    /// Statement key, SPKI PEM.
    pub statement_key: String,
    /// The log's key, `NAME+HASH+KEY` (C2SP `signed-note`).
    #[serde(default)]
    pub log_key: String,
    /// The log's post-quantum key in the same form, which signs its heads too, unless that is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_cosigner_key: Option<String>,
    /// URI that names this signer in its summaries.
    pub verifier_id: String,
    /// SHA-256 of the policy file in use.
    pub policy: FileDigest,
    /// Its version.
    pub policy_version: u64,
    /// Every key, oldest first: also those that will sign and those that did.
    #[serde(default)]
    pub keys: Vec<PublishedKey>,
    /// The keys of the log once more, with what is known of them: its own first. Empty from a signer that did not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_keys: Vec<PublishedLogKey>,
}

impl Identity {
    /// Certificates of a role that are to be accepted: next, current and retired ones, each once. Those of
    /// one role have one OpenPGP version: 4, which every client reads, or 6.
    pub fn certificates(&self, role: KeyRole) -> Vec<&str> {
        let current = match role {
            KeyRole::Package => Some(&self.package_certificate),
            KeyRole::Metadata => Some(&self.metadata_certificate),
            KeyRole::Statement => Some(&self.statement_key),
            KeyRole::PackagePqc => self.package_pqc_certificate.as_ref(),
            KeyRole::MetadataPqc => self.metadata_pqc_certificate.as_ref(),
        };
        let listed = self
            .keys
            .iter()
            .filter(|key| key.role == role && key.state.is_trusted());
        let mut all: Vec<_> = current.map(String::as_str).into_iter().collect();
        for key in listed {
            if !all.contains(&key.public.as_str()) {
                all.push(&key.public);
            }
        }
        all
    }
}
