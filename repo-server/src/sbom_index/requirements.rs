//! Which package of one repository of a release needs which, to run or to be installed: a small document of
//! its own, made with the release's SBOMs by the same rules, and walked in memory when a question comes.
//!
//! Written as two lines of JSON: the packages by the SHA-256 of their files, sorted, and for each the
//! numbers (from 0, in that order) of those that it needs, sorted.
//!
//! ```json
//! ["0f3a…", "52b1…", "c0de…"]
//! [[1,2],[],[1]]
//! ```

use crate::app::App;
use crate::db::release_documents::ReleaseDocumentRow;
use crate::db::{self, DbError};
use crate::publish::release_sboms;
use crate::store::StoreError;
use repo_model::{Arch, FileDigest, ReleaseId, RepoName};
use sbom_gen::Release;
use std::io::{self, Write};
use std::sync::Arc;

/// Its label among the documents of a release.
pub const LABEL: &str = "requirements";
/// Longest document that is read, bytes; half a million packages.
const MAX_BYTES: u64 = 64 << 20;
/// Packages that one walk reaches at the most.
const MAX_REACHED: usize = 50_000;

/// Who needs whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Sorted.
    files: Vec<FileDigest>,
    /// Of each of `files`, sorted.
    needs: Vec<Vec<u32>>,
}

/// A package that is needed, and how far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The package's file.
    pub file: FileDigest,
    /// Steps from where the walk started; 0: there.
    pub steps: u32,
    /// From which of those reached before: that needs it, or is needed by it; none at the start.
    pub before: Option<usize>,
}

impl Requirements {
    /// Those of a release.
    pub fn of(release: &Release) -> Self {
        let parsed = |hex: &str| hex.parse::<FileDigest>().ok();
        let mut all: Vec<(FileDigest, Vec<FileDigest>)> = release
            .requirements()
            .filter_map(|(file, needs)| {
                let needs = needs.into_iter().filter_map(parsed);
                Some((parsed(file)?, needs.collect()))
            })
            .collect();
        all.sort();
        all.dedup_by(|a, b| a.0 == b.0);
        let files: Vec<FileDigest> = all.iter().map(|(file, _)| *file).collect();
        let needs = all.iter().map(|(_, needs)| {
            let numbers = needs.iter().filter_map(|file| number(&files, file));
            let mut numbers: Vec<u32> = numbers.collect();
            numbers.sort_unstable();
            numbers
        });
        Self {
            needs: needs.collect(),
            files,
        }
    }

    /// The packages, by their files, sorted.
    pub fn files(&self) -> &[FileDigest] {
        &self.files
    }

