//! The picture of a bisection: places down, factors across, a mark where a factor matters. Drawn on the
//! server as SVG; the stylesheet colours it. What the picture shows stands below it in words.

use crate::escape::write_visible;
use crate::text::listed;
use repo_model::bisection::{Bisection, Difference, Trial};
use std::fmt::Write as _;

/// Most places in the picture and in the words below it.
const PLACES: usize = 40;
/// Width of a factor's column and height of a place's row, pixels.
const CELL: usize = 30;
const ROW: usize = 26;
/// Room for the names of places and of factors.
const NAMES: usize = 290;
const TITLES: usize = 120;
/// Longest name of a place in the picture, characters.
const LONGEST: usize = 40;

/// A bisection for a page.
pub(crate) struct Picture {
    /// Markup of the SVG; everything in it is escaped.
    pub svg: String,
    /// What it shows, in words: place, what it depends on.
    pub words: Vec<(String, String)>,
    /// What was not tried, and why.
    pub not_tried: Vec<(String, String)>,
    /// Places left out.
    pub left_out: usize,
    pub repeatable: bool,
}

/// Draws a bisection.
pub(crate) fn picture(bisection: &Bisection) -> Picture {
    let shown = &bisection.differences[..bisection.differences.len().min(PLACES)];
    Picture {
        svg: svg(bisection, shown),
        words: shown
            .iter()
            .map(|place| (place.place.clone(), words(bisection, place)))
            .collect(),
        not_tried: bisection
            .factors
            .iter()
            .filter_map(|factor| Some((factor.title.clone(), factor.not_tried.clone()?)))
            .collect(),
        left_out: bisection.differences.len() - shown.len(),
        repeatable: bisection.repeatable,
    }
}

fn words(bisection: &Bisection, place: &Difference) -> String {
    let titles = |names: &[String]| {
        let title = |name: &String| {
            let factor = bisection.factors.iter().find(|factor| factor.name == *name);
            factor.map_or_else(|| name.clone(), |factor| factor.title.clone())
        };
        listed(&names.iter().map(title).collect::<Vec<_>>())
    };
    let mut parts = Vec::new();
    if !place.depends_on.is_empty() {
        parts.push(format!("changes with the {}", titles(&place.depends_on)));
    }
    if !place.still_under.is_empty() {
        parts.push(format!(
            "comes out the same when this is held: {}",
            titles(&place.still_under)
        ));
    }
    if parts.is_empty() && place.differs_anyway {
        parts.push("differs each time, whatever is held".to_owned());
    }
    parts.join("; ")
}

fn svg(bisection: &Bisection, shown: &[Difference]) -> String {
    let (columns, rows) = (bisection.factors.len(), shown.len());
    let (width, height) = (NAMES + columns * CELL + 60, TITLES + rows * ROW + 12);
    let mut out = String::with_capacity(1_000 + rows * columns * 60);
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<svg class=\"bisection\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"Which factor changes which file; in words below\">"
    );
    for (column, factor) in bisection.factors.iter().enumerate() {
        let x = NAMES + column * CELL + CELL / 2;
        let class = if factor.not_tried.is_some() {
            "factor off"
        } else {
            "factor"
        };
        let _ = write!(
            out,
            "<text class=\"{class}\" transform=\"translate({x} {y}) rotate(-50)\">",
            y = TITLES - 8
        );
        text(&mut out, &factor.name);
        out.push_str("</text>");
    }
    for (row, place) in shown.iter().enumerate() {
        let y = TITLES + row * ROW + ROW / 2;
        let _ = write!(
            out,
            "<path class=\"rule\" d=\"M0 {line}H{width}\"/><text class=\"place\" x=\"{x}\" y=\"{base}\">",
            line = y + ROW / 2,
            x = NAMES - 12,
            base = y + 4
        );
        text(&mut out, &shortened(&place.place));
        out.push_str("</text>");
        for (column, factor) in bisection.factors.iter().enumerate() {
            let x = NAMES + column * CELL + CELL / 2;
            let mark = match factor.trial {
                _ if factor.not_tried.is_some() => Mark::NotTried,
                Trial::Varied if place.depends_on.contains(&factor.name) => Mark::Depends,
                Trial::HeldStill if place.still_under.contains(&factor.name) => Mark::Still,
                Trial::Varied | Trial::HeldStill => Mark::Nothing,
            };
            mark.draw(&mut out, x, y);
        }
    }
    out.push_str("</svg>");
    out
}

enum Mark {
    Depends,
    Still,
    Nothing,
    NotTried,
}

impl Mark {
    fn draw(&self, out: &mut String, x: usize, y: usize) {
        // Writing into a String cannot fail.
        let _ = match self {
            Self::Depends => write!(
                out,
                "<circle class=\"depends\" cx=\"{x}\" cy=\"{y}\" r=\"8\"/>"
            ),
            Self::Still => write!(
                out,
                "<path class=\"still\" d=\"M{x} {} l8 8 -8 8 -8 -8z\"/>",
                y - 8
            ),
            Self::Nothing => write!(
                out,
                "<circle class=\"nothing\" cx=\"{x}\" cy=\"{y}\" r=\"2\"/>"
            ),
            Self::NotTried => write!(out, "<path class=\"off\" d=\"M{} {y}h8\"/>", x - 4),
        };
    }
}

fn text(out: &mut String, text: &str) {
    // Writing into a String cannot fail.
    let _ = write_visible(out, text);
}

/// The end of a long path tells more than its beginning.
fn shortened(place: &str) -> String {
    let count = place.chars().count();
    if count <= LONGEST {
        return place.to_owned();
    }
    let end: String = place.chars().skip(count - LONGEST + 1).collect();
    format!("…{end}")
}
