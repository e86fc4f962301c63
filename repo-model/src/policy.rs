//! The policy and its judgement: one pure function that the server and the signer both run.
//!
//! [`judge`] looks at raw evidence only: the package's own head, envelopes as they were signed, SBOM
//! documents as they are stored. It trusts no summary of them.

pub mod waivers;

use self::waivers::{Waived, WaiverSigner};
use crate::dsse::{Envelope, StatementPublicKey};
use crate::rpm::{Head, Package, lint, tag};
use crate::statement::{self, Provenance, Rebuild, Statement};
use crate::verdict::{Cause, Verdict};
use crate::{FileDigest, HeaderDigest, OperatorName, Timestamp, WorkerName, sbom_facts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a repository demands before a package is signed. TOML on disk; its digest is in every
/// verification summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Grows with every change; the signer refuses an older one than it has used.
    pub version: u64,
    /// How many distinct rebuilder keys must confirm a package bit for bit.
    pub min_rebuilders: u32,
    /// How many distinct operators those keys must belong to.
    pub min_operators: u32,
    /// What a verified rebuild that differs does when enough others agree.
    #[serde(default)]
    pub dissent: Dissent,
    /// SBOM formats that must exist: `cyclonedx-1.6`, `spdx-2.3`.
    pub sbom_formats: BTreeSet<String>,
    /// Whether a builder's signed provenance must name the package.
    #[serde(default)]
    pub require_provenance: bool,
    /// Statements older than this many days do not count; none: no limit.
    #[serde(default)]
    pub max_evidence_age_days: Option<u32>,
    /// What to do with a version lower than the highest signed before of the same name and
    /// architecture. The signer, which remembers, applies it; [`judge`] cannot.
    #[serde(default)]
    pub older_versions: OlderVersions,
    /// Beginnings of package names that may be signed; empty: every name.
    #[serde(default)]
    pub name_prefixes: Vec<String>,
    /// Architectures that may be signed, `noarch` and `src` included; empty: every one.
    #[serde(default)]
    pub arches: BTreeSet<String>,
    /// Builders whose provenance counts.
    #[serde(default)]
    pub builders: Vec<KeyHolder>,
    /// Rebuilders whose statements count.
    #[serde(default)]
    pub rebuilders: Vec<KeyHolder>,
    /// People of whom any two may set findings aside.
    #[serde(default)]
    pub waiver_signers: Vec<WaiverSigner>,
    /// Waivers that hold for longer do not count, days.
    #[serde(default = "default_waiver_days")]
    pub max_waiver_days: u32,
    /// Packages that must never be signed (again), whatever evidence there is.
    #[serde(default)]
    pub revoked: Vec<Revocation>,
}

fn default_waiver_days() -> u32 {
    90
}

/// What a verified rebuild that differs does when enough others agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dissent {
    /// The package is held until somebody looked at it.
    #[default]
    Hold,
    /// The package goes out; the statement stays visible beside it.
    Note,
}

/// What to do with a version lower than one that was signed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OlderVersions {
    /// The package is held: old versions have known holes, and an attacker likes to serve them.
    #[default]
    Hold,
    /// It is signed like any other: for several streams of one package in one repository.
    Allow,
}

/// A party whose statements count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyHolder {
    /// The worker's name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// P-256 public key, SPKI PEM.
    pub statement_key: StatementPublicKey,
    /// ed25519 public key of its requests, 64 hex digits (rebuilders only).
    #[serde(default)]
    pub request_key: Option<crate::wire::worker::RequestPublicKey>,
    /// Beginnings of the names of packages that its statements count for; empty: every package.
    #[serde(default)]
    pub name_prefixes: Vec<String>,
}

impl KeyHolder {
    /// Whether its statements about a package of this name count.
    fn covers(&self, name: &str) -> bool {
        begins_with_one(name, &self.name_prefixes)
    }
}

/// Whether `name` begins with one of `prefixes`, or there are none.
fn begins_with_one(name: &str, prefixes: &[String]) -> bool {
    prefixes.is_empty()
        || prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix.as_str()))
}

/// A package that must not be signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Which package.
    pub header_sha256: HeaderDigest,
    /// Why; shown to people.
    pub reason: String,
}

/// The policy file cannot be used. The operator's fault; correct the file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML of this shape.
    #[error("the policy does not parse")]
    Toml(#[source] toml::de::Error),
    /// It asks for what it makes impossible.
    #[error("the policy demands {wanted} {what} but lists only {listed}")]
    Impossible {
        /// `rebuilders` or `operators`.
        what: &'static str,
        /// Demanded.
        wanted: u32,
        /// Listed.
        listed: usize,
    },
    /// One key under two names would count twice.
    #[error("{first} and {second} have the same statement key")]
    SharedKey {
        /// One holder.
        first: WorkerName,
        /// The other.
        second: WorkerName,
    },
    /// Whoever waives must not be whoever is waived.
    #[error("the waiver key of {person} is listed as somebody else's key, too")]
    WaiverKey {
        /// Whose.
        person: OperatorName,
    },
}

