//! One look at a mirror: what it has of each repository of each channel, by content. Asking and comparing run
//! on blocking threads, what to compare with comes from the database in between; the judgement is pure.

use super::lag;
use crate::app::{App, now};
use crate::db::channels::Move;
use crate::db::mirrors::{self as rows, Finding, MirrorRow, PlaceRow};
use crate::db::{self, DbError};
use mirrors::probing::{Known, Look, Pace, Rules, after};
use mirrors::reading::Repomd;
use repo_model::config::MirrorsConfig;
use repo_model::wire::mirrors::{Probe, Trouble};
use repo_model::{Arch, ChannelName, FileDigest, ReleaseId, RepoName, Timestamp};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Files that a `repomd.xml` names, at most: so many are compared.
const MAX_METADATA_FILES: usize = 64;

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

/// What a mirror says that a repository is.
#[derive(Debug)]
enum Seen {
    /// It has not got it.
    Nothing,
    /// `repomd.xml`, and the digest of the signature beside it.
    Pair {
        digest: FileDigest,
        /// Its text; empty where only the digest counts.
        bytes: Vec<u8>,
        signature: Option<FileDigest>,
    },
    /// It could not be had.
    Failed(Trouble),
}

/// What is to be compared at one place.
#[derive(Debug, Clone)]
struct Task {
    release: Option<ReleaseId>,
    /// Found wrong already.
    trouble: Option<Trouble>,
    metadata: Vec<Known>,
    packages: Vec<Known>,
    /// `repomd.xml`, once its metadata files are found to be right.
    whole: Option<FileDigest>,
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
    Ok(judge(
        &app.config.mirrors,
        &mirror,
        &plan,
        done,
        slow,
        pace,
        at,
        &chance,
    ))
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

type Asked = (Vec<Vec<Seen>>, Vec<String>, Result<Look, Trouble>);

/// Asks each address for each `repomd.xml`; the first address is looked at further.
fn ask(config: &MirrorsConfig, urls: &[String], plan: &Plan) -> Asked {
    let mut seen = Vec::new();
    let mut looks = Vec::new();
    // What one look may fetch is for all addresses together.
    let mut left_bytes = config.probe_bytes;
    for (nth_address, url) in urls.iter().enumerate() {
        let look = Look::at(
            url,
            config.allow_private_addresses,
            config.slowest_bytes_per_sec,
            left_bytes,
        );
        let mut look = match look {
            Ok(look) => look,
            Err(error) => {
                let trouble = Trouble::Unreachable {
                    url: url.clone(),
                    why: error.to_string(),
                };
                let failed = || Seen::Failed(trouble.clone());
                seen.push(plan.places.iter().map(|_| failed()).collect());
                looks.push(Err(trouble));
                continue;
            }
        };
        let mut here = Vec::new();
        for place in &plan.places {
            here.push(pair(&mut look, place, nth_address == 0));
            let Some(Seen::Failed(trouble @ Trouble::Unreachable { .. })) = here.last() else {
                continue;
            };
            // The others would be waited for as long.
            let trouble = trouble.clone();
            here.resize_with(plan.places.len(), || Seen::Failed(trouble.clone()));
            break;
        }
        seen.push(here);
        left_bytes = look.left_bytes();
        looks.push(Ok(look));
    }
    let mut first = match looks.is_empty() {
        true => Err(Trouble::Missing { url: String::new() }),
        false => looks.swap_remove(0),
    };
    if let Ok(look) = &mut first {
        look.limit(left_bytes);
    }
    (seen, urls.to_vec(), first)
}

/// What is at one place. `keep_bytes`: of the address that is looked at further; of the others the digest will do.
fn pair(look: &mut Look, place: &Place, keep_bytes: bool) -> Seen {
    let (digest, mut bytes) = match look.pointer(&place.path("repodata/repomd.xml")) {
        Ok(Some(found)) => found,
        Ok(None) => return Seen::Nothing,
        Err(trouble) => return Seen::Failed(trouble),
    };
    if !keep_bytes {
        bytes = Vec::new();
    }
    match look.pointer(&place.path("repodata/repomd.xml.asc")) {
        Ok(signature) => Seen::Pair {
            digest,
            bytes,
            signature: signature.map(|(digest, _)| digest),
        },
        Err(trouble) => Seen::Failed(trouble),
    }
}

/// What is to be compared at each place; an address that says something else than the first is heard, too.
fn tasks(
    connection: &Connection,
    plan: &Plan,
    base: &str,
    seen: Vec<Vec<Seen>>,
    packages: u32,
    chance: &Chance,
) -> Result<Vec<Option<Task>>, DbError> {
    let mut tasks: Vec<Option<Task>> = plan.places.iter().map(|_| None).collect();
    for (nth_address, here) in seen.into_iter().enumerate() {
        for ((place, seen), task) in plan.places.iter().zip(here).zip(&mut tasks) {
            let found = task_of(connection, place, base, seen, packages, chance)?;
            match task {
                None if nth_address == 0 => *task = found,
                Some(first) => {
                    let other = found.and_then(|other| other.trouble);
                    first.trouble = worst([first.trouble.take(), other].into_iter().flatten());
                }
                None => {}
            }
        }
    }
    Ok(tasks)
}

fn task_of(
    connection: &Connection,
    place: &Place,
    base: &str,
    seen: Seen,
    packages: u32,
    chance: &Chance,
) -> Result<Option<Task>, DbError> {
    let mut task = Task {
        release: None,
        trouble: None,
        metadata: Vec::new(),
        packages: Vec::new(),
        whole: None,
    };
    let url = |rest: &str| format!("{base}/{}", place.path(rest));
    let (digest, bytes, signature) = match seen {
        // Told once when it was there before; then it is simply not one of its repositories.
        Seen::Nothing
            if place
                .before
                .as_ref()
                .is_some_and(|row| row.release.is_some()) =>
        {
            task.trouble = Some(Trouble::Missing {
                url: url("repodata/repomd.xml"),
            });
            return Ok(Some(task));
        }
        Seen::Nothing => return Ok(None),
        // What it had it is thought to have still, until it has failed often enough.
        Seen::Failed(trouble) => {
            task.release = place.before.as_ref().and_then(|row| row.release);
            task.trouble = Some(trouble);
            return Ok(Some(task));
        }
        Seen::Pair {
            digest,
            bytes,
            signature,
        } => (digest, bytes, signature),
    };
    let (channel, repo, arch) = (&place.channel, &place.repo, &place.arch);
    let Some((release, want)) = rows::release_of(connection, channel, repo, arch, digest)? else {
        let url = url("repodata/repomd.xml");
        task.trouble = Some(Trouble::NeverPublished { url, found: digest });
        return Ok(Some(task));
    };
    task.release = Some(release);
    task.trouble = match signature {
        None => Some(Trouble::Missing {
            url: url("repodata/repomd.xml.asc"),
        }),
        Some(found) if found == want || is_signature_of_ours(connection, repo, arch, found)? => {
            None
        }
        Some(found) => Some(Trouble::WrongContent {
            url: url("repodata/repomd.xml.asc"),
            found,
            want,
        }),
    };
    let known_whole = place.before.as_ref().and_then(|row| row.whole);
    task.whole = Some(digest);
    if known_whole != Some(digest) {
        task.metadata = metadata(connection, place, &bytes)?;
    }
    task.packages = sample(connection, place, release, packages, chance)?;
    Ok(Some(task))
}

/// A mirror that changes between two questions gives the signature of the next release or the one before.
fn is_signature_of_ours(
    connection: &Connection,
    repo: &RepoName,
    arch: &Arch,
    digest: FileDigest,
) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM release_repos WHERE repo = ?1 AND arch = ?2 AND repomd_signature = ?3)";
    let parameters = rusqlite::params![repo.as_str(), arch.as_str(), digest.to_hex()];
    Ok(connection.query_row(sql, parameters, |row| row.get(0))?)
}

