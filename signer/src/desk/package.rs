//! Judging one package and signing its header.

use super::summary::{self, Judge};
use super::{Desk, DeskError, bad_request, logged, signatures};
use crate::index::Index;
use crate::journal::{Event, HeaderSignature, Written, recorded};
use crate::rules::Rules;
use crate::verify::verify_header_signature;
use repo_model::config::PostQuantum;
use repo_model::dsse::Envelope;
use repo_model::nevra::MAX_NEVRA_BYTES;
use repo_model::policy::logged::{Counted, LogProofs};
use repo_model::policy::{self, Decision, Evidence, Judgement, Reason};
use repo_model::rpm::signature::{OpenPgpSignature, with_openpgp};
use repo_model::rpm::{Head, Package};
use repo_model::wire::signer::{Base64, Response};
use repo_model::{FileDigest, HeaderDigest, RepoName, Timestamp};

/// What is asked about a package, beside its head.
pub(super) struct Asked {
    /// SHA-256 of the request, for the journal.
    pub(super) request: FileDigest,
    /// The repository that it is for.
    pub(super) repo: Option<RepoName>,
    /// Statements as they were signed.
    pub(super) envelopes: Vec<Envelope>,
    /// Documents as they are stored.
    pub(super) sboms: Vec<Vec<u8>>,
    /// That the statements are in the log.
    pub(super) log: Option<LogProofs>,
}

/// Judges the package by the raw evidence; signs its header when the policy releases it.
///
/// The same package with the same evidence may be asked again: each answer is valid by itself.
pub(super) fn sign(
    desk: &Desk,
    rules: &Rules,
    asked: &Asked,
    head: &[u8],
    now: Timestamp,
) -> Result<Response, DeskError> {
    let head = match Head::parse(head) {
        Ok(head) => head,
        Err(error) => return Ok(bad_request(format!("the package's head: {error}"))),
    };
    let evidence = Evidence {
        head: &head,
        envelopes: &asked.envelopes,
        sboms: &asked.sboms,
    };
    let judgement = policy::judge(&rules.policy, &evidence, now);
    let (held, reasons) = match judgement.decision.clone() {
        Decision::Hold(reasons) => (true, reasons),
        Decision::Reject(reasons) => (false, reasons),
        Decision::Release => return release(desk, rules, asked, &evidence, judgement, now),
    };
    refuse(desk, rules, asked.request, &head, held, reasons, now)
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
        reasons: recorded(&reasons),
    };
    desk.record(now, event)?;
    Ok(Response::Refused { held, reasons })
}

/// What is to be signed, and why it may be.
struct Case<'a> {
    rules: &'a Rules,
    asked: &'a Asked,
    evidence: &'a Evidence<'a>,
    package: Package,
    judgement: Judgement,
    now: Timestamp,
}

fn release(
    desk: &Desk,
    rules: &Rules,
    asked: &Asked,
    evidence: &Evidence<'_>,
    judgement: Judgement,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let (head, request) = (evidence.head, asked.request);
    let package = match Package::from_head(head) {
        Ok(package) => package,
        Err(error) => return Ok(bad_request(format!("the package's header: {error}"))),
    };
    if package.nevra.to_string().len() > MAX_NEVRA_BYTES {
        return Ok(bad_request("the package's name and version are too long"));
    }
    let mut case = Case {
        rules,
        asked,
        evidence,
        package,
        judgement,
        now,
    };
    // The key signs a header once. Two requests may come side by side, both for the first time: who is
    // recorded second starts again with the signature of the first.
    loop {
        let mut hold = case.objections(&desk.ledger()?.index);
        hold.extend(case.unlogged(desk)?);
        hold.extend(signatures::overdue(desk, &rules.policy, now)?);
        if !hold.is_empty() {
            return refuse(desk, rules, request, head, true, hold, now);
        }
        let work = match make(desk, &case)? {
            Ok(work) => work,
            Err(problem) => return Ok(bad_request(problem)),
        };
        if let Some(written) = record(desk, &mut case, &work)? {
            written.durable()?;
            case.tell();
            return Ok(work.into_response());
        }
    }
}

impl Case<'_> {
    /// What the signer's memory has against the package, without what is waived.
    fn objections(&mut self, index: &Index) -> Vec<Reason> {
        let (policy, header) = (&self.rules.policy, self.package.header_digest);
        let repo = self.asked.repo.as_ref();
        let objection = index.objection(policy, repo, &self.package.nevra, header);
        let known = |reason: &Reason| {
            let mut waived = self.judgement.waived.iter();
            waived.any(|waived| waived.finding == *reason)
        };
        let mut hold: Vec<_> = objection
            .into_iter()
            .filter(|reason| !known(reason))
            .collect();
        if !hold.is_empty() {
            let envelopes = self.evidence.envelopes;
            self.judgement
                .set_aside(policy, envelopes, header, self.now, &mut hold);
        }
        hold
    }

    /// What counted and is not shown to be in the log.
    fn unlogged(&self, desk: &Desk) -> Result<Vec<Reason>, DeskError> {
        let counted = Counted {
            envelopes: self.evidence.envelopes,
            inputs: &self.judgement.inputs,
            proofs: self.asked.log.as_ref(),
        };
        let policy = (&self.rules.policy, self.rules.digest);
        logged::against(desk, policy, counted, self.now)
    }

    /// For the log.
    fn tell(&self) {
        let nevra = &self.package.nevra;
        for waived in &self.judgement.waived {
            tracing::warn!(
                package.nevra = %nevra,
                alarm = "waived",
                "ALARM: {nevra} goes out although {}: {} (waiver {})",
                waived.finding,
                waived.why,
                waived.waiver
            );
        }
        tracing::info!(
            package.nevra = %nevra,
            package.header = %self.package.header_digest,
            "signed {nevra}"
        );
    }
}

