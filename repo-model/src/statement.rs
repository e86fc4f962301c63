//! in-toto Statements v1 and the predicates that Hallmark's parties sign.
//!
//! Every RPM subject carries `sha256` of the file in the named form (`unsigned` or `signed`) and
//! `rpmHeaderSha256`, which is the same for both and is what everything joins on.

use crate::dsse::{DsseError, Envelope, IN_TOTO_PAYLOAD_TYPE, StatementPublicKey, StatementSigner};
use crate::policy::MadeFrom;
use crate::verdict::{Cause, Verdict};
use crate::{FileDigest, HeaderDigest, OperatorName, Timestamp, WorkerName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Predicate type of [`Rebuild`].
pub const REBUILD: &str = "https://hallmark.example/attestation/rpm-rebuild/v0.1";
/// Predicate type of [`Provenance`] (SLSA 1.0).
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Predicate type of [`VerificationSummary`] (SLSA VSA 1.0).
pub const VSA: &str = "https://slsa.dev/verification_summary/v1";
/// Predicate type of [`SbomReference`] (in-toto Reference 0.1): the document itself is stored by digest.
pub const SBOM_REFERENCE: &str = "https://in-toto.io/attestation/reference/v0.1";
/// Predicate type of [`PackageRelease`] (in-toto Release 0.1).
pub const PACKAGE_RELEASE: &str = "https://in-toto.io/attestation/release/v0.1";
/// Predicate type of the release document, see [`crate::release`].
pub const RELEASE: &str = "https://hallmark.example/attestation/repo-release/v0.1";
/// `buildType` of our provenance: one `rpmbuild --rebuild` of one SRPM as its buildinfo says.
pub const BUILD_TYPE: &str = "https://hallmark.example/build/rpmbuild-rebuild/v1";

/// Names of digest algorithms to lowercase hex.
pub type DigestSet = BTreeMap<String, String>;

/// A statement is not usable. The sender's fault; sending it again fails again.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The envelope does not verify.
    #[error(transparent)]
    Dsse(#[from] DsseError),
    /// The payload is not the statement it should be.
    #[error("the payload is not an in-toto statement of the wanted shape")]
    Json(#[source] serde_json::Error),
    /// Another predicate than was asked for.
    #[error("the statement's predicate is `{found}`, not `{wanted}`")]
    Predicate {
        /// In the statement.
        found: String,
        /// By the caller.
        wanted: &'static str,
    },
}

/// An in-toto Statement v1 with predicate `P`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement<P> {
    /// Always [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What the statement is about.
    pub subject: Vec<Subject>,
    /// Which predicate follows.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said.
    pub predicate: P,
}

/// One thing a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// File name or document name.
    pub name: String,
    /// `sha256` and, for RPMs, `rpmHeaderSha256`.
    pub digest: DigestSet,
    /// `form`: `unsigned` or `signed`, for RPMs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Subject {
    /// An RPM before signing.
    pub fn unsigned_rpm(name: &str, file: FileDigest, header: HeaderDigest) -> Self {
        Self::rpm(name, file, header, "unsigned")
    }

    /// An RPM as published.
    pub fn signed_rpm(name: &str, file: FileDigest, header: HeaderDigest) -> Self {
        Self::rpm(name, file, header, "signed")
    }

    fn rpm(name: &str, file: FileDigest, header: HeaderDigest, form: &str) -> Self {
        Self {
            name: name.to_owned(),
            digest: DigestSet::from([
                ("sha256".to_owned(), file.to_hex()),
                ("rpmHeaderSha256".to_owned(), header.to_hex()),
            ]),
            annotations: BTreeMap::from([("form".to_owned(), form.to_owned())]),
        }
    }

    /// Any file by its SHA-256.
    pub fn file(name: &str, file: FileDigest) -> Self {
        Self {
            name: name.to_owned(),
            digest: sha256_set(file),
            annotations: BTreeMap::new(),
        }
    }

    /// The header digest, when this is an RPM and the digest is well-formed.
    pub fn header_digest(&self) -> Option<HeaderDigest> {
        self.digest.get("rpmHeaderSha256")?.parse().ok()
    }
}

