//! How the parts of the repository stand, in a few words each: releases, log, mirrors, rebuilders. Shown on the first
//! page, each with a link to all of it.

use super::log::LogHead;
use super::rebuilders::{PairLine, RebuilderLine, is_at_hand};
use super::releases::{Row, row};
use crate::text::{When, count, counted, listed};
use repo_model::Timestamp;
use repo_model::wire::mirrors::{Health, MirrorStatus, Trouble, span};
use repo_model::wire::rebuilders::Mode;
use repo_model::wire::status::ReleaseStatus;

/// How the parts stand.
#[derive(Debug, Clone, Copy)]
pub struct StateView<'a> {
    /// The newest releases, newest first.
    pub releases: &'a [ReleaseStatus],
    /// The head of the transparency log; none before the first.
    pub log: Option<&'a LogHead>,
    /// When that head came out.
    pub log_at: Option<Timestamp>,
    /// Mirrors that everybody may hear of.
    pub mirrors: &'a [MirrorStatus],
    /// Those who rebuild.
    pub rebuilders: &'a [RebuilderLine],
    /// Every two who answered about the same builds.
    pub pairs: &'a [PairLine],
    /// The time now.
    pub now: Timestamp,
}

/// The same in words.
pub(crate) struct State<'a> {
    pub releases: Vec<Row>,
    pub log: Option<Log<'a>>,
    pub mirrors: Vec<Fact>,
    pub rebuilders: Vec<Fact>,
}

pub(crate) struct Log<'a> {
    pub origin: &'a str,
    pub entries: String,
    pub at: Option<When>,
    pub witnesses: String,
}

/// A name and what is so.
pub(crate) struct Fact {
    pub name: &'static str,
    pub words: String,
}

impl<'a> From<&StateView<'a>> for State<'a> {
    fn from(view: &StateView<'a>) -> Self {
        Self {
            releases: view.releases.iter().map(row).collect(),
            log: view.log.map(|head| Log {
                origin: &head.origin,
                entries: counted(head.size, "entry", "entries"),
                at: view.log_at.map(When::from),
                witnesses: match head.cosigners.is_empty() {
                    true => "no witness signed it too".to_owned(),
                    false => listed(&head.cosigners),
                },
            }),
            mirrors: mirrors(view.mirrors),
            rebuilders: rebuilders(view),
        }
    }
}

fn mirrors(all: &[MirrorStatus]) -> Vec<Fact> {
    if all.is_empty() {
        return Vec::new();
    }
    let lag = |one: &MirrorStatus| one.places.iter().map(|place| place.behind_secs).max();
    let is_behind = |one: &&MirrorStatus| {
        lag(one).is_some_and(|secs| secs > 0) || matches!(one.trouble, Some(Trouble::Stale { .. }))
    };
    let of = |health: Health| all.iter().filter(move |one| one.health == health);
    let behind = of(Health::Listed).filter(is_behind).count();
    let good = of(Health::Listed).count() - behind;
    let stands = [
        (good, "up to date"),
        (behind, "behind"),
        (of(Health::Dropped).count(), "dropped"),
        (of(Health::New).count(), "not looked at yet"),
    ];
    let worst = of(Health::Listed).filter_map(lag).max();
    vec![
        Fact {
            name: "Mirrors",
            words: parts(&stands),
        },
        Fact {
            name: "Worst lag",
            words: match worst {
                None => "nobody is sent to any".to_owned(),
                Some(0) => "none".to_owned(),
                Some(secs) => span(secs),
            },
        },
    ]
}

