//! Sigstore bundles (`protobuf-specs/protos/sigstore_bundle.proto`, v0.3): one of our envelopes in the
//! wrapping that stock `cosign verify-blob-attestation --bundle` reads.
//!
//! ```json
//! {"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
//!  "verificationMaterial":{"publicKey":{"hint":"9f…"},"tlogEntries":[]},
//!  "dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"eyJf…","signatures":[{"sig":"MEUC…"}]}}
//! ```
//!
//! The signatures stand without our key ids: cosign computes another kind of id from the key it is
//! given and passes over every signature that names an id of any other kind.

use crate::dsse::Envelope;
use serde::Serialize;

/// Media type of a bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What follows the name of a statement whose bundle is wanted.
pub const FILE_SUFFIX: &str = ".sigstore.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    media_type: &'a str,
    verification_material: VerificationMaterial<'a>,
    dsse_envelope: BundledEnvelope<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundledEnvelope<'a> {
    payload_type: &'a str,
    payload: &'a str,
    signatures: Vec<BareSignature<'a>>,
}

#[derive(Serialize)]
struct BareSignature<'a> {
    sig: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationMaterial<'a> {
    public_key: PublicKeyHint<'a>,
    tlog_entries: [(); 0],
}

#[derive(Serialize)]
struct PublicKeyHint<'a> {
    hint: &'a str,
}

/// The bundle of `envelope`. It proves nothing by itself: whoever verifies it brings the key.
pub fn of(envelope: &Envelope) -> Vec<u8> {
    let key_id = envelope.signatures.first().map(|one| one.keyid.as_str());
    let bundle = Bundle {
        media_type: MEDIA_TYPE,
        verification_material: VerificationMaterial {
            public_key: PublicKeyHint {
                hint: key_id.unwrap_or_default(),
            },
            tlog_entries: [],
        },
        dsse_envelope: BundledEnvelope {
            payload_type: &envelope.payload_type,
            payload: &envelope.payload,
            signatures: envelope
                .signatures
                .iter()
                .map(|one| BareSignature { sig: &one.sig })
                .collect(),
        },
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&bundle).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};

    #[test]
    fn a_bundle_has_the_members_that_the_specification_asks_for() {
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let envelope = key.sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        let json: serde_json::Value = serde_json::from_slice(&super::of(&envelope)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "publicKey": {"hint": key.public().key_id()},
                    "tlogEntries": []
                },
                "dsseEnvelope": {
                    "payloadType": "application/vnd.in-toto+json",
                    "payload": "e30=",
                    "signatures": [{"sig": envelope.signatures[0].sig}]
                }
            })
        );
    }
}
