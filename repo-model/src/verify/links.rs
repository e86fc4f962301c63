//! Signature, file, provenance, rebuilds, SBOM and policy: what the signer judged, judged again.

use super::{Evidence, Link, Signature, Trust, short};
use crate::bundle::Bundle;
use crate::policy::{self, Decision, Judgement, Reason, judge};
use crate::statement::{
    PACKAGE_RELEASE, PackageRelease, Statement, VSA, VerificationSummary, claimed_predicate_type,
};
use crate::{FileDigest, Timestamp, sbom_facts, statement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// Where evidence is looked for.
const LOOK: &str = "ask the repository for all evidence about it: `hallmark evidence PACKAGE`";
const DO_NOT: &str = "do not install it; tell the repository's operator, and keep the file";

/// The OpenPGP signature of the header.
pub(super) fn signature(evidence: &Evidence<'_>) -> Link {
    match &evidence.signature {
        Signature::Good { signatures: 1 } => Link::holds("signature", "signed with a trusted key"),
        Signature::Good { signatures } => Link::holds(
            "signature",
            format!("{signatures} signatures, all with trusted keys"),
        ),
        Signature::Bad { why } => Link::broken("signature", why, DO_NOT),
        Signature::NotChecked { why } => Link::not_checked("signature", why),
    }
}

/// The statement in a bundle, if one of the signer's keys made it.
pub(super) fn open<P: Serialize + DeserializeOwned>(
    trust: &Trust,
    bundle: &Bundle,
    wanted: &'static str,
) -> Result<Statement<P>, String> {
    let mut problem = "no statement key is trusted".to_owned();
    for key in &trust.statement_keys {
        let opened = match trust.memo.signed(&bundle.envelope, key) {
            true => Statement::open_unverified(&bundle.envelope, wanted),
            // It says why.
            false => Statement::open(&bundle.envelope, key, wanted),
        };
        match opened {
            Ok(statement) => return Ok(statement),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

/// That this very file is the one that the signer let out.
pub(super) fn file(trust: &Trust, evidence: &Evidence<'_>) -> Link {
    const NAME: &str = "file";
    let Some(bundle) = evidence.released else {
        return Link::broken(NAME, "no statement of the signer about this file", LOOK);
    };
    let opened = open::<PackageRelease>(trust, bundle, PACKAGE_RELEASE);
    let statement = match opened {
        Ok(statement) => statement,
        Err(problem) => {
            return Link::broken(NAME, format!("the release statement: {problem}"), DO_NOT);
        }
    };
    if !statement.is_about(evidence.head.header_digest()) {
        return Link::broken(NAME, "the release statement is about another package", LOOK);
    }
    let named: Vec<&String> = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.get("sha256"))
        .collect();
    match evidence.file {
        None => Link::not_checked(
            NAME,
            "only the header is here: it names the payload, whose bytes were not read",
        ),
        Some(file) if named.contains(&&file.to_hex()) => Link::holds(
            NAME,
            format!("sha256 {} is what went out", short(&file.to_hex())),
        ),
        Some(file) => Link::broken(
            NAME,
            format!("its sha256 is {file}, the signer let another file out"),
            DO_NOT,
        ),
    }
}

/// What the evidence comes to under the reader's own policy.
pub(super) struct Judged {
    pub provenance: Link,
    pub rebuilds: Link,
    pub sbom: Link,
    pub decision: Decision,
}

/// Judges the raw evidence anew, at the time at which the signer did: evidence must have been fresh then.
pub(super) fn judged(
    trust: &Trust,
    evidence: &Evidence<'_>,
    summary: Option<&Statement<VerificationSummary>>,
    now: Timestamp,
) -> Judged {
    let at = summary.map_or(now, |summary| summary.predicate.time_verified);
    let raw = policy::Evidence {
        head: evidence.head,
        envelopes: evidence.envelopes,
        sboms: evidence.sboms,
    };
    let judgement = judge(&trust.policy, &raw, at);
    Judged {
        provenance: provenance(trust, evidence, &judgement),
        rebuilds: rebuilds(trust, &judgement),
        sbom: sbom(trust, evidence, &judgement),
        decision: judgement.decision,
    }
}

fn reasons(judgement: &Judgement) -> &[Reason] {
    match &judgement.decision {
        Decision::Release => &[],
        Decision::Hold(reasons) | Decision::Reject(reasons) => reasons,
    }
}

fn provenance(trust: &Trust, evidence: &Evidence<'_>, judgement: &Judgement) -> Link {
    const NAME: &str = "provenance";
    let missing = |reason: &Reason| matches!(reason, Reason::ProvenanceMissing);
    if let Some(reason) = reasons(judgement).iter().find(|reason| missing(reason)) {
        return Link::broken(NAME, reason.to_string(), LOOK);
    }
    let counted = evidence.envelopes.iter().find(|envelope| {
        claimed_predicate_type(envelope).as_deref() == Some(statement::PROVENANCE)
            && judgement
                .inputs
                .contains(&FileDigest::of(&envelope.to_json()))
    });
    let builder = counted.and_then(|envelope| {
        trust
            .policy
            .builders
            .iter()
            .find(|holder| envelope.verified_by(&holder.statement_key).is_ok())
    });
    match builder {
        Some(builder) => Link::holds(
            NAME,
            format!("built by {}, run by {}", builder.name, builder.operator),
        ),
        None => Link::not_checked(NAME, "the policy asks for none"),
    }
}

fn rebuilds(trust: &Trust, judgement: &Judgement) -> Link {
    const NAME: &str = "rebuilds";
    let policy = &trust.policy;
    let confirmed = judgement.confirmed_by.iter();
    let mut details: Vec<_> = confirmed
        .map(|(name, operator)| format!("{name}, run by {operator}"))
        .collect();
    let against: Vec<String> = reasons(judgement)
        .iter()
        .filter(|reason| reason.is_about_rebuilds())
        .map(ToString::to_string)
        .collect();
    details.extend(judgement.notes.iter().map(|note| format!("but {note}")));
    details.extend(
        judgement
            .waived
            .iter()
            .map(|waived| format!("two people set aside: {}", waived.finding)),
    );
    if let Some((first, more)) = against.split_first() {
        details.extend(more.iter().cloned());
        return Link::broken(NAME, first, DO_NOT).with_details(details);
    }
    let (have, listed) = (judgement.confirmed_by.len(), policy.rebuilders.len());
    match (policy.min_rebuilders, have) {
        (0, 0) => Link::not_checked(NAME, "the policy asks for none").with_details(details),
        (want, _) => Link::holds(
            NAME,
            format!("{have} of {listed} rebuilders made the same bytes; the policy demands {want}"),
        )
        .with_details(details),
    }
}

fn sbom(trust: &Trust, evidence: &Evidence<'_>, judgement: &Judgement) -> Link {
    const NAME: &str = "sbom";
    let missing = |reason: &Reason| matches!(reason, Reason::SbomMissing { .. });
    if let Some(reason) = reasons(judgement).iter().find(|reason| missing(reason)) {
        return Link::broken(NAME, reason.to_string(), LOOK);
    }
    if trust.policy.sbom_formats.is_empty() {
        return Link::not_checked(NAME, "the policy asks for none");
    }
    let header = evidence.head.header_digest();
    let formats: BTreeSet<String> = evidence
        .sboms
        .iter()
        .filter_map(|document| sbom_facts::read(document).ok())
        .filter(|facts| facts.header_digest == header)
        .map(|facts| facts.format)
        .collect();
    let formats: Vec<_> = formats.into_iter().collect();
    Link::holds(NAME, formats.join(", "))
}

/// The signer's summary: signed by the signer, about this package, and of what is at hand.
pub(super) fn summary(
    trust: &Trust,
    evidence: &Evidence<'_>,
) -> Result<Statement<VerificationSummary>, String> {
    let bundle = evidence
        .summary
        .ok_or("no verification summary of the signer")?;
    let statement = open::<VerificationSummary>(trust, bundle, VSA)
        .map_err(|problem| format!("the verification summary: {problem}"))?;
    if !statement.is_about(evidence.head.header_digest()) {
        return Err("the verification summary is about another package".to_owned());
    }
    if statement.predicate.verification_result != "PASSED" {
        return Err("the verification summary does not say PASSED".to_owned());
    }
    Ok(statement)
}

/// The signer let it out, on evidence that is here, and so does the reader's own policy.
pub(super) fn policy(
    trust: &Trust,
    evidence: &Evidence<'_>,
    summary: &Result<Statement<VerificationSummary>, String>,
    decision: &Decision,
) -> Link {
    const NAME: &str = "policy";
    let summary = match summary {
        Ok(summary) => &summary.predicate,
        Err(problem) => return Link::broken(NAME, problem, DO_NOT),
    };
    if let Decision::Hold(reasons) | Decision::Reject(reasons) = decision {
        let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        return Link::broken(NAME, words.join("; "), DO_NOT);
    }
    let here: BTreeSet<String> = evidence
        .envelopes
        .iter()
        .map(|envelope| FileDigest::of(&envelope.to_json()).to_hex())
        .chain(
            evidence
                .sboms
                .iter()
                .map(|sbom| FileDigest::of(sbom).to_hex()),
        )
        .collect();
    let judged = summary.input_attestations.iter();
    let missing: Vec<_> = judged
        .filter_map(|input| input.digest.get("sha256"))
        .filter(|digest| !here.contains(*digest))
        .map(|digest| format!("not here: {digest}"))
        .collect();
    if !missing.is_empty() {
        let count = missing.len();
        let says = format!("the signer counted {count} documents that are not here");
        return Link::broken(NAME, says, LOOK).with_details(missing);
    }
    let same = summary.policy.digest.get("sha256") == Some(&trust.policy_digest.to_hex());
    let whose = match same {
        true => format!("policy {} holds, as it did for", trust.policy.version),
        false => format!(
            "your policy {} holds; another one did for",
            trust.policy.version
        ),
    };
    let at = summary.time_verified;
    Link::holds(NAME, format!("{whose} the signer at {at}"))
        .with_details(summary.verified_levels.clone())
}
