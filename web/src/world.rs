//! Mirrors on a bare grid of latitudes and longitudes (equirectangular): no tiles of anybody's, no coastlines. A
//! table beside it says the same by country.

use repo_model::wire::mirrors::{Health, MirrorStatus};
use std::fmt::Write as _;

const WIDTH: i32 = 720;
const HEIGHT: i32 = 360;

/// The picture; hidden from screen readers, which have the table. Empty when no mirror says where it is.
pub(crate) fn svg(mirrors: &[MirrorStatus]) -> String {
    let placed: Vec<_> = mirrors
        .iter()
        .filter_map(|one| Some((one, one.coordinates?)))
        .collect();
    if placed.is_empty() {
        return String::new();
    }
    let mut out = String::with_capacity(1_500 + placed.len() * 100);
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<svg class=\"plot world\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-hidden=\"true\" focusable=\"false\">"
    );
    for east in (-150..=150).step_by(30) {
        let (x, _) = place(0.0, f32::from(i16::try_from(east).unwrap_or(0)));
        let _ = write!(out, "<path class=\"rule\" d=\"M{x} 0V{HEIGHT}\"/>");
    }
    for north in (-60..=60).step_by(30) {
        let (_, y) = place(f32::from(i16::try_from(north).unwrap_or(0)), 0.0);
        let name = match north {
            0 => "equator".to_owned(),
            1.. => format!("{north}° N"),
            _ => format!("{}° S", -north),
        };
        let _ = write!(
            out,
            "<path class=\"rule\" d=\"M0 {y}H{WIDTH}\"/><text x=\"4\" y=\"{}\">{name}</text>",
            y - 4
        );
    }
    for (one, (north, east)) in placed {
        let (x, y) = place(north, east);
        let class = match one.health {
            Health::Listed => "agreed",
            Health::New => "nobody",
            Health::Dropped => "kept",
        };
        // Names are of letters, digits and `-_.` only.
        let _ = write!(
            out,
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"6\"/><text x=\"{}\" y=\"{}\">{}</text>",
            x + 9,
            y + 4,
            one.name
        );
    }
    out.push_str("</svg>");
    out
}

/// Degrees north and east to pixels; what is out of the world comes to its edge.
fn place(north: f32, east: f32) -> (i32, i32) {
    let x = ((east.clamp(-180.0, 180.0) + 180.0) * 2.0).round() as i32;
    let y = ((90.0 - north.clamp(-90.0, 90.0)) * 2.0).round() as i32;
    (x.clamp(0, WIDTH), y.clamp(0, HEIGHT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_where_they_belong_and_never_off_the_map() {
        assert_eq!(place(0.0, 0.0), (360, 180));
        assert_eq!(place(90.0, -180.0), (0, 0));
        assert_eq!(place(-90.0, 180.0), (720, 360));
        assert_eq!(place(1e9, f32::NEG_INFINITY), (0, 0));
        let (x, y) = place(f32::NAN, f32::NAN);
        assert!((0..=WIDTH).contains(&x) && (0..=HEIGHT).contains(&y));
    }
}
