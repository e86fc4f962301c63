//! The statement that says that a copy is current (`repo_model::freshness`), kept beside `repodata`: upstream's is
//! taken with each change, and again when half of its life is over or it is about another state. A copy that has none does not ask for one
//! while nothing changes, so that looking for news stays one request.
//!
//! It is not believed here, only handed on: whoever reads it checks its signature and its end.

use super::SyncError;
use super::destination::Destination;
use super::peer::{Peer, Problem};
use super::pointer::with_causes;
use super::round::Job;
use super::site::Site;
use repo_model::dsse::Envelope;
use repo_model::freshness::{FILE, FRESHNESS, Freshness, MAX_BYTES};
use repo_model::statement::Statement;
use repo_model::{FileDigest, Timestamp};

/// Brings the statement up to date. What fails leaves the one that is there: it ends by itself.
///
/// * `repomd`: the copy's.
/// * `changed`: whether it is another one than before.
pub(super) fn renew(
    to: &dyn Destination,
    site: &Site,
    job: &Job<'_>,
    repomd: FileDigest,
    changed: bool,
) -> Result<(), SyncError> {
    let known = to.read_small(site, FILE, MAX_BYTES)?;
    let is_due = |json: &[u8]| is_due(json, repomd, job.request.now);
    if !changed && !known.as_deref().is_some_and(is_due) {
        return Ok(());
    }
    let found = job.peers.iter().find_map(|peer| theirs(job, peer, repomd));
    if let Some(json) = found.filter(|json| known.as_ref() != Some(json))
        && let Err(error) = to.put_small(site, FILE, &json)
    {
        let why = with_causes(&error);
        job.watch.note(&format!("cannot write {FILE}: {why}"));
    }
    Ok(())
}

/// What an upstream says about this state.
fn theirs(job: &Job<'_>, peer: &Peer, repomd: FileDigest) -> Option<Vec<u8>> {
    match peer.read_small(FILE, MAX_BYTES) {
        Ok(json) if read(&json).is_some_and(|said| names(&said, repomd)) => return Some(json),
        Ok(_) => {
            let label = peer.label();
            job.watch.note(&format!(
                "{label}: {FILE} is about another state than the copy's, and is left out"
            ));
        }
        Err(Problem::Missing) => {}
        Err(problem) => tracing::debug!("{}: {FILE}: {problem}", peer.label()),
    }
    None
}

/// Whether it is time to ask for another statement: this one is about another state, or half over.
fn is_due(json: &[u8], repomd: FileDigest, now: Timestamp) -> bool {
    read(json).is_none_or(|said| !names(&said, repomd) || half_over(&said.predicate, now))
}

/// Reads without believing.
fn read(json: &[u8]) -> Option<Statement<Freshness>> {
    let envelope = Envelope::from_json(json).ok()?;
    Statement::open_unverified(&envelope, FRESHNESS).ok()
}

fn names(said: &Statement<Freshness>, repomd: FileDigest) -> bool {
    let hex = repomd.to_hex();
    said.subject
        .iter()
        .any(|subject| subject.digest.get("sha256") == Some(&hex))
}

fn half_over(said: &Freshness, now: Timestamp) -> bool {
    let life = said
        .expires
        .unix_secs()
        .saturating_sub(said.issued.unix_secs());
    now >= said.issued.plus_secs(life / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::ReleaseId;
    use repo_model::dsse::StatementKey;
    use repo_model::freshness::SCHEMA;
    use repo_model::statement::Subject;

    #[test]
    fn a_statement_about_another_state_is_due_at_once_and_a_good_one_when_half_over() {
        let at = Timestamp::from_unix_secs;
        let (ours, other) = (FileDigest::of(b"ours"), FileDigest::of(b"other"));
        let said = Freshness {
            schema: SCHEMA.to_owned(),
            channel: "stable".parse().unwrap(),
            release: ReleaseId(12),
            release_sha256: FileDigest::of(b"envelope"),
            issued: at(1_000),
            expires: at(2_000),
        };
        let subject = vec![Subject::file("repomd.xml", ours)];
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let signed = Statement::new(FRESHNESS, subject, said).sign(&key);
        let json = signed.unwrap().to_json();
        assert!(!is_due(&json, ours, at(1_499)));
        assert!(is_due(&json, ours, at(1_500)));
        assert!(is_due(&json, other, at(1_000)));
        assert!(is_due(b"{}", ours, at(1_000)));
    }
}
