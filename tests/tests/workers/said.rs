//! What rebuilders say, what is decided about them and about channels: all of it is in the log, whatever it is.

use crate::{both, build, until_held, world};
use hallmark_tests::said::{kinds, statements};
use hallmark_tests::worker::FakeWorker;
use repo_model::verdict::Verdict::{Differs, Identical};

#[test]
fn good_and_bad_results_moves_of_channels_and_decisions_about_rebuilders_are_in_the_log() {
    let owned = world();
    let world = owned.watch();
    let (a, b) = both(&world);
    for name in ["first", "second"] {
        let good = build(&world, name);
        let (_, answer_a) = a.commits(Identical);
        let (_, answer_b) = b.commits(Identical);
        a.tells(&answer_a);
        b.tells(&answer_b);
        world.until_published(good);
        world.hallmark_ok(&["promote", "--to", "stable"]);
    }
    world.hallmark_ok(&["rollback", "stable"]);
    let bad = build(&world, "doubted");
    let (_, answer_a) = a.commits(Identical);
    let (_, answer_b) = b.commits(Differs);
    a.tells(&answer_a);
    b.tells(&answer_b);
    until_held(&world, bad);

    let c = FakeWorker::stranger(&world, "rebuilder-c", 7);
    assert_eq!(c.enrol().status, 202);
    let key = c.request_key.public().to_string();
    world.hallmark_ok(&["rebuilders", "approve", "rebuilder-c", "--key", &key]);
    world.hallmark_ok(&["rebuilders", "reject", "rebuilder-c", "--key", &key]);

    let anonymous = world.http.with_token(None);
    world.until("both decisions are in the log", || {
        let said = kinds(&statements(&anonymous));
        match said.get("rebuilder-decision/v0.1") {
            Some(2) => Ok(()),
            _ => Err(format!("{said:?}")),
        }
    });
    let said = statements(&anonymous);
    let found = kinds(&said);
    for kind in [
        "rebuild-commitment/v0.1",
        "rebuild-reveal/v0.1",
        "rpm-rebuild/v0.1",
        "verification_summary/v1",
        "reference/v0.1",
        "release/v0.1",
        "repo-release/v0.1",
        "channel-move/v0.1",
        "key-set/v0.1",
    ] {
        assert!(found.contains_key(kind), "no {kind} in {found:?}");
    }
    let all = |kind: &str, member: &str| -> Vec<serde_json::Value> {
        let of_kind = said.iter().filter(|one| {
            let found = one["predicateType"].as_str();
            found.is_some_and(|found| found.ends_with(kind))
        });
        of_kind
            .map(|one| one["predicate"][member].clone())
            .collect()
    };
    let verdicts = all("/rpm-rebuild/v0.1", "verdict");
    assert!(verdicts.contains(&"identical".into()), "{verdicts:?}");
    assert!(verdicts.contains(&"differs".into()), "{verdicts:?}");
    // What is logged together has no order.
    let decided = all("/rebuilder-decision/v0.1", "standing");
    assert!(decided.contains(&"approved".into()), "{decided:?}");
    assert!(decided.contains(&"rejected".into()), "{decided:?}");
    let moves = said.iter().filter_map(|one| {
        let moved = &one["predicate"];
        let is_stable = moved["channel"] == "stable" && !moved["movedAt"].is_null();
        is_stable.then(|| (moved["from"].clone(), moved["to"].clone()))
    });
    let moves: Vec<_> = moves.collect();
    let [_, promoted, back] = &moves[..] else {
        panic!("{moves:?}");
    };
    assert_eq!(
        (&promoted.0, &promoted.1),
        (&back.1, &back.0),
        "there and back"
    );
}
