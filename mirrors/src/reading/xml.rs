//! Reading XML that may be hostile: no document types, no entities but the five predefined ones,
//! bounded depth and token size, no characters that XML forbids. Nothing here knows about
//! repositories.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use std::io::{self, BufRead, Read};

/// Deepest nesting that is read; repository metadata has 4 to 8.
const DEPTH_MAX: usize = 32;
/// Longest tag or text; the largest changelog entries and descriptions have some hundred kilobytes.
const TOKEN_MAX_BYTES: u64 = 16 << 20;

/// A document cannot be read; the document's fault unless the problem is `Read`.
#[derive(Debug, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct XmlError {
    /// Bytes from the start of the document, decompressed.
    pub offset: u64,
    /// What is wrong.
    #[source]
    pub problem: XmlProblem,
}

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum XmlProblem {
    /// Not well-formed, or cut off while a tag was open.
    #[error("not well-formed: {0}")]
    Malformed(String),
    /// The bytes could not be read or decompressed.
    #[error("cannot be read: {0}")]
    Read(#[source] std::sync::Arc<io::Error>),
    /// `<!DOCTYPE x [...]>`: the way to entity bombs, and in no metadata. One that only names a public
    /// document type, as comps files have it, is passed over; nothing is ever fetched for it.
    #[error("it has a document type with declarations of its own")]
    DocumentType,
    /// `&name;` that is not predefined.
    #[error("it uses the unknown entity `{0}`")]
    Entity(String),
    /// A character that XML 1.0 forbids.
    #[error("it holds the forbidden character U+{0:04X}")]
    Character(u32),
    /// More levels than any metadata has.
    #[error("its elements nest deeper than {DEPTH_MAX}")]
    Depth,
    /// One tag or text beyond all measure.
    #[error("a tag or text is longer than {TOKEN_MAX_BYTES} bytes")]
    TokenSize,
    /// An attribute or element that must be there is not, or has no use.
    #[error("{0}")]
    Meaning(String),
}

/// A piece of a document.
pub enum Token {
    /// A start tag; `<a/>` gives a start and an end.
    Start(Start),
    /// The end of the innermost element.
    End,
    /// Text inside the innermost element; one text may come in several pieces.
    Text(String),
    /// The end of the document.
    Eof,
}

/// A start tag.
pub struct Start {
    tag: BytesStart<'static>,
    offset: u64,
}

impl Start {
    /// The name without its namespace prefix.
    pub fn name(&self) -> &str {
        self.tag.local_name().into_inner()
    }

    /// The value of an attribute, prefix included in its name (`xml:base`).
    pub fn attribute(&self, name: &str) -> Result<Option<String>, XmlError> {
        let fail = |problem| XmlError {
            offset: self.offset,
            problem,
        };
        for attribute in self.tag.attributes() {
            let attribute =
                attribute.map_err(|error| fail(XmlProblem::Malformed(error.to_string())))?;
            if attribute.key.as_ref() == name {
                let value = quick_xml::escape::unescape(&attribute.value)
                    .map_err(|error| fail(XmlProblem::Malformed(error.to_string())))?;
                check_characters(&value).map_err(fail)?;
                return Ok(Some(value.into_owned()));
            }
        }
        Ok(None)
    }

    /// The value of an attribute that must be there.
    pub fn required(&self, name: &str) -> Result<String, XmlError> {
        self.attribute(name)?.ok_or_else(|| XmlError {
            offset: self.offset,
            problem: XmlProblem::Meaning(format!("`{}` has no `{name}`", self.name())),
        })
    }

    /// A decimal number in an attribute; none when it is absent.
    pub fn number(&self, name: &str) -> Result<Option<u64>, XmlError> {
        let Some(text) = self.attribute(name)? else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(XmlError {
                offset: self.offset,
                problem: XmlProblem::Meaning(format!(
                    "`{name}` of `{}` is `{}`, want a number",
                    self.name(),
                    shortened(&text)
                )),
            }),
        }
    }
}

