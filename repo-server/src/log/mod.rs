//! The transparency log: every signed statement gets a place in one append-only tree, whose head the
//! signer signs. Static files (C2SP `tlog-tiles`), served at `/log/` and fit for any web server.
//!
//! The order of writes makes a crash harmless: places are given in a transaction; the signer signs a
//! head only if it goes on from the one before; the signed head is locked into the database; then tiles are
//! written, witnesses asked, and the served checkpoint written last. Whatever is missing after a crash is made again from the
//! database by the same code; nothing ever goes back.

mod announce;
mod arrears;
mod entries;
mod packs;
mod proofs;
mod restored;
mod shown;
mod signatures;
#[cfg(test)]
mod steps_tests;
mod tiles;
mod witnesses;

pub use proofs::{attach, bundle, bundle_of_files, trusted_root};
pub use shown::{Shown, show};
pub use tiles::{StatementsTile, TilesError, directory, read, read_statements};
pub(crate) use tiles::{sync_directory, write_file};
pub use witnesses::{Witnesses, demand_quorum, state as witnesses_state};

use crate::app::App;
use crate::db;
use crate::db::log::Progress;
use crate::http::error::ApiError;
use crate::http::keys;
use crate::jobs::{self, JobError};
use crate::signer_link;
use hallmark_signer::client::ClientError;
use repo_model::FileDigest;
use repo_model::config::ServerConfig;
use repo_model::log::{Checkpoint, CheckpointError, Note, VerifierKey, consistency_proof};
use repo_model::wire::signer::{CheckpointRequest, Identity};
use std::time::{Duration, Instant};
use tiles::Tiles;
use tokio_util::sync::CancellationToken;
use witnesses::Ask;

/// Entries under one checkpoint more than under the one before, at most: so many are held in memory.
const BATCH: u64 = 16_384;
/// The file that moves.
pub const CHECKPOINT: &str = "checkpoint";
/// Pause between two looks for statements that wait.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause between two questions to the signer whether its keys have changed.
const KEYS_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause after failures.
const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// The log did not advance. What has a place keeps it; trying again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Files of the log are damaged or cannot be written.
    #[error(transparent)]
    Tiles(#[from] TilesError),
    /// The signer is away or refuses.
    #[error("the signer did not sign the head of the log")]
    Signer(#[from] ClientError),
    /// A checkpoint, the signer's or one that was kept, is not the log's.
    #[error("a checkpoint cannot be used")]
    Checkpoint(#[from] CheckpointError),
    /// The signer signed something else than it was asked to.
    #[error("asked for a head over {asked} entries, the signer signed another over {signed}")]
    OtherHead {
        /// Ours.
        asked: u64,
        /// The signer's.
        signed: u64,
    },
    /// Our database or disk lacks entries that the signer has signed: they were restored from an older copy.
    #[error(
        "the signer has signed a log of {signed} entries, only {here} are here: the data directory is older than the log"
    )]
    Behind {
        /// The signer's.
        signed: u64,
        /// Ours.
        here: u64,
    },
    /// The files under the newest checkpoint do not give its root.
    #[error(
        "the log's files do not lead to the root of checkpoint {size}: restore them from a mirror"
    )]
    Damaged {
        /// Its size.
        size: u64,
    },
    /// Too few witnesses have seen the head. Asking them again may help; who they are says the policy.
    #[error("the head of the log waits for witnesses: {why}")]
    NoQuorum {
        /// Who has cosigned, and what is wrong with the others.
        why: String,
    },
    /// An entry and its proof do not fit together: a fault of ours, or a damaged disk.
    #[error("entry {index} of the log is not proven by the log's own files")]
    NotProven {
        /// Its place.
        index: u64,
    },
}

