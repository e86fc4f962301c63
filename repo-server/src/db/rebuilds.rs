//! Rebuilds: one row a build and rebuilder, leased, fenced by an epoch, retried with back-off.

use super::{DbError, from_json, parsed, parsed_opt, to_json};
use repo_model::verdict::{Cause, Verdict};
use repo_model::wire::status::RebuildStatus;
use repo_model::{Arch, FileDigest, OperatorName, Timestamp, WorkerName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// A rebuild as its rebuilder gets it.
#[derive(Debug, Clone)]
pub struct LeasedRebuild {
    /// Number of the job.
    pub rebuild_id: u64,
    /// The build.
    pub build_id: u64,
    /// Of this lease.
    pub lease_epoch: u64,
}

/// A rebuild that its rebuilder holds the lease of.
#[derive(Debug, Clone)]
pub struct HeldRebuild {
    /// The build.
    pub build_id: u64,
    /// Infrastructure failures so far.
    pub attempt: u32,
    /// Runs so far that did not confirm.
    pub confirmations: u32,
}

/// Makes the rows for a build; rebuilders that have one already keep it.
pub fn insert(
    tx: &Transaction<'_>,
    build_id: u64,
    arch: &Arch,
    rebuilders: &[(WorkerName, OperatorName)],
    now: Timestamp,
) -> Result<(), DbError> {
    for (rebuilder, operator) in rebuilders {
        tx.execute(
            "INSERT INTO rebuilds (build_id, rebuilder, operator, arch, state, run_at) VALUES (?1, ?2, ?3, ?4, 'waiting', ?5)
             ON CONFLICT (build_id, rebuilder) DO NOTHING",
            params![build_id, rebuilder.as_str(), operator.as_str(), arch.as_str(), now.unix_secs()],
        )?;
    }
    Ok(())
}

/// Leases the oldest rebuild that is due for this rebuilder. Leases that have ended are due.
pub fn lease(
    tx: &Transaction<'_>,
    rebuilder: &WorkerName,
    arches: &[Arch],
    lease_secs: u32,
    now: Timestamp,
) -> Result<Option<LeasedRebuild>, DbError> {
    let arches: Vec<&str> = arches.iter().map(Arch::as_str).collect();
    let leased = tx
        .query_row(
            "SELECT rebuild_id, build_id, lease_epoch FROM rebuilds
             WHERE rebuilder = ?1 AND arch IN (SELECT value FROM json_each(?2))
               AND ((state = 'waiting' AND run_at <= ?3) OR (state = 'leased' AND lease_until < ?3))
             ORDER BY run_at, rebuild_id LIMIT 1",
            params![
                rebuilder.as_str(),
                to_json(&arches, "list")?,
                now.unix_secs()
            ],
            |row| {
                Ok(LeasedRebuild {
                    rebuild_id: row.get("rebuild_id")?,
                    build_id: row.get("build_id")?,
                    lease_epoch: row.get::<_, u64>("lease_epoch")? + 1,
                })
            },
        )
        .optional()?;
    if let Some(job) = &leased {
        let until = now.plus_secs(i64::from(lease_secs));
        tx.execute(
            "UPDATE rebuilds SET state = 'leased', lease_epoch = ?2, lease_until = ?3 WHERE rebuild_id = ?1",
            params![job.rebuild_id, job.lease_epoch, until.unix_secs()],
        )?;
    }
    Ok(leased)
}

/// The rebuild, if this rebuilder holds this lease of it. A lease that has ended but was given to
/// nobody else is still held: work that is done is not thrown away.
pub fn held(
    connection: &Connection,
    rebuild_id: u64,
    rebuilder: &WorkerName,
    lease_epoch: u64,
) -> Result<Option<HeldRebuild>, DbError> {
    let sql = "SELECT build_id, attempt, confirmations FROM rebuilds
               WHERE rebuild_id = ?1 AND rebuilder = ?2 AND lease_epoch = ?3 AND state = 'leased'";
    let found = connection.query_row(
        sql,
        params![rebuild_id, rebuilder.as_str(), lease_epoch],
        |row| {
            Ok(HeldRebuild {
                build_id: row.get("build_id")?,
                attempt: row.get("attempt")?,
                confirmations: row.get("confirmations")?,
            })
        },
    );
    Ok(found.optional()?)
}

/// Whether this rebuilder has a lease of a build that involves it at all, done or not: it may then
/// read the build's blobs.
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

/// Makes the lease last until `until`.
pub fn extend(tx: &Transaction<'_>, rebuild_id: u64, until: Timestamp) -> Result<(), DbError> {
    tx.execute(
        "UPDATE rebuilds SET lease_until = ?2 WHERE rebuild_id = ?1 AND state = 'leased'",
        params![rebuild_id, until.unix_secs()],
    )?;
    Ok(())
}

/// How a lease ends.
#[derive(Debug, Clone)]
pub enum End {
    /// A verdict was reached and stands.
    Done {
        /// Worst over the packages.
        verdict: Verdict,
        /// Of all packages.
        causes: Vec<Cause>,
    },
    /// It did not confirm the build; one confirming run is asked for.
    RunAgain {
        /// Worst over the packages.
        verdict: Verdict,
        /// Of all packages.
        causes: Vec<Cause>,
        /// When.
        run_at: Timestamp,
    },
    /// Nothing can be said yet.
    BackOff {
        /// What went wrong.
        error: String,
        /// When to try again.
        run_at: Timestamp,
    },
    /// Nothing could be said too often: an operator has to look.
    GiveUp {
        /// What went wrong last.
        error: String,
    },
}

/// Ends a lease.
pub fn end(
    tx: &Transaction<'_>,
    rebuild_id: u64,
    end: &End,
    log: Option<FileDigest>,
) -> Result<(), DbError> {
    let (state, verdict, causes, error, run_at) = match end {
        End::Done { verdict, causes } => ("done", Some(*verdict), Some(causes), None, None),
        End::RunAgain {
            verdict,
            causes,
            run_at,
        } => ("waiting", Some(*verdict), Some(causes), None, Some(*run_at)),
        End::BackOff { error, run_at } => ("waiting", None, None, Some(error), Some(*run_at)),
        End::GiveUp { error } => ("failed", None, None, Some(error), None),
    };
    let causes = causes.map(|causes| to_json(causes, "causes")).transpose()?;
    tx.execute(
        "UPDATE rebuilds SET state = ?2, lease_until = NULL, verdict = coalesce(?3, verdict), causes = coalesce(?4, causes),
            last_error = ?5, run_at = coalesce(?6, run_at), log = coalesce(?7, log),
            attempt = attempt + (?5 IS NOT NULL), confirmations = confirmations + (?8 AND ?5 IS NULL)
         WHERE rebuild_id = ?1",
        params![
            rebuild_id,
            state,
            verdict.map(|verdict| verdict.to_string()),
            causes,
            error,
            run_at.map(Timestamp::unix_secs),
            log.map(|digest| digest.to_hex()),
            matches!(end, End::RunAgain { .. }),
        ],
    )?;
    Ok(())
}

/// Makes every rebuild of a build that did not confirm it due again.
pub fn retry(tx: &Transaction<'_>, build_id: u64, now: Timestamp) -> Result<(), DbError> {
    tx.execute(
        "UPDATE rebuilds SET state = 'waiting', lease_until = NULL, attempt = 0, confirmations = 0, run_at = ?2, last_error = NULL
         WHERE build_id = ?1 AND (state = 'failed' OR (state = 'done' AND verdict NOT IN ('identical', 'identical-unsigned')))",
        params![build_id, now.unix_secs()],
    )?;
    Ok(())
}

/// Whether a rebuild of this build is still to be done.
pub fn pending(connection: &Connection, build_id: u64) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM rebuilds WHERE build_id = ?1 AND state IN ('waiting', 'leased'))";
    Ok(connection.query_row(sql, [build_id], |row| row.get(0))?)
}

