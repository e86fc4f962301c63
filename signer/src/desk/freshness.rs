//! Saying that a channel is at a release, for a short while.
//!
//! The release is one that this signer signed: its own statement comes with the request, and what the new
//! statement says about files is taken from there. A channel never goes back by the server's word: for a release
//! older than the one that was called current before nothing is signed, so that a server in wrong hands cannot have
//! an old state called fresh, unless the policy says that the channel was moved back to it (`moved_back`). Which channel points where is the server's to say; that it can move one on to any release of
//! ours, but never back, is what this adds.

use super::{Desk, DeskError, bad_request};
use crate::journal::{Event, clipped};
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::freshness::{Freshness, SCHEMA, statement};
use repo_model::release::ReleaseDocument;
use repo_model::statement::{RELEASE, Statement};
use repo_model::wire::signer::{FreshnessRequest, KeyRole, KeyState, Response};
use repo_model::{FileDigest, ReleaseId, Timestamp};

/// Signs a freshness statement. The ledger stays locked from the look to the record.
pub(super) fn sign(
    desk: &Desk,
    request: FileDigest,
    wanted: &FreshnessRequest,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let channel = &wanted.channel;
    let max_secs = desk.config.freshness_max_secs;
    // Without a policy that may be used nothing goes back.
    let rules = desk.rules(now).ok();
    let mut ledger = desk.ledger()?;
    let before = ledger.index.freshest(channel);
    let may_go_back = |from, to| {
        let rules = rules.as_ref();
        rules.is_some_and(|rules| rules.policy.allows_back(channel, from, to))
    };
    let document = match check(desk, wanted, before, max_secs, may_go_back) {
        Ok(document) => document,
        Err(reason) => {
            drop(ledger);
            tracing::warn!("nothing is said about the freshness of {channel}: {reason}");
            let event = Event::FreshnessRefused {
                request,
                channel: channel.clone(),
                reason: clipped(&reason),
            };
            desk.record(now, event)?;
            return Ok(bad_request(reason));
        }
    };
    let secs = i64::try_from(wanted.secs).unwrap_or(i64::MAX);
    let freshness = Freshness {
        schema: SCHEMA.to_owned(),
        channel: channel.clone(),
        release: document.id,
        release_sha256: FileDigest::of(&wanted.release.to_json()),
        issued: now,
        expires: now.plus_secs(secs),
    };
    let event = Event::FreshnessSigned {
        channel: channel.clone(),
        release: freshness.release,
        expires: freshness.expires,
    };
    let envelope = statement(freshness, &document).sign(&*desk.keys.statement)?;
    let written = ledger.record(now, event)?;
    drop(ledger);
    written.durable()?;
    Ok(Response::FreshnessSigned { envelope })
}

/// The release document of our own statement, if the request may be granted.
fn check(
    desk: &Desk,
    wanted: &FreshnessRequest,
    before: Option<ReleaseId>,
    max_secs: u64,
    may_go_back: impl Fn(ReleaseId, ReleaseId) -> bool,
) -> Result<ReleaseDocument, String> {
    if wanted.secs == 0 || wanted.secs > max_secs {
        return Err(format!(
            "a statement for {} s is asked for; `signer.freshness_max_secs` allows {max_secs}",
            wanted.secs
        ));
    }
    let document = own_release(desk, &wanted.release)?;
    match before {
        Some(before) if document.id < before && !may_go_back(before, document.id) => Err(format!(
            "release {} is older than {before}, which was called current before: a channel that was moved back is \
             fresh again when the policy says so in `moved_back`, or with the next release",
            document.id
        )),
        _ => Ok(document),
    }
}

