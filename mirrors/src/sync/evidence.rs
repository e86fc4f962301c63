//! What the evidence of all packages has in common (`evidence.tar.zst`, [`crate::evidence::beside`]), kept at the root of a
//! copy so that it answers for an origin that is away. Upstream's moves with every release and with the log: it is taken
//! with each change, after the proofs, and once an hour; where it could not be had, with the next sync. A copy whose packages
//! have no evidence does not ask for it, so that looking for news stays one request.
//!
//! It is not believed here, only handed on: whoever reads it checks every signature in it.

use super::destination::Destination;
use super::fetch::Setback;
use super::peer::{Peer, Problem};
use super::pointer::with_causes;
use super::proofs::has_evidence;
use super::round::Job;
use super::site::Site;
use super::{OWN_DIRECTORY, SyncError};
use crate::evidence::beside::{COMMON, MAX_COMMON_BYTES, is_common};
use repo_model::Timestamp;
use std::io::Seek as _;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// Taken anew after so long.
const LIFE: Duration = Duration::from_secs(3_600);

/// Brings it up to date. What fails leaves the one that is there.
///
/// * `changed`: whether the copy is another one than before.
pub(super) fn renew(
    to: &dyn Destination,
    site: &Site,
    job: &Job<'_>,
    changed: bool,
) -> Result<(), SyncError> {
    let is_due = match changed {
        true => has_evidence(&site.state),
        false => {
            let known = to.modified(site, COMMON)?;
            match known {
                Some(written) => is_old(written, job.request.now),
                None => has_evidence(&site.state),
            }
        }
    };
    if !is_due {
        return Ok(());
    }
    let Some(packed) = newest(site, job) else {
        return Ok(());
    };
    if let Err(error) = to.put_spooled(site, COMMON, packed) {
        let why = with_causes(&error);
        job.watch.note(&format!("cannot write {COMMON}: {why}"));
    }
    Ok(())
}

/// A clock that was set back makes it old, too.
fn is_old(written: SystemTime, now: Timestamp) -> bool {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.unix_secs().unsigned_abs());
    now.duration_since(written).is_ok_and(|age| age >= LIFE)
        || written.duration_since(now).is_ok_and(|ahead| ahead >= LIFE)
}

/// The first upstream's that reads, on the disk: it may have a hundred megabytes. Most repositories have none.
fn newest(site: &Site, job: &Job<'_>) -> Option<NamedTempFile> {
    for peer in job.peers {
        let label = peer.label();
        match given(peer, site) {
            Ok(packed) => return Some(packed),
            Err(Setback::Upstream(Problem::Missing)) => {}
            Err(Setback::Upstream(problem)) => {
                job.watch
                    .note(&format!("{label}: {COMMON} is left out: {problem}"));
            }
            Err(Setback::Local(error)) => {
                let why = with_causes(&error);
                let note = format!("cannot keep {COMMON} in {OWN_DIRECTORY}: {why}");
                job.watch.note(&note);
                return None;
            }
        }
    }
    None
}

fn given(peer: &Peer, site: &Site) -> Result<NamedTempFile, Setback> {
    let answer = peer.open(COMMON, 0)?;
    let mut spool = site.spool()?;
    peer.spool(answer, MAX_COMMON_BYTES, spool.as_file_mut())?;
    spool.as_file_mut().rewind()?;
    is_common(spool.as_file()).map_err(|error| Problem::Unusable(error.to_string()))?;
    spool.as_file().sync_all()?;
    Ok(spool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_old_after_an_hour_and_when_it_is_of_the_future() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let now = Timestamp::from_unix_secs(1_800_000_000);
        assert!(!is_old(at(1_800_000_000), now));
        assert!(!is_old(at(1_799_996_401), now));
        assert!(is_old(at(1_799_996_400), now));
        assert!(!is_old(at(1_800_000_010), now));
        assert!(is_old(at(1_900_000_000), now));
    }
}
