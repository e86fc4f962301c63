//! The chain behind a package, checked by whoever has it: evidence in, chain out.
//!
//! [`chain`] looks at raw evidence only, as [`crate::policy::judge`] does, and trusts nobody but the keys and
//! the policy in [`Trust`]: not the server that handed the evidence over, and not the signer's word alone.
//! The command, the monitor and the plug-ins of package managers all call it. It neither reads files nor the
//! clock, and checks no OpenPGP: what the OpenPGP check of the header said comes in as [`Signature`].

mod clock;
mod links;
mod log_place;
mod memo;
mod release;
#[cfg(test)]
mod tests;
mod witnesses;

pub use log_place::cosigned;
pub use memo::Memo;
pub use release::open_release;

use crate::bundle::Bundle;
use crate::dsse::{Envelope, StatementPublicKey};
use crate::log::{Note, VerifierKey, WitnessPolicy};
use crate::policy::Policy;
use crate::release::PackageListIndex;
use crate::rpm::{Head, Package};
use crate::statement::{Statement, VerificationSummary};
use crate::{FileDigest, HeaderDigest, Timestamp};
use serde::Serialize;
use std::fmt;
use std::sync::OnceLock;

/// Whom the reader trusts, by keys and rules that came another way than the evidence.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The signer's statement keys: of today and of the past.
    pub statement_keys: Vec<StatementPublicKey>,
    /// The transparency logs. Empty: none is asked for, and the chain says so.
    pub log_keys: Vec<VerifierKey>,
    /// Further keys of those logs: a head that one of them is named for must carry its signature too.
    pub log_cosigners: Vec<VerifierKey>,
    /// The reader's own witnesses and quorum; none: those of the policy.
    pub witnesses: Option<WitnessPolicy>,
    /// The policy that must hold, with the rebuilders' keys.
    pub policy: Policy,
    /// SHA-256 of its file.
    pub policy_digest: FileDigest,
    /// The newest release must not be older than this many days; none: its age is shown only.
    pub max_age_days: Option<u32>,
    /// Signatures that were found good while packages before were looked at.
    pub memo: Memo,
}

impl Trust {
    /// Who must have seen the head of the log, if anybody must.
    pub fn witness_policy(&self) -> Option<&WitnessPolicy> {
        let chosen = self.witnesses.as_ref().or(self.policy.witnesses.as_ref());
        chosen.filter(|policy| policy.demands_some())
    }
}

/// What the OpenPGP check of the header said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Every signature was made with a trusted certificate.
    Good {
        /// How many there are.
        signatures: usize,
    },
    /// There is none, or one that no trusted certificate made.
    Bad {
        /// Why, in words.
        why: String,
    },
    /// Nobody looked: the package manager has, when the package is installed.
    NotChecked {
        /// Why, in words.
        why: String,
    },
}

/// All that is known about one package. Nothing in it is trusted.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Lead, signature header and main header.
    pub head: &'a Head,
    /// SHA-256 of the whole file; none when only its header is at hand.
    pub file: Option<FileDigest>,
    /// Of the header.
    pub signature: Signature,
    /// The signer's statement about the whole file, with its place in the log.
    pub released: Option<&'a Bundle>,
    /// The signer's verification summary, with its place in the log.
    pub summary: Option<&'a Bundle>,
    /// Provenance, rebuilds with their commitments and reveals, waivers.
    pub envelopes: &'a [Envelope],
    /// SBOM documents as they are stored.
    pub sboms: &'a [Vec<u8>],
    /// A release that has the package.
    pub release: Option<&'a ReleaseEvidence>,
    /// The newest release that was seen.
    pub newest: Option<&'a Bundle>,
    /// The newest head of the log that was seen.
    pub checkpoint: Option<&'a Note>,
}

/// A release and what it lists.
#[derive(Debug, Clone)]
pub struct ReleaseEvidence {
    document: Bundle,
    lists: Vec<List>,
}

/// A package list that is at hand.
#[derive(Debug, Clone)]
struct List {
    /// Of all its bytes.
    digest: FileDigest,
    bytes: Vec<u8>,
    /// Made when a package is first looked for.
    index: OnceLock<PackageListIndex>,
}

impl ReleaseEvidence {
    /// The signed document with its place in the log, and the package lists that are at hand.
    pub fn new(document: Bundle, lists: Vec<Vec<u8>>) -> Self {
        let list = |bytes: Vec<u8>| List {
            digest: FileDigest::of(&bytes),
            bytes,
            index: OnceLock::new(),
        };
        Self {
            document,
            lists: lists.into_iter().map(list).collect(),
        }
    }

    /// The document.
    pub fn document(&self) -> &Bundle {
        &self.document
    }
}

/// Whether a link holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was checked and holds.
    Holds,
    /// It does not hold: the package is not what it should be, or nothing shows that it is.
    Broken,
    /// It was not asked for, or cannot be checked here; the chain holds without it.
    NotChecked,
}

