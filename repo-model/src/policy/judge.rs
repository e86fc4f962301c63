//! The judgement itself. Which rebuilds count is told in `voices`.

use super::voices::{Count, Voices};
use super::{
    Decision, Dissent, Evidence, Judgement, KeyHolder, MadeFrom, Policy, Reason, begins_with_one,
    waivers,
};
use crate::rpm::{Head, Package, lint, tag};
use crate::statement::{self, Provenance, Statement};
use crate::verdict::Verdict;
use crate::{FileDigest, HeaderDigest, OperatorName, Timestamp, sbom_facts};
use std::collections::BTreeSet;

/// Judges one package: the same input gives the same judgement, everywhere.
///
/// Only statements that verify with a key of the policy count, one voice a key, none of them of the
/// operator that built the package, all of them about one source package and one buildinfo: those of
/// the provenance when there is one. `now` is compared with the statements' own times when the policy
/// limits their age.
pub fn judge(policy: &Policy, evidence: &Evidence<'_>, now: Timestamp) -> Judgement {
    let header = evidence.head.header_digest();
    let package = Package::from_head(evidence.head).ok();
    let mut hold: Vec<Reason> = package
        .iter()
        .filter_map(|package| out_of_scope(policy, package))
        .collect();
    let mut notes = Vec::new();
    let mut inputs = Vec::new();

    let reject = rejections(policy, evidence.head);
    missing_sboms(policy, evidence.sboms, header, &mut hold, &mut inputs);
    let origins = origins(policy, evidence, header, now);
    inputs.extend(origins.iter().map(|origin| origin.envelope));
    if policy.require_provenance && origins.is_empty() {
        hold.push(Reason::ProvenanceMissing);
    }
    let source_name = package.as_ref().map(source_name).unwrap_or_default();
    let voices = Voices::hear(policy, evidence, &name_of(evidence.head), now);
    let count = voices.count(policy, &origins, &source_name);
    inputs.extend(&count.inputs);
    match policy.dissent {
        Dissent::Hold => hold.extend(count.objections.clone()),
        Dissent::Note => notes.extend(count.objections.clone()),
    }
    hold.extend(shortfall(policy, &count));
    let waived = waivers::set_aside(policy, evidence.envelopes, header, now, &mut hold);
    waivers::count_in(&mut inputs, &waived);
    // Under `note` a dissent explains a shortfall: show it with the reasons then.
    if !hold.is_empty() {
        hold.append(&mut notes);
    }
    let decision = match (reject.is_empty(), hold.is_empty()) {
        (false, _) => Decision::Reject(reject),
        (true, false) => Decision::Hold(hold),
        (true, true) => Decision::Release,
    };
    let mut seen = BTreeSet::new();
    inputs.retain(|input| seen.insert(*input));
    Judgement {
        decision,
        confirmed_by: count.confirmed_by,
        made_from: count
            .made_from
            .or_else(|| origins.first().map(|origin| origin.made_from)),
        inputs,
        notes,
        waived,
    }
}

/// Why the package can never be signed, whatever evidence there is; empty: it can. Needs its head only.
pub fn rejections(policy: &Policy, head: &Head) -> Vec<Reason> {
    let header = head.header_digest();
    let revoked = policy
        .revoked
        .iter()
        .filter(|revocation| revocation.header_sha256 == header)
        .map(|revocation| Reason::Revoked {
            reason: revocation.reason.clone(),
        });
    let unfit: Vec<_> = match Package::from_head(head) {
        Ok(package) => lint(head, &package)
            .into_iter()
            .filter(|finding| finding.is_error())
            .map(|finding| Reason::Lint {
                finding: finding.code.to_owned(),
                message: finding.message,
            })
            .collect(),
        Err(error) => vec![Reason::Lint {
            finding: "unreadable-header".to_owned(),
            message: error.to_string(),
        }],
    };
    revoked.chain(unfit).collect()
}

/// Another policy may cover it: the package is held, not rejected.
fn out_of_scope(policy: &Policy, package: &Package) -> Option<Reason> {
    let (name, arch) = (&package.nevra.name, &package.nevra.arch);
    let inside = begins_with_one(name, &policy.name_prefixes)
        && (policy.arches.is_empty() || policy.arches.contains(arch));
    (!inside).then(|| Reason::OutOfScope {
        name: name.clone(),
        arch: arch.clone(),
    })
}

