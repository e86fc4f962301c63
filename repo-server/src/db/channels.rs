//! Channels: pointers to releases, moved by compare-and-swap.

use super::{DbError, parsed};
use repo_model::wire::status::ChannelStatus;
use repo_model::{ChannelName, ReleaseId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Makes the configured channels; those that exist stay where they point. Only the first may follow
/// new releases: one that was first in an earlier configuration stops.
pub fn ensure(tx: &Transaction<'_>, channels: &[ChannelName]) -> Result<(), DbError> {
    for (index, channel) in channels.iter().enumerate() {
        tx.execute(
            "INSERT INTO channels (channel, follows) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET follows = follows AND excluded.follows",
            params![channel.as_str(), index == 0],
        )?;
    }
    Ok(())
}

/// All channels by name.
pub fn all(connection: &Connection) -> Result<Vec<ChannelStatus>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT channel, release_id, moved_at, follows FROM channels ORDER BY channel",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(ChannelStatus {
            channel: parsed(row, "channel")?,
            release: row.get::<_, Option<u64>>("release_id")?.map(ReleaseId),
            moved_at: row
                .get::<_, Option<i64>>("moved_at")?
                .map(Timestamp::from_unix_secs),
            follows: row.get("follows")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The release that a channel points to, and since when.
pub fn pointed(
    connection: &Connection,
    channel: &ChannelName,
) -> Result<Option<(ReleaseId, Timestamp)>, DbError> {
    let sql = "SELECT release_id, moved_at FROM channels
               WHERE channel = ?1 AND release_id IS NOT NULL AND moved_at IS NOT NULL";
    let found = connection.query_row(sql, [channel.as_str()], |row| {
        let since = Timestamp::from_unix_secs(row.get("moved_at")?);
        Ok((ReleaseId(row.get("release_id")?), since))
    });
    Ok(found.optional()?)
}

/// The newest release that a channel ever pointed to: a client may still hold its metadata.
pub fn newest_ever(
    connection: &Connection,
    channel: &ChannelName,
) -> Result<Option<ReleaseId>, DbError> {
    let sql = "SELECT max(to_release) FROM channel_moves WHERE channel = ?1";
    let newest: Option<u64> = connection.query_row(sql, [channel.as_str()], |row| row.get(0))?;
    Ok(newest.map(ReleaseId))
}

/// Where a channel points: `None` when there is no such channel, `Some(None)` before its first
/// release.
pub fn pointer(
    connection: &Connection,
    channel: &ChannelName,
) -> Result<Option<Option<ReleaseId>>, DbError> {
    let sql = "SELECT release_id FROM channels WHERE channel = ?1";
    let found = connection.query_row(sql, [channel.as_str()], |row| {
        Ok(row.get::<_, Option<u64>>("release_id")?.map(ReleaseId))
    });
    Ok(found.optional()?)
}

/// Moves a channel from `seen` to `to`; `false` when somebody else moved it first.
///
/// A channel moved to the newest release follows later ones if it is the `first` of the
/// configuration; one moved back stays until it is moved again. The instant of a move is later than
/// that of the move before, so that `Last-Modified` tells them apart.
pub fn swap(
    tx: &Transaction<'_>,
    channel: &ChannelName,
    seen: Option<ReleaseId>,
    to: ReleaseId,
    follows: bool,
    actor: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let seen = seen.map(|release| release.0);
    let moved = tx.execute(
        "UPDATE channels SET release_id = ?3, moved_at = max(?4, coalesce(moved_at + 1, ?4)), follows = ?5
         WHERE channel = ?1 AND release_id IS ?2",
        params![channel.as_str(), seen, to.0, now.unix_secs(), follows],
    )?;
    if moved == 0 {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO channel_moves (channel, from_release, to_release, moved_at, actor) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![channel.as_str(), seen, to.0, now.unix_secs(), actor],
    )?;
    let detail = format!(
        "from {} to {to}",
        seen.map_or_else(|| "nothing".to_owned(), |id| id.to_string())
    );
    super::audit(tx, now, actor, "channel-move", channel.as_str(), &detail)?;
    Ok(true)
}

/// Moves every channel that follows to a new release.
pub fn follow(tx: &Transaction<'_>, to: ReleaseId, now: Timestamp) -> Result<(), DbError> {
    let mut statement = tx.prepare("SELECT channel, release_id FROM channels WHERE follows = 1")?;
    let following: Vec<(ChannelName, Option<u64>)> = statement
        .query_map([], |row| {
            Ok((parsed(row, "channel")?, row.get("release_id")?))
        })?
        .collect::<Result<_, _>>()?;
    for (channel, seen) in following {
        swap(tx, &channel, seen.map(ReleaseId), to, true, "server", now)?;
    }
    Ok(())
}

/// What the signer said last about where a channel points.
#[derive(Debug, Clone)]
pub struct FreshnessRow {
    /// Release.
    pub release: ReleaseId,
    /// The signed statement, as it is served.
    pub envelope: String,
    /// When it was said.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// What the signer said last about a channel.
pub fn freshness(
    connection: &Connection,
    channel: &ChannelName,
) -> Result<Option<FreshnessRow>, DbError> {
    let sql =
        "SELECT release_id, envelope, issued, expires FROM channel_freshness WHERE channel = ?1";
    let found = connection.query_row(sql, [channel.as_str()], |row| {
        Ok(FreshnessRow {
            release: ReleaseId(row.get("release_id")?),
            envelope: row.get("envelope")?,
            issued: Timestamp::from_unix_secs(row.get("issued")?),
            expires: Timestamp::from_unix_secs(row.get("expires")?),
        })
    });
    Ok(found.optional()?)
}

/// Keeps what the signer said about a channel.
pub fn set_freshness(
    tx: &Transaction<'_>,
    channel: &ChannelName,
    row: &FreshnessRow,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT OR REPLACE INTO channel_freshness (channel, release_id, envelope, issued, expires)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            channel.as_str(),
            row.release.0,
            row.envelope,
            row.issued.unix_secs(),
            row.expires.unix_secs()
        ],
    )?;
    Ok(())
}

/// One move of a channel.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Move {
    /// Where to.
    pub release: ReleaseId,
    /// When.
    pub moved_at: Timestamp,
    /// Who.
    pub actor: String,
}

/// The moves of a channel, newest first.
pub fn history(connection: &Connection, channel: &ChannelName) -> Result<Vec<Move>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT to_release, moved_at, actor FROM channel_moves WHERE channel = ?1 ORDER BY move_id DESC LIMIT 1000",
    )?;
    let rows = statement.query_map([channel.as_str()], |row| {
        Ok(Move {
            release: ReleaseId(row.get("to_release")?),
            moved_at: Timestamp::from_unix_secs(row.get("moved_at")?),
            actor: row.get("actor")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
