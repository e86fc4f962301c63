//! Rebuilds: one row a build and rebuilder, leased, fenced by an epoch, retried with back-off. A row is
//! leased to be rebuilt, holds a commitment, is leased again to be revealed, and is done. How leases are
//! given out stands in [`super::leases`], when answers are revealed in [`super::rounds`].

use super::{DbError, from_json, parsed, parsed_opt, to_json};
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::status::RebuildStatus;
use repo_model::{Arch, FileDigest, OperatorName, Timestamp, WorkerName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// Varies nothing.
pub(super) const PLAIN: &str = "plain";

/// A rebuild that its rebuilder holds the lease of.
#[derive(Debug, Clone)]
pub struct Held {
    /// The build.
    pub build_id: u64,
    /// Infrastructure failures so far.
    pub attempt: u32,
    /// How often it was to be built.
    pub runs: u32,
    /// The challenge profile.
    pub profile: String,
    /// The commitment, and the round that it is to be revealed in; none: it is to be rebuilt.
    pub reveal: Option<(FileDigest, Vec<FileDigest>)>,
    /// Verdict of the run before, if there was one.
    pub verdict: Option<Verdict>,
}

/// A rebuilder that a build is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignee {
    /// Its name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// How often it is to build.
    pub runs: u32,
}

/// Makes the rows for a build; rebuilders that have one already keep it.
pub fn insert(
    tx: &Transaction<'_>,
    build_id: u64,
    arch: &Arch,
    rebuilders: &[Assignee],
    now: Timestamp,
) -> Result<(), DbError> {
    for rebuilder in rebuilders {
        tx.execute(
            "INSERT INTO rebuilds (build_id, rebuilder, operator, arch, runs, state, run_at) VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6)
             ON CONFLICT (build_id, rebuilder) DO NOTHING",
            params![
                build_id,
                rebuilder.name.as_str(),
                rebuilder.operator.as_str(),
                arch.as_str(),
                rebuilder.runs,
                now.unix_secs()
            ],
        )?;
    }
    Ok(())
}

/// The rebuild, if this rebuilder holds this lease of it. A lease that has ended but was given to
/// nobody else is still held: work that is done is not thrown away.
pub fn held(
    connection: &Connection,
    rebuild_id: u64,
    rebuilder: &WorkerName,
    lease_epoch: u64,
) -> Result<Option<Held>, DbError> {
    let sql = "SELECT r.build_id, r.attempt, r.runs, r.profile, r.verdict, r.state, r.commitment, o.commitments
               FROM rebuilds r LEFT JOIN rounds o ON o.round_id = r.round_id
               WHERE r.rebuild_id = ?1 AND r.rebuilder = ?2 AND r.lease_epoch = ?3 AND r.state IN ('leased', 'revealing')";
    let found = connection
        .query_row(
            sql,
            params![
                in_range(rebuild_id),
                rebuilder.as_str(),
                in_range(lease_epoch)
            ],
            |row| Ok(read_held(row)),
        )
        .optional()?;
    found.transpose()
}

fn read_held(row: &Row<'_>) -> Result<Held, DbError> {
    let state: String = row.get("state")?;
    let reveal = match (state.as_str(), parsed_opt(row, "commitment")?) {
        ("revealing", Some(commitment)) => {
            let round: String = row.get("commitments")?;
            Some((commitment, from_json(&round, "round")?))
        }
        _ => None,
    };
    Ok(Held {
        build_id: row.get("build_id")?,
        attempt: row.get("attempt")?,
        runs: row.get("runs")?,
        profile: row
            .get::<_, Option<String>>("profile")?
            .unwrap_or_else(|| PLAIN.to_owned()),
        reveal,
        verdict: verdict(row)?,
    })
}

/// SQLite's integers end at 2^63; nothing here has a larger number.
fn in_range(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether this rebuilder's commitment is the one of this rebuild, and still to be revealed: then it was
/// taken before, and the answer was lost on its way.
pub fn is_committed(
    connection: &Connection,
    rebuild_id: u64,
    rebuilder: &WorkerName,
    commitment: FileDigest,
) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM rebuilds WHERE rebuild_id = ?1 AND rebuilder = ?2 AND commitment = ?3
                 AND state IN ('committed', 'revealing'))";
    Ok(connection.query_row(
        sql,
        params![
            in_range(rebuild_id),
            rebuilder.as_str(),
            commitment.to_hex()
        ],
        |row| row.get(0),
    )?)
}