/// The files that a `repomd.xml` of ours names.
fn metadata(connection: &Connection, place: &Place, repomd: &[u8]) -> Result<Vec<Known>, DbError> {
    let records = Repomd::parse(repomd)
        .map(|repomd| repomd.records)
        .unwrap_or_default();
    let mut known = Vec::new();
    for record in records.iter().take(MAX_METADATA_FILES) {
        let (repo, arch) = (&place.repo, &place.arch);
        if let Some((digest, size_bytes)) =
            rows::metadata_file(connection, repo, arch, &record.href)?
        {
            known.push(Known {
                path: place.path(&record.href),
                digest,
                size_bytes,
            });
        }
    }
    Ok(known)
}

/// A few packages of the release, drawn by chance.
fn sample(
    connection: &Connection,
    place: &Place,
    release: ReleaseId,
    packages: u32,
    chance: &Chance,
) -> Result<Vec<Known>, DbError> {
    let last = rows::last_package(connection, &place.repo, &place.arch)?;
    let mut known: Vec<Known> = Vec::new();
    for nth in 0..packages {
        let pivot = chance.number(nth) % last.saturating_add(1);
        let found = rows::some_package(connection, release, &place.repo, &place.arch, pivot)?;
        let Some((href, digest, size_bytes)) = found else {
            break;
        };
        let one = Known {
            path: place.path(&href),
            digest,
            size_bytes,
        };
        if !known.contains(&one) {
            known.push(one);
        }
    }
    Ok(known)
}

