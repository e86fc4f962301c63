//! Watching a log for somebody else: what it said so far, and what must not be. Pure: whoever calls fetches.
//!
//! A monitor goes through every entry once. It keeps the right edge of the tree, so a log that forgets or
//! changes an entry is found out, and an index of what was said about which package, so a package that is served
//! and was never logged is found too.

use crate::dsse::{Envelope, StatementPublicKey};
use crate::log::{Checkpoint, Frontier, entry, entry_key, leaf_hash};
use crate::policy::waivers::WAIVER;
use crate::release::{ListedPackage, ReleaseDocument};
use crate::statement::{
    REBUILD, RELEASE, Rebuild, Statement, VSA, VerificationSummary, claimed_predicate_type,
};
use crate::{FileDigest, HeaderDigest, ReleaseId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a monitor remembers between two looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The log up to where it was read.
    pub frontier: Frontier,
    /// By file name: the headers that the signer let out under it. More than one is an alarm.
    pub names: BTreeMap<String, BTreeSet<HeaderDigest>>,
    /// By header: the summaries that are in the log.
    pub summaries: BTreeMap<HeaderDigest, BTreeSet<FileDigest>>,
    /// Releases that are in the log.
    pub releases: BTreeSet<FileDigest>,
}

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Finding {
    /// The head has fewer entries than it had.
    Shrunk {
        /// Before.
        before: u64,
        /// Now.
        now: u64,
    },
    /// The entries do not lead to the signed root: another history is shown than before, or to others.
    Forked {
        /// Entries of the head.
        size: u64,
    },
    /// The log shows no statement for an entry, or another one.
    Unexplained {
        /// The entry.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// The signer let two different packages out under one name.
    TwoPackages {
        /// `NAME-VERSION-RELEASE.ARCH.rpm`.
        name: String,
        /// The headers.
        headers: Vec<HeaderDigest>,
    },
    /// A release is served whose document is not in the log.
    ReleaseNotLogged {
        /// Which.
        release: ReleaseId,
    },
    /// A package is served that the log does not know.
    NotLogged {
        /// Which.
        nevra: String,
        /// Its header.
        header: HeaderDigest,
    },
    /// Nothing new was released for too long: somebody may hold releases back.
    Stale {
        /// The newest release.
        release: ReleaseId,
        /// Its publish instant.
        issued: Timestamp,
    },
    /// Two people set findings aside.
    Waiver {
        /// The entry.
        index: u64,
    },
    /// A rebuilder got something else.
    Differs {
        /// The entry.
        index: u64,
        /// Who.
        rebuilder: String,
        /// The file.
        name: String,
    },
}

impl Finding {
    /// Whether it must not be; the others are to be known only.
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::Shrunk { .. }
            | Self::Forked { .. }
            | Self::Unexplained { .. }
            | Self::TwoPackages { .. }
            | Self::ReleaseNotLogged { .. }
            | Self::NotLogged { .. }
            | Self::Stale { .. } => true,
            Self::Waiver { .. } | Self::Differs { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shrunk { before, now } => {
                write!(f, "the log has shrunk from {before} to {now} entries")
            }
            Self::Forked { size } => write!(
                f,
                "the log has forked: its entries do not lead to the root of the head over {size}"
            ),
            Self::Unexplained { index, why } => write!(f, "entry {index}: {why}"),
            Self::TwoPackages { name, headers } => {
                write!(f, "{} different packages are called {name}", headers.len())
            }
            Self::ReleaseNotLogged { release } => {
                write!(f, "release {release} is served and not in the log")
            }
            Self::NotLogged { nevra, header } => write!(
                f,
                "{nevra} (header {header}) is served, and the log has no summary of it"
            ),
            Self::Stale { release, issued } => {
                write!(f, "the newest release is {release} of {issued}")
            }
            Self::Waiver { index } => write!(f, "entry {index}: two people waived findings"),
            Self::Differs {
                index,
                rebuilder,
                name,
            } => write!(f, "entry {index}: {rebuilder} got another {name}"),
        }
    }
}

