//! Where the evidence of a repository comes from: its server with what was kept of it, a pack, or a copy of the repository
//! when the server does not answer.

use super::config::VerifiedRepository;
use super::seen::By;
use super::transaction::Transaction;
use crate::verify::{Cached, Item, Pack, RepositoryCopy, Room, Source, SourceError};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most copies that are asked in the place of a server.
const MOST_COPIES: usize = 8;

/// Most bytes of evidence that are unpacked of one copy: some thousand packages.
const MAX_SPOOLED_BYTES: u64 = 2 << 30;

/// Longest that one copy is asked: whoever installs waits for it.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Where evidence comes from.
pub(super) enum Origin {
    /// The administrator's choice: nothing is remembered of it.
    Pack(Box<Pack>),
    /// A server, or what was kept of it.
    Server { kept: Arc<Cached>, dir: PathBuf },
    /// A copy of the repository, for a server that does not answer.
    Copy {
        source: Box<CopyOrKept>,
        url: String,
        dir: PathBuf,
        /// The package manager's name for what it is a copy of.
        repo_id: String,
    },
}

impl Origin {
    pub fn source(&self) -> &(dyn Source + Sync) {
        match self {
            Self::Pack(pack) => &**pack,
            Self::Server { kept, .. } => &**kept,
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

    /// Why the server was not asked, when it should have been.
    pub fn away(&self) -> Option<String> {
        match self {
            Self::Pack(_) => None,
            Self::Server { kept, .. } => kept.away(),
            Self::Copy { source, .. } => source.kept.away(),
        }
    }

    /// Whose newest release and head of the log it shows.
    pub fn shown_by(&self) -> By<'_> {
        match self {
            Self::Copy {
                source, repo_id, ..
            } if !source.newest_is_kept => By::Copy(repo_id),
            Self::Server { kept, .. } if kept.away().is_none() => By::Server,
            Self::Pack(_) | Self::Server { .. } | Self::Copy { .. } => By::Kept,
        }
    }

    /// Where it comes from when the server does not answer, for the reader.
    pub fn told(&self) -> String {
        match self {
            Self::Copy { source, url, .. } if source.newest_is_kept => {
                format!("that of {url}, with the newest release that was kept before")
            }
            Self::Copy { url, .. } => format!("that of {url}"),
            Self::Pack(_) | Self::Server { .. } => "what was kept before".to_owned(),
        }
    }
}

/// A copy of the repository, and what was kept of the server for what it lacks.
pub(super) struct CopyOrKept {
    pub copy: RepositoryCopy,
    pub kept: Arc<Cached>,
    /// The copy is behind what was kept: it is asked about packages, and not what is newest.
    pub newest_is_kept: bool,
}

impl Source for CopyOrKept {
    fn packages(
        &self,
        asked: &[(Nevra, HeaderDigest)],
    ) -> Result<Option<Vec<BuildStatus>>, SourceError> {
        self.copy.packages(asked)
    }

    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        if self.newest_is_kept && matches!(item, Item::Releases | Item::Checkpoint) {
            return self.kept.open(item);
        }
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

/// Where the package manager takes packages of a repository from, and the mirrors that the administrator named; the server
/// itself is none.
pub(super) fn copies(
    repository: &VerifiedRepository,
    transaction: &Transaction,
    repo_id: &str,
) -> Vec<String> {
    let used = transaction.urls(repo_id).iter();
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

/// The copy at this URL, if it has evidence. What is unpacked of it lies in `dir` meanwhile: the folder for temporary files
/// may be memory.
pub(super) fn copy_at(url: &str, dir: &Path) -> Option<RepositoryCopy> {
    let room = Room {
        dir: dir.to_owned(),
        most_bytes: MAX_SPOOLED_BYTES,
        most_wait: Some(MAX_WAIT),
    };
    let opened = std::fs::create_dir_all(dir).map_err(|error| error.to_string());
    let opened = opened.and_then(|()| {
        let copy = RepositoryCopy::open_in(url, room);
        copy.map_err(|failure| failure.message())
    });
    match opened {
        Ok(copy) => copy,
        Err(why) => {
            tracing::debug!("{url}: {why}");
            None
        }
    }
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
            ]}, {"id": "b", "urls": ["http://m/a/stable/updates/x86_64"]}],
            "packages": []
        }))
        .unwrap();
        let copies = |repo_id| copies(&config.repositories[0], &transaction, repo_id);
        assert_eq!(
            copies("a"),
            ["http://m/a/stable/base/x86_64", "http://n", "http://m/a"]
        );
        // Nobody asks a copy of one repository about packages of another.
        assert_eq!(
            copies("b"),
            ["http://m/a/stable/updates/x86_64", "http://m/a", "http://n"]
        );
        assert_eq!(copies("@commandline"), ["http://m/a", "http://n"]);
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
