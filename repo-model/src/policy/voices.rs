//! Which rebuilds count together: one voice a key, about one source package and buildinfo, and, when
//! the policy demands it, all committed to before any of them was told.

use super::judge::{Origin, fresh, objection};
use super::{Evidence, KeyHolder, MadeFrom, Policy, Reason};
use crate::dsse::Envelope;
use crate::sealed::{self, COMMITMENT, Opened, REVEAL, Reveal};
use crate::statement::{self, Rebuild, Rebuilder, Statement};
use crate::{FileDigest, OperatorName, Timestamp, WorkerName};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A profile that varies nothing.
const PLAIN: &str = "plain";

/// One verified rebuild statement.
#[derive(Debug)]
struct Voice<'p> {
    holder: &'p KeyHolder,
    rebuild: Rebuild,
    envelope: FileDigest,
    made_from: MadeFrom,
    /// How it was kept secret; none: it was not.
    sealed: Option<Sealed>,
}

/// Commitment and reveal of a statement.
#[derive(Debug, Clone)]
struct Sealed {
    round: Vec<FileDigest>,
    commitment: FileDigest,
    reveal: FileDigest,
}

/// All verified rebuild statements about one package.
#[derive(Debug)]
pub(super) struct Voices<'p>(Vec<Voice<'p>>);

/// What the voices come to.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Rebuilders that confirmed the package, sorted.
    pub confirmed_by: Vec<(WorkerName, OperatorName)>,
    /// What all of them rebuilt.
    pub made_from: Option<MadeFrom>,
    /// Whether one of them varied nothing.
    pub one_is_plain: bool,
    /// What was said against the package.
    pub objections: Vec<Reason>,
    /// Confirmations that do not count, and why.
    pub discounted: Vec<Reason>,
    /// Digests of what was counted.
    pub inputs: Vec<FileDigest>,
}

impl<'p> Voices<'p> {
    /// Verifies every rebuild statement about the package, with its commitment if it had one.
    ///
    /// * `name`: the package's name.
    pub(super) fn hear(
        policy: &'p Policy,
        evidence: &Evidence<'_>,
        name: &str,
        now: Timestamp,
    ) -> Self {
        let header = evidence.head.header_digest();
        let covering = policy
            .rebuilders
            .iter()
            .filter(|holder| holder.covers(name));
        let claims = Claims::sort(evidence.envelopes);
        let mut voices = Vec::new();
        for holder in covering {
            let opened = opened(holder, &claims);
            for envelope in claims.of(holder, statement::REBUILD) {
                let statement =
                    Statement::<Rebuild>::open(envelope, &holder.statement_key, statement::REBUILD);
                let Ok(statement) = statement else { continue };
                let rebuild = &statement.predicate;
                let Some(made_from) = rebuild.made_from() else {
                    continue;
                };
                if !statement.is_about(header) || !fresh(policy, rebuild.finished_on, now) {
                    continue;
                }
                let envelope = FileDigest::of(&envelope.to_json());
                voices.push(Voice {
                    holder,
                    made_from,
                    envelope,
                    sealed: sealed(&opened, envelope, made_from),
                    rebuild: statement.predicate,
                });
            }
        }
        Self(voices)
    }