impl Memory {
    /// Whether the head can follow what was read before; asked before its entries are fetched.
    pub fn precedes(&self, head: &Checkpoint) -> Result<(), Finding> {
        let before = self.frontier.size();
        match head.size < before {
            true => Err(Finding::Shrunk {
                before,
                now: head.size,
            }),
            false => Ok(()),
        }
    }

    /// Takes the next entry in; `envelope`: what the log says that it is of.
    ///
    /// * `signer`: the signer's statement keys.
    pub fn take(
        &mut self,
        entry: &[u8],
        envelope: Option<&Envelope>,
        signer: &[StatementPublicKey],
    ) -> Vec<Finding> {
        let index = self.frontier.size();
        self.frontier.push(leaf_hash(entry));
        let unexplained = |why: &str| {
            vec![Finding::Unexplained {
                index,
                why: why.to_owned(),
            }]
        };
        let Some(envelope) = envelope else {
            return unexplained("its statement is not to be had");
        };
        let Some(key) = entry_key(entry) else {
            return unexplained("it is no entry of ours");
        };
        if self::entry(envelope, &key).ok().as_deref() != Some(entry) {
            return unexplained("it is of another statement than the log says");
        }
        self.note(index, envelope, signer.contains(&key))
    }

    fn note(&mut self, index: u64, envelope: &Envelope, by_signer: bool) -> Vec<Finding> {
        match claimed_predicate_type(envelope).as_deref() {
            Some(VSA) if by_signer => self.note_summary(envelope),
            Some(RELEASE) if by_signer => {
                self.releases.insert(FileDigest::of(&envelope.to_json()));
                Vec::new()
            }
            Some(WAIVER) => vec![Finding::Waiver { index }],
            Some(REBUILD) => differs(index, envelope),
            _ => Vec::new(),
        }
    }

    fn note_summary(&mut self, envelope: &Envelope) -> Vec<Finding> {
        let opened = Statement::<VerificationSummary>::open_unverified(envelope, VSA);
        let subjects = opened.map(|summary| summary.subject).unwrap_or_default();
        let mut findings = Vec::new();
        for subject in subjects {
            let Some(header) = subject.header_digest() else {
                continue;
            };
            let summaries = self.summaries.entry(header).or_default();
            summaries.insert(FileDigest::of(&envelope.to_json()));
            let headers = self.names.entry(subject.name.clone()).or_default();
            if headers.insert(header) && headers.len() > 1 {
                findings.push(Finding::TwoPackages {
                    name: subject.name,
                    headers: headers.iter().copied().collect(),
                });
            }
        }
        findings
    }

    /// All entries of the head were taken in: they must lead to its root.
    pub fn arrived(&self, head: &Checkpoint) -> Result<(), Finding> {
        match (self.frontier.size(), self.frontier.root()) == (head.size, head.root) {
            true => Ok(()),
            false => Err(Finding::Forked { size: head.size }),
        }
    }

    /// What is served must be in the log.
    ///
    /// * `envelope`: digest of the release's; `listed`: its packages.
    /// * `not_before`: it must have been released since.
    pub fn served(
        &self,
        document: &ReleaseDocument,
        envelope: FileDigest,
        listed: &[ListedPackage],
        not_before: Option<Timestamp>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.releases.contains(&envelope) {
            let release = document.id;
            findings.push(Finding::ReleaseNotLogged { release });
        }
        for package in listed {
            let summaries = self.summaries.get(&package.header);
            if !summaries.is_some_and(|logged| logged.contains(&package.summary)) {
                findings.push(Finding::NotLogged {
                    nevra: package.nevra.to_string(),
                    header: package.header,
                });
            }
        }
        if not_before.is_some_and(|limit| document.issued < limit) {
            findings.push(Finding::Stale {
                release: document.id,
                issued: document.issued,
            });
        }
        findings
    }
}

