//! The signature header of a package whose header and payload are known to be right: it may hold
//! signatures and digests, and nothing else.

use repo_model::rpm::{Head, tag};

/// What rpm and signers write. IMA and fs-verity signatures are theirs too, but nothing signs them.
static ALLOWED: &[u32] = &[
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
    tag::SIG_PAYLOADSIZE,
    tag::SIG_RESERVEDSPACE,
];

/// Checks tags, header digest, size and reserved space; the error says what is wrong.
///
/// * `payload_bytes`: length of the compressed payload.
pub fn check(head: &Head, payload_bytes: u64) -> Result<(), String> {
    let signature = head.signature();
    if let Some((tag, _, _)) = signature.tags().find(|(tag, _, _)| !ALLOWED.contains(tag)) {
        return Err(format!("the signature header has tag {tag}"));
    }
    let digest = head.header_digest().to_hex();
    if signature
        .string(tag::SIG_SHA256HEADER)
        .is_some_and(|claimed| claimed != digest.as_bytes())
    {
        return Err("SHA256HEADER is not the header's digest".to_owned());
    }
    let size = head.main_bytes().len() as u64 + payload_bytes;
    for tag in [tag::SIG_SIZE, tag::SIG_LONGSIZE] {
        if signature
            .u64s(tag)
            .first()
            .is_some_and(|claimed| *claimed != size)
        {
            return Err(format!(
                "SIZE is not the {size} bytes of header and payload"
            ));
        }
    }
    for tag in [tag::SIG_RESERVED, tag::SIG_RESERVEDSPACE] {
        if signature
            .bin(tag)
            .is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
        {
            return Err("the reserved space is not empty".to_owned());
        }
    }
    Ok(())
}
