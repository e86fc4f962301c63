//! Everything that a verifier, a witness, a monitor or a mirror reads from somebody else, by name: changed, cut and
//! blown up, each reader answers or refuses, soon and without a panic. What is signed is believed unchanged or not at
//! all: that is tried beside the formats (`log/mutation.rs`) and here for envelopes.
//!
//! Seeds are fixed, so a failure comes again: the message names reader and seed. `HALLMARK_FUZZ_SECS` goes on with
//! further seeds for so long, shared among the readers.

mod changed;

use changed::{bombs, mutated};

use crate::announcement::{
    CHANNEL_MOVE, ChannelMove, KEY_SET, KeySet, REBUILDER_DECISION, RebuilderDecision, SIGNATURES,
    Signatures,
};
use crate::bundle::{self, Bundle};
use crate::dsse::{Envelope, IN_TOTO_PAYLOAD_TYPE, StatementKey};
use crate::freshness::{FRESHNESS, Freshness};
use crate::log::{
    AddCheckpoint, Checkpoint, LogKey, LogProof, Note, SignatureKind, Tile, VerifierKey,
    WitnessPolicy, entry, entry_key, leaf_hash, read_bundle, read_cosignatures, read_size,
    write_bundle,
};
use crate::monitor::Memory;
use crate::policy::Policy;
use crate::policy::waivers::{WAIVER, Waiver};
use crate::release::{PackageListIndex, ReleaseDocument, read_package_list};
use crate::sealed::{Commitment, Reveal};
use crate::statement::{
    PACKAGE_RELEASE, PackageRelease, REBUILD, RELEASE, Rebuild, Statement, VSA,
    VerificationSummary, claimed_predicate_type,
};
use crate::trust::TrustedRoot;
use crate::trust::document::{Root, Signed};
use crate::wire::evidence::{AskDocuments, AskPackages};
use crate::wire::signer::PublishedKey;
use crate::wire::status::{BuildStatus, ChannelStatus, ReleaseStatus};
use crate::{FileDigest, HeaderDigest, Timestamp, sbom_facts};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest that one reading may take: this is for endless loops, on a slow and busy machine.
const MOST: Duration = Duration::from_secs(10);

struct Reader {
    name: &'static str,
    /// Something that reads well.
    sample: fn() -> Vec<u8>,
    read: fn(&[u8]),
}

