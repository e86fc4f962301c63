//! The server's own work: rows written in the transaction that makes them necessary.

use super::DbError;
use repo_model::Timestamp;
use repo_model::wire::status::JobStatus;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// A job that is running.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Number.
    pub job_id: u64,
    /// Row of the `JOBS` table.
    pub name: String,
    /// What it works on.
    pub input: String,
    /// Tries before this one.
    pub attempt: u32,
}

/// Asks for work; asking again before it starts can only make it start earlier.
pub fn enqueue(
    tx: &Transaction<'_>,
    name: &str,
    input: &str,
    build_id: Option<u64>,
    run_at_millis: i64,
) -> Result<(), DbError> {
    tx.prepare_cached(
        "INSERT INTO jobs (name, input, build_id, state, run_at_millis) VALUES (?1, ?2, ?3, 'waiting', ?4)
         ON CONFLICT (name, input) WHERE state = 'waiting'
         DO UPDATE SET run_at_millis = min(run_at_millis, excluded.run_at_millis)",
    )?
    .execute(params![name, input, build_id, run_at_millis])?;
    Ok(())
}

/// Leases the job that is due longest, if there is one; `busy` names are passed over, as is work
/// that runs already with the same name and input.
pub fn lease(
    tx: &Transaction<'_>,
    now_millis: i64,
    lease_secs: u32,
    busy: &[&str],
) -> Result<Option<JobRow>, DbError> {
    let until = now_millis / 1_000 + i64::from(lease_secs);
    let row = tx
        .prepare_cached(
            "SELECT job_id, name, input, attempt FROM jobs j
             WHERE state = 'waiting' AND run_at_millis <= ?1
               AND NOT EXISTS (SELECT 1 FROM json_each(?2) b WHERE b.value = j.name)
               AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.name = j.name AND r.input = j.input)
             ORDER BY run_at_millis, job_id LIMIT 1",
        )?
        .query_row(params![now_millis, super::to_json(&busy, "list")?], |row| {
            Ok(JobRow {
                job_id: row.get("job_id")?,
                name: row.get("name")?,
                input: row.get("input")?,
                attempt: row.get("attempt")?,
            })
        })
        .optional()?;
    if let Some(job) = &row {
        tx.execute(
            "UPDATE jobs SET state = 'running', lease_until = ?2 WHERE job_id = ?1",
            params![job.job_id, until],
        )?;
    }
    Ok(row)
}

/// The job is done. Part of the transaction that records its result.
pub fn finish(tx: &Transaction<'_>, job_id: u64) -> Result<(), DbError> {
    tx.execute("DELETE FROM jobs WHERE job_id = ?1", [job_id])?;
    Ok(())
}

/// The job failed and is tried again later; that of a rejected build is not. If the same work was asked for
/// meanwhile, this row stands for both: a job that goes on with what it began looks at its end whether more is left.
pub fn put_back(
    tx: &Transaction<'_>,
    job: &JobRow,
    error: &str,
    run_at_millis: i64,
) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM jobs WHERE name = ?1 AND input = ?2 AND state = 'waiting'",
        params![job.name, job.input],
    )?;
    tx.execute(
        "DELETE FROM jobs WHERE job_id = ?1 AND build_id IN (SELECT build_id FROM builds WHERE stage = 'rejected')",
        [job.job_id],
    )?;
    tx.execute(
        "UPDATE jobs SET state = 'waiting', lease_until = NULL, attempt = attempt + 1, last_error = ?2, run_at_millis = ?3 WHERE job_id = ?1",
        params![job.job_id, error, run_at_millis],
    )?;
    Ok(())
}

/// Takes back what a build that was rejected asked for; what runs already ends by itself.
pub fn drop_waiting(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM jobs WHERE build_id = ?1 AND state = 'waiting'",
        [build_id],
    )?;
    Ok(())
}

/// Gives back jobs whose lease has ended (`now`), or all of them (`None`: at start, when this
/// process is the only one).
///
/// * `running`: jobs that this process is still at. They keep their lease however long they take: a
///   second run beside the first would sign, and store, twice.
pub fn release(
    tx: &Transaction<'_>,
    now: Option<Timestamp>,
    running: &[u64],
) -> Result<usize, DbError> {
    let limit = now.map_or(i64::MAX, Timestamp::unix_secs);
    let running = super::to_json(&running, "list")?;
    // A waiting row with the same work takes the place of the lost one.
    tx.execute(
        "DELETE FROM jobs WHERE state = 'running' AND lease_until < ?1
            AND job_id NOT IN (SELECT value FROM json_each(?2)) AND EXISTS (
            SELECT 1 FROM jobs w WHERE w.state = 'waiting' AND w.name = jobs.name AND w.input = jobs.input)",
        params![limit, running],
    )?;
    let released = tx.execute(
        "UPDATE jobs SET state = 'waiting', lease_until = NULL, run_at_millis = 0
         WHERE state = 'running' AND lease_until < ?1 AND job_id NOT IN (SELECT value FROM json_each(?2))",
        params![limit, running],
    )?;
    Ok(released)
}

