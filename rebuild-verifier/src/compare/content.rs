//! Detectors for the contents of one file: each tells whether it explains the difference, and how.

use super::diff::{self, Piece, quoted};
use super::files::Pair;
use super::{archive, clock};

/// Shortest piece that can be told from a small number by its look alone.
const MIN_RANDOM: usize = 8;
/// Detectors over binary numbers look at this many bytes at most.
const MAX_NUMBERS: usize = 4 << 20;

/// An ELF file that is equal but for its build-id note: what went into it differs somewhere that was
/// stripped, or the path did.
pub fn build_id(pair: &Pair<'_>) -> Option<String> {
    let (a, b) = (pair.expected, pair.rebuilt);
    (a != b && without_build_id(a)? == without_build_id(b)?).then(|| {
        "equal but for the build-id; debug data, the build path or another input differs".to_owned()
    })
}

/// An ELF file with its build-id notes zeroed: `namesz 4 | descsz | type 3 | "GNU\0" | id`.
pub fn without_build_id(bytes: &[u8]) -> Option<Vec<u8>> {
    const NOTE: &[u8] = b"\x03\0\0\0GNU\0";
    bytes.starts_with(b"\x7fELF").then_some(())?;
    let mut out = bytes.to_vec();
    let mut at = 8;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.windows(8).position(|window| window == NOTE))
    {
        let note = at + found;
        let length = usize::from(bytes[note - 4]);
        if bytes[note - 8..note - 4] == [4, 0, 0, 0]
            && bytes[note - 3..note] == [0, 0, 0]
            && length <= 64
        {
            let end = (note + 8 + length).min(out.len());
            out[note + 8..end].fill(0);
        }
        at = note + 8;
    }
    Some(out)
}

/// Containers whose members are equal.
pub fn archive_metadata(pair: &Pair<'_>) -> Option<String> {
    archive::only_metadata_differs(pair.expected, pair.rebuilt)
}

/// The same lines, or the same words, in another order.
pub fn order(pair: &Pair<'_>) -> Option<String> {
    let (a, b) = (pair.expected, pair.rebuilt);
    if a.len() != b.len() || !diff::is_text(a) || !diff::is_text(b) {
        return None;
    }
    fn sorted(mut items: Vec<&[u8]>) -> Vec<&[u8]> {
        items.sort_unstable();
        items
    }
    fn words(bytes: &[u8]) -> Vec<&[u8]> {
        let is_break = |b: &u8| b.is_ascii_whitespace() || b",;:(){}[]".contains(b);
        bytes
            .split(is_break)
            .filter(|word| !word.is_empty())
            .collect()
    }
    let unit = if sorted(diff::lines(a)) == sorted(diff::lines(b)) {
        "lines"
    } else if words(a) != words(b) && sorted(words(a)) == sorted(words(b)) {
        "words"
    } else {
        return None;
    };
    let first = pair.pieces.first().map(Piece::shown).unwrap_or_default();
    Some(format!("the same {unit} in another order: {first}"))
}

/// Both sides name the directory they were built in, and it is not the same.
pub fn build_path(pair: &Pair<'_>) -> Option<String> {
    let known = (
        pair.context.expected.build_path.as_deref(),
        pair.context.rebuilt.build_path.as_deref(),
    );
    if let (Some(a), Some(b)) = known {
        return own_fact(pair, Some(a), Some(b));
    }
    let before = |text: &[u8], marker: &[u8]| -> Option<Vec<u8>> {
        let at = text
            .windows(marker.len())
            .position(|window| window == marker)?;
        let start = text[..at]
            .iter()
            .rposition(|byte| is_break(*byte))
            .map_or(0, |at| at + 1);
        Some(text[start..at].to_vec())
    };
    first_piece(pair, |piece| {
        [&b"/BUILD/"[..], b"/BUILDROOT/", b"/rpmbuild/"]
            .iter()
            .any(|marker| {
                match (
                    before(&piece.expected, marker),
                    before(&piece.rebuilt, marker),
                ) {
                    (Some(a), Some(b)) => a != b,
                    _ => false,
                }
            })
    })
}

/// Whether a byte ends a word in which a path may stand.
fn is_break(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'=:;,()<>[]".contains(&byte)
}

/// Each side names its own machine.
pub fn host_name(pair: &Pair<'_>) -> Option<String> {
    own_fact(
        pair,
        pair.context.expected.host.as_deref(),
        pair.context.rebuilt.host.as_deref(),
    )
}

