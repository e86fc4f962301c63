//! Whether the metadata that the package manager chose from is of today: a mirror, or whoever stands before
//! it, may show old metadata, rightly signed, so that a machine never hears of an update.
//!
//! The package manager keeps `repomd.xml` beside the packages it downloads; its digest tells the release. The
//! list of releases is the server's word, whose newest release is signed: a mirror alone cannot lie here.

use super::transaction::Incoming;
use repo_model::wire::status::ReleaseStatus;
use repo_model::{FileDigest, ReleaseId, Timestamp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Largest `repomd.xml` that is read, bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Which release the metadata of a repository is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Of this release, which is the newest with it; a channel points there, or nothing newer is out.
    Current(ReleaseId),
    /// Of this release; another one has taken its place.
    Replaced {
        /// The newest release with it.
        release: ReleaseId,
        /// The release after it.
        by: ReleaseId,
        /// When that came out.
        at: Timestamp,
    },
    /// Of none: made by somebody else, for a part of the packages perhaps.
    Unknown,
}

/// Tells of which release a `repomd.xml` is.
///
/// * `releases`: newest first.
pub fn standing(releases: &[ReleaseStatus], repomd: FileDigest) -> Standing {
    let has = |status: &ReleaseStatus| status.repos.iter().any(|repo| repo.repomd == repomd);
    let Some(place) = releases.iter().position(has) else {
        return Standing::Unknown;
    };
    let release = releases[place].id;
    let mut with_it = releases.iter().filter(|status| has(status));
    if with_it.any(|status| !status.channels.is_empty()) {
        return Standing::Current(release);
    }
    match place.checked_sub(1).and_then(|next| releases.get(next)) {
        None => Standing::Current(release),
        Some(next) => Standing::Replaced {
            release,
            by: next.id,
            at: next.issued,
        },
    }
}

/// What is wrong with it, in words.
///
/// * `used`: the newest release whose metadata this machine has used, of this repository.
pub fn problem(
    standing: &Standing,
    used: Option<ReleaseId>,
    max_age_days: Option<u32>,
    now: Timestamp,
) -> Option<String> {
    let Standing::Replaced { release, by, at } = standing else {
        return None;
    };
    if let Some(used) = used.filter(|used| used > release) {
        return Some(format!(
            "the repository's metadata is of release {release}; this machine has used that of {used}: \
             somebody rolled the repository back"
        ));
    }
    let days = max_age_days?;
    let is_old = at.plus_secs(i64::from(days) * 86_400) < now;
    is_old.then(|| {
        format!(
            "the repository's metadata is of release {release}, which {by} replaced on {at}, more than \
             {days} days ago: the mirror is behind, or somebody froze it"
        )
    })
}

/// SHA-256 of the `repomd.xml` of each repository that packages come from, where it can be found:
/// `CACHE/packages/NAME.rpm` has `CACHE/repodata/repomd.xml`.
pub fn used(packages: &[&Incoming]) -> BTreeMap<String, FileDigest> {
    let mut found = BTreeMap::new();
    for package in packages {
        // With more than one file it cannot be told which metadata it was.
        let [path] = &package.paths[..] else { continue };
        if found.contains_key(&package.repo_id) {
            continue;
        }
        let cache = path.parent().filter(|dir| dir.ends_with("packages"));
        if let Some(digest) = cache.and_then(Path::parent).and_then(repomd) {
            found.insert(package.repo_id.clone(), digest);
        }
    }
    found
}

fn repomd(cache: &Path) -> Option<FileDigest> {
    let file = File::open(cache.join("repodata/repomd.xml")).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(FileDigest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repomd(number: u8) -> FileDigest {
        FileDigest::of(&[number])
    }

    /// Release 4 has the metadata of 3.
    fn releases(channel_at: u64) -> Vec<ReleaseStatus> {
        let status = |id: u64, metadata: u8| {
            let channels: &[&str] = if id == channel_at { &["stable"] } else { &[] };
            serde_json::from_value(serde_json::json!({
                "id": id, "issued": format!("2026-11-{:02}T00:00:00Z", id + 10),
                "envelope": repomd(99), "channels": channels,
                "repos": [{"repo": "base", "arch": "x86_64", "packages": 1, "repomd": repomd(metadata)}]
            }))
            .unwrap()
        };
        vec![status(5, 5), status(4, 3), status(3, 3), status(2, 2)]
    }

    #[test]
    fn metadata_is_current_while_a_channel_or_the_newest_release_has_it() {
        let current = |id| Standing::Current(ReleaseId(id));
        assert_eq!(standing(&releases(5), repomd(5)), current(5));
        assert_eq!(standing(&releases(3), repomd(3)), current(4));
        assert_eq!(standing(&releases(2), repomd(5)), current(5));
        assert_eq!(standing(&releases(5), repomd(77)), Standing::Unknown);
        let Standing::Replaced { release, by, .. } = standing(&releases(5), repomd(3)) else {
            panic!("replaced");
        };
        assert_eq!((release, by), (ReleaseId(4), ReleaseId(5)));
    }

    #[test]
    fn older_than_used_before_is_a_rollback_and_older_than_allowed_a_freeze() {
        let replaced = standing(&releases(5), repomd(3));
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let problem = |used: Option<u64>, days| {
            super::problem(&replaced, used.map(ReleaseId), days, now).unwrap_or_default()
        };
        assert_eq!(problem(None, None), "");
        assert_eq!(problem(Some(4), Some(5)), "");
        assert!(problem(Some(5), None).contains("has used that of 5: somebody rolled"));
        assert!(problem(None, Some(4)).contains("which 5 replaced on 2026-11-15"));
        let current = standing(&releases(3), repomd(3));
        assert_eq!(
            super::problem(&current, Some(ReleaseId(5)), Some(0), now),
            None
        );
    }

    #[test]
    fn the_metadata_is_found_beside_the_packages() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["packages", "repodata"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("repodata/repomd.xml"), [5]).unwrap();
        let package = |repo_id: &str, path: &str| Incoming {
            nevra: "a-1-1.noarch".to_owned(),
            repo_id: repo_id.to_owned(),
            paths: vec![dir.path().join(path)],
        };
        let (ours, given) = (
            package("ours", "packages/a.rpm"),
            package("@commandline", "a.rpm"),
        );
        let found = used(&[&ours, &given]);
        assert_eq!(found, BTreeMap::from([("ours".to_owned(), repomd(5))]));
    }
}
