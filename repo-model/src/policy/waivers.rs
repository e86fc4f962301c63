//! Waivers: two people sign, with reason and end, that certain findings about certain packages do not
//! hold them back. A package that went out on one says so in its verification summary for ever.
//!
//! A waiver is an in-toto statement in one envelope that carries the signatures of both:
//!
//! ```json
//! {"_type":"https://in-toto.io/Statement/v1",
//!  "subject":[{"name":"hello-2.12-1.x86_64.rpm","digest":{"rpmHeaderSha256":"ab…"}}],
//!  "predicateType":"https://hallmark.example/attestation/waiver/v0.1",
//!  "predicate":{"findings":["rebuild-differs","rebuilds-missing"],"reason":"CVE-2026-1: …",
//!   "issuedOn":"2026-11-20T10:06:00Z","expiresOn":"2026-11-27T10:06:00Z"}}
//! ```

use super::{Judgement, Policy, Reason};
use crate::dsse::{Envelope, StatementPublicKey};
use crate::statement::{DigestSet, Statement, Subject};
use crate::{FileDigest, HeaderDigest, Nevra, OperatorName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Predicate type of [`Waiver`].
pub const WAIVER: &str = "https://hallmark.example/attestation/waiver/v0.1";
/// How many people it takes.
pub const PEOPLE: usize = 2;
/// The findings that can be waived: all that more evidence could have settled. What is wrong with
/// the package itself, a revocation, and the policy's own scope cannot; nor what the log lacks: a waiver counts
/// only when it is in the log itself.
pub const WAIVABLE: [&str; 11] = [
    "build-failed",
    "flaky",
    "not-blind",
    "older-version",
    "operators-missing",
    "own-rebuild",
    "plain-missing",
    "provenance-missing",
    "rebuild-differs",
    "rebuilds-missing",
    "sbom-missing",
];

/// Someone whose signature counts on a waiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaiverSigner {
    /// Who. Several keys of one person are one voice.
    pub person: OperatorName,
    /// P-256 public key, SPKI PEM.
    pub statement_key: StatementPublicKey,
}

/// What the two people say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiver {
    /// Codes of the findings that do not hold the packages back.
    pub findings: BTreeSet<String>,
    /// Why; shown to people.
    pub reason: String,
    /// When it was written.
    pub issued_on: Timestamp,
    /// From then on it does not count.
    pub expires_on: Timestamp,
}

/// A finding that two people waived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waived {
    /// The finding.
    pub finding: Reason,
    /// Who, sorted.
    pub by: Vec<OperatorName>,
    /// Their words.
    pub why: String,
    /// The waiver's envelope.
    pub waiver: FileDigest,
}

/// A waiver that does not count. Its makers' fault; sending it again fails again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaiverError {
    /// Not a statement of this kind.
    #[error("it is no waiver that anybody signed whom the policy lists in [[waiver_signers]]")]
    NotOne,
    /// One signature, two of one person, or one of somebody else.
    #[error("signed by {have} of the {PEOPLE} people it takes")]
    TooFew {
        /// Distinct people.
        have: usize,
    },
    /// It was good once.
    #[error("it expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Written with a wrong clock, or for later.
    #[error("it is from the future: issued {at}")]
    NotYet {
        /// When.
        at: Timestamp,
    },
    /// For longer than the policy allows.
    #[error("it holds for more than the {days} days that the policy allows")]
    TooLong {
        /// `max_waiver_days`.
        days: u32,
    },
    /// Something that no waiver can set aside.
    #[error("`{finding}` cannot be waived")]
    Finding {
        /// As it stands there.
        finding: String,
    },
    /// About nothing.
    #[error("it names no {what}")]
    Empty {
        /// `package`, `finding` or `reason`.
        what: &'static str,
    },
}

impl Waiver {
    /// The statement about these packages, for people to sign.
    pub fn statement(self, packages: &[(Nevra, HeaderDigest)]) -> Statement<Self> {
        let subject = |(nevra, header): &(Nevra, HeaderDigest)| Subject {
            name: nevra.file_name(),
            digest: DigestSet::from([("rpmHeaderSha256".to_owned(), header.to_hex())]),
            annotations: BTreeMap::new(),
        };
        Statement::new(WAIVER, packages.iter().map(subject).collect(), self)
    }
}

/// A waiver that counts, and who signed it.
#[derive(Debug, Clone)]
pub struct Valid {
    /// What it says.
    pub statement: Statement<Waiver>,
    /// Who, sorted.
    pub by: Vec<OperatorName>,
}

/// Whether `envelope` is a waiver that counts at `now`, whatever it is about.
pub fn examine(policy: &Policy, envelope: &Envelope, now: Timestamp) -> Result<Valid, WaiverError> {
    let mut people = BTreeSet::new();
    let mut statement = None;
    for signer in &policy.waiver_signers {
        if let Ok(read) = Statement::<Waiver>::open(envelope, &signer.statement_key, WAIVER) {
            people.insert(&signer.person);
            statement = Some(read);
        }
    }
    let statement = statement.ok_or(WaiverError::NotOne)?;
    if people.len() < PEOPLE {
        return Err(WaiverError::TooFew { have: people.len() });
    }
    check(policy, &statement, now)?;
    Ok(Valid {
        statement,
        by: people.into_iter().cloned().collect(),
    })
}

