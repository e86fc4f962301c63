//! Where things are below the data directory.

use std::path::{Path, PathBuf};

/// `hallmark.db`
pub fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("hallmark.db")
}

/// What is inside the packages; made of the stored SBOMs, and may be removed while no server runs.
pub fn sbom_index(data_dir: &Path) -> PathBuf {
    data_dir.join("sbom-index.db")
}

/// What released packages are called, provide, need and hold; made of their headers, and may be removed while
/// no server runs.
pub fn catalogue(data_dir: &Path) -> PathBuf {
    data_dir.join("catalogue.db")
}

/// Held by the one server that uses this data directory.
pub fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join("server.lock")
}

/// Objects by digest.
pub fn objects(data_dir: &Path) -> PathBuf {
    data_dir.join("objects")
}

/// Half-uploaded blobs.
pub fn spool(data_dir: &Path) -> PathBuf {
    data_dir.join("spool")
}

/// Files in the making; emptied at start.
pub fn scratch(data_dir: &Path) -> PathBuf {
    data_dir.join("scratch")
}

/// What is kept of other repositories, each in a directory of its name; may be removed while no server runs.
pub fn upstreams(data_dir: &Path) -> PathBuf {
    data_dir.join("upstreams")
}

/// Compressed pieces of metadata; may be removed at any time, at the cost of rendering anew.
pub fn frames(data_dir: &Path) -> PathBuf {
    data_dir.join("frames")
}
