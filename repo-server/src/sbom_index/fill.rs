//! `index-sboms`: every SBOM that was made since the last run, in the order they were made.

use super::read::{self, ReadError};
use super::write::{self, NewDocument, Writer};
use crate::app::{App, now_millis};
use crate::db::evidence::{EvidenceMark, NewSbom};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use repo_model::buildinfo::{self, BuildInfo};
use repo_model::{FileDigest, Timestamp, sbom_facts};
use rusqlite::{Connection, Transaction, params};
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
        let seen: EvidenceMark = app.sbom_index.db.read(seen).await?;
        let Some(batch) = app
            .db
            .read(move |connection| next(connection, seen))
            .await?
        else {
            tracing::warn!(
                "the SBOM index was made of another database than this one, which was perhaps restored; it is made again"
            );
            app.sbom_index.db.write(write::clear).await?;
            continue;
        };
        if batch.is_empty() {
            break;
        }
        let mut at = seen;
        for sbom in batch {
            let next = sbom.mark;
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

/// The last row of evidence that was looked at; none before the first.
pub fn seen(connection: &Connection) -> Result<EvidenceMark, DbError> {
    let sql = "SELECT evidence_id, digest, made_at FROM position";
    Ok(connection.query_row(sql, [], |row| {
        let evidence_id = row.get("evidence_id")?;
        Ok(match evidence_id {
            0 => EvidenceMark::default(),
            _ => EvidenceMark {
                evidence_id,
                digest: db::parsed(row, "digest")?,
                made_at: Timestamp::from_unix_secs(row.get("made_at")?),
            },
        })
    })?)
}

/// What is to be looked at next in the server's database; `None` when this is not the database in which
/// `seen` was seen: rows are never removed there, and two histories do not give one number to one document
/// in one second.
pub(super) fn next(
    connection: &Connection,
    seen: EvidenceMark,
) -> Result<Option<Vec<NewSbom>>, DbError> {
    if seen.evidence_id > 0 && db::evidence::mark(connection, seen.evidence_id)? != Some(seen) {
        return Ok(None);
    }
    db::evidence::sboms_after(connection, seen.evidence_id, &FORMATS, BATCH).map(Some)
}

/// Moves on; `false` when the index is not where the caller saw it.
pub(super) fn advance(
    tx: &Transaction<'_>,
    from: EvidenceMark,
    to: EvidenceMark,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE position SET evidence_id = ?2, digest = ?3, made_at = ?4 WHERE evidence_id = ?1";
    let moved = tx.execute(
        sql,
        params![
            from.evidence_id,
            to.evidence_id,
            to.digest.to_hex(),
            to.made_at.unix_secs()
        ],
    )?;
    Ok(moved == 1)
}

async fn index(app: &App, from: EvidenceMark, sbom: NewSbom) -> Result<bool, JobError> {
    let to = sbom.mark;
    let header = sbom.header;
    let stored = app
        .sbom_index
        .db
        .read(move |connection| write::stored(connection, header))
        .await?;
    let preferred = |format: &str| FORMATS.iter().position(|known| *known == format);
    let is_known = stored.is_some_and(|(digest, format)| {
        digest == sbom.mark.digest.to_hex() || preferred(&format) < preferred(&sbom.label)
    });
    if is_known {
        return Ok(app
            .sbom_index
            .db
            .write(move |tx| advance(tx, from, to))
            .await?);
    }
    let (buildinfo_id, info) = buildinfo(app, sbom.buildinfo).await?;
    let size_bytes = app.store.size_bytes(sbom.mark.digest).await?;
    let reader = match size_bytes {
        Some(size) if size <= sbom_facts::MAX_BYTES as u64 => {
            Some(app.store.blocking_reader(sbom.mark.digest).await?)
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
            sbom: sbom.mark.digest,
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