/// At most 80 characters of a text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Ends a token that would fill the memory.
struct Budget<R> {
    inner: R,
    left_bytes: u64,
}

impl<R: BufRead> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl<R: BufRead> BufRead for Budget<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left_bytes == 0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.left_bytes = self.left_bytes.saturating_sub(count as u64);
        self.inner.consume(count);
    }
}

/// A pull reader over one document.
pub struct XmlReader<R> {
    reader: Reader<Budget<R>>,
    buffer: Vec<u8>,
    depth: usize,
    /// `<a/>` was given as a start; its end comes next.
    empty: bool,
    had_root: bool,
    start_offset: u64,
}

impl<R: BufRead> XmlReader<R> {
    /// Starts at the beginning of a document.
    pub fn new(inner: R) -> Self {
        let mut reader = Reader::from_reader(Budget {
            inner,
            left_bytes: TOKEN_MAX_BYTES,
        });
        reader.config_mut().check_comments = true;
        Self {
            reader,
            buffer: Vec::new(),
            depth: 0,
            empty: false,
            had_root: false,
            start_offset: 0,
        }
    }

    /// Where the last token starts, bytes from the start of the document.
    pub fn start_offset(&self) -> u64 {
        self.start_offset
    }

    /// Where the last token ends.
    pub fn end_offset(&self) -> u64 {
        self.reader.buffer_position()
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// An error about the meaning of what was just read.
    pub fn fault(&self, text: impl Into<String>) -> XmlError {
        XmlError {
            offset: self.start_offset,
            problem: XmlProblem::Meaning(text.into()),
        }
    }

    /// The next piece. Comments, processing instructions and the declaration are left out.
    #[expect(
        clippy::should_implement_trait,
        reason = "no iterator: it ends with a token, and callers stop at an error"
    )]
    pub fn next(&mut self) -> Result<Token, XmlError> {
        if self.empty {
            self.empty = false;
            self.depth -= 1;
            return Ok(Token::End);
        }
        loop {
            self.start_offset = self.reader.buffer_position();
            let offset = self.start_offset;
            let fail = |problem| Err(XmlError { offset, problem });
            self.buffer.clear();
            self.reader.get_mut().left_bytes = TOKEN_MAX_BYTES;
            let kind = match self.reader.read_event_into(&mut self.buffer) {
                Ok(Event::Start(tag)) => Kind::Start(tag.into_owned()),
                Ok(Event::Empty(tag)) => Kind::Empty(tag.into_owned()),
                Ok(Event::End(_)) => Kind::End,
                Ok(Event::Text(text)) if text.contains("]]>") => {
                    return fail(XmlProblem::Malformed("`]]>` stands in a text".to_owned()));
                }
                Ok(Event::Text(text)) => Kind::Text(text.xml10_content().into_owned()),
                Ok(Event::CData(text)) => Kind::Text(text.xml10_content().into_owned()),
                Ok(Event::GeneralRef(name)) => match resolve(&name) {
                    Ok(text) => Kind::Text(text),
                    Err(problem) => return fail(problem),
                },
                Ok(Event::Eof) => Kind::Eof,
                Ok(Event::DocType(text)) if self.had_root || text.contains('[') => {
                    return fail(XmlProblem::DocumentType);
                }
                Ok(Event::Decl(_)) if self.had_root => {
                    let text = "an XML declaration stands inside it".to_owned();
                    return fail(XmlProblem::Malformed(text));
                }
                Ok(Event::DocType(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => {
                    continue;
                }
                Err(quick_xml::Error::Io(error))
                    if error.kind() == io::ErrorKind::QuotaExceeded =>
                {
                    return fail(XmlProblem::TokenSize);
                }
                Err(quick_xml::Error::Io(error)) => return fail(XmlProblem::Read(error)),
                Err(error) => return fail(XmlProblem::Malformed(error.to_string())),
            };
            self.empty = matches!(kind, Kind::Empty(_));
            return self.token(kind);
        }
    }

    fn token(&mut self, kind: Kind) -> Result<Token, XmlError> {
        let offset = self.start_offset;
        let fail = |problem| Err(XmlError { offset, problem });
        match kind {
            Kind::Start(tag) | Kind::Empty(tag) => {
                if self.depth >= DEPTH_MAX {
                    return fail(XmlProblem::Depth);
                }
                if let Err(problem) = check_tag(&tag) {
                    return fail(problem);
                }
                if self.depth == 0 && self.had_root {
                    return fail(XmlProblem::Malformed("a second root element".to_owned()));
                }
                self.had_root = true;
                self.depth += 1;
                Ok(Token::Start(Start { tag, offset }))
            }
            Kind::End => {
                self.depth -= 1;
                Ok(Token::End)
            }
            Kind::Text(text) => {
                if let Err(problem) = check_characters(&text) {
                    return fail(problem);
                }
                if self.depth == 0 && !text.trim().is_empty() {
                    return fail(XmlProblem::Malformed(
                        "text outside the root element".to_owned(),
                    ));
                }
                Ok(Token::Text(text))
            }
            Kind::Eof if self.depth > 0 => fail(XmlProblem::Malformed(format!(
                "it ends inside {} open elements",
                self.depth
            ))),
            Kind::Eof if !self.had_root => {
                fail(XmlProblem::Malformed("it has no element".to_owned()))
            }
            Kind::Eof => Ok(Token::Eof),
        }
    }

    /// All text of the element whose start was just read, up to its end; elements inside are left
    /// out.
    pub fn text(&mut self) -> Result<String, XmlError> {
        let depth = self.depth;
        let mut text = String::new();
        loop {
            let inside = self.depth;
            match self.next()? {
                Token::Text(piece) if inside == depth => {
                    text.push_str(&piece);
                    if text.len() as u64 > TOKEN_MAX_BYTES {
                        return Err(XmlError {
                            offset: self.start_offset,
                            problem: XmlProblem::TokenSize,
                        });
                    }
                }
                Token::End if inside == depth => return Ok(text),
                Token::Eof => return Ok(text),
                _ => {}
            }
        }
    }

    /// Goes to the end of the element whose start was just read.
    pub fn skip(&mut self) -> Result<(), XmlError> {
        let depth = self.depth;
        while self.depth >= depth {
            if matches!(self.next()?, Token::Eof) {
                break;
            }
        }
        Ok(())
    }

    /// Reads to the end of the document, for its well-formedness.
    pub fn finish(&mut self) -> Result<(), XmlError> {
        while !matches!(self.next()?, Token::Eof) {}
        Ok(())
    }
}

enum Kind {
    Start(BytesStart<'static>),
    Empty(BytesStart<'static>),
    End,
    Text(String),
    Eof,
}

fn resolve(name: &quick_xml::events::BytesRef<'_>) -> Result<String, XmlProblem> {
    match name.resolve_char_ref() {
        Ok(Some(character)) => return Ok(character.to_string()),
        Ok(None) => {}
        Err(error) => return Err(XmlProblem::Malformed(error.to_string())),
    }
    match resolve_predefined_entity(name) {
        Some(text) => Ok(text.to_owned()),
        None => Err(XmlProblem::Entity(shortened(name))),
    }
}

/// Checks what the parser leaves to the reader of each attribute: a tag may be passed over here, and
/// still be read by clients, whose parsers are strict.
fn check_tag(tag: &BytesStart<'_>) -> Result<(), XmlProblem> {
    let malformed = |text: String| Err(XmlProblem::Malformed(text));
    let name = tag.name();
    if !is_name(name.as_ref()) {
        return malformed(format!("`{}` is no name", shortened(name.as_ref())));
    }
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| XmlProblem::Malformed(error.to_string()))?;
        let (key, value) = (attribute.key.as_ref(), &attribute.value);
        if !is_name(key) {
            return malformed(format!("`{}` is no name", shortened(key)));
        }
        if value.contains('<') {
            return malformed(format!("the value of `{}` holds `<`", shortened(key)));
        }
        check_characters(value)?;
        if value.contains('&') {
            let open = quick_xml::escape::unescape(value)
                .map_err(|error| XmlProblem::Malformed(error.to_string()))?;
            check_characters(&open)?;
        }
    }
    Ok(())
}

/// XML names, as far as ASCII goes.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':' || !c.is_ascii();
    characters.next().is_some_and(is_start)
        && characters.all(|c| is_start(c) || c.is_ascii_digit() || c == '-' || c == '.')
}

