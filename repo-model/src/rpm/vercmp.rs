//! Comparison of version texts as rpm does it, `~` and `^` included (rpm `rpmio/rpmvercmp.c`).

use std::cmp::Ordering;

/// Compares two version or release texts (not whole EVRs).
///
/// Both are cut into runs of ASCII digits and runs of ASCII letters; everything else only
/// separates, but for `~` (sorts before anything, even the end) and `^` (after the end, before
/// anything else). Digits beat letters; digits compare as numbers of any length.
pub fn vercmp(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        a = skip_separators(a);
        b = skip_separators(b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                a = &a[1..];
                b = &b[1..];
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, _) | (_, None) => break,
            (Some(_), Some(_)) => {}
        }
        let is_number = a[0].is_ascii_digit();
        let (run_a, rest_a) = split_run(a, is_number);
        let (run_b, rest_b) = split_run(b, is_number);
        if run_b.is_empty() {
            return if is_number {
                Ordering::Greater
            } else {
                Ordering::Less
            };
        }
        let order = if is_number {
            compare_numbers(run_a, run_b)
        } else {
            run_a.cmp(run_b)
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().min(1).cmp(&b.len().min(1))
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let matters = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
    let start = text.iter().position(matters).unwrap_or(text.len());
    &text[start..]
}

fn split_run(text: &[u8], is_number: bool) -> (&[u8], &[u8]) {
    let belongs = |byte: &u8| {
        if is_number {
            byte.is_ascii_digit()
        } else {
            byte.is_ascii_alphabetic()
        }
    };
    let end = text
        .iter()
        .position(|byte| !belongs(byte))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let trim = |digits: &[u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    let (a, b) = (&a[trim(a)..], &b[trim(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The version of a dependency taken apart: `[epoch:]version[-release]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvrText<'a> {
    /// What stands before the first `:`; `Some("")` for `:1.0`, which means 0.
    pub epoch: Option<&'a str>,
    /// Up to the first `-` after the epoch.
    pub version: &'a str,
    /// After that `-`; `None` without one.
    pub release: Option<&'a str>,
}

/// Takes apart `[epoch:]version[-release]`: the epoch ends at the first `:`, the release starts at
/// the first `-` behind it. Never fails; use [`EvrText::epoch_number`] to learn whether the epoch
/// is a number.
pub fn parse_evr(text: &str) -> EvrText<'_> {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, text),
    };
    let (version, release) = match rest.split_once('-') {
        Some((version, release)) => (version, Some(release)),
        None => (rest, None),
    };
    EvrText {
        epoch,
        version,
        release,
    }
}

impl EvrText<'_> {
    /// The epoch as a number: 0 when there is none or it is empty, `None` when it is no `u32`.
    pub fn epoch_number(&self) -> Option<u32> {
        match self.epoch {
            None | Some("") => Some(0),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
        }
    }
}
