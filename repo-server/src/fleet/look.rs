//! One look at a mirror: what it has of each repository of each channel, by content. Asking and comparing run
//! on blocking threads, what to compare with comes from the database in between; the judgement is pure.

mod ask;
mod chance;
mod judgement;
mod tasks;

use crate::app::{App, now};
use crate::db::channels::Move;
use crate::db::mirrors::{self as rows, Finding, MirrorRow, PlaceRow};
use crate::db::{self, DbError};
use ask::ask;
use chance::Chance;
use judgement::{Looked, judge};
use mirrors::probing::Pace;
use repo_model::{Arch, ChannelName, RepoName};
use rusqlite::Connection;
use std::collections::BTreeMap;
use tasks::{compare, tasks};

/// A repository of a channel, as it is here.
#[derive(Debug, Clone)]
struct Place {
    channel: ChannelName,
    repo: RepoName,
    arch: Arch,
    /// What the mirror was seen to have before.
    before: Option<PlaceRow>,
}

impl Place {
    fn path(&self, rest: &str) -> String {
        format!("{}/{}/{}/{rest}", self.channel, self.repo, self.arch)
    }
}

/// What a mirror was asked about, and where the channels stand.
#[derive(Debug, Clone)]
struct Plan {
    places: Vec<Place>,
    moves: BTreeMap<ChannelName, Vec<Move>>,
}

/// Looks at a mirror.
pub async fn at(app: &App, mirror: MirrorRow) -> Result<Finding, DbError> {
    let name = mirror.registration.name.clone();
    let at = now();
    let chance = Chance::draw();
    let plan = app
        .db
        .read(move |connection| plan(connection, &name))
        .await?;
    let (config, asked) = (app.config.mirrors.clone(), plan.clone());
    // A different address each time, so that all of them are compared in the long run.
    let mut urls = mirror.registration.urls.clone();
    let turn = chance.below(urls.len());
    urls.rotate_left(turn);
    let first_part = tokio::task::spawn_blocking(move || ask(&config, &urls, &asked));
    let (seen, urls, look) = first_part.await.map_err(|_| DbError::Closed)?;

    let (asked, packages) = (plan.clone(), app.config.mirrors.packages_per_probe);
    let base = urls.first().cloned().unwrap_or_default();
    let drawn = chance.clone();
    let tasks = app
        .db
        .read(move |connection| tasks(connection, &asked, &base, seen, packages, &drawn))
        .await?;
    let second_part = tokio::task::spawn_blocking(move || match look {
        Ok(mut look) => (
            compare(&mut look, tasks),
            look.judge_pace().err(),
            look.pace,
        ),
        Err(trouble) => (tasks, Some(trouble), Pace::default()),
    });
    let (done, slow, pace) = second_part.await.map_err(|_| DbError::Closed)?;
    let looked = Looked {
        mirror: &mirror,
        plan: &plan,
        tasks: done,
        slow,
        pace,
        at,
    };
    Ok(judge(&app.config.mirrors, looked, &chance))
}

fn plan(connection: &Connection, name: &repo_model::MirrorName) -> Result<Plan, DbError> {
    let before = rows::places(connection, name)?;
    let mut places = Vec::new();
    let mut moves = BTreeMap::new();
    for channel in db::channels::all(connection)? {
        let Some(release) = channel.release else {
            continue;
        };
        let channel = channel.channel;
        for repo in db::releases::repos(connection, release)? {
            let same = |row: &&PlaceRow| {
                row.channel == channel && row.repo == repo.repo && row.arch == repo.arch
            };
            places.push(Place {
                before: before.iter().find(same).cloned(),
                channel: channel.clone(),
                repo: repo.repo,
                arch: repo.arch,
            });
        }
        let history = db::channels::history(connection, &channel)?;
        moves.insert(channel, history);
    }
    Ok(Plan { places, moves })
}