/// One thing that must be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// `signature`, `file`, `provenance`, `rebuilds`, `sbom`, `policy`, `release`, `log`,
    /// `witnesses`, `freshness`.
    pub name: &'static str,
    /// Whether it is.
    pub outcome: Outcome,
    /// What was found, in a line.
    pub says: String,
    /// More: one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do when it is broken, or to have it checked where it could not be and should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Link {
    fn holds(name: &'static str, says: impl Into<String>) -> Self {
        Self::new(name, Outcome::Holds, says)
    }

    fn broken(name: &'static str, says: impl Into<String>, hint: &str) -> Self {
        Self {
            hint: Some(hint.to_owned()),
            ..Self::new(name, Outcome::Broken, says)
        }
    }

    fn not_checked(name: &'static str, says: impl Into<String>) -> Self {
        Self::new(name, Outcome::NotChecked, says)
    }

    fn new(name: &'static str, outcome: Outcome, says: impl Into<String>) -> Self {
        Self {
            name,
            outcome,
            says: printable(&says.into()),
            details: Vec::new(),
            hint: None,
        }
    }

    /// It could not be checked, and whoever reads of it can mend that.
    fn unchecked(name: &'static str, says: impl Into<String>, hint: &str) -> Self {
        Self {
            hint: Some(hint.to_owned()),
            ..Self::not_checked(name, says)
        }
    }

    fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details.iter().map(|line| printable(line)).collect();
        self
    }
}

/// The whole chain of one package, in the order in which it is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Name for people, by its header; the header's digest when it has no name.
    pub package: String,
    /// Identity.
    pub header: HeaderDigest,
    /// Each thing that must be true.
    pub links: Vec<Link>,
}

impl Chain {
    /// Whether no link is broken.
    pub fn holds(&self) -> bool {
        self.first_broken().is_none()
    }

    /// The first link that does not hold.
    pub fn first_broken(&self) -> Option<&Link> {
        self.links
            .iter()
            .find(|link| link.outcome == Outcome::Broken)
    }

    /// Links that ought to have been checked and could not be, though no rule of the reader's breaks by that: to be told
    /// also where nobody reads the chain.
    pub fn warnings(&self) -> impl Iterator<Item = &Link> {
        let unchecked = |link: &&Link| link.outcome == Outcome::NotChecked && link.hint.is_some();
        self.links.iter().filter(unchecked)
    }
}

/// Checks everything there is about one package.
///
/// `now` is compared with what is new only, the newest release, the summary and the witnesses' words, and none of it may be
/// to come: statements are judged at the time at which the signer judged them.
pub fn chain(trust: &Trust, evidence: &Evidence<'_>, now: Timestamp) -> Chain {
    let header = evidence.head.header_digest();
    let package = Package::from_head(evidence.head);
    let name = match &package {
        Ok(package) => package.nevra.to_string(),
        Err(_) => header.to_string(),
    };
    let summary = links::summary(trust, evidence);
    let judged = links::judged(trust, evidence, summary.as_ref().ok(), now);
    let links = vec![
        links::signature(evidence),
        links::file(trust, evidence),
        judged.provenance,
        judged.rebuilds,
        judged.sbom,
        links::policy(trust, evidence, &summary, &judged.decision),
        release::listed(trust, evidence),
        log_place::logged(trust, evidence),
        witnesses::witnessed(trust, evidence, now),
        release::fresh(trust, evidence, verified_at(&summary), now),
    ];
    Chain {
        package: name,
        header,
        links,
    }
}

/// When the signer judged the package.
fn verified_at(summary: &Result<Statement<VerificationSummary>, String>) -> Option<Timestamp> {
    let summary = summary.as_ref().ok()?;
    Some(summary.predicate.time_verified)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "ok",
            Self::Broken => "BROKEN",
            Self::NotChecked => "-",
        })
    }
}

impl fmt::Display for Chain {
    /// A tree of the links, then one line that says what they come to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}  header {}",
            self.package,
            short(&self.header.to_hex())
        )?;
        for (index, link) in self.links.iter().enumerate() {
            let last = index + 1 == self.links.len();
            let (branch, stem) = if last {
                ("└─", "  ")
            } else {
                ("├─", "│ ")
            };
            writeln!(
                f,
                "{branch} {:6}  {:10}  {}",
                link.outcome, link.name, link.says
            )?;
            for detail in &link.details {
                writeln!(f, "{stem}                     {detail}")?;
            }
        }
        match self.first_broken() {
            None => {
                for link in self.warnings() {
                    writeln!(f, "warning: {}: {}", link.name, link.says)?;
                    writeln!(f, "hint: {}", link.hint.as_deref().unwrap_or_default())?;
                }
                writeln!(f, "{}: the policy holds", self.package)
            }
            Some(link) => {
                writeln!(
                    f,
                    "{}: {} is broken: {}",
                    self.package, link.name, link.says
                )?;
                match &link.hint {
                    Some(hint) => writeln!(f, "hint: {hint}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Words of statements that nobody has verified must not steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The beginning of a digest, for people.
fn short(digest: &str) -> String {
    format!("{}…", digest.get(..16).unwrap_or(digest))
}
