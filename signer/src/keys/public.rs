//! The public halves: one file a key in `public/`, and those of the current keys under the names that
//! people know.

use super::backend::{KeyStore, Slot};
use super::files::{make_public_dir, read_public, replace};
use super::lint;
use super::openpgp::{from_system_time, library};
use super::revocation::Revocation;
use super::ring::RingKey;
use super::{
    KeyError, Keys, METADATA_CERTIFICATE, METADATA_PQC_CERTIFICATE, PACKAGE_CERTIFICATE,
    PACKAGE_PQC_CERTIFICATE, STATEMENT_PUBLIC,
};
use repo_model::Timestamp;
use repo_model::dsse::StatementPublicKey;
use repo_model::wire::signer::{KeyRole, KeyState, PublishedKey};
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::StandardPolicy;
use std::path::Path;

/// Folder in `state_dir`.
const DIR: &str = "public";

fn file_name(slot: &Slot) -> String {
    match slot.role {
        KeyRole::Statement => format!("{}.pub", slot.label),
        KeyRole::Package | KeyRole::Metadata | KeyRole::PackagePqc | KeyRole::MetadataPqc => {
            format!("{}.asc", slot.label)
        }
    }
}

/// Writes the public half of a key; returns its fingerprint. A key of ours that some client would refuse
/// is refused here.
pub(super) fn write(
    store: &dyn KeyStore,
    dir: &Path,
    key: &RingKey,
    now: Timestamp,
) -> Result<String, KeyError> {
    let slot = key.slot();
    let (text, fingerprint) = match key.role {
        KeyRole::Package | KeyRole::Metadata => {
            let signing = store.open_pgp(&slot)?;
            fit(&slot, signing.certificate(), now)?;
            let text = signing.certificate_armor().map_err(slot.open_pgp())?;
            (text, signing.fingerprint())
        }
        KeyRole::PackagePqc | KeyRole::MetadataPqc => {
            let signing = store.post_quantum(&slot)?;
            fit(&slot, signing.certificate(), now)?;
            let text = signing.certificate_armor().map_err(slot.open_pgp())?;
            (text, signing.fingerprint())
        }
        KeyRole::Statement => {
            let public = store.statement(&slot)?.public();
            (public.to_pem(), public.key_id())
        }
    };
    let public = make_public_dir(&dir.join(DIR))?;
    replace(&public, &file_name(&slot), text.as_bytes(), 0o644)?;
    Ok(fingerprint)
}

fn fit(slot: &Slot, certificate: &Cert, now: Timestamp) -> Result<(), KeyError> {
    let made = from_system_time(certificate.primary_key().key().creation_time());
    if made > now {
        let label = slot.label.clone();
        return Err(KeyError::FromTheFuture { label, made, now });
    }
    let findings = lint::findings(certificate, now);
    if findings.is_empty() {
        return Ok(());
    }
    Err(KeyError::Unfit {
        label: slot.label.clone(),
        findings: findings.join("; "),
    })
}

/// Puts the revoked certificate in the place of the good one. A statement key has nothing that could say
/// so; the list of keys does.
pub(super) fn write_revoked(
    store: &dyn KeyStore,
    dir: &Path,
    key: &RingKey,
    compromised: bool,
    reason: &str,
    now: Timestamp,
) -> Result<(), KeyError> {
    let slot = key.slot();
    let revocation = Revocation {
        compromised,
        reason,
        now,
    };
    let revoked = match slot.role {
        KeyRole::Statement => return Ok(()),
        KeyRole::Package | KeyRole::Metadata => {
            store.open_pgp(&slot)?.revoked_certificate(revocation)
        }
        KeyRole::PackagePqc | KeyRole::MetadataPqc => {
            store.post_quantum(&slot)?.revoked_certificate(revocation)
        }
    };
    let text = revoked.map_err(slot.open_pgp())?;
    replace(&dir.join(DIR), &file_name(&slot), text.as_bytes(), 0o644)
}

/// The fingerprint that the public half has.
pub(super) fn fingerprint(dir: &Path, key: &RingKey) -> Result<String, KeyError> {
    let far = Timestamp::from_unix_secs(i64::from(u32::MAX));
    Ok(published(dir, key, far)?.fingerprint)
}

/// The current keys under their well-known names in `state_dir`.
pub(super) fn write_current(dir: &Path, keys: &Keys) -> Result<(), KeyError> {
    let failed = |label: &'static str| {
        move |source| KeyError::OpenPgp {
            label: label.to_owned(),
            source,
        }
    };
    let package = keys.package.certificate_armor();
    let metadata = keys.metadata.certificate_armor();
    let mut files = vec![
        (PACKAGE_CERTIFICATE, package.map_err(failed("package-key"))?),
        (
            METADATA_CERTIFICATE,
            metadata.map_err(failed("metadata-key"))?,
        ),
        (STATEMENT_PUBLIC, keys.statement.public().to_pem()),
    ];
    if let Some(more) = &keys.post_quantum {
        let package = more.package.certificate_armor();
        let metadata = more.metadata.certificate_armor();
        files.push((
            PACKAGE_PQC_CERTIFICATE,
            package.map_err(failed("package-key-pqc"))?,
        ));
        files.push((
            METADATA_PQC_CERTIFICATE,
            metadata.map_err(failed("metadata-key-pqc"))?,
        ));
    }
    for (name, text) in files {
        replace(dir, name, text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// What is told about a key, from its public half.
pub(super) fn published(
    dir: &Path,
    key: &RingKey,
    now: Timestamp,
) -> Result<PublishedKey, KeyError> {
    let slot = key.slot();
    let bytes = read_public(&dir.join(DIR).join(file_name(&slot)))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let plain = PublishedKey {
        role: key.role,
        state: key.state,
        label: key.label.clone(),
        fingerprint: String::new(),
        algorithm: "ECDSA P-256".to_owned(),
        openpgp_version: None,
        made: None,
        expires: None,
        since: key.since,
        public: text,
        findings: Vec::new(),
    };
    if key.role == KeyRole::Statement {
        let public: StatementPublicKey = plain.public.parse().map_err(KeyError::Statement)?;
        return Ok(PublishedKey {
            fingerprint: public.key_id(),
            // The first one begins to sign when it is made.
            made: key.since,
            ..plain
        });
    }
    let certificate = Cert::from_bytes(&bytes)
        .map_err(|error| slot.open_pgp()(library("read a certificate")(error)))?;
    let primary = certificate.primary_key().key();
    let policy = StandardPolicy::new();
    let expires = certificate
        .with_policy(&policy, primary.creation_time())
        .ok()
        .and_then(|valid| valid.primary_key().key_expiration_time());
    let revoked = key.state == KeyState::Revoked;
    Ok(PublishedKey {
        fingerprint: certificate.fingerprint().to_hex(),
        algorithm: primary.pk_algo().to_string(),
        openpgp_version: Some(primary.version()),
        made: Some(from_system_time(primary.creation_time())),
        expires: expires.map(from_system_time),
        findings: match revoked {
            true => Vec::new(),
            false => lint::findings(&certificate, now),
        },
        ..plain
    })
}