/// When the next job is due that [`lease`] would give out, milliseconds since 1970.
pub fn next_run_at_millis(connection: &Connection, busy: &[&str]) -> Result<Option<i64>, DbError> {
    let sql = "SELECT min(run_at_millis) FROM jobs j WHERE state = 'waiting'
           AND NOT EXISTS (SELECT 1 FROM json_each(?1) b WHERE b.value = j.name)
           AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.state = 'running' AND r.name = j.name AND r.input = j.input)";
    Ok(connection.query_row(sql, [super::to_json(&busy, "list")?], |row| row.get(0))?)
}

/// Lets jobs of this name and build begin anew, as if they had never failed.
pub fn start_over(
    tx: &Transaction<'_>,
    build_id: u64,
    name: &str,
    run_at_millis: i64,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE jobs SET attempt = 0, run_at_millis = ?3 WHERE build_id = ?1 AND name = ?2 AND state = 'waiting'",
        params![build_id, name, run_at_millis],
    )?;
    Ok(())
}

/// Whether jobs of this name are still expected to be done for a build; those that failed five times
/// are not: they go on being tried, but nobody waits for them.
pub fn pending(connection: &Connection, build_id: u64, name: &str) -> Result<bool, DbError> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE build_id = ?1 AND name = ?2 AND attempt < 5)";
    Ok(connection.query_row(sql, params![build_id, name], |row| row.get(0))?)
}

/// Whether work of this name with this input waits or runs, however often it failed.
pub fn is_asked_for(connection: &Connection, name: &str, input: &str) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE name = ?1 AND input = ?2)";
    Ok(connection.query_row(sql, params![name, input], |row| row.get(0))?)
}

/// Whether any work of this name waits or runs.
pub fn is_any_asked_for(connection: &Connection, name: &str) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE name = ?1)";
    Ok(connection.query_row(sql, [name], |row| row.get(0))?)
}

/// Jobs of a build; while it is signed and not published, those that make releases are among them. A
/// judgement that waits for its time is none: nothing is to be done.
pub fn of_build(connection: &Connection, build_id: u64) -> Result<Vec<JobStatus>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, state, attempt, run_at_millis, last_error FROM jobs
         WHERE (build_id = ?1 OR (name = 'publish' AND EXISTS (
            SELECT 1 FROM builds b WHERE b.build_id = ?1 AND b.stage = 'signed')))
           AND NOT (name = 'judge' AND state = 'waiting' AND attempt = 0 AND run_at_millis > (unixepoch() + 1) * 1000)
         ORDER BY job_id",
    )?;
    let rows = statement.query_map([build_id], |row| {
        Ok(JobStatus {
            name: row.get("name")?,
            state: row.get("state")?,
            attempt: row.get("attempt")?,
            run_at: Timestamp::from_unix_secs(row.get::<_, i64>("run_at_millis")? / 1_000),
            last_error: row.get("last_error")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Waiting and running jobs by name, for the metrics.
pub fn counts(connection: &Connection) -> Result<Vec<(String, String, u64)>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT name, state, count(*) FROM jobs GROUP BY name, state")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_this_process_is_at_is_given_to_no_second_run_however_long_it_takes() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::SCHEMA).unwrap();
        let tx = connection.transaction().unwrap();
        enqueue(&tx, "sign", "1", None, 0).unwrap();
        enqueue(&tx, "sign", "2", None, 0).unwrap();
        let slow = lease(&tx, 1_000, 60, &[]).unwrap().unwrap();
        let lost = lease(&tx, 1_000, 60, &[]).unwrap().unwrap();
        let later = Timestamp::from_unix_secs(1_000_000);
        assert_eq!(release(&tx, Some(later), &[slow.job_id]).unwrap(), 1);
        let again = lease(&tx, 1_000_000_000, 60, &[]).unwrap().unwrap();
        assert_eq!(again.job_id, lost.job_id);
        assert!(lease(&tx, 1_000_000_000, 60, &[]).unwrap().is_none());
        // At start nothing runs.
        assert_eq!(release(&tx, None, &[]).unwrap(), 2);
    }
}
