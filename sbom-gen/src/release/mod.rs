//! A release: all packages of a repository, and which of them meets which requirement.
//!
//! A [`ReleaseBuilder`] takes packages one after the other, in any order, and keeps of each only
//! what a document needs: names are stored once, files as eight bytes. [`ReleaseBuilder::finish`]
//! sorts and resolves; the [`Release`] is then written by any row of [`crate::SBOM_FORMATS`].

mod capability;
mod member;
mod resolve;
mod rich;

pub use member::Member;
pub(crate) use resolve::{Needs, Strength};

use crate::{Algorithm, Component, Options, SbomError, purl};
use capability::{Names, StoredDependency};
use repo_model::{Nevra, Timestamp};
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeMap;

/// Most packages of one release.
const MEMBERS: usize = 1_000_000;

/// The file of a repository that names all others with their digests: who has it can tell whether what
/// they got is the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Path below the repository: `repodata/repomd.xml`.
    pub path: String,
    /// Digests of the file, lowercase hex.
    pub digests: Vec<(Algorithm, String)>,
}

impl IndexFile {
    /// The file of these bytes, with its SHA-256 and SHA-512.
    pub fn new(path: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            path: path.into(),
            digests: vec![
                (Algorithm::Sha256, hex::encode(Sha256::digest(bytes))),
                (Algorithm::Sha512, hex::encode(Sha512::digest(bytes))),
            ],
        }
    }
}

/// What the release is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseInfo {
    /// Name of the distribution or product, such as `Example Linux`.
    pub name: String,
    /// Its version, or the number of the release.
    pub version: Option<String>,
    /// CPE 2.2 or 2.3 name of the product, when it has one.
    pub cpe: Option<String>,
    /// Where the release is to be had; makes the `repository_id` of package URLs.
    pub repository_url: Option<String>,
    /// The time of the release, when it is known; the latest BUILDTIME otherwise.
    pub created: Option<Timestamp>,
    /// The file that one gets when one gets the release, where there is one.
    pub index: Option<IndexFile>,
}

/// A package as it is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) key: String,
    pub(crate) purl: String,
    pub(crate) nevra: Nevra,
    pub(crate) is_source: bool,
    pub(crate) module: Option<Box<str>>,
    pub(crate) source_rpm: Option<Box<str>>,
    pub(crate) license: Box<str>,
    pub(crate) vendor: Option<Box<str>>,
    pub(crate) summary: Box<str>,
    pub(crate) url: Option<Box<str>>,
    pub(crate) built: Option<Timestamp>,
    pub(crate) kind: crate::graph::NodeKind,
    pub(crate) digests: Vec<(Algorithm, String)>,
    pub(crate) digests_are_of_content: bool,
    pub(crate) properties: Vec<(&'static str, String)>,
    pub(crate) location: Option<Box<str>>,
    pub(crate) documents: Vec<(String, String)>,
    /// `None`: nobody looked inside.
    pub(crate) components: Option<Vec<Component>>,
    provides: Vec<StoredDependency>,
    needs: Vec<(Strength, StoredDependency)>,
}

impl Kept {
    fn file_sha256(&self) -> Option<&str> {
        let known = self.digests.iter().filter(|_| !self.digests_are_of_content);
        let mut sha256 = known.filter(|(algorithm, _)| *algorithm == Algorithm::Sha256);
        sha256.next().map(|(_, hex)| hex.as_str())
    }
}

/// Gathers the packages of a release.
pub struct ReleaseBuilder<'o> {
    options: &'o Options,
    info: ReleaseInfo,
    names: Names,
    kept: Vec<Kept>,
    /// (first eight bytes of the SHA-256 of a path, index in `kept`).
    files: Vec<(u64, u32)>,
}

