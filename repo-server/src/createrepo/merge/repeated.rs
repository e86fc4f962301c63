//! Files that an element of filelists names twice, which naive readers would list twice: the first stays.

use mirrors::reading::{Token, XmlError, XmlReader};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// The element of a package without `file` elements that repeat the path of another.
pub(super) fn without_repeated_files(element: &[u8]) -> Result<Cow<'_, [u8]>, XmlError> {
    if !may_repeat(element) {
        return Ok(Cow::Borrowed(element));
    }
    let mut kept = Vec::with_capacity(element.len());
    let mut from = 0;
    for span in repeated(element)? {
        kept.extend_from_slice(element.get(from..span.start).unwrap_or_default());
        from = span.end;
    }
    kept.extend_from_slice(element.get(from..).unwrap_or_default());
    Ok(Cow::Owned(kept))
}

/// A quick look: whether two pieces between tags are equal bytes, or a reference could hide that they are equal.
fn may_repeat(element: &[u8]) -> bool {
    let mut seen = HashSet::new();
    let pieces = element.split(|byte| *byte == b'>').skip(1);
    let texts = pieces.filter_map(|piece| {
        let end = piece.iter().position(|byte| *byte == b'<')?;
        Some(piece[..end].trim_ascii())
    });
    let mut texts = texts.filter(|text| !text.is_empty());
    texts.any(|text| text.contains(&b'&') || !seen.insert(text))
}

fn repeated(element: &[u8]) -> Result<Vec<Range<usize>>, XmlError> {
    let mut xml = XmlReader::new(element);
    let (mut seen, mut spans) = (HashSet::new(), Vec::new());
    loop {
        match xml.next()? {
            Token::Start(start) if start.name() == "file" => {
                let from = xml.start_offset();
                if !seen.insert(xml.text()?) {
                    // Offsets in a slice are those of its bytes.
                    spans.push(from as usize..xml.end_offset() as usize);
                }
            }
            Token::Eof => return Ok(spans),
            Token::Start(_) | Token::End | Token::Text(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_path_the_first_entry_stays() {
        for (files, left) in [
            (
                "<file>/a</file><file>/b</file>",
                "<file>/a</file><file>/b</file>",
            ),
            (
                "<file>/a</file>\n<file>/b</file><file>/a</file>",
                "<file>/a</file>\n<file>/b</file>",
            ),
            (
                "<file>/a&amp;b</file><file type=\"dir\">/a&#38;b</file>",
                "<file>/a&amp;b</file>",
            ),
            ("", ""),
        ] {
            let element = format!("<package pkgid=\"x\"><version ver=\"1\"/>{files}</package>");
            let wanted = format!("<package pkgid=\"x\"><version ver=\"1\"/>{left}</package>");
            let found = without_repeated_files(element.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&found), wanted);
        }
        assert!(without_repeated_files(b"<p><file>/a</file><file>/a</file>").is_err());
    }
}