    /// Writes the document.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.files)?;
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut *out, &self.needs)?;
        out.write_all(b"\n")
    }

    /// Reads a document that [`Self::write`] has written.
    pub fn read(document: &[u8]) -> Result<Self, serde_json::Error> {
        let malformed = || serde::de::Error::custom("the lists do not belong together");
        let mut lines = document.splitn(2, |byte| *byte == b'\n');
        let mut line = || lines.next().ok_or_else(malformed);
        let files: Vec<FileDigest> = serde_json::from_slice(line()?)?;
        let needs: Vec<Vec<u32>> = serde_json::from_slice(line()?)?;
        let is_known = |number: &u32| (*number as usize) < files.len();
        let fits = needs.len() == files.len() && needs.iter().flatten().all(is_known);
        match fits && files.is_sorted() {
            true => Ok(Self { files, needs }),
            false => Err(malformed()),
        }
    }

    /// All that these packages need, the nearest first, each once and by a shortest way; the packages
    /// themselves first of all.
    ///
    /// * `depth`: most steps.
    /// * Of equally near ones the order is fixed. At most 50,000 are told.
    pub fn reached_from(&self, start: &[FileDigest], depth: u32) -> Vec<Reached> {
        self.walk(start, depth, &self.needs)
    }

    /// All that need these packages, in the same way: the other direction.
    pub fn needing(&self, start: &[FileDigest], depth: u32) -> Vec<Reached> {
        let mut needed_by = vec![Vec::new(); self.files.len()];
        for (from, needs) in (0..).zip(&self.needs) {
            for to in needs {
                // Sorted, because `from` only grows.
                needed_by[*to as usize].push(from);
            }
        }
        self.walk(start, depth, &needed_by)
    }

    fn walk(&self, start: &[FileDigest], depth: u32, next_to: &[Vec<u32>]) -> Vec<Reached> {
        let mut seen = vec![false; self.files.len()];
        let mut numbers: Vec<u32> = Vec::new();
        let mut reached: Vec<Reached> = Vec::new();
        let mut reach =
            |number: u32, steps, before, reached: &mut Vec<Reached>, numbers: &mut Vec<u32>| {
                let at = number as usize;
                if reached.len() < MAX_REACHED && !std::mem::replace(&mut seen[at], true) {
                    let file = self.files[at];
                    reached.push(Reached {
                        file,
                        steps,
                        before,
                    });
                    numbers.push(number);
                }
            };
        let mut start: Vec<u32> = start
            .iter()
            .filter_map(|file| number(&self.files, file))
            .collect();
        start.sort_unstable();
        for number in start {
            reach(number, 0, None, &mut reached, &mut numbers);
        }
        let mut next = 0;
        while let Some(at) = numbers.get(next).copied() {
            let steps = reached[next].steps + 1;
            if steps > depth {
                break;
            }
            for number in &next_to[at as usize] {
                reach(*number, steps, Some(next), &mut reached, &mut numbers);
            }
            next += 1;
        }
        reached
    }
}

fn number(files: &[FileDigest], file: &FileDigest) -> Option<u32> {
    files.binary_search(file).ok().map(|at| at as u32)
}

/// The requirements of one repository.
#[derive(Debug, Clone)]
pub struct Road {
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// What needs what there.
    pub requirements: Arc<Requirements>,
    /// The stored object that it was read from.
    pub stored: FileDigest,
}

