//! Rebuilders: who asked to be let in, who gets work, who stored what.

use super::{DbError, parsed};
use repo_model::dsse::StatementPublicKey;
use repo_model::wire::rebuilders::{Enrolment, Mode, Standing};
use repo_model::wire::worker::RequestPublicKey;
use repo_model::{FileDigest, OperatorName, Timestamp, WorkerName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};

/// Most enrolments that wait for a decision.
const MAX_PENDING: u64 = 100;
/// An enrolment that nobody decided is forgotten after this time, seconds.
const PENDING_SECS: i64 = 14 * 86_400;
/// Remembered uploads of rebuilders are forgotten after this time, seconds.
const BLOB_SECS: i64 = 7 * 86_400;

/// One enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRow {
    /// Name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Signs its requests.
    pub request_key: RequestPublicKey,
    /// Signs its statements.
    pub statement_key: StatementPublicKey,
    /// Whom to ask.
    pub contact: String,
    /// Pending, approved or rejected.
    pub standing: Standing,
}

const COLUMNS: &str = "name, operator, request_key, statement_key, contact, standing";

/// What became of an enrolment that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolled {
    /// It is known, and stands there.
    Stands(Standing),
    /// Too many wait for a decision.
    Full,
}

/// Records an enrolment; the same again tells where it stands.
pub fn enrol(
    tx: &Transaction<'_>,
    enrolment: &Enrolment,
    now: Timestamp,
) -> Result<Enrolled, DbError> {
    tx.execute(
        "DELETE FROM enrolments WHERE standing = 'pending' AND requested_at < ?1",
        [now.plus_secs(-PENDING_SECS).unix_secs()],
    )?;
    if let Some(known) = enrolment_of(tx, &enrolment.name, &enrolment.request_key)? {
        return Ok(Enrolled::Stands(known.standing));
    }
    let pending: u64 = tx.query_row(
        "SELECT count(*) FROM enrolments WHERE standing = 'pending'",
        [],
        |row| row.get(0),
    )?;
    if pending >= MAX_PENDING {
        return Ok(Enrolled::Full);
    }
    tx.execute(
        "INSERT INTO enrolments (name, request_key, operator, statement_key, contact, standing, requested_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6)",
        params![
            enrolment.name.as_str(),
            enrolment.request_key.to_string(),
            enrolment.operator.as_str(),
            enrolment.statement_key.to_pem(),
            enrolment.contact,
            now.unix_secs()
        ],
    )?;
    Ok(Enrolled::Stands(Standing::Pending))
}

fn enrolment_of(
    connection: &Connection,
    name: &WorkerName,
    request_key: &RequestPublicKey,
) -> Result<Option<EnrolmentRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM enrolments WHERE name = ?1 AND request_key = ?2");
    Ok(connection
        .query_row(
            &sql,
            params![name.as_str(), request_key.to_string()],
            enrolment_row,
        )
        .optional()?)
}

/// Approves or rejects; a name has one approved rebuilder at most, so approving another ends the first. The signer
/// is to speak of both.
///
/// * `actor`: who decided.
///
/// The same decision again changes nothing, and nothing is said of it.
pub fn decide(
    tx: &Transaction<'_>,
    name: &WorkerName,
    request_key: &RequestPublicKey,
    standing: Standing,
    actor: &str,
    now: Timestamp,
) -> Result<Decided, DbError> {
    match enrolment_of(tx, name, request_key)? {
        None => return Ok(Decided::Unknown),
        Some(row) if row.standing == standing => return Ok(Decided::Before),
        Some(_) => {}
    }
    if standing == Standing::Approved {
        let ended = approved(tx, name)?.filter(|row| row.request_key != *request_key);
        if let Some(ended) = ended {
            record_decision(tx, &ended, Standing::Rejected, actor, now)?;
        }
        tx.execute(
            "UPDATE enrolments SET standing = 'rejected', decided_at = ?2 WHERE name = ?1 AND standing = 'approved'",
            params![name.as_str(), now.unix_secs()],
        )?;
    }
    tx.execute(
        "UPDATE enrolments SET standing = ?3, decided_at = ?4 WHERE name = ?1 AND request_key = ?2",
        params![
            name.as_str(),
            request_key.to_string(),
            standing.name(),
            now.unix_secs()
        ],
    )?;
    if let Some(row) = enrolment_of(tx, name, request_key)? {
        record_decision(tx, &row, standing, actor, now)?;
    }
    Ok(Decided::Now)
}

