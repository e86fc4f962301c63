//! Statements about the repository itself, for the log: which release a channel points to, which keys and
//! policy are in force, which rebuilders were let in. They say what is so; nobody is asked whether it may be.

use super::{Desk, DeskError, bad_request};
use crate::journal::Event;
use repo_model::announcement::{
    CHANNEL_MOVE, ChannelMove, KEY_SET, KeySet, MAX_ACTOR_BYTES, REBUILDER_DECISION,
    RebuilderDecision,
};
use repo_model::dsse::Envelope;
use repo_model::statement::{Statement, Subject};
use repo_model::wire::rebuilders::Standing;
use repo_model::wire::signer::{LastRelease, Response};
use repo_model::{FileDigest, Timestamp};

/// Signs that a channel was moved, to a release that was signed here.
pub(super) fn channel_move(
    desk: &Desk,
    request: FileDigest,
    moved: &ChannelMove,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let last = desk.ledger()?.index.last_release();
    if let Some(reason) = objection(last, moved) {
        tracing::warn!(
            "a move of channel {} is not signed: {reason}",
            moved.channel
        );
        return Ok(bad_request(reason));
    }
    let what = format!("{} {} to {}", moved.channel, moved.word(), moved.to);
    let subject = vec![Subject::file(
        &format!("release-{}", moved.to),
        moved.release,
    )];
    let statement = Statement::new(CHANNEL_MOVE, subject, moved.clone());
    let envelope = statement.sign(&*desk.keys.statement)?;
    announced(desk, request, what, envelope, now)
}

/// Of releases before the last one the journal's index remembers nothing but that they were.
fn objection(last: Option<LastRelease>, moved: &ChannelMove) -> Option<String> {
    let Some(last) = last else {
        return Some("no release was signed here".to_owned());
    };
    if moved.to > last.id {
        return Some(format!("release {} was not signed here", moved.to));
    }
    if moved.to == last.id && moved.release != last.envelope {
        return Some(format!(
            "the envelope of release {} is another one",
            moved.to
        ));
    }
    long_actor(&moved.actor)
}

/// Signs which keys and policy are in force.
pub(super) fn keys(
    desk: &Desk,
    request: FileDigest,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let set = KeySet {
        said_at: Some(now),
        ..KeySet::of(&desk.identity())
    };
    let what = format!("{} keys and policy {}", set.keys.len(), set.policy_version);
    let subjects = set.keys.iter();
    let subjects = subjects.map(|key| Subject::file(&key.label, key.public));
    let statement = Statement::new(KEY_SET, subjects.collect(), set.clone());
    let envelope = statement.sign(&*desk.keys.statement)?;
    announced(desk, request, what, envelope, now)
}

/// Signs that a rebuilder was let in or turned away. It counts for nothing before the policy lists it, so there is
/// nothing to judge.
pub(super) fn rebuilder(
    desk: &Desk,
    request: FileDigest,
    decision: &RebuilderDecision,
    now: Timestamp,
) -> Result<Response, DeskError> {
    if let Some(reason) = no_decision(decision) {
        tracing::warn!(
            "a decision about rebuilder {} is not signed: {reason}",
            decision.name
        );
        return Ok(bad_request(reason));
    }
    let what = format!("rebuilder {} {}", decision.name, decision.word());
    let key = FileDigest::of(&decision.statement_key.to_der());
    let subject = vec![Subject::file(decision.name.as_str(), key)];
    let statement = Statement::new(REBUILDER_DECISION, subject, decision.clone());
    let envelope = statement.sign(&*desk.keys.statement)?;
    announced(desk, request, what, envelope, now)
}

fn no_decision(decision: &RebuilderDecision) -> Option<String> {
    match decision.standing {
        Standing::Approved | Standing::Rejected => long_actor(&decision.actor),
        Standing::Pending | Standing::Policy => {
            let standing = decision.standing.name();
            Some(format!("`{standing}` is no decision about a rebuilder"))
        }
    }
}

fn long_actor(actor: &str) -> Option<String> {
    (actor.len() > MAX_ACTOR_BYTES)
        .then(|| format!("the actor's name is longer than {MAX_ACTOR_BYTES} bytes"))
}

fn announced(
    desk: &Desk,
    request: FileDigest,
    what: String,
    envelope: Envelope,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let event = Event::Announced {
        request,
        what,
        envelope: FileDigest::of(&envelope.to_json()),
    };
    desk.record(now, event)?;
    Ok(Response::Announced { envelope })
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::ReleaseId;

    #[test]
    fn only_what_was_decided_about_a_rebuilder_is_said() {
        let key = repo_model::dsse::StatementKey::from_seed(&[1; 32]).unwrap();
        let decision = |standing, actor: &str| RebuilderDecision {
            number: 1,
            name: "rb-new".parse().unwrap(),
            operator: "bank-y".parse().unwrap(),
            request_key: repo_model::wire::worker::RequestKey::from_seed(&[1; 32]).public(),
            statement_key: key.public(),
            standing,
            decided_at: Timestamp::from_unix_secs(0),
            actor: actor.to_owned(),
        };
        for standing in [Standing::Approved, Standing::Rejected] {
            assert_eq!(no_decision(&decision(standing, "ops")), None);
            let refused = no_decision(&decision(standing, &"x".repeat(256))).unwrap();
            assert!(refused.contains("longer than 255"), "{refused}");
        }
        for standing in [Standing::Pending, Standing::Policy] {
            let refused = no_decision(&decision(standing, "ops")).unwrap();
            assert!(refused.contains("is no decision"), "{refused}");
        }
    }

    #[test]
    fn only_moves_to_releases_that_were_signed_here_are_signed() {
        let last = LastRelease {
            id: ReleaseId(4),
            issued: Timestamp::from_unix_secs(0),
            document: FileDigest::of(b"document"),
            envelope: FileDigest::of(b"envelope"),
        };
        let moved = |to, release: &[u8], actor: &str| ChannelMove {
            number: 1,
            channel: "stable".parse().unwrap(),
            from: Some(ReleaseId(2)),
            to: ReleaseId(to),
            release: FileDigest::of(release),
            moved_at: Timestamp::from_unix_secs(0),
            actor: actor.to_owned(),
        };
        for (last, moved, wanted) in [
            (Some(last), moved(4, b"envelope", "ops"), None),
            (Some(last), moved(3, b"older", "ops"), None),
            (None, moved(1, b"envelope", "ops"), Some("no release was")),
            (
                Some(last),
                moved(5, b"envelope", "ops"),
                Some("release 5 was not signed here"),
            ),
            (
                Some(last),
                moved(4, b"other", "ops"),
                Some("is another one"),
            ),
            (
                Some(last),
                moved(4, b"envelope", &"x".repeat(256)),
                Some("longer than 255"),
            ),
        ] {
            let found = objection(last, &moved);
            match wanted {
                None => assert_eq!(found, None),
                Some(words) => assert!(found.is_some_and(|found| found.contains(words)), "{words}"),
            }
        }
    }
}
