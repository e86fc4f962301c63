//! Watching a log for somebody else: what it said so far, and what must not be. Pure: whoever calls fetches.
//!
//! A monitor goes through every entry once. It keeps the right edge of the tree, so a log that forgets or
//! changes an entry is found out, and an index of what was said about which package, so a package that is served
//! and was never logged is found too.

mod doubts;
mod finding;
mod metadata;
#[cfg(test)]
mod tests;

pub use finding::Finding;

use crate::announcement::{
    CHANNEL_MOVE, ChannelMove, KEY_SET, KeySet, REBUILDER_DECISION, RebuilderDecision,
};
use crate::dsse::{Envelope, StatementPublicKey};
use crate::log::{Checkpoint, Frontier, Note, WitnessPolicy, entry, entry_key, leaf_hash};
use crate::policy::waivers::WAIVER;
use crate::release::{ListedPackage, ReleaseDocument};
use crate::statement::{
    REBUILD, RELEASE, Rebuild, Statement, Subject, VSA, VerificationSummary, claimed_predicate_type,
};
use crate::wire::rebuilders::Standing;
use crate::wire::signer::{KeyState, PublishedKey};
use crate::wire::status::ChannelStatus;
use crate::{ChannelName, FileDigest, HeaderDigest, ReleaseId, RepoName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// So long after it was changed, something that is served may not be in the log yet, seconds.
const GRACE_SECS: i64 = 600;
/// Most things that are remembered because they were not in the log yet; whatever comes on top has no grace.
const MAX_UNLOGGED: usize = 1_000;
/// Most subjects of one statement that are indexed: the packages of one build.
const MAX_SUBJECTS: usize = 10_000;

/// What a monitor remembers between two looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The log up to where it was read.
    pub frontier: Frontier,
    /// By file name: the headers that the signer let out under it. More than one is an alarm, unless they are known to
    /// be of different repositories.
    pub names: BTreeMap<String, BTreeSet<HeaderDigest>>,
    /// File names of more than one header, of which it is not yet known which repository each is of; and in which
    /// repository the headers were seen.
    #[serde(default)]
    pub doubtful: BTreeMap<String, BTreeMap<HeaderDigest, RepoName>>,
    /// File names of more than one header that were found to be of different repositories, and of which each is: it
    /// must stay so.
    #[serde(default)]
    pub told: BTreeMap<String, BTreeMap<HeaderDigest, RepoName>>,
    /// By header: the summaries that are in the log.
    pub summaries: BTreeMap<HeaderDigest, BTreeSet<FileDigest>>,
    /// Releases that are in the log.
    pub releases: BTreeSet<FileDigest>,
    /// By file name: every entry that is about it, by whomever.
    #[serde(default)]
    pub entries: BTreeMap<String, Vec<Said>>,
    /// Where each channel points, by its last move in the log.
    #[serde(default)]
    pub channels: BTreeMap<ChannelName, ReleaseId>,
    /// The keys and the policy that the log knew last.
    #[serde(default)]
    pub keys: Option<KeySet>,
    /// By `channel/repo/arch`: the `repomd.xml` that was compared with its release there, and was right.
    #[serde(default)]
    pub compared: BTreeMap<String, FileDigest>,
    /// What is shown and was not in the log when this monitor first saw it, and when that was, by its own clock.
    #[serde(default)]
    pub unlogged: BTreeMap<String, Timestamp>,
}

/// An entry about a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Its place in the log.
    pub index: u64,
    /// Predicate type of the statement.
    pub kind: String,
    /// SHA-256 of its envelope.
    pub statement: FileDigest,
    /// The package's header, when the statement names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderDigest>,
}

