//! Keeps the signer's word about where each channel points from growing old: asked for anew when a channel
//! moves, and when half of its life is over.

use crate::app::{App, now};
use crate::db::channels::FreshnessRow;
use crate::db::{self, DbError};
use crate::jobs::{JobError, chain};
use crate::signer_link;
use hallmark_signer::client::ClientError;
use repo_model::dsse::Envelope;
use repo_model::wire::signer::FreshnessRequest;
use repo_model::{ChannelName, ReleaseId, Timestamp};
use std::collections::HashMap;

/// After the signer refused to say it, it is asked again this many seconds later, or when the channel moves.
const RETRY_SECS: i64 = 300;
/// The same, when it was away or in trouble.
const RETRY_SOON_SECS: i64 = 5;
/// Largest statement of a release, bytes.
const MAX_RELEASE_BYTES: u64 = 16 << 20;

/// What was asked for in vain, and when to ask again.
pub type Refused = HashMap<ChannelName, (ReleaseId, Timestamp)>;

/// Has the signer say where channels point, as far as it has to be said anew.
pub async fn renew(app: &App, mut refused: Refused) -> Refused {
    if app.config.mirrors.freshness_secs == 0 {
        return refused;
    }
    let at = now();
    let wanted = match app.db.read(move |connection| wanted(connection, at)).await {
        Ok(wanted) => wanted,
        Err(error) => {
            let error = chain(&error);
            tracing::error!(error, "cannot tell which channels are fresh: {error}");
            return refused;
        }
    };
    for (channel, release) in wanted {
        let again = refused
            .get(&channel)
            .is_none_or(|(last, due)| *last != release || *due <= at);
        if !again {
            continue;
        }
        match say(app, &channel, release).await {
            Ok(()) => {
                refused.remove(&channel);
            }
            Err(error) => {
                let wait = match &error {
                    JobError::Signer(
                        ClientError::Unreachable { .. } | ClientError::Failed { .. },
                    ) => RETRY_SOON_SECS,
                    _ => RETRY_SECS,
                };
                let error = chain(&error);
                tracing::warn!(
                    error,
                    channel = %channel,
                    "nothing new is said about the freshness of {channel} at release {release}: {error}"
                );
                refused.insert(channel, (release, at.plus_secs(wait)));
            }
        }
    }
    refused
}

/// Channels whose statement is of another release, half over, or missing.
fn wanted(
    connection: &rusqlite::Connection,
    now: Timestamp,
) -> Result<Vec<(ChannelName, ReleaseId)>, DbError> {
    let mut wanted = Vec::new();
    for status in db::channels::all(connection)? {
        let Some(release) = status.release else {
            continue;
        };
        let said = db::channels::freshness(connection, &status.channel)?;
        if !said.is_some_and(|said| still_good(&said, release, now)) {
            wanted.push((status.channel, release));
        }
    }
    Ok(wanted)
}

fn still_good(said: &FreshnessRow, release: ReleaseId, now: Timestamp) -> bool {
    let life = said
        .expires
        .unix_secs()
        .saturating_sub(said.issued.unix_secs());
    let half_over = now >= said.issued.plus_secs(life / 2);
    // A clock that was set back must not keep a statement for ever.
    said.release == release && !half_over && said.issued <= now
}

async fn say(app: &App, channel: &ChannelName, release: ReleaseId) -> Result<(), JobError> {
    let row = app
        .db
        .read(move |connection| db::releases::by_id(connection, release))
        .await?
        .ok_or_else(|| JobError::Broken(format!("there is no release {release}")))?;
    let json = app.store.get(row.envelope, MAX_RELEASE_BYTES).await?;
    let envelope = Envelope::from_json(&json).map_err(|error| {
        JobError::Broken(format!(
            "the statement of release {release} does not read back: {error}"
        ))
    })?;
    let request = FreshnessRequest {
        channel: channel.clone(),
        release: envelope,
        secs: app.config.mirrors.freshness_secs,
    };
    let (server, life) = (app.config.server.clone(), request.secs);
    let asked =
        tokio::task::spawn_blocking(move || signer_link::connect(&server)?.sign_freshness(request));
    let said = asked
        .await
        .map_err(|error| JobError::Away(error.to_string()))?
        .map_err(JobError::Signer)?;
    let issued = now();
    let row = FreshnessRow {
        release,
        envelope: String::from_utf8_lossy(&said.to_json()).into_owned(),
        issued,
        expires: issued.plus_secs(i64::try_from(life).unwrap_or(i64::MAX)),
    };
    let kept = channel.clone();
    app.db
        .write(move |tx| db::channels::set_freshness(tx, &kept, &row))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_renewed_at_half_its_life_and_when_the_channel_moves() {
        let at = Timestamp::from_unix_secs;
        let said = FreshnessRow {
            release: ReleaseId(3),
            envelope: String::new(),
            issued: at(1_000),
            expires: at(3_000),
        };
        assert!(still_good(&said, ReleaseId(3), at(1_999)));
        assert!(!still_good(&said, ReleaseId(3), at(2_000)));
        assert!(!still_good(&said, ReleaseId(4), at(1_100)));
        assert!(!still_good(&said, ReleaseId(3), at(999)));
    }
}
