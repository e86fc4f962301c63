//! Everything that the log of a world says, read as anybody can: heads, statements by digest, envelopes.

use crate::http::Http;
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::log::{Checkpoint, Note, Tile, tiles_of};
use std::collections::BTreeMap;

/// The payloads of all statements in the log, in its order.
///
/// # Panics
/// When one of them cannot be had.
pub fn statements(http: &Http) -> Vec<serde_json::Value> {
    let note = Note::parse(&http.fetch("/log/checkpoint")).expect("a note");
    let head: Checkpoint = note.text.parse().expect("a checkpoint");
    let bundles = tiles_of(0, head.size).into_iter();
    let mut all = Vec::new();
    for bundle in bundles.filter(|tile: &Tile| tile.level.is_none()) {
        let rest = bundle.to_string().replace("tile/entries/", "statements/");
        let digests = http.fetch(&format!("/log/{rest}"));
        for raw in digests.as_chunks::<32>().0 {
            let digest = FileDigest::from_bytes(*raw);
            let json = http.fetch(&format!("/evidence/sha256/{digest}"));
            let envelope = Envelope::from_json(&json).expect("an envelope");
            let payload = envelope.unverified_payload().expect("base64");
            all.push(serde_json::from_slice(&payload).expect("JSON"));
        }
    }
    all
}

/// How many there are of each kind, by the end of the predicate type: `rpm-rebuild/v0.1`.
pub fn kinds(statements: &[serde_json::Value]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for statement in statements {
        let kind = statement["predicateType"].as_str().unwrap_or_default();
        let mut parts = kind.rsplitn(3, '/');
        let (version, name) = (parts.next(), parts.next());
        let kind = [name, version].map(Option::unwrap_or_default).join("/");
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
