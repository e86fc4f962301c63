//! Giving rebuilds out: answers to reveal first, then builds to rebuild, each under a challenge profile that
//! the others do not have.

use super::rebuilds::PLAIN;
use super::{DbError, from_json, parsed, to_json};
use repo_model::wire::rebuilders::Mode;
use repo_model::{Arch, FileDigest, Timestamp, WorkerName};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// What a rebuilder gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Number of the job.
    pub rebuild_id: u64,
    /// The build.
    pub build_id: u64,
    /// Of this lease.
    pub lease_epoch: u64,
    /// What is to be done.
    pub what: LeasedFor,
}

/// What a lease is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeasedFor {
    /// To rebuild.
    Rebuild {
        /// Under this challenge profile.
        profile: String,
        /// So often.
        runs: u32,
    },
    /// To reveal.
    Reveal {
        /// The answer behind this commitment.
        commitment: FileDigest,
        /// Commitments of the round, sorted.
        round: Vec<FileDigest>,
    },
}

/// Who asks for work.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The rebuilder.
    pub rebuilder: WorkerName,
    /// Whether it gets new rebuilds.
    pub mode: Mode,
    /// Architectures it can build for.
    pub arches: Vec<Arch>,
    /// Challenge profiles it can build under.
    pub profiles: Vec<String>,
    /// Length of a lease, seconds.
    pub lease_secs: u32,
}

/// Leases what is due for this rebuilder: answers to reveal first, then the oldest rebuild. Leases that
/// have ended are due.
pub fn lease(
    tx: &Transaction<'_>,
    asking: &Asking,
    now: Timestamp,
) -> Result<Option<Leased>, DbError> {
    if let Some(reveal) = lease_reveal(tx, asking, now)? {
        return Ok(Some(reveal));
    }
    match asking.mode {
        Mode::Active => lease_rebuild(tx, asking, now),
        Mode::Paused | Mode::Draining => Ok(None),
    }
}

fn lease_reveal(
    tx: &Transaction<'_>,
    asking: &Asking,
    now: Timestamp,
) -> Result<Option<Leased>, DbError> {
    let found = tx
        .query_row(
            "SELECT r.rebuild_id, r.build_id, r.lease_epoch, r.commitment, o.commitments
             FROM rebuilds r JOIN rounds o ON o.round_id = r.round_id
             WHERE r.rebuilder = ?1 AND o.reveal_until >= ?2
               AND (r.state = 'committed' OR (r.state = 'revealing' AND r.lease_until < ?2))
             ORDER BY o.round_id, r.rebuild_id LIMIT 1",
            params![asking.rebuilder.as_str(), now.unix_secs()],
            |row| {
                Ok((
                    row.get::<_, u64>("rebuild_id")?,
                    row.get::<_, u64>("build_id")?,
                    row.get::<_, u64>("lease_epoch")? + 1,
                    parsed(row, "commitment")?,
                    row.get::<_, String>("commitments")?,
                ))
            },
        )
        .optional()?;
    let Some((rebuild_id, build_id, lease_epoch, commitment, round)) = found else {
        return Ok(None);
    };
    start(tx, rebuild_id, "revealing", lease_epoch, asking, now)?;
    let round = from_json(&round, "round")?;
    Ok(Some(Leased {
        rebuild_id,
        build_id,
        lease_epoch,
        what: LeasedFor::Reveal { commitment, round },
    }))
}

