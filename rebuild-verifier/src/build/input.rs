//! What is to be built: the request, and its source package where the build can read it.

use super::{BuildError, io};
use crate::buildroot::Root;
use crate::plan::{self, RootError, SourcePackage};
use crate::sandbox::{Cancel, Limits};
use crate::scratch::{self, Scratch};
use repo_model::FileDigest;
use repo_model::config::RebuilderConfig;
use std::path::{Path, PathBuf};

/// What to build and where to put what comes out.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The .src.rpm.
    pub srpm: PathBuf,
    /// Where the packages, the buildinfo and the log go; made when it is not there.
    pub out_dir: PathBuf,
    /// Scratch space, emptied afterwards.
    pub work_dir: PathBuf,
    /// What the build may use.
    pub limits: Limits,
    /// User that the build runs as when we are root.
    pub build_uid: u32,
    /// What the build runs in; none: the machine's own root.
    pub root: Option<Root>,
    /// Stops the build.
    pub cancel: Cancel,
}

impl BuildRequest {
    /// A build with the default limits and scratch space of `[rebuilder]`.
    pub fn new(srpm: &Path, out_dir: &Path) -> Self {
        let config = RebuilderConfig::default();
        Self {
            srpm: srpm.to_owned(),
            out_dir: out_dir.to_owned(),
            limits: Limits::from_config(&config),
            build_uid: config.build_uid,
            // Anybody may make a directory of their own there, and nobody else can touch it.
            work_dir: "/var/tmp".into(),
            root: None,
            cancel: Cancel::default(),
        }
    }

    /// What the build runs in, as it is now.
    pub(crate) fn chosen_root(&self) -> Result<Root, BuildError> {
        match &self.root {
            Some(root) => Ok(root.clone()),
            None => Ok(Root::host().map_err(RootError::from)?),
        }
    }
}

/// A source package that was copied to where the build reads it.
pub(crate) struct Input {
    /// Scratch space of the whole build; the copy is in it.
    pub scratch: Scratch,
    /// The copy.
    pub srpm: PathBuf,
    /// Its SHA-256.
    pub sha256: FileDigest,
    /// What its header says.
    pub source: SourcePackage,
}

impl Input {
    /// Copies the source package of a request and reads the copy.
    pub fn take(request: &BuildRequest) -> Result<Self, BuildError> {
        let work_dir = request.work_dir.display();
        let scratch = Scratch::create(&request.work_dir)
            .map_err(io(format!("make a directory below {work_dir}")))?;
        let srpm = scratch.dir().join("in.src.rpm");
        let (sha256, _) = scratch::copy_readable(&request.srpm, &srpm)
            .map_err(io(format!("copy {}", request.srpm.display())))?;
        let source = plan::read_source(&srpm)?;
        Ok(Self {
            scratch,
            srpm,
            sha256,
            source,
        })
    }
}
