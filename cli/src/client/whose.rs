//! Packages that the package manager has kept itself, whatever repository they are of: dnf's plug-in `local` copies each
//! package that it installs, and offers it again from a repository of its own. Where such a package comes from says
//! nothing; whose it is is told by its signature, and by who knows it.

use super::check::Looking;
use super::config::{ClientConfig, VerifiedRepository};
use super::transaction::Incoming;
use repo_model::Timestamp;
use repo_model::rpm::{Head, HeadLimits, Package};
use repo_model::verify::Signature;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// How `local` calls its repositories: `_dnf_local`, `_dnf_local_nogpgcheck`.
const KEPT: &str = "_dnf_local";

/// Whether a repository of this name has packages of others.
pub(super) fn is_kept(repo_id: &str) -> bool {
    repo_id.starts_with(KEPT)
}

/// The repository of each package; none: another one than those that are verified.
///
/// A package is of a repository when its header is signed by a key of its trust folder, or when the repository has a
/// build of it: what a key that was revoked since has signed is still its package. One that cannot be read, and all
/// when a trust folder cannot be, count as packages that must be verified, and whoever does that tells why not.
pub(super) fn whose<'c>(
    config: &'c ClientConfig,
    packages: &[&Incoming],
    now: Timestamp,
) -> Vec<Option<&'c VerifiedRepository>> {
    let mut found = vec![None; packages.len()];
    if packages.is_empty() {
        return found;
    }
    for repository in &config.repositories {
        let looking = Looking::begin(config, repository, now);
        for (package, found) in packages.iter().zip(&mut found) {
            if found.is_some() {
                continue;
            }
            let is_its = match &looking {
                Ok(looking) => is_of(looking, package),
                Err(_) => true,
            };
            *found = is_its.then_some(repository);
        }
    }
    found
}

fn is_of(looking: &Looking, package: &Incoming) -> bool {
    let mut paths = package.paths.iter();
    package.paths.is_empty() || paths.any(|path| is_file_of(looking, path))
}

fn is_file_of(looking: &Looking, path: &Path) -> bool {
    let Some(head) = head(path) else {
        return true;
    };
    if let Signature::Good { .. } = looking.trust().signature(&head) {
        return true;
    }
    let Ok(package) = Package::from_head(&head) else {
        return true;
    };
    looking.knows(&package.nevra, head.header_digest()) == Some(true)
}

fn head(path: &Path) -> Option<Head> {
    let file = File::open(path).ok()?;
    Head::read(BufReader::new(file), &HeadLimits::default()).ok()
}
