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

/// A signed package of a build.
fn package(tx: &Transaction<'_>, build_id: u64, nevra: &str) {
    tx.execute(
        "INSERT INTO packages (build_id, repo, nevra, name, arch, summary, header_digest, unsigned_file, unsigned_size_bytes, href,
                               signed_file, signed_size_bytes, signed_head_bytes, detached_signature, summary_statement)
         VALUES (?1, 'base', ?2, 'm', 'x86_64', '', ?3, ?3, 1, ?2, ?3, 1, 1, ?3, ?3)",
        rusqlite::params![build_id, nevra, FileDigest::of(nevra.as_bytes()).to_hex()],
    )
    .unwrap();
}

#[test]
fn case_41_no_release_prunes_the_older_stream_of_a_module() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(db::SCHEMA).unwrap();
    let tx = connection.transaction().unwrap();
    let (repo, arch): (RepoName, Arch) = ("base".parse().unwrap(), "x86_64".parse().unwrap());
    let digest = FileDigest::of(b"any");
    // Two streams, and a later version of the first: three builds, each with a release of its own.
    let nevras = [
        "m-1.0-1.module_1+1.x86_64",
        "m-2.0-1.module_2+1.x86_64",
        "m-1.0-2.module_1+2.x86_64",
    ];
    for (number, nevra) in (1..).zip(nevras) {
        build(&tx, number, "base", "signed");
        package(&tx, number, nevra);
        let plan = Plan {
            release: ReleaseId(number),
            base: (number > 1).then(|| ReleaseId(number - 1)),
            issued: repo_model::Timestamp::from_unix_secs(number as i64),
            builds: vec![number],
        };
        let change = changed(&tx, &plan, &repo, &arch, &[]).unwrap();
        let stay = change.packages.iter().map(|p| p.nevra.to_string());
        assert_eq!(
            stay.collect::<HashSet<_>>(),
            nevras[..number as usize - 1]
                .iter()
                .map(|nevra| (*nevra).to_owned())
                .collect()
        );
        assert_eq!((change.added.len(), change.removed.len()), (1, 0));
        let made = MadeRepo {
            repo: repo.clone(),
            arch: arch.clone(),
            repomd: digest,
            package_list: digest,
            packages: number,
            files: Vec::new(),
            added: change.added.iter().map(|p| p.package_id).collect(),
            removed: change.removed,
        };
        let new = NewRelease {
            plan,
            made: MadeRelease {
                document: digest,
                repos: vec![made],
            },
            manifests: Vec::new(),
            envelope: FileDigest::of(&number.to_le_bytes()),
            repomd_signatures: vec![RepomdSignatures {
                classic: digest,
                post_quantum: None,
            }],
        };
        db::releases::insert(&tx, &new).unwrap();
    }
}