/// What a decision about an enrolment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It counts from now on.
    Now,
    /// It was so before.
    Before,
    /// Nobody asks with this name and key.
    Unknown,
}

/// For the signer to speak of.
fn record_decision(
    tx: &Transaction<'_>,
    row: &EnrolmentRow,
    standing: Standing,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO rebuilder_decisions (name, request_key, operator, statement_key, standing, decided_at, actor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            row.name.as_str(),
            row.request_key.to_string(),
            row.operator.as_str(),
            row.statement_key.to_pem(),
            standing.name(),
            now.unix_secs(),
            actor,
        ],
    )?;
    Ok(())
}

/// The approved rebuilder of this name.
pub fn approved(
    connection: &Connection,
    name: &WorkerName,
) -> Result<Option<EnrolmentRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM enrolments WHERE name = ?1 AND standing = 'approved'");
    Ok(connection
        .query_row(&sql, [name.as_str()], enrolment_row)
        .optional()?)
}

/// All enrolments by name.
pub fn enrolments(connection: &Connection) -> Result<Vec<EnrolmentRow>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM enrolments ORDER BY name, requested_at, request_key");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], enrolment_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn enrolment_row(row: &Row<'_>) -> rusqlite::Result<EnrolmentRow> {
    let standing: String = row.get("standing")?;
    Ok(EnrolmentRow {
        name: parsed(row, "name")?,
        operator: parsed(row, "operator")?,
        request_key: parsed(row, "request_key")?,
        statement_key: parsed(row, "statement_key")?,
        contact: row.get("contact")?,
        standing: match standing.as_str() {
            "approved" => Standing::Approved,
            "rejected" => Standing::Rejected,
            _ => Standing::Pending,
        },
    })
}

/// How a rebuilder is treated and when it asked for work last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModeRow {
    /// Whether it gets work.
    pub mode: Mode,
    /// When it asked last.
    pub last_seen: Option<Timestamp>,
}

