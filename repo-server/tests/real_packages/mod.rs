//! Where the set of real packages is, which is no part of the repository.

use std::path::{Path, PathBuf};

/// The directory of real packages; none, said loudly with the test's name, when it is absent.
pub fn real_packages() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/rpms");
    if path.is_dir() {
        return Some(path);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED: {test}: there are no real packages at ../shared/rpms");
    None
}
