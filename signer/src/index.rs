//! What the journal says, in memory: which packages were signed, with what, and the last release.

use crate::journal::{Event, PolicyInUse, Record};
use repo_model::policy::Reason;
use repo_model::{Evr, FileDigest, HeaderDigest, Nevra, ReleaseId, Timestamp};
use std::collections::HashMap;

/// What was signed for one header. More than one of each when a request was sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPackage {
    /// Name for people.
    pub nevra: Nevra,
    /// Digests of lead + signature header + main header as signed.
    pub signed_heads: Vec<FileDigest>,
    /// Digests of the summaries' envelopes.
    pub summaries: Vec<FileDigest>,
}

/// The last release that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRelease {
    /// Its number.
    pub id: ReleaseId,
    /// Its publish instant.
    pub issued: Timestamp,
    /// SHA-256 of its document.
    pub document: FileDigest,
    /// SHA-256 of its envelope.
    pub envelope: FileDigest,
}

/// Everything the signer remembers. Built by [`Index::note`] from the journal's records alone, at
/// start and after each append, so both ways give the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    packages: HashMap<HeaderDigest, SignedPackage>,
    /// Highest version signed, by name and architecture.
    highest: HashMap<(String, String), Evr>,
    last_release: Option<SignedRelease>,
    /// The policy that was used last: none that goes back is ever used.
    policy: Option<PolicyInUse>,
}

impl Index {
    /// Takes in one record.
    pub fn note(&mut self, record: &Record) {
        match &record.event {
            Event::Started { policy, .. } | Event::PolicyRead { policy } => {
                self.policy = Some(policy.clone());
            }
            Event::PackageSigned {
                header,
                nevra,
                signed_head,
                summary,
                ..
            } => {
                let package = self
                    .packages
                    .entry(*header)
                    .or_insert_with(|| SignedPackage {
                        nevra: nevra.clone(),
                        signed_heads: Vec::with_capacity(1),
                        summaries: Vec::with_capacity(1),
                    });
                package.signed_heads.push(*signed_head);
                package.summaries.push(*summary);
                let id = (nevra.name.clone(), nevra.arch.clone());
                let highest = self.highest.entry(id).or_insert_with(|| nevra.evr.clone());
                if *highest < nevra.evr {
                    *highest = nevra.evr.clone();
                }
            }
            Event::ReleaseSigned {
                id,
                issued,
                document,
                envelope,
                ..
            } => {
                self.last_release = Some(SignedRelease {
                    id: *id,
                    issued: *issued,
                    document: *document,
                    envelope: *envelope,
                });
            }
            Event::PackageRefused { .. }
            | Event::LimitReached { .. }
            | Event::FileSigned { .. }
            | Event::FileRefused { .. }
            | Event::ReleaseRefused { .. } => {}
        }
    }

    /// What was signed for this header.
    pub fn package(&self, header: HeaderDigest) -> Option<&SignedPackage> {
        self.packages.get(&header)
    }

    /// Why this package is too old: a higher version of its name and architecture was signed. A
    /// package that was signed already may be signed again: its answer may have been lost.
    pub fn objection(&self, nevra: &Nevra, header: HeaderDigest) -> Option<Reason> {
        let highest = self
            .highest
            .get(&(nevra.name.clone(), nevra.arch.clone()))
            .filter(|highest| nevra.evr < **highest)?;
        let known = self.packages.contains_key(&header);
        (!known).then(|| Reason::OlderVersion {
            signed: highest.to_string(),
            found: nevra.evr.to_string(),
        })
    }

    /// The last release signed.
    pub fn last_release(&self) -> Option<SignedRelease> {
        self.last_release
    }

    /// The policy that was used last, which is the newest that was ever used.
    pub fn policy(&self) -> Option<&PolicyInUse> {
        self.policy.as_ref()
    }

    /// How many packages were signed.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }
}
