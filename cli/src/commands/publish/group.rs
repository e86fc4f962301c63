//! Which files make one build: pure, no disk.
//!
//! Binary packages belong to the source package that their SOURCERPM names, and to the buildinfo
//! that lists them; the provenance is the one whose subjects include all of them.

use super::inputs::{BuildInfoFile, InputFile, Inputs, RpmFile, name_of};
use repo_model::wire::intake::BuildManifest;
use repo_model::{HeaderDigest, Nevra, RepoName};
use std::collections::{BTreeMap, BTreeSet};

/// The files of one build.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// Source package.
    pub source: &'a RpmFile,
    /// Binary packages, sorted by NEVRA.
    pub packages: Vec<&'a RpmFile>,
    /// Buildinfo.
    pub buildinfo: &'a InputFile,
    /// Provenance, when one names all packages.
    pub provenance: Option<&'a InputFile>,
}

impl<'a> Build<'a> {
    /// All files, the small documents last.
    pub fn files(&self) -> impl Iterator<Item = &'a InputFile> + '_ {
        let packages = self.packages.iter().map(|package| &package.file);
        let documents = std::iter::once(self.buildinfo).chain(self.provenance);
        std::iter::once(&self.source.file)
            .chain(packages)
            .chain(documents)
    }

    /// Sum of the sizes.
    pub fn size_bytes(&self) -> u64 {
        self.files().map(|file| file.size_bytes).sum()
    }

    /// What the server is told.
    pub fn manifest(&self, repo: &RepoName) -> BuildManifest {
        BuildManifest {
            repo: repo.clone(),
            source: self.source.file.digest,
            packages: self
                .packages
                .iter()
                .map(|package| package.file.digest)
                .collect(),
            buildinfo: self.buildinfo.digest,
            provenance: self.provenance.map(|file| file.digest),
        }
    }
}

/// The given files do not make a build. The user's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Binary packages without their source package.
    #[error("the source package {source_rpm} of {} is missing", list(packages))]
    NoSource {
        /// Its file name.
        source_rpm: String,
        /// The packages that name it.
        packages: Vec<String>,
    },
    /// Two source packages of one name.
    #[error("{first} and {second} are both called {source_rpm} but differ")]
    TwoSources {
        /// The name.
        source_rpm: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// A source package without binary packages.
    #[error("no binary package of {source_rpm} is given")]
    NoPackages {
        /// The source package.
        source_rpm: String,
    },
    /// No buildinfo is about this source package.
    #[error(
        "no buildinfo of {source_rpm} (sha256 {sha256}) is given{}",
        near(others)
    )]
    NoBuildInfo {
        /// The source package.
        source_rpm: String,
        /// Its digest.
        sha256: String,
        /// Buildinfos that name the same package with another digest.
        others: Vec<String>,
    },
    /// The buildinfo lists packages that are not given.
    #[error("{buildinfo} lists {}, which is not given", list(packages))]
    Absent {
        /// Its file name.
        buildinfo: String,
        /// What is missing.
        packages: Vec<String>,
    },
    /// No buildinfo lists this package.
    #[error(
        "no buildinfo of {source_rpm} lists {} with these bytes",
        list(packages)
    )]
    Unlisted {
        /// The source package.
        source_rpm: String,
        /// The packages' file names.
        packages: Vec<String>,
    },
}

impl GroupError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoSource { .. } => "give the .src.rpm too: rebuilders start from it",
            Self::TwoSources { .. } => "publish the two builds in two calls",
            Self::NoPackages { .. } => "give the binary RPMs that were built from it too",
            Self::NoBuildInfo { .. } => {
                "`hallmark buildinfo SRPM -o DIR` builds and records everything that is needed"
            }
            Self::Absent { .. } => "a build is published whole, debuginfo packages included",
            Self::Unlisted { .. } => "the packages come from another build than the buildinfo",
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [first, rest @ ..] if rest.len() > 2 => format!("{first} and {} more", rest.len()),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
        [] => "nothing".to_owned(),
    }
}

fn near(others: &[String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    format!(
        "; {} is of a source package of that name with other bytes",
        list(others)
    )
}

/// What the files make.
#[derive(Debug)]
pub struct Grouping<'a> {
    /// Builds, and what keeps others from being one; ordered by source package.
    pub builds: Vec<Result<Build<'a>, GroupError>>,
    /// Documents that belong to no build.
    pub unused: Vec<&'a InputFile>,
}

