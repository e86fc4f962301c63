//! Signing a release: each repository's `repomd.xml` and the release document itself.
//!
//! A release is signed only when every package in it was signed here for the repository that lists it, with
//! the listed summary and as the listed file, it goes on from the last release signed here, and the policy
//! revokes none of its packages. The last release is signed again, the very same, whatever was revoked since:
//! its answer may have been lost, and it is out already if it was not.
//!
//! With it goes a manifest of each repository (`repo_model::manifest`), which is made here of these files alone.
//!
//! What `repomd.xml` leads to is not read: parsing XML is no work for the process with the keys. That
//! primary.xml lists exactly the files of the package list is for anybody to check, and a package that is
//! not on the list has no signature that clients accept.

use super::{Desk, DeskError, bad_request};
use crate::index::Index;
use crate::journal::{Event, clipped};
use crate::keys::PostQuantumKeys;
use crate::keys::openpgp::{SignatureHasher, armored_signatures};
use crate::rules::Rules;
use repo_model::dsse::Envelope;
use repo_model::manifest::{Manifest, ManifestOf};
use repo_model::policy::{Policy, Reason};
use repo_model::release::{
    ListedPackage, PreviousRelease, ReleaseDocument, ReleaseRepo, SCHEMA, read_package_list,
};
use repo_model::statement::{RELEASE, Statement, StatementError, Subject};
use repo_model::timestamp::CLOCK_SKEW_SECS;
use repo_model::wire::signer::{LastRelease, ReleaseFiles, Response, SignedManifest};
use repo_model::{FileDigest, RepoName, Timestamp};
use std::collections::BTreeMap;

/// How far ahead of our clock a publish instant may be: releases may follow each other faster than one a second. Half of
/// what readers allow, who call a release that is further ahead one of a time to come, and refuse it where age is limited.
const MAX_AHEAD_SECS: i64 = CLOCK_SKEW_SECS / 2;

/// Why a release is not signed.
enum Objection {
    /// The server made a mistake.
    Wrong(String),
    /// The policy forbids it.
    Forbidden(Reason),
}

impl From<String> for Objection {
    fn from(message: String) -> Self {
        Self::Wrong(message)
    }
}

/// Signs a release, or the same one again.
///
/// The ledger stays locked from the first look to the record, so that two releases cannot both
/// follow the same one.
pub(super) fn sign(
    desk: &Desk,
    rules: &Rules,
    request: FileDigest,
    document_json: &[u8],
    files: &[ReleaseFiles],
    now: Timestamp,
) -> Result<Response, DeskError> {
    let mut ledger = desk.ledger()?;
    let checked = check(&ledger.index, &rules.policy, document_json, files, now);
    let (document, packages) = match checked {
        Ok(checked) => checked,
        Err(objection) => {
            drop(ledger);
            return refuse(desk, request, objection, now);
        }
    };
    let mut repomd_signatures = Vec::with_capacity(files.len());
    let mut repomd_post_quantum = Vec::new();
    let mut manifests = Vec::with_capacity(files.len());
    for ((repo, sent), packages) in document.repos.iter().zip(files).zip(&packages) {
        let repomd = &sent.repomd.0;
        let signatures = sign_file(desk, repomd, now)?;
        let mut beside = vec![("repomd.xml.asc", signatures.classic.as_bytes())];
        if let Some(armored) = &signatures.post_quantum {
            beside.push(("repomd.xml.pqc.asc", armored.as_bytes()));
        }
        let of = ManifestOf {
            release: document.id,
            repo: repo.repo.clone(),
            arch: repo.arch.clone(),
            issued: document.issued,
        };
        match Manifest::of_release(of, repomd, packages, &beside) {
            Ok(manifest) => manifests.push(sign_manifest(desk, &manifest, now)?),
            Err(error) => {
                drop(ledger);
                let reason = format!("{}/{}: {error}", repo.repo, repo.arch);
                return refuse(desk, request, Objection::Wrong(reason), now);
            }
        }
        repomd_signatures.push(signatures.classic);
        repomd_post_quantum.extend(signatures.post_quantum);
    }
    let (id, issued) = (document.id, document.issued);
    let statement = Statement::new(RELEASE, subjects(&document), document);
    let envelope = match signed_before(&ledger.index, document_json, &statement)? {
        Some(envelope) => envelope,
        None => statement.sign(&*desk.keys.statement)?,
    };
    let event = Event::ReleaseSigned {
        request,
        id,
        issued,
        document: FileDigest::of(document_json),
        envelope: FileDigest::of(&envelope.to_json()),
        signatures: envelope.signatures.clone(),
    };
    let written = ledger.record(now, event)?;
    drop(ledger);
    written.durable()?;
    tracing::info!(release.id = %id, "signed release {id}");
    Ok(Response::ReleaseSigned {
        repomd_signatures,
        repomd_post_quantum,
        envelope,
        manifests,
    })
}

