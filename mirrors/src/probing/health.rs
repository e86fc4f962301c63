//! From what was seen of a mirror to whether clients are sent to it. A pure function, with patience on both
//! sides: one failure is no reason to go, one success no reason to come back.

use repo_model::wire::mirrors::{Health, Trouble};

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Bad looks in a row after which a mirror is dropped.
    pub bad_to_drop: u32,
    /// Good looks in a row after which it is listed again.
    pub good_to_return: u32,
    /// The same after it served what nobody published, which drops it at once.
    pub good_after_wrong_content: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            bad_to_drop: 2,
            good_to_return: 2,
            good_after_wrong_content: 6,
        }
    }
}

/// What is remembered between looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Whether clients are sent to it.
    pub health: Health,
    /// Bad looks since the last good one.
    pub bad_in_row: u32,
    /// Good looks since the last bad one.
    pub good_in_row: u32,
    /// Whether it has to make up for wrong content.
    pub distrusted: bool,
}

/// The state after one more look; `trouble`: what was wrong, if anything was.
#[must_use]
pub fn after(state: State, trouble: Option<&Trouble>, rules: &Rules) -> State {
    match trouble {
        None => good(state, rules),
        Some(trouble) => bad(state, trouble, rules),
    }
}

fn good(state: State, rules: &Rules) -> State {
    let good_in_row = state.good_in_row.saturating_add(1);
    let want = match (state.health, state.distrusted) {
        (_, true) => rules.good_after_wrong_content,
        (Health::Dropped, false) => rules.good_to_return,
        // A new mirror was looked at by whoever approved it.
        (Health::New | Health::Listed, false) => 1,
    };
    let listed = state.health == Health::Listed || good_in_row >= want;
    State {
        health: if listed { Health::Listed } else { state.health },
        bad_in_row: 0,
        good_in_row,
        distrusted: state.distrusted && !listed,
    }
}

fn bad(state: State, trouble: &Trouble, rules: &Rules) -> State {
    let bad_in_row = state.bad_in_row.saturating_add(1);
    let wrong = trouble.is_wrong_content();
    // What is stale has had its patience: it was behind for long.
    let at_once = wrong || matches!(trouble, Trouble::Stale { .. });
    let drop = at_once || bad_in_row >= rules.bad_to_drop;
    State {
        health: if drop { Health::Dropped } else { state.health },
        bad_in_row,
        good_in_row: 0,
        distrusted: state.distrusted || wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::FileDigest;

    fn run(looks: &str) -> Vec<Health> {
        let url = || "https://m.example/x".to_owned();
        let mut state = State::default();
        looks
            .chars()
            .map(|look| {
                let trouble = match look {
                    '+' => None,
                    '-' => Some(Trouble::Missing { url: url() }),
                    '!' => Some(Trouble::NeverPublished {
                        url: url(),
                        found: FileDigest::of(b"x"),
                    }),
                    other => panic!("{other}"),
                };
                state = after(state, trouble.as_ref(), &Rules::default());
                state.health
            })
            .collect()
    }

    #[test]
    fn dropping_and_returning_take_patience_but_a_lie_does_not() {
        use Health::{Dropped as D, Listed as L, New as N};
        for (looks, want) in [
            ("+", vec![L]),
            ("-+", vec![N, L]),
            ("--", vec![N, D]),
            // Up and down, each time only once: it stays.
            ("+-+-+", vec![L, L, L, L, L]),
            ("+--+-++", vec![L, L, D, D, D, D, L]),
            ("+!+++++", vec![L, D, D, D, D, D, D]),
            ("+!++++++", vec![L, D, D, D, D, D, D, L]),
            // In between it was merely away: what it owes it still owes.
            ("+!+-+++++", vec![L, D, D, D, D, D, D, D, D]),
            ("+!++++++--++", vec![L, D, D, D, D, D, D, L, L, D, D, L]),
        ] {
            assert_eq!(run(looks), want, "{looks}");
        }
    }
}
