//! The records from the operator's files in a release: those of the files, and where one cannot be listed, those of the
//! release before.
//!
//! One bad file must not hold up what is published for all repositories, least of all a revocation. So the release carries
//! on what the release before lists, with an alarm at each release until the file is mended. Where that one lists nothing of
//! the kind, the release waits for the file, unless it revokes something: then it comes without.

use super::further;
use super::signing::MAX_PART_BYTES;
use crate::app::App;
use crate::db::{self, DbError};
use crate::jobs::{JobError, chain};
use crate::repodata::ExtraRecord;
use further::FurtherError;
use mirrors::reading::{Packed, RecordClaim, Repomd};
use repo_model::config::RepoConfig;
use repo_model::{FileDigest, ReleaseId};
use std::io::{self, Read};

/// Largest record that is carried on, bytes before compression.
const MAX_CARRIED_BYTES: u64 = 512 << 20;

/// The records of a repository, for all its architectures.
///
/// * `base`: the release before.
/// * `revokes`: whether the release takes out what the policy revokes.
pub(super) async fn records(
    app: &App,
    base: Option<ReleaseId>,
    config: &RepoConfig,
    revokes: bool,
) -> Result<Vec<ExtraRecord>, JobError> {
    let of = config.clone();
    let read = tokio::task::spawn_blocking(move || further::records(&of)).await?;
    let mut records = Vec::new();
    for one in read {
        match one {
            Ok(listed) => records.extend(listed),
            Err(fault) => records.extend(instead(app, base, config, revokes, fault).await?),
        }
    }
    Ok(records)
}

/// What is listed instead of a file that cannot be.
async fn instead(
    app: &App,
    base: Option<ReleaseId>,
    config: &RepoConfig,
    revokes: bool,
    fault: FurtherError,
) -> Result<Vec<ExtraRecord>, JobError> {
    let record_type = fault.record_type();
    let before = match base {
        Some(base) => of_release(app, base, config, record_type).await?,
        None => None,
    };
    let (records, outcome) = match before {
        Some(bytes) => {
            let records = further::listed(config, record_type, bytes);
            (records, "it lists what the release before lists")
        }
        None if revokes => (Vec::new(), "it revokes packages and comes without"),
        None => return Err(fault.into()),
    };
    tracing::error!(
        alarm = "record-not-listed",
        repo = %config.name,
        record_type,
        "ALARM: a release is made without a file of the configuration; {outcome}: {}",
        chain(&fault)
    );
    Ok(records)
}

/// The content of this record in a release; none where no architecture lists it.
async fn of_release(
    app: &App,
    release: ReleaseId,
    config: &RepoConfig,
    record_type: &'static str,
) -> Result<Option<Vec<u8>>, JobError> {
    let repo = config.name.clone();
    let rows = app
        .db
        .read(move |connection| db::releases::repos(connection, release))
        .await?;
    for row in rows.into_iter().filter(|row| row.repo == repo) {
        let text = app.store.get(row.repomd, MAX_PART_BYTES).await?;
        let broken = |why: String| {
            JobError::Broken(format!(
                "{} {} of release {release}: {why}",
                row.repo, row.arch
            ))
        };
        let repomd = Repomd::parse(&text).map_err(|error| broken(error.to_string()))?;
        let Some(claim) = repomd.of_type(record_type).next() else {
            continue;
        };
        let (repo, arch, href) = (row.repo.clone(), row.arch.clone(), claim.href.clone());
        let file = app
            .db
            .read(move |connection| {
                let file = db::releases::repodata_file(connection, &repo, &arch, &href, release)?;
                Ok::<_, DbError>(file.map(|file| file.file))
            })
            .await?;
        let file = file.ok_or_else(|| broken(format!("no file `{}` is known", claim.href)))?;
        return Ok(Some(opened(app, file, claim.clone()).await?));
    }
    Ok(None)
}

