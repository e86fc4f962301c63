//! What the journal says, in memory: which packages were signed, with what, and the last release.

use crate::journal::{Event, PolicyInUse, Record};
use repo_model::policy::{OlderVersions, Policy, Reason};
use repo_model::wire::signer::LastRelease;
use repo_model::{Evr, FileDigest, HeaderDigest, Nevra, Timestamp};
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
    /// Digests of the whole files that were signed detached.
    pub signed_files: Vec<FileDigest>,
    /// The signature over the header that each key made: its fingerprint, and the packet. A key signs
    /// a header once; whoever asks again gets the same bytes.
    pub signatures: Vec<(String, Vec<u8>)>,
}

/// Everything the signer remembers. Built by [`Index::note`] from the journal's records alone, at
/// start and after each append, so both ways give the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    packages: HashMap<HeaderDigest, SignedPackage>,
    /// Highest version signed, by name and architecture.
    highest: HashMap<(String, String), Evr>,
    /// The last header signed under each NEVRA.
    nevras: HashMap<String, HeaderDigest>,
    last_release: Option<LastRelease>,
    /// The policy that was used last: none that goes back is ever used.
    policy: Option<PolicyInUse>,
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
        match &record.event {
            Event::Started { policy, .. } | Event::PolicyRead { policy } => {
                self.policy = Some(policy.clone());
            }
            Event::PackageSigned { .. } => self.note_package(&record.event),
            Event::FileSigned { header, file, .. } => {
                if let Some(package) = self.packages.get_mut(header) {
                    add(&mut package.signed_files, *file);
                }
            }
            Event::ReleaseSigned {
                id,
                issued,
                document,
                envelope,
                ..
            } => {
                self.last_release = Some(LastRelease {
                    id: *id,
                    issued: *issued,
                    document: *document,
                    envelope: *envelope,
                });
            }
            Event::KeyChanged { .. }
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

    /// What speaks against a package beside what was signed before: other bytes have its name, or it is
    /// older than what is out. One that was signed already may be signed again: its answer may have been
    /// lost. The revoked bytes of a name do not keep it taken.
    pub fn objection(
        &self,
        policy: &Policy,
        nevra: &Nevra,
        header: HeaderDigest,
    ) -> Option<Reason> {
        if self.packages.contains_key(&header) {
            return None;
        }
        let revoked = |signed: HeaderDigest| {
            let mut all = policy.revoked.iter();
            all.any(|revoked| revoked.header_sha256 == signed)
        };
        if let Some(signed) = self
            .nevras
            .get(&nevra.to_string())
            .filter(|signed| !revoked(**signed))
        {
            return Some(Reason::NevraTaken { signed: *signed });
        }
        if policy.older_versions == OlderVersions::Allow {
            return None;
        }
        let highest = self
            .highest
            .get(&(nevra.name.clone(), nevra.arch.clone()))
            .filter(|highest| nevra.evr < **highest)?;
        Some(Reason::OlderVersion {
            signed: highest.to_string(),
            found: nevra.evr.to_string(),
        })
    }

    /// The last release signed.
    pub fn last_release(&self) -> Option<LastRelease> {
        self.last_release
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
                signed_heads: Vec::with_capacity(1),
                summaries: Vec::with_capacity(1),
                signed_files: Vec::new(),
                signatures: Vec::with_capacity(1),
            });
        add(&mut package.signed_heads, *signed_head);
        add(&mut package.summaries, *summary);
        for made in signatures {
            if package.signatures.iter().all(|(key, _)| *key != made.key) {
                let packet = made.packet.0.clone();
                package.signatures.push((made.key.clone(), packet));
            }
        }
        self.nevras.insert(nevra.to_string(), *header);
        let id = (nevra.name.clone(), nevra.arch.clone());
        let highest = self.highest.entry(id).or_insert_with(|| nevra.evr.clone());
        if *highest < nevra.evr {
            *highest = nevra.evr.clone();
        }
    }
}

fn add(all: &mut Vec<FileDigest>, one: FileDigest) {
    if !all.contains(&one) {
        all.push(one);
    }
}