    /// Counts them. The group that comes furthest is the one that counts: all of one source package and
    /// buildinfo (those of an origin, when there are origins) and, if the policy demands commitments, of
    /// one round.
    pub(super) fn count(&self, policy: &Policy, origins: &[Origin], source_name: &str) -> Count {
        let bound = |voice: &&Voice<'_>| {
            origins.is_empty()
                || origins
                    .iter()
                    .any(|origin| origin.made_from == voice.made_from)
        };
        let voices: Vec<&Voice<'_>> = self.0.iter().filter(bound).collect();
        let runs = policy.runs(source_name, seen_flaky(&voices));
        let builders: BTreeSet<&OperatorName> =
            origins.iter().map(|origin| &origin.operator).collect();
        let mut count = Count::default();
        let mut may_confirm = Vec::new();
        for voice in latest(&voices, |voice| voice.holder.name.clone()) {
            let own = builders.contains(&voice.holder.operator);
            if let Some(reason) = objection(voice.holder, &voice.rebuild) {
                count.inputs.push(voice.envelope);
                count.objections.push(reason);
            } else if !voice.rebuild.worst().confirms() {
                // It could not say anything.
            } else if own {
                count.discounted.push(Reason::OwnRebuild {
                    rebuilder: voice.holder.name.clone(),
                    operator: voice.holder.operator.clone(),
                });
            } else if voice.rebuild.run_count() < runs {
                count.discounted.push(Reason::Flaky {
                    rebuilder: voice.holder.name.clone(),
                    have: voice.rebuild.run_count(),
                    want: runs,
                });
            } else {
                may_confirm.push(voice.holder.name.clone());
            }
        }
        let confirming = voices.iter().copied().filter(|voice| {
            may_confirm.contains(&voice.holder.name)
                && voice.rebuild.worst().confirms()
                && voice.rebuild.run_count() >= runs
        });
        let best = best_group(policy, confirming);
        count.take(&best);
        let left_out = may_confirm
            .into_iter()
            .filter(|name| {
                !count
                    .confirmed_by
                    .iter()
                    .any(|(counted, _)| counted == name)
            })
            .map(|rebuilder| Reason::NotBlind { rebuilder })
            .collect::<Vec<_>>();
        count.discounted.extend(left_out);
        count
    }
}