impl Policy {
    /// Reads a policy and refuses one that contradicts itself.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(PolicyError::Toml)?;
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let mut seen: BTreeMap<String, &WorkerName> = BTreeMap::new();
        for holder in self.rebuilders.iter().chain(&self.builders) {
            if let Some(first) = seen.insert(holder.statement_key.key_id(), &holder.name) {
                return Err(PolicyError::SharedKey {
                    first: first.clone(),
                    second: holder.name.clone(),
                });
            }
        }
        let mut people: BTreeMap<String, &OperatorName> = BTreeMap::new();
        for signer in &self.waiver_signers {
            let key_id = signer.statement_key.key_id();
            if seen.contains_key(&key_id) || people.insert(key_id, &signer.person).is_some() {
                return Err(PolicyError::WaiverKey {
                    person: signer.person.clone(),
                });
            }
        }
        let operators: BTreeSet<_> = self.rebuilders.iter().map(|r| &r.operator).collect();
        for (what, wanted, listed) in [
            ("rebuilders", self.min_rebuilders, self.rebuilders.len()),
            ("operators", self.min_operators, operators.len()),
        ] {
            if wanted as usize > listed {
                return Err(PolicyError::Impossible {
                    what,
                    wanted,
                    listed,
                });
            }
        }
        Ok(())
    }

    /// The rebuilder of this name.
    pub fn rebuilder(&self, name: &WorkerName) -> Option<&KeyHolder> {
        self.rebuilders.iter().find(|holder| &holder.name == name)
    }
}

/// All there is about one package, unverified.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Lead, signature header and main header of the package that would be signed.
    pub head: &'a Head,
    /// Envelopes: provenance, rebuilds and waivers, in any order; others are passed over.
    pub envelopes: &'a [Envelope],
    /// SBOM documents, raw.
    pub sboms: &'a [Vec<u8>],
}

/// The result of [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub decision: Decision,
    /// Rebuilders that confirmed the package, sorted.
    pub confirmed_by: Vec<(WorkerName, OperatorName)>,
    /// Digests of the envelopes and documents that counted, in the order given.
    pub inputs: Vec<FileDigest>,
    /// Remarks that do not change the decision.
    pub notes: Vec<Reason>,
    /// What would have held it, had not two people set it aside.
    pub waived: Vec<Waived>,
}

/// What to do with a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be signed.
    Release,
    /// Not now; more or other evidence may change that.
    Hold(Vec<Reason>),
    /// Never, with these bytes.
    Reject(Vec<Reason>),
}

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
        }
    }
}

/// Judges one package: the same input gives the same judgement, everywhere.
///
/// Only statements that verify with a key of the policy count, one voice a key, none of them the
/// key that signed the provenance. `now` is compared with the statements' own times when the policy
/// limits their age.
pub fn judge(policy: &Policy, evidence: &Evidence<'_>, now: Timestamp) -> Judgement {
    let header = evidence.head.header_digest();
    let mut hold = Vec::new();
    let mut notes = Vec::new();
    let mut inputs = Vec::new();

    let reject = rejections(policy, evidence.head, header);
    missing_sboms(policy, evidence.sboms, header, &mut hold, &mut inputs);
    let builder_key = provenance(policy, evidence, header, now, &mut inputs);
    if policy.require_provenance && builder_key.is_none() {
        hold.push(Reason::ProvenanceMissing);
    }
    let mut confirmed_by = Vec::new();
    for (holder, rebuild, digest) in rebuilds(policy, evidence, header, now) {
        if builder_key.as_ref() == Some(&holder.statement_key) {
            continue;
        }
        inputs.push(digest);
        if rebuild.verdict.confirms() {
            confirmed_by.push((holder.name.clone(), holder.operator.clone()));
        } else if let Some(reason) = objection(holder, rebuild) {
            match policy.dissent {
                Dissent::Hold => hold.push(reason),
                Dissent::Note => notes.push(reason),
            }
        }
    }
    confirmed_by.sort();
    hold.extend(shortfall(policy, &confirmed_by));
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
    Judgement {
        decision,
        confirmed_by,
        inputs,
        notes,
        waived,
    }
}

