//! What the journal says, in memory: which packages were signed, for which repository, with what, and the
//! last release.
//!
//! Names and versions are compared within a repository. What was signed before requests named one counts in
//! all of them: an update of the signer must not make it forget what is out.

use crate::journal::{Event, PolicyInUse, Record};
use crate::unlogged::Unlogged;
use repo_model::dsse::EnvelopeSignature;
use repo_model::log::NodeHash;
use repo_model::policy::{OlderVersions, Policy, Reason};
use repo_model::wire::signer::LastRelease;
use repo_model::{
    ChannelName, Evr, FileDigest, HeaderDigest, Nevra, ReleaseId, RepoName, Timestamp,
};
use std::collections::{BTreeMap, HashMap};

/// Heads of the log that proofs may lead to: a server proves to the newest that witnesses have seen.
const MAX_HEADS: usize = 4_096;

/// What was signed for one header. More than one of each when a request was sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPackage {
    /// Name for people.
    pub nevra: Nevra,
    /// What it was signed for.
    scopes: Vec<Scope>,
    /// Digests of lead + signature header + main header as signed.
    pub signed_heads: Vec<FileDigest>,
    /// Digests of the summaries' envelopes.
    pub summaries: Vec<FileDigest>,
    /// Digests of the whole files that were signed detached.
    pub signed_files: Vec<FileDigest>,
    /// The signature over the header that each key made: its fingerprint, and the packet. A key signs
    /// a header once; whoever asks again gets the same bytes.
    pub signatures: Vec<(String, Vec<u8>)>,
}

impl SignedPackage {
    /// Whether a release may list it in this repository.
    pub fn is_for(&self, repo: &RepoName) -> bool {
        self.scopes.iter().any(|scope| meet(scope, Some(repo)))
    }
}

/// A repository, or all of them.
type Scope = Option<RepoName>;

/// Whether what is signed for the one stands beside what is signed for the other.
fn meet(scope: &Scope, other: Option<&RepoName>) -> bool {
    match (scope, other) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

/// Everything the signer remembers. Built by [`Index::note`] from the journal's records alone, at
/// start and after each append, so both ways give the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    packages: HashMap<HeaderDigest, SignedPackage>,
    /// Highest version signed for each scope, by name and architecture.
    highest: HashMap<(String, String), Vec<(Scope, Evr)>>,
    /// The last header signed under each NEVRA for each scope.
    nevras: HashMap<String, Vec<(Scope, HeaderDigest)>>,
    last_release: Option<LastRelease>,
    /// Of its envelope; none in records from before they were kept.
    release_signatures: Vec<EnvelopeSignature>,
    /// Root by entries of the log's heads that were signed last, at most [`MAX_HEADS`].
    heads: BTreeMap<u64, NodeHash>,
    /// The newest release that each channel was said to be at.
    freshest: BTreeMap<ChannelName, ReleaseId>,
    /// The policy that was used last: none that goes back is ever used.
    policy: Option<PolicyInUse>,
    /// What was signed and not shown to be in the log yet.
    unlogged: Unlogged,
    /// The latest time of a record since the last start.
    latest: Option<Timestamp>,
}

impl Index {
    /// Takes in one record.
    pub fn note(&mut self, record: &Record) {
        self.latest = match &record.event {
            // A start is only recorded when the clock was right, or an operator says so.
            Event::Started { .. } => Some(record.time),
            _ => self.latest.max(Some(record.time)),
        };
        self.unlogged.note(record);
        match &record.event {
            Event::Started { policy, .. } | Event::PolicyRead { policy } => {
                self.policy = Some(policy.clone());
            }
            Event::PackageSigned { .. } => self.note_package(&record.event),
            Event::FileSigned { header, file, .. } => {
                if let Some(package) = self.packages.get_mut(header) {
                    add(&mut package.signed_files, file);
                }
            }
            Event::ReleaseSigned {
                id,
                issued,
                document,
                envelope,
                signatures,
                ..
            } => {
                self.release_signatures.clone_from(signatures);
                self.last_release = Some(LastRelease {
                    id: *id,
                    issued: *issued,
                    document: *document,
                    envelope: *envelope,
                });
            }
            Event::CheckpointSigned { size, root } => {
                self.heads.insert(*size, *root);
                if self.heads.len() > MAX_HEADS {
                    self.heads.pop_first();
                }
            }
            Event::FreshnessSigned {
                channel, release, ..
            } => {
                let newest = self.freshest.entry(channel.clone()).or_insert(*release);
                *newest = (*newest).max(*release);
            }
            Event::CheckpointRefused { .. }
            | Event::Announced { .. }
            | Event::SignaturesSaid { .. }
            | Event::SignaturesShown { .. }
            | Event::FreshnessRefused { .. }
            | Event::SightingsSigned { .. }
            | Event::SightingsRefused { .. }
            | Event::KeyChanged { .. }
            | Event::PackageRefused { .. }
            | Event::LimitReached { .. }
            | Event::FileRefused { .. }
            | Event::ReleaseRefused { .. } => {}
        }
    }

    /// What was signed for this header.
    pub fn package(&self, header: HeaderDigest) -> Option<&SignedPackage> {
        self.packages.get(&header)
    }

    /// The signature that the key made over this header, if it did.
    pub fn signature(&self, header: HeaderDigest, key: &str) -> Option<&[u8]> {
        let made = self.packages.get(&header)?.signatures.iter();
        let mut made = made.filter(|(fingerprint, _)| fingerprint == key);
        made.next().map(|(_, packet)| packet.as_slice())
    }

