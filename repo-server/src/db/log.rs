//! The transparency log's rows: which statement has which place, entries whose tiles are not written yet, and
//! the checkpoints that were signed.

use super::{DbError, parsed};
use repo_model::FileDigest;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// How far the log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries that have their place.
    pub entries: u64,
    /// Entries under the newest signed checkpoint.
    pub signed: u64,
    /// Entries whose tiles are written and whose checkpoint is served.
    pub published: u64,
}

/// One statement's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The stored envelope.
    pub statement: FileDigest,
    /// Bytes of the entry.
    pub entry: Vec<u8>,
}

/// How far the log has come.
pub fn progress(connection: &Connection) -> Result<Progress, DbError> {
    let count = |sql: &str| -> Result<u64, DbError> {
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    };
    Ok(Progress {
        entries: count("SELECT coalesce(max(entry_index) + 1, 0) FROM log_entries")?,
        signed: count("SELECT coalesce(max(size), 0) FROM log_checkpoints")?,
        published: count("SELECT coalesce(max(size), 0) FROM log_checkpoints WHERE published = 1")?,
    })
}

/// Statements that were not looked at yet, in the order in which they came: the number of the row and the
/// envelope.
pub fn waiting(connection: &Connection, limit: u32) -> Result<Vec<(u64, FileDigest)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT evidence_id, digest FROM evidence
         WHERE evidence_id > coalesce((SELECT max(evidence_id) FROM log_cursor), 0)
           AND media_type = 'application/vnd.dsse.envelope.v1+json'
         ORDER BY evidence_id LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok((row.get("evidence_id")?, parsed(row, "digest")?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Gives entries their places, and remembers up to which document evidence was looked at. A statement
/// that has a place keeps it.
pub fn append(
    tx: &Transaction<'_>,
    entries: &[LogEntry],
    looked_at: Option<u64>,
) -> Result<(), DbError> {
    let mut next = progress(tx)?.entries;
    let mut place = tx.prepare_cached(
        "INSERT INTO log_entries (entry_index, statement) VALUES (?1, ?2) ON CONFLICT (statement) DO NOTHING",
    )?;
    let mut pend =
        tx.prepare_cached("INSERT INTO log_pending (entry_index, entry) VALUES (?1, ?2)")?;
    for new in entries {
        if place.execute(params![next, new.statement.as_bytes()])? == 1 {
            pend.execute(params![next, new.entry])?;
            next += 1;
        }
    }
    if let Some(evidence_id) = looked_at {
        tx.execute(
            "INSERT OR REPLACE INTO log_cursor (id, evidence_id) VALUES (1, ?1)",
            [evidence_id],
        )?;
    }
    Ok(())
}

/// Takes over the places from `from` on, with the published checkpoint over `size` entries; what had a
/// place there and waited for its tiles comes after.
pub fn take_over(
    tx: &Transaction<'_>,
    from: u64,
    statements: &[FileDigest],
    size: u64,
    note: &str,
) -> Result<(), DbError> {
    let waiting = pending(tx, from, progress(tx)?.entries)?;
    tx.execute("DELETE FROM log_pending", [])?;
    tx.execute("DELETE FROM log_entries WHERE entry_index >= ?1", [from])?;
    tx.execute("DELETE FROM log_checkpoints", [])?;
    let mut place =
        tx.prepare_cached("INSERT INTO log_entries (entry_index, statement) VALUES (?1, ?2)")?;
    for (index, statement) in (from..).zip(statements) {
        place.execute(params![index, statement.as_bytes()])?;
    }
    insert_checkpoint(tx, size, note)?;
    set_published(tx, size)?;
    append(tx, &waiting, None)
}

/// Entries `from..to`, none of which has its tiles yet.
pub fn pending(connection: &Connection, from: u64, to: u64) -> Result<Vec<LogEntry>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT e.statement, p.entry FROM log_pending p JOIN log_entries e ON e.entry_index = p.entry_index
         WHERE p.entry_index >= ?1 AND p.entry_index < ?2 ORDER BY p.entry_index",
    )?;
    let rows = statement.query_map([from, to], |row| {
        Ok(LogEntry {
            statement: FileDigest::from_bytes(row.get("statement")?),
            entry: row.get("entry")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The place of a statement.
pub fn index_of(connection: &Connection, statement: FileDigest) -> Result<Option<u64>, DbError> {
    let sql = "SELECT entry_index FROM log_entries WHERE statement = ?1";
    let found = connection.query_row(sql, [statement.as_bytes()], |row| row.get(0));
    Ok(found.optional()?)
}

/// The newest signed checkpoint: a signed note.
pub fn newest_checkpoint(connection: &Connection) -> Result<Option<String>, DbError> {
    let sql = "SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?)
}

/// The newest checkpoint whose tiles are written.
pub fn published_checkpoint(connection: &Connection) -> Result<Option<String>, DbError> {
    let sql = "SELECT note FROM log_checkpoints WHERE published = 1 ORDER BY size DESC LIMIT 1";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?)
}

/// Locks a signed checkpoint in: from now on the log is at least this.
pub fn insert_checkpoint(tx: &Transaction<'_>, size: u64, note: &str) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO log_checkpoints (size, note, published) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING",
        params![size, note],
    )?;
    Ok(())
}

/// Puts the same head with more cosignatures in its place.
pub fn replace_checkpoint(tx: &Transaction<'_>, size: u64, note: &str) -> Result<(), DbError> {
    tx.execute(
        "UPDATE log_checkpoints SET note = ?2 WHERE size = ?1",
        params![size, note],
    )?;
    Ok(())
}

/// Remembers the newest head that a quorum of witnesses has seen.
pub fn set_witnessed(tx: &Transaction<'_>, size: u64, note: &str) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO log_witnessed (id, size, note) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET size = excluded.size, note = excluded.note
         WHERE excluded.size >= log_witnessed.size",
        params![size, note],
    )?;
    Ok(())
}

/// The newest head that a quorum of witnesses has seen: its size, and the signed note.
pub fn witnessed(connection: &Connection) -> Result<Option<(u64, String)>, DbError> {
    let sql = "SELECT size, note FROM log_witnessed WHERE id = 1";
    let found = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

/// Records that tiles and checkpoint are served; what came before is of no more use.
pub fn set_published(tx: &Transaction<'_>, size: u64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE log_checkpoints SET published = 1 WHERE size = ?1",
        [size],
    )?;
    tx.execute("DELETE FROM log_checkpoints WHERE size < ?1", [size])?;
    tx.execute("DELETE FROM log_pending WHERE entry_index < ?1", [size])?;
    Ok(())
}

/// Published builds with a package that lacks its proof or its pack of evidence: those from before there were such.
pub fn builds_without_proof(connection: &Connection) -> Result<Vec<u64>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT p.build_id FROM packages p JOIN builds b ON b.build_id = p.build_id
         WHERE b.stage = 'published' AND p.signed_file IS NOT NULL AND 2 >
           (SELECT count(DISTINCT e.kind) FROM evidence e
            WHERE e.build_id = p.build_id AND coalesce(e.package_id, 0) = p.package_id
              AND e.kind IN ('log-proof', 'evidence-pack'))
         ORDER BY p.build_id",
    )?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> LogEntry {
        LogEntry {
            statement: FileDigest::of(&[n]),
            entry: vec![n],
        }
    }

    #[test]
    fn a_place_once_given_stays_and_tiles_take_the_entry_over() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::Db::open(&dir.path().join("log.db")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let done: Result<(), DbError> = runtime.block_on(db.write(|tx| {
            append(tx, &[entry(1), entry(2), entry(1)], Some(7))?;
            append(tx, &[entry(2), entry(3)], None)?;
            assert_eq!(index_of(tx, FileDigest::of(&[3]))?, Some(2));
            assert_eq!(pending(tx, 1, 3)?[0].entry, [2]);
            insert_checkpoint(tx, 2, "two")?;
            insert_checkpoint(tx, 2, "another two")?;
            let at = |entries, signed, published| Progress {
                entries,
                signed,
                published,
            };
            assert_eq!(progress(tx)?, at(3, 2, 0));
            assert_eq!(published_checkpoint(tx)?, None);
            set_published(tx, 2)?;
            assert_eq!(progress(tx)?, at(3, 2, 2));
            assert_eq!(published_checkpoint(tx)?.as_deref(), Some("two"));
            assert_eq!(witnessed(tx)?, None);
            set_witnessed(tx, 2, "two seen")?;
            set_witnessed(tx, 1, "one seen late")?;
            replace_checkpoint(tx, 2, "two seen")?;
            assert_eq!(witnessed(tx)?, Some((2, "two seen".to_owned())));
            assert_eq!(published_checkpoint(tx)?.as_deref(), Some("two seen"));
            assert_eq!(pending(tx, 0, 3)?.len(), 1);

            // The files know of two more, of which one waits here at another place.
            append(tx, &[entry(4)], None)?;
            let files = [FileDigest::of(&[9]), FileDigest::of(&[4])];
            take_over(tx, 2, &files, 4, "four")?;
            assert_eq!(progress(tx)?, at(5, 4, 4));
            assert_eq!(published_checkpoint(tx)?.as_deref(), Some("four"));
            for (statement, index) in [(1, 0), (2, 1), (9, 2), (4, 3), (3, 4)] {
                assert_eq!(index_of(tx, FileDigest::of(&[statement]))?, Some(index));
            }
            assert_eq!(pending(tx, 0, 9)?, [entry(3)]);
            Ok(())
        }));
        done.unwrap();
    }
}