/// A stored file of metadata, not compressed.
async fn opened(app: &App, file: FileDigest, claim: RecordClaim) -> Result<Vec<u8>, JobError> {
    let stored = app.store.get(file, MAX_CARRIED_BYTES).await?;
    let open = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let packed = Packed::new(Box::new(&stored[..]), &claim)?;
        packed.take(MAX_CARRIED_BYTES + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_CARRIED_BYTES {
            true => Err(io::Error::other(format!(
                "`{}` has more than {MAX_CARRIED_BYTES} bytes before compression",
                claim.href
            ))),
            false => Ok(bytes),
        }
    });
    Ok(open.await??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::releases::{MadeRelease, NewRelease, Plan, RepomdSignatures};
    use repo_model::Timestamp;
    use repo_model::config::Config;
    use std::fs;
    use std::path::Path;
    use tokio_util::sync::CancellationToken;

    const ADVISORIES: &str = "<updates><update/></updates>";

    /// A server with a repository of two architectures, whose advisories are in `u.xml`, and another one.
    async fn app(dir: &Path) -> App {
        let policy = dir.join("policy.toml");
        let rules = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nrequire_provenance = false\nsbom_formats = []\n";
        fs::write(&policy, rules).unwrap();
        let text = format!(
            "[server]\npublic_url = \"http://127.0.0.1:9\"\ndata_dir = \"{0}/data\"\npolicy_file = \"{0}/policy.toml\"\n\n\
             [[repo]]\nname = \"base\"\narches = [\"x86_64\", \"aarch64\"]\nupdateinfo = \"{0}/u.xml\"\n\n\
             [[repo]]\nname = \"other\"\narches = [\"x86_64\"]\n",
            dir.display()
        );
        let config = Config::read(&text, []).unwrap();
        App::open(config, CancellationToken::new()).await.unwrap()
    }

    fn plan(release: u64) -> Plan {
        Plan {
            release: ReleaseId(release),
            base: (release > 1).then(|| ReleaseId(release - 1)),
            issued: Timestamp::from_unix_secs(1_763_632_800 + release as i64),
            builds: Vec::new(),
        }
    }

    /// Makes a release and records it as if it were signed.
    async fn release(app: &App, number: u64) -> Result<MadeRelease, JobError> {
        let plan = plan(number);
        let made = super::super::content(app, &plan).await?;
        let signature = app.store.put(format!("signature {number}")).await?;
        let repomd_signatures = made.repos.iter().map(|_| RepomdSignatures {
            classic: signature,
            post_quantum: None,
        });
        let new = NewRelease {
            plan,
            envelope: signature,
            repomd_signatures: repomd_signatures.collect(),
            manifests: Vec::new(),
            made: made.clone(),
        };
        app.db
            .write(move |tx| db::releases::insert(tx, &new))
            .await?;
        Ok(made)
    }

    /// What each architecture lists as advisories: the name of the file.
    async fn listed(app: &App, made: &MadeRelease) -> Vec<Option<String>> {
        let mut all = Vec::new();
        for repo in made
            .repos
            .iter()
            .filter(|repo| repo.repo.as_str() == "base")
        {
            let text = app.store.get(repo.repomd, MAX_PART_BYTES).await.unwrap();
            let repomd = Repomd::parse(&text).unwrap();
            let claim = repomd.of_type("updateinfo").next().cloned();
            all.push(claim.map(|claim| claim.href));
        }
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_cannot_be_listed_leaves_in_the_next_release_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(dir.path()).await;
        let path = dir.path().join("u.xml");
        fs::write(&path, ADVISORIES).unwrap();
        let first = listed(&app, &release(&app, 1).await.unwrap()).await;
        assert!(first.len() == 2 && first[0].is_some() && first[0] == first[1]);
        for (number, text) in [(2, Some("<updates>")), (3, None)] {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let made = release(&app, number).await.unwrap();
            assert_eq!(listed(&app, &made).await, first, "{text:?}");
        }
        // And mended, it comes with the next.
        fs::write(&path, "<updates/>").unwrap();
        let mended = listed(&app, &release(&app, 4).await.unwrap()).await;
        assert!(mended[0].is_some() && mended[0] == mended[1] && mended != first);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_waits_for_a_file_that_was_never_listed_unless_it_revokes() {
        let dir = tempfile::tempdir().unwrap();
        let app = app(dir.path()).await;
        let waits = release(&app, 1).await.unwrap_err();
        assert!(matches!(waits, JobError::Further(_)), "{waits}");
        let config = app.config.repo[0].clone();
        let revoking = records(&app, None, &config, true).await.unwrap();
        assert_eq!(revoking, []);
        let path = dir.path().join("u.xml");
        fs::write(&path, ADVISORIES).unwrap();
        let read = records(&app, None, &config, true).await.unwrap();
        assert_eq!(read[0].bytes, ADVISORIES.as_bytes());
    }
}
