//! What the signer says about the repository itself, so that it is in the log: that a channel was moved, which
//! keys and policy are in force, and which rebuilders were let in or turned away.

use crate::dsse::StatementPublicKey;
use crate::wire::rebuilders::Standing;
use crate::wire::signer::{Identity, KeyRole, KeyState};
use crate::wire::worker::RequestPublicKey;
use crate::{
    ChannelName, FileDigest, HeaderDigest, Nevra, OperatorName, ReleaseId, Timestamp, WorkerName,
};
use serde::{Deserialize, Serialize};

/// Predicate type of [`ChannelMove`].
pub const CHANNEL_MOVE: &str = "https://hallmark.example/attestation/channel-move/v0.1";
/// Predicate type of [`KeySet`].
pub const KEY_SET: &str = "https://hallmark.example/attestation/key-set/v0.1";
/// Predicate type of [`RebuilderDecision`].
pub const REBUILDER_DECISION: &str = "https://hallmark.example/attestation/rebuilder-decision/v0.1";
/// Predicate type of [`Signatures`].
pub const SIGNATURES: &str = "https://hallmark.example/attestation/signatures/v0.1";
/// Most packages in one [`Signatures`].
pub const MAX_SIGNATURES: usize = 2_000;
/// Longest name of who moved a channel or decided about a rebuilder, bytes.
pub const MAX_ACTOR_BYTES: usize = 255;

/// A channel points to another release than before: a promotion, a rollback, or a new release that it follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelMove {
    /// Number of the move at the server, so that the same move made twice is two statements. 0 in statements from
    /// before moves had numbers.
    #[serde(default)]
    pub number: u64,
    /// Which.
    pub channel: ChannelName,
    /// Where it pointed; none before its first release.
    pub from: Option<ReleaseId>,
    /// Where it points.
    pub to: ReleaseId,
    /// SHA-256 of the envelope of that release's document.
    pub release: FileDigest,
    /// When, by the server's clock.
    pub moved_at: Timestamp,
    /// Name of the token that it was moved with, or `server` for a release that it follows.
    pub actor: String,
}

impl ChannelMove {
    /// Cuts the actor's name to what the signer takes: a long name must not keep a move out of the log.
    #[must_use]
    pub fn with_short_actor(mut self) -> Self {
        shorten(&mut self.actor);
        self
    }

    /// `promoted`, `rolled back`, or `moved` when there was nothing before.
    pub fn word(&self) -> &'static str {
        match self.from {
            None => "moved",
            Some(from) if from > self.to => "rolled back",
            Some(_) => "promoted",
        }
    }
}

fn shorten(actor: &mut String) {
    let mut end = actor.len().min(MAX_ACTOR_BYTES);
    while !actor.is_char_boundary(end) {
        end -= 1;
    }
    actor.truncate(end);
}

/// A rebuilder that the policy does not list was let in to work, or turned away: also one that was in before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RebuilderDecision {
    /// Number of the decision at the server, so that the same one made twice is two statements.
    pub number: u64,
    /// Its name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Signs its requests.
    pub request_key: RequestPublicKey,
    /// Signs its statements, PEM: they are in the log while it is let in.
    pub statement_key: StatementPublicKey,
    /// `approved` or `rejected`.
    pub standing: Standing,
    /// When, by the server's clock.
    pub decided_at: Timestamp,
    /// Name of the token that it was decided with.
    pub actor: String,
}

impl RebuilderDecision {
    /// As [`ChannelMove::with_short_actor`].
    #[must_use]
    pub fn with_short_actor(mut self) -> Self {
        shorten(&mut self.actor);
        self
    }

    /// `was let in` or `was turned away`.
    pub fn word(&self) -> &'static str {
        match self.standing {
            Standing::Approved | Standing::Policy => "was let in",
            Standing::Rejected | Standing::Pending => "was turned away",
        }
    }
}

/// Records of the signer's journal, for the log: which packages it has signed, and the journal that says so. Whoever has
/// the log can tell a signature that the journal does not hold, and a journal that was cut or written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signatures {
    /// When it was said, by the signer's clock.
    pub said_at: Timestamp,
    /// URI that names the signer in its summaries.
    pub verifier: String,
    /// SHA-256 of the journal's last line then: `audit verify --holds` finds it for ever after.
    pub journal: FileDigest,
    /// What was signed since the last statement that was shown to be in the log, oldest first; at most
    /// [`MAX_SIGNATURES`].
    pub packages: Vec<SignedHeader>,
}

/// One record of a signature over a package's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedHeader {
    /// Number of the record.
    pub record: u64,
    /// When.
    pub signed_at: Timestamp,
    /// The package.
    pub header: HeaderDigest,
    /// Its name for people.
    pub nevra: Nevra,
}

/// All keys that the signer shows, and the policy that it judges by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySet {
    /// When the signer said so, by its clock: keys that are again what they were are another statement. None in
    /// what was not signed, and in statements from before they had a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
    /// URI that names the signer in its summaries.
    pub verifier: String,
    /// SHA-256 of the policy file in force: it names rebuilders, builders, waiver signers and witnesses.
    pub policy: FileDigest,
    /// Its version.
    pub policy_version: u64,
    /// Keys of the log, `NAME+HASH+KEY`.
    pub log_keys: Vec<String>,
    /// Every key, oldest first.
    pub keys: Vec<AnnouncedKey>,
}

