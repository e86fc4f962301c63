//! The policy and its judgement: one pure function that the server and the signer both run.
//!
//! [`judge`] looks at raw evidence only: the package's own head, envelopes as they were signed, SBOM
//! documents as they are stored. It trusts no summary of them.

pub mod logged;
pub mod waivers;

mod check;
mod judge;
mod reason;
#[cfg(test)]
mod tests;
mod voices;

pub use check::PolicyError;
pub use judge::{judge, rejections};
pub use reason::Reason;

use self::waivers::{Waived, WaiverSigner};
use crate::dsse::{Envelope, StatementPublicKey};
use crate::log::WitnessPolicy;
use crate::rpm::Head;
use crate::{ChannelName, FileDigest, HeaderDigest, OperatorName, ReleaseId, WorkerName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// Whether only rebuilders count that committed themselves to their answers before anybody told
    /// one (see [`crate::sealed`]); none: when two or more rebuilders are demanded.
    #[serde(default)]
    pub commit_reveal: Option<bool>,
    /// Whether one of the rebuilds that count must have varied nothing; none: when two or more
    /// rebuilders are demanded.
    #[serde(default)]
    pub require_plain: Option<bool>,
    /// How often each rebuilder must make a package again, without a miss, that was seen to come out
    /// different and then the same; 2 to 10.
    #[serde(default = "default_flaky_runs")]
    pub flaky_runs: u32,
    /// Source packages that are known not to come out the same each time.
    #[serde(default)]
    pub flaky: Vec<FlakySource>,
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
    /// Whether each statement that counts must be shown to be in the log, under a head that the signer has
    /// signed (see [`logged`]). The signer, which has seen the log, applies it; [`judge`] cannot.
    #[serde(default = "default_require_log")]
    pub require_log: bool,
    /// So many minutes after a package was signed it must have been shown to the signer that its record is in the log:
    /// until then no other package is signed. 0: no limit. Only together with `require_log`; the signer, which
    /// remembers, applies it.
    #[serde(default = "default_log_within_minutes")]
    pub log_within_minutes: u32,
    /// Witnesses of the transparency log, and how many of them must have seen what is published: the text of
    /// a C2SP `tlog-policy`. None: nothing waits for a witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<WitnessPolicy>,
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
    /// Channels that were moved back on purpose. The signer, which remembers, applies it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved_back: Vec<MovedBack>,
}

fn default_require_log() -> bool {
    true
}

fn default_log_within_minutes() -> u32 {
    60
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

/// A source package that does not come out the same each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlakySource {
    /// Name of the source package.
    pub source: String,
    /// So many runs of each rebuilder must all confirm it; 2 to 10.
    pub runs: u32,
}

fn default_flaky_runs() -> u32 {
    3
}

impl KeyHolder {
    /// Whether its statements about a package of this name count.
    pub fn covers(&self, name: &str) -> bool {
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

/// A channel that was moved back on purpose: the older release may be called current, although a newer one was
/// before. It says nothing any more once the channel has moved on past that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedBack {
    /// The channel.
    pub channel: ChannelName,
    /// The newest release that was called current.
    pub from: ReleaseId,
    /// The release that it points to again.
    pub to: ReleaseId,
}

/// All there is about one package, unverified.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Lead, signature header and main header of the package that would be signed.
    pub head: &'a Head,
    /// Envelopes: provenance, rebuilds, their commitments and reveals, and waivers, in any order; others are
    /// passed over.
    pub envelopes: &'a [Envelope],
    /// SBOM documents, raw.
    pub sboms: &'a [Vec<u8>],
}

/// What a package was made from: statements about it are bound to this pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MadeFrom {
    /// The source package.
    pub source: FileDigest,
    /// The buildinfo.
    pub buildinfo: FileDigest,
}

/// The result of [`judge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub decision: Decision,
    /// Rebuilders that confirmed the package, sorted.
    pub confirmed_by: Vec<(WorkerName, OperatorName)>,
    /// What the package was made from by all that counted; none when nothing did.
    pub made_from: Option<MadeFrom>,
    /// Digests of the envelopes and documents that counted, each once.
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

impl Policy {
    /// The rebuilder of this name.
    pub fn rebuilder(&self, name: &WorkerName) -> Option<&KeyHolder> {
        self.rebuilders.iter().find(|holder| &holder.name == name)
    }

    /// Whether rebuilders must commit themselves before anybody tells an answer.
    pub fn demands_commitments(&self) -> bool {
        self.commit_reveal.unwrap_or(self.min_rebuilders >= 2)
    }

    /// Whether one of the rebuilds that count must be plain.
    pub fn demands_plain(&self) -> bool {
        self.require_plain.unwrap_or(self.min_rebuilders >= 2)
    }

    /// Whether a channel of which `from` was the newest current release may be called current at an older one.
    pub fn allows_back(&self, channel: &ChannelName, from: ReleaseId, to: ReleaseId) -> bool {
        let is_it =
            |back: &MovedBack| back.channel == *channel && back.from == from && back.to == to;
        self.moved_back.iter().any(is_it)
    }

    /// How many runs of each rebuilder must confirm packages of this source; `flaky`: whether they were
    /// seen to come out different and then the same.
    pub fn runs(&self, source_name: &str, flaky: bool) -> u32 {
        let listed = self
            .flaky
            .iter()
            .filter(|entry| entry.source == source_name)
            .map(|entry| entry.runs);
        let seen = flaky.then_some(self.flaky_runs);
        listed.chain(seen).max().unwrap_or(1)
    }
}