/// The very envelope that was signed for this document: its answer may have been lost, or been kept, and the next release
/// names it by digest. A key in a token would make another one.
fn signed_before(
    index: &Index,
    document_json: &[u8],
    statement: &Statement<ReleaseDocument>,
) -> Result<Option<Envelope>, StatementError> {
    let Some((digest, signatures)) = index.release_again(FileDigest::of(document_json)) else {
        return Ok(None);
    };
    let mut envelope = statement.unsigned()?;
    envelope.signatures = signatures.to_vec();
    Ok((FileDigest::of(&envelope.to_json()) == digest).then_some(envelope))
}

/// Signatures over one file of metadata.
struct Signatures {
    classic: String,
    /// None when they are off.
    post_quantum: Option<String>,
}

fn sign_file(desk: &Desk, bytes: &[u8], now: Timestamp) -> Result<Signatures, DeskError> {
    let keys = desk.keys.post_quantum.as_ref();
    Ok(Signatures {
        classic: sign_classic(desk, bytes, now)?,
        post_quantum: keys
            .map(|keys| sign_post_quantum(keys, bytes, now))
            .transpose()?,
    })
}

fn sign_manifest(
    desk: &Desk,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<SignedManifest, DeskError> {
    let text = manifest.to_string();
    let signatures = sign_file(desk, text.as_bytes(), now)?;
    Ok(SignedManifest {
        text,
        armored: signatures.classic,
        post_quantum: signatures.post_quantum,
    })
}

/// The current key signs last, see [`crate::keys::Keys::metadata_beside`].
fn sign_classic(desk: &Desk, bytes: &[u8], now: Timestamp) -> Result<String, DeskError> {
    let mut hasher = SignatureHasher::new()?;
    hasher.update(bytes);
    let beside = desk.keys.metadata_beside.iter();
    let packets = beside
        .chain([&desk.keys.metadata])
        .map(|key| key.sign_hasher(hasher.clone(), now))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(armored_signatures(&packets)?)
}

/// The same with version 6 keys.
fn sign_post_quantum(
    keys: &PostQuantumKeys,
    bytes: &[u8],
    now: Timestamp,
) -> Result<String, DeskError> {
    let beside = keys.metadata_beside.iter();
    let packets = beside
        .chain([&keys.metadata])
        .map(|key| key.sign(bytes, now))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(armored_signatures(&packets)?)
}

fn refuse(
    desk: &Desk,
    request: FileDigest,
    objection: Objection,
    now: Timestamp,
) -> Result<Response, DeskError> {
    let (reason, response) = match objection {
        Objection::Wrong(message) => (message.clone(), bad_request(message)),
        Objection::Forbidden(reason) => (
            reason.to_string(),
            Response::Refused {
                held: false,
                reasons: vec![reason],
            },
        ),
    };
    tracing::warn!("a release is not signed: {reason}");
    let reason = clipped(&reason);
    desk.record(now, Event::ReleaseRefused { request, reason })?;
    Ok(response)
}

/// What the statement is about: each repository's two files.
fn subjects(document: &ReleaseDocument) -> Vec<Subject> {
    let of_repo = |repo: &ReleaseRepo| {
        let at = format!("{}/{}", repo.repo, repo.arch);
        [
            Subject::file(&format!("{at}/repodata/repomd.xml"), repo.repomd),
            Subject::file(&format!("{at}/packages.list"), repo.package_list),
        ]
    };
    document.repos.iter().flat_map(of_repo).collect()
}

/// The document, and the packages of each of its repositories.
fn check(
    index: &Index,
    policy: &Policy,
    document_json: &[u8],
    files: &[ReleaseFiles],
    now: Timestamp,
) -> Result<(ReleaseDocument, Vec<Vec<ListedPackage>>), Objection> {
    let document: ReleaseDocument = serde_json::from_slice(document_json)
        .map_err(|error| format!("not a release document: {error}"))?;
    if document.schema != SCHEMA {
        return Err(format!("the document's schema is not `{SCHEMA}`").into());
    }
    if let Some(last) = index.last_release() {
        check_succession(&document, FileDigest::of(document_json), last)?;
    }
    if document.issued > now.plus_secs(MAX_AHEAD_SECS) {
        return Err(format!(
            "issued {} is more than {MAX_AHEAD_SECS} s ahead of the signer's clock, {now}: set the clock that is wrong",
            document.issued
        )
        .into());
    }
    if document.repos.len() != files.len() {
        let (named, sent) = (document.repos.len(), files.len());
        return Err(
            format!("the document names {named} repositories, files of {sent} came").into(),
        );
    }
    let sorted = document
        .repos
        .is_sorted_by(|a, b| (&a.repo, &a.arch) < (&b.repo, &b.arch));
    if !sorted {
        return Err("the document's repositories are not sorted or named twice"
            .to_owned()
            .into());
    }
    let revoked: BTreeMap<_, _> = policy
        .revoked
        .iter()
        .map(|revoked| (revoked.header_sha256, &revoked.reason))
        .collect();
    let digest = FileDigest::of(document_json);
    let again = index
        .last_release()
        .is_some_and(|last| (last.id, last.document) == (document.id, digest));
    let mut all = Vec::with_capacity(files.len());
    for (repo, files) in document.repos.iter().zip(files) {
        let packages = check_files(repo, files)?;
        for package in &packages {
            check_package(index, &repo.repo, package)?;
            if again {
                continue;
            }
            if let Some(reason) = revoked.get(&package.header) {
                let reason = format!("{}: {reason}", package.nevra);
                return Err(Objection::Forbidden(Reason::Revoked { reason }));
            }
        }
        all.push(packages);
    }
    Ok((document, all))
}

/// The release follows the last one, or is the last one again.
fn check_succession(
    document: &ReleaseDocument,
    digest: FileDigest,
    last: LastRelease,
) -> Result<(), String> {
    if document.id == last.id && digest == last.document {
        return Ok(());
    }
    if document.id <= last.id {
        return Err(format!(
            "release {} does not come after release {}, signed before with document {}",
            document.id, last.id, last.document
        ));
    }
    let wanted = PreviousRelease {
        id: last.id,
        sha256: last.envelope,
    };
    if document.previous.as_ref() != Some(&wanted) {
        return Err(format!(
            "the previous release is not {} with envelope {}",
            last.id, last.envelope
        ));
    }
    if document.issued <= last.issued {
        return Err(format!(
            "issued {} is not later than {} of release {}",
            document.issued, last.issued, last.id
        ));
    }
    Ok(())
}

/// The files are the ones the document names; returns the packages listed.
fn check_files(repo: &ReleaseRepo, files: &ReleaseFiles) -> Result<Vec<ListedPackage>, String> {
    let at = format!("{}/{}", repo.repo, repo.arch);
    for (what, bytes, named) in [
        ("repomd.xml", &files.repomd.0, repo.repomd),
        ("package list", &files.package_list.0, repo.package_list),
    ] {
        let found = FileDigest::of(bytes);
        if found != named {
            return Err(format!(
                "the {what} of {at} has SHA-256 {found}, the document says {named}"
            ));
        }
    }
    let text = std::str::from_utf8(&files.package_list.0)
        .map_err(|_| format!("the package list of {at} is not text"))?;
    let packages = read_package_list(text).map_err(|error| format!("{at}: {error}"))?;
    if packages.len() as u64 != repo.packages {
        let (named, found) = (repo.packages, packages.len());
        return Err(format!(
            "the document says {named} packages for {at}, its list has {found}"
        ));
    }
    Ok(packages)
}

/// The package was signed here for this repository, under this name, with this summary, as this file.
fn check_package(index: &Index, repo: &RepoName, listed: &ListedPackage) -> Result<(), String> {
    let ListedPackage {
        nevra,
        header,
        summary,
        signed_file,
    } = listed;
    let Some(signed) = index.package(*header) else {
        return Err(format!("{nevra} (header {header}) was not signed here"));
    };
    if signed.nevra.to_string() != nevra.to_string() {
        return Err(format!("header {header} is {}, not {nevra}", signed.nevra));
    }
    if !signed.is_for(repo) {
        return Err(format!("{nevra} was not signed for the repository {repo}"));
    }
    if !signed.summaries.contains(summary) {
        return Err(format!("summary {summary} of {nevra} was not made here"));
    }
    if !signed.signed_files.contains(signed_file) {
        return Err(format!("file {signed_file} of {nevra} was not signed here"));
    }
    Ok(())
}
