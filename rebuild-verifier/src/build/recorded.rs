//! Putting a recorded build out.

use super::{BuildError, BuiltPackage, Description, io};
use crate::plan::SourcePackage;
use crate::scratch;
use repo_model::buildinfo::BuildInfo;
use repo_model::{Nevra, Timestamp};
use std::fs;
use std::path::{Path, PathBuf};

/// A recorded build.
#[derive(Debug)]
pub struct Recorded {
    /// The record.
    pub info: BuildInfo,
    /// Where its JSON is: `<name>-<version>-<release>.buildinfo.json`.
    pub buildinfo: PathBuf,
    /// The packages, in the order of `info.outputs`.
    pub packages: Vec<PathBuf>,
    /// The build log.
    pub log: PathBuf,
    /// When rpmbuild was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

/// Where a build is put, and under which name.
pub(crate) struct Destination<'a> {
    /// The build log.
    pub log: PathBuf,
    out_dir: &'a Path,
    stem: String,
}

impl<'a> Destination<'a> {
    /// Makes the directory.
    pub fn create(out_dir: &'a Path, source: &SourcePackage) -> Result<Self, BuildError> {
        fs::create_dir_all(out_dir).map_err(io(format!("make {}", out_dir.display())))?;
        let stem = file_stem(&source.nevra)?;
        Ok(Self {
            log: out_dir.join(format!("{stem}.build.log")),
            out_dir,
            stem,
        })
    }

    /// Copies the packages there and writes the buildinfo beside them.
    ///
    /// * `started`, `finished`: when rpmbuild ran.
    pub fn put(
        self,
        description: Description<'_>,
        built: &[BuiltPackage],
        (started, finished): (Timestamp, Timestamp),
    ) -> Result<Recorded, BuildError> {
        let info = description.info(built);
        let mut packages = Vec::with_capacity(built.len());
        for package in built {
            let path = self.out_dir.join(&package.file_name);
            scratch::copy_readable(&package.path, &path)
                .map_err(io(format!("write {}", path.display())))?;
            packages.push(path);
        }
        let buildinfo = self.out_dir.join(format!("{}.buildinfo.json", self.stem));
        fs::write(&buildinfo, info.to_json())
            .map_err(io(format!("write {}", buildinfo.display())))?;
        Ok(Recorded {
            info,
            buildinfo,
            packages,
            log: self.log,
            started,
            finished,
        })
    }
}

/// `<name>-<version>-<release>`.
fn file_stem(nevra: &Nevra) -> Result<String, BuildError> {
    let stem = format!("{}-{}-{}", nevra.name, nevra.evr.version, nevra.evr.release);
    if stem.contains(['/', '\0']) || stem.starts_with('.') {
        return Err(BuildError::Output {
            what: format!("a source name that is no file name: {stem:?}"),
        });
    }
    Ok(stem)
}