/// Any statement, for what it is about.
#[derive(Deserialize)]
struct About {
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    kind: String,
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
        let unexplained = |why: &str| unexplained(index, why);
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
        self.note_subjects(index, envelope);
        match claimed_predicate_type(envelope).as_deref() {
            Some(VSA) if by_signer => {
                self.note_summary(envelope);
                Vec::new()
            }
            Some(RELEASE) if by_signer => {
                self.releases.insert(FileDigest::of(&envelope.to_json()));
                Vec::new()
            }
            Some(CHANNEL_MOVE) if by_signer => self.note_move(index, envelope),
            Some(KEY_SET) if by_signer => self.note_keys(index, envelope),
            Some(REBUILDER_DECISION) if by_signer => vec![decided(index, envelope)],
            Some(WAIVER) => vec![Finding::Waiver { index }],
            Some(REBUILD) => differs(index, envelope),
            _ => Vec::new(),
        }
    }

    /// What statements say of which package is to be found by its name.
    fn note_subjects(&mut self, index: u64, envelope: &Envelope) {
        let payload = envelope.unverified_payload().unwrap_or_default();
        let Ok(about) = serde_json::from_slice::<About>(&payload) else {
            return;
        };
        let statement = FileDigest::of(&envelope.to_json());
        let packages = about.subject.into_iter().take(MAX_SUBJECTS);
        for subject in packages.filter(|subject| subject.name.ends_with(".rpm")) {
            let said = Said {
                index,
                kind: about.kind.clone(),
                statement,
                header: subject.header_digest(),
            };
            self.entries.entry(subject.name).or_default().push(said);
        }
    }

    fn note_move(&mut self, index: u64, envelope: &Envelope) -> Vec<Finding> {
        let opened = Statement::<ChannelMove>::open_unverified(envelope, CHANNEL_MOVE);
        let Ok(moved) = opened.map(|statement| statement.predicate) else {
            return unexplained(index, "it moves a channel in a way that is not known");
        };
        self.unlogged.remove(&pointer(&moved.channel, moved.to));
        self.channels.insert(moved.channel.clone(), moved.to);
        let mut findings = Vec::new();
        if !self.releases.contains(&moved.release) {
            findings.push(Finding::MovedNowhere {
                index,
                channel: moved.channel.clone(),
                release: moved.to,
            });
        }
        findings.push(Finding::ChannelMoved {
            index,
            channel: moved.channel,
            from: moved.from,
            to: moved.to,
            actor: moved.actor,
        });
        findings
    }

    fn note_keys(&mut self, index: u64, envelope: &Envelope) -> Vec<Finding> {
        let opened = Statement::<KeySet>::open_unverified(envelope, KEY_SET);
        let Ok(keys) = opened.map(|statement| statement.predicate) else {
            return unexplained(index, "it tells of keys in a way that is not known");
        };
        for key in &keys.keys {
            self.unlogged
                .remove(&shown_key(&key.label, &key.fingerprint, key.state));
        }
        let before = self.keys.replace(keys.clone());
        let changes = before.map_or_else(Vec::new, |before| keys.changes_since(&before));
        match changes.is_empty() {
            true => Vec::new(),
            false => vec![Finding::KeysChanged { index, changes }],
        }
    }

    fn note_summary(&mut self, envelope: &Envelope) {
        let opened = Statement::<VerificationSummary>::open_unverified(envelope, VSA);
        let subjects = opened.map(|summary| summary.subject).unwrap_or_default();
        for subject in subjects {
            let Some(header) = subject.header_digest() else {
                continue;
            };
            let summaries = self.summaries.entry(header).or_default();
            summaries.insert(FileDigest::of(&envelope.to_json()));
            let headers = self.names.entry(subject.name.clone()).or_default();
            if headers.insert(header) && headers.len() > 1 {
                // What is known of the others still holds.
                let told = self.told.remove(&subject.name).unwrap_or_default();
                self.doubtful.entry(subject.name).or_default().extend(told);
            }
        }
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

// What is shown to clients beside packages must be in the log, too; what was changed just before `now` may not
// be there yet. The server says when it was changed, but that cannot put an alarm off: this monitor counts from when
// it first saw it, too.
impl Memory {
    /// Channels that point elsewhere than the log says.
    pub fn pointing(&mut self, channels: &[ChannelStatus], now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        for status in channels {
            let (channel, Some(release)) = (&status.channel, status.release) else {
                continue;
            };
            let what = pointer(channel, release);
            if self.channels.get(channel) == Some(&release) {
                self.unlogged.remove(&what);
            } else if self.is_overdue(what, status.moved_at, now) {
                findings.push(Finding::ChannelNotLogged {
                    channel: channel.clone(),
                    release,
                });
            }
        }
        findings
    }

    /// Keys that are shown and that the log knows otherwise or not at all.
    pub fn shown(&mut self, keys: &[PublishedKey], now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::new();
        for key in keys {
            let what = shown_key(&key.label, &key.fingerprint, key.state);
            let mut known = self.keys.iter().flat_map(|set| &set.keys);
            let is_known = known.any(|known| {
                (&known.label, known.state, &known.fingerprint)
                    == (&key.label, key.state, &key.fingerprint)
            });
            if is_known {
                self.unlogged.remove(&what);
            } else if self.is_overdue(what, key.since.or(key.made), now) {
                findings.push(Finding::KeyNotLogged {
                    label: key.label.clone(),
                });
            }
        }
        findings
    }

    /// Whether something that is not in the log has been shown for too long: by what the server says, or by this
    /// monitor's own clock since it first saw it.
    fn is_overdue(&mut self, what: String, changed: Option<Timestamp>, now: Timestamp) -> bool {
        let is_long_ago = |at: Timestamp| at.plus_secs(GRACE_SECS) < now;
        self.is_overdue_here(what, now) || changed.is_none_or(is_long_ago)
    }

    /// Whether this monitor saw it so long ago, by its own clock, that it ought to have been set right.
    fn is_overdue_here(&mut self, what: String, now: Timestamp) -> bool {
        if self.unlogged.len() >= MAX_UNLOGGED && !self.unlogged.contains_key(&what) {
            return true;
        }
        let first = self.unlogged.entry(what).or_insert(now);
        // A clock that was put back must not give more time.
        *first = now.min(*first);
        first.plus_secs(GRACE_SECS) < now
    }
}

fn decided(index: u64, envelope: &Envelope) -> Finding {
    let opened = Statement::<RebuilderDecision>::open_unverified(envelope, REBUILDER_DECISION);
    match opened.map(|statement| statement.predicate) {
        Ok(decision) => Finding::RebuilderDecided {
            index,
            is_in: decision.standing == Standing::Approved,
            rebuilder: decision.name.to_string(),
            operator: decision.operator.to_string(),
            actor: decision.actor,
        },
        Err(_) => Finding::Unexplained {
            index,
            why: "it decides about a rebuilder in a way that is not known".to_owned(),
        },
    }
}

/// Where a channel points, as it is remembered.
fn pointer(channel: &ChannelName, release: ReleaseId) -> String {
    format!("channel {channel} {release}")
}

/// A key that is shown, as it is remembered.
fn shown_key(label: &str, fingerprint: &str, state: KeyState) -> String {
    format!("key {} {fingerprint} {label}", state.name())
}

/// What the reader's witnesses make of the head.
///
/// * `not_before`: a quorum must have said since that it had seen no newer one.
pub fn witnessed(
    policy: &WitnessPolicy,
    head: &Note,
    not_before: Option<Timestamp>,
    now: Timestamp,
) -> Option<Finding> {
    if let Err(error) = policy.quorum(head, now) {
        let far = Timestamp::from_unix_secs(i64::MAX);
        if let Some(behind) = policy.fresh_at(head, far).and_then(|at| clock(at, now)) {
            return Some(behind);
        }
        let why = error.to_string();
        return Some(Finding::NoQuorum { why });
    }
    let seen = policy.fresh_at(head, now)?;
    let is_stale = not_before.is_some_and(|limit| seen < limit);
    is_stale.then_some(Finding::StaleHead { seen })
}

/// What the clock makes of the time of something that was signed: whoever sets a monitor's clock back would keep it from
/// telling that nothing new comes.
pub fn clock(said: Timestamp, now: Timestamp) -> Option<Finding> {
    let behind = Finding::ClockBehind { said, now };
    said.is_to_come(now).then_some(behind)
}

fn unexplained(index: u64, why: &str) -> Vec<Finding> {
    vec![Finding::Unexplained {
        index,
        why: why.to_owned(),
    }]
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