fn check(policy: &Policy, said: &Statement<Waiver>, now: Timestamp) -> Result<(), WaiverError> {
    let waiver = &said.predicate;
    for (what, empty) in [
        (
            "package",
            said.subject.is_empty() || said.subject.iter().any(|s| s.header_digest().is_none()),
        ),
        ("finding", waiver.findings.is_empty()),
        ("reason", waiver.reason.trim().is_empty()),
    ] {
        if empty {
            return Err(WaiverError::Empty { what });
        }
    }
    let strange = |finding: &&String| !WAIVABLE.contains(&finding.as_str());
    if let Some(finding) = waiver.findings.iter().find(strange) {
        return Err(WaiverError::Finding {
            finding: finding.chars().take(80).collect(),
        });
    }
    if waiver.expires_on <= now {
        return Err(WaiverError::Expired {
            at: waiver.expires_on,
        });
    }
    if waiver.issued_on.is_to_come(now) {
        return Err(WaiverError::NotYet {
            at: waiver.issued_on,
        });
    }
    let days = policy.max_waiver_days;
    if waiver.expires_on > waiver.issued_on.plus_secs(i64::from(days) * 86_400) {
        return Err(WaiverError::TooLong { days });
    }
    Ok(())
}

/// Takes out of `hold` what the waivers among `envelopes` set aside for this package.
pub(super) fn set_aside(
    policy: &Policy,
    envelopes: &[Envelope],
    header: HeaderDigest,
    now: Timestamp,
    hold: &mut Vec<Reason>,
) -> Vec<Waived> {
    if hold.is_empty() || policy.waiver_signers.is_empty() {
        return Vec::new();
    }
    let waivers: Vec<_> = envelopes
        .iter()
        .filter_map(|envelope| Some((examine(policy, envelope, now).ok()?, envelope)))
        .filter(|(valid, _)| valid.statement.is_about(header))
        .collect();
    let mut waived = Vec::new();
    hold.retain(|finding| {
        let code = finding.code();
        let covers = waivers.iter().find(|(valid, _)| {
            valid
                .statement
                .predicate
                .findings
                .iter()
                .any(|waived| code == waived)
        });
        if let Some((valid, envelope)) = covers {
            waived.push(Waived {
                finding: finding.clone(),
                by: valid.by.clone(),
                why: valid.statement.predicate.reason.clone(),
                waiver: FileDigest::of(&envelope.to_json()),
            });
        }
        covers.is_none()
    });
    waived
}

/// A waiver that set something aside is among the inputs, once.
pub(super) fn count_in(inputs: &mut Vec<FileDigest>, waived: &[Waived]) {
    for one in waived {
        if !inputs.contains(&one.waiver) {
            inputs.push(one.waiver);
        }
    }
}

impl Judgement {
    /// For findings that come after the judgement: takes out of `hold` what waivers set aside, and
    /// remembers it.
    pub fn set_aside(
        &mut self,
        policy: &Policy,
        envelopes: &[Envelope],
        header: HeaderDigest,
        now: Timestamp,
        hold: &mut Vec<Reason>,
    ) {
        let waived = set_aside(policy, envelopes, header, now, hold);
        count_in(&mut self.inputs, &waived);
        self.waived.extend(waived);
    }
}

impl Reason {
    /// Its code, as in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lint { .. } => "lint",
            Self::Revoked { .. } => "revoked",
            Self::OutOfScope { .. } => "out-of-scope",
            Self::OlderVersion { .. } => "older-version",
            Self::NevraTaken { .. } => "nevra-taken",
            Self::SbomMissing { .. } => "sbom-missing",
            Self::ProvenanceMissing => "provenance-missing",
            Self::RebuildsMissing { .. } => "rebuilds-missing",
            Self::OperatorsMissing { .. } => "operators-missing",
            Self::RebuildDiffers { .. } => "rebuild-differs",
            Self::BuildFailed { .. } => "build-failed",
            Self::OwnRebuild { .. } => "own-rebuild",
            Self::NotBlind { .. } => "not-blind",
            Self::PlainMissing => "plain-missing",
            Self::Flaky { .. } => "flaky",
            Self::LogProofsMissing => "log-proofs-missing",
            Self::NotInLog { .. } => "not-in-log",
            Self::LogHeadUnknown { .. } => "log-head-unknown",
            Self::LogNotWitnessed { .. } => "log-not-witnessed",
            Self::SignaturesUnlogged { .. } => "signatures-unlogged",
            Self::RejectedByOperator { .. } => "rejected-by-operator",
        }
    }
}

#[cfg(test)]
mod tests;
