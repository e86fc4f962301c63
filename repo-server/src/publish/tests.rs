use super::*;
use crate::db::jobs::{enqueue, is_asked_for, lease, put_back};
use repo_model::FileDigest;

/// A build in a stage.
fn build(tx: &Transaction<'_>, build_id: u64, repo: &str, stage: &str) {
    tx.execute(
        "INSERT INTO builds VALUES (?1, ?5, ?2, 'x-1-' || ?1 || '.src', 'x', ?5, ?5, NULL, '', 0, 0, ?3, ?4)",
        rusqlite::params![
            build_id,
            repo,
            stage,
            format!("{{\"stage\":\"{stage}\"}}"),
            FileDigest::of(&build_id.to_le_bytes()).to_hex(),
        ],
    )
    .unwrap();
}

#[test]
fn what_was_signed_while_a_failed_release_waited_is_in_the_next_one() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(db::SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    let configured: HashSet<RepoName> = ["base".parse().unwrap()].into();
    let waits = || is_asked_for(&tx, NAME, "").unwrap();

    // A release of the first build is begun, and the signer is away.
    enqueue(&tx, NAME, "", None, 0).unwrap();
    let job = lease(&tx, 0, 60, &[]).unwrap().unwrap();
    put_back(&tx, &job, "the signer is away", 0).unwrap();
    // The second build is signed; what it asks for is the job that waits already, which keeps its plan.
    build(&tx, 2, "base", "signed");
    enqueue(&tx, NAME, "", None, 0).unwrap();
    let job = lease(&tx, 0, 60, &[]).unwrap().unwrap();
    assert!(lease(&tx, 0, 60, &[]).unwrap().is_none());
    finish(&tx, job.job_id, &configured).unwrap();
    assert!(waits(), "the second build has no release to come");

    // Its own release: nothing is left, and nothing is asked for.
    let job = lease(&tx, i64::MAX, 60, &[]).unwrap().unwrap();
    tx.execute("DELETE FROM builds", []).unwrap();
    finish(&tx, job.job_id, &configured).unwrap();
    assert!(!waits());

    // What is of no configured repository comes into no release: asking for it would never end.
    build(&tx, 3, "gone", "signed");
    enqueue(&tx, NAME, "", None, 0).unwrap();
    let job = lease(&tx, i64::MAX, 60, &[]).unwrap().unwrap();
    finish(&tx, job.job_id, &configured).unwrap();
    assert!(!waits());
}
