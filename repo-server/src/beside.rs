//! Documents beside a package: the suffix behind the package's name by which each is served and exported.

use crate::db::evidence::Kind;
use mirrors::evidence::beside as evidence;
use sbom_gen::SBOM_FORMATS;

/// Suffix, kind and label of all but SBOMs, whose formats say theirs.
const DOCUMENTS: &[(&str, Kind, &str)] = &[
    (".asc", Kind::DetachedSignature, "openpgp"),
    (".pqc.asc", Kind::DetachedSignature, "openpgp-pqc"),
    (".vsa.json", Kind::VerificationSummary, "slsa-vsa-v1"),
    (".sigstore.json", Kind::SigstoreBundle, RELEASE),
    (".tlog-proof", Kind::LogProof, RELEASE),
    (".vsa.tlog-proof", Kind::LogProof, "slsa-vsa-v1"),
    (".vsa.sigstore.json", Kind::SigstoreBundle, "slsa-vsa-v1"),
    (evidence::SUFFIX, Kind::EvidencePack, PACK),
];
/// The form of packs of evidence.
pub const PACK: &str = "hallmark-1";
const RELEASE: &str = "in-toto-release-v0.1";

/// All of them.
fn all() -> impl Iterator<Item = (&'static str, Kind, &'static str)> {
    let sboms = SBOM_FORMATS
        .iter()
        .map(|format| (format.file_suffix, Kind::Sbom, format.name));
    DOCUMENTS.iter().copied().chain(sboms)
}

/// What has this suffix.
pub fn of_suffix(suffix: &str) -> Option<(Kind, &'static str)> {
    let (_, kind, label) = all().find(|(of, ..)| *of == suffix)?;
    Some((kind, label))
}

/// The suffix of a document, by its kind's name and its label.
pub fn suffix_of(kind: &str, label: &str) -> Option<&'static str> {
    let (suffix, ..) = all().find(|(_, of, labelled)| of.name() == kind && *labelled == label)?;
    Some(suffix)
}

/// How it is served.
pub fn media_type(suffix: &str) -> &'static str {
    match suffix {
        ".asc" | ".pqc.asc" => "application/pgp-signature",
        ".sigstore.json" | ".vsa.sigstore.json" => repo_model::bundle::MEDIA_TYPE,
        ".tlog-proof" | ".vsa.tlog-proof" => "text/plain; charset=utf-8",
        evidence::SUFFIX => evidence::MEDIA_TYPE,
        _ => "application/json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suffix_leads_to_one_document_and_back() {
        for (suffix, kind, label) in all() {
            assert_eq!(of_suffix(suffix), Some((kind, label)));
            assert_eq!(suffix_of(kind.name(), label), Some(suffix));
        }
        assert_eq!(of_suffix(".exe"), None);
        assert_eq!(suffix_of("rebuild", "a"), None);
    }
}
