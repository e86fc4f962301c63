//! `repomd.xml`: the list of metadata files with digests and sizes, the one file that names the
//! others and that gets signed.
//!
//! ```text
//! <data type="primary">
//!   <checksum type="sha256">219b...</checksum>
//!   <open-checksum type="sha256">af79...</open-checksum>
//!   <location href="repodata/219b...-primary.xml.zst"/>
//!   <timestamp>1795229985</timestamp>
//!   <size>14398</size>
//!   <open-size>103309</open-size>
//! </data>
//! ```

use super::checksum::{Hashed, Hasher, Sha512Digest};
use super::error::{MetadataError, PackageFault};
use super::options::{ExtraRecord, Options};
use super::xml::Xml;
use super::zchunk::ZchunkHeader;
use repo_model::{FileDigest, Timestamp};

/// One metadata file as `repomd.xml` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `primary`, `filelists`, `other`, `updateinfo`, ...
    pub record_type: String,
    /// Path below the repository's root, named by its digest: `repodata/219b...-primary.xml.zst`.
    pub name: String,
    /// SHA-256 of the file.
    pub digest: FileDigest,
    /// SHA-512 of the file: written instead, where the options say so.
    pub sha512: Option<Sha512Digest>,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The content before compression; `None` for a file that is not compressed.
    pub open: Option<OpenContent>,
    /// The header of a zchunk file.
    pub header: Option<ZchunkHeader>,
}

/// What a compressed metadata file decompresses to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenContent {
    /// SHA-256 of the decompressed content; `None` where the options leave it out.
    pub digest: Option<FileDigest>,
    /// SHA-512 of it: written instead, where the options say so.
    pub sha512: Option<Sha512Digest>,
    /// Bytes of the decompressed content.
    pub size_bytes: u64,
}

impl OpenContent {
    pub(super) fn of(hasher: Hasher) -> Self {
        let Hashed {
            digest,
            sha512,
            size_bytes,
        } = hasher.finish();
        Self {
            digest: Some(digest),
            sha512,
            size_bytes,
        }
    }

    /// Of which only the size is known.
    pub(super) fn of_size(size_bytes: u64) -> Self {
        Self {
            digest: None,
            sha512: None,
            size_bytes,
        }
    }
}

impl Record {
    /// The checksum in hex digits, as it is written.
    pub(crate) fn checksum_hex(&self) -> String {
        checksum(&self.digest, self.sha512.as_ref()).1
    }

    /// What the file decompresses to: itself, when it is not compressed.
    pub(super) fn content(&self) -> OpenContent {
        self.open.unwrap_or(OpenContent {
            digest: Some(self.digest),
            sha512: self.sha512,
            size_bytes: self.size_bytes,
        })
    }
}

/// `repodata/{checksum}-{stem}`.
pub(super) fn record_name(file: &Hashed, stem: &str) -> String {
    let (_, checksum) = checksum(&file.digest, file.sha512.as_ref());
    format!("repodata/{checksum}-{stem}")
}

/// The checksum as written: its type and hex digits.
fn checksum(digest: &FileDigest, sha512: Option<&Sha512Digest>) -> (&'static str, String) {
    match sha512 {
        Some(sha512) => ("sha512", sha512.to_hex()),
        None => ("sha256", digest.to_hex()),
    }
}

/// Checks an extra record and returns its file name without an upstream digest in front.
pub(super) fn extra_file_name(extra: &ExtraRecord) -> Result<&str, MetadataError> {
    let refuse = |what, text: &str, why| MetadataError::Option {
        what,
        text: text.chars().take(200).collect(),
        why,
    };
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
    };
    if !is_word(&extra.record_type) {
        return Err(refuse(
            "record type",
            &extra.record_type,
            "want letters, digits, `-_.+`",
        ));
    }
    if super::kinds::KINDS
        .iter()
        .any(|kind| kind.record_type == extra.record_type)
    {
        return Err(refuse(
            "record type",
            &extra.record_type,
            "it is made from the package list",
        ));
    }
    let name = without_digest(&extra.file_name);
    if !is_word(name) || name.starts_with('.') {
        return Err(refuse(
            "file name",
            &extra.file_name,
            "want letters, digits, `-_.+`, no leading dot",
        ));
    }
    Ok(name)
}

/// Strips `{hex digest}-`, be it MD5, SHA-1, SHA-256 or SHA-512.
fn without_digest(name: &str) -> &str {
    match name.split_once('-') {
        Some((digest, rest))
            if [32, 40, 56, 64, 96, 128].contains(&digest.len())
                && digest.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            rest
        }
        _ => name,
    }
}

/// The types that stand first, in createrepo_c's order.
static FIRST: &[&str] = &[
    "primary",
    "filelists",
    "other",
    "primary_db",
    "filelists_db",
    "other_db",
    "primary_zck",
    "filelists_zck",
    "other_zck",
];

/// Sorts records as createrepo_c does: the package lists, their databases, their zchunk files, then
/// by type and name. The order never depends on the caller's.
pub(super) fn sort_records(records: &mut [Record]) {
    fn class(record_type: &str) -> usize {
        let place = FIRST.iter().position(|first| *first == record_type);
        place.unwrap_or(FIRST.len())
    }
    records.sort_by(|a, b| {
        let key = |record: &Record| class(&record.record_type);
        (key(a), &a.record_type, &a.name).cmp(&(key(b), &b.record_type, &b.name))
    });
}

