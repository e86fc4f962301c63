//! Reading `repomd.xml` of any repository: what it claims about its files, and where in the text
//! each claim stands, so that an editor can leave the others as they are.

use super::sums::{Algorithm, Checksum};
use super::xml::{Start, Token, XmlError, XmlReader, shortened};
use std::ops::Range;

/// Largest `repomd.xml` that is read; Fedora's has some ten kilobytes.
pub const REPOMD_MAX_BYTES: u64 = 16 << 20;
/// Most records that are read.
const RECORDS_MAX: usize = 1_000;

/// What a `repomd.xml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repomd {
    /// `<revision>`, a free text; empty when absent.
    pub revision: String,
    /// The files, in its order.
    pub records: Vec<RecordClaim>,
    /// Byte offset of `</repomd>`.
    pub end: usize,
}

/// What `repomd.xml` claims about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordClaim {
    /// `primary`, `group`, `updateinfo`, ...
    pub record_type: String,
    /// Of the file; none when absent or of an unknown kind.
    pub checksum: Option<Checksum>,
    /// Of the content before compression.
    pub open_checksum: Option<Checksum>,
    /// Path below the repository's root, as written.
    pub href: String,
    /// `xml:base`: the file is somewhere else.
    pub base: Option<String>,
    /// Seconds since 1970; fractions, as old tools wrote them, are cut off.
    pub timestamp: Option<i64>,
    /// Bytes of the file.
    pub size_bytes: Option<u64>,
    /// Bytes before compression.
    pub open_size_bytes: Option<u64>,
    /// Where `<data>` starts and ends in the text.
    pub span: Range<usize>,
}

impl RecordClaim {
    /// A file of which nothing is known but its type.
    pub fn unclaimed(record_type: &str) -> Self {
        Self {
            record_type: record_type.to_owned(),
            checksum: None,
            open_checksum: None,
            href: String::new(),
            base: None,
            timestamp: None,
            size_bytes: None,
            open_size_bytes: None,
            span: 0..0,
        }
    }
}

impl Repomd {
    /// Reads the text of a `repomd.xml`.
    ///
    /// Errors are the text's fault and name the byte.
    pub fn parse(text: &[u8]) -> Result<Self, XmlError> {
        let mut xml = XmlReader::new(text);
        let mut repomd = Self {
            revision: String::new(),
            records: Vec::new(),
            end: 0,
        };
        // A line feed may stand between the declaration and the root element.
        let root = loop {
            match xml.next()? {
                Token::Start(root) => break root,
                _ => continue,
            }
        };
        if root.name() != "repomd" {
            let name = shortened(root.name());
            return Err(xml.fault(format!("the root element is `{name}`, want `repomd`")));
        }
        repomd.read_children(&mut xml)?;
        Ok(repomd)
    }

    fn read_children(&mut self, xml: &mut XmlReader<&[u8]>) -> Result<(), XmlError> {
        loop {
            match xml.next()? {
                Token::Start(start) if start.name() == "revision" => self.revision = xml.text()?,
                Token::Start(start) if start.name() == "data" => {
                    if self.records.len() >= RECORDS_MAX {
                        return Err(xml.fault(format!("more than {RECORDS_MAX} records")));
                    }
                    self.records.push(record(&start, xml)?);
                }
                Token::Start(_) => xml.skip()?,
                Token::End => {
                    self.end = xml.start_offset() as usize;
                    return xml.finish();
                }
                Token::Text(_) => {}
                Token::Eof => return Ok(()),
            }
        }
    }

    /// The records of this type.
    pub fn of_type(&self, record_type: &str) -> impl Iterator<Item = &RecordClaim> {
        self.records
            .iter()
            .filter(move |record| record.record_type == record_type)
    }
}

fn record(data: &Start, xml: &mut XmlReader<&[u8]>) -> Result<RecordClaim, XmlError> {
    let start = xml.start_offset() as usize;
    let mut record = RecordClaim::unclaimed(&data.required("type")?);
    record.span = start..start;
    loop {
        match xml.next()? {
            Token::Start(child) => field(&mut record, &child, xml)?,
            Token::End => break,
            Token::Text(_) => {}
            Token::Eof => break,
        }
    }
    record.span.end = xml.end_offset() as usize;
    if record.href.is_empty() {
        return Err(xml.fault(format!(
            "the record `{}` has no location",
            shortened(&record.record_type)
        )));
    }
    Ok(record)
}

