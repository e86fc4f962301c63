//! Why a package is not signed: codes with their values, and the sentence for each.

use crate::verdict::{Cause, Verdict};
use crate::{FileDigest, HeaderDigest, OperatorName, Timestamp, WorkerName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a package is held or rejected: a code with its values, shown alike everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// The header is not fit for publication.
    Lint {
        /// The lint's own code.
        finding: String,
        /// In words.
        message: String,
    },
    /// The policy revokes this package.
    Revoked {
        /// The policy's words.
        reason: String,
    },
    /// The policy's names and architectures leave this package out.
    OutOfScope {
        /// Its name.
        name: String,
        /// Its architecture.
        arch: String,
    },
    /// A higher version was signed before.
    OlderVersion {
        /// The highest that was signed: `[epoch:]version-release`.
        signed: String,
        /// This one.
        found: String,
    },
    /// Other bytes were signed under the same name, version, release and architecture. The signer,
    /// which remembers, applies it.
    NevraTaken {
        /// The header that was signed.
        signed: HeaderDigest,
    },
    /// An SBOM in this format is missing or is about another package.
    SbomMissing {
        /// `cyclonedx-1.6`, ...
        format: String,
    },
    /// No known builder's provenance names this package.
    ProvenanceMissing,
    /// Too few rebuilders confirmed it.
    RebuildsMissing {
        /// Confirmed.
        have: u32,
        /// Demanded.
        want: u32,
    },
    /// The confirming rebuilders belong to too few operators.
    OperatorsMissing {
        /// Distinct operators.
        have: u32,
        /// Demanded.
        want: u32,
    },
    /// A rebuild gave other bytes.
    RebuildDiffers {
        /// Whose.
        rebuilder: WorkerName,
        /// How far apart.
        verdict: Verdict,
        /// Why.
        causes: Vec<Cause>,
    },
    /// A rebuild failed.
    BuildFailed {
        /// Whose.
        rebuilder: WorkerName,
    },
    /// A rebuild confirmed it but does not count: it is the builder's operator's own.
    OwnRebuild {
        /// Whose.
        rebuilder: WorkerName,
        /// The operator of both.
        operator: OperatorName,
    },
    /// A rebuild confirmed it but does not count: the rebuilder committed itself to its answer when
    /// others had told theirs, or not at all.
    NotBlind {
        /// Whose.
        rebuilder: WorkerName,
    },
    /// None of the rebuilds that count was a plain one.
    PlainMissing,
    /// The signer was sent no proof that the evidence is in the log. Like the other findings about the log, the
    /// signer, which has seen the log, applies it.
    LogProofsMissing,
    /// A statement that counts is not shown to be in the log.
    NotInLog {
        /// The statement's envelope.
        statement: FileDigest,
        /// What is wrong with the proof.
        why: String,
    },
    /// The proofs lead to a head of the log that the signer has not signed, or no longer remembers.
    LogHeadUnknown {
        /// What the head says about itself, and what is known.
        why: String,
    },
    /// Too few of the policy's witnesses have cosigned the head of the log that the proofs lead to.
    LogNotWitnessed {
        /// Who has.
        why: String,
    },
    /// What the signer signed before was not shown to it to be in the log in time: it signs no more packages until it is.
    SignaturesUnlogged {
        /// When the first of them was made.
        since: Timestamp,
        /// How many wait.
        count: u64,
        /// The policy's limit.
        minutes: u32,
    },
    /// An operator turned the build away. The server applies it; the policy never does.
    RejectedByOperator {
        /// The operator's words; shown to everybody.
        reason: String,
    },
    /// The package does not always come out the same, and a rebuilder has not confirmed it often enough.
    Flaky {
        /// Whose.
        rebuilder: WorkerName,
        /// Runs in a row that confirmed it.
        have: u32,
        /// Demanded of each rebuilder.
        want: u32,
    },
}

