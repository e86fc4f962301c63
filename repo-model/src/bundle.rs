//! Sigstore bundles (`protobuf-specs/protos/sigstore_bundle.proto`, v0.3): one of our envelopes, and its
//! place in the log, in the wrapping that stock `cosign verify-blob-attestation --bundle` reads.
//!
//! ```json
//! {"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
//!  "verificationMaterial":{"publicKey":{"hint":"9f…"},"tlogEntries":[{"logIndex":"17","logId":{"keyId":"…"},
//!    "kindVersion":{"kind":"hashedrekord","version":"0.0.2"},
//!    "inclusionProof":{"logIndex":"17","rootHash":"…","treeSize":"20","hashes":["…"],"checkpoint":{"envelope":"…"}},
//!    "canonicalizedBody":"eyJh…"}]},
//!  "dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"eyJf…","signatures":[{"sig":"MEUC…"}]}}
//! ```
//!
//! The signatures stand without our key ids: cosign computes another kind of id from the key it is
//! given and passes over every signature that names an id of any other kind. [`Bundle::envelope`] puts the
//! hint back, so that the envelope is again the one whose digest names the statement.

use crate::dsse::{Envelope, EnvelopeSignature};
use crate::log::{Checkpoint, CheckpointError, LogProof, NodeHash, Note, VerifierKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Media type of a bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What follows the name of a statement whose bundle is wanted.
pub const FILE_SUFFIX: &str = ".sigstore.json";
/// Largest bundle that is read, bytes.
pub const MAX_BYTES: usize = 32 << 20;
/// Most log entries of one bundle that are looked at.
const MAX_LOG_ENTRIES: usize = 8;
/// A tree of 2^64 leaves needs no more.
const MAX_HASHES: usize = 64;

/// Why a bundle cannot be used. Whoever made it is at fault; the same bytes fail again.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Longer than any of ours.
    #[error("the bundle has {bytes} bytes; the limit is {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON of this shape.
    #[error("not a Sigstore bundle")]
    Json(#[source] serde_json::Error),
    /// A member holds what it must not.
    #[error("the bundle's `{member}` {why}")]
    Member {
        /// Where.
        member: &'static str,
        /// What is wrong there.
        why: &'static str,
    },
    /// The checkpoint in it does not read.
    #[error("the bundle's checkpoint does not read")]
    Checkpoint(#[from] CheckpointError),
}

/// An envelope with its places in logs. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The statement. A single signature names the bundle's key hint.
    pub envelope: Envelope,
    /// Its places: of our log, or of others.
    pub places: Vec<LogPlace>,
}

/// Where one log has the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// SHA-256 over the log's name and key ([`VerifierKey::full_id`]).
    pub log_id: [u8; 32],
    /// The log's entry, as hashed.
    pub entry: Vec<u8>,
    /// That it is in the log.
    pub proof: LogProof,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBundle {
    media_type: String,
    verification_material: WireMaterial,
    dsse_envelope: WireEnvelope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEnvelope {
    payload_type: String,
    payload: String,
    signatures: Vec<BareSignature>,
}

#[derive(Serialize, Deserialize)]
struct BareSignature {
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMaterial {
    public_key: WireKeyHint,
    #[serde(default)]
    tlog_entries: Vec<WirePlace>,
}

#[derive(Serialize, Deserialize)]
struct WireKeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePlace {
    log_index: String,
    log_id: WireLogId,
    kind_version: WireKind,
    inclusion_proof: WireProof,
    canonicalized_body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLogId {
    key_id: String,
}

#[derive(Serialize, Deserialize)]
struct WireKind {
    kind: String,
    version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProof {
    log_index: String,
    root_hash: String,
    tree_size: String,
    #[serde(default)]
    hashes: Vec<NodeHash>,
    checkpoint: WireCheckpoint,
}

#[derive(Serialize, Deserialize)]
struct WireCheckpoint {
    envelope: String,
}

/// The bundle of `envelope` without any place in a log. It proves nothing by itself: whoever verifies it
/// brings the key.
pub fn of(envelope: &Envelope) -> Vec<u8> {
    write(envelope, Vec::new())
}

/// The bundle of `envelope` with its place in the log of `key`.
///
/// * `entry`: the log's entry, as hashed; `proof` is of it.
pub fn logged(
    envelope: &Envelope,
    entry: &[u8],
    proof: &LogProof,
    key: &VerifierKey,
) -> Result<Vec<u8>, BundleError> {
    let checkpoint: Checkpoint = proof.checkpoint.text.parse()?;
    let place = WirePlace {
        log_index: proof.index.to_string(),
        log_id: WireLogId {
            key_id: STANDARD.encode(key.full_id()),
        },
        kind_version: WireKind {
            kind: "hashedrekord".to_owned(),
            version: "0.0.2".to_owned(),
        },
        inclusion_proof: WireProof {
            log_index: proof.index.to_string(),
            root_hash: checkpoint.root.to_base64(),
            tree_size: checkpoint.size.to_string(),
            hashes: proof.hashes.clone(),
            checkpoint: WireCheckpoint {
                envelope: proof.checkpoint.to_string(),
            },
        },
        canonicalized_body: STANDARD.encode(entry),
    };
    Ok(write(envelope, vec![place]))
}

fn write(envelope: &Envelope, tlog_entries: Vec<WirePlace>) -> Vec<u8> {
    let key_id = envelope.signatures.first().map(|one| one.keyid.clone());
    let bundle = WireBundle {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: WireMaterial {
            public_key: WireKeyHint {
                hint: key_id.unwrap_or_default(),
            },
            tlog_entries,
        },
        dsse_envelope: WireEnvelope {
            payload_type: envelope.payload_type.clone(),
            payload: envelope.payload.clone(),
            signatures: envelope
                .signatures
                .iter()
                .map(|one| BareSignature {
                    sig: one.sig.clone(),
                })
                .collect(),
        },
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&bundle).unwrap_or_default()
}

impl Bundle {
    /// Reads a bundle of at most [`MAX_BYTES`]; nothing is verified.
    pub fn from_json(json: &[u8]) -> Result<Self, BundleError> {
        if json.len() > MAX_BYTES {
            return Err(BundleError::TooLong { bytes: json.len() });
        }
        let wire: WireBundle = serde_json::from_slice(json).map_err(BundleError::Json)?;
        if wire.media_type != MEDIA_TYPE {
            return Err(member("mediaType", "is not that of a bundle v0.3"));
        }
        let material = wire.verification_material;
        if material.tlog_entries.len() > MAX_LOG_ENTRIES {
            return Err(member("tlogEntries", "has more than 8 entries"));
        }
        // One key is hinted at: with more signatures nobody knows whose each is.
        let one = wire.dsse_envelope.signatures.len() == 1;
        let keyid = if one { &*material.public_key.hint } else { "" };
        let signatures = wire.dsse_envelope.signatures.into_iter();
        Ok(Self {
            envelope: Envelope {
                payload_type: wire.dsse_envelope.payload_type,
                payload: wire.dsse_envelope.payload,
                signatures: signatures
                    .map(|one| EnvelopeSignature {
                        keyid: keyid.to_owned(),
                        sig: one.sig,
                    })
                    .collect(),
            },
            places: material
                .tlog_entries
                .into_iter()
                .map(place)
                .collect::<Result<_, _>>()?,
        })
    }
}

fn place(wire: WirePlace) -> Result<LogPlace, BundleError> {
    let decode = |text: &str, name| {
        STANDARD
            .decode(text)
            .map_err(|_| member(name, "is not base64"))
    };
    let proof = wire.inclusion_proof;
    if proof.hashes.len() > MAX_HASHES {
        return Err(member("hashes", "has more than 64 hashes"));
    }
    let log_id = decode(&wire.log_id.key_id, "keyId")?
        .try_into()
        .map_err(|_| member("keyId", "is not 32 bytes"))?;
    let index = proof.log_index.parse();
    let checkpoint = Note::parse(proof.checkpoint.envelope.as_bytes())
        .map_err(|error| BundleError::Checkpoint(error.into()))?;
    Ok(LogPlace {
        log_id,
        entry: decode(&wire.canonicalized_body, "canonicalizedBody")?,
        proof: LogProof {
            extra: None,
            index: index.map_err(|_| member("logIndex", "is no number"))?,
            hashes: proof.hashes,
            checkpoint,
        },
    })
}

fn member(member: &'static str, why: &'static str) -> BundleError {
    BundleError::Member { member, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::dsse::{IN_TOTO_PAYLOAD_TYPE, StatementKey};
    use crate::log::{LogKey, SignatureKind, entry, leaf_hash};

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

    #[test]
    fn a_logged_statement_comes_out_of_its_bundle_as_it_went_in() {
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let envelope = key.sign(IN_TOTO_PAYLOAD_TYPE, b"{}");
        let log = LogKey::from_seed("log.example", SignatureKind::Log, &[2; 32]).unwrap();
        let body = entry(&envelope, &key.public()).unwrap();
        let text = format!("log.example\n1\n{}\n", leaf_hash(&body).to_base64());
        let signature = log.sign(&text, Timestamp::from_unix_secs(0)).unwrap();
        let proof = LogProof {
            extra: None,
            index: 0,
            hashes: Vec::new(),
            checkpoint: Note {
                text,
                signatures: vec![signature],
            },
        };
        let json = logged(&envelope, &body, &proof, &log.public()).unwrap();
        let back = Bundle::from_json(&json).unwrap();
        assert_eq!(back.envelope, envelope);
        let [place] = &back.places[..] else {
            panic!("{back:?}")
        };
        assert_eq!(place.log_id, log.public().full_id());
        assert_eq!(place.entry, body);
        place.proof.verify(&body, &log.public()).unwrap();

        let text = String::from_utf8(json).unwrap();
        for (what, from, to) in [
            ("media type", "bundle.v0.3", "bundle.v9.9"),
            (
                "index",
                r#""inclusionProof":{"logIndex":"0""#,
                r#""inclusionProof":{"logIndex":"-1""#,
            ),
            (
                "body",
                r#""canonicalizedBody":""#,
                r#""canonicalizedBody":"!"#,
            ),
            ("checkpoint", "log.example\\n1", "log.example"),
            ("members", r#""dsseEnvelope""#, r#""envelope""#),
        ] {
            assert!(text.contains(from), "{what}");
            let changed = text.replace(from, to);
            let read = Bundle::from_json(changed.as_bytes());
            // A checkpoint that lost a line still is a note; verifying finds it.
            let bad = match &read {
                Ok(bundle) => {
                    let place = &bundle.places[0];
                    place.proof.verify(&place.entry, &log.public()).is_err()
                }
                Err(_) => true,
            };
            assert!(bad, "{what}: {read:?}");
        }
    }
}
