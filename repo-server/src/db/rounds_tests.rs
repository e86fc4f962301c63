//! The rules of rounds, as tables.

use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(1_000_000 + secs)
}

fn rules() -> Rules {
    Rules {
        counted: ["a", "b", "c"].map(|name| name.parse().unwrap()).into(),
        draining: BTreeSet::new(),
        builders: BTreeSet::new(),
        min_rebuilders: 2,
        min_operators: 2,
        sealed: true,
        reveal_wait_secs: 100,
        rebuild_wait_secs: 1_000,
    }
}

/// `a:waiting`, `a:leased` (until 30), `a:lost` (lease ended at -1), `a:committed` (at 0), `a:due` (until 100),
/// `a:confirmed@1`, `a:differs@1`, `a:failed`.
fn row(text: &str) -> RoundRow {
    let (name, state) = text.split_once(':').unwrap();
    let (state, round) = match state.split_once('@') {
        Some((state, round)) => (state, round.parse().ok()),
        None => (state, None),
    };
    let (in_db, verdict) = match state {
        "lost" => ("leased", None),
        "due" => ("committed", None),
        "confirmed" => ("done", Some(Verdict::Identical)),
        "differs" => ("done", Some(Verdict::Differs)),
        other => (other, None),
    };
    let committed = matches!(state, "committed" | "due");
    RoundRow {
        rebuild_id: u64::from(name.as_bytes()[0]),
        rebuilder: name.parse().unwrap(),
        operator: format!("op-{name}").parse().unwrap(),
        state: in_db.to_owned(),
        lease_until: match state {
            "leased" => Some(at(30)),
            "lost" => Some(at(-1)),
            _ => None,
        },
        commitment: committed.then(|| FileDigest::of(name.as_bytes())),
        committed_at: committed.then(|| at(0)),
        round: if state == "due" { Some(9) } else { round },
        reveal_until: (state == "due").then(|| at(100)),
        verdict,
        recalls: 0,
    }
}

fn all(text: &str) -> Vec<RoundRow> {
    text.split(' ').map(row).collect()
}

#[test]
fn a_round_opens_when_enough_are_in_it_and_nobody_is_at_work() {
    for (text, opens_now, why) in [
        ("a:waiting b:waiting c:waiting", false, "nobody committed"),
        ("a:committed b:waiting c:waiting", false, "one is too few"),
        (
            "a:committed b:committed c:waiting",
            true,
            "enough, and c has not begun",
        ),
        (
            "a:committed b:committed c:leased",
            false,
            "c is at work and may differ",
        ),
        ("a:committed b:committed c:lost", true, "c has vanished"),
        (
            "a:committed b:failed c:failed",
            true,
            "nobody else will come",
        ),
        ("a:committed b:lost c:failed", false, "b may come back"),
        (
            "a:committed b:committed c:confirmed@1",
            true,
            "c was earlier",
        ),
        ("a:due b:due c:waiting", false, "it is open"),
        (
            "a:committed x:leased b:failed c:failed",
            true,
            "x does not count",
        ),
    ] {
        assert_eq!(
            opens(&all(text), &rules(), true, at(10)),
            opens_now,
            "{why}: {text}"
        );
    }
    let one = all("a:committed b:leased c:waiting");
    assert!(!opens(&one, &rules(), true, at(99)));
    assert!(opens(&one, &rules(), true, at(100)), "the time is over");
    assert!(opens(&one, &rules(), false, at(10)), "the build is decided");
}

#[test]
fn who_is_draining_is_not_waited_for_before_it_begins_and_heard_when_it_has() {
    let mut rules = rules();
    rules.draining.insert("b".parse().unwrap());
    assert!(opens(
        &all("a:committed b:waiting c:failed"),
        &rules,
        true,
        at(10)
    ));
    assert!(!opens(
        &all("a:committed b:leased c:failed"),
        &rules,
        true,
        at(10)
    ));
    let outlook = |text: &str| outlook(&all(text), &rules, at(0), at(10));
    assert_eq!(outlook("a:confirmed@1 b:waiting c:failed"), Outlook::Decide);
    assert_eq!(
        outlook("a:confirmed@9 b:due c:failed"),
        Outlook::Wait(at(101))
    );
    assert!(enough(&all("a:confirmed@1 b:confirmed@1 c:failed"), &rules));
}

#[test]
fn a_builders_own_operator_does_not_open_a_round() {
    let mut rules = rules();
    rules.builders.insert("op-b".parse().unwrap());
    assert!(!opens(
        &all("a:committed b:committed c:waiting"),
        &rules,
        true,
        at(10)
    ));
    assert!(opens(
        &all("a:committed b:committed c:committed"),
        &rules,
        true,
        at(10)
    ));
}

