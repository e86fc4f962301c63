//! What a look says of a mirror: pure.

use super::Plan;
use super::chance::Chance;
use super::tasks::Task;
use crate::db::mirrors::{Finding, MirrorRow, PlaceRow};
use crate::fleet::lag;
use mirrors::probing::{Pace, Rules, after};
use repo_model::config::MirrorsConfig;
use repo_model::wire::mirrors::{Probe, Trouble};
use repo_model::{ChannelName, ReleaseId, Timestamp};

/// All that one look brought together.
pub struct Looked<'a> {
    /// The mirror as it was before.
    pub mirror: &'a MirrorRow,
    /// What it was asked about.
    pub plan: &'a Plan,
    /// What was found at each place; none where it has nothing of ours.
    pub tasks: Vec<Option<Task>>,
    /// Whether it was too slow.
    pub slow: Option<Trouble>,
    /// How fast it was.
    pub pace: Pace,
    /// When.
    pub at: Timestamp,
}

/// What the look says of the mirror, and when the next one is.
pub fn judge(config: &MirrorsConfig, looked: Looked<'_>, chance: &Chance) -> Finding {
    let Looked {
        mirror,
        plan,
        tasks,
        slow,
        pace,
        at,
    } = looked;
    let mut places = Vec::new();
    let mut releases_behind = 0;
    for (place, task) in plan.places.iter().zip(tasks) {
        let Some(task) = task else {
            continue;
        };
        let moves = plan
            .moves
            .get(&place.channel)
            .map_or(&[][..], Vec::as_slice);
        let mut trouble = task.trouble;
        if let (Some(release), Some(current)) = (task.release, moves.first()) {
            let lag = lag::of(moves, release, at);
            releases_behind = releases_behind.max(lag.releases);
            if trouble.is_none() && lag.secs > config.behind_secs {
                trouble = Some(Trouble::Stale {
                    channel: place.channel.clone(),
                    release,
                    current: current.release,
                    behind_secs: lag.secs,
                });
            }
        }
        places.push(PlaceRow {
            channel: place.channel.clone(),
            repo: place.repo.clone(),
            arch: place.arch.clone(),
            release: task
                .release
                .filter(|_| !trouble.as_ref().is_some_and(Trouble::is_wrong_content)),
            whole: task.whole,
            checked_at: at,
            trouble,
        });
    }
    let trouble = verdict(mirror, plan, &places, slow);
    let state = after(mirror.state, trouble.as_ref(), &Rules::default());
    Finding {
        mirror: mirror.registration.name.clone(),
        arrived: arrived(plan, &places),
        places,
        probe: Probe {
            at,
            releases_behind,
            latency_millis: pace.latency_millis,
            bytes_per_sec: pace.bytes_per_sec(),
            trouble,
        },
        state,
        next_at: at.plus_secs(chance.pause(config.probe_secs, state.bad_in_row == 1)),
    }
}

/// What is wrong with the mirror as a whole, if anything is: the worst of its repositories. One that is stale
/// is no reason not to send clients to the others.
fn verdict(
    mirror: &MirrorRow,
    plan: &Plan,
    places: &[PlaceRow],
    slow: Option<Trouble>,
) -> Option<Trouble> {
    let is_stale = |row: &PlaceRow| matches!(row.trouble, Some(Trouble::Stale { .. }));
    let all_stale = places.iter().all(is_stale);
    let counts = |row: &&PlaceRow| all_stale || !is_stale(row);
    let troubles = places
        .iter()
        .filter(counts)
        .filter_map(|row| row.trouble.clone());
    let found = worst(troubles.chain(slow));
    if found.is_some() || !places.is_empty() {
        return found;
    }
    let base = mirror.registration.urls.first()?;
    let first = plan.places.first()?;
    Some(Trouble::Missing {
        url: format!("{base}/{}", first.path("repodata/repomd.xml")),
    })
}

