//! How the headers are built: tags twice, things outside the seal, formats and sizes.

use super::{
    ABSURD_SIZE, ALREADY_SIGNED, DUPLICATE_TAG, LEAD_DISAGREES, OUTSIDE_REGION, RESERVED_SPACE,
    Report, SIGNATURE_LAYOUT, TAG_IN_BOTH_HEADERS, UNKNOWN_FORMAT, UNKNOWN_PAYLOAD,
    UNKNOWN_SIGNATURE_TAG, UNREADABLE_SIGNATURE,
};
use crate::rpm::header::Header;
use crate::rpm::{Head, Package, TagIn, signature, tag};
use std::collections::BTreeSet;

/// Largest size that a package or a file may claim: 1 PiB.
const SIZE_LIMIT_BYTES: u64 = 1 << 50;

/// What rpm 4 and 6 write into a signature header (rpm `docs/manual/format_v4.md`, `format_v6.md`).
static SIGNATURE_TAGS: &[u32] = &[
    tag::SIG_HEADERSIGNATURES,
    tag::SIG_DSAHEADER,
    tag::SIG_RSAHEADER,
    tag::SIG_SHA1HEADER,
    tag::SIG_LONGSIZE,
    tag::SIG_LONGARCHIVESIZE,
    tag::SIG_SHA256HEADER,
    tag::SIG_FILESIGNATURES,
    tag::SIG_FILESIGNATURELENGTH,
    tag::SIG_VERITYSIGNATURES,
    tag::SIG_VERITYSIGNATUREALGO,
    tag::SIG_OPENPGP,
    tag::SIG_SHA3_256HEADER,
    tag::SIG_RESERVED,
    tag::SIG_SIZE,
    tag::SIG_PGP,
    tag::SIG_MD5,
    tag::SIG_GPG,
    tag::SIG_PGP5,
    tag::SIG_PAYLOADSIZE,
    tag::SIG_RESERVEDSPACE,
];

/// No tag twice, nothing outside the region, in both headers.
pub(super) fn check_tags(head: &Head, _: &Package, report: &mut Report<'_>) {
    for header in [head.signature(), head.main()] {
        let section = header.section();
        let mut seen = BTreeSet::new();
        for entry in header.entries() {
            if !seen.insert(entry.tag) {
                let tag = TagIn {
                    section,
                    tag: entry.tag,
                };
                let message =
                    format!("{tag} is there twice; rebuild the package with a real rpmbuild");
                report.push(
                    DUPLICATE_TAG,
                    Some(entry.tag),
                    Some(header.data_offset(entry)),
                    message,
                );
            }
        }
        if let Some(region) = header.region().filter(|_| header.has_dribbles()) {
            let tag = TagIn {
                section,
                tag: region.tag,
            };
            let message = format!(
                "{tag} seals {} of {} entries; rpm refuses what lies outside, rebuild the package",
                region.entries,
                header.entries().len(),
            );
            report.tag(OUTSIDE_REGION, tag, message);
        }
    }
}

/// Signing must be exact and reversible, and nothing may hide in the room that is left for it.
pub(super) fn check_signature_header(head: &Head, _: &Package, report: &mut Report<'_>) {
    let header = head.signature();
    if let Err(error) = signature::with_openpgp(head, &[]) {
        let offset = Some(super::super::head::LEAD_BYTES as u64);
        report.push(
            SIGNATURE_LAYOUT,
            None,
            offset,
            format!("{error}; rebuild the package"),
        );
    }
    check_reserved_space(header, report);
    for (number, _, _) in header
        .tags()
        .filter(|(number, _, _)| !SIGNATURE_TAGS.contains(number))
    {
        let tag = TagIn::signature(number);
        report.tag(
            UNKNOWN_SIGNATURE_TAG,
            tag,
            format!("{tag} is unknown, and nothing signs it"),
        );
    }
    let found = signature::found_signatures(head);
    if !found.is_empty() {
        let tags: BTreeSet<u32> = found.iter().map(|found| found.tag).collect();
        let first = tags.first().copied().unwrap_or_default();
        let message = format!("signed already (tags {tags:?}); those signatures will be replaced");
        report.tag(ALREADY_SIGNED, TagIn::signature(first), message);
    }
    let texts = header.strings(tag::SIG_OPENPGP);
    if texts
        .into_iter()
        .any(|text| signature::decoded(text).is_none())
    {
        let tag = TagIn::signature(tag::SIG_OPENPGP);
        report.tag(
            UNREADABLE_SIGNATURE,
            tag,
            format!("{tag} holds an entry that is no base64"),
        );
    }
}

/// rpm merges the signature header into the main one, some tags under another number, and refuses
/// a package that has such a number already (rpm `lib/package.cc`, `headerMergeLegacySigs`).
pub(super) fn check_merged_tags(head: &Head, _: &Package, report: &mut Report<'_>) {
    for (number, _, _) in head.signature().tags() {
        let merged = match number {
            tag::SIG_SIZE => 257,
            tag::SIG_PGP => 259,
            tag::SIG_MD5 => 261,
            tag::SIG_GPG => 262,
            tag::SIG_PGP5 => 263,
            tag::SIG_PAYLOADSIZE => tag::ARCHIVESIZE,
            256..1000 => number,
            _ => continue,
        };
        if head.main().has(merged) {
            let (tag, source) = (TagIn::main(merged), TagIn::signature(number));
            let message =
                format!("{tag} stands against {source}; rpm refuses it, rebuild the package");
            report.tag(TAG_IN_BOTH_HEADERS, tag, message);
        }
    }
}