/// One key of a [`KeySet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnnouncedKey {
    /// `package-key-2`.
    pub label: String,
    /// What it signs.
    pub role: KeyRole,
    /// Where it is in its life.
    pub state: KeyState,
    /// OpenPGP fingerprint, or the key id of a statement key.
    pub fingerprint: String,
    /// SHA-256 of the certificate in armour, or of the statement key's PEM.
    pub public: FileDigest,
}

impl KeySet {
    /// What an identity comes to, said at no time yet.
    pub fn of(identity: &Identity) -> Self {
        let log_keys = [Some(&identity.log_key), identity.log_cosigner_key.as_ref()];
        let log_keys = log_keys.into_iter().flatten().filter(|key| !key.is_empty());
        let keys = identity.keys.iter().map(|key| AnnouncedKey {
            label: key.label.clone(),
            role: key.role,
            state: key.state,
            fingerprint: key.fingerprint.clone(),
            public: FileDigest::of(key.public.as_bytes()),
        });
        Self {
            said_at: None,
            verifier: identity.verifier_id.clone(),
            policy: identity.policy,
            policy_version: identity.policy_version,
            log_keys: log_keys.cloned().collect(),
            keys: keys.collect(),
        }
    }

    /// What is other than it was, one clause each; empty when nothing is. When it was said does not matter.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.policy != before.policy {
            let (old, new) = (before.policy_version, self.policy_version);
            changes.push(format!("policy {new} ({}) follows {old}", self.policy));
        }
        if self.log_keys != before.log_keys {
            changes.push("the log has other keys".to_owned());
        }
        if self.verifier != before.verifier {
            changes.push(format!("the signer is called {} now", self.verifier));
        }
        for key in &self.keys {
            let known = before.keys.iter().find(|known| known.label == key.label);
            let (label, role, state) = (&key.label, key.role, key.state.name());
            match known {
                None => changes.push(format!("{label} is new: a {role} key, {state}")),
                Some(known) if known.fingerprint != key.fingerprint || known.role != key.role => {
                    changes.push(format!("{label} is another key: {}", key.fingerprint));
                }
                Some(known) if known.state != key.state => {
                    changes.push(format!("{label} is {state} now"));
                }
                Some(known) if known.public != key.public => {
                    changes.push(format!("{label} has another certificate"));
                }
                Some(_) => {}
            }
        }
        let is_gone = |known: &&AnnouncedKey| !self.keys.iter().any(|k| k.label == known.label);
        let gone = before.keys.iter().filter(is_gone);
        changes.extend(gone.map(|key| format!("{} is gone", key.label)));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> KeySet {
        let key = |label: &str, state| AnnouncedKey {
            label: label.to_owned(),
            role: KeyRole::Package,
            state,
            fingerprint: format!("print of {label}"),
            public: FileDigest::of(label.as_bytes()),
        };
        KeySet {
            said_at: None,
            verifier: "https://signer.example".to_owned(),
            policy: FileDigest::of(b"policy"),
            policy_version: 3,
            log_keys: vec!["log.example+00+AA".to_owned()],
            keys: vec![
                key("package-key", KeyState::Current),
                key("package-key-2", KeyState::Next),
            ],
        }
    }

    type Change = fn(&mut KeySet);

    #[test]
    fn every_change_of_the_keys_is_told() {
        let table: &[(Change, &str)] = &[
            (|s| s.policy = FileDigest::of(b"other"), "policy 3 ("),
            (|s| s.log_keys.clear(), "the log has other keys"),
            (|s| s.verifier.clear(), "the signer is called"),
            (
                |s| s.keys[1].state = KeyState::Current,
                "package-key-2 is current now",
            ),
            (
                |s| s.keys[0].fingerprint.clear(),
                "package-key is another key",
            ),
            (
                |s| s.keys[0].public = FileDigest::of(b""),
                "package-key has another certificate",
            ),
            (|s| drop(s.keys.pop()), "package-key-2 is gone"),
            (
                |s| s.keys[0].label.push('9'),
                "package-key9 is new: a package key, current",
            ),
        ];
        let mut later = set();
        later.said_at = Some(Timestamp::from_unix_secs(7));
        assert!(later.changes_since(&set()).is_empty());
        for (change, words) in table {
            let mut other = set();
            change(&mut other);
            let changes = other.changes_since(&set());
            assert!(changes[0].contains(words), "{words}: {changes:?}");
        }
    }

    #[test]
    fn a_move_is_called_what_it_is() {
        let moved = |from: Option<u64>, to| ChannelMove {
            number: 1,
            channel: "stable".parse().unwrap(),
            from: from.map(ReleaseId),
            to: ReleaseId(to),
            release: FileDigest::of(b""),
            moved_at: Timestamp::from_unix_secs(0),
            actor: "ops".to_owned(),
        };
        for (from, to, word) in [
            (None, 1, "moved"),
            (Some(1), 2, "promoted"),
            (Some(2), 1, "rolled back"),
        ] {
            assert_eq!(moved(from, to).word(), word);
        }
        let named = |actor: String| ChannelMove {
            actor,
            ..moved(None, 1)
        };
        for (name, bytes) in [("o".repeat(255), 255), ("é".repeat(200), 254)] {
            let short = named(name.clone()).with_short_actor();
            assert_eq!(short.actor.len(), bytes);
            assert!(name.starts_with(&short.actor));
        }
    }
}
