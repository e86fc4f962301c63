//! What this machine has seen of a repository, so that nobody can show it less: the newest release, and the
//! head of the log. Kept beside the evidence, which nobody but the administrator writes.

use crate::verify::{TrustDir, write};
use repo_model::log::{Checkpoint, Note};
use repo_model::release::ReleaseDocument;
use repo_model::{ReleaseId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Its name in the folder.
const FILE: &str = "seen.json";

/// The furthest that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    release: Option<SeenRelease>,
    log: Option<SeenLog>,
    /// The newest release whose metadata the package manager has used, by its name for the repository.
    #[serde(default)]
    used: BTreeMap<String, ReleaseId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SeenRelease {
    id: ReleaseId,
    issued: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SeenLog {
    origin: String,
    size: u64,
    /// Base64.
    root: String,
}

impl Seen {
    /// What is kept in the folder; nothing when it is the first time.
    pub fn read(dir: &Path) -> io::Result<Self> {
        match fs::read(dir.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Keeps it.
    pub fn keep(&self, dir: &Path) -> io::Result<()> {
        write(&dir.join(FILE), &serde_json::to_vec(self)?)
    }

    /// Takes in the newest release, whose signature is good; in words what is wrong when it is an older one.
    pub fn release(&mut self, shown: &ReleaseDocument) -> Result<(), String> {
        if let Some(known) = self.release.as_ref().filter(|known| known.id > shown.id) {
            let (id, issued) = (shown.id, shown.issued);
            return Err(format!(
                "the newest release that is shown is {id} of {issued}; this machine has seen {} of {}: \
                 somebody rolled the repository back",
                known.id, known.issued
            ));
        }
        self.release = Some(SeenRelease {
            id: shown.id,
            issued: shown.issued,
        });
        Ok(())
    }

    /// The newest release whose metadata was used of a repository of the package manager.
    pub fn used(&self, repo_id: &str) -> Option<ReleaseId> {
        self.used.get(repo_id).copied()
    }

    /// Takes in which release's metadata is used now. An operator may move a channel back, so this goes down too.
    pub fn uses(&mut self, repo_id: &str, release: ReleaseId) {
        self.used.insert(repo_id.to_owned(), release);
    }

    /// Takes in the head of the log; in words what is wrong when it cannot follow the one that was seen. A head
    /// that no trusted key signed says nothing: the chains of the packages tell.
    pub fn log(&mut self, trust: &TrustDir, note: &Note) -> Result<(), String> {
        let mut keys = trust.trust.log_keys.iter();
        let Some(head) = keys.find_map(|key| Checkpoint::open(note, key).ok()) else {
            return Ok(());
        };
        if repo_model::verify::cosigned(&trust.trust.log_cosigners, note, &head).is_err() {
            return Ok(());
        }
        let root = head.root.to_base64();
        let known = self.log.as_ref().filter(|log| log.origin == head.origin);
        if let Some(known) = known {
            if head.size < known.size {
                return Err(format!(
                    "the log that is shown has {} entries; this machine has seen {}: it has shrunk",
                    head.size, known.size
                ));
            }
            if head.size == known.size && root != known.root {
                return Err(format!(
                    "the log that is shown is not the one of {} entries that this machine has seen: it has forked",
                    known.size
                ));
            }
        }
        self.log = Some(SeenLog {
            origin: head.origin,
            size: head.size,
            root,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(id: u64) -> ReleaseDocument {
        serde_json::from_value(serde_json::json!({
            "schema": repo_model::release::SCHEMA, "id": id, "issued": "2026-11-20T10:06:00Z",
            "previous": null, "repos": []
        }))
        .unwrap()
    }

    #[test]
    fn an_older_release_is_refused_and_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Seen::read(dir.path()).unwrap();
        seen.release(&release(5)).unwrap();
        seen.release(&release(5)).unwrap();
        seen.keep(dir.path()).unwrap();
        let mut seen = Seen::read(dir.path()).unwrap();
        let problem = seen.release(&release(3)).unwrap_err();
        assert!(problem.contains("has seen 5 of 2026"), "{problem}");
        seen.release(&release(6)).unwrap();
        assert!(seen.release(&release(5)).is_err());
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Seen::read(dir.path()).is_err());
    }
}
