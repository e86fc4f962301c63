//! The small picture for READMEs: `hallmark | reproduced 2/2`. All its words are ours.

use crate::text::agreement;
use repo_model::policy::Reason;
use repo_model::stage::Stage;
use repo_model::wire::status::BuildStatus;

/// An SVG image, 20 pixels high, that tells how `build` fares.
pub fn badge_svg(build: &BuildStatus) -> String {
    let agreement = agreement(build);
    let (confirmed, all) = (agreement.confirmed, agreement.rebuilders);
    let different = |reason: &Reason| matches!(reason, Reason::RebuildDiffers { .. });
    let (words, colour) = match &build.stage {
        Stage::Approved | Stage::Signed | Stage::Published { .. } => {
            (format!("reproduced {confirmed}/{all}"), "#1d6b45")
        }
        Stage::Received => (format!("rebuilding {confirmed}/{all}"), "#3d566e"),
        Stage::Held { reasons } if reasons.iter().any(different) => {
            (format!("not reproduced {confirmed}/{all}"), "#8a5200")
        }
        Stage::Held { .. } => ("held".to_owned(), "#8a5200"),
        Stage::Rejected { .. } => ("rejected".to_owned(), "#9c2a2a"),
    };
    draw(&words, colour)
}

const LABEL: &str = "hallmark";
const PADDING: u32 = 7;

fn draw(words: &str, colour: &str) -> String {
    let left = text_width(LABEL) + 2 * PADDING;
    let right = text_width(words) + 2 * PADDING;
    let width = left + right;
    let (left_middle, right_middle) = (left / 2, left + right / 2);
    let (label_width, words_width) = (text_width(LABEL), text_width(words));
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" viewBox="0 0 {width} 20" role="img" aria-label="{LABEL}: {words}"><title>{LABEL}: {words}</title><path fill="#2b3036" d="M3 0h{}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z"/><path fill="{colour}" d="M{left} 0h{}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{}z"/><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"><text x="{left_middle}" y="14" textLength="{label_width}">{LABEL}</text><text x="{right_middle}" y="14" textLength="{words_width}">{words}</text></g></svg>"##,
        left - 3,
        right - 3,
        right - 3,
    )
}

/// Pixels that `text` takes in an 11 px Verdana, about; `textLength` evens out the rest.
fn text_width(text: &str) -> u32 {
    let tenths = |c: char| match c {
        'i' | 'l' | 'j' => 31,
        ' ' | '/' | 'f' | 't' | 'r' => 44,
        'm' | 'w' => 98,
        _ => 68,
    };
    text.chars().map(tenths).sum::<u32>().div_ceil(10)
}