fn field(
    record: &mut RecordClaim,
    child: &Start,
    xml: &mut XmlReader<&[u8]>,
) -> Result<(), XmlError> {
    match child.name() {
        "checksum" => record.checksum = checksum(child, xml)?,
        "open-checksum" => record.open_checksum = checksum(child, xml)?,
        "location" => {
            record.href = child.required("href")?;
            record.base = child.attribute("xml:base")?;
            xml.skip()?;
        }
        "timestamp" => {
            let text = xml.text()?;
            let whole = text.trim().split('.').next().unwrap_or_default();
            record.timestamp = Some(whole.parse().map_err(|_| not_a_number(xml, child, &text))?);
        }
        "size" => record.size_bytes = Some(number(child, xml)?),
        "open-size" => record.open_size_bytes = Some(number(child, xml)?),
        _ => xml.skip()?,
    }
    Ok(())
}

fn number(child: &Start, xml: &mut XmlReader<&[u8]>) -> Result<u64, XmlError> {
    let text = xml.text()?;
    text.trim()
        .parse()
        .map_err(|_| not_a_number(xml, child, &text))
}

fn not_a_number(xml: &XmlReader<&[u8]>, child: &Start, text: &str) -> XmlError {
    xml.fault(format!(
        "`{}` is `{}`, want a number",
        child.name(),
        shortened(text)
    ))
}

/// Hex digits in any case; none when the algorithm is unknown.
fn checksum(child: &Start, xml: &mut XmlReader<&[u8]>) -> Result<Option<Checksum>, XmlError> {
    let algorithm = child.required("type")?;
    let hex = xml.text()?.trim().to_ascii_lowercase();
    if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(xml.fault(format!(
            "`{}` is `{}`, want hex digits",
            child.name(),
            shortened(&hex)
        )));
    }
    Ok(Algorithm::named(&algorithm).map(|algorithm| Checksum { algorithm, hex }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo">
  <revision>1.2.3</revision>
  <tags><content>x</content></tags>
  <data type="primary">
    <checksum type="sha256">AB12</checksum>
    <open-checksum type="sha512">cd</open-checksum>
    <location href="repodata/p.xml.gz" xml:base="http://x/"/>
    <timestamp>1795233681.25</timestamp>
    <size>7</size>
    <open-size>9</open-size>
  </data>
  <data type="odd"><checksum type="xxh">00</checksum><location href="o"/></data>
</repomd>
"#;

    #[test]
    fn all_claims_are_read_and_their_places_known() {
        let repomd = Repomd::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(repomd.revision, "1.2.3");
        assert_eq!(&SAMPLE[repomd.end..], "</repomd>\n");
        let [primary, odd] = &repomd.records[..] else {
            panic!("{repomd:?}");
        };
        assert_eq!(
            primary.checksum.as_ref().unwrap().to_string(),
            "sha256:ab12"
        );
        assert_eq!(primary.base.as_deref(), Some("http://x/"));
        assert_eq!(primary.timestamp, Some(1_795_233_681));
        assert_eq!(
            (primary.size_bytes, primary.open_size_bytes),
            (Some(7), Some(9))
        );
        assert_eq!(odd.checksum, None);
        assert_eq!(
            &SAMPLE[odd.span.clone()],
            r#"<data type="odd"><checksum type="xxh">00</checksum><location href="o"/></data>"#
        );
        assert!(SAMPLE[primary.span.clone()].ends_with("</data>"));
    }

    #[test]
    fn a_wrong_text_is_refused_with_its_place() {
        for (from, to, wanted) in [
            ("<repomd", "<repo", "repomd"),
            ("<size>7<", "<size>-7<", "`size` is `-7`, want a number"),
            ("AB12", "xyz", "want hex digits"),
            (" href=\"o\"", "", "has no `href`"),
            (" type=\"odd\"", "", "`data` has no `type`"),
            ("</repomd>", "", "ends inside"),
        ] {
            let text = SAMPLE.replacen(from, to, 1);
            let error = Repomd::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{from}: {error}");
        }
    }
}