/// The package's name; empty when the header has none, which is refused elsewhere.
fn name_of(head: &Head) -> String {
    let name = head.main().string(tag::NAME).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The source package's name, from SOURCERPM: `NAME-VERSION-RELEASE.src.rpm`.
fn source_name(package: &Package) -> String {
    let file = package.source_rpm.as_deref().unwrap_or_default();
    let mut parts = file.rsplitn(3, '-');
    let name = parts.nth(2).unwrap_or(&package.nevra.name);
    name.to_owned()
}

fn missing_sboms(
    policy: &Policy,
    sboms: &[Vec<u8>],
    header: HeaderDigest,
    hold: &mut Vec<Reason>,
    inputs: &mut Vec<FileDigest>,
) {
    let mut found = BTreeSet::new();
    for document in sboms {
        let Ok(facts) = sbom_facts::read(document) else {
            continue;
        };
        if facts.header_digest == header {
            inputs.push(FileDigest::of(document));
            found.insert(facts.format);
        }
    }
    let missing = policy
        .sbom_formats
        .iter()
        .filter(|format| !found.contains(*format));
    hold.extend(missing.map(|format| Reason::SbomMissing {
        format: format.clone(),
    }));
}

/// What one known builder's provenance says about this package.
#[derive(Debug)]
pub(super) struct Origin {
    /// Who runs the builder.
    pub operator: OperatorName,
    /// What it was made from.
    pub made_from: MadeFrom,
    /// Digest of the envelope.
    pub envelope: FileDigest,
}

/// Provenance of known builders that names this package, its source package and its buildinfo.
fn origins(
    policy: &Policy,
    evidence: &Evidence<'_>,
    header: HeaderDigest,
    now: Timestamp,
) -> Vec<Origin> {
    let name = name_of(evidence.head);
    let mut origins = Vec::new();
    for envelope in evidence.envelopes {
        let claimed = Statement::<Provenance>::open_unverified(envelope, statement::PROVENANCE);
        if !claimed.is_ok_and(|claimed| claimed.is_about(header)) {
            continue;
        }
        for holder in policy.builders.iter().filter(|holder| holder.covers(&name)) {
            let opened = Statement::<Provenance>::open(
                envelope,
                &holder.statement_key,
                statement::PROVENANCE,
            );
            let Ok(found) = opened else { continue };
            let finished = found.predicate.run_details.metadata.finished_on;
            if let Some(made_from) = found.predicate.made_from()
                && fresh(policy, finished, now)
            {
                origins.push(Origin {
                    operator: holder.operator.clone(),
                    made_from,
                    envelope: FileDigest::of(&envelope.to_json()),
                });
            }
        }
    }
    origins
}

pub(super) fn fresh(policy: &Policy, said_at: Timestamp, now: Timestamp) -> bool {
    let Some(days) = policy.max_evidence_age_days else {
        return true;
    };
    said_at.plus_secs(i64::from(days) * 86_400) >= now && !said_at.is_to_come(now)
}

/// What a rebuild that does not confirm the package says against it.
pub(super) fn objection(holder: &KeyHolder, rebuild: &statement::Rebuild) -> Option<Reason> {
    let verdict = rebuild.worst();
    match verdict {
        Verdict::Identical | Verdict::IdenticalUnsigned | Verdict::InfraFailed => None,
        Verdict::BuildFailed => Some(Reason::BuildFailed {
            rebuilder: holder.name.clone(),
        }),
        Verdict::SameContent | Verdict::SameFiles | Verdict::Differs | Verdict::SetDiffers => {
            Some(Reason::RebuildDiffers {
                rebuilder: holder.name.clone(),
                verdict,
                causes: rebuild.causes.clone(),
            })
        }
    }
}

fn shortfall(policy: &Policy, count: &Count) -> Vec<Reason> {
    let operators: BTreeSet<_> = count
        .confirmed_by
        .iter()
        .map(|(_, operator)| operator)
        .collect();
    let have = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut reasons = Vec::new();
    if have(count.confirmed_by.len()) < policy.min_rebuilders {
        reasons.push(Reason::RebuildsMissing {
            have: have(count.confirmed_by.len()),
            want: policy.min_rebuilders,
        });
    }
    if have(operators.len()) < policy.min_operators {
        reasons.push(Reason::OperatorsMissing {
            have: have(operators.len()),
            want: policy.min_operators,
        });
    }
    // Confirmations that do not count explain what is missing, and nothing else.
    if !reasons.is_empty() {
        reasons.extend(count.discounted.clone());
    } else if policy.demands_plain() && policy.min_rebuilders > 0 && !count.one_is_plain {
        reasons.push(Reason::PlainMissing);
    }
    reasons
}