/// Whether this rebuilder has revealed by exactly this lease.
pub fn was_revealed(
    connection: &Connection,
    rebuild_id: u64,
    rebuilder: &WorkerName,
    lease_epoch: u64,
) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM rebuilds
               WHERE rebuild_id = ?1 AND rebuilder = ?2 AND lease_epoch = ?3 AND state = 'done')";
    Ok(connection.query_row(
        sql,
        params![
            in_range(rebuild_id),
            rebuilder.as_str(),
            in_range(lease_epoch)
        ],
        |row| row.get(0),
    )?)
}

/// Whether this rebuilder is rebuilding a build that this blob is part of: it may then read it.
pub fn concerns(
    connection: &Connection,
    rebuilder: &WorkerName,
    file: FileDigest,
) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (
        SELECT 1 FROM rebuilds r JOIN builds b ON b.build_id = r.build_id
        WHERE r.rebuilder = ?1 AND r.state = 'leased' AND (b.source_file = ?2 OR b.buildinfo = ?2
            OR EXISTS (SELECT 1 FROM packages p WHERE p.build_id = b.build_id AND p.unsigned_file = ?2)))";
    Ok(
        connection.query_row(sql, params![rebuilder.as_str(), file.to_hex()], |row| {
            row.get(0)
        })?,
    )
}

/// Whether this rebuilder holds any lease: it may then store blobs.
pub fn holds_any(connection: &Connection, rebuilder: &WorkerName) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM rebuilds WHERE rebuilder = ?1 AND state IN ('leased', 'revealing'))";
    Ok(connection.query_row(sql, [rebuilder.as_str()], |row| row.get(0))?)
}

/// Makes the lease last until `until`.
pub fn extend(tx: &Transaction<'_>, rebuild_id: u64, until: Timestamp) -> Result<(), DbError> {
    tx.execute(
        "UPDATE rebuilds SET lease_until = ?2 WHERE rebuild_id = ?1 AND state IN ('leased', 'revealing')",
        params![rebuild_id, until.unix_secs()],
    )?;
    Ok(())
}

/// How a lease ends.
#[derive(Debug, Clone)]
pub enum End {
    /// There is an answer, and it is sealed.
    Committed {
        /// Digest of the envelope.
        commitment: FileDigest,
    },
    /// The answer was told.
    Revealed {
        /// Worst over the packages.
        verdict: Verdict,
        /// Of all packages.
        causes: Vec<Cause>,
        /// The build log.
        log: Option<FileDigest>,
    },
    /// Nothing can be said yet; what was committed to is void.
    BackOff {
        /// What went wrong.
        error: String,
        /// When to try again.
        run_at: Timestamp,
        /// The build log.
        log: Option<FileDigest>,
    },
    /// Nothing could be said too often: an operator has to look.
    GiveUp {
        /// What went wrong last.
        error: String,
        /// The build log.
        log: Option<FileDigest>,
    },
}

/// Ends a lease.
pub fn end(
    tx: &Transaction<'_>,
    rebuild_id: u64,
    end: &End,
    now: Timestamp,
) -> Result<(), DbError> {
    let hex = |digest: &Option<FileDigest>| digest.map(|digest| digest.to_hex());
    match end {
        End::Committed { commitment } => tx.execute(
            "UPDATE rebuilds SET state = 'committed', lease_until = NULL, commitment = ?2, committed_at = ?3,
                round_id = NULL, last_error = NULL
             WHERE rebuild_id = ?1",
            params![rebuild_id, commitment.to_hex(), now.unix_secs()],
        )?,
        End::Revealed {
            verdict,
            causes,
            log,
        } => tx.execute(
            "UPDATE rebuilds SET state = 'done', lease_until = NULL, verdict = ?2, causes = ?3, last_error = NULL,
                log = coalesce(?4, log)
             WHERE rebuild_id = ?1",
            params![rebuild_id, verdict.to_string(), to_json(causes, "causes")?, hex(log)],
        )?,
        End::BackOff { error, run_at, log } => tx.execute(
            "UPDATE rebuilds SET state = 'waiting', lease_until = NULL, attempt = attempt + 1, last_error = ?2, run_at = ?3,
                log = coalesce(?4, log), commitment = NULL, committed_at = NULL, round_id = NULL
             WHERE rebuild_id = ?1",
            params![rebuild_id, error, run_at.unix_secs(), hex(log)],
        )?,
        End::GiveUp { error, log } => tx.execute(
            "UPDATE rebuilds SET state = 'failed', lease_until = NULL, attempt = attempt + 1, last_error = ?2,
                log = coalesce(?3, log)
             WHERE rebuild_id = ?1",
            params![rebuild_id, error, hex(log)],
        )?,
    };
    Ok(())
}

