//! The statement that says that a copy is current (`repo_model::freshness`), kept beside `repodata`: upstream's is
//! taken with each change, and again when half of its life is over or it is about another state. A copy that has none does not ask for one
//! while nothing changes, so that looking for news stays one request.
//!
//! It is not believed here, only handed on: whoever reads it checks its signature and its end.

use super::peer::{Peer, Problem};
use super::request::Watch;
use super::site::Site;
use repo_model::dsse::Envelope;
use repo_model::freshness::{FILE, FRESHNESS, Freshness, MAX_BYTES};
use repo_model::statement::Statement;
use repo_model::{FileDigest, Timestamp};
use std::fs;
use std::io;

/// Brings the statement up to date. What fails leaves the one that is there: it ends by itself.
///
/// * `repomd`: the copy's.
/// * `changed`: whether it is another one than before.
pub(super) fn renew(
    site: &Site,
    peers: &[Peer],
    repomd: FileDigest,
    changed: bool,
    now: Timestamp,
    watch: &dyn Watch,
) {
    let target = site.directory.join(FILE);
    let known = fs::read(&target).ok();
    let Some(json) = newer(known.as_deref(), peers, repomd, changed, now, watch) else {
        return;
    };
    if let Err(error) = put(site, &json) {
        watch.note(&format!("cannot write {}: {error}", target.display()));
    }
}

/// Upstream's statement, when it is time for one and it is another one than is known.
pub(super) fn newer(
    known: Option<&[u8]>,
    peers: &[Peer],
    repomd: FileDigest,
    changed: bool,
    now: Timestamp,
    watch: &dyn Watch,
) -> Option<Vec<u8>> {
    let is_due = changed || known.is_some_and(|json| is_due(json, repomd, now));
    if !is_due {
        return None;
    }
    let found = peers
        .iter()
        .find_map(|peer| match peer.read_small(FILE, MAX_BYTES) {
            Ok(json) if is_about(&json, repomd) => Some(json),
            Ok(_) => {
                let label = peer.label();
                watch.note(&format!(
                    "{label}: {FILE} is about another state than the copy's, and is left out"
                ));
                None
            }
            Err(Problem::Missing) => None,
            Err(problem) => {
                tracing::debug!("{}: {FILE}: {problem}", peer.label());
                None
            }
        });
    found.filter(|json| known != Some(json.as_slice()))
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

/// Whether a statement says that this `repomd.xml` is current. It is not believed here.
pub(super) fn is_about(json: &[u8], repomd: FileDigest) -> bool {
    read(json).is_some_and(|said| names(&said, repomd))
}

fn half_over(said: &Freshness, now: Timestamp) -> bool {
    let life = said
        .expires
        .unix_secs()
        .saturating_sub(said.issued.unix_secs());
    now >= said.issued.plus_secs(life / 2)
}

fn put(site: &Site, json: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(&site.own)?;
    io::Write::write_all(&mut file, json)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.as_file().sync_all()?;
    file.persist(site.directory.join(FILE))?;
    Ok(())
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
