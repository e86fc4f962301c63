//! That others than the log saw the head that the proofs lead to: whoever shows one history to you and another
//! to them needs their signatures under both.

use super::clock::{SET_IT, behind};
use super::log_place::place;
use super::{Evidence, Link, Trust};
use crate::Timestamp;
use crate::log::{Note, Seen, WitnessPolicy};

const NAME: &str = "witnesses";
const HINT: &str = "a log that shows different things to different people looks like this: keep the evidence, and ask \
                    again later or elsewhere";

/// A quorum of witnesses has cosigned the head that each of the proofs leads to: the very head that the link
/// before this one found proven, whatever other places a bundle claims.
pub(super) fn witnessed(trust: &Trust, evidence: &Evidence<'_>, now: Timestamp) -> Link {
    let Some(policy) = trust.witness_policy() else {
        return Link::not_checked(NAME, "no witnesses are asked for");
    };
    let release = evidence.release.map(|release| &release.document);
    let statements = [evidence.released, evidence.summary, release];
    let mut heads: Vec<&Note> = statements
        .into_iter()
        .flatten()
        .filter_map(|bundle| place(trust, bundle).ok())
        .map(|proven| proven.note)
        .collect();
    if heads.len() < statements.len() {
        return Link::broken(NAME, "there is no head of the log for each statement", HINT);
    }
    // Most often they lead to one head.
    heads.dedup();
    let mut fewest: Option<Vec<Seen<'_>>> = None;
    for head in heads {
        match policy.quorum(head, now) {
            Err(error) => {
                if let Some(says) = seen_later(policy, head, now) {
                    return Link::broken(NAME, says, SET_IT);
                }
                let says = format!("the head of the log: {error}");
                return Link::broken(NAME, says, HINT);
            }
            Ok(seen) => {
                fewest = fewest
                    .filter(|known| known.len() <= seen.len())
                    .or(Some(seen))
            }
        }
    }
    let seen = fewest.unwrap_or_default();
    let (count, listed) = (seen.len(), policy.witnesses().len());
    let details = seen.iter().map(|one| {
        let (name, key, at) = (&one.witness.name, one.witness.key.name(), one.at);
        format!("{name} ({key}) at {at}")
    });
    let says = format!("{count} of {listed} witnesses saw the head of the log");
    Link::holds(NAME, says).with_details(details.collect())
}

/// The finding when a quorum has seen the head, at a time that is to come.
fn seen_later(policy: &WitnessPolicy, head: &Note, now: Timestamp) -> Option<String> {
    let at = policy.fresh_at(head, Timestamp::from_unix_secs(i64::MAX))?;
    behind("the witnesses' word about the head of the log is", at, now)
}
