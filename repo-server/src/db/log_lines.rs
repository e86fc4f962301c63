//! What the newest entries of the log are of, for its page.

use super::{DbError, parsed_opt};
use repo_model::{FileDigest, Nevra};
use rusqlite::{Connection, params};

/// An entry, and what is known of its statement.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// Its place.
    pub index: u64,
    /// The envelope.
    pub statement: FileDigest,
    /// Kind of evidence.
    pub kind: Option<String>,
    /// Who made it, or in which form; may be empty.
    pub label: Option<String>,
    /// The build that it is about.
    pub build: Option<u64>,
    /// That build's source package.
    pub source: Option<Nevra>,
    /// The release that it is.
    pub release: Option<u64>,
}

/// The newest entries below place `before`, newest first. A statement about several packages is one entry, and is
/// told once.
pub fn newest(connection: &Connection, before: u64, limit: u32) -> Result<Vec<LogLine>, DbError> {
    let mut statement = connection.prepare_cached(
        "WITH newest AS (
             SELECT entry_index, statement, lower(hex(statement)) AS digest FROM log_entries
             WHERE entry_index < ?1 ORDER BY entry_index DESC LIMIT ?2)
         SELECT n.entry_index, n.statement, v.kind, v.label, v.build_id, b.source_nevra,
                (SELECT r.release_id FROM releases r WHERE r.envelope = n.digest) AS release_id
         FROM newest n
             LEFT JOIN evidence v ON v.evidence_id = (SELECT min(e.evidence_id) FROM evidence e WHERE e.digest = n.digest)
             LEFT JOIN builds b ON b.build_id = v.build_id
         ORDER BY n.entry_index DESC",
    )?;
    let rows = statement.query_map(params![before, limit], |row| {
        Ok(LogLine {
            index: row.get("entry_index")?,
            statement: FileDigest::from_bytes(row.get("statement")?),
            kind: row.get("kind")?,
            label: row.get("label")?,
            build: row.get("build_id")?,
            source: parsed_opt(row, "source_nevra")?,
            release: row.get("release_id")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
