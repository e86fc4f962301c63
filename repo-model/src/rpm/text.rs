//! Header bytes to text without losing any.

/// Valid UTF-8 stays; anything else is read as Latin-1, byte for byte, so nothing is lost.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The same, but the literal `(none)` and the empty text count as absent.
pub(super) fn present(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty() && bytes != b"(none)").then(|| text(bytes))
}

/// Appends what [`text`] makes of the bytes.
pub(super) fn push_text(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => out.push_str(text),
        Err(_) => out.extend(bytes.iter().map(|byte| char::from(*byte))),
    }
}
