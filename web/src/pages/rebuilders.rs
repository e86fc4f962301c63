//! `/rebuilders`: who makes packages again, how they are, and who agrees with whom.

use super::{Frame, Here, Site};
use crate::RenderError;
use crate::text::{Chip, Tone, When, count};
use askama::Template;
use repo_model::wire::rebuilders::Mode;
use repo_model::{OperatorName, Timestamp, WorkerName};

/// A rebuilder that the server did not hear of for this time is shown as silent, seconds.
const SILENT_SECS: i64 = 15 * 60;

/// Who rebuilds.
#[derive(Debug, Clone, Copy)]
pub struct RebuildersView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// By name.
    pub rebuilders: &'a [RebuilderLine],
    /// Every two who answered about the same builds.
    pub pairs: &'a [PairLine],
    /// How many of the newest builds are counted.
    pub builds: u64,
    /// The time now.
    pub now: Timestamp,
}

/// A rebuilder in one line.
#[derive(Debug, Clone)]
pub struct RebuilderLine {
    /// Name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Whether its word counts: the policy lists it.
    pub in_policy: bool,
    /// Whether it gets work.
    pub mode: Mode,
    /// When it asked for work last.
    pub last_seen: Option<Timestamp>,
    /// Builds that wait for it.
    pub waiting: u64,
    /// Builds that it rebuilds now.
    pub leased: u64,
    /// Answers that are sealed until the others have theirs.
    pub sealed: u64,
    /// Builds that it made again bit for bit.
    pub confirmed: u64,
    /// Builds that it made differently.
    pub objecting: u64,
    /// Builds that it gave up.
    pub failed: u64,
}

/// Two rebuilders who answered about the same builds.
#[derive(Debug, Clone)]
pub struct PairLine {
    /// The first by name.
    pub a: WorkerName,
    /// The other.
    pub b: WorkerName,
    /// Builds that both answered about.
    pub both: u64,
    /// Those that both confirmed or both did not.
    pub agree: u64,
}

#[derive(Template)]
#[template(path = "rebuilders.html")]
struct Page<'a> {
    frame: Frame<'a>,
    rows: Vec<Row<'a>>,
    names: Vec<&'a str>,
    matrix: Vec<MatrixRow<'a>>,
    builds: String,
}

struct Row<'a> {
    name: &'a str,
    operator: &'a str,
    health: Chip,
    counts: bool,
    seen: Option<When>,
    queue: String,
    confirmed: String,
    objecting: String,
    failed: String,
}

struct MatrixRow<'a> {
    name: &'a str,
    cells: Vec<MatrixCell<'a>>,
}

struct MatrixCell<'a> {
    with: &'a str,
    /// `98 %`; none for itself and for who never met.
    share: Option<(Tone, String)>,
    words: String,
}

/// Renders the rebuilders.
pub fn rebuilders(view: &RebuildersView<'_>) -> Result<String, RenderError> {
    let names: Vec<&str> = view
        .rebuilders
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    Page {
        frame: Frame::new(view.site, "Rebuilders", Here::Rebuilders),
        rows: view
            .rebuilders
            .iter()
            .map(|one| row(one, view.now))
            .collect(),
        matrix: names
            .iter()
            .map(|name| MatrixRow {
                name,
                cells: names
                    .iter()
                    .map(|with| cell(view.pairs, name, with))
                    .collect(),
            })
            .collect(),
        names: names.clone(),
        builds: count(view.builds),
    }
    .render()
}

fn row(one: &RebuilderLine, now: Timestamp) -> Row<'_> {
    let mut queue = vec![format!("{} waiting", count(one.waiting))];
    if one.leased > 0 {
        queue.push(format!("{} at work", count(one.leased)));
    }
    if one.sealed > 0 {
        queue.push(format!("{} sealed", count(one.sealed)));
    }
    Row {
        name: one.name.as_str(),
        operator: one.operator.as_str(),
        health: health(one, now),
        counts: one.in_policy,
        seen: one.last_seen.map(When::from),
        queue: queue.join(", "),
        confirmed: count(one.confirmed),
        objecting: count(one.objecting),
        failed: count(one.failed),
    }
}

/// Whether it works, or asked for work a short while ago.
pub(crate) fn is_at_hand(one: &RebuilderLine, now: Timestamp) -> bool {
    // A long build keeps it from asking for more.
    one.leased > 0 || one.last_seen.is_some_and(|at| was_heard(at, now))
}

fn was_heard(at: Timestamp, now: Timestamp) -> bool {
    now.unix_secs().saturating_sub(at.unix_secs()) < SILENT_SECS
}

fn health(one: &RebuilderLine, now: Timestamp) -> Chip {
    let (tone, words) = match (one.mode, one.last_seen) {
        (Mode::Paused, _) => (Tone::Idle, "paused"),
        (Mode::Draining, _) => (Tone::Idle, "draining"),
        (Mode::Active, _) if one.leased > 0 => (Tone::Good, "at work"),
        (Mode::Active, Some(at)) if was_heard(at, now) => (Tone::Good, "ready"),
        (Mode::Active, Some(_)) => (Tone::Warn, "silent"),
        (Mode::Active, None) => (Tone::Warn, "never seen"),
    };
    Chip {
        tone,
        words: words.to_owned(),
    }
}

fn cell<'a>(pairs: &[PairLine], name: &str, with: &'a str) -> MatrixCell<'a> {
    let is_it = |pair: &&PairLine| {
        let (a, b) = (pair.a.as_str(), pair.b.as_str());
        (a, b) == (name, with) || (b, a) == (name, with)
    };
    let found = pairs.iter().find(is_it);
    let share = found.and_then(|pair| {
        let percent = (pair.agree * 100).checked_div(pair.both)?;
        let tone = match percent {
            100 => Tone::Good,
            90..=99 => Tone::Warn,
            _ => Tone::Bad,
        };
        Some((tone, format!("{percent} %")))
    });
    MatrixCell {
        with,
        words: match found {
            Some(pair) => format!("{} of {} builds", count(pair.agree), count(pair.both)),
            None if name == with => String::new(),
            None => "no build in common".to_owned(),
        },
        share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_is_told_from_who_is_busy() {
        let now = Timestamp::from_unix_secs(1_000_000);
        let line = |mode, last_seen: Option<i64>, leased| RebuilderLine {
            name: "a".parse().unwrap(),
            operator: "b".parse().unwrap(),
            in_policy: true,
            mode,
            last_seen: last_seen.map(|ago| now.plus_secs(-ago)),
            waiting: 0,
            leased,
            sealed: 0,
            confirmed: 0,
            objecting: 0,
            failed: 0,
        };
        for (line, want) in [
            (line(Mode::Active, Some(30), 0), "ready"),
            (line(Mode::Active, Some(90_000), 0), "silent"),
            (line(Mode::Active, Some(90_000), 1), "at work"),
            (line(Mode::Active, None, 0), "never seen"),
            (line(Mode::Paused, Some(1), 0), "paused"),
        ] {
            assert_eq!(health(&line, now).words, want);
        }
    }
}