/// `repomd.xml` over records whose names are final; sorts them.
pub(crate) fn rendered(
    records: &mut [Record],
    options: &Options,
    at: Timestamp,
) -> Result<Vec<u8>, MetadataError> {
    sort_records(records);
    render(records, options, at)
}

/// Writes `repomd.xml`; every record gets the instant `at` as its timestamp.
pub(super) fn render(
    records: &[Record],
    options: &Options,
    at: Timestamp,
) -> Result<Vec<u8>, MetadataError> {
    let mut xml = Xml::default();
    xml.raw(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n",
    );
    let revision = options
        .revision
        .clone()
        .unwrap_or_else(|| at.unix_secs().to_string());
    option(xml.element("  ", "revision", &revision), &revision)?;
    render_tags(&mut xml, options)?;
    for record in records {
        render_record(&mut xml, record, at);
    }
    xml.raw("</repomd>\n");
    Ok(xml.into_bytes())
}

fn render_tags(xml: &mut Xml, options: &Options) -> Result<(), MetadataError> {
    let Options {
        content_tags,
        repo_tags,
        distro_tags,
        ..
    } = options;
    if content_tags.is_empty() && repo_tags.is_empty() && distro_tags.is_empty() {
        return Ok(());
    }
    xml.raw("  <tags>\n");
    for tag in content_tags {
        option(xml.element("    ", "content", tag), tag)?;
    }
    for tag in repo_tags {
        option(xml.element("    ", "repo", tag), tag)?;
    }
    for tag in distro_tags {
        xml.raw("    <distro");
        if let Some(cpe_id) = &tag.cpe_id {
            option(xml.attribute("cpeid", cpe_id), cpe_id)?;
        }
        xml.raw(">");
        option(xml.text("distro", &tag.text), &tag.text)?;
        xml.raw("</distro>\n");
    }
    xml.raw("  </tags>\n");
    Ok(())
}

/// Names and types were checked when the record was made: nothing here needs escaping.
fn render_record(xml: &mut Xml, record: &Record, at: Timestamp) {
    xml.raw("  <data type=\"");
    xml.raw(&record.record_type);
    xml.raw("\">\n");
    let (checksum_type, digits) = checksum(&record.digest, record.sha512.as_ref());
    render_checksum(xml, "checksum", checksum_type, &digits);
    if let Some(open) = &record.open
        && let Some(digest) = &open.digest
    {
        let (checksum_type, digits) = checksum(digest, open.sha512.as_ref());
        render_checksum(xml, "open-checksum", checksum_type, &digits);
    }
    if let Some(header) = &record.header {
        render_checksum(
            xml,
            "header-checksum",
            header.checksum_type,
            &header.checksum,
        );
    }
    xml.raw("    <location href=\"");
    xml.raw(&record.name);
    xml.raw("\"/>\n    <timestamp>");
    xml.signed(at.unix_secs());
    xml.raw("</timestamp>\n    <size>");
    xml.number(record.size_bytes);
    xml.raw("</size>\n");
    if let Some(open) = &record.open {
        xml.raw("    <open-size>");
        xml.number(open.size_bytes);
        xml.raw("</open-size>\n");
    }
    if let Some(header) = &record.header {
        xml.raw("    <header-size>");
        xml.number(header.size_bytes);
        xml.raw("</header-size>\n");
    }
    if record.record_type.ends_with("_db") {
        xml.raw("    <database_version>10</database_version>\n");
    }
    xml.raw("  </data>\n");
}

fn render_checksum(xml: &mut Xml, element: &str, checksum_type: &str, digits: &str) {
    xml.raw("    <");
    xml.raw(element);
    xml.raw(" type=\"");
    xml.raw(checksum_type);
    xml.raw("\">");
    xml.raw(digits);
    xml.raw("</");
    xml.raw(element);
    xml.raw(">\n");
}

fn option(written: Result<(), PackageFault>, text: &str) -> Result<(), MetadataError> {
    written.map_err(|fault| MetadataError::Option {
        what: match fault {
            PackageFault::Character { field, .. } => field,
            PackageFault::DependencyEpoch { list, .. } => list,
        },
        text: text.chars().take(200).collect(),
        why: "it holds a character that XML cannot hold",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_digest_is_stripped_from_a_file_name() {
        let digest = "0123456789abcdef".repeat(4);
        for (name, stripped) in [
            (format!("{digest}-updateinfo.xml"), "updateinfo.xml"),
            (
                format!("{digest}-comps-Base.x86_64.xml"),
                "comps-Base.x86_64.xml",
            ),
            ("comps-Base.xml".to_owned(), "comps-Base.xml"),
            (digest.clone(), &digest),
            ("abc-updateinfo.xml".to_owned(), "abc-updateinfo.xml"),
        ] {
            assert_eq!(without_digest(&name), stripped);
        }
    }

    #[test]
    fn records_stand_in_createrepo_order() {
        let record = |record_type: &str| Record {
            record_type: record_type.to_owned(),
            name: String::new(),
            digest: FileDigest::of(b""),
            sha512: None,
            size_bytes: 0,
            open: None,
            header: None,
        };
        let sorted = [
            "primary",
            "filelists",
            "other",
            "primary_db",
            "filelists_db",
            "primary_zck",
            "filelists_zck",
            "filelists-ext",
            "filelists-ext_zck",
            "group",
            "group_zck",
            "modules",
            "updateinfo",
        ];
        let mut records: Vec<Record> = sorted.iter().rev().map(|t| record(t)).collect();
        sort_records(&mut records);
        let types: Vec<&str> = records.iter().map(|r| r.record_type.as_str()).collect();
        assert_eq!(types, sorted);
    }
}
