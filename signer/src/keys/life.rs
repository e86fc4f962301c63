//! The life of a key: made and shown to clients (`next`), then signing (`current`), then kept for what it
//! signed (`retired`), or taken back (`revoked`).
//!
//! Each step is a record in the journal first and a new `keys.json` then; a step that was cut short in
//! between is taken again. The journal belongs to one process, so no step can be taken under a running
//! signer.

use super::ring::{Ring, RingKey};
use super::{KeyError, backend, make_state_dir, public};
use crate::journal::{Event, Journal};
use repo_model::Timestamp;
use repo_model::config::{PostQuantum, SignerConfig};
use repo_model::wire::signer::{KeyRole, KeyState, MIN_STAGED_DAYS};

/// Makes the next key of a role, so that clients can have it before it signs.
pub fn stage(config: &SignerConfig, role: KeyRole, now: Timestamp) -> Result<RingKey, KeyError> {
    let dir = &config.state_dir;
    make_state_dir(dir)?;
    if role.is_post_quantum() && config.post_quantum == PostQuantum::Off {
        return Err(KeyError::Life(format!(
            "there is to be no {role} key: `signer.post_quantum` is off"
        )));
    }
    let mut ring = existing(config)?;
    if let Some(next) = ring.one(role, KeyState::Next) {
        return Err(KeyError::Life(format!(
            "{} is staged already: rotate, or revoke it",
            next.label
        )));
    }
    let key = RingKey {
        role,
        label: ring.new_label(role),
        state: KeyState::Next,
        since: Some(now),
    };
    let mut journal = open_journal(config)?;
    let store = backend::open(config)?;
    store.make(&key.slot(), config, now)?;
    let fingerprint = public::write(&*store, dir, &key, now)?;
    record(&mut journal, &key, fingerprint, None, now)?;
    ring.keys.push(key.clone());
    ring.write(dir)?;
    Ok(key)
}

/// Lets the staged key sign; the current one is retired.
///
/// * `at_once`: also when clients had less than [`MIN_STAGED_DAYS`] to fetch it.
pub fn rotate(
    config: &SignerConfig,
    role: KeyRole,
    at_once: bool,
    now: Timestamp,
) -> Result<RingKey, KeyError> {
    let mut ring = existing(config)?;
    let mut journal = open_journal(config)?;
    let key = take_over(config, &mut ring, &mut journal, role, at_once, now)?;
    in_force(config, &ring, now)?;
    Ok(key)
}

fn take_over(
    config: &SignerConfig,
    ring: &mut Ring,
    journal: &mut Journal,
    role: KeyRole,
    at_once: bool,
    now: Timestamp,
) -> Result<RingKey, KeyError> {
    let Some(next) = ring.one(role, KeyState::Next).cloned() else {
        return Err(KeyError::Life(format!(
            "no {role} key is staged: `hallmark-signer key stage {role}`, and give clients time to fetch it"
        )));
    };
    let ready = next
        .since
        .map(|staged| staged.plus_secs(MIN_STAGED_DAYS * 86_400));
    if let Some(ready) = ready.filter(|ready| *ready > now && !at_once) {
        return Err(KeyError::Life(format!(
            "{} is staged since less than {MIN_STAGED_DAYS} days: clients that have not fetched it would refuse \
             what it signs; rotate after {ready}, or say --at-once",
            next.label
        )));
    }
    // A key that cannot sign must not become the one that has to.
    let store = backend::open(config)?;
    let fingerprint = public::write(&*store, &config.state_dir, &next, now)?;
    if let Some(current) = ring.one(role, KeyState::Current).cloned() {
        ring.set(&current.label, KeyState::Retired, now);
    }
    ring.set(&next.label, KeyState::Current, now);
    let key = RingKey {
        state: KeyState::Current,
        since: Some(now),
        ..next
    };
    record(journal, &key, fingerprint, None, now)?;
    Ok(key)
}

/// Takes a key back: from now on nothing that it signs, or signed, is to be accepted. The staged key takes
/// the place of the current one; without a staged key that is refused.
///
/// * `compromised`: somebody else may have it; otherwise it is just done with.
pub fn revoke(
    config: &SignerConfig,
    label: &str,
    compromised: bool,
    reason: &str,
    now: Timestamp,
) -> Result<RingKey, KeyError> {
    let dir = &config.state_dir;
    let mut ring = existing(config)?;
    let found = ring.keys.iter().find(|key| key.label == label).cloned();
    let Some(key) = found else {
        return Err(KeyError::Life(format!(
            "there is no key {label}: `hallmark-signer key status` lists them"
        )));
    };
    if key.state == KeyState::Revoked {
        return Ok(key);
    }
    let mut journal = open_journal(config)?;
    if key.state == KeyState::Current {
        take_over(config, &mut ring, &mut journal, key.role, true, now)?;
    }
    let store = backend::open(config)?;
    public::write_revoked(&*store, dir, &key, compromised, reason, now)?;
    let fingerprint = public::fingerprint(dir, &key)?;
    let key = RingKey {
        state: KeyState::Revoked,
        since: Some(now),
        ..key
    };
    record(&mut journal, &key, fingerprint, Some(reason), now)?;
    ring.set(label, KeyState::Revoked, now);
    in_force(config, &ring, now)?;
    Ok(key)
}

/// The list of an installation that `init` has made.
fn existing(config: &SignerConfig) -> Result<Ring, KeyError> {
    let path = config.state_dir.clone();
    Ring::read(config)?.ok_or(KeyError::Missing { path })
}

fn open_journal(config: &SignerConfig) -> Result<Journal, KeyError> {
    Journal::open(&config.state_dir, |_| {}).map_err(KeyError::Journal)
}

fn record(
    journal: &mut Journal,
    key: &RingKey,
    fingerprint: String,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), KeyError> {
    let event = Event::KeyChanged {
        role: key.role,
        label: key.label.clone(),
        state: key.state,
        key: fingerprint,
        reason: reason.map(crate::journal::clipped),
    };
    journal.append(now, event).map_err(KeyError::Journal)?;
    Ok(())
}

/// Puts a list in force that the keys are there for. The list comes last: a step that failed before can be
/// taken again, and one that did not is done.
fn in_force(config: &SignerConfig, ring: &Ring, now: Timestamp) -> Result<(), KeyError> {
    super::load_with(config, ring, now)?;
    ring.write(&config.state_dir)
}
