//! All evidence about one package. What it is worth is for [`repo_model::verify`] to say: here only digests
//! are checked, and whatever is missing stays missing.

use super::source::{Item, Source, SourceError};
use repo_model::bundle::Bundle;
use repo_model::dsse::Envelope;
use repo_model::log::Note;
use repo_model::release::ReleaseDocument;
use repo_model::rpm::{Head, HeadLimits};
use repo_model::statement::{RELEASE, Statement, VSA, VerificationSummary};
use repo_model::verify::{Evidence, ReleaseEvidence, Signature};
use repo_model::wire::status::{BuildStatus, PackageStatus, ReleaseStatus};
use repo_model::{FileDigest, HeaderDigest, Nevra, RepoName};
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds of documents that the policy judges.
const JUDGED: [&str; 6] = [
    "rebuild",
    "commitment",
    "reveal",
    "provenance",
    "waiver",
    "sbom",
];
/// Most documents that are fetched for one package.
pub const MAX_DOCUMENTS: usize = 2_000;
/// Most bytes of all of them. A run looks at a few packages at once, so a server that lies can make it hold
/// so many times this much, and no more.
const MAX_DOCUMENTS_BYTES: usize = 128 << 20;

/// What there is about one package.
#[derive(Debug, Default)]
pub struct Gathered {
    released: Option<Bundle>,
    summary: Option<Bundle>,
    envelopes: Vec<Envelope>,
    sboms: Vec<Vec<u8>>,
    release: Option<Arc<ReleaseEvidence>>,
    checkpoint: Option<Note>,
}

impl Gathered {
    /// As the verifier wants it.
    ///
    /// * `file`: SHA-256 of the whole file, when it is here.
    pub fn about<'a>(
        &'a self,
        head: &'a Head,
        file: Option<FileDigest>,
        signature: Signature,
    ) -> Evidence<'a> {
        Evidence {
            head,
            file,
            signature,
            released: self.released.as_ref(),
            summary: self.summary.as_ref(),
            envelopes: &self.envelopes,
            sboms: &self.sboms,
            release: self.release.as_deref(),
            newest: self.release.as_deref().map(ReleaseEvidence::document),
            checkpoint: self.checkpoint.as_ref(),
        }
    }
}

/// What is the same for all packages of one run: the newest release with its lists.
#[derive(Debug, Default)]
pub struct Common {
    releases: Vec<ReleaseStatus>,
    newest: Option<(Bundle, ReleaseDocument)>,
    lists: Mutex<HashMap<RepoName, Arc<ReleaseEvidence>>>,
}

impl Common {
    /// Asks for the newest release.
    pub fn ask(source: &dyn Source) -> Result<Self, SourceError> {
        let releases: Vec<ReleaseStatus> = json(source, &Item::Releases)?.unwrap_or_default();
        let newest = match releases.first() {
            None => None,
            Some(status) => bundle(source, status.envelope)?.and_then(|bundle| {
                let opened = Statement::open_unverified(&bundle.envelope, RELEASE);
                Some((bundle, opened.ok()?.predicate))
            }),
        };
        Ok(Self {
            releases,
            newest,
            lists: Mutex::default(),
        })
    }

    /// All releases, newest first, as the source lists them.
    pub fn releases(&self) -> &[ReleaseStatus] {
        &self.releases
    }

    /// The newest release with its place in the log, unverified.
    pub fn newest_bundle(&self) -> Option<&Bundle> {
        self.newest.as_ref().map(|(bundle, _)| bundle)
    }

    /// The newest release's document, unverified.
    pub fn newest(&self) -> Option<&ReleaseDocument> {
        self.newest.as_ref().map(|(_, document)| document)
    }

    /// The pinned path of a package of `repo`, in the newest release.
    fn path_of(&self, repo: &RepoName, package: &PackageStatus) -> Option<String> {
        let document = self.newest()?;
        let arch = &package.nevra.arch;
        let mut repos = document.repos.iter();
        let here = repos
            .find(|row| row.repo == *repo && (arch == "noarch" || row.arch.as_str() == arch))?;
        let (id, href) = (document.id, query_free(&package.href));
        Some(format!("/r/{id}/{}/{}/{href}", here.repo, here.arch))
    }
}

/// A path as it stands in a URL: it may not begin a query or a fragment, and some web servers take a `+` for a space.
pub fn query_free(href: &str) -> String {
    href.replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
        .replace('+', "%2B")
        .replace('^', "%5E")
}

/// [`query_free`] undone.
pub fn path_in(url: &str) -> String {
    url.replace("%5E", "^")
        .replace("%2B", "+")
        .replace("%23", "#")
        .replace("%3F", "?")
        .replace("%25", "%")
}

/// The build and the package with this header, as the source lists them.
pub fn find(
    source: &dyn Source,
    nevra: &Nevra,
    header: Option<HeaderDigest>,
) -> Result<Option<(BuildStatus, PackageStatus)>, SourceError> {
    let item = Item::Builds(nevra.clone());
    let builds: Vec<BuildStatus> = json(source, &item)?.unwrap_or_default();
    let fits = |package: &&PackageStatus| match header {
        Some(header) => package.header == header,
        None => package.nevra.to_string() == nevra.to_string() && package.signed_file.is_some(),
    };
    for build in builds {
        let found = build.packages.iter().find(fits).cloned();
        if let Some(package) = found {
            return Ok(Some((build, package)));
        }
    }
    Ok(None)
}