fn rejections(policy: &Policy, head: &Head, header: HeaderDigest) -> Vec<Reason> {
    let revoked = policy
        .revoked
        .iter()
        .filter(|revocation| revocation.header_sha256 == header)
        .map(|revocation| Reason::Revoked {
            reason: revocation.reason.clone(),
        });
    let unfit: Vec<_> = match Package::from_head(head) {
        Ok(package) => {
            let lint_errors = lint(head, &package)
                .into_iter()
                .filter(|finding| finding.is_error())
                .map(|finding| Reason::Lint {
                    finding: finding.code.to_owned(),
                    message: finding.message,
                });
            out_of_scope(policy, &package)
                .into_iter()
                .chain(lint_errors)
                .collect()
        }
        Err(error) => vec![Reason::Lint {
            finding: "unreadable-header".to_owned(),
            message: error.to_string(),
        }],
    };
    revoked.chain(unfit).collect()
}

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
fn name_of<'a>(evidence: &Evidence<'a>) -> std::borrow::Cow<'a, str> {
    let name = evidence.head.main().string(tag::NAME).unwrap_or_default();
    String::from_utf8_lossy(name)
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

/// The key of the builder whose provenance names this package.
fn provenance(
    policy: &Policy,
    evidence: &Evidence<'_>,
    header: HeaderDigest,
    now: Timestamp,
    inputs: &mut Vec<FileDigest>,
) -> Option<StatementPublicKey> {
    let name = name_of(evidence);
    for envelope in evidence.envelopes {
        for holder in policy.builders.iter().filter(|holder| holder.covers(&name)) {
            let opened = Statement::<Provenance>::open(
                envelope,
                &holder.statement_key,
                statement::PROVENANCE,
            );
            let Ok(found) = opened else { continue };
            let finished = found.predicate.run_details.metadata.finished_on;
            if found.is_about(header) && fresh(policy, finished, now) {
                inputs.push(FileDigest::of(&envelope.to_json()));
                return Some(holder.statement_key.clone());
            }
        }
    }
    None
}

/// The last verified rebuild of each rebuilder, in the policy's order.
fn rebuilds<'p>(
    policy: &'p Policy,
    evidence: &Evidence<'_>,
    header: HeaderDigest,
    now: Timestamp,
) -> Vec<(&'p KeyHolder, Rebuild, FileDigest)> {
    let mut out = Vec::new();
    let name = name_of(evidence);
    for holder in policy
        .rebuilders
        .iter()
        .filter(|holder| holder.covers(&name))
    {
        let mut latest: Option<(Rebuild, FileDigest)> = None;
        for envelope in evidence.envelopes {
            let opened =
                Statement::<Rebuild>::open(envelope, &holder.statement_key, statement::REBUILD);
            let Ok(found) = opened else { continue };
            let rebuild = found.predicate.clone();
            let newer = latest
                .as_ref()
                .is_none_or(|(old, _)| old.finished_on <= rebuild.finished_on);
            if found.is_about(header)
                && rebuild.rebuilder.id == holder.name
                && fresh(policy, rebuild.finished_on, now)
                && newer
            {
                latest = Some((rebuild, FileDigest::of(&envelope.to_json())));
            }
        }
        out.extend(latest.map(|(rebuild, digest)| (holder, rebuild, digest)));
    }
    out
}

/// Clocks of other machines may be a little ahead.
const CLOCK_SKEW_SECS: i64 = 600;

fn fresh(policy: &Policy, said_at: Timestamp, now: Timestamp) -> bool {
    let Some(days) = policy.max_evidence_age_days else {
        return true;
    };
    said_at.plus_secs(i64::from(days) * 86_400) >= now && said_at <= now.plus_secs(CLOCK_SKEW_SECS)
}

fn objection(holder: &KeyHolder, rebuild: Rebuild) -> Option<Reason> {
    match rebuild.verdict {
        Verdict::Identical | Verdict::IdenticalUnsigned | Verdict::InfraFailed => None,
        Verdict::BuildFailed => Some(Reason::BuildFailed {
            rebuilder: holder.name.clone(),
        }),
        Verdict::SameContent | Verdict::SameFiles | Verdict::Differs | Verdict::SetDiffers => {
            Some(Reason::RebuildDiffers {
                rebuilder: holder.name.clone(),
                verdict: rebuild.verdict,
                causes: rebuild.causes,
            })
        }
    }
}

fn shortfall(policy: &Policy, confirmed_by: &[(WorkerName, OperatorName)]) -> Vec<Reason> {
    let operators: BTreeSet<_> = confirmed_by.iter().map(|(_, operator)| operator).collect();
    let have = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut reasons = Vec::new();
    if have(confirmed_by.len()) < policy.min_rebuilders {
        reasons.push(Reason::RebuildsMissing {
            have: have(confirmed_by.len()),
            want: policy.min_rebuilders,
        });
    }
    if have(operators.len()) < policy.min_operators {
        reasons.push(Reason::OperatorsMissing {
            have: have(operators.len()),
            want: policy.min_operators,
        });
    }
    reasons
}
