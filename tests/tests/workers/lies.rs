//! Answers that are not what they should be, and evidence that is not the rebuilder's to show.

use crate::{assert_refused, both, build, world};
use hallmark_tests::worker::{FakeAnswer, FakeWorker};
use repo_model::statement::{Rebuild, Resource, Subject};
use repo_model::verdict::Cause;
use repo_model::verdict::Verdict::{Differs, Identical, InfraFailed};
use repo_model::wire::worker::RevealJob;
use repo_model::{FileDigest, HeaderDigest};

fn cause(detail: String) -> Cause {
    Cause {
        code: "x".to_owned(),
        file: None,
        tag: None,
        detail,
        hint: "y".to_owned(),
    }
}

/// Commits to a lie and gets as far as telling it.
fn to_be_told(
    a: &FakeWorker,
    change: impl Fn(&mut Rebuild, &mut Subject),
) -> (RevealJob, FakeAnswer) {
    let job = a.lease_rebuild();
    let answer = a.answer(&job, Identical, change);
    let taken = a.commit(job.job, job.lease_epoch, &answer);
    assert_eq!(taken.status, 204, "{}", taken.text());
    (a.lease_reveal(), answer)
}

#[test]
fn a_statement_that_lies_about_what_it_is_about_is_refused() {
    type Change = fn(&mut Rebuild, &mut Subject);
    let lies: [(&str, &str, Change); 9] = [
        (
            "another package",
            "is not rebuilder-a's about",
            |_, subject| {
                let other = HeaderDigest::of(b"another").to_hex();
                subject.digest.insert("rpmHeaderSha256".to_owned(), other);
            },
        ),
        (
            "another buildinfo",
            "another source package or buildinfo",
            |rebuild, _| {
                rebuild.buildinfo = Resource::file("buildinfo.json", FileDigest::of(b"another"));
            },
        ),
        (
            "another source",
            "another source package or buildinfo",
            |rebuild, _| {
                rebuild.source = Resource::file("x.src.rpm", FileDigest::of(b"another"));
            },
        ),
        (
            "another's name",
            "is not rebuilder-a's about",
            |rebuild, _| {
                rebuild.rebuilder.id = "rebuilder-b".parse().expect("a name");
            },
        ),
        (
            "another operator",
            "is not rebuilder-a's about",
            |rebuild, _| {
                rebuild.rebuilder.operator = "operator-of-rebuilder-b".parse().expect("a name");
            },
        ),
        ("another profile", "under profile", |rebuild, _| {
            rebuild.profile = "fixed-addresses".to_owned();
        }),
        (
            "better than its runs",
            "one of its runs was differs",
            |rebuild, _| {
                rebuild.runs = vec![Identical, Differs];
            },
        ),
        ("too many causes", "101 causes", |rebuild, _| {
            rebuild.verdict = Differs;
            rebuild.causes = vec![cause("z".to_owned()); 101];
        }),
        ("endless causes", "400", |rebuild, _| {
            rebuild.verdict = Differs;
            rebuild.causes = vec![cause("z".repeat(401))];
        }),
    ];
    let owned = world();
    let world = owned.watch();
    let (a, _) = both(&world);
    // Nobody waits for the other, so each lie can be told at once.
    world.hallmark_ok(&["rebuilders", "drain", "rebuilder-b"]);
    for (index, (what, words, change)) in lies.into_iter().enumerate() {
        build(&world, &format!("lie{index}"));
        let (task, answer) = to_be_told(&a, change);
        let told = a.tell(&task, &answer);
        assert_refused(&told, 422, "bad-statement", words);
        eprintln!("refused: {what}");
        // The lease is given up, so that it is not in the next lie's way.
        assert_eq!(a.give_up(task.job, task.lease_epoch).status, 204);
    }
    build(&world, "vague");
    let (task, answer) = to_be_told(&a, |rebuild, _| rebuild.verdict = InfraFailed);
    assert_refused(
        &a.tell(&task, &answer),
        422,
        "bad-statement",
        "infra-failed",
    );
}

