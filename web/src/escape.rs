//! The one escaper of all templates. Beside the five characters of HTML it deals with those that
//! deceive the eye: control, zero-width and direction-changing characters come out as `⟨U+202E⟩`.

use askama::filters::Escaper;
use std::fmt::{self, Write};

/// Escapes for HTML text and quoted attribute values, and shows what would be invisible.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        write_visible(&mut dest, text)
    }
}

/// Writes `text` escaped.
pub(crate) fn write_visible<W: Write + ?Sized>(dest: &mut W, text: &str) -> fmt::Result {
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        let entity = match c {
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            '&' => Some("&amp;"),
            '"' => Some("&#34;"),
            '\'' => Some("&#39;"),
            _ => None,
        };
        if entity.is_none() && !deceives(c) {
            continue;
        }
        dest.write_str(&text[plain_from..at])?;
        match entity {
            Some(entity) => dest.write_str(entity)?,
            None => write!(dest, "⟨U+{:04X}⟩", u32::from(c))?,
        }
        plain_from = at + c.len_utf8();
    }
    dest.write_str(&text[plain_from..])
}

/// Whether `c` has no picture of its own but changes how its neighbours look, or may not stand in
/// HTML at all. Line feed and tab are harmless.
fn deceives(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        ' '..='~' => false,
        _ => matches!(c,
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        write_visible(&mut out, text).unwrap();
        out
    }

    #[test]
    fn markup_and_invisible_characters_come_out_as_harmless_text() {
        for (text, want) in [
            ("", ""),
            ("plain text, Grüße, 日本語", "plain text, Grüße, 日本語"),
            (
                "<a href=\"x\" b='y'>&",
                "&lt;a href=&#34;x&#34; b=&#39;y&#39;&gt;&amp;",
            ),
            ("gpj\u{202e}.exe", "gpj⟨U+202E⟩.exe"),
            ("a\0b\u{1b}[2J\rc", "a⟨U+0000⟩b⟨U+001B⟩[2J⟨U+000D⟩c"),
            ("open\u{200b}ssl\u{feff}", "open⟨U+200B⟩ssl⟨U+FEFF⟩"),
            ("two\nlines\tand tab", "two\nlines\tand tab"),
        ] {
            assert_eq!(escaped(text), want);
        }
    }
}
