//! Whether what counted about a package is in the log, by the heads that were signed here.

use super::{Desk, DeskError};
use crate::index::Index;
use crate::journal::recorded;
use repo_model::log::Checkpoint;
use repo_model::log::{NoQuorum, NodeHash, Note, WitnessPolicy};
use repo_model::policy::Policy;
use repo_model::policy::Reason;
use repo_model::policy::logged::{Counted, Heads, LogProofs, known_head, objections};
use repo_model::{FileDigest, Timestamp};
use std::sync::{Mutex, PoisonError};

/// The head that was last found to have its quorum, and by which policy: all packages of a build bring the
/// same one, and each cosignature costs as much as one on a statement.
#[derive(Debug, Default)]
pub(super) struct LastWitnessed(Mutex<Option<FileDigest>>);

impl LastWitnessed {
    fn is(&self, name: FileDigest) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == Some(name)
    }

    fn remember(&self, name: FileDigest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }
}

/// What the desk knows of the log. Each question takes the ledger for itself: proofs are checked outside its
/// lock.
struct Seen<'a> {
    desk: &'a Desk,
    policy: FileDigest,
}

impl Seen<'_> {
    fn index<T: Default>(&self, question: impl FnOnce(&Index) -> T) -> T {
        // In doubt nothing is known, and nothing is signed.
        let ledger = self.desk.ledger();
        ledger.map_or_else(|_| T::default(), |ledger| question(&ledger.index))
    }
}

impl Heads for Seen<'_> {
    fn root(&self, size: u64) -> Option<NodeHash> {
        self.index(|index| index.head(size))
    }

    fn newest(&self) -> u64 {
        self.index(|index| index.last_checkpoint().map_or(0, |(size, _)| size))
    }

    fn is_origin(&self, origin: &str) -> bool {
        let mut keys = self.desk.keys.log.iter();
        keys.any(|key| key.public().name() == origin)
    }

    fn witnessed(
        &self,
        witnesses: &WitnessPolicy,
        head: &Note,
        now: Timestamp,
    ) -> Result<(), NoQuorum> {
        let name = FileDigest::of(format!("{}\n{head}", self.policy).as_bytes());
        // A cosignature that was not from the future then is not now: the clock does not go back here.
        if self.desk.witnessed.is(name) {
            return Ok(());
        }
        witnesses.quorum(head, now)?;
        self.desk.witnessed.remember(name);
        Ok(())
    }
}

/// What the log has against the package.
///
/// * `policy`: SHA-256 of the policy file beside it.
pub(super) fn against(
    desk: &Desk,
    policy: (&Policy, FileDigest),
    counted: Counted<'_>,
    now: Timestamp,
) -> Result<Vec<Reason>, DeskError> {
    let seen = Seen {
        desk,
        policy: policy.1,
    };
    let reasons = objections(policy.0, counted, &seen, now);
    // A desk that lost its memory would say the same as one that never saw the head.
    drop(desk.ledger()?);
    if !reasons.is_empty() {
        let words: Vec<_> = recorded(&reasons).iter().map(ToString::to_string).collect();
        tracing::warn!(
            "a package's evidence is not in the log: {}",
            words.join("; ")
        );
    }
    Ok(reasons)
}

/// The head that a note says, if it was signed here and has the quorum that the policy wants.
pub(super) fn head(
    desk: &Desk,
    policy: (&Policy, FileDigest),
    note: &str,
    now: Timestamp,
) -> Result<Result<Checkpoint, Reason>, DeskError> {
    let seen = Seen {
        desk,
        policy: policy.1,
    };
    let head = known_head(policy.0, note, &seen, now);
    drop(desk.ledger()?);
    Ok(head)
}

/// Entries of the head that the proofs lead to, when the policy demanded them, and 0 when nothing that counted
/// had to be found; for the journal.
pub(super) fn size(policy: &Policy, proofs: Option<&LogProofs>) -> Option<u64> {
    if !policy.require_log {
        return None;
    }
    let Some(proofs) = proofs else {
        return Some(0);
    };
    proofs.head.lines().nth(1)?.parse().ok()
}