static READERS: &[Reader] = &[
    Reader {
        name: "envelope",
        sample: envelope,
        read: read_envelope,
    },
    Reader {
        name: "verification summary",
        sample: || said(VSA, SUMMARY),
        read: |b| statement::<VerificationSummary>(b, VSA),
    },
    Reader {
        name: "release statement",
        sample: || said(PACKAGE_RELEASE, r#"{"purl":"pkg:rpm/p"}"#),
        read: |b| statement::<PackageRelease>(b, PACKAGE_RELEASE),
    },
    Reader {
        name: "release document",
        sample: || said(RELEASE, DOCUMENT),
        read: |b| statement::<ReleaseDocument>(b, RELEASE),
    },
    Reader {
        name: "rebuild",
        sample: || said(REBUILD, "{}"),
        read: |b| statement::<Rebuild>(b, REBUILD),
    },
    Reader {
        name: "waiver",
        sample: || said(WAIVER, "{}"),
        read: |b| statement::<Waiver>(b, WAIVER),
    },
    Reader {
        name: "commitment",
        sample: || said("c", "{}"),
        read: |b| statement::<Commitment>(b, "c"),
    },
    Reader {
        name: "reveal",
        sample: || said("r", "{}"),
        read: |b| statement::<Reveal>(b, "r"),
    },
    Reader {
        name: "freshness",
        sample: || said(FRESHNESS, FRESH),
        read: |b| statement::<Freshness>(b, FRESHNESS),
    },
    Reader {
        name: "channel move",
        sample: || said(CHANNEL_MOVE, MOVE),
        read: |b| statement::<ChannelMove>(b, CHANNEL_MOVE),
    },
    Reader {
        name: "key set",
        sample: || said(KEY_SET, KEYS),
        read: |b| statement::<KeySet>(b, KEY_SET),
    },
    Reader {
        name: "rebuilder decision",
        sample: || said(REBUILDER_DECISION, "{}"),
        read: |b| statement::<RebuilderDecision>(b, REBUILDER_DECISION),
    },
    Reader {
        name: "signatures",
        sample: || said(SIGNATURES, "{}"),
        read: |b| statement::<Signatures>(b, SIGNATURES),
    },
    Reader {
        name: "package list",
        sample: || LIST.replace('D', &"ab".repeat(32)).into_bytes(),
        read: read_list,
    },
    Reader {
        name: "bundle",
        sample: logged,
        read: read_logged,
    },
    Reader {
        name: "proof",
        sample: || proof().to_string().into_bytes(),
        read: |b| drop(text(b).parse::<LogProof>()),
    },
    Reader {
        name: "note and checkpoint",
        sample: || proof().checkpoint.to_string().into_bytes(),
        read: read_note,
    },
    Reader {
        name: "log entry",
        sample: log_entry,
        read: |b| {
            let _ = entry_key(b);
        },
    },
    Reader {
        name: "tile of entries",
        sample: || write_bundle([&b"a"[..], b"bc"]).unwrap(),
        read: |b| drop(read_bundle(b)),
    },
    Reader {
        name: "path of a tile",
        sample: || b"tile/0/x001/234.p/17".to_vec(),
        read: |b| {
            let _ = text(b).parse::<Tile>();
        },
    },
    Reader {
        name: "log key",
        sample: || log().public().to_string().into_bytes(),
        read: |b| drop(text(b).parse::<VerifierKey>()),
    },
    Reader {
        name: "witness request",
        sample: request,
        read: |b| drop(AddCheckpoint::parse(b)),
    },
    Reader {
        name: "witness answer",
        sample: || proof().checkpoint.signatures[0].to_string().into_bytes(),
        read: read_answer,
    },
    Reader {
        name: "witness policy",
        sample: || format!("witness a {}\nquorum a\n", witness()).into_bytes(),
        read: |b| drop(text(b).parse::<WitnessPolicy>()),
    },
    Reader {
        name: "root of trust",
        sample: root,
        read: |b| drop(TrustedRoot::pinned(b)),
    },
    Reader {
        name: "policy",
        sample: || b"version = 1\nmin_rebuilders = 0\nmin_operators = 0\n".to_vec(),
        read: |b| drop(Policy::from_toml(&text(b))),
    },
    Reader {
        name: "keys.json",
        sample: || PUBLISHED.as_bytes().to_vec(),
        read: json::<Vec<PublishedKey>>,
    },
    Reader {
        name: "builds",
        sample: || b"[]".to_vec(),
        read: json::<Vec<BuildStatus>>,
    },
    Reader {
        name: "releases",
        sample: || b"[]".to_vec(),
        read: json::<Vec<ReleaseStatus>>,
    },
    Reader {
        name: "channels",
        sample: || br#"[{"channel":"stable","release":1,"moved_at":null}]"#.to_vec(),
        read: json::<Vec<ChannelStatus>>,
    },
    Reader {
        name: "question for documents",
        sample: || br#"{"documents":[],"heads":[]}"#.to_vec(),
        read: json::<AskDocuments>,
    },
    Reader {
        name: "question for packages",
        sample: || br#"{"headers":[]}"#.to_vec(),
        read: json::<AskPackages>,
    },
    Reader {
        name: "state of a monitor",
        sample: || serde_json::to_vec(&Memory::default()).unwrap(),
        read: json::<Memory>,
    },
    Reader {
        name: "sbom",
        sample: || {
            br#"{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"hashes":[]}}}"#.to_vec()
        },
        read: |b| drop(sbom_facts::read(b)),
    },
];

const SUMMARY: &str = r#"{"verifier":{"id":"v"},"timeVerified":"2026-11-20T10:06:00Z","resourceUri":"","policy":{},"inputAttestations":[],"verificationResult":"PASSED","verifiedLevels":[],"slsaVersion":"1.0"}"#;
const DOCUMENT: &str = r#"{"schema":"hallmark-release/1","id":4,"previous":null,"issued":"2026-11-20T10:06:00Z","repos":[]}"#;
const FRESH: &str = r#"{"schema":"hallmark-freshness/1","channel":"stable","release":4,"issued":"2026-11-20T10:06:00Z","expires":"2026-11-21T10:06:00Z"}"#;
const MOVE: &str = r#"{"number":1,"channel":"stable","from":null,"to":4,"release":"D","movedAt":"2026-11-20T10:06:00Z","actor":"ops"}"#;
const KEYS: &str = r#"{"verifier":"v","policy":"D","policyVersion":3,"logKeys":[],"keys":[]}"#;
const PUBLISHED: &str = r#"[{"role":"statement","state":"active","label":"k","fingerprint":"f","algorithm":"a","openpgp_version":null,"made":null,"expires":null,"since":null,"public":"p","findings":[]}]"#;
const LIST: &str = "D D D a-1-1.noarch\nD D D b-1-1.noarch\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json<T: DeserializeOwned>(bytes: &[u8]) {
    drop(serde_json::from_slice::<T>(bytes));
}

