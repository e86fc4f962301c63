//! Rounds: when commitments are gathered, when they are opened, and what a build still waits for.
//!
//! The rules are the pure functions [`opens`], [`recalled`] and [`outlook`]; the rest carries them out.

use super::{DbError, parsed, parsed_opt, to_json};
use repo_model::policy::Policy;
use repo_model::verdict::Verdict;
use repo_model::{FileDigest, OperatorName, Timestamp, WorkerName};
use rusqlite::{Connection, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};

/// Most times that a rebuilder is asked for the same build anew because its answer came in a round that
/// was too small.
const MAX_RECALLS: u32 = 3;

/// Whose word counts, how much of it is needed, and how long it is waited for.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Rebuilders whose word may count for this build.
    pub counted: BTreeSet<WorkerName>,
    /// Rebuilders that begin nothing any more.
    pub draining: BTreeSet<WorkerName>,
    /// Operators whose word does not count: they may have built it.
    pub builders: BTreeSet<OperatorName>,
    /// `min_rebuilders`.
    pub min_rebuilders: usize,
    /// `min_operators`.
    pub min_operators: usize,
    /// Whether confirmations must be of one round.
    pub sealed: bool,
    /// How long commitments are gathered, and how long there is to reveal, seconds.
    pub reveal_wait_secs: i64,
    /// How long a build waits for rebuilds, seconds.
    pub rebuild_wait_secs: i64,
}

impl Rules {
    /// * `names`: of the build's packages; a rebuilder counts when it covers one.
    /// * `draining`: rebuilders that begin nothing any more.
    pub fn new(
        policy: &Policy,
        config: &repo_model::config::ServerConfig,
        names: &[String],
        draining: BTreeSet<WorkerName>,
    ) -> Self {
        let secs = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX / 4);
        let builders = match policy.require_provenance {
            true => policy.builders.iter().map(|b| b.operator.clone()).collect(),
            false => BTreeSet::new(),
        };
        Self {
            counted: policy
                .rebuilders
                .iter()
                .filter(|holder| names.iter().any(|name| holder.covers(name)))
                .map(|holder| holder.name.clone())
                .collect(),
            draining,
            builders,
            min_rebuilders: policy.min_rebuilders as usize,
            min_operators: policy.min_operators as usize,
            sealed: policy.demands_commitments(),
            reveal_wait_secs: secs(config.reveal_wait_secs),
            rebuild_wait_secs: secs(config.rebuild_wait_secs),
        }
    }

    /// Whether this rebuilder has not begun and may.
    fn may_begin(&self, row: &RoundRow, now: Timestamp) -> bool {
        let idle = row.is("waiting") || (row.is("leased") && !row.is_live(now));
        idle && !self.draining.contains(&row.rebuilder)
    }

    fn suffice<'r>(&self, rows: impl Iterator<Item = &'r RoundRow>) -> bool {
        let mut rebuilders = 0;
        let mut operators = BTreeSet::new();
        for row in rows {
            if !self.builders.contains(&row.operator) {
                rebuilders += 1;
                operators.insert(&row.operator);
            }
        }
        rebuilders >= self.min_rebuilders && operators.len() >= self.min_operators
    }
}

/// What a rebuild's row says about rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundRow {
    /// Number.
    pub rebuild_id: u64,
    /// Whose.
    pub rebuilder: WorkerName,
    /// Of whom.
    pub operator: OperatorName,
    /// `waiting`, `leased`, `committed`, `revealing`, `done`, `failed`.
    pub state: String,
    /// End of the lease.
    pub lease_until: Option<Timestamp>,
    /// What it committed to.
    pub commitment: Option<FileDigest>,
    /// When.
    pub committed_at: Option<Timestamp>,
    /// The round that the commitment is in.
    pub round: Option<u64>,
    /// Until when the round's answers may be told.
    pub reveal_until: Option<Timestamp>,
    /// What was found.
    pub verdict: Option<Verdict>,
    /// Times it was asked anew.
    pub recalls: u32,
}

impl RoundRow {
    fn is(&self, state: &str) -> bool {
        self.state == state
    }

    /// Committed, and in no round yet.
    fn is_gathering(&self) -> bool {
        self.is("committed") && self.round.is_none()
    }

    /// In a round, and not told yet.
    fn is_due(&self) -> bool {
        self.is("revealing") || (self.is("committed") && self.round.is_some())
    }

