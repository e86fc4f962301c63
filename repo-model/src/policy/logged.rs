//! Whether the statements that count about a package are in the transparency log, as somebody sees it who
//! signs the log's heads and remembers them.
//!
//! A request brings one head and, for each envelope, its place under it. The head must be one that the signer
//! signed: it signs only heads that go on from the one before, so whatever an earlier head of its own covers,
//! each later one covers, too. When the policy names witnesses, a quorum of them must have cosigned that head.
//!
//! Statements that do not count may be missing from the log: nobody listens to them. They cannot be left out
//! of the log and count.
//!
//! An entry shows one signature. An envelope that several keys of the policy signed would count for each of them
//! while the log shows it of one, so it is refused. Waivers are not: they take two signatures, and the log shows one.

use super::waivers::WAIVER;
use super::{Policy, Reason};
use crate::dsse::{Envelope, KeyId, StatementPublicKey};
use crate::log::{
    Checkpoint, CheckpointError, NoQuorum, NodeHash, Note, WitnessPolicy, entry, leaf_hash,
    verify_inclusion,
};
use crate::statement::claimed_predicate_type;
use crate::{FileDigest, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest text from a head that is repeated in a finding, characters.
const MAX_QUOTED: usize = 80;

/// That the envelopes of a request are in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProofs {
    /// The signed head that all of them lead to, with its cosignatures (C2SP `tlog-checkpoint`).
    pub head: String,
    /// The place of each envelope, in the order of the request; none: it has none under this head.
    pub places: Vec<Option<LogPlace>>,
}

/// Where a statement is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPlace {
    /// The entry's index.
    pub index: u64,
    /// Siblings from the leaf up (RFC 6962 §2.1.1).
    pub hashes: Vec<NodeHash>,
}

/// What the signer knows of the log.
pub trait Heads {
    /// The root of the head of this many entries, if it was signed here and is remembered.
    fn root(&self, size: u64) -> Option<NodeHash>;

    /// Entries of the head that was signed last; 0 when none was.
    fn newest(&self) -> u64;

    /// Whether this is the log's name.
    fn is_origin(&self, origin: &str) -> bool;

    /// Whether a quorum has cosigned the head.
    fn witnessed(
        &self,
        witnesses: &WitnessPolicy,
        head: &Note,
        now: Timestamp,
    ) -> Result<(), NoQuorum> {
        witnesses.quorum(head, now).map(drop)
    }
}

/// A package whose evidence suffices.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// The envelopes of the request.
    pub envelopes: &'a [Envelope],
    /// Digests of what counted, as [`Judgement::inputs`](super::Judgement::inputs) has them; those of other
    /// things than envelopes are passed over.
    pub inputs: &'a [FileDigest],
    /// What came with the request.
    pub proofs: Option<&'a LogProofs>,
}

/// What the log has against a package; empty: nothing, or the policy does not ask. Equal input, equal answer.
pub fn objections(
    policy: &Policy,
    counted: Counted<'_>,
    heads: &impl Heads,
    now: Timestamp,
) -> Vec<Reason> {
    if !policy.require_log {
        return Vec::new();
    }
    let named: Vec<(usize, FileDigest)> = counted
        .envelopes
        .iter()
        .map(|envelope| FileDigest::of(&envelope.to_json()))
        .enumerate()
        .filter(|(_, digest)| counted.inputs.contains(digest))
        .collect();
    if named.is_empty() {
        return Vec::new();
    }
    let Some(proofs) = counted.proofs else {
        return vec![Reason::LogProofsMissing];
    };
    let head = match known_head(policy, &proofs.head, heads, now) {
        Ok(head) => head,
        Err(reason) => return vec![reason],
    };
    let keys = keys(policy);
    let mut reasons = Vec::new();
    let mut said: Option<FileDigest> = None;
    for (at, statement) in named {
        let place = proofs.places.get(at).and_then(Option::as_ref);
        let why = match place {
            None => Some("the request has no place for it"),
            Some(place) => is_missing(&counted.envelopes[at], &keys, place, &head),
        };
        // The same envelope may have come twice.
        if let Some(why) = why.filter(|_| said != Some(statement)) {
            said = Some(statement);
            let why = why.to_owned();
            reasons.push(Reason::NotInLog { statement, why });
        }
    }
    reasons
}

