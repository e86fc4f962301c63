//! Every reader, by name, with something that it reads well.

use super::samples::*;
use crate::announcement::{
    CHANNEL_MOVE, ChannelMove, KEY_SET, KeySet, REBUILDER_DECISION, RebuilderDecision, SIGNATURES,
    Signatures,
};
use crate::bundle::Bundle;
use crate::dsse::{Envelope, IN_TOTO_PAYLOAD_TYPE, StatementPublicKey};
use crate::freshness::{FRESHNESS, Freshness};
use crate::log::{
    AddCheckpoint, Checkpoint, LogProof, Note, Tile, VerifierKey, WitnessPolicy, entry_key,
    read_bundle, read_cosignatures, read_size, write_bundle,
};
use crate::monitor::Memory;
use crate::policy::Policy;
use crate::policy::waivers::{WAIVER, Waiver};
use crate::release::{PackageListIndex, ReleaseDocument, read_package_list};
use crate::sealed::{COMMITMENT, Commitment, REVEAL, Reveal};
use crate::sightings::{SIGHTINGS, Sightings};
use crate::statement::{
    PACKAGE_RELEASE, PROVENANCE, PackageRelease, Provenance, REBUILD, RELEASE, Rebuild,
    SBOM_REFERENCE, SbomReference, Statement, VSA, VerificationSummary, claimed_predicate_type,
};
use crate::trust::TrustedRoot;
use crate::wire::evidence::{AskDocuments, AskPackages};
use crate::wire::signer::{PublishedKey, PublishedLogKey};
use crate::wire::status::{BuildStatus, ChannelStatus, ReleaseStatus};
use crate::{HeaderDigest, Timestamp, sbom_facts};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) struct Reader {
    pub name: &'static str,
    /// Something that reads well.
    pub sample: fn() -> Vec<u8>,
    /// Whether it reads. It must not believe what was changed.
    pub read: fn(&[u8]) -> bool,
}

const fn reader(name: &'static str, sample: fn() -> Vec<u8>, read: fn(&[u8]) -> bool) -> Reader {
    Reader { name, sample, read }
}

pub(super) static READERS: &[Reader] = &[
    // Statements.
    reader("envelope", envelope, read_envelope),
    reader("build provenance", provenance, |b| {
        statement::<Provenance>(b, PROVENANCE)
    }),
    reader("rebuild", rebuild, |b| statement::<Rebuild>(b, REBUILD)),
    reader("commitment", commitment, |b| {
        statement::<Commitment>(b, COMMITMENT)
    }),
    reader("reveal", reveal, |b| statement::<Reveal>(b, REVEAL)),
    reader("waiver", waiver, |b| statement::<Waiver>(b, WAIVER)),
    reader("SBOM statement", sbom_statement, |b| {
        statement::<SbomReference>(b, SBOM_REFERENCE)
    }),
    reader("verification summary", summary, |b| {
        statement::<VerificationSummary>(b, VSA)
    }),
    reader("release statement", released, |b| {
        statement::<PackageRelease>(b, PACKAGE_RELEASE)
    }),
    reader("release document", document, |b| {
        statement::<ReleaseDocument>(b, RELEASE)
    }),
    reader("freshness", freshness, |b| {
        statement::<Freshness>(b, FRESHNESS)
    }),
    reader("sightings of mirrors", sightings, |b| {
        statement::<Sightings>(b, SIGHTINGS)
    }),
    reader("channel move", channel_move, |b| {
        statement::<ChannelMove>(b, CHANNEL_MOVE)
    }),
    reader("key set", key_set, |b| statement::<KeySet>(b, KEY_SET)),
    reader("rebuilder decision", decision, |b| {
        statement::<RebuilderDecision>(b, REBUILDER_DECISION)
    }),
    reader("signatures", signatures, |b| {
        statement::<Signatures>(b, SIGNATURES)
    }),
    reader("package list", list, read_list),
    reader("SBOM", sbom, |b| sbom_facts::read(b).is_ok()),
    // The log.
    reader("Sigstore bundle", logged, read_logged),
    reader(
        "tlog-proof",
        || proof().to_string().into_bytes(),
        read_proof,
    ),
    reader("note and checkpoint", checkpoint, read_note),
    reader("log entry", log_entry, |b| entry_key(b).is_some()),
    reader("tile of entries", entries, read_entries),
    reader(
        "path of a tile",
        || b"tile/0/x001/234.p/17".to_vec(),
        |b| text(b).parse::<Tile>().is_ok(),
    ),
    reader(
        "log key",
        || log().public().to_string().into_bytes(),
        |b| text(b).parse::<VerifierKey>().is_ok(),
    ),
    // Witnesses.
    reader("witness request", request, |b| {
        AddCheckpoint::parse(b).is_ok()
    }),
    reader("witness answer", answer, |b| {
        read_cosignatures(&text(b)).is_ok()
    }),
    reader(
        "size of a witness",
        || b"20852163\n".to_vec(),
        |b| read_size(&text(b)).is_some(),
    ),
    reader("witness policy", witnesses, |b| {
        text(b).parse::<WitnessPolicy>().is_ok()
    }),
    // Whom to trust.
    reader("root of trust", root, |b| TrustedRoot::pinned(b).is_ok()),
    reader("targets of the root", targets, read_targets),
    reader("policy", policy, |b| Policy::from_toml(&text(b)).is_ok()),
    reader("statement key", statement_key, |b| {
        text(b).parse::<StatementPublicKey>().is_ok()
    }),
    // What a server answers, and is asked.
    reader("keys.json", published, json::<Vec<PublishedKey>>),
    reader("log-keys.json", published_log, json::<Vec<PublishedLogKey>>),
    reader("builds", builds, json::<Vec<BuildStatus>>),
    reader("releases", releases, json::<Vec<ReleaseStatus>>),
    reader("channels", channels, json::<Vec<ChannelStatus>>),
    reader(
        "question for documents",
        ask_documents,
        json::<AskDocuments>,
    ),
    reader("question for packages", ask_packages, json::<AskPackages>),
    // A monitor.
    reader("state of a monitor", memory, json::<Memory>),
    reader("entry before a monitor", envelope, read_as_monitor),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> bool {
    serde_json::from_slice::<T>(bytes).is_ok()
}

fn statement<P: Serialize + DeserializeOwned>(payload: &[u8], kind: &'static str) -> bool {
    let envelope = Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, payload);
    claimed_predicate_type(&envelope);
    Statement::<P>::open_unverified(&envelope, kind).is_ok()
}

