//! What a package manager is about to install, as its plug-in tells it.
//!
//! ```json
//! {"repositories": [{"id": "acme", "urls": ["https://packages.example/stable/base/x86_64/metalink.xml"]}],
//!  "packages": [{"nevra": "hello-2.12-1.x86_64", "repo_id": "acme",
//!                "paths": ["/var/cache/dnf/acme-1f/packages/hello-2.12-1.x86_64.rpm"]}]}
//! ```

use serde::Deserialize;
use std::path::PathBuf;

/// All packages that come in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Where packages come from.
    #[serde(default)]
    pub repositories: Vec<RepositoryUrls>,
    /// What is installed, upgraded, downgraded or installed again.
    pub packages: Vec<Incoming>,
}

/// One of the package manager's repositories.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RepositoryUrls {
    /// Its name there.
    pub id: String,
    /// Base URLs, metalink and mirror list.
    pub urls: Vec<String>,
}

/// One package that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Incoming {
    /// As the package manager calls it; shown, and not believed.
    pub nevra: String,
    /// Where it comes from.
    pub repo_id: String,
    /// The file. More than one when it cannot be told which of them will be installed: each must hold.
    pub paths: Vec<PathBuf>,
}

impl Transaction {
    /// Where a repository takes packages from; nothing when it was not told.
    pub fn urls(&self, repo_id: &str) -> &[String] {
        let mut all = self.repositories.iter();
        all.find(|repository| repository.id == repo_id)
            .map_or(&[], |repository| &repository.urls)
    }
}
