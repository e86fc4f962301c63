//! Proofs beside packages: `foo.rpm.tlog-proof` says offline that the release statement of `foo.rpm` is in
//! the log, `foo.rpm.vsa.tlog-proof` the same of its verification summary; the two `….sigstore.json` say
//! it to stock verifiers of Sigstore bundles.

use super::entries::MAX_ENVELOPE_BYTES;
use super::tiles::{Tiles, read_entry};
use super::witnesses::head_for;
use super::{LogError, directory, key, open, packs};
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::{self, DbError};
use crate::jobs::JobError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use repo_model::dsse::Envelope;
use repo_model::log::{CheckpointError, LogProof, Note, VerifierKey, inclusion_proof};
use repo_model::{FileDigest, bundle};
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;

/// Statements whose proofs lie beside a package.
const PROVEN: [(Kind, &str); 2] = [
    (Kind::ReleaseStatement, RELEASE),
    (Kind::VerificationSummary, "slsa-vsa-v1"),
];
/// Label of what is about the release statement.
pub(super) const RELEASE: &str = "in-toto-release-v0.1";
const TLOG_PROOF: &str = "text/plain; charset=utf-8";

/// One statement about one package, with its place.
struct Wanted {
    package_id: u64,
    label: &'static str,
    statement: FileDigest,
    index: u64,
}

/// Makes and records the documents for every package of these builds that lacks them, then packs all evidence about
/// each. Returns the statements
/// that are not in the log, so that nothing could be proven of them.
pub async fn attach(app: &App, builds: &[u64]) -> Result<Vec<FileDigest>, JobError> {
    let mut unlogged = Vec::new();
    for build_id in builds.iter().copied() {
        let (wanted, missing) = app
            .db
            .read(move |connection| wanted(connection, build_id))
            .await?;
        unlogged.extend(missing);
        if !wanted.is_empty() {
            attach_to(app, build_id, wanted).await?;
        }
        packs::attach(app, build_id).await?;
    }
    Ok(unlogged)
}

/// Statements without a proof, with their places; and those without a place.
fn wanted(
    connection: &Connection,
    build_id: u64,
) -> Result<(Vec<Wanted>, Vec<FileDigest>), DbError> {
    let (mut all, mut unlogged) = (Vec::new(), Vec::new());
    for PackageRow { package_id, .. } in db::builds::packages(connection, build_id)? {
        for (kind, label) in PROVEN {
            let newest = |kind| db::evidence::newest(connection, package_id, kind, label);
            let (Some(statement), None) = (newest(kind)?, newest(Kind::LogProof)?) else {
                continue;
            };
            match db::log::index_of(connection, statement)? {
                Some(index) => all.push(Wanted {
                    package_id,
                    label,
                    statement,
                    index,
                }),
                None => unlogged.push(statement),
            }
        }
    }
    Ok((all, unlogged))
}