/// All rebuilds of a build by rebuilder.
pub fn of_build(connection: &Connection, build_id: u64) -> Result<Vec<RebuildStatus>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT rebuilder, operator, state, attempt, verdict, causes, last_error, log FROM rebuilds
         WHERE build_id = ?1 ORDER BY rebuilder",
    )?;
    let rows = statement.query_map([build_id], |row| Ok(status(row)))?;
    rows.map(|row| row.map_err(DbError::from)?).collect()
}

fn status(row: &Row<'_>) -> Result<RebuildStatus, DbError> {
    let verdict: Option<String> = row.get("verdict")?;
    Ok(RebuildStatus {
        rebuilder: parsed(row, "rebuilder")?,
        operator: parsed(row, "operator")?,
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        verdict: verdict
            .map(|text| from_json(&format!("\"{text}\""), "verdict"))
            .transpose()?,
        causes: from_json(&row.get::<_, String>("causes")?, "causes")?,
        last_error: row.get("last_error")?,
        log: parsed_opt(row, "log")?,
    })
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

/// The architecture a build is rebuilt for.
pub fn arch(connection: &Connection, build_id: u64) -> Result<Option<Arch>, DbError> {
    let sql = "SELECT arch FROM rebuilds WHERE build_id = ?1 LIMIT 1";
    Ok(connection
        .query_row(sql, [build_id], |row| parsed(row, "arch"))
        .optional()?)
}