/// All that a signed package is answered with.
struct Work {
    /// Over the main header, and whose.
    signatures: Vec<HeaderSignature>,
    signature_header: Vec<u8>,
    signed_head: FileDigest,
    summary: Envelope,
    sbom_statement: Envelope,
}

impl Work {
    fn into_response(self) -> Response {
        Response::PackageSigned {
            signature_header: Base64(self.signature_header),
            summary: self.summary,
            sbom_statement: self.sbom_statement,
        }
    }
}

/// Makes signature and statements; nothing of it may leave before it is recorded. `Ok(Err)`: the
/// package takes no signature.
fn make(desk: &Desk, case: &Case<'_>) -> Result<Result<Work, String>, DeskError> {
    let (head, now) = (case.evidence.head, case.now);
    let (made, signatures) = header_signatures(desk, head, case.package.header_digest, now)?;
    let signature_header = match with_openpgp(head, &signatures) {
        Ok(header) => header,
        Err(error) => return Ok(Err(format!("the signature header: {error}"))),
    };
    let signed_head = [head.lead(), &signature_header, head.main_bytes()].concat();
    check_own_work(desk, &signed_head, head)?;
    let judge = Judge {
        verifier_id: &desk.config.verifier_id,
        policy: &case.rules.policy,
        policy_digest: case.rules.digest,
    };
    let (package, key) = (&case.package, &*desk.keys.quick_statement);
    let summary = summary::verification_summary(judge, package, &case.judgement, now);
    Ok(Ok(Work {
        signatures: made,
        signature_header,
        signed_head: FileDigest::of(&signed_head),
        summary: summary.sign(key)?,
        sbom_statement: summary::sbom_reference(judge, package, case.evidence.sboms).sign(key)?,
    }))
}

/// The last look and the record are one step: no other request comes between them. Wait for the disk. `None`:
/// another request was recorded meanwhile that matters here, so the work must be done again.
fn record(desk: &Desk, case: &mut Case<'_>, work: &Work) -> Result<Option<Written>, DeskError> {
    let mut ledger = desk.ledger()?;
    let counted = case.judgement.inputs.len();
    let hold = case.objections(&ledger.index);
    // A waiver that counts only now was not looked up in the log.
    if !hold.is_empty() || case.judgement.inputs.len() != counted {
        return Ok(None);
    }
    let header = case.package.header_digest;
    for made in &work.signatures {
        let first = ledger.index.signature(header, &made.key);
        if first.is_some_and(|first| first != made.packet.0) {
            return Ok(None);
        }
    }
    let event = Event::PackageSigned {
        request: case.asked.request,
        repo: case.asked.repo.clone(),
        header,
        nevra: case.package.nevra.clone(),
        policy: case.rules.digest,
        inputs: case.judgement.inputs.clone(),
        confirmed_by: case.judgement.confirmed_by.clone(),
        waived: case.judgement.waived.clone(),
        log_size: logged::size(&case.rules.policy, case.asked.log.as_ref()),
        signed_head: work.signed_head,
        summary: FileDigest::of(&work.summary.to_json()),
        sbom_statement: FileDigest::of(&work.sbom_statement.to_json()),
        signatures: work.signatures.clone(),
    };
    Ok(Some(ledger.record(case.now, event)?))
}

/// One signature for each of the certificates that clients check headers with: what the key made before,
/// or a new one.
fn header_signatures(
    desk: &Desk,
    head: &Head,
    header: HeaderDigest,
    now: Timestamp,
) -> Result<(Vec<HeaderSignature>, Vec<OpenPgpSignature>), DeskError> {
    let before = |key: &str| -> Result<Option<Vec<u8>>, DeskError> {
        let ledger = desk.ledger()?;
        Ok(ledger.index.signature(header, key).map(<[u8]>::to_vec))
    };
    let main = head.main_bytes();
    let (mut made, mut signatures) = (Vec::new(), Vec::new());
    let mut add = |key: String, packet: Vec<u8>, legacy| {
        signatures.push(OpenPgpSignature {
            packet: packet.clone(),
            legacy,
        });
        let packet = Base64(packet);
        made.push(HeaderSignature { key, packet });
    };
    let key = &desk.keys.package;
    let packet = match before(&key.fingerprint())? {
        Some(packet) => packet,
        // `check_own_work` reads it back.
        None => key.sign_unchecked(main, now)?,
    };
    add(key.fingerprint(), packet, Some(key.slot()));
    if let (PostQuantum::Embedded, Some(keys)) = (desk.config.post_quantum, &desk.keys.post_quantum)
    {
        let key = &keys.package;
        let packet = match before(&key.fingerprint())? {
            Some(packet) => packet,
            None => key.sign(main, now)?,
        };
        add(key.fingerprint(), packet, None);
    }
    Ok((made, signatures))
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
