//! What the readers read well.

use crate::announcement::{CHANNEL_MOVE, KEY_SET, REBUILDER_DECISION, SIGNATURES};
use crate::bundle;
use crate::dsse::{Envelope, IN_TOTO_PAYLOAD_TYPE, StatementKey};
use crate::freshness::{self, FRESHNESS};
use crate::log::{AddCheckpoint, LogKey, LogProof, Note, SignatureKind, entry, leaf_hash};
use crate::monitor::Memory;
use crate::policy::waivers::WAIVER;
use crate::sealed::{COMMITMENT, REVEAL};
use crate::sightings::{self, SIGHTINGS};
use crate::statement::{
    PACKAGE_RELEASE, PROVENANCE, REBUILD, RELEASE, SBOM_REFERENCE, STATEMENT_TYPE, VSA,
};
use crate::trust::document::{Root, Signed, Targets};
use crate::wire::worker::RequestKey;
use crate::{Timestamp, release, sbom_facts};
use serde_json::{Value, json};

/// A digest.
pub(super) const D: &str = "abababababababababababababababababababababababababababababababab";
/// A time.
const T: &str = "2026-11-20T10:06:00Z";

pub(super) fn key() -> StatementKey {
    StatementKey::from_seed(&[2; 32]).unwrap()
}

pub(super) fn log() -> LogKey {
    LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
}

