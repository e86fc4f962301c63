//! VEX documents and what they state.

use super::{DbError, parsed};
use crate::sbom_index::vex::Vex;
use repo_model::wire::sbom::VexDocument;
use repo_model::{FileDigest, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// Records a document; the second of two identical calls changes nothing, but that a document which was
/// withdrawn counts again.
pub fn insert(
    tx: &Transaction<'_>,
    digest: FileDigest,
    vex: &Vex,
    uploaded_by: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let known = tx.execute(
        "UPDATE vex_documents SET withdrawn_at = NULL WHERE digest = ?1",
        [digest.to_hex()],
    )?;
    if known > 0 {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO vex_documents (digest, format, name, author, issued, statements, uploaded_by, uploaded_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            digest.to_hex(),
            vex.format,
            vex.name,
            vex.author,
            vex.issued,
            vex.statements.len() as u64,
            uploaded_by,
            now.unix_secs()
        ],
    )?;
    let document_id = tx.last_insert_rowid();
    let mut insert = tx.prepare_cached(
        "INSERT INTO vex_statements (document_id, vulnerability, product, subcomponent, status, justification, remark, stated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for statement in &vex.statements {
        insert.execute(params![
            document_id,
            statement.vulnerability,
            statement.product,
            statement.subcomponent,
            statement.status.name(),
            statement.justification,
            statement.remark,
            statement.stated_at.unix_secs()
        ])?;
    }
    Ok(())
}

/// Takes a document out of use; `false` when there is none, or it was withdrawn before.
pub fn withdraw(tx: &Transaction<'_>, digest: FileDigest, now: Timestamp) -> Result<bool, DbError> {
    let sql =
        "UPDATE vex_documents SET withdrawn_at = ?2 WHERE digest = ?1 AND withdrawn_at IS NULL";
    Ok(tx.execute(sql, params![digest.to_hex(), now.unix_secs()])? == 1)
}

const COLUMNS: &str =
    "digest, format, name, author, issued, statements, uploaded_by, uploaded_at, withdrawn_at";

/// Documents, newest first.
pub fn list(connection: &Connection, limit: u32, after: u64) -> Result<Vec<VexDocument>, DbError> {
    let sql =
        format!("SELECT {COLUMNS} FROM vex_documents ORDER BY document_id DESC LIMIT ?1 OFFSET ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![limit, after], document)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One document.
pub fn by_digest(
    connection: &Connection,
    digest: FileDigest,
) -> Result<Option<VexDocument>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM vex_documents WHERE digest = ?1");
    Ok(connection
        .query_row(&sql, [digest.to_hex()], document)
        .optional()?)
}

fn document(row: &Row<'_>) -> rusqlite::Result<VexDocument> {
    let withdrawn: Option<i64> = row.get("withdrawn_at")?;
    Ok(VexDocument {
        digest: parsed(row, "digest")?,
        format: row.get("format")?,
        name: row.get("name")?,
        author: row.get("author")?,
        issued: row.get("issued")?,
        statements: row.get("statements")?,
        uploaded_by: row.get("uploaded_by")?,
        uploaded_at: Timestamp::from_unix_secs(row.get("uploaded_at")?),
        withdrawn_at: withdrawn.map(Timestamp::from_unix_secs),
    })
}
