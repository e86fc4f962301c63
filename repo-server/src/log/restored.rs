//! Database and files that differ at start. A database that was put back from an older copy: the log's own files
//! know more then, and nothing of a log ever goes back: their places are taken over, and what the database had not
//! written yet comes after. And a crash just before the served checkpoint was replaced: the database knows more.

use super::tiles::{StatementsTile, Tiles, TilesError, directory, read_statements};
use super::{CHECKPOINT, LogError, check_root, key, open, serve_checkpoint};
use crate::app::App;
use crate::db;
use crate::jobs::JobError;
use repo_model::FileDigest;
use repo_model::log::{VerifierKey, tiles_of};
use std::io;
use std::path::Path;

/// What the files have more.
#[derive(Debug)]
struct Ahead {
    note: String,
    size: u64,
    /// Envelopes from the first place on that the database lacks.
    statements: Vec<FileDigest>,
}

/// Takes over what the files have more than the database, after a check of them against the signed
/// checkpoint.
pub async fn take_over(app: &App) -> Result<(), JobError> {
    let progress = app.db.read(db::log::progress).await?;
    let last = app.db.read(db::log::published_checkpoint).await?;
    let directory = directory(&app.config.server.data_dir);
    let note = match std::fs::read_to_string(directory.join(CHECKPOINT)) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let name = CHECKPOINT.to_owned();
            return Err(LogError::from(TilesError::Read { tile: name, source }).into());
        }
    };
    if last.as_deref() == Some(&note) {
        return Ok(());
    }
    let key = key(app).await?;
    let found = tokio::task::spawn_blocking(move || {
        let size = open(&note, &key)?.size;
        // A crash between the last file and the database leaves no more than was signed.
        if size <= progress.signed {
            return Ok(None);
        }
        ahead(&directory, progress.published, last.as_deref(), note, &key).map(Some)
    });
    let Some(ahead) = found.await?? else {
        return Ok(());
    };
    let (from, size) = (progress.published, ahead.size);
    app.db
        .write(move |tx| db::log::take_over(tx, from, &ahead.statements, size, &ahead.note))
        .await?;
    tracing::warn!(
        log.size = size,
        "the database is older than the log: {} places are taken over from the log's files",
        size - from
    );
    Ok(())
}

/// Serves the newest published head when the file has another one: it lacks cosignatures that came just before a
/// crash. After [`take_over`], so the file is never ahead.
pub async fn serve_again(app: &App) -> Result<(), JobError> {
    let _one_at_a_time = app.sequencer.lock().await;
    let Some(note) = app.db.read(db::log::published_checkpoint).await? else {
        return Ok(());
    };
    let path = directory(&app.config.server.data_dir).join(CHECKPOINT);
    match std::fs::read(&path) {
        Ok(served) if served == note.as_bytes() => Ok(()),
        Ok(_) => {
            tracing::info!("the served head of the log is made good from the database");
            serve_checkpoint(app, note).await
        }
        // Without its file the log was taken away: nothing is known of its tiles.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            let tile = CHECKPOINT.to_owned();
            Err(LogError::from(TilesError::Read { tile, source }).into())
        }
    }
}

/// `published`, `last`: how far the database knows the files, and its checkpoint of them.
fn ahead(
    directory: &Path,
    published: u64,
    last: Option<&str>,
    note: String,
    key: &VerifierKey,
) -> Result<Ahead, LogError> {
    // What the database knows must be the beginning of what is there.
    check_root(&mut Tiles::open(directory, published), last, key)?;
    let size = open(&note, key)?.size;
    check_root(&mut Tiles::open(directory, size), Some(&note), key)?;
    let mut statements = Vec::new();
    for tile in tiles_of(published, size) {
        if tile.level.is_some() {
            continue;
        }
        let path = StatementsTile::of(tile);
        let failed = |source| TilesError::Read {
            tile: path.to_string(),
            source,
        };
        let digests = read_statements(directory, path).map_err(failed)?;
        let first = tile.index * 256;
        let known = usize::try_from(published.saturating_sub(first)).unwrap_or(usize::MAX);
        let (digests, rest) = digests.as_chunks::<32>();
        if digests.len() != usize::from(tile.width) || !rest.is_empty() {
            return Err(failed(io::ErrorKind::InvalidData.into()).into());
        }
        let new = digests.iter().skip(known);
        statements.extend(new.map(|digest| FileDigest::from_bytes(*digest)));
    }
    Ok(Ahead {
        note,
        size,
        statements,
    })
}
