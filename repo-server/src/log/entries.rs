//! Which statements come into the log: all that somebody signed whose key is known, whatever they say.

use super::{away, identity};
use crate::app::App;
use crate::db;
use crate::db::log::LogEntry;
use crate::jobs::JobError;
use crate::store::StoreError;
use repo_model::FileDigest;
use repo_model::dsse::{Envelope, StatementPublicKey};
use repo_model::log::entry;
use repo_model::wire::rebuilders::Standing;
use repo_model::wire::signer::KeyRole;

/// Statements that are looked at in one transaction.
const ROUND: u32 = 1_024;
/// Largest envelope, bytes.
pub const MAX_ENVELOPE_BYTES: u64 = 16 << 20;

/// Gives places to `also` and to what the signer announced, then to all evidence that was not looked at yet.
pub async fn take_in(app: &App, also: &[FileDigest]) -> Result<(), JobError> {
    let mut keys = Keys {
        known: known_keys(app).await?,
        asked_again: false,
    };
    let announced = app.db.read(db::announcements::unlogged).await?;
    let mut extra = Vec::new();
    for digest in also.iter().chain(&announced) {
        extra.extend(new_entry(app, *digest, &mut keys).await?);
    }
    if !extra.is_empty() || !announced.is_empty() {
        app.db
            .write(move |tx| {
                db::log::append(tx, &extra, None)?;
                db::announcements::set_logged(tx, &announced)
            })
            .await?;
    }
    loop {
        let waiting = app
            .db
            .read(|connection| db::log::waiting(connection, ROUND))
            .await?;
        let Some((last, _)) = waiting.last().copied() else {
            return Ok(());
        };
        let mut entries = Vec::with_capacity(waiting.len());
        for (_, digest) in waiting {
            entries.extend(new_entry(app, digest, &mut keys).await?);
        }
        app.db
            .write(move |tx| db::log::append(tx, &entries, Some(last)))
            .await?;
    }
}

/// Keys by which statements are known.
struct Keys {
    known: Vec<StatementPublicKey>,
    /// Whether the signer was asked for its keys because of a statement with an unknown one: it may have
    /// changed them since it was asked last.
    asked_again: bool,
}

/// The entry for a stored envelope; none when no key that is known has signed it, since nobody could check
/// it.
async fn new_entry(
    app: &App,
    statement: FileDigest,
    keys: &mut Keys,
) -> Result<Option<LogEntry>, JobError> {
    let json = match app.store.get(statement, MAX_ENVELOPE_BYTES).await {
        // Nobody reads it, so it counts for nothing either; it must not stop the log.
        Err(StoreError::TooLarge { .. }) => return Ok(None),
        read => read?,
    };
    let Ok(envelope) = Envelope::from_json(&json) else {
        return Ok(None);
    };
    let mut made = with_known_key(&envelope, &keys.known);
    if made.is_none() && !keys.asked_again {
        keys.asked_again = true;
        away(crate::http::keys::refresh(app).await)?;
        keys.known = known_keys(app).await?;
        made = with_known_key(&envelope, &keys.known);
    }
    if made.is_none() {
        tracing::warn!(%statement, "statement {statement} is signed with no known key: it is not logged");
    }
    Ok(made.map(|entry| LogEntry { statement, entry }))
}

fn with_known_key(envelope: &Envelope, keys: &[StatementPublicKey]) -> Option<Vec<u8>> {
    // The hint only says whose key to try first.
    let hinted = |key: &&StatementPublicKey| {
        let id = key.key_id();
        envelope.signatures.iter().any(|one| one.keyid == id)
    };
    let (first, others): (Vec<_>, Vec<_>) = keys.iter().partition(hinted);
    let mut in_turn = first.into_iter().chain(others);
    in_turn.find_map(|key| entry(envelope, key).ok())
}

/// Keys whose statements are logged: the signer's own, everybody's in the policy, and those of rebuilders
/// that were let in.
async fn known_keys(app: &App) -> Result<Vec<StatementPublicKey>, JobError> {
    let identity = identity(app).await?;
    let mut keys = Vec::new();
    for pem in identity.certificates(KeyRole::Statement) {
        keys.push(
            pem.parse().map_err(|error| {
                JobError::Broken(format!("the signer's statement key: {error}"))
            })?,
        );
    }
    let policy = &app.policy;
    let holders = policy.rebuilders.iter().chain(&policy.builders);
    keys.extend(holders.map(|holder| holder.statement_key.clone()));
    keys.extend(
        policy
            .waiver_signers
            .iter()
            .map(|signer| signer.statement_key.clone()),
    );
    let enrolled = app.db.read(db::rebuilders::enrolments).await?;
    keys.extend(
        enrolled
            .into_iter()
            .filter(|row| row.standing == Standing::Approved)
            .map(|row| row.statement_key),
    );
    Ok(keys)
}