fn differs(index: u64, envelope: &Envelope) -> Vec<Finding> {
    let Ok(statement) = Statement::<Rebuild>::open_unverified(envelope, REBUILD) else {
        return Vec::new();
    };
    let rebuild = statement.predicate;
    let verdict = rebuild.worst();
    if verdict.confirms() || verdict == crate::verdict::Verdict::InfraFailed {
        return Vec::new();
    }
    let subject = statement.subject.into_iter().next();
    vec![Finding::Differs {
        index,
        rebuilder: rebuild.rebuilder.id.to_string(),
        name: subject.map(|subject| subject.name).unwrap_or_default(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};
    use crate::log::empty_root;
    use serde_json::json;

    fn key(seed: u8) -> StatementKey {
        StatementKey::from_seed(&[seed; 32]).unwrap()
    }

    fn summary(name: &str, header: &[u8], seed: u8) -> (Vec<u8>, Envelope) {
        let said = json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": VSA,
            "subject": [{"name": name, "digest": {"rpmHeaderSha256": HeaderDigest::of(header)}}],
            "predicate": {
                "verifier": {"id": "v"}, "timeVerified": "2026-11-20T10:06:00Z", "resourceUri": "",
                "policy": {}, "inputAttestations": [], "verificationResult": "PASSED",
                "verifiedLevels": [], "slsaVersion": "1.0"
            }
        });
        let envelope = key(seed).sign(IN_TOTO_PAYLOAD_TYPE, said.to_string().as_bytes());
        (entry(&envelope, &key(seed).public()).unwrap(), envelope)
    }

    #[test]
    fn a_log_that_tells_the_truth_gives_no_alarm_and_every_lie_does() {
        let signer = [key(1).public()];
        let mut memory = Memory::default();
        let (first, of_first) = summary("a-1-1.noarch.rpm", b"a", 1);
        assert_eq!(memory.take(&first, Some(&of_first), &signer), []);
        // A rebuilder cannot speak for the signer.
        let (foreign, of_foreign) = summary("a-1-1.noarch.rpm", b"b", 2);
        assert_eq!(memory.take(&foreign, Some(&of_foreign), &signer), []);
        let (second, of_second) = summary("a-1-1.noarch.rpm", b"c", 1);
        let found = memory.take(&second, Some(&of_second), &signer);
        assert!(matches!(&found[..], [Finding::TwoPackages { headers, .. }] if headers.len() == 2));
        let head = Checkpoint {
            origin: "log.example".to_owned(),
            size: 3,
            root: memory.frontier.root(),
        };
        assert_eq!(memory.arrived(&head), Ok(()));
        let other = Checkpoint {
            root: empty_root(),
            ..head.clone()
        };
        assert_eq!(memory.arrived(&other), Err(Finding::Forked { size: 3 }));
        let less = Checkpoint { size: 2, ..head };
        assert_eq!(
            memory.precedes(&less),
            Err(Finding::Shrunk { before: 3, now: 2 })
        );
        for (entry, envelope) in [
            (&first[..], None),
            (&first[..], Some(&of_second)),
            (&b"junk"[..], Some(&of_first)),
        ] {
            let found = memory.clone().take(entry, envelope, &signer);
            assert!(matches!(
                &found[..],
                [Finding::Unexplained { index: 3, .. }]
            ));
        }

        let listed = |header: &[u8], summary: &Envelope| ListedPackage {
            header: HeaderDigest::of(header),
            signed_file: FileDigest::of(b"signed"),
            summary: FileDigest::of(&summary.to_json()),
            nevra: "a-1-1.noarch".parse().unwrap(),
        };
        let document = ReleaseDocument {
            schema: crate::release::SCHEMA.to_owned(),
            id: ReleaseId(2),
            previous: None,
            issued: Timestamp::from_unix_secs(100),
            repos: Vec::new(),
        };
        let release = FileDigest::of(b"release");
        memory.releases.insert(release);
        let good = [listed(b"a", &of_first)];
        assert_eq!(memory.served(&document, release, &good, None), []);
        let bad = [listed(b"b", &of_foreign), listed(b"a", &of_second)];
        let late = Some(Timestamp::from_unix_secs(101));
        let found = memory.served(&document, FileDigest::of(b"other"), &bad, late);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(Finding::is_alarm));
        let json = serde_json::to_string(&memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&json).unwrap(), memory);
    }
}
