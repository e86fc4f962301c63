//! Writing XML straight into a byte buffer: escaping as libxml2 does it, and refusal of characters
//! that XML 1.0 cannot hold. Nothing here knows about packages.

use super::error::PackageFault;

/// A buffer that XML is appended to.
#[derive(Debug, Default)]
pub(super) struct Xml {
    out: Vec<u8>,
}

/// What a byte asks for inside text or an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Escape,
    /// First byte of U+F000..U+FFFF, where the two noncharacters are.
    MayBeNoncharacter,
    Forbidden,
}

static TEXT: [Class; 256] = classes(false);
static ATTRIBUTE: [Class; 256] = classes(true);

/// Tab and line feed inside an attribute must be written as references, or a reader turns them
/// into spaces; a carriage return would become a line feed everywhere.
const fn classes(attribute: bool) -> [Class; 256] {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = Class::Forbidden;
        byte += 1;
    }
    let blank = if attribute {
        Class::Escape
    } else {
        Class::Plain
    };
    table[b'\t' as usize] = blank;
    table[b'\n' as usize] = blank;
    table[b'\r' as usize] = Class::Escape;
    table[b'<' as usize] = Class::Escape;
    table[b'>' as usize] = Class::Escape;
    table[b'&' as usize] = Class::Escape;
    if attribute {
        table[b'"' as usize] = Class::Escape;
    }
    table[0xEF] = Class::MayBeNoncharacter;
    table
}

fn reference(byte: u8) -> &'static [u8] {
    match byte {
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'&' => b"&amp;",
        b'"' => b"&quot;",
        b'\t' => b"&#9;",
        b'\n' => b"&#10;",
        _ => b"&#13;",
    }
}

impl Xml {
    /// Appends to what `out` holds already.
    pub fn after(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends markup as it is.
    pub fn raw(&mut self, markup: &str) {
        self.out.extend_from_slice(markup.as_bytes());
    }

    /// Appends a decimal number.
    pub fn number(&mut self, number: u64) {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        let mut rest = number;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[first..]);
    }

    /// Appends a decimal number that may be negative.
    pub fn signed(&mut self, number: i64) {
        if number < 0 {
            self.out.push(b'-');
        }
        self.number(number.unsigned_abs());
    }

    /// Appends text content; `field` names it in the error.
    pub fn text(&mut self, field: &'static str, text: &str) -> Result<(), PackageFault> {
        self.escaped(field, text, &TEXT)
    }

    /// Appends ` name="value"`; `name` also names it in the error.
    pub fn attribute(&mut self, name: &'static str, value: &str) -> Result<(), PackageFault> {
        self.out.push(b' ');
        self.raw(name);
        self.raw("=\"");
        self.escaped(name, value, &ATTRIBUTE)?;
        self.out.push(b'"');
        Ok(())
    }

    /// Appends ` name="number"`.
    pub fn number_attribute(&mut self, name: &str, number: u64) {
        self.out.push(b' ');
        self.raw(name);
        self.raw("=\"");
        self.number(number);
        self.out.push(b'"');
    }

    /// Appends `<name>text</name>` on a line of its own after `indent`.
    pub fn element(
        &mut self,
        indent: &str,
        name: &'static str,
        text: &str,
    ) -> Result<(), PackageFault> {
        self.raw(indent);
        self.out.push(b'<');
        self.raw(name);
        self.out.push(b'>');
        self.text(name, text)?;
        self.raw("</");
        self.raw(name);
        self.raw(">\n");
        Ok(())
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn escaped(
        &mut self,
        field: &'static str,
        text: &str,
        classes: &[Class; 256],
    ) -> Result<(), PackageFault> {
        let bytes = text.as_bytes();
        let mut unwritten = 0;
        for (offset, &byte) in bytes.iter().enumerate() {
            match classes[usize::from(byte)] {
                Class::Plain => continue,
                Class::MayBeNoncharacter
                    if !matches!(bytes[offset..], [0xEF, 0xBF, 0xBE | 0xBF, ..]) =>
                {
                    continue;
                }
                Class::Escape => {
                    self.out.extend_from_slice(&bytes[unwritten..offset]);
                    self.out.extend_from_slice(reference(byte));
                    unwritten = offset + 1;
                }
                Class::Forbidden | Class::MayBeNoncharacter => {
                    return Err(PackageFault::Character {
                        field,
                        offset,
                        code_point: text[offset..].chars().next().map_or(0, u32::from),
                    });
                }
            }
        }
        self.out.extend_from_slice(&bytes[unwritten..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        write: impl FnOnce(&mut Xml) -> Result<(), PackageFault>,
    ) -> Result<String, PackageFault> {
        let mut xml = Xml::default();
        write(&mut xml)?;
        Ok(String::from_utf8(xml.into_bytes()).unwrap())
    }

    #[test]
    fn text_and_attributes_are_escaped_once_and_as_libxml2_does() {
        let sample = "a<b>&\"'&amp;\t\n\r\u{7f}\u{85}é\u{fffd}";
        assert_eq!(
            written(|xml| xml.text("t", sample)).unwrap(),
            "a&lt;b&gt;&amp;\"'&amp;amp;\t\n&#13;\u{7f}\u{85}é\u{fffd}"
        );
        assert_eq!(
            written(|xml| xml.attribute("n", sample)).unwrap(),
            " n=\"a&lt;b&gt;&amp;&quot;'&amp;amp;&#9;&#10;&#13;\u{7f}\u{85}é\u{fffd}\""
        );
    }

    #[test]
    fn characters_that_xml_cannot_hold_are_refused_with_their_place() {
        for bad in ('\0'..' ')
            .chain(['\u{fffe}', '\u{ffff}'])
            .filter(|c| !"\t\n\r".contains(*c))
        {
            let fault = PackageFault::Character {
                field: "summary",
                offset: 3,
                code_point: u32::from(bad),
            };
            let text = format!("aé{bad}b");
            assert_eq!(
                written(|xml| xml.text("summary", &text)),
                Err(fault.clone())
            );
            assert_eq!(written(|xml| xml.attribute("summary", &text)), Err(fault));
        }
    }

    #[test]
    fn numbers_are_plain_decimals() {
        for number in [0, 7, 10, i64::MAX, -1, i64::MIN] {
            let text = written(|xml| {
                xml.signed(number);
                Ok(())
            });
            assert_eq!(text.unwrap(), number.to_string());
        }
        let most = written(|xml| {
            xml.number(u64::MAX);
            Ok(())
        });
        assert_eq!(most.unwrap(), u64::MAX.to_string());
    }
}