/// All that were ever seen or set.
pub fn modes(connection: &Connection) -> Result<BTreeMap<WorkerName, ModeRow>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT name, mode, last_seen FROM rebuilder_modes")?;
    let rows = statement.query_map([], |row| {
        let mode: String = row.get("mode")?;
        let known = Mode::ALL.into_iter().find(|known| known.name() == mode);
        Ok((
            parsed(row, "name")?,
            ModeRow {
                mode: known.unwrap_or_default(),
                last_seen: row
                    .get::<_, Option<i64>>("last_seen")?
                    .map(Timestamp::from_unix_secs),
            },
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Rebuilders that are not waited for.
pub fn draining(connection: &Connection) -> Result<BTreeSet<WorkerName>, DbError> {
    Ok(modes(connection)?
        .into_iter()
        .filter(|(_, row)| row.mode == Mode::Draining)
        .map(|(name, _)| name)
        .collect())
}

/// From now on it is treated so.
pub fn set_mode(tx: &Transaction<'_>, name: &WorkerName, mode: Mode) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO rebuilder_modes (name, mode) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET mode = excluded.mode",
        params![name.as_str(), mode.name()],
    )?;
    Ok(())
}

/// It asked for work; gives how it is treated.
pub fn seen(tx: &Transaction<'_>, name: &WorkerName, now: Timestamp) -> Result<Mode, DbError> {
    tx.execute(
        "INSERT INTO rebuilder_modes (name, last_seen) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET last_seen = excluded.last_seen",
        params![name.as_str(), now.unix_secs()],
    )?;
    let all = modes(tx)?;
    Ok(all.get(name).map_or(Mode::Active, |row| row.mode))
}

/// Leases held and answers not revealed, by rebuilder.
pub fn at_work(connection: &Connection) -> Result<BTreeMap<WorkerName, (u64, u64)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT rebuilder, sum(state IN ('leased', 'revealing')) AS leased, sum(state IN ('committed', 'revealing')) AS sealed
         FROM rebuilds WHERE state IN ('leased', 'committed', 'revealing') GROUP BY rebuilder",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((
            parsed(row, "rebuilder")?,
            (row.get("leased")?, row.get("sealed")?),
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Bytes that a rebuilder stored since `since`.
pub fn stored_bytes(
    connection: &Connection,
    name: &WorkerName,
    since: Timestamp,
) -> Result<u64, DbError> {
    let sql = "SELECT coalesce(sum(size_bytes), 0) FROM worker_blobs WHERE rebuilder = ?1 AND stored_at >= ?2";
    Ok(
        connection.query_row(sql, params![name.as_str(), since.unix_secs()], |row| {
            row.get(0)
        })?,
    )
}

/// Remembers that a rebuilder stored a blob, all of whose bytes it sent.
pub fn stored(
    tx: &Transaction<'_>,
    name: &WorkerName,
    digest: FileDigest,
    size_bytes: u64,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM worker_blobs WHERE stored_at < ?1",
        [now.plus_secs(-BLOB_SECS).unix_secs()],
    )?;
    tx.execute(
        "INSERT INTO worker_blobs (rebuilder, digest, size_bytes, stored_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (rebuilder, digest) DO UPDATE SET stored_at = excluded.stored_at",
        params![name.as_str(), digest.to_hex(), size_bytes, now.unix_secs()],
    )?;
    Ok(())
}

/// Whether a rebuilder stored this blob itself, and it is neither a package nor a source package: those
/// are published by us or not at all.
pub fn may_show(
    connection: &Connection,
    name: &WorkerName,
    digest: FileDigest,
) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM worker_blobs WHERE rebuilder = ?1 AND digest = ?2)
        AND NOT EXISTS (SELECT 1 FROM packages WHERE unsigned_file = ?2 OR signed_file = ?2)
        AND NOT EXISTS (SELECT 1 FROM builds WHERE source_file = ?2)";
    Ok(
        connection.query_row(sql, params![name.as_str(), digest.to_hex()], |row| {
            row.get(0)
        })?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::dsse::StatementKey;
    use repo_model::wire::worker::RequestKey;

    fn decisions(tx: &Transaction<'_>) -> Vec<String> {
        let sql = "SELECT request_key || ' ' || standing FROM rebuilder_decisions ORDER BY rowid";
        let mut statement = tx.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn the_same_decision_twice_is_spoken_of_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        for added in super::super::ADDED {
            connection.execute_batch(added).unwrap();
        }
        let tx = connection.transaction().unwrap();
        let (name, at) = ("rb-c".parse().unwrap(), Timestamp::from_unix_secs(7));
        let key = |seed: u8| RequestKey::from_seed(&[seed; 32]).public();
        for seed in [1, 2] {
            let statement_key = StatementKey::from_seed(&[seed; 32]).unwrap().public();
            tx.execute(
                "INSERT INTO enrolments (name, request_key, operator, statement_key, contact, standing, requested_at)
                 VALUES ('rb-c', ?1, 'op', ?2, '', 'pending', 0)",
                params![key(seed).to_string(), statement_key.to_pem()],
            )
            .unwrap();
        }
        let decide =
            |seed: u8, standing| decide(&tx, &name, &key(seed), standing, "me", at).unwrap();
        assert_eq!(decide(3, Standing::Approved), Decided::Unknown);
        assert_eq!(decide(1, Standing::Approved), Decided::Now);
        assert_eq!(decide(1, Standing::Approved), Decided::Before);
        assert_eq!(decide(2, Standing::Approved), Decided::Now);
        assert_eq!(
            decide(1, Standing::Rejected),
            Decided::Before,
            "the other's approval ended it"
        );
        assert_eq!(decide(2, Standing::Rejected), Decided::Now);
        let (one, two) = (key(1), key(2));
        let wanted = [
            format!("{one} approved"),
            format!("{one} rejected"),
            format!("{two} approved"),
            format!("{two} rejected"),
        ];
        assert_eq!(decisions(&tx), wanted);
        assert!(approved(&tx, &name).unwrap().is_none());
    }
}
