//! Text must be readable in both themes: WCAG 2.2 AA wants a contrast of 4.5 to 1.

use std::collections::BTreeMap;

/// Text and the ground it stands on, as the stylesheet uses them.
const PAIRS: &[(&str, &str)] = &[
    ("ink", "paper"),
    ("ink", "card"),
    ("ink", "sunk"),
    ("ink", "silver-2"),
    ("faint", "paper"),
    ("faint", "card"),
    ("faint", "sunk"),
    ("accent", "paper"),
    ("accent", "card"),
    ("card", "accent"),
    ("good", "good-ground"),
    ("good", "paper"),
    ("good", "card"),
    ("busy", "busy-ground"),
    ("busy", "paper"),
    ("busy", "card"),
    ("idle", "idle-ground"),
    ("idle", "paper"),
    ("idle", "card"),
    ("warn", "warn-ground"),
    ("warn", "card"),
    ("warn", "paper"),
    ("bad", "bad-ground"),
    ("bad", "card"),
    ("bad", "paper"),
    ("good", "sunk"),
    ("bad", "sunk"),
    ("accent", "sunk"),
];

fn colours(block: &str) -> BTreeMap<&str, f64> {
    block
        .lines()
        .filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
            let value = u32::from_str_radix(value.strip_suffix(';')?, 16).ok()?;
            Some((name, luminance(value)))
        })
        .collect()
}

fn luminance(rgb: u32) -> f64 {
    let channel = |shift: u32| {
        let value = f64::from((rgb >> shift) & 0xff) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
}

#[test]
fn every_text_has_enough_contrast_in_light_and_dark() {
    let style = web::assets()
        .iter()
        .find(|asset| asset.media_type.starts_with("text/css"))
        .unwrap();
    let css = str::from_utf8(style.bytes).unwrap();
    let (light, rest) = css
        .split_once("@media (prefers-color-scheme: dark)")
        .unwrap();
    let dark = rest.split_once("\n}\n").unwrap().0;
    for (theme, block) in [("light", light), ("dark", dark)] {
        let colours = colours(block);
        for (text, ground) in PAIRS {
            let (a, b) = (colours[text], colours[ground]);
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(
                contrast >= 4.5,
                "{theme}: {text} on {ground} is only {contrast:.2} to 1"
            );
        }
    }
}
