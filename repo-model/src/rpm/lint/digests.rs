//! Digests: strong ones, and true ones as far as the head can tell.

use super::{
    BAD_FILE_DIGEST, NO_HEADER_SHA256, NO_PAYLOAD_SHA256, Report, UNKNOWN_FILE_DIGEST,
    WEAK_FILE_DIGESTS, WRONG_HEADER_DIGEST,
};
use crate::rpm::{FileEntry, FileKind, Head, Package, TagIn, tag};
use sha1::{Digest as _, Sha1};

/// OpenPGP's number of SHA-256.
const SHA256: u32 = 8;

/// The main header's digests, recomputed. SHA3-256 is left to rpm: SHA-256 must be there anyway.
pub(super) fn check_header_digests(head: &Head, _: &Package, report: &mut Report<'_>) {
    let signature = head.signature();
    if !signature.has(tag::SIG_SHA256HEADER) {
        let message = "the signature header has no SHA256HEADER (tag 273), only MD5 or SHA-1 if any; \
            build with rpm 4.14 or newer";
        report.push(
            NO_HEADER_SHA256,
            Some(tag::SIG_SHA256HEADER),
            None,
            message.to_owned(),
        );
    }
    let sha1 = hex::encode(Sha1::digest(head.main_bytes()));
    let sha256 = head.header_digest().to_hex();
    for (number, right) in [(tag::SIG_SHA256HEADER, sha256), (tag::SIG_SHA1HEADER, sha1)] {
        if signature.has(number) && signature.string(number) != Some(right.as_bytes()) {
            let tag = TagIn::signature(number);
            let message = format!("{tag} is wrong: the main header's is {right}; upload it again");
            report.tag(WRONG_HEADER_DIGEST, tag, message);
        }
    }
}

/// The payload must be bound to the header by SHA-256; the signer never sees the payload.
pub(super) fn check_payload_digest(head: &Head, package: &Package, report: &mut Report<'_>) {
    let tag = TagIn::main(tag::PAYLOADSHA256);
    match &package.payload_sha256 {
        None => {
            let message = format!("{tag} is missing; build with rpm 4.14 or newer");
            report.tag(NO_PAYLOAD_SHA256, tag, message);
        }
        Some(hex) if !is_hex(hex, 64) => {
            let message = format!("{tag} is not 64 hex digits but {} bytes", hex.len());
            report.tag(NO_PAYLOAD_SHA256, tag, message);
        }
        Some(_) => {}
    }
    let algorithm = head.main().u64s(tag::PAYLOADSHA256ALGO);
    if let Some(number) = algorithm
        .first()
        .filter(|number| **number != u64::from(SHA256))
    {
        let tag = TagIn::main(tag::PAYLOADSHA256ALGO);
        report.tag(
            NO_PAYLOAD_SHA256,
            tag,
            format!("{tag} is {number}, want 8 (SHA-256)"),
        );
    }
}

/// Digests of the files: an algorithm that is known and strong, and a digest for each.
pub(super) fn check_file_digests(head: &Head, package: &Package, report: &mut Report<'_>) {
    let has_digest = |file: &&FileEntry| file.kind == FileKind::Regular && !file.is_ghost();
    let mut files = package.files.iter().filter(has_digest).peekable();
    if files.peek().is_none() {
        return;
    }
    let number = package.file_digest_algorithm;
    let tag = TagIn::main(tag::FILEDIGESTALGO);
    let Some((name, digits, is_strong)) = file_digest(number) else {
        let message = format!("{tag} is {number}, a hash that rpm does not know");
        return report.tag(UNKNOWN_FILE_DIGEST, tag, message);
    };
    if !is_strong {
        let how = if head.main().has(tag.tag) {
            "says"
        } else {
            "is missing, which means"
        };
        let message = format!(
            "{tag} {how} {name}; build with %_binary_filedigest_algorithm and \
             %_source_filedigest_algorithm 8 (SHA-256)"
        );
        report.tag(WEAK_FILE_DIGESTS, tag, message);
    }
    let tag = TagIn::main(tag::FILEDIGESTS);
    for file in files.filter(|file| !is_hex(&file.digest, digits)) {
        let message = format!(
            "{tag}: {} has `{:.140}`, want the {digits} hex digits of {name}",
            file.path, file.digest
        );
        report.tag(BAD_FILE_DIGEST, tag, message);
    }
}

/// Name, hex digits, and whether it is at least as strong as SHA-256 (RFC 9580 §9.5).
fn file_digest(number: u32) -> Option<(&'static str, usize, bool)> {
    Some(match number {
        1 => ("MD5", 32, false),
        2 => ("SHA-1", 40, false),
        3 => ("RIPEMD-160", 40, false),
        SHA256 => ("SHA-256", 64, true),
        9 => ("SHA-384", 96, true),
        10 => ("SHA-512", 128, true),
        11 => ("SHA-224", 56, false),
        12 => ("SHA3-256", 64, true),
        14 => ("SHA3-512", 128, true),
        _ => return None,
    })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