fn read_envelope(bytes: &[u8]) -> bool {
    drop(Envelope::from_canonical_json(bytes));
    let Ok(read) = Envelope::from_json(bytes) else {
        return false;
    };
    if let Ok(payload) = read.verified_by(&key().public()) {
        assert_eq!(payload, summary(), "what was not signed is believed");
    }
    true
}

fn read_logged(bytes: &[u8]) -> bool {
    let Ok(bundle) = Bundle::from_json(bytes) else {
        return false;
    };
    for place in &bundle.places {
        if place.proof.verify(&place.entry, &log().public()).is_ok() {
            assert_eq!(
                place.entry,
                log_entry(),
                "what the log does not have is believed"
            );
        }
    }
    true
}

fn read_proof(bytes: &[u8]) -> bool {
    let Ok(read) = text(bytes).parse::<LogProof>() else {
        return false;
    };
    if read.verify(&log_entry(), &log().public()).is_ok() {
        assert_eq!(read.index, 0, "a place that was not proven is believed");
    }
    true
}

fn read_note(bytes: &[u8]) -> bool {
    let Ok(note) = Note::parse(bytes) else {
        return false;
    };
    if let Ok(head) = Checkpoint::open(&note, &log().public()) {
        assert_eq!(head.size, 1, "what the log did not sign is believed");
    }
    true
}

fn entries() -> Vec<u8> {
    write_bundle([&b"a"[..], b"bc"]).unwrap()
}

fn read_entries(bytes: &[u8]) -> bool {
    let Some(entries) = read_bundle(bytes) else {
        return false;
    };
    let inside: usize = entries.iter().map(|entry| entry.len() + 2).sum();
    assert_eq!(inside, bytes.len(), "entries are of the bundle's bytes");
    true
}

fn read_targets(bytes: &[u8]) -> bool {
    let root = TrustedRoot::pinned(&root()).unwrap();
    let now = Timestamp::from_unix_secs(0);
    let vouched = root.vouch(bytes, "policy.toml", &policy(), now);
    assert!(root.vouch(bytes, "policy.toml", b"another", now).is_err());
    vouched.is_ok()
}

fn read_list(bytes: &[u8]) -> bool {
    let header: HeaderDigest = D.parse().unwrap();
    drop(PackageListIndex::of(bytes).find(bytes, header));
    read_package_list(&text(bytes)).is_ok()
}

/// Whatever it stands for, an entry is taken in, once, and its statement only when it is the entry's.
fn read_as_monitor(bytes: &[u8]) -> bool {
    let mut memory = Memory::default();
    let envelope = Envelope::from_json(bytes).ok();
    memory.take(&log_entry(), envelope.as_ref(), &[key().public()]);
    assert_eq!(memory.frontier.size(), 1);
    let summaries = memory.summaries.len();
    memory.take(bytes, envelope.as_ref(), &[key().public()]);
    assert_eq!(memory.summaries.len(), summaries, "no entry is believed");
    envelope.is_some()
}
