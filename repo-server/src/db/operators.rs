//! What operators look at: the audit trail, and the work that is not done.

use super::overview::{self, BuildLine};
use super::{DbError, parsed_opt};
use repo_model::Timestamp;
use repo_model::wire::operator::{AuditLine, JobLine};
use rusqlite::{Connection, named_params};

/// What of the audit trail is asked for.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only lines with a smaller number.
    pub before: Option<u64>,
    /// Only lines about this: `build 17`.
    pub about: Option<String>,
    /// Only what people did.
    pub people: bool,
    /// At most so many.
    pub limit: u32,
}

/// Lines of the audit trail, newest first.
pub fn audit_trail(
    connection: &Connection,
    filter: &AuditFilter,
) -> Result<Vec<AuditLine>, DbError> {
    let about = match filter.about {
        Some(_) => "subject = :about",
        None => ":about IS NULL",
    };
    // Word for word as in the partial index.
    let people = if filter.people {
        "AND actor <> 'server'"
    } else {
        ""
    };
    let sql = format!(
        "SELECT audit_id, at, actor, action, subject, detail FROM audit
         WHERE {about} AND audit_id < :before {people} ORDER BY audit_id DESC LIMIT :limit"
    );
    let before = filter
        .before
        .map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(&sql)?;
    let wanted = named_params! {":about": filter.about, ":before": before, ":limit": filter.limit};
    let rows = statement.query_map(wanted, |row| {
        Ok(AuditLine {
            line: row.get("audit_id")?,
            at: Timestamp::from_unix_secs(row.get("at")?),
            actor: row.get("actor")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            detail: row.get("detail")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Jobs that are not done: what failed most often first, then what runs, then what is due first. A judgement
/// that waits for its time is none: nothing is to be done.
pub fn jobs(connection: &Connection, limit: u32) -> Result<Vec<JobLine>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT j.name, j.input, j.build_id, b.source_nevra, j.state, j.attempt, j.run_at_millis, b.changed_at, j.last_error
         FROM jobs j LEFT JOIN builds b ON b.build_id = j.build_id
         WHERE NOT (j.name = 'judge' AND j.state = 'waiting' AND j.attempt = 0 AND j.run_at_millis > (unixepoch() + 1) * 1000)
         ORDER BY j.attempt DESC, j.state, j.run_at_millis, j.job_id LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(JobLine {
            name: row.get("name")?,
            input: row.get("input")?,
            build: row.get("build_id")?,
            source: parsed_opt(row, "source_nevra")?,
            state: row.get("state")?,
            attempt: row.get("attempt")?,
            run_at: Timestamp::from_unix_secs(row.get::<_, i64>("run_at_millis")? / 1_000),
            since: row
                .get::<_, Option<i64>>("changed_at")?
                .map(Timestamp::from_unix_secs),
            last_error: row.get("last_error")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A build that is on its way, and how far its work is.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// The build.
    pub line: BuildLine,
    /// Rebuilders that have not begun.
    pub waiting: u64,
    /// Rebuilders that are at it.
    pub at_work: u64,
    /// Rebuilders that have an answer, told or not.
    pub answered: u64,
    /// Rebuilders that gave up.
    pub gave_up: u64,
    /// SBOMs that are not made yet.
    pub sboms_to_do: u64,
    /// What went wrong last: of one of its jobs, or of a rebuilder.
    pub error: Option<String>,
}

/// Builds that are received, approved or signed; those that are so for longest first.
pub fn under_way(connection: &Connection, limit: u32) -> Result<Vec<UnderWay>, DbError> {
    let rebuilds = |states: &str| {
        format!(
            "(SELECT count(*) FROM rebuilds r WHERE r.build_id = b.build_id AND r.state IN ({states}))"
        )
    };
    let sql = format!(
        "SELECT {line}, {waiting} AS waiting, {at_work} AS at_work, {answered} AS answered, {gave_up} AS gave_up,
             (SELECT count(*) FROM jobs j WHERE j.build_id = b.build_id AND j.name = 'make-sbom') AS sboms_to_do,
             coalesce(
                 (SELECT j.last_error FROM jobs j WHERE j.build_id = b.build_id AND j.last_error IS NOT NULL
                  ORDER BY j.attempt DESC LIMIT 1),
                 (SELECT r.rebuilder || ': ' || r.last_error FROM rebuilds r
                  WHERE r.build_id = b.build_id AND r.last_error IS NOT NULL AND r.state <> 'done' LIMIT 1)) AS error
         FROM builds b WHERE b.stage IN ('received', 'approved', 'signed')
         ORDER BY b.changed_at, b.build_id LIMIT ?1",
        line = overview::LINE,
        waiting = rebuilds("'waiting'"),
        at_work = rebuilds("'leased'"),
        answered = rebuilds("'committed', 'revealing', 'done'"),
        gave_up = rebuilds("'failed'"),
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], |row| {
        Ok(overview::line(row).map(|line| (line, counted(row))))
    })?;
    let mut out = Vec::new();
    for row in rows {
        let (line, counts) = row??;
        let ([waiting, at_work, answered, gave_up, sboms_to_do], error) = counts?;
        out.push(UnderWay {
            line,
            waiting,
            at_work,
            answered,
            gave_up,
            sboms_to_do,
            error,
        });
    }
    Ok(out)
}

fn counted(row: &rusqlite::Row<'_>) -> rusqlite::Result<([u64; 5], Option<String>)> {
    let mut counts = [0; 5];
    let names = ["waiting", "at_work", "answered", "gave_up", "sboms_to_do"];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = row.get(name)?;
    }
    Ok((counts, row.get("error")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{self, Db};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[tokio::test]
    async fn the_trail_is_read_backwards_by_subject_and_by_who_acted() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("db")).unwrap();
        db.write(|tx| {
            for (actor, subject) in [
                ("server", "build 1"),
                ("alice (token 1)", "build 1"),
                ("server", "build 2"),
                ("bob (token 2)", "build 2"),
            ] {
                db::audit(tx, at(7), actor, "retry", subject, "why")?;
            }
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
        let read = |filter: AuditFilter| {
            let db = db.clone();
            async move {
                let lines = db
                    .read(move |connection| audit_trail(connection, &filter))
                    .await;
                lines
                    .unwrap()
                    .into_iter()
                    .map(|line| line.line)
                    .collect::<Vec<_>>()
            }
        };
        let all = AuditFilter {
            limit: 3,
            ..AuditFilter::default()
        };
        assert_eq!(read(all.clone()).await, [4, 3, 2]);
        let before = AuditFilter {
            before: Some(3),
            ..all.clone()
        };
        assert_eq!(read(before).await, [2, 1]);
        let people = AuditFilter {
            people: true,
            ..all.clone()
        };
        assert_eq!(read(people).await, [4, 2]);
        let about = AuditFilter {
            about: Some("build 1".to_owned()),
            people: true,
            ..all
        };
        assert_eq!(read(about).await, [2]);
    }

    #[tokio::test]
    async fn what_fails_stands_before_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("db")).unwrap();
        let lines = db
            .write(|tx| {
                for (name, run_at) in [
                    ("publish", 2_000),
                    ("make-sbom", 1_000),
                    ("judge", i64::MAX / 2),
                ] {
                    db::jobs::enqueue(tx, name, "7", None, run_at)?;
                }
                let failing = db::jobs::lease(tx, 5_000, 60, &["make-sbom"])?;
                let failing = failing.ok_or(DbError::Closed)?;
                db::jobs::put_back(tx, &failing, "no space left", 9_000)?;
                jobs(tx, 10)
            })
            .await
            .unwrap();
        let shown: Vec<_> = lines
            .iter()
            .map(|line| (line.name.as_str(), line.attempt, line.last_error.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("publish", 1, Some("no space left")),
                ("make-sbom", 0, None)
            ]
        );
        assert_eq!(lines[0].run_at, at(9));
    }
}