/// The head that a note says, if it is one of the signer's own and has its quorum; why not, otherwise.
pub fn known_head(
    policy: &Policy,
    text: &str,
    heads: &impl Heads,
    now: Timestamp,
) -> Result<Checkpoint, Reason> {
    let unknown = |why: String| Reason::LogHeadUnknown { why };
    let note = Note::parse(text.as_bytes())
        .map_err(|error| unknown(CheckpointError::from(error).to_string()))?;
    let head: Checkpoint = note
        .text
        .parse()
        .map_err(|error: CheckpointError| unknown(error.to_string()))?;
    if !heads.is_origin(&head.origin) {
        let origin: String = head.origin.chars().take(MAX_QUOTED).collect();
        return Err(unknown(format!("it is of another log, {origin}")));
    }
    let (size, newest) = (head.size, heads.newest());
    match heads.root(size) {
        Some(root) if root == head.root => {}
        Some(_) => return Err(unknown(format!("another head of {size} entries was"))),
        None if size > newest => {
            return Err(unknown(format!(
                "it has {size} entries, the last one that was has {newest}"
            )));
        }
        None => {
            return Err(unknown(format!(
                "no head of {size} entries is remembered, the last one has {newest}"
            )));
        }
    }
    let witnesses = policy.witnesses.as_ref();
    if let Some(witnesses) = witnesses.filter(|witnesses| witnesses.demands_some()) {
        heads
            .witnessed(witnesses, &note, now)
            .map_err(|shortfall| Reason::LogNotWitnessed {
                why: shortfall.to_string(),
            })?;
    }
    Ok(head)
}

/// The key ids and keys of everybody whose statements can count.
fn keys(policy: &Policy) -> Vec<(KeyId, &StatementPublicKey)> {
    let holders = policy.rebuilders.iter().chain(&policy.builders);
    let people = policy.waiver_signers.iter();
    holders
        .map(|holder| &holder.statement_key)
        .chain(people.map(|signer| &signer.statement_key))
        .map(|key| (key.key_id(), key))
        .collect()
}

/// Why the place does not show that the envelope is in the log; `None`: it does. The entry is that of one of
/// the policy's keys, whichever the log has it by.
fn is_missing(
    envelope: &Envelope,
    keys: &[(KeyId, &StatementPublicKey)],
    place: &LogPlace,
    head: &Checkpoint,
) -> Option<&'static str> {
    if place.index >= head.size {
        return Some("its place is not under the head");
    }
    if has_several_voices(envelope, keys) {
        return Some("keys signed it of which the log shows only one");
    }
    // The hint only says whose key to try first.
    let hinted = |(id, _): &&(KeyId, &StatementPublicKey)| {
        let mut signatures = envelope.signatures.iter();
        signatures.any(|one| one.keyid == *id)
    };
    let (first, others): (Vec<_>, Vec<_>) = keys.iter().partition(hinted);
    let mut all = first.into_iter().chain(others);
    let proven = all.any(|(_, key)| is_under(envelope, key, place, head));
    (!proven).then_some("the log has something else in its place")
}

/// Whether the place under the head is that of the envelope as this key signed it.
pub fn is_under(
    envelope: &Envelope,
    key: &StatementPublicKey,
    place: &LogPlace,
    head: &Checkpoint,
) -> bool {
    entry(envelope, key).is_ok_and(|entry| {
        let leaf = leaf_hash(&entry);
        verify_inclusion(place.index, head.size, leaf, &place.hashes, head.root).is_ok()
    })
}

/// Whether several keys of the policy signed the envelope, of which an entry shows one. Waivers are passed over.
fn has_several_voices(envelope: &Envelope, keys: &[(KeyId, &StatementPublicKey)]) -> bool {
    // Most have one signature: no need to try all keys.
    if envelope.signatures.len() < 2 || claimed_predicate_type(envelope).as_deref() == Some(WAIVER)
    {
        return false;
    }
    let signed = |(_, key): &&(KeyId, &StatementPublicKey)| envelope.signature_of(key).is_ok();
    keys.iter().filter(signed).nth(1).is_some()
}

#[cfg(test)]
mod tests;
