//! Judging one package and signing its header.

use super::summary::{self, Judge};
use super::{Desk, DeskError, bad_request};
use crate::journal::Event;
use crate::rules::Rules;
use crate::verify::verify_header_signature;
use repo_model::config::PostQuantum;
use repo_model::dsse::Envelope;
use repo_model::policy::{self, Decision, Evidence, Judgement, OlderVersions, Reason};
use repo_model::rpm::signature::{OpenPgpSignature, with_openpgp};
use repo_model::rpm::{Head, Package};
use repo_model::wire::signer::{Base64, Response};
use repo_model::{FileDigest, Timestamp};

/// Judges the package by the raw evidence; signs its header when the policy releases it.
///
/// The same package with the same evidence may be asked again: each answer is valid by itself.
pub(super) fn sign(
    desk: &Desk,
    rules: &Rules,
    request: FileDigest,
    head: &[u8],
    envelopes: &[Envelope],
    sboms: &[Vec<u8>],
    now: Timestamp,
) -> Result<Response, DeskError> {
    let head = match Head::parse(head) {
        Ok(head) => head,
        Err(error) => return Ok(bad_request(format!("the package's head: {error}"))),
    };
    let judgement = policy::judge(
        &rules.policy,
        &Evidence {
            head: &head,
            envelopes,
            sboms,
        },
        now,
    );
    match judgement.decision.clone() {
        Decision::Hold(reasons) => refuse(desk, rules, request, &head, true, reasons, now),
        Decision::Reject(reasons) => refuse(desk, rules, request, &head, false, reasons, now),
        Decision::Release => {
            let evidence = Evidence {
                head: &head,
                envelopes,
                sboms,
            };
            release(desk, rules, request, &evidence, judgement, now)
        }
    }
}

fn refuse(
    desk: &Desk,
    rules: &Rules,
    request: FileDigest,
    head: &Head,
    held: bool,
    reasons: Vec<Reason>,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let header = head.header_digest();
    tracing::info!(package.header = %header, held, "package {header} is not signed: the policy says no");
    let policy = rules.digest;
    let event = Event::PackageRefused {
        request,
        header,
        policy,
        held,
        reasons: reasons.clone(),
    };
    desk.record(now, event)?;
    Ok(Response::Refused { held, reasons })
}

fn release(
    desk: &Desk,
    rules: &Rules,
    request: FileDigest,
    evidence: &Evidence<'_>,
    mut judgement: Judgement,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let (head, sboms) = (evidence.head, evidence.sboms);
    let package = match Package::from_head(head) {
        Ok(package) => package,
        Err(error) => return Ok(bad_request(format!("the package's header: {error}"))),
    };
    if let Some(reason) = older_version(desk, rules, &package)? {
        let mut hold = vec![reason];
        let (policy, header) = (&rules.policy, package.header_digest);
        judgement.set_aside(policy, evidence.envelopes, header, now, &mut hold);
        if !hold.is_empty() {
            return refuse(desk, rules, request, head, true, hold, now);
        }
    }
    let signatures = header_signatures(desk, head, now)?;
    let signature_header = match with_openpgp(head, &signatures) {
        Ok(header) => header,
        Err(error) => return Ok(bad_request(format!("the signature header: {error}"))),
    };
    let signed_head = [head.lead(), &signature_header, head.main_bytes()].concat();
    check_own_work(desk, &signed_head, head)?;
    let judge = Judge {
        verifier_id: &desk.config.verifier_id,
        policy: &rules.policy,
        policy_digest: rules.digest,
    };
    let key = &desk.keys.statement;
    let summary = summary::verification_summary(judge, &package, &judgement, now).sign(key)?;
    let sbom_statement = summary::sbom_reference(judge, &package, sboms).sign(key)?;
    let event = Event::PackageSigned {
        request,
        header: package.header_digest,
        nevra: package.nevra.clone(),
        policy: rules.digest,
        inputs: judgement.inputs.clone(),
        confirmed_by: judgement.confirmed_by.clone(),
        waived: judgement.waived.clone(),
        signed_head: FileDigest::of(&signed_head),
        summary: FileDigest::of(&summary.to_json()),
        sbom_statement: FileDigest::of(&sbom_statement.to_json()),
    };
    desk.record(now, event)?;
    for waived in &judgement.waived {
        tracing::warn!(
            package.nevra = %package.nevra,
            alarm = "waived",
            "ALARM: {} goes out although {}: {} (waiver {})",
            package.nevra,
            waived.finding,
            waived.why,
            waived.waiver
        );
    }
    tracing::info!(
        package.nevra = %package.nevra,
        package.header = %package.header_digest,
        "signed {}",
        package.nevra
    );
    Ok(Response::PackageSigned {
        signature_header: Base64(signature_header),
        summary,
        sbom_statement,
    })
}

/// The policy's objection to a version lower than the highest signed before.
fn older_version(
    desk: &Desk,
    rules: &Rules,
    package: &Package,
) -> Result<Option<Reason>, DeskError> {
    if rules.policy.older_versions == OlderVersions::Allow {
        return Ok(None);
    }
    let ledger = desk.ledger()?;
    Ok(ledger
        .index
        .objection(&package.nevra, package.header_digest))
}

/// One signature for each of the certificates that clients check headers with.
fn header_signatures(
    desk: &Desk,
    head: &Head,
    now: Timestamp,
) -> Result<Vec<OpenPgpSignature>, DeskError> {
    let main = head.main_bytes();
    let mut signatures = vec![OpenPgpSignature {
        packet: desk.keys.package.sign(main, now)?,
        legacy: Some(desk.keys.package.slot()),
    }];
    if let (PostQuantum::Embedded, Some(keys)) = (desk.config.post_quantum, &desk.keys.post_quantum)
    {
        signatures.push(OpenPgpSignature {
            packet: keys.package.sign(main, now)?,
            legacy: None,
        });
    }
    Ok(signatures)
}

/// Reads the signed head back as a client would: same main header, all signatures, ours.
fn check_own_work(desk: &Desk, signed_head: &[u8], unsigned: &Head) -> Result<(), DeskError> {
    use crate::verify::VerifyError;
    let malformed = |why: String| DeskError::OwnWork(VerifyError::Malformed { why });
    let back = Head::parse(signed_head).map_err(|error| malformed(error.to_string()))?;
    if back.main_bytes() != unsigned.main_bytes() {
        return Err(malformed("the main header changed".to_owned()));
    }
    let ours = &desk.package_certificates;
    let wanted = ours.len();
    match verify_header_signature(&back, ours).map_err(DeskError::OwnWork)? {
        count if count == wanted => Ok(()),
        count => Err(malformed(format!("{count} signatures instead of {wanted}"))),
    }
}