/// The head of a published package, from its place in the newest release.
pub fn published_head(
    source: &dyn Source,
    common: &Common,
    build: &BuildStatus,
    package: &PackageStatus,
) -> Result<Option<Head>, SourceError> {
    let Some(path) = common.path_of(&build.repo, package) else {
        return Ok(None);
    };
    let item = Item::Head {
        header: package.header,
        path,
    };
    let Some(reader) = source.open(&item)? else {
        return Ok(None);
    };
    let head = Head::read(reader, &HeadLimits::default()).map_err(|error| SourceError::Shape {
        path: item.path(),
        why: error.to_string(),
    })?;
    Ok(Some(head))
}

/// What [`gather`] will ask for, as far as the build's status tells.
pub fn wanted(build: &BuildStatus, package: &PackageStatus) -> Vec<Item> {
    let statements = ["release-statement", "verification-summary"];
    let bundles = statements.iter().filter_map(|kind| newest(package, kind));
    let bundles = bundles.map(Item::Bundle);
    let documents = judged(build, package).into_iter().map(Item::Document);
    bundles.chain(documents).collect()
}

fn newest(package: &PackageStatus, kind: &str) -> Option<FileDigest> {
    let mut links = package.evidence.iter().rev();
    links.find(|link| link.kind == kind).map(|link| link.digest)
}

/// Documents that the policy judges.
fn judged(build: &BuildStatus, package: &PackageStatus) -> BTreeSet<FileDigest> {
    let links = package.evidence.iter();
    let judged = links.filter(|link| JUDGED.contains(&link.kind.as_str()));
    judged
        .map(|link| link.digest)
        .chain(build.provenance)
        .collect()
}

/// Gathers everything about one package of a build.
pub fn gather(
    source: &dyn Source,
    common: &Common,
    build: &BuildStatus,
    package: &PackageStatus,
) -> Result<Gathered, SourceError> {
    let of = |digest: Option<FileDigest>| match digest {
        Some(digest) => bundle(source, digest),
        None => Ok(None),
    };
    let mut gathered = Gathered {
        released: of(newest(package, "release-statement"))?,
        summary: of(newest(package, "verification-summary"))?,
        ..Gathered::default()
    };
    let mut wanted = judged(build, package);
    wanted.extend(inputs(gathered.summary.as_ref()));
    let mut left = MAX_DOCUMENTS_BYTES;
    for digest in wanted.into_iter().take(MAX_DOCUMENTS) {
        let item = Item::Document(digest);
        let Some(bytes) = source.fetch(&item)? else {
            continue;
        };
        left = left
            .checked_sub(bytes.len())
            .ok_or_else(|| SourceError::Shape {
                path: item.path(),
                why: "the evidence about this package has more than 128 MiB".to_owned(),
            })?;
        match Envelope::from_json(&bytes) {
            Ok(envelope) => gathered.envelopes.push(envelope),
            Err(_) => gathered.sboms.push(bytes),
        }
    }
    gathered.release = release(source, common, &build.repo)?;
    // Last: a head that is older than the proofs would look as if the log had shrunk.
    let note = source.fetch(&Item::Checkpoint)?;
    gathered.checkpoint = note.and_then(|note| Note::parse(&note).ok());
    Ok(gathered)
}

/// What the signer says that it judged.
fn inputs(summary: Option<&Bundle>) -> Vec<FileDigest> {
    let opened = summary.and_then(|bundle| {
        Statement::<VerificationSummary>::open_unverified(&bundle.envelope, VSA).ok()
    });
    let inputs = opened.map(|summary| summary.predicate.input_attestations);
    inputs
        .unwrap_or_default()
        .iter()
        .filter_map(|input| input.digest.get("sha256")?.parse().ok())
        .collect()
}

/// The newest release with its lists of one repository; fetched once.
fn release(
    source: &dyn Source,
    common: &Common,
    repo: &RepoName,
) -> Result<Option<Arc<ReleaseEvidence>>, SourceError> {
    let Some((document, opened)) = &common.newest else {
        return Ok(None);
    };
    // Held while the lists are fetched: whoever else needs them waits, and does not fetch them again.
    let mut known = common.lists.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(repo) {
        return Ok(Some(Arc::clone(known)));
    }
    let mut lists = Vec::new();
    for row in opened.repos.iter().filter(|row| row.repo == *repo) {
        lists.extend(source.fetch(&Item::Document(row.package_list))?);
    }
    let evidence = Arc::new(ReleaseEvidence::new(document.clone(), lists));
    known.insert(repo.clone(), Arc::clone(&evidence));
    Ok(Some(evidence))
}

/// A statement with its place in the log; none when what came is not the statement that was asked for.
fn bundle(source: &dyn Source, statement: FileDigest) -> Result<Option<Bundle>, SourceError> {
    let item = Item::Bundle(statement);
    let Some(json) = source.fetch(&item)? else {
        return Ok(None);
    };
    let bundle = Bundle::from_json(&json).map_err(|error| SourceError::Shape {
        path: item.path(),
        why: error.to_string(),
    })?;
    let found = FileDigest::of(&bundle.envelope.to_json());
    match found == statement {
        true => Ok(Some(bundle)),
        false => Err(SourceError::Digest {
            path: item.path(),
            found,
        }),
    }
}

fn json<T: DeserializeOwned>(source: &dyn Source, item: &Item) -> Result<Option<T>, SourceError> {
    let Some(bytes) = source.fetch(item)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| SourceError::Shape {
            path: item.path(),
            why: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_out_of_a_url_as_it_went_in() {
        for path in ["Packages/c/c++-1~2^git.rpm", "a%2Bb?c#d", "%25", "%5E%"] {
            assert_eq!(path_in(&query_free(path)), path);
        }
    }
}