impl Count {
    fn take(&mut self, group: &[&Voice<'_>]) {
        for voice in group {
            self.confirmed_by
                .push((voice.holder.name.clone(), voice.holder.operator.clone()));
            self.made_from = Some(voice.made_from);
            self.one_is_plain |= voice.rebuild.profile == PLAIN;
            self.inputs.push(voice.envelope);
            if let Some(sealed) = &voice.sealed {
                self.inputs.extend([sealed.commitment, sealed.reveal]);
            }
        }
        self.confirmed_by.sort();
    }
}

/// Confirming voices by what they were made from and, where that matters, by round; the group with
/// the most rebuilders, then operators, then the smallest digests. One voice a rebuilder, its last.
fn best_group<'v, 'p>(
    policy: &Policy,
    confirming: impl Iterator<Item = &'v Voice<'p>>,
) -> Vec<&'v Voice<'p>> {
    let mut groups: BTreeMap<(MadeFrom, &[FileDigest]), Vec<&Voice<'p>>> = BTreeMap::new();
    for voice in confirming {
        let round: &[FileDigest] = match (policy.demands_commitments(), &voice.sealed) {
            (false, _) => &[],
            (true, Some(sealed)) => &sealed.round,
            (true, None) => continue,
        };
        groups
            .entry((voice.made_from, round))
            .or_default()
            .push(voice);
    }
    let mut best: Vec<&Voice<'p>> = Vec::new();
    let mut best_size = (0, 0, false);
    for group in groups.into_values() {
        let group = latest(&group, |voice| voice.holder.name.clone());
        let operators: BTreeSet<_> = group.iter().map(|voice| &voice.holder.operator).collect();
        let plain = group.iter().any(|voice| voice.rebuild.profile == PLAIN);
        let size = (group.len(), operators.len(), plain);
        if size > best_size {
            (best, best_size) = (group, size);
        }
    }
    best
}

/// The last of those with the same key, in the key's order.
fn latest<'v, 'p, K: Ord>(
    voices: &[&'v Voice<'p>],
    key: impl Fn(&Voice<'p>) -> K,
) -> Vec<&'v Voice<'p>> {
    let mut last: BTreeMap<K, &'v Voice<'p>> = BTreeMap::new();
    for voice in voices {
        let known = last.entry(key(voice)).or_insert(voice);
        if known.rebuild.finished_on <= voice.rebuild.finished_on {
            *known = voice;
        }
    }
    last.into_values().collect()
}

/// Whether somebody saw the package come out different and then the same: within the runs of one
/// statement, or in two statements, one after the other.
fn seen_flaky(voices: &[&Voice<'_>]) -> bool {
    voices.iter().any(|voice| {
        voice.rebuild.is_mixed()
            || (differs(voice)
                && voices.iter().any(|later| {
                    later.holder.name == voice.holder.name
                        && later.made_from == voice.made_from
                        && later.rebuild.finished_on > voice.rebuild.finished_on
                        && later.rebuild.worst().confirms()
                }))
    })
}

fn differs(voice: &Voice<'_>) -> bool {
    objection(voice.holder, &voice.rebuild).is_some()
}

/// Envelopes by what they claim to be and whose, so that nobody's are verified with another's key. Claims
/// are not verified.
struct Claims<'e>(BTreeMap<(String, WorkerName), Vec<&'e Envelope>>);

/// The part of a rebuilder's statement that tells whose it is.
#[derive(Deserialize)]
struct Claim {
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: ClaimedPredicate,
}

#[derive(Deserialize)]
struct ClaimedPredicate {
    rebuilder: Rebuilder,
}

impl<'e> Claims<'e> {
    fn sort(envelopes: &'e [Envelope]) -> Self {
        let mut sorted = Self(BTreeMap::new());
        for envelope in envelopes {
            let claim = envelope
                .unverified_payload()
                .ok()
                .and_then(|payload| serde_json::from_slice::<Claim>(&payload).ok());
            if let Some(claim) = claim {
                let key = (claim.predicate_type, claim.predicate.rebuilder.id);
                sorted.0.entry(key).or_default().push(envelope);
            }
        }
        sorted
    }

    fn of(&self, holder: &KeyHolder, predicate_type: &str) -> &[&'e Envelope] {
        let key = (predicate_type.to_owned(), holder.name.clone());
        self.0.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// The holder's commitments that its reveals open, with the digest of the reveal's envelope.
fn opened(holder: &KeyHolder, claims: &Claims<'_>) -> Vec<(Opened, FileDigest)> {
    let commitments: BTreeMap<FileDigest, &Envelope> = claims
        .of(holder, COMMITMENT)
        .iter()
        .map(|envelope| (FileDigest::of(&envelope.to_json()), *envelope))
        .collect();
    let mut all: Vec<(Opened, FileDigest)> = Vec::new();
    for reveal in claims.of(holder, REVEAL) {
        let Ok(claimed) = Statement::<Reveal>::open_unverified(reveal, REVEAL) else {
            continue;
        };
        let Some(commitment) = commitments.get(&claimed.predicate.commitment) else {
            continue;
        };
        if let Ok(opened) = sealed::open(commitment, reveal, &holder.statement_key) {
            all.push((opened, FileDigest::of(&reveal.to_json())));
        }
    }
    // Who tells an answer for two rounds could have been heard in between, and nobody knows which was first.
    let mut rounds: BTreeMap<FileDigest, BTreeSet<&[FileDigest]>> = BTreeMap::new();
    for (one, _) in &all {
        let told = rounds.entry(one.reveal.commitment).or_default();
        told.insert(&one.reveal.round);
    }
    let twice: BTreeSet<FileDigest> = rounds
        .into_iter()
        .filter(|(_, told)| told.len() > 1)
        .map(|(commitment, _)| commitment)
        .collect();
    all.retain(|(one, _)| !twice.contains(&one.reveal.commitment));
    all
}

/// How this statement was kept secret, if it was.
fn sealed(
    opened: &[(Opened, FileDigest)],
    statement: FileDigest,
    made_from: MadeFrom,
) -> Option<Sealed> {
    let (opened, reveal) = opened.iter().find(|(opened, _)| {
        opened.reveal.statements.contains(&statement)
            && opened.commitment.made_from() == Some(made_from)
    })?;
    Some(Sealed {
        round: opened.reveal.round.clone(),
        commitment: opened.reveal.commitment,
        reveal: *reveal,
    })
}