pub(super) fn own_release(desk: &Desk, envelope: &Envelope) -> Result<ReleaseDocument, String> {
    let identity = desk.identity();
    let ours = |key: &&repo_model::wire::signer::PublishedKey| {
        key.role == KeyRole::Statement && key.state != KeyState::Revoked
    };
    let keys = identity
        .keys
        .iter()
        .filter(ours)
        .map(|key| key.public.as_str());
    let keys = keys.chain([identity.statement_key.as_str()]);
    let keys = keys.filter_map(|pem| pem.parse::<StatementPublicKey>().ok());
    let mut opened = keys.map(|key| Statement::<ReleaseDocument>::open(envelope, &key, RELEASE));
    let found = opened.find_map(Result::ok);
    let statement = found.ok_or("the release's statement is not one that was signed here")?;
    Ok(statement.predicate)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use repo_model::config::SignerConfig;
    use repo_model::dsse::{StatementKey, StatementSigner};
    use repo_model::freshness;
    use repo_model::release::ReleaseRepo;

    const SECS: i64 = 1_763_600_000;

    pub fn now() -> Timestamp {
        Timestamp::from_unix_secs(SECS)
    }

    pub fn open(directory: &std::path::Path) -> Desk {
        std::fs::write(directory.join("policy.toml"), "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\nrequire_provenance = false\n").unwrap();
        open_as_is(directory)
    }

    fn open_as_is(directory: &std::path::Path) -> Desk {
        let config = SignerConfig {
            state_dir: directory.join("state"),
            policy_file: directory.join("policy.toml"),
            unsigned_policy: true,
            ..SignerConfig::default()
        };
        if !config.state_dir.exists() {
            crate::keys::init(&config, now()).unwrap();
        }
        Desk::open(&config, now()).unwrap()
    }

    fn release(key: &dyn StatementSigner, id: u64) -> Envelope {
        release_with(key, id, format!("{id}").as_bytes())
    }

    /// With this `repomd.xml` for `base` on x86_64.
    pub fn release_with(key: &dyn StatementSigner, id: u64, repomd: &[u8]) -> Envelope {
        let document = ReleaseDocument {
            schema: repo_model::release::SCHEMA.to_owned(),
            id: ReleaseId(id),
            previous: None,
            issued: now(),
            repos: vec![ReleaseRepo {
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                repomd: FileDigest::of(repomd),
                package_list: FileDigest::of(b""),
                packages: 0,
            }],
        };
        Statement::new(RELEASE, Vec::new(), document)
            .sign(key)
            .unwrap()
    }

    fn ask(desk: &Desk, channel: &str, release: Envelope, secs: u64) -> Result<Envelope, String> {
        let wanted = FreshnessRequest {
            channel: channel.parse().unwrap(),
            release,
            secs,
        };
        match sign(desk, FileDigest::of(b""), &wanted, now()).unwrap() {
            Response::FreshnessSigned { envelope } => Ok(envelope),
            Response::BadRequest { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_channel_is_called_fresh_for_a_while_and_never_for_an_older_release() {
        let directory = tempfile::tempdir().unwrap();
        let desk = open(directory.path());
        let ours = |id| release(&*desk.keys.statement, id);
        let (three, four) = (ours(3), ours(4));
        let envelope = ask(&desk, "stable", three.clone(), 3_600).unwrap();
        let public = desk.keys.statement.public();
        let fresh = freshness::open(&envelope, &[public], now().plus_secs(3_599)).unwrap();
        assert_eq!(fresh.freshness().release, ReleaseId(3));
        assert_eq!(
            fresh.freshness().release_sha256,
            FileDigest::of(&three.to_json())
        );
        // Again, and on; each channel goes its own way.
        ask(&desk, "stable", three.clone(), 60).unwrap();
        ask(&desk, "stable", four.clone(), 60).unwrap();
        ask(&desk, "old", three.clone(), 60).unwrap();
        let back = ask(&desk, "stable", three.clone(), 60).unwrap_err();
        assert!(back.contains("release 3 is older than 4"), "{back}");
        drop(desk);
        // A signer that starts again remembers.
        let desk = open(directory.path());
        assert!(ask(&desk, "stable", three.clone(), 60).is_err());
        ask(&desk, "old", three, 60).unwrap();
        ask(&desk, "stable", four, 60).unwrap();
    }

    #[test]
    fn a_channel_that_the_policy_moved_back_is_fresh_there_until_it_moves_on() {
        let directory = tempfile::tempdir().unwrap();
        let desk = open(directory.path());
        let ours = |id| release(&*desk.keys.statement, id);
        let releases: Vec<Envelope> = (2..=5).map(ours).collect();
        let [two, three, four, five] = &releases[..] else {
            panic!("four releases");
        };
        ask(&desk, "stable", four.clone(), 60).unwrap();
        assert!(ask(&desk, "stable", three.clone(), 60).is_err());
        drop(desk);
        let policy = directory.path().join("policy.toml");
        let before = std::fs::read_to_string(&policy).unwrap();
        let newer = before.replace("version = 1", "version = 2");
        let back = "[[moved_back]]\nchannel = \"stable\"\nfrom = 4\nto = 3\n";
        std::fs::write(&policy, newer + back).unwrap();

        let desk = open_as_is(directory.path());
        // Again and again, but to this one alone, and in this channel alone.
        for _ in 0..2 {
            ask(&desk, "stable", three.clone(), 60).unwrap();
        }
        assert!(ask(&desk, "stable", two.clone(), 60).is_err());
        ask(&desk, "preview", four.clone(), 60).unwrap();
        assert!(ask(&desk, "preview", three.clone(), 60).is_err());
        // The channel has moved on: the way back is closed.
        ask(&desk, "stable", five.clone(), 60).unwrap();
        let said = ask(&desk, "stable", three.clone(), 60).unwrap_err();
        assert!(said.contains("release 3 is older than 5"), "{said}");
    }

    #[test]
    fn neither_a_strangers_release_nor_a_long_life_is_signed_for() {
        let directory = tempfile::tempdir().unwrap();
        let desk = open(directory.path());
        let stranger = StatementKey::from_seed(&[7; 32]).unwrap();
        let said = ask(&desk, "stable", release(&stranger, 3), 60).unwrap_err();
        assert!(said.contains("not one that was signed here"), "{said}");
        let max = desk.config.freshness_max_secs;
        for secs in [0, max + 1] {
            let said = ask(&desk, "stable", release(&*desk.keys.statement, 3), secs).unwrap_err();
            assert!(said.contains("freshness_max_secs"), "{said}");
        }
        ask(&desk, "stable", release(&*desk.keys.statement, 3), max).unwrap();
    }
}