fn check_reserved_space(header: &Header, report: &mut Report<'_>) {
    for number in [tag::SIG_RESERVEDSPACE, tag::SIG_RESERVED] {
        let hidden = header
            .bin(number)
            .and_then(|room| room.iter().position(|byte| *byte != 0));
        if let (Some(place), Some(start)) = (hidden, header.offset_of(number)) {
            let tag = TagIn::signature(number);
            let message = format!("{tag} is not all zeros; rebuild the package");
            report.push(
                RESERVED_SPACE,
                Some(number),
                Some(start + place as u64),
                message,
            );
        }
    }
    let padding = header
        .bytes()
        .get(header.unpadded_bytes()..)
        .unwrap_or_default();
    if padding.iter().any(|byte| *byte != 0) {
        let message = "the padding behind the signature header is not zeros; rebuild the package";
        let offset = super::super::head::LEAD_BYTES + header.unpadded_bytes();
        report.push(
            RESERVED_SPACE,
            None,
            Some(offset as u64),
            message.to_owned(),
        );
    }
}

/// A format, a payload and a kind of package that every reader agrees on.
pub(super) fn check_format(head: &Head, package: &Package, report: &mut Report<'_>) {
    let main = head.main();
    if let Some(format) = main
        .u64s(tag::RPMFORMAT)
        .first()
        .filter(|format| ![4, 6].contains(*format))
    {
        let tag = TagIn::main(tag::RPMFORMAT);
        report.tag(
            UNKNOWN_FORMAT,
            tag,
            format!("{tag} is {format}, want 4 or 6"),
        );
    }
    let has_both = main.has(tag::SOURCEPACKAGE) && main.has(tag::SOURCERPM);
    if head.lead_says_source() != package.is_source || has_both {
        let message = format!(
            "the lead calls this a {} package, {} {} and {} {}; rebuild the package",
            if head.lead_says_source() {
                "source"
            } else {
                "binary"
            },
            TagIn::main(tag::SOURCEPACKAGE),
            if main.has(tag::SOURCEPACKAGE) {
                "is there"
            } else {
                "is not"
            },
            TagIn::main(tag::SOURCERPM),
            if main.has(tag::SOURCERPM) {
                "is there"
            } else {
                "is not"
            },
        );
        report.push(LEAD_DISAGREES, Some(tag::SOURCEPACKAGE), Some(6), message);
    }
    let known: [(u32, &[&str]); 2] = [
        (tag::PAYLOADFORMAT, &["cpio"]),
        (
            tag::PAYLOADCOMPRESSOR,
            &["gzip", "bzip2", "lzma", "xz", "zstd", "none"],
        ),
    ];
    for (number, known) in known {
        if let Some(text) = main.string(number).filter(|text| !text.is_empty())
            && !known.iter().any(|name| name.as_bytes() == text)
        {
            let tag = TagIn::main(number);
            let text = String::from_utf8_lossy(&text[..text.len().min(40)]);
            report.tag(
                UNKNOWN_PAYLOAD,
                tag,
                format!("{tag} is `{text}`, want one of {known:?}"),
            );
        }
    }
}

/// Sizes that something may multiply, sum or allocate.
pub(super) fn check_sizes(head: &Head, package: &Package, report: &mut Report<'_>) {
    let largest_file = package
        .files
        .iter()
        .map(|file| file.size_bytes)
        .max()
        .unwrap_or(0);
    let main =
        |long: u32, short: u32| TagIn::main(if head.main().has(long) { long } else { short });
    for (tag, bytes) in [
        (main(tag::LONGSIZE, tag::SIZE), package.installed_size_bytes),
        (
            main(tag::PAYLOADSIZEALT, tag::ARCHIVESIZE),
            package.archive_size_bytes,
        ),
        (main(tag::LONGFILESIZES, tag::FILESIZES), largest_file),
    ] {
        if bytes > SIZE_LIMIT_BYTES {
            let message = format!("{tag} says {bytes} bytes, more than {SIZE_LIMIT_BYTES}");
            report.tag(ABSURD_SIZE, tag, message);
        }
    }
    let total = [tag::SIG_LONGSIZE, tag::SIG_SIZE];
    for number in total
        .into_iter()
        .filter(|number| head.signature().has(*number))
    {
        let tag = TagIn::signature(number);
        let bytes = head.signature().u64s(number).first().copied().unwrap_or(0);
        let header_bytes = head.main_bytes().len() as u64;
        if bytes < header_bytes || bytes > SIZE_LIMIT_BYTES {
            let message = format!(
                "{tag} says {bytes} bytes for main header and payload; the main header alone has \
                 {header_bytes}"
            );
            report.tag(ABSURD_SIZE, tag, message);
        }
    }
}