fn lease_rebuild(
    tx: &Transaction<'_>,
    asking: &Asking,
    now: Timestamp,
) -> Result<Option<Leased>, DbError> {
    let arches: Vec<&str> = asking.arches.iter().map(Arch::as_str).collect();
    let found = tx
        .query_row(
            "SELECT rebuild_id, build_id, lease_epoch, runs, profile FROM rebuilds
             WHERE rebuilder = ?1 AND arch IN (SELECT value FROM json_each(?2))
               AND ((state = 'waiting' AND run_at <= ?3) OR (state = 'leased' AND lease_until < ?3))
               AND NOT EXISTS (SELECT 1 FROM builds b WHERE b.build_id = rebuilds.build_id AND b.stage = 'rejected')
             ORDER BY run_at, rebuild_id LIMIT 1",
            params![
                asking.rebuilder.as_str(),
                to_json(&arches, "list")?,
                now.unix_secs()
            ],
            |row| {
                Ok((
                    row.get::<_, u64>("rebuild_id")?,
                    row.get::<_, u64>("build_id")?,
                    row.get::<_, u64>("lease_epoch")? + 1,
                    row.get::<_, u32>("runs")?,
                    row.get::<_, Option<String>>("profile")?,
                ))
            },
        )
        .optional()?;
    let Some((rebuild_id, build_id, lease_epoch, runs, before)) = found else {
        return Ok(None);
    };
    let others = other_profiles(tx, build_id, rebuild_id)?;
    let profile = choose_profile(&asking.profiles, before.as_deref(), &others);
    start(tx, rebuild_id, "leased", lease_epoch, asking, now)?;
    tx.execute(
        "UPDATE rebuilds SET profile = ?2 WHERE rebuild_id = ?1",
        params![rebuild_id, profile],
    )?;
    Ok(Some(Leased {
        rebuild_id,
        build_id,
        lease_epoch,
        what: LeasedFor::Rebuild { profile, runs },
    }))
}

fn start(
    tx: &Transaction<'_>,
    rebuild_id: u64,
    state: &str,
    lease_epoch: u64,
    asking: &Asking,
    now: Timestamp,
) -> Result<(), DbError> {
    let until = now.plus_secs(i64::from(asking.lease_secs));
    tx.execute(
        "UPDATE rebuilds SET state = ?2, lease_epoch = ?3, lease_until = ?4 WHERE rebuild_id = ?1",
        params![rebuild_id, state, lease_epoch, until.unix_secs()],
    )?;
    Ok(())
}

/// Profiles under which others rebuild or have rebuilt this build.
fn other_profiles(
    connection: &Connection,
    build_id: u64,
    rebuild_id: u64,
) -> Result<Vec<String>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT profile FROM rebuilds WHERE build_id = ?1 AND rebuild_id <> ?2
           AND profile IS NOT NULL AND state IN ('leased', 'committed', 'revealing', 'done')",
    )?;
    let rows = statement.query_map(params![build_id, rebuild_id], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The profile for one lease: somebody has to be plain, and beyond that they shall differ. The one it had
/// before stays, unless nobody would be plain. A rebuilder that offers none is plain.
fn choose_profile(offered: &[String], before: Option<&str>, others: &[String]) -> String {
    let can = |name: &str| offered.iter().any(|offer| offer == name);
    let plain_is_missing = !others.iter().any(|other| other == PLAIN);
    if plain_is_missing && can(PLAIN) {
        return PLAIN.to_owned();
    }
    if let Some(before) = before.filter(|before| can(before)) {
        return before.to_owned();
    }
    let used = |name: &String| others.iter().filter(|other| *other == name).count();
    let least = offered.iter().min_by_key(|offer| used(offer));
    least.cloned().unwrap_or_else(|| PLAIN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_spread_and_somebody_is_plain() {
        let all: Vec<String> = ["plain", "one-cpu", "other-kernel"]
            .map(str::to_owned)
            .into();
        let mut given: Vec<String> = Vec::new();
        for _ in 0..4 {
            given.push(choose_profile(&all, None, &given));
        }
        assert_eq!(given, ["plain", "one-cpu", "other-kernel", "plain"]);
        let only = |name: &str| vec![name.to_owned()];
        let plain = only("plain");
        assert_eq!(
            choose_profile(&only("one-cpu"), None, &[]),
            "one-cpu",
            "it cannot be plain"
        );
        assert_eq!(
            choose_profile(&all, Some("one-cpu"), &plain),
            "one-cpu",
            "it stays"
        );
        assert_eq!(
            choose_profile(&all, Some("one-cpu"), &[]),
            "plain",
            "nobody else is plain"
        );
        assert_eq!(choose_profile(&all, Some("gone"), &plain), "one-cpu");
        assert_eq!(choose_profile(&[], None, &plain), "plain");
    }
}
