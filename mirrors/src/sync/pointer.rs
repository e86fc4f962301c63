//! `repomd.xml`, its signature, and which upstream's is taken.

use super::peer::{Peer, Problem};
use super::request::{Request, Verify, Watch};
use super::{SyncError, UpstreamProblem};
use crate::http::Validators;
use crate::reading::{REPOMD, REPOMD_MAX_BYTES, Repomd, SIGNATURE_MAX_BYTES};
use repo_model::FileDigest;
use std::collections::BTreeMap;
use std::time::Duration;

/// Attempts to get a pair of `repomd.xml` and signature that belong together.
const PAIR_ATTEMPTS: u32 = 4;
/// Wait between them: a publish of two files takes no longer.
const PAIR_PAUSE: Duration = Duration::from_millis(300);

/// What names everything else.
#[derive(Debug, Clone)]
pub(crate) struct Pointer {
    pub text: Vec<u8>,
    pub digest: FileDigest,
    pub repomd: Repomd,
    /// The newest timestamp in it.
    pub newest: i64,
    /// `repomd.xml.asc`, where there is one.
    pub signature: Option<Vec<u8>>,
    /// What to ask each upstream with that has this one.
    pub validators: BTreeMap<String, Validators>,
}

impl Pointer {
    /// Reads a text; the signature is the caller's business.
    pub fn of(text: Vec<u8>, signature: Option<Vec<u8>>) -> Result<Self, Problem> {
        let repomd = Repomd::parse(&text)
            .map_err(|error| Problem::Unusable(format!("{REPOMD}: {error}")))?;
        let timestamps = repomd.records.iter().filter_map(|record| record.timestamp);
        Ok(Self {
            digest: FileDigest::of(&text),
            newest: timestamps.max().unwrap_or(0),
            repomd,
            text,
            signature,
            validators: BTreeMap::new(),
        })
    }
}

/// What all upstreams together say.
pub(crate) enum Said {
    /// The newest is the one that was known.
    Same,
    /// Another one.
    New(Box<Pointer>),
}

/// What one upstream says.
enum Word {
    Same,
    Other(Box<Pointer>),
}

/// Asks all upstreams at once.
///
/// * `known`: the one that is here, or that was taken before; verified.
/// * `floor`: older ones are not taken.
pub(crate) fn ask(
    request: &Request,
    peers: &[Peer],
    verify: Verify<'_>,
    known: Option<&Pointer>,
    floor: Option<i64>,
    watch: &dyn Watch,
) -> Result<Said, SyncError> {
    let words: Vec<Result<Word, Problem>> = std::thread::scope(|scope| {
        let asked: Vec<_> = peers
            .iter()
            .map(|peer| scope.spawn(move || ask_one(peer, verify, known)))
            .collect();
        let lost = |_| {
            Err(Problem::Unusable(
                "the thread that asked it died".to_owned(),
            ))
        };
        let joined = asked
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(lost));
        joined.collect()
    });
    let mut problems = Vec::new();
    let mut same = false;
    let mut others: Vec<Pointer> = Vec::new();
    for (peer, word) in peers.iter().zip(words) {
        match word {
            Ok(Word::Same) => same = true,
            Ok(Word::Other(pointer)) => {
                match others
                    .iter_mut()
                    .find(|other| other.digest == pointer.digest)
                {
                    Some(other) => other.validators.extend(pointer.validators),
                    None => others.push(*pointer),
                }
            }
            Err(problem) => {
                watch.note(&format!("{}: {REPOMD}: {problem}", peer.label()));
                problems.push(UpstreamProblem {
                    upstream: peer.label().to_owned(),
                    is_unreachable: problem.may_pass(),
                    why: problem.to_string(),
                });
            }
        }
    }
    choose(request, same.then_some(known).flatten(), floor, others)
        .unwrap_or(Err(SyncError::NoMetadata { problems }))
}

/// The newest of all, the first of several. `same`: the known one, when an upstream has it still.
fn choose(
    request: &Request,
    same: Option<&Pointer>,
    floor: Option<i64>,
    others: Vec<Pointer>,
) -> Option<Result<Said, SyncError>> {
    // The last of the greatest is what `max_by_key` gives, so the order is turned round.
    let newest = others.into_iter().rev().max_by_key(|other| other.newest);
    let Some(newest) = newest else {
        return same.map(|_| Ok(Said::Same));
    };
    if same.is_some_and(|same| same.newest >= newest.newest) {
        return Some(Ok(Said::Same));
    }
    match floor {
        Some(floor) if newest.newest < floor && !request.allow_older => {
            Some(Err(SyncError::Older {
                theirs: newest.newest,
                ours: floor,
            }))
        }
        _ => Some(Ok(Said::New(Box::new(newest)))),
    }
}

fn ask_one(peer: &Peer, verify: Verify<'_>, known: Option<&Pointer>) -> Result<Word, Problem> {
    let mut last = None;
    for attempt in 0..PAIR_ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAIR_PAUSE);
        }
        match pair(peer, verify, known) {
            Ok(word) => return Ok(word),
            // Two files of one publish may have been fetched on two sides of it.
            Err(problem @ (Problem::Signature(_) | Problem::BrokeOff { .. })) => {
                last = Some(problem);
            }
            Err(problem) => return Err(problem),
        }
    }
    Err(last.unwrap_or(Problem::Missing))
}

fn pair(peer: &Peer, verify: Verify<'_>, known: Option<&Pointer>) -> Result<Word, Problem> {
    let own = known.and_then(|known| known.validators.get(peer.label()));
    let nothing = Validators::default();
    let Some(answer) = peer.open_changed(REPOMD, own.unwrap_or(&nothing))? else {
        return Ok(Word::Same);
    };
    let validators = answer.validators.clone();
    let text = peer.read_to_end(answer, REPOMD_MAX_BYTES)?;
    if known.is_some_and(|known| known.text == text) {
        return Ok(Word::Same);
    }
    let signature = match peer.read_small(&format!("{REPOMD}.asc"), SIGNATURE_MAX_BYTES) {
        Ok(signature) => Some(signature),
        Err(Problem::Missing | Problem::Refused(_)) => None,
        Err(problem) => return Err(problem),
    };
    match (verify.repomd(), &signature) {
        (Some(signatures), Some(signature)) => signatures
            .repomd(&text, signature)
            .map_err(|error| Problem::Signature(with_causes(error.as_ref())))?,
        (Some(_), None) => {
            return Err(Problem::Signature("there is no repomd.xml.asc".to_owned()));
        }
        (None, Some(_)) => same_still(peer, &text, &validators)?,
        (None, None) => {}
    }
    let mut pointer = Pointer::of(text, signature)?;
    pointer
        .validators
        .insert(peer.label().to_owned(), validators);
    Ok(Word::Other(Box::new(pointer)))
}

/// Without a key nothing tells that the two belong together, but that the first has not changed.
fn same_still(peer: &Peer, text: &[u8], validators: &Validators) -> Result<(), Problem> {
    let again = match peer.open_changed(REPOMD, validators)? {
        None => return Ok(()),
        Some(answer) => peer.read_to_end(answer, REPOMD_MAX_BYTES)?,
    };
    match again == text {
        true => Ok(()),
        false => Err(Problem::Signature("it was being replaced".to_owned())),
    }
}

/// An error and its causes in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