fn witness() -> LogKey {
    LogKey::from_seed("w.example", SignatureKind::Cosignature, &[3; 32]).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A statement's payload.
fn said(kind: &str, predicate: &Value) -> Vec<u8> {
    let subject =
        json!({"name": "p-1-1.noarch.rpm", "digest": {"sha256": D, "rpmHeaderSha256": D}});
    bytes(&json!({
        "_type": STATEMENT_TYPE, "subject": [subject], "predicateType": kind, "predicate": predicate
    }))
}

fn file(name: &str) -> Value {
    json!({"name": name, "digest": {"sha256": D}})
}

fn rebuilder() -> Value {
    json!({"id": "r1", "operator": "op-1"})
}

pub(super) fn provenance() -> Vec<u8> {
    let definition = json!({
        "buildType": "t", "externalParameters": {"source": D, "buildinfo": D},
        "internalParameters": {}, "resolvedDependencies": [file("p.src.rpm")]
    });
    let metadata = json!({"invocationId": D, "startedOn": T, "finishedOn": T});
    said(
        PROVENANCE,
        &json!({
            "buildDefinition": definition, "runDetails": {"builder": {"id": "b"}, "metadata": metadata}
        }),
    )
}

pub(super) fn rebuild() -> Vec<u8> {
    let cause = json!({"code": "build-time", "detail": "d", "hint": "h"});
    said(
        REBUILD,
        &json!({
            "rebuilder": rebuilder(), "verdict": "differs", "source": file("p.src.rpm"),
            "buildinfo": file("buildinfo.json"), "buildroot": file("root"), "rpmVersion": "6.1.0",
            "profile": "plain", "limits": "cgroup", "runs": ["differs", "identical"], "causes": [cause],
            "attachments": [file("build.log")], "startedOn": T, "finishedOn": T
        }),
    )
}

pub(super) fn commitment() -> Vec<u8> {
    said(
        COMMITMENT,
        &json!({
            "rebuilder": rebuilder(), "source": file("p.src.rpm"), "buildinfo": file("buildinfo.json"),
            "sealed": D, "committedOn": T
        }),
    )
}

pub(super) fn reveal() -> Vec<u8> {
    said(
        REVEAL,
        &json!({
            "rebuilder": rebuilder(), "commitment": D, "salt": D, "statements": [D], "round": [D],
            "revealedOn": T
        }),
    )
}

pub(super) fn waiver() -> Vec<u8> {
    said(
        WAIVER,
        &json!({
            "findings": ["rebuild-differs"], "reason": "r", "issuedOn": T, "expiresOn": T
        }),
    )
}

pub(super) fn sbom_statement() -> Vec<u8> {
    let document = json!({
        "mediaType": "cyclonedx-1.6", "downloadLocation": "/evidence", "digest": {"sha256": D}
    });
    said(
        SBOM_REFERENCE,
        &json!({"attester": {"id": "s"}, "references": [document]}),
    )
}

pub(super) fn summary() -> Vec<u8> {
    said(
        VSA,
        &json!({
            "verifier": {"id": "v"}, "timeVerified": T, "resourceUri": "pkg:rpm/p",
            "policy": {"digest": {"sha256": D}}, "inputAttestations": [{"digest": {"sha256": D}}],
            "verificationResult": "PASSED", "verifiedLevels": ["L"], "slsaVersion": "1.0"
        }),
    )
}

pub(super) fn released() -> Vec<u8> {
    said(PACKAGE_RELEASE, &json!({"purl": "pkg:rpm/p"}))
}

pub(super) fn document() -> Vec<u8> {
    let repo = json!({
        "repo": "base", "arch": "x86_64", "repomd": D, "package_list": D, "packages": 1
    });
    said(
        RELEASE,
        &json!({
            "schema": release::SCHEMA, "id": 4, "previous": null, "issued": T, "repos": [repo]
        }),
    )
}

pub(super) fn freshness() -> Vec<u8> {
    said(
        FRESHNESS,
        &json!({
            "schema": freshness::SCHEMA, "channel": "stable", "release": 4, "releaseSha256": D,
            "issued": T, "expires": T
        }),
    )
}

pub(super) fn sightings() -> Vec<u8> {
    let place = json!({
        "channel": "stable", "repo": "base", "arch": "x86_64", "release": 4, "repomd": D, "checked": T
    });
    let mirror = json!({"name": "m", "urls": ["http://m"], "listed": true, "places": [place]});
    said(
        SIGHTINGS,
        &json!({
            "schema": sightings::SCHEMA, "issued": T, "expires": T, "mirrors": [mirror]
        }),
    )
}

pub(super) fn channel_move() -> Vec<u8> {
    said(
        CHANNEL_MOVE,
        &json!({
            "number": 1, "channel": "stable", "from": null, "to": 4, "release": D, "movedAt": T,
            "actor": "ops"
        }),
    )
}

pub(super) fn key_set() -> Vec<u8> {
    let key = json!({
        "label": "package-key", "role": "package", "state": "current", "fingerprint": "AB", "public": D
    });
    said(
        KEY_SET,
        &json!({
            "verifier": "v", "policy": D, "policyVersion": 3, "logKeys": [log().public().to_string()],
            "keys": [key]
        }),
    )
}

pub(super) fn decision() -> Vec<u8> {
    let request_key = RequestKey::from_seed(&[6; 32]).public();
    said(
        REBUILDER_DECISION,
        &json!({
            "number": 1, "name": "r1", "operator": "op-1", "requestKey": request_key,
            "statementKey": key().public().to_pem(), "standing": "approved", "decidedAt": T, "actor": "ops"
        }),
    )
}

pub(super) fn signatures() -> Vec<u8> {
    let package = json!({"record": 1, "signedAt": T, "header": D, "nevra": "p-1-1.noarch"});
    said(
        SIGNATURES,
        &json!({"saidAt": T, "verifier": "v", "journal": D, "packages": [package]}),
    )
}

pub(super) fn list() -> Vec<u8> {
    format!("{D} {D} {D} a-1-1.noarch\n{D} {D} {D} b-1-1.noarch\n").into_bytes()
}

pub(super) fn sbom() -> Vec<u8> {
    let property = json!({"name": sbom_facts::HEADER_PROPERTY, "value": D});
    bytes(&json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6",
        "metadata": {"component": {"properties": [property]}}
    }))
}

pub(super) fn signed() -> Envelope {
    key().sign(IN_TOTO_PAYLOAD_TYPE, &summary())
}

pub(super) fn envelope() -> Vec<u8> {
    signed().to_json()
}

pub(super) fn log_entry() -> Vec<u8> {
    entry(&signed(), &key().public()).unwrap()
}

/// Of a log with that entry alone.
pub(super) fn proof() -> LogProof {
    let root = leaf_hash(&log_entry());
    let text = format!("log.example\n1\n{}\n", root.to_base64());
    let at = Timestamp::from_unix_secs(0);
    let signatures = [log(), witness()].map(|key| key.sign(&text, at).unwrap());
    LogProof {
        extra: Some(b"x".to_vec()),
        index: 0,
        hashes: Vec::new(),
        checkpoint: Note {
            text,
            signatures: signatures.to_vec(),
        },
    }
}

