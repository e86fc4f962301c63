//! Where the evidence of a repository comes from: its server with what was kept of it, a pack, or a copy of the repository
//! when the server does not answer.

use super::config::VerifiedRepository;
use super::transaction::{Incoming, Transaction};
use crate::verify::{Cached, Item, Pack, RepositoryCopy, Source, SourceError};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most copies that are asked in the place of a server.
const MOST_COPIES: usize = 8;

/// Where evidence comes from.
pub(super) enum Origin {
    /// The administrator's choice: nothing is remembered of it.
    Pack(Box<Pack>),
    /// A server, or what was kept of it.
    Server { cached: Cached, dir: PathBuf },
    /// A copy of the repository, for a server that does not answer.
    Copy {
        source: Box<CopyOrKept>,
        url: String,
        dir: PathBuf,
    },
}

impl Origin {
    pub fn source(&self) -> &(dyn Source + Sync) {
        match self {
            Self::Pack(pack) => &**pack,
            Self::Server { cached, .. } => cached,
            Self::Copy { source, .. } => &**source,
        }
    }

    /// Where it is kept what was seen.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Pack(_) => None,
            Self::Server { dir, .. } | Self::Copy { dir, .. } => Some(dir),
        }
    }
}

/// A copy of the repository, and what was kept of the server for what it lacks.
pub(super) struct CopyOrKept {
    pub copy: RepositoryCopy,
    pub kept: Cached,
}

impl Source for CopyOrKept {
    fn packages(
        &self,
        asked: &[(Nevra, HeaderDigest)],
    ) -> Result<Option<Vec<BuildStatus>>, SourceError> {
        self.copy.packages(asked)
    }

    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match self.copy.open(item) {
            Ok(Some(reader)) => Ok(Some(reader)),
            // That nobody can be asked for what is in neither says no more than that the copy lacks it.
            lacks => match self.kept.open(item) {
                Ok(Some(reader)) => Ok(Some(reader)),
                _ => lacks,
            },
        }
    }
}

/// Where the package manager takes these packages from, and the mirrors that the administrator named; the server itself
/// is none.
pub(super) fn copies(
    repository: &VerifiedRepository,
    transaction: &Transaction,
    packages: &[&Incoming],
) -> Vec<String> {
    let used = packages
        .iter()
        .flat_map(|package| transaction.urls(&package.repo_id));
    let mut copies: Vec<String> = Vec::new();
    for url in used.chain(&repository.mirror_urls) {
        let url = url.strip_suffix("metalink.xml").unwrap_or(url);
        let url = url.trim_end_matches('/').to_owned();
        if !repository.is_server(&url) && !copies.contains(&url) {
            copies.push(url);
        }
    }
    copies.truncate(MOST_COPIES);
    copies
}

/// The first copy that has evidence.
pub(super) fn first_copy(urls: &[String]) -> Option<(RepositoryCopy, String)> {
    urls.iter().find_map(|url| match RepositoryCopy::open(url) {
        Ok(copy) => Some((copy?, url.clone())),
        Err(error) => {
            tracing::debug!("{url}: {}", error.message());
            None
        }
    })
}

/// Where the evidence of one repository is kept.
pub(super) fn evidence_dir(cache_dir: &Path, repository: &VerifiedRepository) -> PathBuf {
    let url = repository.server_url.trim_end_matches('/');
    let name = FileDigest::of(url.as_bytes()).to_hex();
    cache_dir.join(&name[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::config::parse;

    #[test]
    fn copies_are_where_packages_come_from_and_the_named_mirrors_but_not_the_server() {
        let config = parse(
            "[[repository]]\nserver_url = \"http://s\"\nmirror_urls = [\"http://m/a\", \"http://n/\"]\n",
        )
        .unwrap();
        let transaction: Transaction = serde_json::from_value(serde_json::json!({
            "repositories": [{"id": "a", "urls": [
                "http://s/stable/base/x86_64/metalink.xml", "http://m/a/stable/base/x86_64/", "http://n"
            ]}],
            "packages": [{"nevra": "a-1-1.noarch", "repo_id": "a", "paths": []}]
        }))
        .unwrap();
        let packages: Vec<&Incoming> = transaction.packages.iter().collect();
        assert_eq!(
            copies(&config.repositories[0], &transaction, &packages),
            ["http://m/a/stable/base/x86_64", "http://n", "http://m/a"]
        );
    }

    #[test]
    fn evidence_of_two_repositories_is_kept_apart() {
        let config = parse(
            "[[repository]]\nserver_url = \"http://a\"\n[[repository]]\nserver_url = \"http://b\"\n",
        )
        .unwrap();
        let dir = |index: usize| evidence_dir(Path::new("/c"), &config.repositories[index]);
        assert_ne!(dir(0), dir(1));
        assert_eq!(dir(0).parent(), Some(Path::new("/c")));
    }
}
