//! Reproducibility over time as stacked bars: one bar a release, cut by how its builds fared. Drawn on the
//! server as SVG; the stylesheet colours it, and a table beside it says the same in numbers.

use repo_model::{ReleaseId, Timestamp};
use std::fmt::Write as _;

/// How the builds of one release, and those kept back before it, had fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseTally {
    /// The release; none: what came in since the newest.
    pub release: Option<ReleaseId>,
    /// Its publish instant.
    pub issued: Option<Timestamp>,
    /// Builds that came with it.
    pub builds: u64,
    /// Those that every rebuilder who gave a verdict made again bit for bit.
    pub all_agreed: u64,
    /// Those that some rebuilder made differently.
    pub disputed: u64,
    /// Builds that came in since the release before and are kept back, because they came out different.
    pub kept_back: u64,
}

impl ReleaseTally {
    /// Builds that nobody rebuilt.
    pub(crate) fn unseen(&self) -> u64 {
        self.builds
            .saturating_sub(self.all_agreed)
            .saturating_sub(self.disputed)
    }

    fn all(&self) -> u64 {
        self.builds.saturating_add(self.kept_back)
    }

    /// Of a hundred builds so many came out the same for everybody; none without builds.
    pub(crate) fn percent(&self) -> Option<u64> {
        (self.all_agreed * 100).checked_div(self.all())
    }
}

const HEIGHT: u64 = 200;
/// Room for the percents on the left and the numbers of releases below.
const LEFT: u64 = 44;
const BELOW: u64 = 26;
const TOP: u64 = 10;
/// Widest bar, and width of the whole.
const WIDEST: u64 = 44;
const WIDTH: u64 = 1_000;

/// The picture; hidden from screen readers, which have the table. Empty without releases.
pub(crate) fn svg(tallies: &[ReleaseTally]) -> String {
    let bars = tallies.len() as u64;
    if bars == 0 {
        return String::new();
    }
    let step = ((WIDTH - LEFT) / bars).clamp(6, WIDEST + 10);
    let bar = (step * 4 / 5).max(4);
    let height = TOP + HEIGHT + BELOW;
    let mut out = String::with_capacity(500 + tallies.len() * 400);
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" aria-hidden=\"true\" focusable=\"false\">"
    );
    for percent in [0, 50, 100] {
        let y = TOP + HEIGHT - HEIGHT * percent / 100;
        let _ = write!(
            out,
            "<path class=\"rule\" d=\"M{LEFT} {y}H{WIDTH}\"/><text class=\"scale\" x=\"{x}\" y=\"{base}\">{percent} %</text>",
            x = LEFT - 8,
            base = y + 4
        );
    }
    // Not every number fits below its bar.
    let every = (bars * 46).div_ceil(step * bars).max(1);
    for (at, tally) in (0_u64..).zip(tallies) {
        let x = LEFT + at * step + (step - bar) / 2;
        draw_bar(&mut out, tally, x, bar);
        if at.is_multiple_of(every) || tally.release.is_none() {
            let words = tally
                .release
                .map_or_else(|| "now".to_owned(), |id| id.to_string());
            let _ = write!(
                out,
                "<text class=\"under\" x=\"{}\" y=\"{}\">{words}</text>",
                x + bar / 2,
                TOP + HEIGHT + 18
            );
        }
    }
    out.push_str("</svg>");
    out
}

fn draw_bar(out: &mut String, tally: &ReleaseTally, x: u64, width: u64) {
    let all = tally.all().max(1);
    let mut drawn = 0;
    let mut bottom = TOP + HEIGHT;
    for (class, part) in [
        ("agreed", tally.all_agreed),
        ("nobody", tally.unseen()),
        ("disputed", tally.disputed),
        ("kept", tally.kept_back),
    ] {
        if part == 0 {
            continue;
        }
        drawn += part;
        let top = TOP + HEIGHT - HEIGHT * drawn / all;
        // What is there is seen, however small its share.
        let top = top.min(bottom.saturating_sub(2));
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{}\"/>",
            bottom - top
        );
        bottom = top;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(builds: u64, all_agreed: u64, disputed: u64, kept_back: u64) -> ReleaseTally {
        ReleaseTally {
            release: Some(ReleaseId(1)),
            issued: None,
            builds,
            all_agreed,
            disputed,
            kept_back,
        }
    }

    #[test]
    fn shares_are_of_all_builds_and_small_ones_are_seen() {
        assert_eq!(tally(10, 9, 1, 0).percent(), Some(90));
        assert_eq!(tally(3, 3, 0, 1).percent(), Some(75));
        assert_eq!(tally(0, 0, 0, 0).percent(), None);
        let svg = svg(&[tally(20_000, 19_999, 1, 0)]);
        assert!(
            svg.contains("class=\"disputed\"") && svg.contains("height=\"2\""),
            "{svg}"
        );
        assert!(super::svg(&[]).is_empty());
    }

    #[test]
    fn many_releases_fit() {
        let svg = svg(&[tally(5, 1, 1, 1); 150]);
        assert_eq!(svg.matches("class=\"agreed\"").count(), 150);
    }
}
