//! `sign`: has the evidence of an approved build logged, asks the signer for each of its packages, puts the
//! signature into the file, verifies it, and stores the signed file.

use super::JobError;
use super::dossier::{Dossier, is_judged};
use crate::app::{App, now};
use crate::db::builds::{BuildRow, PackageRow, SignedFile};
use crate::db::evidence::{ByPackage, Kind, NewEvidence};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use crate::log::{self, Shown};
use crate::signer_link;
use futures_util::future::join_all;
use hallmark_signer::client::{Client, ClientError, SignedFile as FileSignatures, SignedPackage};
use hallmark_signer::verify::{Certificate, VerifyError, verify_detached, verify_header_signature};
use repo_model::policy::Reason;
use repo_model::rpm::{Head, HeadLimits};
use repo_model::stage::{Event, Stage};
use repo_model::wire::signer::Identity;
use repo_model::{FileDigest, HeaderDigest, RepoName};
use std::io::{Read, Seek as _, Write as _};
use tempfile::NamedTempFile;

/// Name in the database.
pub const NAME: &str = "sign";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Packages of a build that the signer is asked for side by side: it judges each in a thread of its own, and
/// what it writes down about them waits for the disk together.
const AT_ONCE: usize = 4;

/// What ends a build's signing without an error of ours.
enum Outcome {
    Signed,
    Refused { held: bool, reasons: Vec<Reason> },
}

