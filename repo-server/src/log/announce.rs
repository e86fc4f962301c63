//! Has the signer say, for the log, where channels were moved to, which keys and policy are in force, and which
//! rebuilders were let in or turned away.
//!
//! A move counts when it is made: the signer may be away, and a rollback must not wait for it. It speaks of it
//! afterwards, and monitors alarm when a channel points for long where nobody said that it does.

use super::away;
use crate::app::App;
use crate::db;
use crate::http::keys::{identity, refresh};
use crate::jobs::JobError;
use crate::signer_link;
use hallmark_signer::client::{Client, ClientError};
use repo_model::announcement::KeySet;
use repo_model::dsse::Envelope;

/// Moves in one round.
const ROUND: u32 = 100;

/// Has everything said that was not said yet.
///
/// * `anew`: ask the signer whether its keys are others than it told before.
pub async fn announce(app: &App, anew: bool) -> Result<(), JobError> {
    // Whatever keeps the signer from speaking of its keys must not keep moves out of the log.
    let of_keys = keys(app, anew).await;
    let of_moves = moves(app).await;
    decisions(app).await.and(of_moves).and(of_keys)
}

async fn decisions(app: &App) -> Result<(), JobError> {
    loop {
        let waiting = app
            .db
            .read(|connection| db::announcements::waiting_decisions(connection, ROUND))
            .await?;
        if waiting.is_empty() {
            return Ok(());
        }
        for decision in waiting {
            let number = decision.number;
            // No refusal is final: a signer that is older than this server does not know the request yet.
            let said = ask(app, move |signer| signer.announce_rebuilder(decision)).await?;
            let statement = app.store.put(said.to_json()).await?;
            app.db
                .write(move |tx| db::announcements::insert_decision(tx, number, statement))
                .await?;
        }
    }
}

async fn moves(app: &App) -> Result<(), JobError> {
    loop {
        let waiting = app
            .db
            .read(|connection| db::announcements::waiting_moves(connection, ROUND))
            .await?;
        if waiting.is_empty() {
            return Ok(());
        }
        for (move_id, moved) in waiting {
            let said = ask(app, move |signer| signer.announce_move(moved)).await;
            let statement = match said {
                // It has forgotten the release, or never knew it: a restored signer. Asking again helps nothing.
                Err(JobError::Signer(ClientError::BadRequest { message })) => {
                    tracing::warn!("move {move_id} of a channel is not in the log: {message}");
                    None
                }
                said => Some(app.store.put(said?.to_json()).await?),
            };
            app.db
                .write(move |tx| db::announcements::insert_move(tx, move_id, statement))
                .await?;
        }
    }
}

async fn keys(app: &App, anew: bool) -> Result<(), JobError> {
    let said = app.db.read(db::announcements::last_keys).await?;
    let known = match anew {
        true => away(refresh(app).await)?,
        false => away(identity(app).await)?,
    };
    if said.as_ref() == Some(&KeySet::of(&known)) {
        return Ok(());
    }
    let known = KeySet::of(&away(refresh(app).await)?);
    if said.as_ref() == Some(&known) {
        return Ok(());
    }
    let envelope = ask(app, Client::announce_keys).await?;
    let statement = app.store.put(envelope.to_json()).await?;
    app.db
        .write(move |tx| db::announcements::insert_keys(tx, &known, statement))
        .await?;
    Ok(())
}

async fn ask(
    app: &App,
    question: impl FnOnce(&mut Client) -> Result<Envelope, ClientError> + Send + 'static,
) -> Result<Envelope, JobError> {
    let server = app.config.server.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let mut client = signer_link::connect(&server)?;
        question(&mut client)
    });
    asked.await?.map_err(JobError::Signer)
}
