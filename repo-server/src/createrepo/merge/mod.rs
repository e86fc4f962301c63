//! Several repositories become one, `mergerepo_c`'s job: packages stay where they are, their metadata
//! goes over word for word.
//!
//! The steps: lock, read each repository (verified against its `repomd.xml`, decompressed into
//! nameless files), choose the packages, write lists and merged further records into a staging
//! directory, switch. In memory is some hundred bytes for each package.

mod choose;
mod extras;
mod repeated;
mod source;
mod write;

pub use choose::{Conflicts, Method};

use super::error::{CreaterepoError, Duplicate};
use super::finish::Ending;
use super::old::{self, Retain};
use super::switch;
use super::write::{FileNames, Stage};
use crate::repodata::{Options, build_fragments_into};
use choose::Chosen;
use mirrors::reading::Source;
use repo_model::Timestamp;
use source::Repository;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use write::Elements;

/// A repository to merge.
pub struct MergeInput {
    /// As errors call it: its path or URL.
    pub label: String,
    /// `xml:base` of its packages that have none; none writes none.
    pub base: Option<String>,
    /// Its files.
    pub source: Box<dyn Source>,
}

/// What to merge, and how.
pub struct MergeRequest {
    /// The repositories; where two have a package, the first one's counts.
    pub inputs: Vec<MergeInput>,
    /// Where `repodata` goes; made when absent.
    pub output: PathBuf,
    /// Which package is taken of those with one name and architecture.
    pub method: Method,
    /// What to do about different packages of one NEVRA in several repositories.
    pub conflicts: Conflicts,
    /// Only these architectures; none takes all.
    pub architectures: Option<Vec<String>>,
    /// Only the packages with these checksums, lowercase hex digits; none takes all.
    pub packages: Option<HashSet<String>>,
    /// Merge comps groups.
    pub groups: bool,
    /// Merge advisories.
    pub advisories: bool,
    /// Codec, checksum, tags.
    pub metadata: Options,
    /// Also write sqlite databases.
    pub database: bool,
    /// Names of the metadata files.
    pub names: FileNames,
    /// Timestamp of the records, and revision unless one is set.
    pub at: Timestamp,
}

/// What was merged.
#[derive(Debug)]
pub struct MergeSummary {
    /// Packages listed.
    pub packages: usize,
    /// Of each repository, in order: packages it has, and packages taken from it.
    pub taken: Vec<(usize, usize)>,
    /// Different packages of one NEVRA; the first of each pair is listed, the second as asked.
    pub conflicts: Vec<Duplicate>,
    /// Records that were not merged: repository and type.
    pub left_out: Vec<(String, String)>,
}

/// A repository cannot be merged. Its fault, or its server's; the output is untouched.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file of it cannot be had.
    #[error("cannot get {file}")]
    Source {
        /// Path below its root.
        file: String,
        /// Why.
        #[source]
        source: mirrors::reading::SourceError,
    },
    /// A file of it cannot be read to its end.
    #[error("cannot read {file} to its end")]
    Read {
        /// Path below its root.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of it is not what XML, or what it means, wants.
    #[error("cannot use {file}")]
    Xml {
        /// Path below its root.
        file: String,
        /// Where and what.
        #[source]
        source: mirrors::reading::XmlError,
    },
    /// A file of it is not the one that `repomd.xml` names.
    #[error("cannot use {file}: {why}")]
    Wrong {
        /// Path below its root.
        file: String,
        /// What is wrong.
        why: String,
    },
}

/// Merges the repositories and puts the result in place in one step.
///
/// On an error nothing that clients read has changed. `CreaterepoError::Duplicates` names packages
/// that share a NEVRA when `conflicts` refuses them.
pub fn mergerepo(request: &MergeRequest) -> Result<MergeSummary, CreaterepoError> {
    fs::create_dir_all(&request.output).map_err(|source| CreaterepoError::Write {
        path: request.output.clone(),
        source,
    })?;
    let _lock = switch::lock(&request.output)?;
    let live = switch::live_directory(&request.output);
    let mut repositories = Vec::with_capacity(request.inputs.len());
    for input in &request.inputs {
        let read = Repository::read(input, &request.output);
        repositories.push(read.map_err(|source| CreaterepoError::Merge {
            repository: input.label.clone(),
            source,
        })?);
    }
    let chosen = choose::choose(request, &repositories)?;
    let (extras, left_out) = extras::merged(request, &repositories)?;

    let mut stage = Stage::new(switch::stage_path(&live)?, request.names, None)?;
    let elements = Elements::new(&repositories, &chosen.packages);
    let manifest = build_fragments_into(
        &elements,
        &extras,
        &request.metadata,
        request.at,
        &mut stage,
    )?;
    let ending = Ending {
        options: &request.metadata,
        at: request.at,
        database: request.database,
    };
    ending.write(manifest.records, Vec::new(), &mut stage)?;
    let old = old::read(&live).unwrap_or(None);
    let now = super::system_time(request.at);
    old::keep_files(&live, old.as_ref(), Retain::default(), now, &mut stage)?;
    stage.put_in_place(&live)?;
    Ok(summary(&repositories, chosen, left_out))
}

fn summary(
    repositories: &[Repository],
    chosen: Chosen,
    left_out: Vec<(String, String)>,
) -> MergeSummary {
    let mut taken: Vec<(usize, usize)> = repositories
        .iter()
        .map(|repository| (repository.packages.len(), 0))
        .collect();
    for (repository, _) in &chosen.packages {
        taken[*repository].1 += 1;
    }
    MergeSummary {
        packages: chosen.packages.len(),
        taken,
        conflicts: chosen.conflicts,
        left_out,
    }
}