/// `{"sha256": …}`.
pub fn sha256_set(file: FileDigest) -> DigestSet {
    DigestSet::from([("sha256".to_owned(), file.to_hex())])
}

impl<P: Serialize + DeserializeOwned> Statement<P> {
    /// Puts a statement together.
    pub fn new(predicate_type: &str, subject: Vec<Subject>, predicate: P) -> Self {
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject,
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// Signs the statement's JSON.
    pub fn sign(&self, key: &dyn StatementSigner) -> Result<Envelope, StatementError> {
        let json = serde_json::to_vec(self).map_err(StatementError::Json)?;
        Ok(key.envelope(IN_TOTO_PAYLOAD_TYPE, &json)?)
    }

    /// The same statement, signed by nobody.
    pub fn unsigned(&self) -> Result<Envelope, StatementError> {
        let json = serde_json::to_vec(self).map_err(StatementError::Json)?;
        Ok(Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, &json))
    }

    /// Verifies `envelope` with `key` and reads a statement with predicate `wanted` out of it.
    pub fn open(
        envelope: &Envelope,
        key: &StatementPublicKey,
        wanted: &'static str,
    ) -> Result<Self, StatementError> {
        read_statement(&envelope.verified_by(key)?, wanted)
    }

    /// Reads without verifying: for display only, never for a decision.
    pub fn open_unverified(
        envelope: &Envelope,
        wanted: &'static str,
    ) -> Result<Self, StatementError> {
        read_statement(&envelope.unverified_payload()?, wanted)
    }

    /// Whether one of the subjects is the RPM with this header.
    pub fn is_about(&self, header: HeaderDigest) -> bool {
        self.subject
            .iter()
            .any(|s| s.header_digest() == Some(header))
    }
}

fn read_statement<P: DeserializeOwned>(
    payload: &[u8],
    wanted: &'static str,
) -> Result<Statement<P>, StatementError> {
    let kind: StatementKind = serde_json::from_slice(payload).map_err(StatementError::Json)?;
    if kind.predicate_type != wanted || kind.statement_type != STATEMENT_TYPE {
        return Err(StatementError::Predicate {
            found: kind.predicate_type.chars().take(120).collect(),
            wanted,
        });
    }
    serde_json::from_slice(payload).map_err(StatementError::Json)
}

#[derive(Deserialize)]
struct StatementKind {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

/// The predicate type an envelope claims; unverified, for sorting only.
pub fn claimed_predicate_type(envelope: &Envelope) -> Option<String> {
    let payload = envelope.unverified_payload().ok()?;
    let kind: StatementKind = serde_json::from_slice(&payload).ok()?;
    Some(kind.predicate_type)
}

/// A named thing with digests (in-toto ResourceDescriptor).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// File name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URI, a package URL for packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: DigestSet,
}

impl Resource {
    /// A file by name and SHA-256.
    pub fn file(name: &str, file: FileDigest) -> Self {
        Self {
            name: Some(name.to_owned()),
            uri: None,
            digest: sha256_set(file),
        }
    }
}

/// Who rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilder {
    /// The worker.
    pub id: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
}

/// One rebuilder's result for one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// Who.
    pub rebuilder: Rebuilder,
    /// Where on the ladder.
    pub verdict: Verdict,
    /// The source package that was rebuilt.
    pub source: Resource,
    /// The buildinfo that was replayed: the statement holds for this one only.
    pub buildinfo: Resource,
    /// Identity of the root that the build ran in.
    pub buildroot: Resource,
    /// rpm's version in the build root.
    pub rpm_version: String,
    /// SOURCE_DATE_EPOCH of the build, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_date_epoch: Option<i64>,
    /// Variation profile: `plain` or a challenge profile's name.
    pub profile: String,
    /// How resource limits were enforced: `cgroup` or `weak` (rlimits only).
    pub limits: String,
    /// Verdict of each run, in order, when there was more than one; [`Rebuild::verdict`] is the worst.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Verdict>,
    /// Why it differs; empty when it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Build log, comparison report: stored by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Resource>,
    /// Start of the rebuild.
    pub started_on: Timestamp,
    /// End of the rebuild.
    pub finished_on: Timestamp,
}