pub(super) fn checkpoint() -> Vec<u8> {
    proof().checkpoint.to_string().into_bytes()
}

pub(super) fn logged() -> Vec<u8> {
    bundle::logged(&signed(), &log_entry(), &proof(), &log().public()).unwrap()
}

pub(super) fn request() -> Vec<u8> {
    let request = AddCheckpoint {
        old: 0,
        proof: Vec::new(),
        checkpoint: proof().checkpoint,
    };
    request.to_string().into_bytes()
}

pub(super) fn answer() -> Vec<u8> {
    proof().checkpoint.signatures[1].to_string().into_bytes()
}

pub(super) fn witnesses() -> Vec<u8> {
    let key = witness().public();
    format!("witness a {key} https://w.example\ngroup g 1 a\nquorum g\n").into_bytes()
}

fn by_the_root(document: &impl serde::Serialize) -> Vec<u8> {
    let mut signed = Signed::unsigned(document).unwrap();
    signed.sign(&root_key()).unwrap();
    signed.to_json().unwrap()
}

fn root_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[5; 32])
}

fn far() -> Timestamp {
    Timestamp::from_unix_secs(2_000_000_000)
}

pub(super) fn root() -> Vec<u8> {
    by_the_root(&Root::new(&[root_key().verifying_key()], 1, 1, far()))
}

pub(super) fn targets() -> Vec<u8> {
    by_the_root(&Targets::of_one("policy.toml", &policy(), 1, far()))
}

pub(super) fn policy() -> Vec<u8> {
    b"version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\n".to_vec()
}

pub(super) fn statement_key() -> Vec<u8> {
    key().public().to_pem().into_bytes()
}

pub(super) fn published() -> Vec<u8> {
    bytes(&json!([{
        "role": "statement", "state": "current", "label": "statement-key", "fingerprint": "f",
        "algorithm": "a", "openpgp_version": null, "made": T, "expires": null, "since": T,
        "public": "p", "findings": ["f"]
    }]))
}

pub(super) fn published_log() -> Vec<u8> {
    bytes(&json!([{
        "role": "log", "state": "current", "label": "log-key", "fingerprint": D, "algorithm": "Ed25519",
        "made": null, "public": log().public().to_string()
    }]))
}

pub(super) fn builds() -> Vec<u8> {
    let package = json!({
        "nevra": "p-1-1.noarch", "header": D, "unsigned_file": D, "signed_file": D,
        "href": "Packages/p/p-1-1.noarch.rpm", "size_bytes": 7, "summary": "s",
        "evidence": [{"kind": "sbom", "label": "cyclonedx-1.6", "digest": D}]
    });
    let rebuild = json!({
        "rebuilder": "r1", "operator": "op-1", "state": "done", "attempt": 1, "verdict": "identical",
        "causes": [], "last_error": null, "log": D
    });
    bytes(&json!([{
        "build": 1, "repo": "base", "source": "p-1-1.src", "source_file": D, "buildinfo": D,
        "provenance": D, "stage": "published", "release": 4, "received_at": T, "changed_at": T,
        "packages": [package], "rebuilds": [rebuild],
        "jobs": [{"name": "sign", "state": "failed", "attempt": 1, "run_at": T, "last_error": "e"}]
    }]))
}

pub(super) fn releases() -> Vec<u8> {
    let repo = json!({"repo": "base", "arch": "x86_64", "packages": 1, "repomd": D});
    bytes(&json!([{
        "id": 4, "issued": T, "envelope": D, "repos": [repo], "channels": ["stable"]
    }]))
}

pub(super) fn channels() -> Vec<u8> {
    bytes(&json!([{"channel": "stable", "release": 4, "moved_at": T, "follows": true}]))
}

pub(super) fn ask_documents() -> Vec<u8> {
    bytes(&json!({"documents": [D], "bundles": [D], "heads": [D]}))
}

pub(super) fn ask_packages() -> Vec<u8> {
    bytes(&json!({"headers": [D]}))
}

/// That has seen the entry.
pub(super) fn memory() -> Vec<u8> {
    let mut memory = Memory::default();
    memory.take(&log_entry(), Some(&signed()), &[key().public()]);
    serde_json::to_vec(&memory).unwrap()
}
