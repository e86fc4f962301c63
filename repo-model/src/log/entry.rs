//! The log's entry for a statement: the canonical JSON that Rekor v2 keeps for a `hashedrekord` 0.0.2, so
//! that a stock verifier of Sigstore bundles finds our statements in our log. It names the digest of what
//! was signed, the signature and the key; the statement itself is served by its digest.

use crate::dsse::{DsseError, Envelope, StatementPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Why there is no entry for an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The key has not signed it, or it is damaged.
    #[error(transparent)]
    Envelope(#[from] DsseError),
}

/// The entry for the signature of `key` on an envelope, about 400 bytes.
///
/// Members are in the order of RFC 8785: sorted at each depth, no spaces.
pub fn entry(envelope: &Envelope, key: &StatementPublicKey) -> Result<Vec<u8>, EntryError> {
    entry_signed(envelope, envelope.signature_of(key)?, key)
}

/// The same when it is known that `key` made this signature of the envelope.
pub(crate) fn entry_signed(
    envelope: &Envelope,
    signature: &str,
    key: &StatementPublicKey,
) -> Result<Vec<u8>, EntryError> {
    let digest = STANDARD.encode(envelope.signed_digest()?);
    let key = STANDARD.encode(key.to_der());
    Ok(format!(
        concat!(
            r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"#,
            r#""data":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":{{"content":"{}","#,
            r#""verifier":{{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{{"rawBytes":"{}"}}}}}}}}}}}}"#
        ),
        digest, signature, key
    )
    .into_bytes())
}

/// The key that an entry names; `None` when it is no entry of this form. Nothing is verified: an entry made
/// again with this key must be the same bytes.
pub fn entry_key(entry: &[u8]) -> Option<StatementPublicKey> {
    let value: serde_json::Value = serde_json::from_slice(entry).ok()?;
    let raw = value.pointer("/spec/hashedRekordV002/signature/verifier/publicKey/rawBytes")?;
    let der = STANDARD.decode(raw.as_str()?).ok()?;
    StatementPublicKey::from_der(&der).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};

    #[test]
    fn an_entry_is_canonical_json_and_only_for_who_signed() {
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let envelope = key.sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        let bytes = entry(&envelope, &key.public()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        // serde_json sorts members: written again it is the same.
        assert_eq!(serde_json::to_vec(&value).unwrap(), bytes);
        let spec = &value["spec"]["hashedRekordV002"];
        assert_eq!(spec["signature"]["content"], envelope.signatures[0].sig);
        assert_eq!(spec["data"]["algorithm"], "SHA2_256");
        assert_eq!(entry_key(&bytes), Some(key.public()));
        assert_eq!(entry_key(b"{}"), None);
        let other = StatementKey::from_seed(&[2; 32]).unwrap();
        assert!(entry(&envelope, &other.public()).is_err());
    }
}