#[test]
fn answers_told_too_early_are_asked_for_anew_once_somebody_else_is_ready() {
    let numbers = |names: &str| names.bytes().map(u64::from).collect::<Vec<_>>();
    for (text, asked, why) in [
        (
            "a:confirmed@1 b:committed c:failed",
            "a",
            "a told before b committed",
        ),
        ("a:confirmed@1 b:waiting c:failed", "", "nobody is ready"),
        (
            "a:confirmed@1 b:confirmed@1 c:committed",
            "",
            "a and b suffice",
        ),
        (
            "a:confirmed@1 b:confirmed@2 c:committed",
            "ab",
            "in two rounds",
        ),
        ("a:differs@1 b:committed c:failed", "", "it did not confirm"),
        ("a:confirmed@1 b:due c:committed", "", "b is about to tell"),
    ] {
        assert_eq!(
            recalled(&all(text), &rules()),
            numbers(asked),
            "{why}: {text}"
        );
    }
    let mut often = all("a:confirmed@1 b:committed c:failed");
    often[0].recalls = MAX_RECALLS;
    assert!(recalled(&often, &rules()).is_empty(), "not for ever");
    let open = Rules {
        sealed: false,
        ..rules()
    };
    assert!(recalled(&all("a:confirmed@1 b:committed c:failed"), &open).is_empty());
}

#[test]
fn a_build_waits_for_who_is_at_work_and_for_the_others_only_while_they_are_needed() {
    use Outlook::{Decide, Wait};
    for (text, wanted, why) in [
        (
            "a:waiting b:waiting c:waiting",
            Wait(at(1_000)),
            "all are needed",
        ),
        (
            "a:confirmed@1 b:confirmed@1 c:waiting",
            Decide,
            "c is not needed",
        ),
        (
            "a:confirmed@1 b:confirmed@1 c:lost",
            Decide,
            "c has vanished",
        ),
        (
            "a:confirmed@1 b:confirmed@1 c:leased",
            Wait(at(31)),
            "c may differ",
        ),
        (
            "a:confirmed@1 b:confirmed@1 c:committed",
            Wait(at(100)),
            "c has an answer",
        ),
        (
            "a:confirmed@1 b:due c:waiting",
            Wait(at(101)),
            "b is about to tell",
        ),
        (
            "a:confirmed@1 b:confirmed@2 c:waiting",
            Wait(at(1_000)),
            "in two rounds",
        ),
        (
            "a:confirmed@1 b:failed c:failed",
            Decide,
            "nobody else will come",
        ),
        ("a:differs@1 b:differs@1 c:failed", Decide, "all have told"),
        (
            "x:leased x:waiting",
            Decide,
            "x does not count, and was taken out of the policy",
        ),
    ] {
        assert_eq!(
            outlook(&all(text), &rules(), at(0), at(10)),
            wanted,
            "{why}: {text}"
        );
    }
    let late = |text: &str, now| outlook(&all(text), &rules(), at(0), at(now));
    assert_eq!(
        late("a:waiting b:confirmed@1 c:failed", 1_000),
        Decide,
        "not for ever"
    );
    assert_eq!(late("a:due b:confirmed@1 c:failed", 1_000), Wait(at(101)));
    let nothing = Rules {
        min_rebuilders: 0,
        min_operators: 0,
        ..rules()
    };
    assert_eq!(outlook(&all("a:waiting"), &nothing, at(0), at(10)), Decide);
}

#[test]
fn who_has_not_begun_is_named_while_it_is_needed() {
    for (text, secs, wanted, why) in [
        (
            "a:differs@1 b:confirmed@1 c:waiting",
            10,
            "c",
            "c never came",
        ),
        (
            "a:confirmed@1 b:confirmed@1 c:waiting",
            10,
            "",
            "the others suffice",
        ),
        (
            "a:leased b:lost c:failed x:waiting",
            10,
            "b",
            "a is at work, c has ended, x does not count",
        ),
        ("a:waiting b:waiting c:committed", 999, "ab", "two of them"),
        (
            "a:waiting b:waiting c:waiting",
            1_000,
            "",
            "the time is over",
        ),
    ] {
        let rows = all(text);
        let found = not_begun(&rows, &rules(), at(0), at(secs));
        let names: String = found.iter().map(|row| row.rebuilder.as_str()).collect();
        assert_eq!(names, wanted, "{why}: {text}");
    }
}
