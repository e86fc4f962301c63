//! What was signed and not yet shown to be in the log: "no signature without a public record", for a signer that trusts
//! nobody to publish it. Built from the journal's records alone, like the rest of [`crate::index`].
//!
//! Packages count from the first start of a signer that asks for this, and only those that were signed by a policy with
//! `require_log`.

use crate::journal::{Event, Record};
use repo_model::announcement::{MAX_SIGNATURES, SignedHeader};
use repo_model::policy::{Policy, Reason};
use repo_model::{FileDigest, Timestamp};
use std::collections::VecDeque;

/// Statements that were made and not shown; an older one is worth less than each newer one.
const MAX_SAID: usize = 64;

/// Signatures that wait, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unlogged {
    counts: bool,
    waiting: VecDeque<SignedHeader>,
    /// Statements about them: the envelope, and the last record that it speaks of.
    said: VecDeque<(FileDigest, u64)>,
}

impl Unlogged {
    /// Takes in one record.
    pub fn note(&mut self, record: &Record) {
        match &record.event {
            Event::Started { asks_for_log, .. } => self.counts = *asks_for_log,
            // Without a size of the log the policy had none: nobody says these, and they would be overdue, all at
            // once, when a later policy has one.
            Event::PackageSigned {
                header,
                nevra,
                log_size: Some(_),
                ..
            } if self.counts => {
                self.waiting.push_back(SignedHeader {
                    record: record.seq,
                    signed_at: record.time,
                    header: *header,
                    nevra: nevra.clone(),
                });
            }
            Event::SignaturesSaid {
                through, envelope, ..
            } => {
                if self.said.len() == MAX_SAID {
                    self.said.pop_front();
                }
                self.said.push_back((*envelope, *through));
            }
            Event::SignaturesShown { envelope, .. } => {
                if let Some(through) = self.through(*envelope) {
                    let shown = |one: &SignedHeader| one.record <= through;
                    while self.waiting.front().is_some_and(shown) {
                        self.waiting.pop_front();
                    }
                    self.said.retain(|(_, last)| *last > through);
                }
            }
            _ => {}
        }
    }

    /// The next that are to be said, at most as many as one statement takes.
    pub fn next(&self) -> Vec<SignedHeader> {
        self.waiting.iter().take(MAX_SIGNATURES).cloned().collect()
    }

    /// The last record that a statement speaks of; none: it was not made here, or is done with.
    pub fn through(&self, envelope: FileDigest) -> Option<u64> {
        let mut said = self.said.iter();
        let found = said.find(|(known, _)| *known == envelope);
        found.map(|(_, through)| *through)
    }

    /// How many wait.
    pub fn len(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why no more packages are signed at `now`, if they are not: the oldest waits for longer than the policy allows.
    pub fn overdue(&self, policy: &Policy, now: Timestamp) -> Option<Reason> {
        let minutes = policy.log_within_minutes;
        if !policy.require_log || minutes == 0 {
            return None;
        }
        let oldest = self.waiting.front()?;
        let end = oldest.signed_at.plus_secs(i64::from(minutes) * 60);
        (end < now).then(|| Reason::SignaturesUnlogged {
            since: oldest.signed_at,
            count: self.len(),
            minutes,
        })
    }
}