impl<'o> ReleaseBuilder<'o> {
    /// An empty release.
    pub fn new(info: ReleaseInfo, options: &'o Options) -> Self {
        Self {
            options,
            info,
            names: Names::default(),
            kept: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Adds one package.
    ///
    /// [`SbomError::Options`] when namespace and package make no package URL, [`SbomError::Limit`]
    /// beyond a million packages.
    pub fn add(&mut self, member: Member) -> Result<(), SbomError> {
        if self.kept.len() >= MEMBERS {
            return Err(SbomError::Limit {
                what: "the number of packages in a release",
                limit: MEMBERS as u64,
            });
        }
        let at = self.kept.len() as u32;
        let paths = member.files.iter().map(|path| (path_hash(path), at));
        self.files.extend(paths);
        let kept = self.keep(member)?;
        self.kept.push(kept);
        Ok(())
    }

    /// Adds files that a package has besides those that it came with, for metadata that lists
    /// files apart. `false`: no package that was added has such a file digest.
    pub fn add_files<'p>(
        &mut self,
        file_digest: &str,
        paths: impl Iterator<Item = &'p str>,
        index: &FileDigests,
    ) -> bool {
        let Some(&at) = index.0.get(file_digest) else {
            return false;
        };
        self.files.extend(paths.map(|path| (path_hash(path), at)));
        true
    }

    /// The packages added so far by their file digests, for [`Self::add_files`].
    pub fn file_digests(&self) -> FileDigests {
        let mut index = BTreeMap::new();
        for (at, kept) in self.kept.iter().enumerate() {
            for (_, hex) in &kept.digests {
                index.insert(hex.clone(), at as u32);
            }
        }
        FileDigests(index)
    }

    fn keep(&mut self, member: Member) -> Result<Kept, SbomError> {
        let purl = purl::of_nevra(
            &self.options.namespace,
            &member.nevra,
            member.is_source,
            member.modularity_label.as_deref(),
            None,
        )
        .ok_or_else(|| SbomError::Options {
            what: "a namespace of package URLs",
            value: self.options.namespace.clone(),
        })?;
        let boxed = |text: Option<String>| {
            text.filter(|text| !text.trim().is_empty())
                .map(String::into_boxed_str)
        };
        let repository = self.info.repository_url.as_deref();
        let names = &mut self.names;
        let provides = member.provides.iter().map(|one| names.store(one)).collect();
        let needs = member::needs(&member)
            .map(|(strength, one)| (strength, names.store(one)))
            .collect();
        let mut digests = member.digests;
        digests.sort();
        Ok(Kept {
            key: purl.clone(),
            purl,
            properties: member.properties,
            is_source: member.is_source,
            module: boxed(member.modularity_label),
            source_rpm: boxed(member.source_rpm),
            license: member.license.into_boxed_str(),
            vendor: boxed(member.vendor),
            summary: member.summary.into_boxed_str(),
            url: boxed(member.url),
            built: member.build_time,
            kind: member.kind,
            digests,
            digests_are_of_content: member.digests_are_of_content,
            location: boxed(member.location),
            documents: member
                .documents
                .into_iter()
                .map(|(path, sha256)| (purl::located(repository, &path), sha256))
                .collect(),
            components: member.components,
            nevra: member.nevra,
            provides,
            needs,
        })
    }

    /// Sorts the packages and resolves what they need. The order in which they were added makes no
    /// difference.
    pub fn finish(self) -> Release {
        let Self {
            info,
            names,
            kept,
            files,
            ..
        } = self;
        let (kept, place) = in_order(kept);
        let mut files: Vec<(u64, u32)> = files
            .into_iter()
            .filter_map(|(hash, at)| Some((hash, (*place.get(at as usize)?)?)))
            .collect();
        files.sort_unstable();
        files.dedup();
        let needs = resolve::resolve(&names, &kept, &files);
        Release { info, kept, needs }
    }
}

/// Packages by the digests of their files.
#[derive(Debug)]
pub struct FileDigests(BTreeMap<String, u32>);

/// All packages of a release with what they need.
pub struct Release {
    pub(crate) info: ReleaseInfo,
    /// Sorted by key.
    pub(crate) kept: Vec<Kept>,
    /// Of each of `kept`.
    pub(crate) needs: Vec<Needs>,
}

impl Release {
    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Every requirement that no package of the release meets: (package, requirement), sorted.
    pub fn unresolved(&self) -> impl Iterator<Item = (&Nevra, &str)> {
        let each = self.kept.iter().zip(&self.needs);
        each.flat_map(|(kept, needs)| {
            let named = needs.unresolved.iter();
            named.map(|text| (&kept.nevra, text.as_str()))
        })
    }

    /// Which package needs which to run or to be installed, by the SHA-256 of their files: (package,
    /// what it needs), in no special order. Packages whose file's digest is not known are left out.
    pub fn requirements(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let each = self.kept.iter().zip(&self.needs);
        each.filter_map(|(kept, needs)| {
            let needed = needs
                .edges
                .iter()
                .filter(|(_, strength)| matches!(strength, Strength::Run | Strength::Install));
            let needed = needed.filter_map(|(at, _)| self.kept[*at as usize].file_sha256());
            Some((kept.file_sha256()?, needed.collect()))
        })
    }

    /// How many needs lead to a package of the release.
    pub fn resolved_count(&self) -> usize {
        self.needs.iter().map(|needs| needs.edges.len()).sum()
    }
}

/// The first eight bytes of a path's SHA-256.
fn path_hash(path: &str) -> u64 {
    let digest = Sha256::digest(path);
    digest[..8]
        .iter()
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Sorts by package URL and digests. What is there twice counts once; two files with one package
/// URL stay two, and the key of the second tells them apart. Also: where each went.
fn in_order(kept: Vec<Kept>) -> (Vec<Kept>, Vec<Option<u32>>) {
    let count = kept.len();
    let mut numbered: Vec<(usize, Kept)> = kept.into_iter().enumerate().collect();
    numbered.sort_by(|(_, a), (_, b)| {
        let order = |kept: &Kept| {
            (
                kept.purl.clone(),
                kept.digests.clone(),
                kept.location.clone(),
            )
        };
        a.purl.cmp(&b.purl).then_with(|| order(a).cmp(&order(b)))
    });
    let mut sorted: Vec<Kept> = Vec::with_capacity(count);
    let mut place = vec![None; count];
    for (from, mut one) in numbered {
        if let Some(last) = sorted.last_mut()
            && last.purl == one.purl
        {
            if last.digests == one.digests {
                // The same file in another place.
                if let Some(location) = one.location.filter(|at| last.location.as_ref() != Some(at))
                {
                    last.properties.push(("rpm:also-at", location.into()));
                }
                place[from] = Some(sorted.len() as u32 - 1);
                continue;
            }
            let digest = one.digests.first().map_or("", |(_, hex)| hex.as_str());
            let same = format!("{}{digest}{}", one.purl, sorted.len());
            let shown = match digest.get(..16) {
                Some(digits) => digits.to_owned(),
                None => format!("{:016x}", path_hash(&same)),
            };
            one.key = format!("{}#{shown}", one.purl);
            let note = "another package of this release has the same package URL";
            one.properties.push(("sbom:conflict", note.to_owned()));
        }
        place[from] = Some(sorted.len() as u32);
        sorted.push(one);
    }
    (sorted, place)
}
