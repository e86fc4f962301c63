//! What was verified before: the packages of one release share statements and heads of the log, and a signature
//! need not be checked once for each of them.
//!
//! A fact names the key and all bytes that it is about, so it stays true whatever else changes. Only what holds is
//! remembered.

use crate::bundle::Bundle;
use crate::dsse::{Envelope, StatementPublicKey};
use crate::log::{
    Checkpoint, CheckpointError, LogProof, LogProofError, Note, VerifierKey, entry, entry_signed,
};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Most facts that are kept, 32 bytes each: past that, all are forgotten and found out again.
const MAX_FACTS: usize = 1 << 16;

type Fact = [u8; 32];

/// Signatures that were found good. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Memo(Arc<Mutex<HashSet<Fact>>>);

impl Memo {
    fn knows(&self, fact: &Fact) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(fact)
    }

    fn learn(&self, fact: Fact) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_FACTS {
            known.clear();
        }
        known.insert(fact);
    }

    /// Whether `key` signed the envelope, whatever is in it.
    pub(super) fn signed(&self, envelope: &Envelope, key: &StatementPublicKey) -> bool {
        let fact = fact("statement", &key.to_der(), &envelope.to_json());
        if self.knows(&fact) {
            return true;
        }
        let is_good = envelope.verified_by(key).is_ok();
        if is_good {
            self.learn(fact);
        }
        is_good
    }

    /// Whether `entry` is the log's entry for the bundle's statement, made with `key`.
    pub(super) fn is_entry(
        &self,
        bundle: &Bundle,
        key: &StatementPublicKey,
        logged: &[u8],
    ) -> bool {
        let envelope = &bundle.envelope;
        let made = match &envelope.signatures[..] {
            [only] => match self.signed(envelope, key) {
                true => entry_signed(envelope, &only.sig, key),
                false => return false,
            },
            _ => entry(envelope, key),
        };
        made.is_ok_and(|made| made == logged)
    }

    /// Whether `key` signed the head.
    pub(super) fn cosigned(&self, note: &Note, key: &VerifierKey) -> bool {
        let fact = fact(
            "note",
            key.to_string().as_bytes(),
            note.to_string().as_bytes(),
        );
        if self.knows(&fact) {
            return true;
        }
        let is_good = note.verified_by(key).is_ok();
        if is_good {
            self.learn(fact);
        }
        is_good
    }

    /// The head of the log of `key`, as [`Checkpoint::open`] gives it.
    pub(super) fn head(
        &self,
        note: &Note,
        key: &VerifierKey,
    ) -> Result<Checkpoint, CheckpointError> {
        match self.cosigned(note, key) {
            true => Checkpoint::read_verified(note, key),
            // It says why.
            false => Checkpoint::open(note, key),
        }
    }

    /// Checks that the log of `key` has `entry`, as [`LogProof::verify`] does.
    pub(super) fn proven(
        &self,
        proof: &LogProof,
        entry: &[u8],
        key: &VerifierKey,
    ) -> Result<Checkpoint, LogProofError> {
        let head = self.head(&proof.checkpoint, key)?;
        proof.leads_to(entry, &head)?;
        Ok(head)
    }
}

/// What is known, told apart from all else that could be: lengths stand before parts.
fn fact(kind: &str, key: &[u8], content: &[u8]) -> Fact {
    let mut hasher = Sha256::new();
    for part in [kind.as_bytes(), key, content] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};
    use crate::log::{LogKey, SignatureKind};

    #[test]
    fn what_was_good_for_one_key_says_nothing_about_another_key_or_other_bytes() {
        let memo = Memo::default();
        let [ours, other] = [1, 2].map(|seed| StatementKey::from_seed(&[seed; 32]).unwrap());
        let envelope = ours.sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        for _ in 0..2 {
            assert!(memo.signed(&envelope, &ours.public()));
            assert!(!memo.signed(&envelope, &other.public()));
        }
        let mut changed = envelope.clone();
        changed.payload = ours.sign(IN_TOTO_PAYLOAD_TYPE, b"[]").payload;
        assert!(!memo.signed(&changed, &ours.public()));
        assert_eq!(memo.0.lock().unwrap().len(), 1, "only what holds is kept");
    }

    #[test]
    fn a_head_is_verified_once_and_a_changed_one_anew() {
        let memo = Memo::default();
        let key = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
        let text = format!(
            "log.example\n1\n{}\n",
            crate::log::leaf_hash(b"x").to_base64()
        );
        let signature = key.sign(&text, Timestamp::from_unix_secs(0)).unwrap();
        let note = Note {
            text,
            signatures: vec![signature],
        };
        for _ in 0..2 {
            assert_eq!(memo.head(&note, &key.public()).unwrap().size, 1);
        }
        let grown = Note {
            text: note.text.replace("\n1\n", "\n2\n"),
            ..note.clone()
        };
        assert!(memo.head(&grown, &key.public()).is_err());
        let other = LogKey::from_seed("log.example", SignatureKind::Log, &[2; 32]).unwrap();
        assert!(memo.head(&note, &other.public()).is_err());
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let memo = Memo::default();
        for number in 0..=MAX_FACTS {
            memo.learn(fact("statement", b"", &number.to_be_bytes()));
        }
        assert_eq!(memo.0.lock().unwrap().len(), 1);
    }
}