/// The requirements of a release cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// They are not there yet; asking again after a while helps.
    #[error("which package of release {release} needs which is being worked out")]
    NotYet {
        /// Which release.
        release: ReleaseId,
    },
    /// They were not made in its time, and clients meet the release no more. Asking again does not help.
    #[error("which package of release {release} needs which was never worked out")]
    NeverMade {
        /// Which release.
        release: ReleaseId,
    },
    /// Ours; retrying is safe.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Ours; retrying is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ours: a stored document is damaged.
    #[error("the stored requirements of release {release} do not read back")]
    Damaged {
        /// Which release.
        release: ReleaseId,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Those of all repositories of a release, or only of some.
pub async fn roads(
    app: &App,
    release: ReleaseId,
    repo: Option<RepoName>,
    arch: Option<Arch>,
) -> Result<Vec<Road>, RequirementsError> {
    let (is_coming, wanted, known) = app
        .db
        .read(move |connection| {
            // Asked first: what ends in between is among the documents.
            let job = release.to_string();
            let is_coming = db::jobs::is_asked_for(connection, release_sboms::NAME, &job)?;
            let repos = db::releases::repos(connection, release)?;
            let known = db::release_documents::of_release(connection, release)?;
            Ok::<_, DbError>((is_coming, repos, known))
        })
        .await?;
    let is_meant = |row: &db::releases::ReleaseRepoRow| {
        repo.as_ref().is_none_or(|repo| row.repo == *repo)
            && arch.as_ref().is_none_or(|arch| row.arch == *arch)
    };
    let mut roads = Vec::new();
    for row in wanted.into_iter().filter(is_meant) {
        let mut documents = known.iter();
        let found = documents.find(|document| {
            document.label == LABEL && document.repo == row.repo && document.arch == row.arch
        });
        let document = found.ok_or(match is_coming {
            true => RequirementsError::NotYet { release },
            false => RequirementsError::NeverMade { release },
        })?;
        roads.push(Road {
            repo: row.repo,
            arch: row.arch,
            requirements: load(app, release, document).await?,
            stored: document.packed,
        });
    }
    Ok(roads)
}

async fn load(
    app: &App,
    release: ReleaseId,
    document: &ReleaseDocumentRow,
) -> Result<Arc<Requirements>, RequirementsError> {
    let kept = &app.sbom_index.requirements;
    if let Some(known) = kept.get(&document.packed) {
        return Ok(known);
    }
    let damaged = |source| RequirementsError::Damaged { release, source };
    let packed = app.store.get(document.packed, MAX_BYTES).await?;
    let size_bytes = usize::try_from(document.size_bytes.min(MAX_BYTES)).unwrap_or_default();
    let read = tokio::task::spawn_blocking(move || {
        let document = zstd::bulk::decompress(&packed, size_bytes)?;
        Ok(Requirements::read(&document)?)
    });
    let read = read
        .await
        .map_err(|error| damaged(io::Error::other(error)))?;
    let requirements = Arc::new(read.map_err(damaged)?);
    kept.keep(document.packed, &requirements);
    Ok(requirements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(byte: u8) -> FileDigest {
        FileDigest::from_bytes([byte; 32])
    }

    /// Package 0 needs 1 and 2, 1 needs 3, 2 needs 0 (a circle) and 3, 3 needs 4; nobody needs 5.
    fn sample() -> Requirements {
        Requirements {
            files: (0..6).map(file).collect(),
            needs: vec![vec![1, 2], vec![3], vec![0, 3], vec![4], vec![], vec![0]],
        }
    }

    fn brief(reached: &[Reached]) -> Vec<(u8, u32, Option<usize>)> {
        let brief = |one: &Reached| (one.file.as_bytes()[0], one.steps, one.before);
        reached.iter().map(brief).collect()
    }

    #[test]
    fn the_nearest_come_first_each_once_by_a_shortest_way_and_no_farther_than_asked() {
        let all = sample().reached_from(&[file(0)], 9);
        let expected = [
            (0, 0, None),
            (1, 1, Some(0)),
            (2, 1, Some(0)),
            (3, 2, Some(1)),
            (4, 3, Some(3)),
        ];
        assert_eq!(brief(&all), expected);
        assert_eq!(brief(&sample().reached_from(&[file(0)], 1)), expected[..3]);
        assert_eq!(brief(&sample().reached_from(&[file(0)], 0)), expected[..1]);
        let two = sample().reached_from(&[file(3), file(1), file(9)], 1);
        assert_eq!(brief(&two), [(1, 0, None), (3, 0, None), (4, 1, Some(1))]);
        assert_eq!(sample().reached_from(&[file(9)], 1), []);
    }

    #[test]
    fn what_needs_a_package_is_found_the_other_way_round() {
        let all = sample().needing(&[file(3)], 9);
        let expected = [
            (3, 0, None),
            (1, 1, Some(0)),
            (2, 1, Some(0)),
            (0, 2, Some(1)),
            (5, 3, Some(3)),
        ];
        assert_eq!(brief(&all), expected);
        assert_eq!(brief(&sample().needing(&[file(3)], 1)), expected[..3]);
        assert_eq!(brief(&sample().needing(&[file(5)], 9)), [(5, 0, None)]);
    }

    #[test]
    fn what_is_written_is_read_and_what_does_not_hold_together_is_refused() {
        let mut document = Vec::new();
        sample().write(&mut document).unwrap();
        assert_eq!(Requirements::read(&document).unwrap(), sample());
        let text = String::from_utf8(document).unwrap();
        for bad in [
            String::new(),
            text.replace("[4]", "[6]"),
            text.replace(",[0]]", "]"),
            text.replace('\n', " "),
            text.replacen(&"00".repeat(32), &"ff".repeat(32), 1),
        ] {
            assert!(Requirements::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