/// Has a build rebuilt anew where the old rebuilds do not count: those that did not confirm it or gave up,
/// and with `all` also those that confirmed it (their word was given in a round that came to nothing).
pub fn retry(
    tx: &Transaction<'_>,
    build_id: u64,
    all: bool,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE rebuilds SET state = 'waiting', lease_until = NULL, attempt = 0, recalls = 0, run_at = ?2, last_error = NULL,
            profile = NULL, commitment = NULL, committed_at = NULL, round_id = NULL
         WHERE build_id = ?1 AND (state = 'failed'
            OR (state = 'done' AND (?3 OR verdict NOT IN ('identical', 'identical-unsigned'))))",
        params![build_id, now.unix_secs(), all],
    )?;
    Ok(())
}

/// Demands `runs` runs of everybody who was asked for fewer; what is done is done anew.
pub fn demand_runs(
    tx: &Transaction<'_>,
    build_id: u64,
    runs: u32,
    now: Timestamp,
) -> Result<bool, DbError> {
    tx.execute(
        "UPDATE rebuilds SET state = 'waiting', run_at = ?3, commitment = NULL, committed_at = NULL, round_id = NULL
         WHERE build_id = ?1 AND runs < ?2 AND state = 'done'",
        params![build_id, runs, now.unix_secs()],
    )?;
    let raised = tx.execute(
        "UPDATE rebuilds SET runs = ?2 WHERE build_id = ?1 AND runs < ?2",
        params![build_id, runs],
    )?;
    Ok(raised > 0)
}

/// All rebuilds of a build by rebuilder.
pub fn of_build(connection: &Connection, build_id: u64) -> Result<Vec<RebuildStatus>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT rebuilder, operator, state, attempt, profile, verdict, causes, last_error, log FROM rebuilds
         WHERE build_id = ?1 ORDER BY rebuilder",
    )?;
    let rows = statement.query_map([build_id], |row| Ok(status(row)))?;
    rows.map(|row| row.map_err(DbError::from)?).collect()
}

fn status(row: &Row<'_>) -> Result<RebuildStatus, DbError> {
    Ok(RebuildStatus {
        rebuilder: parsed(row, "rebuilder")?,
        operator: parsed(row, "operator")?,
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        profile: row.get("profile")?,
        verdict: verdict(row)?,
        causes: from_json(&row.get::<_, String>("causes")?, "causes")?,
        last_error: row.get("last_error")?,
        log: parsed_opt(row, "log")?,
    })
}

pub(super) fn verdict(row: &Row<'_>) -> Result<Option<Verdict>, DbError> {
    let verdict: Option<String> = row.get("verdict")?;
    verdict
        .map(|text| from_json(&format!("\"{text}\""), "verdict"))
        .transpose()
}

/// Remembers a nonce; `false` when it was seen before. Those older than `forget_before` are dropped.
pub fn remember_nonce(
    tx: &Transaction<'_>,
    nonce: &str,
    now: Timestamp,
    forget_before: Timestamp,
) -> Result<bool, DbError> {
    tx.execute(
        "DELETE FROM worker_nonces WHERE seen_at < ?1",
        [forget_before.unix_secs()],
    )?;
    let new = tx.execute(
        "INSERT INTO worker_nonces (nonce, seen_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![nonce, now.unix_secs()],
    )?;
    Ok(new == 1)
}

/// The architecture a build is rebuilt for, and the most runs asked of anybody.
pub fn arch_and_runs(
    connection: &Connection,
    build_id: u64,
) -> Result<Option<(Arch, u32)>, DbError> {
    let sql =
        "SELECT arch, max(runs) AS runs FROM rebuilds WHERE build_id = ?1 HAVING count(*) > 0";
    Ok(connection
        .query_row(sql, [build_id], |row| {
            Ok((parsed(row, "arch")?, row.get("runs")?))
        })
        .optional()?)
}