/// A statement's payload.
fn said(kind: &str, predicate: &str) -> Vec<u8> {
    let predicate = predicate.replace("\"D\"", &format!("\"{}\"", "ab".repeat(32)));
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"p","digest":{{"sha256":"00"}}}}],"predicateType":"{kind}","predicate":{predicate}}}"#
    )
    .into_bytes()
}

fn statement<P: Serialize + DeserializeOwned>(payload: &[u8], kind: &'static str) {
    let envelope = Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, payload);
    drop(Statement::<P>::open_unverified(&envelope, kind));
    claimed_predicate_type(&envelope);
}

fn key() -> StatementKey {
    StatementKey::from_seed(&[2; 32]).unwrap()
}

fn log() -> LogKey {
    LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
}

fn witness() -> VerifierKey {
    let key = LogKey::from_seed("w.example", SignatureKind::Cosignature, &[3; 32]);
    key.unwrap().public()
}

fn signed() -> Envelope {
    key().sign(IN_TOTO_PAYLOAD_TYPE, &said(VSA, SUMMARY))
}

fn envelope() -> Vec<u8> {
    signed().to_json()
}

fn read_envelope(bytes: &[u8]) {
    drop(Envelope::from_canonical_json(bytes));
    if let Ok(read) = Envelope::from_json(bytes)
        && let Ok(payload) = read.verified_by(&key().public())
    {
        assert_eq!(
            payload,
            said(VSA, SUMMARY),
            "what was not signed is believed"
        );
    }
}

fn log_entry() -> Vec<u8> {
    entry(&signed(), &key().public()).unwrap()
}

fn proof() -> LogProof {
    let root = leaf_hash(&log_entry());
    let text = format!("log.example\n1\n{}\n", root.to_base64());
    let signature = log().sign(&text, Timestamp::from_unix_secs(0)).unwrap();
    LogProof {
        extra: Some(b"x".to_vec()),
        index: 0,
        hashes: Vec::new(),
        checkpoint: Note {
            text,
            signatures: vec![signature],
        },
    }
}

fn logged() -> Vec<u8> {
    bundle::logged(&signed(), &log_entry(), &proof(), &log().public()).unwrap()
}

fn read_logged(bytes: &[u8]) {
    let Ok(bundle) = Bundle::from_json(bytes) else {
        return;
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
}

fn read_note(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes)
        && let Ok(head) = Checkpoint::open(&note, &log().public())
    {
        assert_eq!(head.size, 1, "what the log did not sign is believed");
    }
}

fn read_answer(bytes: &[u8]) {
    drop(read_cosignatures(&text(bytes)));
    let _ = read_size(&text(bytes));
}