fn check_characters(text: &str) -> Result<(), XmlProblem> {
    let forbidden = |c: char| {
        (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    match text.chars().find(|c| forbidden(*c)) {
        None => Ok(()),
        Some(bad) => Err(XmlProblem::Character(u32::from(bad))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, attributes and texts of a document in one line.
    fn shown(document: &[u8]) -> Result<String, XmlError> {
        let mut reader = XmlReader::new(document);
        let mut out = String::new();
        loop {
            match reader.next()? {
                Token::Start(start) => {
                    out.push_str(&format!("<{}", start.name()));
                    if let Some(value) = start.attribute("a")? {
                        out.push_str(&format!(" {value}"));
                    }
                    out.push('>');
                }
                Token::End => out.push_str("</>"),
                Token::Text(text) => out.push_str(&text),
                Token::Eof => return Ok(out),
            }
        }
    }

    #[test]
    fn elements_attributes_and_texts_are_read() {
        let document = b"<?xml version=\"1.0\"?><r:x a='1&amp;2'><!-- c --><y/><z b=\"/\" />a &lt; b<![CDATA[<&]]>&#233;</r:x>\n";
        assert_eq!(
            shown(document).unwrap(),
            "<x 1&2><y></><z></>a < b<&\u{e9}</>\n"
        );
    }

    #[test]
    fn hostile_documents_are_refused_with_their_place() {
        let harmless = b"<!DOCTYPE comps PUBLIC \"-//x//EN\" \"comps.dtd\"><comps/>";
        assert_eq!(shown(harmless).unwrap(), "<comps></>");
        let bomb = b"<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><x>&b;</x>";
        let deep = "<a>".repeat(DEPTH_MAX + 1);
        let mut long = b"<x>".to_vec();
        long.resize(17 << 20, b'a');
        for (document, wanted) in [
            (&bomb[..], "document type"),
            (b"<x>&b;</x>", "unknown entity `b`"),
            (b"<x>a\x1bb</x>", "forbidden character U+001B"),
            (b"<x>a&#27;b</x>", "forbidden character U+001B"),
            (b"<x>", "ends inside 1 open"),
            (b"<x><y></x>", "not well-formed"),
            (b"<x><y a='\x1b'/></x>", "forbidden character U+001B"),
            (b"<x><y a='&#27;'/></x>", "forbidden character U+001B"),
            (b"<x><y a='<'/></x>", "holds `<`"),
            (b"<x><y a='1' a='2'/></x>", "not well-formed"),
            (b"<x><1/></x>", "is no name"),
            (b"<x>a]]>b</x>", "`]]>`"),
            (b"<x><!-- a -- b --></x>", "not well-formed"),
            (b"<x><?xml version=\"1.0\"?></x>", "declaration"),
            (b"<x/><y/>", "second root"),
            (b"", "no element"),
            (b"<x/>tail", "outside the root"),
            (b"<x>\xff</x>", "not well-formed"),
            (deep.as_bytes(), "nest deeper"),
            (&long, "longer than"),
        ] {
            let error = shown(document).unwrap_err().to_string();
            let start = String::from_utf8_lossy(&document[..document.len().min(40)]);
            assert!(error.contains(wanted), "{start}: {error}");
            assert!(error.starts_with("byte "), "{error}");
        }
    }
}