/// Gives every waiting statement its place, has the head signed, and writes what is served.
///
/// * `also`: envelopes in the store that are not recorded as evidence, a release's for one.
pub async fn advance(app: &App, also: &[FileDigest]) -> Result<(), JobError> {
    let _one_at_a_time = app.sequencer.lock().await;
    entries::take_in(app, also).await?;
    restored::take_over(app).await?;
    loop {
        let progress = app.db.read(db::log::progress).await?;
        if progress.published < progress.signed {
            // New, or what a crash left between the signature and the last file.
            publish(app, progress).await?;
        } else if progress.signed < progress.entries {
            sign(app, progress).await?;
        } else {
            return Ok(());
        }
    }
}

/// Adds what waits, until the server stops: also what never comes to a release, a rebuild that differed
/// for one.
pub async fn run(app: App, stop: CancellationToken) {
    let mut pause = PAUSE;
    while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
        let done = catch_up(&app).await;
        pause = next_pause(&done, pause);
        if done.is_ok() {
            // Side by side: there may be hours of arrears, and the signer does not wait for so long.
            tokio::join!(keep_on(&app, &stop), arrears::make_up(&app, &stop));
            return;
        }
    }
}

async fn keep_on(app: &App, stop: &CancellationToken) {
    let mut pause = PAUSE;
    let mut keys_asked: Option<Instant> = None;
    let mut signatures = signatures::HandOver::default();
    while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
        let anew = keys_asked.is_none_or(|at| at.elapsed() > KEYS_PAUSE);
        if anew {
            keys_asked = Some(Instant::now());
        }
        let done = go_on(app, &mut signatures, anew, stop).await;
        pause = next_pause(&done, pause);
    }
}

/// Says what went wrong, and how long to wait.
fn next_pause(done: &Result<(), JobError>, pause: Duration) -> Duration {
    let Err(error) = done else { return PAUSE };
    let cause = jobs::chain(error);
    tracing::warn!(
        error = cause,
        "the log did not advance, trying again: {cause}"
    );
    (pause * 2).min(MAX_BACK_OFF)
}

/// * `anew`: ask the signer after its keys, and what it has signed.
async fn go_on(
    app: &App,
    signatures: &mut signatures::HandOver,
    anew: bool,
    stop: &CancellationToken,
) -> Result<(), JobError> {
    advance(app, &[]).await?;
    // What fails here holds up nothing that others have said.
    let announced = announce::announce(app, anew).await;
    let fresh = witnesses::keep_fresh(app).await;
    // Last: without witnesses it waits for them.
    let handed_over = match anew {
        true => signatures.go_on(app, stop).await,
        false => Ok(()),
    };
    announced.and(fresh).and(handed_over)
}

/// Releases that were published before there was a log, or before a crash.
async fn catch_up(app: &App) -> Result<(), JobError> {
    let mut releases = app.db.read(db::releases::unlogged).await?;
    for index in (0..releases.len()).rev() {
        // The envelope of a release that was taken over from the signer may be lost.
        if app.store.size_bytes(releases[index]).await?.is_none() {
            releases.remove(index);
        }
    }
    advance(app, &releases).await?;
    restored::serve_again(app).await
}

/// The log's public key.
pub async fn key(app: &App) -> Result<VerifierKey, JobError> {
    let mut identity = identity(app).await?;
    if identity.log_key.is_empty() {
        // Remembered from a signer that had no log yet.
        identity = away(keys::refresh(app).await)?;
    }
    let parsed = identity.log_key.parse();
    parsed.map_err(|error| JobError::Broken(format!("the signer's log key: {error}")))
}

async fn identity(app: &App) -> Result<Identity, JobError> {
    away(keys::identity(app).await)
}

fn away<T>(asked: Result<T, ApiError>) -> Result<T, JobError> {
    asked.map_err(|error| JobError::Away(error.message().to_owned()))
}

