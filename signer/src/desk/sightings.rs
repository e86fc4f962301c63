//! Saying what was seen of mirrors, for a short while.
//!
//! The signer sees nothing itself. It says what the server saw, of releases that it signed, with their own digests, and no
//! look that is older than a day: so a server in wrong hands can praise or blame a mirror, but not by a release that
//! never was: what is said of other releases is left out. Whoever doubts the server looks at the mirror.

use super::freshness::own_release;
use super::{Desk, DeskError, bad_request};
use crate::journal::{Event, clipped};
use repo_model::sightings::{SCHEMA, Sightings};
use repo_model::wire::signer::{Response, SightingsRequest};
use repo_model::{FileDigest, Timestamp};
use std::collections::BTreeSet;

/// Statements of releases that come with a request.
const RELEASES_MAX: usize = 200;
/// Longest life of what is said, seconds: a day.
const SECS_MAX: u64 = 86_400;

/// Signs what was seen.
pub(super) fn sign(
    desk: &Desk,
    request: FileDigest,
    wanted: SightingsRequest,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let said = match check(desk, wanted, now) {
        Ok(said) => said,
        Err(reason) => {
            tracing::warn!("nothing is said about mirrors: {reason}");
            let event = Event::SightingsRefused {
                request,
                reason: clipped(&reason),
            };
            desk.record(now, event)?;
            return Ok(bad_request(reason));
        }
    };
    let event = Event::SightingsSigned {
        mirrors: said.mirrors.len() as u64,
        expires: said.expires,
    };
    let envelope = said.statement().sign(&*desk.keys.statement)?;
    desk.record(now, event)?;
    Ok(Response::SightingsSigned { envelope })
}

fn check(desk: &Desk, wanted: SightingsRequest, now: Timestamp) -> Result<Sightings, String> {
    let SightingsRequest {
        mut mirrors,
        releases,
        secs,
    } = wanted;
    if secs == 0 || secs > SECS_MAX {
        return Err(format!(
            "a statement for {secs} s is asked for; want 1 to {SECS_MAX}"
        ));
    }
    if releases.len() > RELEASES_MAX {
        return Err(format!(
            "{} releases; the limit is {RELEASES_MAX}",
            releases.len()
        ));
    }
    let shown = releases.len();
    let own = releases.iter();
    let own = own.filter_map(|release| own_release(desk, release).ok());
    let own: Vec<_> = own.collect();
    if own.len() < shown {
        let others = shown - own.len();
        tracing::warn!(
            "{others} of {shown} releases that mirrors have were not signed here, or with a revoked key: nothing is \
             said of them"
        );
    }
    let ids: BTreeSet<_> = own.iter().map(|release| release.id).collect();
    for mirror in &mut mirrors {
        // One mirror that still has such a release must not silence what is said of the others.
        mirror.places.retain(|place| ids.contains(&place.release));
    }
    let said = Sightings {
        schema: SCHEMA.to_owned(),
        issued: now,
        expires: now.plus_secs(i64::try_from(secs).unwrap_or(i64::MAX)),
        mirrors,
    };
    said.check(&own, now).map_err(|error| error.to_string())?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::super::freshness::tests::{now, open, release_with};
    use super::*;
    use repo_model::ReleaseId;
    use repo_model::dsse::{Envelope, StatementKey};
    use repo_model::sightings::{self, SeenPlace, Sighting};

    fn seen(repomd: &[u8]) -> Sighting {
        seen_at(3, repomd)
    }

    fn seen_at(release: u64, repomd: &[u8]) -> Sighting {
        Sighting {
            name: "oslo".parse().unwrap(),
            urls: vec!["https://oslo.example/".to_owned()],
            listed: true,
            places: vec![SeenPlace {
                channel: "stable".parse().unwrap(),
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                release: ReleaseId(release),
                repomd: FileDigest::of(repomd),
                checked: now(),
                trouble: None,
            }],
        }
    }

    fn ask(desk: &Desk, repomd: &[u8], release: Envelope, secs: u64) -> Result<Envelope, String> {
        ask_all(desk, vec![seen(repomd)], vec![release], secs)
    }

    fn ask_all(
        desk: &Desk,
        mirrors: Vec<Sighting>,
        releases: Vec<Envelope>,
        secs: u64,
    ) -> Result<Envelope, String> {
        let wanted = SightingsRequest {
            mirrors,
            releases,
            secs,
        };
        match sign(desk, FileDigest::of(b""), wanted, now()).unwrap() {
            Response::SightingsSigned { envelope } => Ok(envelope),
            Response::BadRequest { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_seen_is_signed_for_a_while_and_only_of_releases_signed_here() {
        let directory = tempfile::tempdir().unwrap();
        let desk = open(directory.path());
        let ours = || release_with(&*desk.keys.statement, 3, b"three");
        let envelope = ask(&desk, b"three", ours(), 3_600).unwrap();
        let public = desk.keys.statement.public();
        let said = sightings::open(&envelope, &[public], now().plus_secs(3_599)).unwrap();
        assert_eq!(said.mirrors, [seen(b"three")]);
        for (outcome, words) in [
            (ask(&desk, b"other", ours(), 60), "has another repomd.xml"),
            (ask(&desk, b"three", ours(), 0), "want 1 to 86400"),
            (
                ask(&desk, b"three", ours(), SECS_MAX + 1),
                "want 1 to 86400",
            ),
        ] {
            let said = outcome.unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_release_that_is_not_ours_is_left_out_and_silences_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let desk = open(directory.path());
        let ours = release_with(&*desk.keys.statement, 3, b"three");
        let stranger = StatementKey::from_seed(&[7; 32]).unwrap();
        let theirs = |id, repomd: &[u8]| release_with(&stranger, id, repomd);
        let nothing = |seen: Sighting| Sighting {
            places: Vec::new(),
            ..seen
        };
        let four = || seen_at(4, b"four");
        // Theirs, and one that is not shown at all.
        for releases in [vec![ours.clone(), theirs(4, b"four")], vec![ours.clone()]] {
            let mirrors = vec![seen(b"three"), four()];
            let envelope = ask_all(&desk, mirrors, releases, 60).unwrap();
            let public = desk.keys.statement.public();
            let said = sightings::open(&envelope, &[public], now()).unwrap();
            assert_eq!(said.mirrors, [seen(b"three"), nothing(four())]);
        }
        // By another's word ours does not become another release.
        let both = vec![ours, theirs(3, b"other")];
        let said = ask_all(&desk, vec![seen(b"other")], both, 60).unwrap_err();
        assert!(said.contains("has another repomd.xml"), "{said}");
    }
}