/// Fetches and compares; a place where something is wrong already is not looked at further.
fn compare(look: &mut Look, mut tasks: Vec<Option<Task>>) -> Vec<Option<Task>> {
    for task in tasks.iter_mut().flatten() {
        if task.trouble.is_some() {
            task.whole = None;
            continue;
        }
        for known in &task.metadata {
            if !look.affords(known.size_bytes) {
                // Next time, with a fresh budget.
                task.whole = None;
                continue;
            }
            if let Err(trouble) = look.compare(known) {
                task.trouble = Some(trouble);
                task.whole = None;
                break;
            }
        }
        for known in &task.packages {
            if task.trouble.is_some() || !look.affords(known.size_bytes) {
                continue;
            }
            task.trouble = look.compare(known).err();
        }
    }
    tasks
}

#[expect(
    clippy::too_many_arguments,
    reason = "all that one look brought together"
)]
fn judge(
    config: &MirrorsConfig,
    mirror: &MirrorRow,
    plan: &Plan,
    tasks: Vec<Option<Task>>,
    slow: Option<Trouble>,
    pace: Pace,
    at: Timestamp,
    chance: &Chance,
) -> Finding {
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

fn worst(troubles: impl Iterator<Item = Trouble>) -> Option<Trouble> {
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

/// Chance for one look: drawn once, so that what follows from it is a plain function.
#[derive(Debug, Clone)]
struct Chance([u8; 8]);

impl Chance {
    fn draw() -> Self {
        let mut raw = [0; 8];
        // Without chance the same packages are compared; nothing else depends on it.
        let _ = getrandom::fill(&mut raw);
        Self(raw)
    }

    fn number(&self, nth: u32) -> u64 {
        // splitmix64
        let seed = u64::from_le_bytes(self.0);
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(nth) + 1));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).unwrap_or(1);
        usize::try_from(self.number(u32::MAX) % count).unwrap_or(0)
    }

    /// Seconds until the next look, give or take a tenth.
    fn pause(&self, probe_secs: u64, soon: bool) -> i64 {
        let secs = if soon { probe_secs / 4 } else { probe_secs }.max(1);
        let tenth = secs / 10;
        let secs = secs - tenth + self.number(u32::MAX - 1) % (2 * tenth + 1);
        i64::try_from(secs).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn looks_are_spread_out_and_a_first_failure_is_looked_at_again_soon() {
        for seed in 0..100_u64 {
            let chance = Chance(seed.wrapping_mul(0x1234_5678_9abc_def1).to_le_bytes());
            assert!((810..=990).contains(&chance.pause(900, false)));
            assert!((203..=247).contains(&chance.pause(900, true)));
            assert!(chance.below(3) < 3);
            assert_eq!(chance.pause(1, true), 1);
        }
    }
}
