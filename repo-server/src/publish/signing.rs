//! Having a release signed: what the signer is sent, and what is demanded of what comes back.

use crate::app::App;
use crate::db::releases::MadeRelease;
use crate::jobs::JobError;
use crate::signer_link;
use hallmark_signer::client::SignedRelease;
use hallmark_signer::verify::{Certificate, verify_all_detached};
use repo_model::wire::signer::{Base64, KeyRole, ReleaseFiles, SignedManifest};

/// Largest document, list or repomd.xml, bytes: a list of 400,000 packages.
pub const MAX_PART_BYTES: u64 = 128 << 20;

/// Has the release signed, and verifies what comes back.
pub async fn sign(app: &App, made: &MadeRelease) -> Result<SignedRelease, JobError> {
    let json = app.store.get(made.document, MAX_PART_BYTES).await?;
    let mut files = Vec::with_capacity(made.repos.len());
    for repo in &made.repos {
        files.push(ReleaseFiles {
            repomd: Base64(app.store.get(repo.repomd, MAX_PART_BYTES).await?.to_vec()),
            package_list: Base64(
                app.store
                    .get(repo.package_list, MAX_PART_BYTES)
                    .await?
                    .to_vec(),
            ),
        });
    }
    let server = app.config.server.clone();
    let signed = tokio::task::spawn_blocking(move || {
        let mut client = signer_link::connect(&server).map_err(JobError::Signer)?;
        let identity = client.identity().map_err(JobError::Signer)?;
        let signed = client
            .sign_release(&json, &files)
            .map_err(JobError::Signer)?;
        let repomds: Vec<&[u8]> = files.iter().map(|file| &*file.repomd.0).collect();
        let ours = identity.certificates(KeyRole::Metadata);
        verify("repomd.xml", &repomds, &signed.repomd_signatures, &ours)?;
        if identity.metadata_pqc_certificate.is_some() {
            let ours = identity.certificates(KeyRole::MetadataPqc);
            verify("repomd.xml", &repomds, &signed.repomd_post_quantum, &ours)?;
        }
        // A signer that knows no manifests makes none.
        if !signed.manifests.is_empty() {
            verify_manifests(&signed.manifests, files.len(), &ours)?;
        }
        Ok(signed)
    });
    signed.await?
}

/// The manifests of so many repositories.
fn verify_manifests(
    manifests: &[SignedManifest],
    repos: usize,
    certificates: &[&str],
) -> Result<(), JobError> {
    if manifests.len() != repos {
        let made = manifests.len();
        return Err(JobError::Broken(format!(
            "the signer made {made} manifests for {repos} repositories"
        )));
    }
    let texts: Vec<&[u8]> = manifests.iter().map(|one| one.text.as_bytes()).collect();
    let armored: Vec<String> = manifests.iter().map(|one| one.armored.clone()).collect();
    verify("the manifest", &texts, &armored, certificates)
}

/// A signature for each file, all made with these certificates.
fn verify(
    what: &str,
    files: &[&[u8]],
    signatures: &[String],
    certificates: &[&str],
) -> Result<(), JobError> {
    if signatures.len() != files.len() {
        return Err(JobError::Broken(
            "the signer gave another number of signatures than asked for".to_owned(),
        ));
    }
    let refuse = |source| JobError::BadSignature {
        what: what.to_owned(),
        source,
    };
    let read = |armored: &&str| Certificate::from_bytes(armored.as_bytes());
    let ours: Vec<_> = certificates
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(refuse)?;
    for (file, armored) in files.iter().zip(signatures) {
        verify_all_detached(file, armored.as_bytes(), &ours).map_err(refuse)?;
    }
    Ok(())
}