impl Rebuild {
    /// What was rebuilt; none when a digest is missing or malformed.
    pub fn made_from(&self) -> Option<MadeFrom> {
        made_from(&self.source, &self.buildinfo)
    }

    /// The worst verdict of all runs.
    pub fn worst(&self) -> Verdict {
        self.runs
            .iter()
            .copied()
            .chain([self.verdict])
            .max()
            .unwrap_or(self.verdict)
    }

    /// How often it was rebuilt.
    pub fn run_count(&self) -> u32 {
        u32::try_from(self.runs.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Whether some runs confirmed the package and others did not.
    pub fn is_mixed(&self) -> bool {
        let confirming = self
            .runs
            .iter()
            .filter(|verdict| verdict.confirms())
            .count();
        confirming > 0 && confirming < self.runs.len()
    }
}

impl crate::sealed::Commitment {
    /// What was rebuilt; none when a digest is missing or malformed.
    pub fn made_from(&self) -> Option<MadeFrom> {
        made_from(&self.source, &self.buildinfo)
    }
}

fn made_from(source: &Resource, buildinfo: &Resource) -> Option<MadeFrom> {
    let sha256 = |resource: &Resource| resource.digest.get("sha256")?.parse().ok();
    Some(MadeFrom {
        source: sha256(source)?,
        buildinfo: sha256(buildinfo)?,
    })
}

/// SLSA provenance 1.0 of the original build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was built and how.
    pub build_definition: BuildDefinition,
    /// Who ran it.
    pub run_details: RunDetails,
}

impl Provenance {
    /// What was built, by the external parameters `source` and `buildinfo`; none when one of them is
    /// not the digest of a file.
    pub fn made_from(&self) -> Option<MadeFrom> {
        let parameter = |name: &str| {
            let value = self.build_definition.external_parameters.get(name)?;
            value.as_str()?.parse().ok()
        };
        Some(MadeFrom {
            source: parameter("source")?,
            buildinfo: parameter("buildinfo")?,
        })
    }
}

/// SLSA `buildDefinition`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// `source` (SRPM digest), `buildinfo` digest, `target`.
    pub external_parameters: serde_json::Value,
    /// `sourceDateEpoch`, sandbox.
    pub internal_parameters: serde_json::Value,
    /// The SRPM and what the build root was made of.
    pub resolved_dependencies: Vec<Resource>,
}

/// SLSA `runDetails`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The builder; `id` is a URI.
    pub builder: BuilderId,
    /// When it ran.
    pub metadata: RunMetadata,
}

/// SLSA `runDetails.builder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderId {
    /// URI of the builder.
    pub id: String,
}

/// SLSA `runDetails.metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMetadata {
    /// Digest of the buildinfo in hex.
    pub invocation_id: String,
    /// Start.
    pub started_on: Timestamp,
    /// End.
    pub finished_on: Timestamp,
}

/// in-toto Reference: the SBOM of the subject, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SbomReference {
    /// Who says so.
    pub attester: BuilderId,
    /// The documents.
    pub references: Vec<SbomDocument>,
}

/// One referenced document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SbomDocument {
    /// Format name: `cyclonedx-1.6`.
    pub media_type: String,
    /// Path below the server's root: `/evidence/sha256/…`.
    pub download_location: String,
    /// SHA-256 of the document.
    pub digest: DigestSet,
}

/// in-toto Release: the subject is the file that goes out under this package URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRelease {
    /// Package URL.
    pub purl: String,
}

/// SLSA verification summary: the signer's judgement of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSummary {
    /// The signer.
    pub verifier: BuilderId,
    /// When it judged.
    pub time_verified: Timestamp,
    /// Package URL.
    pub resource_uri: String,
    /// Digest of the policy that was applied.
    pub policy: Resource,
    /// Digests of the statements and SBOMs that were judged.
    pub input_attestations: Vec<Resource>,
    /// The source package and the buildinfo that all of them are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_from: Vec<Resource>,
    /// `PASSED`; refusals are not signed.
    pub verification_result: String,
    /// `HALLMARK_REPRODUCED_2_OF_2`, ...
    pub verified_levels: Vec<String>,
    /// `1.0`.
    pub slsa_version: String,
}
