//! Proofs and packs of evidence of what was published before there were such, or before a crash. There may be thousands of
//! builds: they are made beside all else that the log does, and one that fails holds up no other.

use super::attach;
use crate::app::App;
use crate::db;
use crate::jobs::{JobError, chain};
use repo_model::FileDigest;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause before what failed is tried again; doubled each time.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest.
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

/// Makes what lacks, until nothing does or the server stops.
pub(super) async fn make_up(app: &App, stop: &CancellationToken) {
    let (mut builds, mut pause) = (None, PAUSE);
    while !stop.is_cancelled() {
        // Nothing is lost with what is left undone: it is found again at the next start.
        match stop.run_until_cancelled(round(app, builds.take())).await {
            Some(Ok(left)) if left.is_empty() => return,
            Some(Ok(left)) => builds = Some(left),
            Some(Err(error)) => {
                let cause = chain(&error);
                tracing::warn!(
                    error = cause,
                    "cannot see which packages lack proofs: {cause}"
                );
            }
            None => return,
        }
        let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Tries each build once; gives those that failed.
///
/// * `builds`: which; none: those that the database knows.
async fn round(app: &App, builds: Option<Vec<u64>>) -> Result<Vec<u64>, JobError> {
    let builds = match builds {
        Some(builds) => builds,
        None => app.db.read(db::log::builds_without_proof).await?,
    };
    let (failed, unlogged) =
        each(&builds, |build| async move { attach(app, &[build]).await }).await;
    if unlogged > 0 {
        tracing::warn!(
            count = unlogged,
            "{unlogged} statements about published packages are signed with keys that nobody knows any more: \
             they have no proofs"
        );
    }
    Ok(failed)
}

/// The builds that failed, and how many statements are not in the log.
async fn each<A>(builds: &[u64], attach: impl Fn(u64) -> A) -> (Vec<u64>, usize)
where
    A: Future<Output = Result<Vec<FileDigest>, JobError>>,
{
    let (mut failed, mut unlogged) = (Vec::new(), 0);
    for build in builds.iter().copied() {
        match attach(build).await {
            Ok(missing) => unlogged += missing.len(),
            Err(error) => {
                let cause = chain(&error);
                tracing::warn!(
                    build,
                    error = cause,
                    "published build {build} has no proofs or packs of evidence yet, trying again later: {cause}"
                );
                failed.push(build);
            }
        }
    }
    (failed, unlogged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn a_build_that_fails_holds_up_no_other_and_is_tried_again() {
        let tried = RefCell::new(Vec::new());
        let attach = |build| {
            tried.borrow_mut().push(build);
            std::future::ready(match build {
                2 => Err(JobError::Broken("a damaged tile".to_owned())),
                _ => Ok(vec![FileDigest::of(b"unlogged")]),
            })
        };
        assert_eq!(each(&[1, 2, 3], attach).await, (vec![2], 2));
        assert_eq!(*tried.borrow(), [1, 2, 3]);
    }
}