fn rebuilders(view: &StateView<'_>) -> Vec<Fact> {
    let all = view.rebuilders;
    if all.is_empty() {
        return Vec::new();
    }
    let active = || all.iter().filter(|one| one.mode == Mode::Active);
    let at_hand = active().filter(|one| is_at_hand(one, view.now)).count();
    let stands = [
        (at_hand, "at hand"),
        (active().count() - at_hand, "silent"),
        (all.len() - active().count(), "paused or draining"),
    ];
    let sum = |of: fn(&RebuilderLine) -> u64| all.iter().map(of).fold(0, u64::saturating_add);
    let (both, agree) = view
        .pairs
        .iter()
        .fold((0_u64, 0_u64), |(both, agree), pair| {
            let both = both.saturating_add(pair.both);
            (both, agree.saturating_add(pair.agree))
        });
    vec![
        Fact {
            name: "Rebuilders",
            words: parts(&stands),
        },
        Fact {
            name: "Queue",
            words: format!(
                "{} waiting, {} at work",
                counted(sum(|one| one.waiting), "rebuild", "rebuilds"),
                count(sum(|one| one.leased))
            ),
        },
        Fact {
            name: "Agreement",
            words: match agree.saturating_mul(100).checked_div(both) {
                None => "no two have answered about one build yet".to_owned(),
                Some(percent) => format!(
                    "{percent} % ({} of {} comparisons of two)",
                    count(agree),
                    count(both)
                ),
            },
        },
    ]
}

/// `3 up to date, 1 dropped`: what there is none of is left out.
fn parts(stands: &[(usize, &str)]) -> String {
    let words = stands
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, words)| format!("{} {words}", count(*number as u64)));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::wire::mirrors::{PlaceStatus, Standing};

    fn mirror(health: Health, behind_secs: u64) -> MirrorStatus {
        MirrorStatus {
            name: "one".parse().unwrap(),
            urls: Vec::new(),
            country: None,
            coordinates: None,
            weight: 100,
            private: false,
            preferred: false,
            standing: Standing::Approved,
            health,
            since: None,
            why: None,
            trouble: None,
            probed_at: None,
            latency_millis: None,
            bytes_per_sec: None,
            places: vec![PlaceStatus {
                channel: "preview".parse().unwrap(),
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                release: None,
                releases_behind: u64::from(behind_secs > 0),
                behind_secs,
                checked_at: Timestamp::from_unix_secs(0),
                trouble: None,
            }],
        }
    }

    #[test]
    fn mirrors_are_counted_by_how_they_fare_and_the_lag_is_of_those_clients_meet() {
        let words = |all: &[MirrorStatus]| -> Vec<String> {
            mirrors(all).into_iter().map(|fact| fact.words).collect()
        };
        assert!(words(&[]).is_empty());
        let all = [
            mirror(Health::Listed, 0),
            mirror(Health::Listed, 7_000),
            mirror(Health::Dropped, 90_000),
            mirror(Health::New, 0),
        ];
        assert_eq!(
            words(&all),
            [
                "1 up to date, 1 behind, 1 dropped, 1 not looked at yet",
                "116 min"
            ]
        );
        assert_eq!(words(&all[..1]), ["1 up to date", "none"]);
        assert_eq!(words(&all[2..3]), ["1 dropped", "nobody is sent to any"]);
    }

    #[test]
    fn rebuilders_are_told_by_who_is_there_what_waits_and_how_often_they_agree() {
        let now = Timestamp::from_unix_secs(1_000_000);
        let line = |name: &str, mode, ago: i64, waiting| RebuilderLine {
            name: name.parse().unwrap(),
            operator: "x".parse().unwrap(),
            in_policy: true,
            mode,
            last_seen: Some(now.plus_secs(-ago)),
            waiting,
            leased: 1,
            sealed: 0,
            confirmed: 0,
            objecting: 0,
            failed: 0,
        };
        let mut lines = [
            line("a", Mode::Active, 10, 3),
            line("b", Mode::Active, 90_000, 4),
            line("c", Mode::Paused, 10, 0),
        ];
        lines[1].leased = 0;
        let pair = PairLine {
            a: "a".parse().unwrap(),
            b: "b".parse().unwrap(),
            both: 40,
            agree: 39,
        };
        let view = StateView {
            releases: &[],
            log: None,
            log_at: None,
            mirrors: &[],
            rebuilders: &lines,
            pairs: &[pair],
            now,
        };
        let words: Vec<String> = rebuilders(&view).into_iter().map(|f| f.words).collect();
        assert_eq!(
            words,
            [
                "1 at hand, 1 silent, 1 paused or draining",
                "7 rebuilds waiting, 2 at work",
                "97 % (39 of 40 comparisons of two)"
            ]
        );
        let alone = StateView { pairs: &[], ..view };
        assert!(rebuilders(&alone)[2].words.contains("no two"));
    }
}