    /// What speaks against a package beside what was signed before for the same repository: other bytes
    /// have its name, or it is older than what is out. One that was signed for it already may be signed
    /// again: its answer may have been lost. The revoked bytes of a name do not keep it taken.
    ///
    /// * `repo`: none: a package for every repository, so all that was ever signed stands beside it.
    pub fn objection(
        &self,
        policy: &Policy,
        repo: Option<&RepoName>,
        nevra: &Nevra,
        header: HeaderDigest,
    ) -> Option<Reason> {
        if self.was_signed_for(repo, header) {
            return None;
        }
        let revoked = |signed: HeaderDigest| {
            let mut all = policy.revoked.iter();
            all.any(|revoked| revoked.header_sha256 == signed)
        };
        let namesakes = self.nevras.get(&nevra.to_string()).into_iter().flatten();
        let mut taken = namesakes
            .filter(|(scope, _)| meet(scope, repo))
            .filter(|(_, signed)| *signed != header && !revoked(*signed));
        if let Some((_, signed)) = taken.next() {
            return Some(Reason::NevraTaken { signed: *signed });
        }
        if policy.older_versions == OlderVersions::Allow {
            return None;
        }
        let id = (nevra.name.clone(), nevra.arch.clone());
        let signed = self.highest.get(&id).into_iter().flatten();
        let beside = signed.filter(|(scope, _)| meet(scope, repo));
        let highest = beside.map(|(_, evr)| evr).max();
        let highest = highest.filter(|highest| nevra.evr < **highest)?;
        Some(Reason::OlderVersion {
            signed: highest.to_string(),
            found: nevra.evr.to_string(),
        })
    }

    /// Whether the header was signed for this very scope, or for one that has it in it.
    fn was_signed_for(&self, repo: Option<&RepoName>, header: HeaderDigest) -> bool {
        let scopes = self.packages.get(&header).map(|package| &package.scopes);
        let mut scopes = scopes.into_iter().flatten();
        scopes.any(|scope| scope.is_none() || scope.as_ref() == repo)
    }

    /// The last release signed.
    pub fn last_release(&self) -> Option<LastRelease> {
        self.last_release
    }

    /// The signatures of the last release's envelope, with its digest, if that is the one with this document.
    pub fn release_again(
        &self,
        document: FileDigest,
    ) -> Option<(FileDigest, &[EnvelopeSignature])> {
        let last = self.last_release.filter(|last| last.document == document)?;
        Some((last.envelope, &self.release_signatures))
    }

    /// Entries and root of the last checkpoint signed; none when none was.
    pub fn last_checkpoint(&self) -> Option<(u64, NodeHash)> {
        let last = self.heads.last_key_value();
        last.map(|(size, root)| (*size, *root))
    }

    /// The root of the head of the log with so many entries, if it is one of the last that were signed.
    pub fn head(&self, size: u64) -> Option<NodeHash> {
        self.heads.get(&size).copied()
    }

    /// The newest release that a channel was said to be at; none when nothing was said of it.
    pub fn freshest(&self, channel: &ChannelName) -> Option<ReleaseId> {
        self.freshest.get(channel).copied()
    }

    /// What was signed and not shown to be in the log yet.
    pub fn unlogged(&self) -> &Unlogged {
        &self.unlogged
    }

    /// The policy that was used last, which is the newest that was ever used.
    pub fn policy(&self) -> Option<&PolicyInUse> {
        self.policy.as_ref()
    }

    /// The latest time of a record since the last start; the clock may not be far behind it.
    pub fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// How many packages were signed.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    fn note_package(&mut self, event: &Event) {
        let Event::PackageSigned {
            repo,
            header,
            nevra,
            signed_head,
            summary,
            signatures,
            ..
        } = event
        else {
            return;
        };
        let package = self
            .packages
            .entry(*header)
            .or_insert_with(|| SignedPackage {
                nevra: nevra.clone(),
                scopes: Vec::with_capacity(1),
                signed_heads: Vec::with_capacity(1),
                summaries: Vec::with_capacity(1),
                signed_files: Vec::new(),
                signatures: Vec::with_capacity(1),
            });
        add(&mut package.scopes, repo);
        add(&mut package.signed_heads, signed_head);
        add(&mut package.summaries, summary);
        for made in signatures {
            if package.signatures.iter().all(|(key, _)| *key != made.key) {
                let packet = made.packet.0.clone();
                package.signatures.push((made.key.clone(), packet));
            }
        }
        let namesakes = self.nevras.entry(nevra.to_string()).or_default();
        *of_scope(namesakes, repo, header) = *header;
        let id = (nevra.name.clone(), nevra.arch.clone());
        let signed = self.highest.entry(id).or_default();
        let highest = of_scope(signed, repo, &nevra.evr);
        if *highest < nevra.evr {
            highest.clone_from(&nevra.evr);
        }
    }
}

fn add<T: Clone + PartialEq>(all: &mut Vec<T>, one: &T) {
    if !all.contains(one) {
        all.push(one.clone());
    }
}

/// The entry of a scope, which begins with `first`.
fn of_scope<'a, T: Clone>(all: &'a mut Vec<(Scope, T)>, scope: &Scope, first: &T) -> &'a mut T {
    let found = all.iter().position(|(known, _)| known == scope);
    let index = found.unwrap_or_else(|| {
        all.push((scope.clone(), first.clone()));
        all.len() - 1
    });
    &mut all[index].1
}