/// Has a head over what waits signed, and locks it in.
async fn sign(app: &App, progress: Progress) -> Result<(), JobError> {
    let to = progress.entries.min(progress.published + BATCH);
    let entries = app
        .db
        .read(move |connection| db::log::pending(connection, progress.published, to))
        .await?;
    let last = app.db.read(db::log::published_checkpoint).await?;
    let directory = directory(&app.config.server.data_dir);
    let (server, key) = (app.config.server.clone(), key(app).await?);
    let signed = tokio::task::spawn_blocking(move || {
        let mut tree = Tiles::open(&directory, progress.published);
        check_root(&mut tree, last.as_deref(), &key)?;
        tree.extend(entries)?;
        sign_head(&server, &mut tree, &key)
    });
    let (size, note) = signed.await??;
    app.db
        .write(move |tx| db::log::insert_checkpoint(tx, size, &note))
        .await?;
    Ok(())
}

/// Asks the signer; returns the head's size and the signed note.
fn sign_head(
    server: &ServerConfig,
    tree: &mut Tiles<'_>,
    key: &VerifierKey,
) -> Result<(u64, String), LogError> {
    let (size, root) = (tree.size(), tree.root()?);
    let mut client = signer_link::connect(server)?;
    let before = client.last_checkpoint()?;
    if before > size {
        return Err(LogError::Behind {
            signed: before,
            here: size,
        });
    }
    let note = client.sign_checkpoint(CheckpointRequest {
        size,
        root,
        before,
        proof: consistency_proof(before, size, tree)?,
    })?;
    let checkpoint = open(&note, key)?;
    if (checkpoint.size, checkpoint.root) != (size, root) {
        return Err(LogError::OtherHead {
            asked: size,
            signed: checkpoint.size,
        });
    }
    Ok((size, note))
}

fn open(note: &str, key: &VerifierKey) -> Result<Checkpoint, LogError> {
    let note = Note::parse(note.as_bytes()).map_err(CheckpointError::from)?;
    Ok(Checkpoint::open(&note, key)?)
}

/// The files on disk are those of the newest checkpoint; without it nothing is built on them.
fn check_root(tree: &mut Tiles<'_>, last: Option<&str>, key: &VerifierKey) -> Result<(), LogError> {
    let Some(note) = last else {
        return Ok(());
    };
    let checkpoint = open(note, key)?;
    match checkpoint.size == tree.size() && checkpoint.root == tree.root()? {
        true => Ok(()),
        false => Err(LogError::Damaged {
            size: checkpoint.size,
        }),
    }
}

/// Writes the tiles of the newest signed checkpoint, then the checkpoint itself.
async fn publish(app: &App, progress: Progress) -> Result<(), JobError> {
    let Progress {
        published, signed, ..
    } = progress;
    let entries = app
        .db
        .read(move |connection| db::log::pending(connection, published, signed))
        .await?;
    let directory = directory(&app.config.server.data_dir);
    let written = tokio::task::spawn_blocking(move || {
        let mut tree = Tiles::open(&directory, published);
        tree.extend(entries)?;
        tree.write()
    });
    written.await?.map_err(LogError::from)?;
    if let Some(note) = app.db.read(db::log::newest_checkpoint).await? {
        let note = witnesses::cosign(app, note, Ask::Ready).await?;
        witnesses::keep(app, signed, note.clone()).await?;
        serve_checkpoint(app, note).await?;
    }
    app.db
        .write(move |tx| db::log::set_published(tx, signed))
        .await?;
    tracing::debug!(log.size = signed, "the log has {signed} entries");
    Ok(())
}

/// Puts a head, with the cosignatures that it has, in the place of the one that is served.
async fn serve_checkpoint(app: &App, note: String) -> Result<(), JobError> {
    let directory = directory(&app.config.server.data_dir);
    let written = tokio::task::spawn_blocking(move || -> Result<(), LogError> {
        let failed = |source| TilesError::Write {
            name: CHECKPOINT.to_owned(),
            source,
        };
        write_file(&directory.join(CHECKPOINT), note.as_bytes()).map_err(failed)?;
        sync_directory(&directory).map_err(failed)?;
        Ok(())
    });
    Ok(written.await??)
}
