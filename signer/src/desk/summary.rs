//! The statements the signer makes about a package it signs.
//!
//! Their subject carries `rpmHeaderSha256` alone: the signer never sees the payload, so it cannot
//! know the digest of the file; the header digest commits to the payload and is the same before
//! and after signing. The annotation `form: header` says so.

use repo_model::policy::{Judgement, Policy};
use repo_model::rpm::Package;
use repo_model::statement::{
    BuilderId, DigestSet, PACKAGE_RELEASE, PackageRelease, Resource, SBOM_REFERENCE, SbomDocument,
    SbomReference, Statement, Subject, VSA, VerificationSummary, sha256_set,
};
use repo_model::{FileDigest, HeaderDigest, Nevra, Timestamp, sbom_facts};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Who judged by what; the same for all packages of one run.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// URI of the signer.
    pub verifier_id: &'a str,
    /// The policy.
    pub policy: &'a Policy,
    /// SHA-256 of the policy file.
    pub policy_digest: FileDigest,
}

/// The verification summary of one package that was released.
pub fn verification_summary(
    judge: Judge<'_>,
    package: &Package,
    judgement: &Judgement,
    now: Timestamp,
) -> Statement<VerificationSummary> {
    let Judge {
        verifier_id,
        policy,
        policy_digest,
    } = judge;
    let inputs = judgement.inputs.iter().map(|input| Resource {
        name: None,
        uri: None,
        digest: sha256_set(*input),
    });
    let predicate = VerificationSummary {
        verifier: BuilderId {
            id: verifier_id.to_owned(),
        },
        time_verified: now,
        resource_uri: package_url(&package.nevra),
        policy: Resource {
            name: None,
            uri: Some(format!("{verifier_id}/policy/{}", policy.version)),
            digest: sha256_set(policy_digest),
        },
        input_attestations: inputs.collect(),
        made_from: judgement
            .made_from
            .iter()
            .flat_map(|made| {
                [
                    Resource::file("source", made.source),
                    Resource::file("buildinfo", made.buildinfo),
                ]
            })
            .collect(),
        verification_result: "PASSED".to_owned(),
        verified_levels: levels(policy, judgement),
        slsa_version: "1.0".to_owned(),
    };
    Statement::new(VSA, vec![subject(package)], predicate)
}

/// `HALLMARK_REPRODUCED_k_OF_n`: k rebuilders confirmed the package, of n that the policy lists; not
/// for a package that went out although rebuilds differ or are missing. `HALLMARK_WAIVED_CODE` for
/// each finding that two people set aside: their waiver is among the inputs.
fn levels(policy: &Policy, judgement: &Judgement) -> Vec<String> {
    let waived: BTreeSet<_> = judgement
        .waived
        .iter()
        .map(|one| one.finding.code())
        .collect();
    let (confirmed, listed) = (judgement.confirmed_by.len(), policy.rebuilders.len());
    let doubted = waived.iter().any(|code| REBUILD_FINDINGS.contains(code));
    let mut levels = Vec::new();
    if confirmed > 0 && !doubted {
        levels.push(format!("HALLMARK_REPRODUCED_{confirmed}_OF_{listed}"));
    }
    let named = |code: &&str| format!("HALLMARK_WAIVED_{}", code.to_uppercase().replace('-', "_"));
    levels.extend(waived.iter().map(named));
    levels
}

/// Findings that speak against a reproducible build.
const REBUILD_FINDINGS: [&str; 4] = [
    "build-failed",
    "operators-missing",
    "rebuild-differs",
    "rebuilds-missing",
];

/// Says that the signed file `file` is what goes out as this package: the one statement of ours whose
/// subject a tool that knows no RPM can compare with the file.
pub fn package_release(package: &Package, file: FileDigest) -> Statement<PackageRelease> {
    let name = package.nevra.file_name();
    let subject = Subject::signed_rpm(&name, file, package.header_digest);
    let predicate = PackageRelease {
        purl: package_url(&package.nevra),
    };
    Statement::new(PACKAGE_RELEASE, vec![subject], predicate)
}

/// One statement that names all SBOM documents of the package. Documents about other packages are
/// left out.
pub fn sbom_reference(
    judge: Judge<'_>,
    package: &Package,
    sboms: &[Vec<u8>],
) -> Statement<SbomReference> {
    let references = sboms
        .iter()
        .filter_map(|document| reference(document, package.header_digest));
    let predicate = SbomReference {
        attester: BuilderId {
            id: judge.verifier_id.to_owned(),
        },
        references: references.collect(),
    };
    Statement::new(SBOM_REFERENCE, vec![subject(package)], predicate)
}

fn reference(document: &[u8], header: HeaderDigest) -> Option<SbomDocument> {
    let facts = sbom_facts::read(document)
        .ok()
        .filter(|facts| facts.header_digest == header)?;
    let digest = FileDigest::of(document);
    Some(SbomDocument {
        media_type: facts.format,
        download_location: format!("/evidence/sha256/{digest}"),
        digest: sha256_set(digest),
    })
}

fn subject(package: &Package) -> Subject {
    let header = package.header_digest.to_hex();
    Subject {
        name: package.nevra.file_name(),
        digest: DigestSet::from([("rpmHeaderSha256".to_owned(), header)]),
        annotations: BTreeMap::from([("form".to_owned(), "header".to_owned())]),
    }
}

/// `pkg:rpm/name@version-release?arch=…[&epoch=…]`, epoch only when it is not 0
/// (package-url `purl-types/rpm`).
pub fn package_url(nevra: &Nevra) -> String {
    let Nevra { name, evr, arch } = nevra;
    let version = format!("{}-{}", evr.version, evr.release);
    let mut url = format!(
        "pkg:rpm/{}@{}?arch={}",
        escaped(name),
        escaped(&version),
        escaped(arch)
    );
    if evr.epoch != 0 {
        let _ = write!(url, "&epoch={}", evr.epoch);
    }
    url
}

/// Percent-encodes everything but letters, digits and `-._~`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_escaped_and_sorted() {
        for (nevra, url) in [
            ("hello-2.12-1.x86_64", "pkg:rpm/hello@2.12-1?arch=x86_64"),
            (
                "gtk+-1:1.0~rc1^git+1-3.src",
                "pkg:rpm/gtk%2B@1.0~rc1%5Egit%2B1-3?arch=src&epoch=1",
            ),
        ] {
            assert_eq!(package_url(&nevra.parse().unwrap()), url);
        }
    }
}