/// Runs it; the input is a build's number.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let build_id: u64 = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no build", job.input)))?;
    let (build, packages, evidence) = app
        .db
        .read(move |connection| {
            Ok::<_, DbError>((
                db::builds::by_id(connection, build_id)?,
                db::builds::packages(connection, build_id)?,
                ByPackage::new(db::evidence::of_build(connection, build_id)?),
            ))
        })
        .await?;
    let approved = build.filter(|build| build.stage == Stage::Approved);
    let outcome = match approved {
        Some(build) => sign_all(&app, &build, &packages, &evidence).await?,
        // Another run was first.
        None => None,
    };
    let delay_millis = app.config.server.publish_delay_millis;
    app.db
        .write(move |tx| {
            db::jobs::finish(tx, job.job_id)?;
            let build = db::builds::by_id(tx, build_id)?;
            if build.is_none_or(|build| build.stage != Stage::Approved) {
                // It was turned away meanwhile: what was signed comes into no release.
                return Ok(());
            }
            let event = match outcome {
                None => return Ok(()),
                Some(Outcome::Signed) => Event::Signed,
                Some(Outcome::Refused {
                    held: true,
                    reasons,
                }) => Event::Held(reasons),
                Some(Outcome::Refused {
                    held: false,
                    reasons,
                }) => Event::Rejected(reasons),
            };
            let stage = db::builds::advance(tx, build_id, event, now())?;
            tracing::info!(
                build = build_id,
                stage = stage.name(),
                "build {build_id} is {stage}"
            );
            if stage == Stage::Signed {
                super::enqueue_publish(tx, delay_millis)?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

/// Signs what is not signed yet; none when the build is approved no more.
async fn sign_all(
    app: &App,
    build: &BuildRow,
    packages: &[PackageRow],
    evidence: &ByPackage,
) -> Result<Option<Outcome>, JobError> {
    let unsigned: Vec<_> = packages
        .iter()
        .filter(|package| package.signed.is_none())
        .collect();
    if unsigned.is_empty() {
        return Ok(Some(Outcome::Signed));
    }
    let shown = shown(app, evidence).await?;
    for some in unsigned.chunks(AT_ONCE) {
        // The signer never forgets what it signed: nothing more of a build that was turned away.
        if !is_approved(app, build.build_id).await? {
            return Ok(None);
        }
        let one = |package| sign_one(app, &build.repo, package, evidence, shown.as_ref());
        let outcomes = join_all(some.iter().copied().map(one)).await;
        for outcome in outcomes {
            match outcome {
                Ok(()) => {}
                Err(error) if waits_for_log(&error) => return Err(error),
                Err(JobError::Signer(ClientError::Refused { held, reasons })) => {
                    return Ok(Some(Outcome::Refused { held, reasons }));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(Outcome::Signed))
}

/// Whether the signer has nothing against the packages, only against the head of the log that it was shown: the log
/// goes on by itself, and so does the job that is tried again.
fn waits_for_log(error: &JobError) -> bool {
    let JobError::Signer(ClientError::Refused {
        held: true,
        reasons,
    }) = error
    else {
        return false;
    };
    let is_of_head = |reason: &Reason| {
        matches!(
            reason,
            Reason::LogHeadUnknown { .. }
                | Reason::LogNotWitnessed { .. }
                | Reason::LogProofsMissing
                | Reason::SignaturesUnlogged { .. }
        )
    };
    !reasons.is_empty() && reasons.iter().all(is_of_head)
}

/// That the evidence is in the log; none when the policy does not ask for it, or there is none.
async fn shown(app: &App, evidence: &ByPackage) -> Result<Option<Shown>, JobError> {
    if !app.policy.require_log {
        return Ok(None);
    }
    let judged = evidence.all().filter(|row| is_judged(row));
    log::show(app, judged.map(|row| row.digest).collect()).await
}

async fn is_approved(app: &App, build_id: u64) -> Result<bool, DbError> {
    let read = app
        .db
        .read(move |connection| db::builds::by_id(connection, build_id));
    let build: Option<BuildRow> = read.await?;
    Ok(build.is_some_and(|build| build.stage == Stage::Approved))
}

/// Signs one package and records it; a package that is recorded is not signed again.
async fn sign_one(
    app: &App,
    repo: &RepoName,
    package: &PackageRow,
    evidence: &ByPackage,
    shown: Option<&Shown>,
) -> Result<(), JobError> {
    let dossier = Dossier::gather(app, package, evidence).await?;
    let log = shown.map(|shown| shown.proofs(&dossier.statements));
    let unsigned = app.store.blocking_reader(package.unsigned_file).await?;
    let mut file = app.scratch_file()?;
    let server = app.config.server.clone();
    let what = package.nevra.to_string();
    let (repo, header) = (repo.clone(), package.header);
    let task = move || {
        let mut client = signer_link::connect(&server).map_err(JobError::Signer)?;
        let identity = client.identity().map_err(JobError::Signer)?;
        let signed = client
            .sign_package(
                &repo,
                &dossier.head.to_bytes(),
                &dossier.envelopes,
                &dossier.sboms,
                log,
            )
            .map_err(JobError::Signer)?;
        let head_bytes = transplant(unsigned, &signed.signature_header, &mut file)?;
        let signer = verify_file(&mut file, &identity, &what)?;
        let detached = detached(&mut client, header, &mut file, &identity, &what)?;
        let made = Made {
            signed,
            detached,
            head_bytes,
            signer,
        };
        Ok::<_, JobError>((made, file))
    };
    let (made, file) = tokio::task::spawn_blocking(task).await??;
    store(app, package, made, file).await
}

/// What signing made, verified.
struct Made {
    signed: SignedPackage,
    detached: FileSignatures,
    head_bytes: u64,
    /// Fingerprint of the certificate.
    signer: String,
}

/// Writes lead + new signature header + main header + payload; gives the size of the head.
fn transplant(
    mut unsigned: impl Read,
    signature_header: &[u8],
    out: &mut NamedTempFile,
) -> Result<u64, JobError> {
    let head = Head::read(&mut unsigned, &HeadLimits::default())?;
    let mut head_bytes = 0;
    for part in [head.lead(), signature_header, head.main_bytes()] {
        out.write_all(part)?;
        head_bytes += part.len() as u64;
    }
    std::io::copy(&mut unsigned, out)?;
    out.flush()?;
    Ok(head_bytes)
}

/// Tells the fingerprint of the certificate that every client has.
fn verify_file(
    file: &mut NamedTempFile,
    identity: &Identity,
    what: &str,
) -> Result<String, JobError> {
    let refuse = |source| JobError::BadSignature {
        what: what.to_owned(),
        source,
    };
    file.rewind()?;
    let head = Head::read(&mut *file, &HeadLimits::default())?;
    let certificates = package_certificates(identity).map_err(refuse)?;
    verify_header_signature(&head, &certificates).map_err(refuse)?;
    let first = certificates.first().map(Certificate::fingerprint);
    Ok(first.unwrap_or_default())
}

/// The certificate that every client has and, if there is one, the post-quantum one.
fn package_certificates(identity: &Identity) -> Result<Vec<Certificate>, VerifyError> {
    std::iter::once(&identity.package_certificate)
        .chain(&identity.package_pqc_certificate)
        .map(|armored| Certificate::from_bytes(armored.as_bytes()))
        .collect()
}

fn detached(
    client: &mut Client,
    header: HeaderDigest,
    file: &mut NamedTempFile,
    identity: &Identity,
    what: &str,
) -> Result<FileSignatures, JobError> {
    let size_bytes = file.as_file().metadata()?.len();
    file.rewind()?;
    let made = client
        .sign_file(header, size_bytes, &mut *file)
        .map_err(JobError::Signer)?;
    let refuse = |source| JobError::BadSignature {
        what: format!("{what}.asc"),
        source,
    };
    let certificates = package_certificates(identity).map_err(refuse)?;
    let signatures = std::iter::once(&made.armored).chain(&made.post_quantum);
    for (armored, certificate) in signatures.zip(&certificates) {
        file.rewind()?;
        verify_detached(&mut *file, armored.as_bytes(), certificate).map_err(refuse)?;
    }
    Ok(made)
}

async fn store(
    app: &App,
    package: &PackageRow,
    made: Made,
    file: NamedTempFile,
) -> Result<(), JobError> {
    let Made {
        signed,
        detached,
        head_bytes,
        signer,
    } = made;
    let path = file.path().to_owned();
    let digest = tokio::task::spawn_blocking(move || crate::app::file_digest(&path)).await??;
    app.store.put_file(file.path(), digest).await?;
    let record = SignedFile {
        file: digest,
        size_bytes: file.as_file().metadata()?.len(),
        head_bytes,
        detached_signature: app.store.put(detached.armored).await?,
        summary_statement: app.store.put(signed.summary.to_json()).await?,
    };
    let sbom_statement = app.store.put(signed.sbom_statement.to_json()).await?;
    let release_statement = app.store.put(detached.statement.to_json()).await?;
    let (build_id, package_id) = (package.build_id, package.package_id);
    let about = move |kind, label: &str, digest: FileDigest, media_type| NewEvidence {
        build_id,
        package_id: Some(package_id),
        kind,
        label: label.to_owned(),
        digest,
        media_type,
    };
    let summary = record.summary_statement;
    let mut evidence = vec![
        about(Kind::VerificationSummary, "slsa-vsa-v1", summary, ENVELOPE),
        about(
            Kind::SbomStatement,
            "in-toto-reference-v0.1",
            sbom_statement,
            ENVELOPE,
        ),
        about(
            Kind::DetachedSignature,
            "openpgp",
            record.detached_signature,
            "application/pgp-signature",
        ),
        about(
            Kind::ReleaseStatement,
            "in-toto-release-v0.1",
            release_statement,
            ENVELOPE,
        ),
    ];
    if let Some(post_quantum) = detached.post_quantum {
        evidence.push(about(
            Kind::DetachedSignature,
            "openpgp-pqc",
            app.store.put(post_quantum).await?,
            "application/pgp-signature",
        ));
    }
    app.db
        .write(move |tx| {
            // One signed file, and the statements about that one.
            if db::builds::set_signed(tx, package_id, &record)? {
                db::builds::set_signer(tx, package_id, &signer)?;
                for new in &evidence {
                    db::evidence::insert(tx, new, now())?;
                }
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_held_for_what_is_wrong_with_it_and_not_for_the_state_of_the_log() {
        let unknown = || Reason::LogHeadUnknown {
            why: "it is newer".to_owned(),
        };
        let not_logged = Reason::NotInLog {
            statement: FileDigest::of(b"rebuild"),
            why: "it has no place".to_owned(),
        };
        let unseen = Reason::LogNotWitnessed {
            why: "one of two".to_owned(),
        };
        for (held, reasons, waits) in [
            (true, vec![unknown()], true),
            (true, vec![unseen, Reason::LogProofsMissing], true),
            (true, vec![unknown(), not_logged], false),
            (false, vec![unknown()], false),
            (true, Vec::new(), false),
        ] {
            let error = JobError::Signer(ClientError::Refused { held, reasons });
            assert_eq!(waits_for_log(&error), waits, "{error:?}");
        }
    }
}
