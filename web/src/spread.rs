//! How fast releases reach the mirrors: for each release one dot a mirror, upwards by the time it took. Drawn on
//! the server as SVG; a table beside it says the same in numbers.

use repo_model::wire::mirrors::{Arrival, MirrorStatus};
use repo_model::{ChannelName, MirrorName, ReleaseId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Most releases that are drawn, the newest ones.
const RELEASES: usize = 40;
const WIDTH: u64 = 1_000;
const HEIGHT: u64 = 220;
const LEFT: u64 = 60;
const TOP: u64 = 14;
const BELOW: u64 = 26;
/// Lines of the scale, which is logarithmic: from a minute to thirty days.
const SCALE: [(u64, &str); 5] = [
    (60, "1 min"),
    (600, "10 min"),
    (3_600, "1 h"),
    (86_400, "1 day"),
    (2_592_000, "30 days"),
];

/// The times that one release took to reach mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseSpread {
    pub channel: ChannelName,
    pub release: ReleaseId,
    /// Seconds, shortest first.
    pub secs: Vec<u64>,
}

impl ReleaseSpread {
    /// Half of the mirrors had it by then.
    pub(crate) fn median(&self) -> Option<u64> {
        self.secs
            .get(self.secs.len().saturating_sub(1) / 2)
            .copied()
    }
}

/// The newest releases with their arrivals at these mirrors, oldest release first.
pub(crate) fn spreads(mirrors: &[MirrorStatus], arrivals: &[Arrival]) -> Vec<ReleaseSpread> {
    let shown: BTreeSet<&MirrorName> = mirrors.iter().map(|one| &one.name).collect();
    let mut by_release: BTreeMap<(ReleaseId, &ChannelName), Vec<u64>> = BTreeMap::new();
    for arrival in arrivals
        .iter()
        .filter(|arrival| shown.contains(&arrival.mirror))
    {
        by_release
            .entry((arrival.release, &arrival.channel))
            .or_default()
            .push(arrival.secs);
    }
    let skip = by_release.len().saturating_sub(RELEASES);
    let spread = |((release, channel), mut secs): ((ReleaseId, &ChannelName), Vec<u64>)| {
        secs.sort_unstable();
        ReleaseSpread {
            channel: channel.clone(),
            release,
            secs,
        }
    };
    by_release.into_iter().skip(skip).map(spread).collect()
}

/// The picture; hidden from screen readers, which have the table. Empty without arrivals.
pub(crate) fn svg(spreads: &[ReleaseSpread]) -> String {
    if spreads.is_empty() {
        return String::new();
    }
    let step = ((WIDTH - LEFT) / spreads.len() as u64).clamp(20, 80);
    let height = TOP + HEIGHT + BELOW;
    let mut out = String::with_capacity(1_000 + spreads.len() * 400);
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" aria-hidden=\"true\" focusable=\"false\">"
    );
    for (secs, words) in SCALE {
        let y = level(secs);
        let _ = write!(
            out,
            "<path class=\"rule\" d=\"M{LEFT} {y}H{WIDTH}\"/><text class=\"scale\" x=\"{x}\" y=\"{base}\">{words}</text>",
            x = LEFT - 8,
            base = y + 4
        );
    }
    let every = (46_u64.div_ceil(step)).max(1);
    for (at, one) in (0_u64..).zip(spreads) {
        let x = LEFT + at * step + step / 2;
        for secs in &one.secs {
            let _ = write!(
                out,
                "<circle class=\"arrival\" cx=\"{x}\" cy=\"{}\" r=\"4\"/>",
                level(*secs)
            );
        }
        if let Some(median) = one.median() {
            let (y, from, to) = (level(median), x.saturating_sub(9), x + 9);
            let _ = write!(out, "<path class=\"median\" d=\"M{from} {y}H{to}\"/>");
        }
        if at.is_multiple_of(every) {
            let y = TOP + HEIGHT + 18;
            let _ = write!(
                out,
                "<text class=\"under\" x=\"{x}\" y=\"{y}\">{}</text>",
                one.release
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// Height in the picture of a time, from below: a minute or less is at the bottom.
fn level(secs: u64) -> u64 {
    let (least, most) = (SCALE[0].0 as f64, SCALE[SCALE.len() - 1].0 as f64);
    let secs = (secs as f64).clamp(least, most);
    let part = (secs / least).ln() / (most / least).ln();
    // Between 0 and HEIGHT, so that it fits.
    TOP + HEIGHT - (part * HEIGHT as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(release: u64, secs: &[u64]) -> ReleaseSpread {
        ReleaseSpread {
            channel: "stable".parse().unwrap(),
            release: ReleaseId(release),
            secs: secs.to_vec(),
        }
    }

    #[test]
    fn times_from_a_second_to_a_year_fit_and_longer_ones_are_higher() {
        let levels = [1, 60, 600, 3_600, 86_400, 2_592_000, 40_000_000].map(level);
        assert!(levels.is_sorted_by(|a, b| a >= b), "{levels:?}");
        assert_eq!((levels[0], levels[6]), (TOP + HEIGHT, TOP));
    }

    #[test]
    fn each_arrival_is_a_dot_and_half_of_them_are_below_the_line() {
        let one = spread(3, &[60, 90, 100, 4_000]);
        assert_eq!(one.median(), Some(90));
        assert_eq!(spread(1, &[]).median(), None);
        let svg = svg(&vec![one; 40]);
        assert_eq!(svg.matches("class=\"arrival\"").count(), 160);
        assert!(super::svg(&[]).is_empty());
    }
}
