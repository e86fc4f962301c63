//! Mirrors as people and programs are shown them.

use super::lag;
use crate::db::channels::Move;
use crate::db::mirrors::{self as rows, MirrorRow, PlaceRow};
use crate::db::{self, DbError};
use repo_model::wire::mirrors::{MirrorReport, MirrorStatus, PlaceStatus, Probe};
use repo_model::{ChannelName, MirrorName, Timestamp};
use rusqlite::Connection;
use std::collections::HashMap;

/// Looks in a report: at the default pace some three days.
const PROBES: u32 = 300;
/// Arrivals among which those of one mirror are looked for.
const ARRIVALS: u32 = 5_000;

/// Every mirror by name, whatever its standing.
pub fn statuses(connection: &Connection, now: Timestamp) -> Result<Vec<MirrorStatus>, DbError> {
    let moves = all_moves(connection)?;
    let mut seen = rows::all_places(connection)?;
    let mut last = rows::last_probes(connection)?;
    let status = |row: MirrorRow| {
        let name = row.registration.name.clone();
        let places = seen.remove(&name).unwrap_or_default();
        status(row, places, last.remove(&name), &moves, now)
    };
    Ok(rows::all(connection)?.into_iter().map(status).collect())
}

/// All about one mirror; none when there is none of this name.
pub fn report(
    connection: &Connection,
    name: &MirrorName,
    now: Timestamp,
) -> Result<Option<MirrorReport>, DbError> {
    let Some(row) = rows::by_name(connection, name)? else {
        return Ok(None);
    };
    let probes = rows::probes(connection, name, PROBES)?;
    let mut arrivals = rows::arrivals(connection, ARRIVALS)?;
    arrivals.retain(|arrival| arrival.mirror == *name);
    let places = rows::places(connection, name)?;
    Ok(Some(MirrorReport {
        registration: Some(row.registration.clone()),
        rejected_because: row.rejected_because.clone(),
        // For the configuration to say.
        warning: None,
        status: status(
            row,
            places,
            probes.first().cloned(),
            &all_moves(connection)?,
            now,
        ),
        probes,
        arrivals,
    }))
}

fn all_moves(connection: &Connection) -> Result<HashMap<ChannelName, Vec<Move>>, DbError> {
    let mut moves = HashMap::new();
    for channel in db::channels::all(connection)? {
        let history = db::channels::history(connection, &channel.channel)?;
        moves.insert(channel.channel, history);
    }
    Ok(moves)
}

fn status(
    row: MirrorRow,
    places: Vec<PlaceRow>,
    last: Option<Probe>,
    moves: &HashMap<ChannelName, Vec<Move>>,
    now: Timestamp,
) -> MirrorStatus {
    let registration = row.registration;
    let trouble = last.as_ref().and_then(|probe| probe.trouble.clone());
    MirrorStatus {
        name: registration.name,
        urls: registration.urls,
        country: registration.country,
        coordinates: registration.coordinates,
        weight: registration.weight,
        private: registration.private,
        preferred: registration.preferred,
        standing: row.standing,
        health: row.state.health,
        since: row.health_since,
        why: trouble.as_ref().map(ToString::to_string),
        trouble,
        probed_at: last.as_ref().map(|probe| probe.at),
        latency_millis: last.as_ref().and_then(|probe| probe.latency_millis),
        bytes_per_sec: last.as_ref().and_then(|probe| probe.bytes_per_sec),
        places: places
            .into_iter()
            .map(|place| place_status(place, moves, now))
            .collect(),
    }
}

fn place_status(
    place: PlaceRow,
    moves: &HashMap<ChannelName, Vec<Move>>,
    now: Timestamp,
) -> PlaceStatus {
    let moves = moves.get(&place.channel).map_or(&[][..], Vec::as_slice);
    let lag = place
        .release
        .map(|release| lag::of(moves, release, now))
        .unwrap_or_default();
    PlaceStatus {
        channel: place.channel,
        repo: place.repo,
        arch: place.arch,
        release: place.release,
        releases_behind: lag.releases,
        behind_secs: lag.secs,
        checked_at: place.checked_at,
        trouble: place.trouble,
    }
}