/// Each side names its own kernel.
pub fn kernel_version(pair: &Pair<'_>) -> Option<String> {
    own_fact(
        pair,
        pair.context.expected.kernel.as_deref(),
        pair.context.rebuilt.kernel.as_deref(),
    )
}

/// A piece in which each side has its own value of something that differs between the machines.
fn own_fact(pair: &Pair<'_>, expected: Option<&str>, rebuilt: Option<&str>) -> Option<String> {
    let (a, b) = (expected?, rebuilt?);
    if a == b || a.is_empty() || b.is_empty() {
        return None;
    }
    first_piece(pair, |piece| {
        contains(&piece.expected, a.as_bytes()) && contains(&piece.rebuilt, b.as_bytes())
    })
}

/// A date, a time or an epoch number that the rebuild's clock could have shown.
pub fn embedded_clock(pair: &Pair<'_>) -> Option<String> {
    let (built, rebuilt) = (pair.context.expected.window, pair.context.rebuilt.window);
    let in_text = pair.pieces.iter().find_map(|piece| {
        let (before, after) = clock::explain(&piece.expected, &piece.rebuilt, built, rebuilt)?;
        Some(format!(
            "built {}, rebuilt {}",
            quoted(before.as_bytes()),
            quoted(after.as_bytes())
        ))
    });
    in_text.or_else(|| binary_clock(pair))
}