impl Reason {
    /// Whether what is missing or wrong are rebuilds, not the package or its papers.
    pub fn is_about_rebuilds(&self) -> bool {
        match self {
            Self::RebuildsMissing { .. }
            | Self::OperatorsMissing { .. }
            | Self::RebuildDiffers { .. }
            | Self::BuildFailed { .. }
            | Self::OwnRebuild { .. }
            | Self::NotBlind { .. }
            | Self::PlainMissing
            | Self::Flaky { .. } => true,
            Self::Lint { .. }
            | Self::Revoked { .. }
            | Self::OutOfScope { .. }
            | Self::OlderVersion { .. }
            | Self::NevraTaken { .. }
            | Self::SbomMissing { .. }
            | Self::ProvenanceMissing
            | Self::LogProofsMissing
            | Self::NotInLog { .. }
            | Self::LogHeadUnknown { .. }
            | Self::LogNotWitnessed { .. }
            | Self::SignaturesUnlogged { .. }
            | Self::RejectedByOperator { .. } => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lint { finding, message } => write!(f, "lint {finding}: {message}"),
            Self::Revoked { reason } => write!(f, "revoked by policy: {reason}"),
            Self::OutOfScope { name, arch } => {
                write!(f, "the policy signs no package {name} for {arch}")
            }
            Self::OlderVersion { signed, found } => {
                write!(
                    f,
                    "version {found} is older than {signed}, which was signed before"
                )
            }
            Self::NevraTaken { signed } => write!(
                f,
                "other bytes (header {signed}) were signed under the same name and version"
            ),
            Self::SbomMissing { format } => write!(f, "no {format} SBOM of this package"),
            Self::ProvenanceMissing => f.write_str("no provenance signed by a known builder"),
            Self::RebuildsMissing { have, want } => {
                write!(
                    f,
                    "confirmed by {have} of the {want} rebuilders the policy demands"
                )
            }
            Self::OperatorsMissing { have, want } => {
                write!(
                    f,
                    "confirmed by {have} of the {want} operators the policy demands"
                )
            }
            Self::RebuildDiffers {
                rebuilder,
                verdict,
                causes,
            } => {
                write!(f, "{rebuilder}'s rebuild does not match ({verdict})")?;
                for cause in causes {
                    write!(f, "; {}: {}", cause.code, cause.detail)?;
                }
                Ok(())
            }
            Self::BuildFailed { rebuilder } => write!(f, "{rebuilder} could not build it"),
            Self::OwnRebuild {
                rebuilder,
                operator,
            } => write!(
                f,
                "{rebuilder} confirmed it, but {operator}, who runs it, built the package"
            ),
            Self::NotBlind { rebuilder } => write!(
                f,
                "{rebuilder} confirmed it, but could have known the others' answers"
            ),
            Self::PlainMissing => {
                f.write_str("no rebuild that counts ran plain, with nothing varied on purpose")
            }
            Self::LogProofsMissing => f.write_str(
                "the signer was sent no proof that the evidence is in the log: is the server older than the signer?",
            ),
            Self::NotInLog { statement, why } => {
                write!(f, "statement {statement} is not shown to be in the log: {why}")
            }
            Self::LogHeadUnknown { why } => {
                write!(f, "the proofs lead to a head of the log that was not signed here: {why}")
            }
            Self::LogNotWitnessed { why } => {
                write!(f, "the head of the log that the proofs lead to: {why}")
            }
            Self::SignaturesUnlogged {
                since,
                count,
                minutes,
            } => write!(
                f,
                "the signer signs no more packages: {count} signatures, the first of {since}, were not shown to be in the log \
                 within {minutes} minutes"
            ),
            Self::RejectedByOperator { reason } => {
                write!(f, "an operator turned it away: {reason}")
            }
            Self::Flaky {
                rebuilder,
                have,
                want,
            } => write!(
                f,
                "the package is flaky: {rebuilder} confirmed it in {have} of the {want} runs demanded"
            ),
        }
    }
}
