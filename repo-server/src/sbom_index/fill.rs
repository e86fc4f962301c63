//! `index-sboms`: every SBOM that was made since the last run, in the order they were made.

use super::read::{self, ReadError};
use super::write::{self, NewDocument, Writer};
use crate::app::{App, now_millis};
use crate::db::evidence::NewSbom;
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use repo_model::buildinfo::{self, BuildInfo};
use repo_model::{FileDigest, sbom_facts};
use rusqlite::{Connection, Transaction};
use std::io::BufReader;

/// Name in the database.
pub const NAME: &str = "index-sboms";

/// Formats that are read, the preferred one first.
const FORMATS: [&str; 2] = ["cyclonedx-1.6", "cyclonedx-1.7"];
/// Rows of evidence in one look.
const BATCH: u32 = 500;

/// Asks for it; asking again before it starts changes nothing.
pub fn enqueue(tx: &Transaction<'_>) -> Result<(), DbError> {
    db::jobs::enqueue(tx, NAME, "", None, now_millis())
}

/// Runs it.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    catch_up(&app).await?;
    app.db
        .write(move |tx| db::jobs::finish(tx, job.job_id))
        .await?;
    Ok(())
}

/// Indexes everything that is stored by now. Publishing waits for this, so that a release can be asked
/// about from its first moment.
pub async fn catch_up(app: &App) -> Result<(), JobError> {
    let _turn = app.sbom_index.turn.lock().await;
    let mut indexed = 0_u64;
    'look: loop {
        let seen: i64 = app.sbom_index.db.read(seen).await?;
        if seen > app.db.read(db::evidence::last_id).await? {
            tracing::warn!("the database is older than the SBOM index, which is made again");
            app.sbom_index.db.write(write::clear).await?;
            continue;
        }
        let batch = app
            .db
            .read(move |connection| db::evidence::sboms_after(connection, seen, &FORMATS, BATCH))
            .await?;
        if batch.is_empty() {
            break;
        }
        let mut at = seen;
        for sbom in batch {
            let next = sbom.evidence_id;
            if !index(app, at, sbom).await? {
                // Somebody emptied the index meanwhile.
                continue 'look;
            }
            at = next;
            indexed += 1;
        }
    }
    if indexed > 0 {
        tracing::info!(indexed, "{indexed} SBOMs are indexed");
    }
    Ok(())
}

/// The last row of evidence that was looked at.
pub fn seen(connection: &Connection) -> Result<i64, DbError> {
    let sql = "SELECT value FROM state WHERE key = 'evidence_seen'";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Moves on; `false` when the index is not where the caller saw it.
fn advance(tx: &Transaction<'_>, from: i64, to: i64) -> Result<bool, DbError> {
    let sql = "UPDATE state SET value = ?2 WHERE key = 'evidence_seen' AND value = ?1";
    Ok(tx.execute(sql, [from, to])? == 1)
}

async fn index(app: &App, from: i64, sbom: NewSbom) -> Result<bool, JobError> {
    let to = sbom.evidence_id;
    let header = sbom.header;
    let stored = app
        .sbom_index
        .db
        .read(move |connection| write::stored(connection, header))
        .await?;
    let preferred = |format: &str| FORMATS.iter().position(|known| *known == format);
    let is_known = stored.is_some_and(|(digest, format)| {
        digest == sbom.digest.to_hex() || preferred(&format) < preferred(&sbom.label)
    });
    if is_known {
        return Ok(app
            .sbom_index
            .db
            .write(move |tx| advance(tx, from, to))
            .await?);
    }
    let (buildinfo_id, info) = buildinfo(app, sbom.buildinfo).await?;
    let size_bytes = app.store.size_bytes(sbom.digest).await?;
    let reader = match size_bytes {
        Some(size) if size <= sbom_facts::MAX_BYTES as u64 => {
            Some(app.store.blocking_reader(sbom.digest).await?)
        }
        _ => None,
    };
    let done = app.sbom_index.db.write(move |tx| {
        if !advance(tx, from, to)? {
            return Ok(false);
        }
        let buildinfo_id = match info {
            Some(info) => Some(write::buildinfo(tx, sbom.buildinfo, &info)?),
            None => buildinfo_id,
        };
        let document = NewDocument {
            header: sbom.header,
            sbom: sbom.digest,
            format: sbom.label,
            buildinfo_id,
        };
        match reader {
            None => write::unreadable(tx, &document, "the document is missing or too long")?,
            Some(reader) => store(tx, &document, BufReader::with_capacity(64 << 10, reader))?,
        }
        Ok::<_, JobError>(true)
    });
    done.await
}

/// One document into the index. What is unreadable leaves its reason there and is no error.
pub(super) fn store(
    tx: &Transaction<'_>,
    document: &NewDocument,
    reader: impl std::io::Read,
) -> Result<(), JobError> {
    let mut writer = Writer::new(tx, document)?;
    match read::read(reader, document.header, &mut writer)? {
        Ok(()) => Ok(()),
        // The store failed, not the document: the job is tried again.
        Err(ReadError::Json(error)) if error.is_io() => {
            Err(JobError::Scratch(std::io::Error::other(error)))
        }
        Err(error) => {
            let why = crate::jobs::chain(&error);
            tracing::warn!(sbom = %document.sbom, error = why, "SBOM {} is not indexed: {why}", document.sbom);
            Ok(write::unreadable(tx, document, &why)?)
        }
    }
}

/// The row of a buildinfo, or the buildinfo itself when it has none yet; neither when it cannot be read.
async fn buildinfo(
    app: &App,
    digest: FileDigest,
) -> Result<(Option<i64>, Option<BuildInfo>), JobError> {
    let known = app
        .sbom_index
        .db
        .read(move |connection| write::buildinfo_id(connection, digest))
        .await?;
    if known.is_some() {
        return Ok((known, None));
    }
    let limit = buildinfo::MAX_BYTES as u64;
    match app.store.size_bytes(digest).await? {
        Some(size) if size <= limit => {}
        _ => return Ok((None, None)),
    }
    let json = app.store.get(digest, limit).await?;
    Ok((None, BuildInfo::from_json(&json).ok()))
}