/// A 32-bit number of seconds since 1970, in either byte order.
fn binary_clock(pair: &Pair<'_>) -> Option<String> {
    let (start, end) = pair.context.rebuilt.window?;
    let (a, b) = (pair.expected, pair.rebuilt);
    if a.len() != b.len() || a.len() > MAX_NUMBERS {
        return None;
    }
    let earlier = |secs: i64| (946_684_800..=end).contains(&secs);
    for region in diff::regions(a, b) {
        for at in region.start.saturating_sub(3)..region.end {
            let (Some(x), Some(y)) = (four(a, at), four(b, at)) else {
                continue;
            };
            for (before, after) in [
                (u32::from_le_bytes(x), u32::from_le_bytes(y)),
                (u32::from_be_bytes(x), u32::from_be_bytes(y)),
            ] {
                let (before, after) = (i64::from(before), i64::from(after));
                if before != after && (start - 2..=end + 2).contains(&after) && earlier(before) {
                    return Some(format!(
                        "at byte {at}: built {before}, rebuilt {after} (seconds since 1970)"
                    ));
                }
            }
        }
    }
    None
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

/// Both sides name something below a directory for temporary files, and it is not the same.
pub fn temporary_name(pair: &Pair<'_>) -> Option<String> {
    let names = |text: &[u8]| -> Vec<Vec<u8>> {
        let is_temporary = |word: &&[u8]| {
            [&b"/tmp/"[..], b"/tmp.", b"rpm-tmp."]
                .iter()
                .any(|part| contains(word, part))
        };
        text.split(|byte| is_break(*byte))
            .filter(is_temporary)
            .map(<[u8]>::to_vec)
            .collect()
    };
    first_piece(pair, |piece| {
        let (a, b) = (names(&piece.expected), names(&piece.rebuilt));
        !a.is_empty() && !b.is_empty() && a != b
    })
}

/// Pointers of a 64-bit process: `0x7f…`, `0x55…`, twelve digits.
pub fn address(pair: &Pair<'_>) -> Option<String> {
    let has_pointer = |text: &[u8]| {
        text.windows(14).any(|window| {
            let digits = &window[2..];
            window.starts_with(b"0x")
                && [&b"7f"[..], b"55", b"56"].contains(&&digits[..2])
                && digits.iter().all(u8::is_ascii_hexdigit)
        })
    };
    first_piece(pair, |piece| {
        has_pointer(&piece.expected) && has_pointer(&piece.rebuilt)
    })
}

/// A number that is each machine's number of processors.
pub fn cpu_count(pair: &Pair<'_>) -> Option<String> {
    let (a, b) = (pair.context.expected.ncpu?, pair.context.rebuilt.ncpu?);
    if a == b {
        return None;
    }
    first_piece(pair, |piece| {
        let (before, after) = (numbers(&piece.expected), numbers(&piece.rebuilt));
        // The same text but for its numbers, so that it is one number that changed.
        let same_text = before
            .iter()
            .map(|(text, _)| text)
            .eq(after.iter().map(|(text, _)| text));
        let is = |digits: &[u8], count: u32| digits == count.to_string().as_bytes();
        same_text
            && before
                .iter()
                .zip(&after)
                .any(|((_, old), (_, new))| is(old, a) && is(new, b))
    })
}

/// A text as pairs of what stands before a number, and the number's digits (none at the end).
fn numbers(text: &[u8]) -> Vec<(&[u8], &[u8])> {
    text.chunk_by(|a, b| !a.is_ascii_digit() || b.is_ascii_digit())
        .map(|part| {
            let digits = part
                .iter()
                .rposition(|byte| !byte.is_ascii_digit())
                .map_or(0, |at| at + 1);
            part.split_at(digits)
        })
        .collect()
}

/// Runs of equal length that look drawn by lot.
pub fn random(pair: &Pair<'_>) -> Option<String> {
    first_piece(pair, |piece| {
        let (a, b) = piece.core();
        a.len().abs_diff(b.len()) <= 2 && looks_random(a) && looks_random(b)
    })
}

fn looks_random(bytes: &[u8]) -> bool {
    if bytes.len() < MIN_RANDOM {
        return false;
    }
    let mut seen = [false; 256];
    bytes
        .iter()
        .for_each(|byte| seen[usize::from(*byte)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    let of = |test: fn(&u8) -> bool| bytes.iter().all(test);
    let is_token = of(|b| b.is_ascii_alphanumeric() || b"-_+/=".contains(b));
    let has_digits = bytes.iter().filter(|b| b.is_ascii_digit()).count() * 10 >= bytes.len();
    if of(|b| b.is_ascii_hexdigit() || *b == b'-') {
        return distinct >= 5;
    }
    if is_token {
        return (has_digits || changes_kind_often(bytes)) && distinct * 2 >= bytes.len().min(24);
    }
    // Raw bytes: as many different ones as chance gives, and not text.
    !of(|b| b.is_ascii_graphic() || *b == b' ')
        && bytes.len() >= 12
        && distinct * 3 >= bytes.len().min(96) * 2
}

/// Whether capitals, small letters and digits follow each other as they do by chance, and do not in
/// words: at two of five places at least.
fn changes_kind_often(bytes: &[u8]) -> bool {
    let kind = |byte: &u8| match byte {
        b'A'..=b'Z' => 0,
        b'a'..=b'z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let kinds: Vec<u8> = bytes.iter().map(kind).collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (0..3).all(|kind| kinds.contains(&kind)) && changes * 5 >= bytes.len() * 2
}

/// The last row: whatever is left.
pub fn unknown(pair: &Pair<'_>) -> Option<String> {
    let (a, b) = (pair.expected.len(), pair.rebuilt.len());
    let sizes = if a == b {
        String::new()
    } else {
        format!("{a} bytes built, {b} bytes rebuilt; ")
    };
    let first = pair
        .pieces
        .first()
        .map_or_else(|| "no text differs".to_owned(), Piece::shown);
    Some(format!("{sizes}{first}"))
}

fn first_piece(pair: &Pair<'_>, explains: impl Fn(&Piece) -> bool) -> Option<String> {
    pair.pieces
        .iter()
        .find(|piece| explains(piece))
        .map(Piece::shown)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_with_the_text_before_them() {
        let found = numbers(b"12 jobs -j2, 3 left");
        let shown: Vec<(&str, &str)> = found
            .iter()
            .map(|(text, digits)| {
                (
                    std::str::from_utf8(text).unwrap(),
                    std::str::from_utf8(digits).unwrap(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [("", "12"), (" jobs -j", "2"), (", ", "3"), (" left", "")]
        );
    }

    #[test]
    fn what_is_drawn_by_lot_is_told_from_words() {
        for random in [
            &b"5f2b8e0c-93d1-4a7e"[..],
            b"JaXNQGRcQmVCJlmggxMIhQDjBaoPTJ7Gl8gQ",
            b"mIw11rOmzUkgNoJt",
        ] {
            assert!(looks_random(random), "{}", random.escape_ascii());
        }
        for word in [
            &b"version"[..],
            b"initialiseEverything2Times",
            b"one thing after another",
            b"short1",
        ] {
            assert!(!looks_random(word), "{}", word.escape_ascii());
        }
    }
}
