//! Statements of the signer about the repository itself: of which moves of channels, of which keys and of which
//! decisions about rebuilders it has spoken.

use super::{DbError, parsed};
use repo_model::announcement::{ChannelMove, KeySet, RebuilderDecision};
use repo_model::wire::rebuilders::Standing;
use repo_model::{FileDigest, ReleaseId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Moves of channels that the signer has not spoken of, oldest first, with their numbers. Moves to releases of
/// which nothing is left are passed over.
pub fn waiting_moves(
    connection: &Connection,
    limit: u32,
) -> Result<Vec<(u64, ChannelMove)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.move_id, m.channel, m.from_release, m.to_release, m.moved_at, m.actor, r.envelope
         FROM channel_moves m JOIN releases r ON r.release_id = m.to_release
         WHERE m.move_id > coalesce((SELECT max(move_id) FROM announcements), 0)
         ORDER BY m.move_id LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        let from: Option<u64> = row.get("from_release")?;
        let move_id: u64 = row.get("move_id")?;
        let moved = ChannelMove {
            number: move_id,
            channel: parsed(row, "channel")?,
            from: from.map(ReleaseId),
            to: ReleaseId(row.get("to_release")?),
            release: parsed(row, "envelope")?,
            moved_at: Timestamp::from_unix_secs(row.get("moved_at")?),
            actor: row.get("actor")?,
        };
        Ok((move_id, moved.with_short_actor()))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records what the signer said of a move; `None`: that it refused to, so that it is not asked again.
pub fn insert_move(
    tx: &Transaction<'_>,
    move_id: u64,
    statement: Option<FileDigest>,
) -> Result<(), DbError> {
    insert(tx, Some(move_id), None, statement)
}

/// Records what the signer said about its keys.
pub fn insert_keys(
    tx: &Transaction<'_>,
    keys: &KeySet,
    statement: FileDigest,
) -> Result<(), DbError> {
    let keys = super::to_json(keys, "key set")?;
    insert(tx, None, Some(keys), Some(statement))
}

fn insert(
    tx: &Transaction<'_>,
    move_id: Option<u64>,
    keys: Option<String>,
    statement: Option<FileDigest>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO announcements (move_id, keys, statement, logged) VALUES (?1, ?2, ?3, ?4)",
        params![
            move_id,
            keys,
            statement.map(|digest| digest.to_hex()),
            statement.is_none()
        ],
    )?;
    Ok(())
}

/// Decisions about rebuilders that the signer has not spoken of, oldest first.
pub fn waiting_decisions(
    connection: &Connection,
    limit: u32,
) -> Result<Vec<RebuilderDecision>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT decision_id, name, operator, request_key, statement_key, standing, decided_at, actor
         FROM rebuilder_decisions WHERE waits = 1 ORDER BY decision_id LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        let standing: String = row.get("standing")?;
        let decision = RebuilderDecision {
            number: row.get("decision_id")?,
            name: parsed(row, "name")?,
            operator: parsed(row, "operator")?,
            request_key: parsed(row, "request_key")?,
            statement_key: parsed(row, "statement_key")?,
            standing: match standing.as_str() {
                "approved" => Standing::Approved,
                _ => Standing::Rejected,
            },
            decided_at: Timestamp::from_unix_secs(row.get("decided_at")?),
            actor: row.get("actor")?,
        };
        Ok(decision.with_short_actor())
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records what the signer said of a decision.
pub fn insert_decision(
    tx: &Transaction<'_>,
    number: u64,
    statement: FileDigest,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE rebuilder_decisions SET waits = 0, statement = ?2, logged = 0 WHERE decision_id = ?1",
        params![number, statement.to_hex()],
    )?;
    Ok(())
}

/// The keys that the signer spoke of last; none when it never did, or not in this form.
pub fn last_keys(connection: &Connection) -> Result<Option<KeySet>, DbError> {
    let sql = "SELECT keys FROM announcements WHERE keys IS NOT NULL
               ORDER BY announcement_id DESC LIMIT 1";
    let json: Option<String> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
}

/// Statements that have not been looked at for the log.
pub fn unlogged(connection: &Connection) -> Result<Vec<FileDigest>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT statement FROM announcements WHERE logged = 0
         UNION ALL
         SELECT statement FROM rebuilder_decisions WHERE logged = 0 AND statement IS NOT NULL
         LIMIT 1000",
    )?;
    let rows = statement.query_map([], |row| parsed(row, "statement"))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records that these were looked at.
pub fn set_logged(tx: &Transaction<'_>, statements: &[FileDigest]) -> Result<(), DbError> {
    for table in ["announcements", "rebuilder_decisions"] {
        let sql = format!("UPDATE {table} SET logged = 1 WHERE statement = ?1");
        let mut update = tx.prepare_cached(&sql)?;
        for statement in statements {
            update.execute([statement.to_hex()])?;
        }
    }
    Ok(())
}

/// Whether the digest is of such a statement.
pub fn has(connection: &Connection, statement: FileDigest) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM announcements WHERE statement = ?1
               UNION ALL SELECT 1 FROM rebuilder_decisions WHERE statement = ?1)";
    Ok(connection.query_row(sql, [statement.to_hex()], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_move_is_spoken_of_once_and_its_statement_is_looked_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::Db::open(&dir.path().join("moves.db")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let done: Result<(), DbError> = runtime.block_on(db.write(|tx| {
            let envelope = FileDigest::of(b"envelope");
            tx.execute(
                "INSERT INTO releases (release_id, issued, envelope) VALUES (1, 0, ?1)",
                [envelope.to_hex()],
            )?;
            tx.execute_batch(
                "INSERT INTO channel_moves VALUES (1, 'preview', NULL, 1, 5, 'server');
                 INSERT INTO channel_moves VALUES (2, 'stable', 7, 1, 6, 'ops');",
            )?;
            let waiting = waiting_moves(tx, 10)?;
            assert_eq!(waiting.len(), 2);
            assert_eq!(waiting[1].1.word(), "rolled back");
            assert_eq!((waiting[0].1.number, waiting[1].1.number), (1, 2));
            assert_eq!(waiting[1].1.release, envelope);
            let said = FileDigest::of(b"said");
            insert_move(tx, 1, Some(said))?;
            assert_eq!(waiting_moves(tx, 10)?.len(), 1);
            insert_move(tx, 2, None)?;
            assert_eq!(waiting_moves(tx, 10)?, []);
            assert_eq!(unlogged(tx)?, [said], "a refusal has no statement");
            set_logged(tx, &[said])?;
            assert_eq!(unlogged(tx)?, []);
            assert!(has(tx, said)? && !has(tx, envelope)?);
            assert_eq!(last_keys(tx)?, None);
            Ok(())
        }));
        done.unwrap();
    }
}
