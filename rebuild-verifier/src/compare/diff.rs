//! Where two versions of one file differ: pairs of short pieces, for classifying and for showing.

use std::collections::HashMap;
use std::ops::Range;

/// Most pairs that are looked at in one file.
const MAX_PIECES: usize = 64;
/// Longest piece, bytes.
const MAX_PIECE: usize = 400;
/// Differing bytes closer than this belong together.
const GAP: usize = 8;
/// Shortest printable run that counts as text in a binary.
const MIN_RUN: usize = 4;

/// What stands in one place of the two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// In the expected file, with the text around it.
    pub expected: Vec<u8>,
    /// In the rebuilt file.
    pub rebuilt: Vec<u8>,
}

impl Piece {
    /// Both sides without what they have in common at start and end.
    pub fn core(&self) -> (&[u8], &[u8]) {
        let (a, b) = (&self.expected[..], &self.rebuilt[..]);
        let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let (a, b) = (&a[start..], &b[start..]);
        let end = a
            .iter()
            .rev()
            .zip(b.iter().rev())
            .take_while(|(x, y)| x == y)
            .count();
        (&a[..a.len() - end], &b[..b.len() - end])
    }

    /// For people, escaped and cut: `built "…", rebuilt "…"`.
    pub fn shown(&self) -> String {
        format!(
            "built {}, rebuilt {}",
            quoted(&self.expected),
            quoted(&self.rebuilt)
        )
    }
}

/// Bytes as a short quoted text; what does not print is escaped.
pub fn quoted(bytes: &[u8]) -> String {
    const LIMIT: usize = 100;
    let cut = &bytes[..bytes.len().min(LIMIT)];
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => cut.escape_ascii().to_string(),
    };
    let more = if bytes.len() > LIMIT { "…" } else { "" };
    format!("\"{text}{more}\"")
}

/// Ranges of bytes that differ in two versions of equal length; near ones are joined.
pub fn regions(a: &[u8], b: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in a.iter().zip(b).enumerate().filter(|(_, (x, y))| x != y) {
        let is_full = found.len() == MAX_PIECES;
        match found.last_mut() {
            Some(last) if at - last.end < GAP => last.end = at + 1,
            _ if is_full => break,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// The pieces in which two versions differ, in order, the first [`MAX_PIECES`].
pub fn pieces(a: &[u8], b: &[u8]) -> Vec<Piece> {
    if a.len() == b.len() {
        let piece = |region: Range<usize>| {
            let region = widen(a, b, region);
            Piece {
                expected: a[region.clone()].to_vec(),
                rebuilt: b[region].to_vec(),
            }
        };
        return regions(a, b).into_iter().map(piece).collect();
    }
    let split = |bytes| {
        if is_text(a) && is_text(b) {
            lines(bytes)
        } else {
            runs(bytes)
        }
    };
    unmatched(&split(a), &split(b))
}

/// Grows a region to the printable text around it on both sides.
fn widen(a: &[u8], b: &[u8], region: Range<usize>) -> Range<usize> {
    let prints = |at: usize| printable(a[at]) && printable(b[at]);
    let mut start = region.start;
    while start > 0 && region.start - start < MAX_PIECE / 4 && prints(start - 1) {
        start -= 1;
    }
    let mut end = region.end.min(region.start + MAX_PIECE / 2);
    let limit = end + MAX_PIECE / 4;
    while end < a.len() && end < limit && prints(end) {
        end += 1;
    }
    start..end
}

fn printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) || byte >= 0x80
}

/// Whether the content is text: no NUL among the first bytes.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes[..bytes.len().min(8_000)].contains(&0)
}

/// Lines without their ends.
pub fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|b| *b == b'\n').collect()
}

/// Printable runs of a binary.
fn runs(bytes: &[u8]) -> Vec<&[u8]> {
    bytes
        .split(|b| !(b' '..=b'~').contains(b))
        .filter(|run| run.len() >= MIN_RUN)
        .collect()
}

/// Pairs what only one side has, in order.
fn unmatched(a: &[&[u8]], b: &[&[u8]]) -> Vec<Piece> {
    let only = |these: &[&[u8]], those: &[&[u8]]| -> Vec<Vec<u8>> {
        let mut spare: HashMap<&[u8], usize> = HashMap::new();
        for item in those {
            *spare.entry(item).or_default() += 1;
        }
        let is_new = |item: &&&[u8]| match spare.get_mut(**item) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        let cut = |item: &&[u8]| item[..item.len().min(MAX_PIECE)].to_vec();
        these
            .iter()
            .filter(is_new)
            .take(MAX_PIECES)
            .map(cut)
            .collect()
    };
    let (mut only_a, mut only_b) = (only(a, b), only(b, a));
    let count = only_a.len().max(only_b.len());
    only_a.resize(count, Vec::new());
    only_b.resize(count, Vec::new());
    only_a
        .into_iter()
        .zip(only_b)
        .map(|(expected, rebuilt)| Piece { expected, rebuilt })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_equal_length_come_with_the_text_around_them() {
        let found = pieces(b"\0\0built 10:00:01 UTC\0xx", b"\0\0built 10:03:11 UTC\0xx");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].expected, b"built 10:00:01 UTC");
        assert_eq!(found[0].core(), (&b"0:0"[..], &b"3:1"[..]));
    }

    #[test]
    fn lines_that_moved_do_not_count_when_lengths_differ() {
        let found = pieces(b"a\nb\nc 1\n", b"b\na\nc 22\n");
        assert_eq!(
            found,
            [Piece {
                expected: b"c 1".to_vec(),
                rebuilt: b"c 22".to_vec()
            }]
        );
    }

    #[test]
    fn strange_bytes_are_shown_escaped_and_cut() {
        assert_eq!(quoted(b"a\0\"\n\xff"), "\"a\\x00\\\"\\n\\xff\"");
        assert!(quoted(&[b'x'; 500]).len() < 120);
    }
}
