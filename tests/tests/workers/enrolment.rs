//! Being let in, and being given rest.

use crate::{assert_refused, both, build, until_held, world};
use hallmark_tests::process;
use hallmark_tests::worker::FakeWorker;
use repo_model::policy::Reason;
use repo_model::verdict::Verdict::Identical;
use repo_model::wire::rebuilders::{EnrolmentAnswer, RebuilderStatus, Standing};

#[test]
fn only_an_operator_lets_a_rebuilder_in_and_only_the_policy_makes_it_count() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let c = FakeWorker::stranger(&world, "rebuilder-c", 7);
    let thief = FakeWorker::stranger(&world, "rebuilder-c", 8);
    let standing = |answer: hallmark_tests::http::Answer| {
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json::<EnrolmentAnswer>().standing
    };
    assert_eq!(c.ask(0).status, 401);
    assert_eq!(standing(thief.enrol()), Standing::Pending);
    assert_eq!(standing(c.enrol()), Standing::Pending);
    assert_eq!(standing(a.enrol()), Standing::Policy);
    assert_eq!(c.ask(0).status, 401, "asking is not enough");

    // Somebody else's statement key, and a name that the policy has.
    let borrowed = FakeWorker {
        statement_key: a.statement_key.clone(),
        ..FakeWorker::stranger(&world, "rebuilder-d", 9)
    };
    assert_refused(
        &borrowed.enrol_with(c.proof()),
        422,
        "bad-enrolment",
        "proof",
    );
    let taken = FakeWorker::stranger(&world, "rebuilder-a", 9);
    assert_refused(&taken.enrol(), 409, "name-taken", "another name");

    // The operator decides by key; a token that cannot operate decides nothing.
    let key = c.request_key.public().to_string();
    let publisher = world.new_token("publisher", &["--scope", "publish"]);
    let weak = world.http.with_token(Some(&publisher));
    assert_eq!(weak.get("/api/v1/rebuilders").status, 403);
    let without = world.hallmark(&["rebuilders", "approve", "rebuilder-c", "--key", &key[..8]]);
    assert_eq!(without.status.code(), Some(2));
    let table = world.hallmark_ok(&["rebuilders", "approve", "rebuilder-c", "--key", &key[..20]]);
    assert!(
        table.starts_with("[[rebuilders]]\nname = \"rebuilder-c\"\n"),
        "{table}"
    );
    assert!(table.contains(&key));
    let listed = world.hallmark_ok(&["rebuilders", "list", "--json"]);
    let listed: Vec<RebuilderStatus> = serde_json::from_str(&listed).expect("JSON");
    let of = |seed: &FakeWorker| {
        let key = Some(seed.request_key.public());
        listed
            .iter()
            .find(|row| row.request_key == key)
            .map(|row| row.standing)
    };
    assert_eq!(of(&c), Some(Standing::Approved));
    assert_eq!(of(&thief), Some(Standing::Pending));
    assert_eq!(of(&a), Some(Standing::Policy));
    assert_eq!(thief.ask(0).status, 401);

    // It works now; what it says is shown and does not count.
    let build = build(&world, "enrolled");
    let (_, answer_c) = c.commits(Identical);
    let (_, answer_a) = a.commits(Identical);
    assert_eq!(c.lease(1), None, "the round waits for those who count");
    let job_b = b.lease_rebuild();
    assert_eq!(b.give_up(job_b.job, job_b.lease_epoch).status, 204);
    let round = a.tells(&answer_a).round;
    assert_eq!(round.len(), 2);
    c.tells(&answer_c);
    let reasons = until_held(&world, build);
    assert!(
        reasons.contains(&Reason::RebuildsMissing { have: 1, want: 2 }),
        "{reasons:?}"
    );
    let shown = &world.build(build).packages[0].evidence;
    assert!(
        shown
            .iter()
            .any(|link| link.kind == "rebuild" && link.label == "rebuilder-c")
    );

    world.hallmark_ok(&["rebuilders", "reject", "rebuilder-c", "--key", &key]);
    assert_eq!(c.ask(0).status, 401);
}

#[test]
fn a_paused_rebuilder_gets_no_work_and_a_draining_one_is_not_waited_for() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    let first = build(&world, "first");
    let (_, answer_a) = a.commits(Identical);
    world.hallmark_ok(&["rebuilders", "pause", "rebuilder-b"]);
    assert_eq!(b.lease(1), None);
    world.hallmark_ok(&["rebuilders", "resume", "rebuilder-b"]);
    let (_, answer_b) = b.commits(Identical);
    // What it has begun it ends.
    world.hallmark_ok(&["rebuilders", "drain", "rebuilder-b"]);
    a.tells(&answer_a);
    b.tells(&answer_b);
    world.until_published(first);

    let second = build(&world, "second");
    assert_eq!(b.lease(1), None);
    let (_, answer_a) = a.commits(Identical);
    a.tells(&answer_a);
    let reasons = until_held(&world, second);
    assert!(
        reasons.contains(&Reason::RebuildsMissing { have: 1, want: 2 }),
        "{reasons:?}"
    );
    let unknown = world.hallmark(&["rebuilders", "pause", "rebuilder-z"]);
    assert_eq!(unknown.status.code(), Some(1));

    // Back at work: the build is reopened by what it says, and a is asked anew beside it.
    world.hallmark_ok(&["rebuilders", "resume", "rebuilder-b"]);
    let (_, answer_b) = b.commits(Identical);
    let (_, answer_a) = a.commits(Identical);
    a.tells(&answer_a);
    b.tells(&answer_b);
    world.until_published(second);
}

#[test]
fn a_real_rebuilder_enrols_with_its_own_keys() {
    let owned = world();
    let world = owned.watch();
    let config = world.dir().join("newcomer.toml");
    let key_file = world.dir().join("newcomer.key");
    let section = format!(
        "[rebuilder]\nserver_url = \"{}/\"\nname = \"newcomer\"\noperator = \"acme\"\nkey_file = \"{}\"\n",
        world.url(),
        key_file.display()
    );
    std::fs::write(&config, section).expect("the configuration is written");
    let rebuilder = |arguments: &[&str]| {
        let mut command = process::command(process::binary("hallmark-rebuilder"));
        command.args(arguments).arg("--config").arg(&config);
        process::run(&mut command)
    };
    rebuilder(&[
        "keygen",
        "--out",
        key_file.to_str().expect("paths here are UTF-8"),
    ]);
    let said = rebuilder(&["enrol", "--contact", "rebuilds@acme.example"]);
    let words: Vec<&str> = said.split_whitespace().collect();
    let [standing, name, key] = words[..] else {
        panic!("{said}")
    };
    assert_eq!((standing, name), ("pending", "newcomer"));
    world.hallmark_ok(&["rebuilders", "approve", name, "--key", key]);
    assert!(rebuilder(&["enrol"]).starts_with("approved newcomer "));
    let listed = world.hallmark_ok(&["rebuilders", "list"]);
    assert!(listed.contains("rebuilds@acme.example"), "{listed}");
}