    fn is_live(&self, now: Timestamp) -> bool {
        self.is("leased") && self.lease_until.is_some_and(|until| until >= now)
    }

    fn confirms(&self) -> bool {
        self.is("done") && self.verdict.is_some_and(Verdict::confirms)
    }
}

/// Whether the commitments that are there are shown to each other now.
///
/// * `under_way`: the build is not decided; otherwise nobody waits for anybody.
pub fn opens(rows: &[RoundRow], rules: &Rules, under_way: bool, now: Timestamp) -> bool {
    let gathering = || rows.iter().filter(|row| row.is_gathering());
    let Some(first) = gathering().filter_map(|row| row.committed_at).min() else {
        return false;
    };
    if !under_way || now >= first.plus_secs(rules.reveal_wait_secs) {
        return true;
    }
    let counted = || {
        rows.iter()
            .filter(|row| rules.counted.contains(&row.rebuilder))
    };
    if counted().any(|row| row.is_live(now)) {
        return false;
    }
    let may_come = counted().any(|row| rules.may_begin(row, now));
    !may_come || rules.suffice(counted().filter(|row| row.is_gathering()))
}

/// Rebuilds that are asked for anew: they confirmed the build in a round that was too small, and now
/// somebody else is ready, who could have heard them.
pub fn recalled(rows: &[RoundRow], rules: &Rules) -> Vec<u64> {
    let counted = || {
        rows.iter()
            .filter(|row| rules.counted.contains(&row.rebuilder))
    };
    let somebody_is_ready = counted().any(RoundRow::is_gathering);
    if !rules.sealed || !somebody_is_ready || rows.iter().any(RoundRow::is_due) {
        return Vec::new();
    }
    if enough(rows, rules) {
        return Vec::new();
    }
    counted()
        .filter(|row| row.confirms() && row.recalls < MAX_RECALLS)
        .map(|row| row.rebuild_id)
        .collect()
}

/// Whether enough have confirmed the build, in one round where that matters.
pub fn enough(rows: &[RoundRow], rules: &Rules) -> bool {
    let mut rounds: BTreeMap<Option<u64>, Vec<&RoundRow>> = BTreeMap::new();
    for row in rows
        .iter()
        .filter(|row| row.confirms() && rules.counted.contains(&row.rebuilder))
    {
        let key = if rules.sealed { row.round } else { None };
        rounds.entry(key).or_default().push(row);
    }
    rounds
        .values()
        .any(|round| rules.suffice(round.iter().copied()))
        || rules.suffice(std::iter::empty())
}

/// What a build under way waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// All that can be waited for is there.
    Decide,
    /// Something is under way; look again at this time, or when something happens.
    Wait(Timestamp),
}

/// Whether rebuilds are worth waiting for.
///
/// Answers that are committed to and leases that are kept are always waited for: whoever is slow may
/// differ. Rebuilds that nobody has begun are waited for only while they are needed. Nothing is waited
/// for longer than `rebuild_wait_secs` after `since`, but answers that are already in a round.
pub fn outlook(rows: &[RoundRow], rules: &Rules, since: Timestamp, now: Timestamp) -> Outlook {
    let limit = since.plus_secs(rules.rebuild_wait_secs);
    let mut wake: Option<Timestamp> = None;
    let mut wait = |at: Timestamp| wake = Some(wake.map_or(at, |wake| wake.min(at)));
    let counted = || {
        rows.iter()
            .filter(|row| rules.counted.contains(&row.rebuilder))
    };
    for row in counted() {
        if let (true, Some(until)) = (row.is_due(), row.reveal_until) {
            wait(until.plus_secs(1));
        } else if let (true, Some(at)) = (row.is_gathering(), row.committed_at) {
            wait(at.plus_secs(rules.reveal_wait_secs));
        } else if now < limit && row.is_live(now) {
            let until = row.lease_until.unwrap_or(limit);
            wait(until.plus_secs(1).min(limit));
        }
    }
    if !not_begun(rows, rules, since, now).is_empty() {
        wait(limit);
    }
    wake.map_or(Outlook::Decide, Outlook::Wait)
}