async fn attach_to(app: &App, build_id: u64, wanted: Vec<Wanted>) -> Result<(), JobError> {
    let key = key(app).await?;
    let mut made = Vec::with_capacity(wanted.len() * 2);
    for wanted in wanted {
        let json = app.store.get(wanted.statement, MAX_ENVELOPE_BYTES).await?;
        let statement = wanted.statement;
        let envelope = Envelope::from_json(&json)
            .map_err(|error| JobError::Broken(format!("statement {statement}: {error}")))?;
        let Some(note) = head_for(app, wanted.index).await? else {
            return Ok(());
        };
        let (proof, bundle) = prove(app, envelope, wanted.index, note, key.clone()).await?;
        for (kind, bytes, media_type) in [
            (Kind::LogProof, proof.to_string().into_bytes(), TLOG_PROOF),
            (Kind::SigstoreBundle, bundle, bundle::MEDIA_TYPE),
        ] {
            made.push(NewEvidence {
                build_id,
                package_id: Some(wanted.package_id),
                kind,
                label: wanted.label.to_owned(),
                digest: app.store.put(bytes).await?,
                media_type,
            });
        }
    }
    app.db
        .write(move |tx| {
            for new in &made {
                db::evidence::insert(tx, new, now())?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

/// The bundle of any logged statement, at the newest checkpoint that a quorum of witnesses has seen, or the
/// newest of all when that does not cover it; without a place while it has none.
pub async fn bundle(
    app: &App,
    statement: FileDigest,
    envelope: Envelope,
) -> Result<Vec<u8>, JobError> {
    let (index, published) = app
        .db
        .read(move |connection| {
            Ok::<_, DbError>((
                db::log::index_of(connection, statement)?,
                db::log::progress(connection)?.published,
            ))
        })
        .await?;
    let index = index.filter(|index| *index < published);
    let note = match index {
        Some(index) => head_for(app, index).await?,
        None => None,
    };
    match (index, note) {
        (Some(index), Some(note)) => {
            let key = key(app).await?;
            Ok(prove(app, envelope, index, note, key).await?.1)
        }
        (_, _) => Ok(bundle::of(&envelope)),
    }
}

/// The same for who has database and files at hand, and can block: at the newest head that a quorum has seen and that
/// covers the statement, or the newest of all. Without a place while it has none.
pub fn bundle_of_files(
    connection: &Connection,
    directory: &Path,
    key: &VerifierKey,
    statement: FileDigest,
    envelope: &Envelope,
) -> Result<Vec<u8>, BundleError> {
    let published = db::log::progress(connection)?.published;
    let index = db::log::index_of(connection, statement)?.filter(|index| *index < published);
    let witnessed = db::log::witnessed(connection)?.filter(|(size, _)| Some(*size) > index);
    let note = match witnessed {
        Some((_, note)) => Some(note),
        None => db::log::published_checkpoint(connection)?,
    };
    let (Some(index), Some(note)) = (index, note) else {
        return Ok(bundle::of(envelope));
    };
    let (proof, entry) = proof(directory, index, &note, key)?;
    bundle::logged(envelope, &entry, &proof, key)
        .map_err(|_| BundleError::Log(LogError::NotProven { index }))
}

/// A bundle could not be made. Ours; trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The log's files do not prove it.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Proof and bundle of the entry at `index`, at the checkpoint `note`.
async fn prove(
    app: &App,
    envelope: Envelope,
    index: u64,
    note: String,
    key: VerifierKey,
) -> Result<(LogProof, Vec<u8>), JobError> {
    let directory = directory(&app.config.server.data_dir);
    let made = tokio::task::spawn_blocking(move || -> Result<_, LogError> {
        let (proof, entry) = proof(&directory, index, &note, &key)?;
        let bundle = bundle::logged(&envelope, &entry, &proof, &key)
            .map_err(|_| LogError::NotProven { index })?;
        Ok((proof, bundle))
    });
    Ok(made.await??)
}

/// The proof of an entry, with the entry, from the files of the log; checked before it is given out.
fn proof(
    directory: &Path,
    index: u64,
    note: &str,
    key: &VerifierKey,
) -> Result<(LogProof, Vec<u8>), LogError> {
    let size = open(note, key)?.size;
    let mut tree = Tiles::open(directory, size);
    let proof = LogProof {
        extra: None,
        index,
        hashes: inclusion_proof(index, size, &mut tree)?,
        checkpoint: Note::parse(note.as_bytes()).map_err(CheckpointError::from)?,
    };
    let entry = read_entry(directory, index, size)?;
    match proof.verify(&entry, key) {
        Ok(_) => Ok((proof, entry)),
        Err(_) => Err(LogError::NotProven { index }),
    }
}

/// What a stock verifier has to trust: `trusted_root.json` with our log's key. `baseUrl` is the log's name
/// alone: cosign compares it with the checkpoint's origin.
pub fn trusted_root(key: &VerifierKey) -> String {
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [{
            "baseUrl": format!("https://{}", key.name()),
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(key.to_spki_der()),
                "keyDetails": "PKIX_ED25519",
                "validFor": {"start": "1970-01-01T00:00:00Z"},
            },
            "logId": {"keyId": STANDARD.encode(key.full_id())},
        }],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    })
    .to_string()
}