fn request() -> Vec<u8> {
    let request = AddCheckpoint {
        old: 0,
        proof: Vec::new(),
        checkpoint: proof().checkpoint,
    };
    request.to_string().into_bytes()
}

fn root() -> Vec<u8> {
    let key = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let expires = Timestamp::from_unix_secs(2_000_000_000);
    let root = Root::new(&[key.verifying_key()], 1, 1, expires);
    let mut signed = Signed::unsigned(&root).unwrap();
    signed.sign(&key).unwrap();
    signed.to_json().unwrap()
}

fn read_list(bytes: &[u8]) {
    drop(read_package_list(&text(bytes)));
    let header: HeaderDigest = "ab".repeat(32).parse().unwrap();
    drop(PackageListIndex::of(bytes).find(bytes, header));
}

fn try_one(reader: &Reader, what: &str, bytes: &[u8]) {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (reader.read)(bytes)));
    let name = reader.name;
    assert!(outcome.is_ok(), "{name}: {what}; see the panic above");
    let took = start.elapsed();
    assert!(took < MOST, "{name}: {what} took {took:?}");
}

#[test]
fn no_reader_panics_or_believes_what_was_changed() {
    let secs: Option<u64> = std::env::var("HALLMARK_FUZZ_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok());
    let count = u32::try_from(READERS.len()).unwrap_or(1);
    let each = Duration::from_secs(secs.unwrap_or(0)) / count;
    for reader in READERS {
        let sample = (reader.sample)();
        try_one(reader, "as it should be", &sample);
        let until = Instant::now() + each;
        let mut seed = 1;
        while seed <= 300 || Instant::now() < until {
            try_one(reader, &format!("seed {seed}"), &mutated(&sample, seed));
            seed += 1;
        }
        // Every beginning of it, too, as a connection cuts it.
        for length in (0..sample.len()).step_by(sample.len() / 200 + 1) {
            try_one(reader, "cut", &sample[..length]);
        }
    }
}

#[test]
fn no_reader_is_held_up_by_a_bomb() {
    let bombs = bombs();
    for reader in READERS {
        for (what, bomb) in &bombs {
            try_one(reader, what, bomb);
            // Also where a part of a good document should stand.
            let sample = (reader.sample)();
            let middle = sample.len() / 2;
            let inside = [&sample[..middle], bomb, &sample[middle..]].concat();
            try_one(reader, what, &inside);
        }
    }
}

#[test]
fn every_parser_of_bad_input_is_tried_by_name() {
    let names: Vec<_> = READERS.iter().map(|reader| reader.name).collect();
    for wanted in [
        "proof",
        "envelope",
        "note and checkpoint",
        "tile of entries",
        "witness request",
        "witness policy",
        "freshness",
        "key set",
        "keys.json",
        "bundle",
        "log entry",
        "root of trust",
        "package list",
        "release document",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    // Samples that nobody can read would try the readers' first line only.
    let read = |kind: &'static str, predicate: &str| {
        let envelope = Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, &said(kind, predicate));
        claimed_predicate_type(&envelope).as_deref() == Some(kind)
    };
    assert!(read(VSA, SUMMARY) && read(KEY_SET, KEYS));
    assert!(envelope_opens::<VerificationSummary>(VSA, SUMMARY));
    assert!(envelope_opens::<ReleaseDocument>(RELEASE, DOCUMENT));
    assert!(envelope_opens::<KeySet>(KEY_SET, KEYS));
    assert!(envelope_opens::<ChannelMove>(CHANNEL_MOVE, MOVE));
    assert!(TrustedRoot::pinned(&root()).is_ok());
    assert!(Bundle::from_json(&logged()).is_ok());
    assert_eq!(
        FileDigest::of(&envelope()),
        FileDigest::of(&signed().to_json())
    );
}

fn envelope_opens<P: Serialize + DeserializeOwned>(kind: &'static str, predicate: &str) -> bool {
    let envelope = Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, &said(kind, predicate));
    Statement::<P>::open_unverified(&envelope, kind).is_ok()
}