/// The gravest trouble of all.
pub fn worst(troubles: impl Iterator<Item = Trouble>) -> Option<Trouble> {
    // Of equals the first, which is the address that was looked at.
    troubles.reduce(|worst, next| {
        if next.gravity() > worst.gravity() {
            next
        } else {
            worst
        }
    })
}

/// Channels that the mirror has as they are now, in all that it has of them.
fn arrived(plan: &Plan, places: &[PlaceRow]) -> Vec<(ChannelName, ReleaseId, Timestamp)> {
    let mut arrived = Vec::new();
    for (channel, moves) in &plan.moves {
        let Some(current) = moves.first() else {
            continue;
        };
        let mut here = places
            .iter()
            .filter(|row| row.channel == *channel)
            .peekable();
        let some = here.peek().is_some();
        let has_it = |row: &PlaceRow| row.release == Some(current.release) && row.trouble.is_none();
        if some && here.all(has_it) {
            arrived.push((channel.clone(), current.release, current.moved_at));
        }
    }
    arrived
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::channels::Move;
    use repo_model::FileDigest;
    use std::collections::BTreeMap;

    fn row(channel: &str, release: Option<u64>, trouble: Option<Trouble>) -> PlaceRow {
        PlaceRow {
            channel: channel.parse().unwrap(),
            repo: "base".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            release: release.map(ReleaseId),
            whole: None,
            checked_at: Timestamp::default(),
            trouble,
        }
    }

    fn stale(channel: &str) -> Option<Trouble> {
        Some(Trouble::Stale {
            channel: channel.parse().unwrap(),
            release: ReleaseId(1),
            current: ReleaseId(2),
            behind_secs: 90_000,
        })
    }

    fn mirror() -> MirrorRow {
        MirrorRow {
            registration: serde_json::from_value(serde_json::json!({
                "name": "m", "urls": ["http://m.example"], "contact": "c"
            }))
            .unwrap(),
            standing: repo_model::wire::mirrors::Standing::Approved,
            rejected_because: None,
            state: Default::default(),
            health_since: None,
        }
    }

    #[test]
    fn one_stale_repository_is_no_verdict_but_all_of_them_are() {
        let plan = Plan {
            places: Vec::new(),
            moves: BTreeMap::new(),
        };
        let verdict = |places: &[PlaceRow]| verdict(&mirror(), &plan, places, None);
        let good = row("stable", Some(2), None);
        assert_eq!(
            verdict(&[good.clone(), row("preview", Some(1), stale("preview"))]),
            None
        );
        assert_eq!(
            verdict(&[row("preview", Some(1), stale("preview"))]),
            stale("preview")
        );
        let missing = Trouble::Missing {
            url: "u".to_owned(),
        };
        let wrong = Trouble::NeverPublished {
            url: "u".to_owned(),
            found: FileDigest::of(b""),
        };
        assert_eq!(
            verdict(&[
                good,
                row("a", None, Some(missing)),
                row("b", None, Some(wrong.clone()))
            ]),
            Some(wrong)
        );
    }

    #[test]
    fn a_channel_has_arrived_when_all_its_repositories_there_have_it() {
        let moved = |release| Move {
            release: ReleaseId(release),
            moved_at: Timestamp::from_unix_secs(70),
            actor: String::new(),
        };
        let plan = Plan {
            places: Vec::new(),
            moves: BTreeMap::from([
                ("preview".parse().unwrap(), vec![moved(2), moved(1)]),
                ("stable".parse().unwrap(), vec![moved(1)]),
            ]),
        };
        let found = |places: &[PlaceRow]| -> Vec<String> {
            let all = arrived(&plan, places);
            all.into_iter()
                .map(|(channel, id, _)| format!("{channel} {id}"))
                .collect()
        };
        let at = |channel, release| row(channel, Some(release), None);
        assert_eq!(found(&[at("preview", 2), at("preview", 2)]), ["preview 2"]);
        assert_eq!(
            found(&[at("preview", 2), at("preview", 1), at("stable", 1)]),
            ["stable 1"]
        );
        assert!(found(&[]).is_empty());
    }
}
