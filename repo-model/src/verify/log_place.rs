//! That what the signer said is in the transparency log.

use super::{Evidence, Link, Trust};
use crate::bundle::Bundle;
use crate::log::{Checkpoint, Note, VerifierKey};

const HINT: &str =
    "what is not in the log was said to you alone: tell the repository's operator and a monitor";

/// Release statement, summary and release have their places in a log that is trusted, and the head of the
/// log that was seen is not behind them.
pub(super) fn logged(trust: &Trust, evidence: &Evidence<'_>) -> Link {
    const NAME: &str = "log";
    if trust.log_keys.is_empty() {
        return Link::not_checked(NAME, "no log is trusted");
    }
    let wanted = [
        ("release statement", evidence.released),
        ("verification summary", evidence.summary),
        ("release", evidence.release.map(|release| &release.document)),
    ];
    let mut details = Vec::new();
    let mut furthest: Option<Checkpoint> = None;
    for (what, bundle) in wanted {
        let Some(bundle) = bundle else {
            return Link::broken(NAME, format!("there is no {what} to look for"), HINT);
        };
        match place(trust, bundle) {
            Err(problem) => return Link::broken(NAME, format!("the {what}: {problem}"), HINT),
            Ok(proven) => {
                let (index, checkpoint) = (proven.index, proven.head);
                details.push(format!("{what}: entry {index} of {}", checkpoint.origin));
                if let Some(problem) = contradiction(furthest.as_ref(), &checkpoint) {
                    return Link::broken(NAME, problem, HINT);
                }
                furthest = furthest
                    .filter(|known| known.size >= checkpoint.size)
                    .or(Some(checkpoint));
            }
        }
    }
    let Some(furthest) = furthest else {
        return Link::broken(NAME, "nothing was looked for", HINT);
    };
    match newer(trust, evidence, &furthest) {
        Err(problem) => Link::broken(NAME, problem, HINT),
        Ok(size) => Link::holds(
            NAME,
            format!("all of it is in {}, of {size} entries", furthest.origin),
        )
        .with_details(details),
    }
}

/// A place that was proven.
pub(super) struct Proven<'a> {
    /// Of the entry.
    index: u64,
    /// The head that the proof leads to, as it was signed: whose cosignatures count.
    pub note: &'a Note,
    /// What it says.
    head: Checkpoint,
}

/// The place of a statement, proven by one of the trusted logs: the first one that is. What is said about the
/// statement's place must all be taken from it, since others in the bundle may lead elsewhere.
pub(super) fn place<'a>(trust: &Trust, bundle: &'a Bundle) -> Result<Proven<'a>, String> {
    let mut problem = "it has no place in a log that is trusted".to_owned();
    for place in &bundle.places {
        let mut logs = trust.log_keys.iter();
        let Some(log) = logs.find(|key| key.full_id() == place.log_id) else {
            continue;
        };
        let mut keys = trust.statement_keys.iter();
        if !keys.any(|key| trust.memo.is_entry(bundle, key, &place.entry)) {
            problem = "the log's entry is of another statement".to_owned();
            continue;
        }
        let proven = trust.memo.proven(&place.proof, &place.entry, log);
        match proven.map_err(|error| error.to_string()) {
            Ok(head) => {
                let note = &place.proof.checkpoint;
                all_cosigned(trust, note, &head)?;
                let index = place.proof.index;
                return Ok(Proven { index, note, head });
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// Whether every further key that is trusted of this log has signed its head, too; else which has not, in words.
///
/// * `cosigners`: such keys, of any log.
/// * `head`: what `note` says.
pub fn cosigned(cosigners: &[VerifierKey], note: &Note, head: &Checkpoint) -> Result<(), String> {
    cosigned_as(cosigners, head, |key| note.verified_by(key).is_ok())
}

fn all_cosigned(trust: &Trust, note: &Note, head: &Checkpoint) -> Result<(), String> {
    cosigned_as(&trust.log_cosigners, head, |key| {
        trust.memo.cosigned(note, key)
    })
}

fn cosigned_as(
    cosigners: &[VerifierKey],
    head: &Checkpoint,
    signed: impl Fn(&VerifierKey) -> bool,
) -> Result<(), String> {
    let mut keys = cosigners.iter();
    match keys.find(|key| key.name() == head.origin && !signed(key)) {
        None => Ok(()),
        Some(key) => Err(format!(
            "the log's head over {} entries lacks the signature of its {} key",
            head.size,
            key.kind().name()
        )),
    }
}

/// Two heads of one log of one size with two roots: the log shows different things to different people.
fn contradiction(known: Option<&Checkpoint>, other: &Checkpoint) -> Option<String> {
    let known = known?;
    let forked =
        known.origin == other.origin && known.size == other.size && known.root != other.root;
    forked.then(|| {
        let (size, origin) = (known.size, &known.origin);
        format!("{origin} has signed two different logs of {size} entries")
    })
}

/// The head that was seen is not behind what is proven; its size, or that of the proofs when none was seen.
fn newer(trust: &Trust, evidence: &Evidence<'_>, proven: &Checkpoint) -> Result<u64, String> {
    let Some(note) = evidence.checkpoint else {
        return Ok(proven.size);
    };
    let mut logs = trust
        .log_keys
        .iter()
        .filter(|key| key.name() == proven.origin);
    let head = logs
        .find_map(|key| trust.memo.head(note, key).ok())
        .ok_or("the head of the log is not signed with its key")?;
    all_cosigned(trust, note, &head)?;
    if let Some(problem) = contradiction(Some(proven), &head) {
        return Err(problem);
    }
    if head.size < proven.size {
        return Err(format!(
            "the head of the log has {} entries, a proof is of {}: it has shrunk",
            head.size, proven.size
        ));
    }
    Ok(head.size)
}