/// Rebuilders that have not begun, may, and are needed: they are waited for until `rebuild_wait_secs` after `since`.
pub fn not_begun<'r>(
    rows: &'r [RoundRow],
    rules: &Rules,
    since: Timestamp,
    now: Timestamp,
) -> Vec<&'r RoundRow> {
    if now >= since.plus_secs(rules.rebuild_wait_secs) || enough(rows, rules) {
        return Vec::new();
    }
    let awaited =
        |row: &&RoundRow| rules.counted.contains(&row.rebuilder) && rules.may_begin(row, now);
    rows.iter().filter(awaited).collect()
}

/// The rows of a build, by number.
pub fn rows(connection: &Connection, build_id: u64) -> Result<Vec<RoundRow>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT r.rebuild_id, r.rebuilder, r.operator, r.state, r.lease_until, r.commitment, r.committed_at, r.round_id,
            o.reveal_until, r.verdict, r.recalls
         FROM rebuilds r LEFT JOIN rounds o ON o.round_id = r.round_id
         WHERE r.build_id = ?1 ORDER BY r.rebuild_id",
    )?;
    let rows = statement.query_map([build_id], |row| {
        let time = |column: &str| -> rusqlite::Result<Option<Timestamp>> {
            Ok(row
                .get::<_, Option<i64>>(column)?
                .map(Timestamp::from_unix_secs))
        };
        Ok((
            RoundRow {
                rebuild_id: row.get("rebuild_id")?,
                rebuilder: parsed(row, "rebuilder")?,
                operator: parsed(row, "operator")?,
                state: row.get("state")?,
                lease_until: time("lease_until")?,
                commitment: parsed_opt(row, "commitment")?,
                committed_at: time("committed_at")?,
                round: row.get("round_id")?,
                reveal_until: time("reveal_until")?,
                verdict: None,
                recalls: row.get("recalls")?,
            },
            super::rebuilds::verdict(row),
        ))
    })?;
    let mut all = Vec::new();
    for row in rows {
        let (row, verdict) = row?;
        all.push(RoundRow {
            verdict: verdict?,
            ..row
        });
    }
    Ok(all)
}

/// Brings a build's rounds up to date: gives up who did not reveal in time, asks anew, opens what is ready.
/// Gives the rows as they are then.
pub fn advance(
    tx: &Transaction<'_>,
    build_id: u64,
    rules: &Rules,
    under_way: bool,
    now: Timestamp,
) -> Result<Vec<RoundRow>, DbError> {
    tx.execute(
        "UPDATE rebuilds SET state = 'failed', lease_until = NULL,
            last_error = 'it committed to an answer and did not reveal it in time'
         WHERE build_id = ?1 AND state IN ('committed', 'revealing')
           AND round_id IN (SELECT round_id FROM rounds WHERE build_id = ?1 AND reveal_until < ?2)",
        params![build_id, now.unix_secs()],
    )?;
    let before = rows(tx, build_id)?;
    if under_way {
        for rebuild_id in recalled(&before, rules) {
            tx.execute(
                "UPDATE rebuilds SET state = 'waiting', run_at = ?2, recalls = recalls + 1, commitment = NULL,
                    committed_at = NULL, round_id = NULL
                 WHERE rebuild_id = ?1",
                params![rebuild_id, now.unix_secs()],
            )?;
        }
    }
    let now_rows = rows(tx, build_id)?;
    if opens(&now_rows, rules, under_way, now) {
        open(tx, build_id, &now_rows, rules, now)?;
        return rows(tx, build_id);
    }
    Ok(now_rows)
}

fn open(
    tx: &Transaction<'_>,
    build_id: u64,
    rows: &[RoundRow],
    rules: &Rules,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut commitments: Vec<FileDigest> = rows
        .iter()
        .filter(|row| row.is_gathering())
        .filter_map(|row| row.commitment)
        .collect();
    commitments.sort();
    commitments.dedup();
    tx.execute(
        "INSERT INTO rounds (build_id, opened_at, reveal_until, commitments) VALUES (?1, ?2, ?3, ?4)",
        params![
            build_id,
            now.unix_secs(),
            now.plus_secs(rules.reveal_wait_secs).unix_secs(),
            to_json(&commitments, "round")?
        ],
    )?;
    let round_id = tx.last_insert_rowid();
    tx.execute(
        "UPDATE rebuilds SET round_id = ?2 WHERE build_id = ?1 AND state = 'committed' AND round_id IS NULL",
        params![build_id, round_id],
    )?;
    Ok(())
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