/// Sorts the files into builds.
pub fn group(inputs: &Inputs) -> Grouping<'_> {
    let mut by_source: BTreeMap<String, Vec<&RpmFile>> = BTreeMap::new();
    for package in &inputs.packages {
        let source_rpm = package.source_rpm.clone().unwrap_or_default();
        by_source.entry(source_rpm).or_default().push(package);
    }
    for source in &inputs.sources {
        if !by_source.contains_key(&name_of(&source.file.path)) {
            by_source.entry(source.nevra.file_name()).or_default();
        }
    }
    let mut builds = Vec::new();
    for (source_rpm, mut packages) in by_source {
        packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
        match find_source(inputs, &source_rpm, &packages) {
            Ok(source) => builds.extend(split(inputs, &source_rpm, source, &packages)),
            Err(error) => builds.push(Err(error)),
        }
    }
    let used: BTreeSet<_> = builds
        .iter()
        .flatten()
        .flat_map(Build::files)
        .map(|file| file.digest)
        .collect();
    // A failed group already says what is wrong with its own documents.
    let all_good = builds.iter().all(Result::is_ok);
    let documents = inputs.buildinfos.iter().map(|info| &info.file);
    let documents = documents.chain(inputs.provenances.iter().map(|provenance| &provenance.file));
    let unused = documents
        .filter(|file| all_good && !used.contains(&file.digest))
        .collect();
    Grouping { builds, unused }
}

fn find_source<'a>(
    inputs: &'a Inputs,
    source_rpm: &str,
    packages: &[&RpmFile],
) -> Result<&'a RpmFile, GroupError> {
    let named = |source: &&RpmFile| {
        source.nevra.file_name() == source_rpm || name_of(&source.file.path) == source_rpm
    };
    let mut found = inputs.sources.iter().filter(named);
    match (found.next(), found.next()) {
        (None, _) => Err(GroupError::NoSource {
            source_rpm: source_rpm.to_owned(),
            packages: file_names(packages),
        }),
        (Some(source), None) => Ok(source),
        (Some(first), Some(second)) => Err(GroupError::TwoSources {
            source_rpm: source_rpm.to_owned(),
            first: first.file.path.display().to_string(),
            second: second.file.path.display().to_string(),
        }),
    }
}

/// One build for each buildinfo of this source package: an SRPM may have been built on several
/// architectures.
fn split<'a>(
    inputs: &'a Inputs,
    source_rpm: &str,
    source: &'a RpmFile,
    packages: &[&'a RpmFile],
) -> Vec<Result<Build<'a>, GroupError>> {
    if packages.is_empty() {
        return vec![Err(GroupError::NoPackages {
            source_rpm: source_rpm.to_owned(),
        })];
    }
    let of_source = |info: &&BuildInfoFile| info.info.source.sha256 == source.file.digest;
    let infos: Vec<_> = inputs.buildinfos.iter().filter(of_source).collect();
    if infos.is_empty() {
        let same_name = inputs
            .buildinfos
            .iter()
            .filter(|info| info.info.source.nevra == source.nevra);
        return vec![Err(GroupError::NoBuildInfo {
            source_rpm: source_rpm.to_owned(),
            sha256: source.file.digest.to_hex(),
            others: same_name.map(|info| name_of(&info.file.path)).collect(),
        })];
    }
    let mut out: Vec<_> = infos
        .iter()
        .map(|info| assemble(inputs, source, info, packages))
        .collect();
    let listed: BTreeSet<HeaderDigest> = infos
        .iter()
        .flat_map(|info| outputs(info))
        .map(|(header, _)| header)
        .collect();
    let unlisted: Vec<_> = packages
        .iter()
        .copied()
        .filter(|package| !listed.contains(&package.header))
        .collect();
    if !unlisted.is_empty() {
        out.push(Err(GroupError::Unlisted {
            source_rpm: source_rpm.to_owned(),
            packages: file_names(&unlisted),
        }));
    }
    out
}

fn assemble<'a>(
    inputs: &'a Inputs,
    source: &'a RpmFile,
    info: &'a BuildInfoFile,
    packages: &[&'a RpmFile],
) -> Result<Build<'a>, GroupError> {
    let mut mine = Vec::new();
    let mut absent = Vec::new();
    for (header, nevra) in outputs(info) {
        match packages.iter().find(|package| package.header == header) {
            Some(package) => mine.push(*package),
            None => absent.push(nevra.file_name()),
        }
    }
    if !absent.is_empty() {
        return Err(GroupError::Absent {
            buildinfo: name_of(&info.file.path),
            packages: absent,
        });
    }
    mine.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    let headers: BTreeSet<_> = mine.iter().map(|package| package.header).collect();
    let provenance = inputs
        .provenances
        .iter()
        .find(|found| found.headers.is_superset(&headers));
    Ok(Build {
        source,
        packages: mine,
        buildinfo: &info.file,
        provenance: provenance.map(|found| &found.file),
    })
}

fn outputs(info: &BuildInfoFile) -> impl Iterator<Item = (HeaderDigest, &Nevra)> {
    info.info
        .outputs
        .iter()
        .map(|output| (output.header_sha256, &output.nevra))
}

fn file_names(packages: &[&RpmFile]) -> Vec<String> {
    packages
        .iter()
        .map(|package| name_of(&package.file.path))
        .collect()
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
