//! What an answer, a failure or a mere commitment of a rebuilder does to its build.

use crate::app::{App, now};
use crate::db::rebuilds::Assignee;
use crate::db::rounds::{RoundRow, Rules};
use crate::db::{self, DbError};
use repo_model::stage::{Event, Stage};
use repo_model::wire::status::{AwaitedRebuilder, BuildStatus};
use rusqlite::{Connection, Transaction};

/// Whose word counts for a build, and how long it is waited for.
pub fn rules(app: &App, connection: &Connection, build_id: u64) -> Result<Rules, DbError> {
    let names: Vec<String> = db::builds::packages(connection, build_id)?
        .into_iter()
        .map(|package| package.nevra.name)
        .collect();
    let draining = db::rebuilders::draining(connection)?;
    Ok(Rules::new(
        &app.policy,
        &app.config.server,
        &names,
        draining,
    ))
}

/// Rebuilders that a build of these packages is given to: those of the policy that cover one, and those
/// that were approved and whose word does not count.
pub fn assignees(
    app: &App,
    connection: &Connection,
    source_name: &str,
    names: &[String],
) -> Result<Vec<Assignee>, DbError> {
    let runs = app.policy.runs(source_name, false);
    let mut all: Vec<Assignee> = app
        .policy
        .rebuilders
        .iter()
        .filter(|holder| names.iter().any(|name| holder.covers(name)))
        .map(|holder| Assignee {
            name: holder.name.clone(),
            operator: holder.operator.clone(),
            runs,
        })
        .collect();
    for row in db::rebuilders::enrolments(connection)? {
        let listed = app.policy.rebuilder(&row.name).is_some();
        if row.standing == repo_model::wire::rebuilders::Standing::Approved && !listed {
            all.push(Assignee {
                name: row.name,
                operator: row.operator,
                runs,
            });
        }
    }
    Ok(all)
}

/// The rebuilders without whom a build under way is not judged before a time, and that have not begun.
pub fn waits_for(
    app: &App,
    connection: &Connection,
    build: &BuildStatus,
) -> Result<Vec<AwaitedRebuilder>, DbError> {
    if build.stage != Stage::Received {
        return Ok(Vec::new());
    }
    let rules = rules(app, connection, build.build)?;
    let rows = db::rounds::rows(connection, build.build)?;
    let modes = db::rebuilders::modes(connection)?;
    let awaited = |row: &RoundRow| {
        let known = modes.get(&row.rebuilder).copied().unwrap_or_default();
        AwaitedRebuilder {
            rebuilder: row.rebuilder.clone(),
            mode: known.mode,
            last_seen: known.last_seen,
            until: build.changed_at.plus_secs(rules.rebuild_wait_secs),
        }
    };
    let needed = db::rounds::not_begun(&rows, &rules, build.changed_at, now());
    Ok(needed.into_iter().map(awaited).collect())
}

/// New evidence gives a held build another chance.
pub fn reopen(tx: &Transaction<'_>, build_id: u64) -> Result<(), DbError> {
    let held = db::builds::by_id(tx, build_id)?
        .is_some_and(|build| matches!(build.stage, Stage::Held { .. }));
    if held {
        db::builds::advance(tx, build_id, Event::Retried, now())?;
    }
    Ok(())
}

/// Brings a build up to date after one of its rebuilds changed; gives the rows as they are then.
pub fn changed(tx: &Transaction<'_>, app: &App, build_id: u64) -> Result<Vec<RoundRow>, DbError> {
    reopen(tx, build_id)?;
    let under_way = is_under_way(tx, build_id)?;
    if under_way {
        super::enqueue_judge(tx, build_id)?;
    }
    let rules = rules(app, tx, build_id)?;
    db::rounds::advance(tx, build_id, &rules, under_way, now())
}

/// Whether the build is not decided yet.
pub fn is_under_way(connection: &Connection, build_id: u64) -> Result<bool, DbError> {
    let build = db::builds::by_id(connection, build_id)?;
    Ok(build.is_some_and(|build| build.stage == Stage::Received))
}

/// Whether the build is not decided, or held: more evidence may change what becomes of it.
pub fn is_undecided(connection: &Connection, build_id: u64) -> Result<bool, DbError> {
    let build = db::builds::by_id(connection, build_id)?;
    Ok(build.is_some_and(|build| matches!(build.stage, Stage::Received | Stage::Held { .. })))
}
