//! What is to be compared at each place, from the database; and comparing it.

use super::ask::Seen;
use super::chance::Chance;
use super::judgement::worst;
use super::{Place, Plan};
use crate::db::DbError;
use crate::db::mirrors as rows;
use mirrors::probing::{Known, Look};
use mirrors::reading::Repomd;
use repo_model::wire::mirrors::Trouble;
use repo_model::{Arch, FileDigest, ReleaseId, RepoName};
use rusqlite::Connection;

/// Files that a `repomd.xml` names, at most: so many are compared.
const MAX_METADATA_FILES: usize = 64;

/// What is to be compared at one place.
#[derive(Debug, Clone)]
pub struct Task {
    pub release: Option<ReleaseId>,
    /// Found wrong already.
    pub trouble: Option<Trouble>,
    pub metadata: Vec<Known>,
    pub packages: Vec<Known>,
    /// `repomd.xml`, once its metadata files are found to be right.
    pub whole: Option<FileDigest>,
}

/// What is to be compared at each place; an address that says something else than the first is heard, too.
pub fn tasks(
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
pub fn compare(look: &mut Look, mut tasks: Vec<Option<Task>>) -> Vec<Option<Task>> {
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