#[test]
fn an_answer_that_was_not_committed_to_is_refused() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    world.hallmark_ok(&["rebuilders", "drain", "rebuilder-b"]);
    build(&world, "changed");
    let job = a.lease_rebuild();
    let (committed, other) = (a.honest(&job, Differs), a.honest(&job, Identical));

    // A commitment signed by somebody else, or about another build.
    let theirs = b.honest(&job, Identical);
    let refused = a.commit(job.job, job.lease_epoch, &theirs);
    assert_refused(&refused, 422, "bad-commitment", "rebuilder-a");
    let mut elsewhere = job.clone();
    elsewhere.buildinfo = FileDigest::of(b"another");
    let refused = a.commit(job.job, job.lease_epoch, &a.honest(&elsewhere, Identical));
    assert_refused(
        &refused,
        422,
        "bad-commitment",
        "another source package or buildinfo",
    );

    assert_eq!(a.commit(job.job, job.lease_epoch, &committed).status, 204);
    let task = a.lease_reveal();
    assert_refused(&a.tell(&task, &other), 422, "bad-reveal", "committed");
    // The right answer, for a round that the server did not open.
    let mut round = task.clone();
    round.round.push(FileDigest::of(b"a friend's"));
    round.round.sort();
    assert_refused(
        &a.tell(&round, &committed),
        422,
        "bad-reveal",
        "another round",
    );
    assert_eq!(a.tell(&task, &committed).status, 204);
}

#[test]
fn evidence_that_a_rebuilder_did_not_make_is_not_shown_for_it() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let build = build(&world, "foreign");
    let package = world.build(build).packages[0].unsigned_file;
    let source = world.build(build).source_file;
    assert_refused(&a.put(b"no lease yet"), 403, "forbidden", "no lease");

    let job = a.lease_rebuild();
    let job_b = b.lease_rebuild();
    // A digest alone is no blob, whether it is there or not.
    for digest in [package, FileDigest::of(b"unknown")] {
        assert_eq!(a.put_as(digest, b"not it").status, 400);
    }
    let bytes = a.get(package).body;
    assert_eq!(
        a.put_as(package, &bytes).status,
        200,
        "it has it: it may rebuild it"
    );
    let theirs = b"what b has found";
    assert_eq!(b.put(theirs).status, 201);
    assert!(matches!(a.put(b"a log").status, 200 | 201));

    let answer = a.honest(&job, Identical);
    assert_eq!(a.commit(job.job, job.lease_epoch, &answer).status, 204);
    assert_eq!(b.give_up(job_b.job, job_b.lease_epoch).status, 204);
    let task = a.lease_reveal();
    let reveal = a.reveal_of(&task, &answer);
    let missing = a.report(&task, reveal.clone(), &[]);
    assert_refused(&missing, 422, "blob-missing", "PUT it to");
    // Somebody else stored it: not this rebuilder's.
    for statement in &answer.statements {
        let put = world.http.put(
            &format!("/api/v1/blobs/{}", FileDigest::of(&statement.to_json())),
            &statement.to_json(),
        );
        assert_eq!(put.status, 201);
    }
    let missing = a.report(&task, reveal.clone(), &[]);
    assert_refused(&missing, 422, "blob-missing", "by rebuilder-a");
    for statement in &answer.statements {
        assert_eq!(a.put(&statement.to_json()).status, 200);
    }
    for (what, digest) in [
        ("the package, not signed yet", package),
        ("the source package", source),
        ("another's", FileDigest::of(theirs)),
        ("nobody's", FileDigest::of(b"unknown")),
    ] {
        let attached = [Resource::file("build.log", digest)];
        let refused = a.report(&task, reveal.clone(), &attached);
        assert_refused(&refused, 422, "bad-attachment", "build.log");
        eprintln!("refused: {what}");
    }
    let path = format!("/evidence/sha256/{package}");
    assert_eq!(world.http.get(&path).status, 404);
    let own = [Resource::file("build.log", FileDigest::of(b"a log"))];
    assert_eq!(a.report(&task, reveal, &own).status, 204);
    let log = FileDigest::of(b"a log");
    assert_eq!(
        world.http.fetch(&format!("/evidence/sha256/{log}")),
        b"a log"
    );
}
