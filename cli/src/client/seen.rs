//! What this machine has seen of a repository, so that nobody can show it less: the newest release, and the
//! head of the log. Kept beside the evidence, which nobody but the administrator writes.

use crate::verify::write;
use repo_model::log::{Checkpoint, Note};
use repo_model::release::ReleaseDocument;
use repo_model::verify::Trust;
use repo_model::{ReleaseId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Its name in the folder.
const FILE: &str = "seen.json";

/// Who shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By<'a> {
    /// The server, now. It must not be behind any copy.
    Server,
    /// What was kept of the server: nobody shows anything now.
    Kept,
    /// A copy of the repository that the package manager calls so. Copies of others are renewed at other times, and say
    /// nothing about it.
    Copy(&'a str),
}

/// The furthest that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Of the server.
    #[serde(flatten)]
    server: Furthest,
    /// Of copies, by the package manager's name for the repository.
    #[serde(default)]
    copies: BTreeMap<String, Furthest>,
    /// The newest release whose metadata the package manager has used, by its name for the repository.
    #[serde(default)]
    used: BTreeMap<String, ReleaseId>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Furthest {
    release: Option<SeenRelease>,
    log: Option<SeenLog>,
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

    /// What whoever shows something must not be behind.
    fn known<'s>(&'s self, by: By<'s>) -> impl Iterator<Item = &'s Furthest> {
        let copies = self.copies.iter().filter(move |(repo_id, _)| match by {
            By::Server => true,
            By::Kept => false,
            By::Copy(shown) => *repo_id == shown,
        });
        std::iter::once(&self.server).chain(copies.map(|(_, copy)| copy))
    }

    fn of(&mut self, by: By<'_>) -> &mut Furthest {
        match by {
            By::Server | By::Kept => &mut self.server,
            By::Copy(repo_id) => self.copies.entry(repo_id.to_owned()).or_default(),
        }
    }

    /// Takes in the newest release, whose signature is good; in words what is wrong when it is an older one.
    pub fn release(&mut self, by: By<'_>, shown: &ReleaseDocument) -> Result<(), String> {
        let newer = self
            .known(by)
            .filter_map(|known| known.release.as_ref())
            .find(|known| known.id > shown.id);
        if let Some(known) = newer {
            let (id, issued) = (shown.id, shown.issued);
            return Err(format!(
                "the newest release that is shown is {id} of {issued}; this machine has seen {} of {}: \
                 somebody rolled the repository back",
                known.id, known.issued
            ));
        }
        self.of(by).release = Some(SeenRelease {
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
    pub fn log(&mut self, by: By<'_>, trust: &Trust, note: &Note) -> Result<(), String> {
        let mut keys = trust.log_keys.iter();
        let Some(head) = keys.find_map(|key| Checkpoint::open(note, key).ok()) else {
            return Ok(());
        };
        if repo_model::verify::cosigned(&trust.log_cosigners, note, &head).is_err() {
            return Ok(());
        }
        let root = head.root.to_base64();
        let known = self.known(by).filter_map(|known| known.log.as_ref());
        for known in known.filter(|log| log.origin == head.origin) {
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
        self.of(by).log = Some(SeenLog {
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
    use repo_model::log::{LogKey, SignatureKind};

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
        seen.release(By::Server, &release(5)).unwrap();
        seen.release(By::Server, &release(5)).unwrap();
        seen.keep(dir.path()).unwrap();
        let mut seen = Seen::read(dir.path()).unwrap();
        let problem = seen.release(By::Server, &release(3)).unwrap_err();
        assert!(problem.contains("has seen 5 of 2026"), "{problem}");
        seen.release(By::Server, &release(6)).unwrap();
        assert!(seen.release(By::Server, &release(5)).is_err());
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Seen::read(dir.path()).is_err());
    }

    #[test]
    fn copies_are_behind_the_server_or_themselves_and_not_behind_each_other() {
        let dir = tempfile::tempdir().unwrap();
        // As it was kept before copies were told apart.
        let before =
            "{\"release\":{\"id\":5,\"issued\":\"2026-11-20T10:06:00Z\"},\"log\":null,\"used\":{}}";
        fs::write(dir.path().join(FILE), before).unwrap();
        let mut seen = Seen::read(dir.path()).unwrap();
        let (base, updates) = (By::Copy("base"), By::Copy("updates"));
        assert!(seen.release(base, &release(4)).is_err());
        seen.release(base, &release(7)).unwrap();
        seen.keep(dir.path()).unwrap();
        let mut seen = Seen::read(dir.path()).unwrap();
        seen.release(updates, &release(6)).unwrap();
        assert!(seen.release(base, &release(6)).is_err());
        seen.release(By::Kept, &release(5)).unwrap();
        let problem = seen.release(By::Server, &release(6)).unwrap_err();
        assert!(problem.contains("has seen 7 of 2026"), "{problem}");
        seen.release(By::Server, &release(8)).unwrap();
        assert!(seen.release(updates, &release(7)).is_err());
    }

    /// A head of so many entries, by the log's own key.
    fn head(size: u64, root: &[u8]) -> Note {
        let root = repo_model::log::leaf_hash(root).to_base64();
        let text = format!("log.example\n{size}\n{root}\n");
        let line = key().sign(&text, Timestamp::from_unix_secs(0)).unwrap();
        let signatures = vec![line];
        Note { text, signatures }
    }

    fn key() -> LogKey {
        LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
    }

    #[test]
    fn heads_of_the_log_go_on_and_do_not_fork_whoever_shows_them() {
        let policy = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\n";
        let trust = Trust {
            statement_keys: Vec::new(),
            log_keys: vec![key().public()],
            log_cosigners: Vec::new(),
            witnesses: None,
            policy: repo_model::policy::Policy::from_toml(policy).unwrap(),
            policy_digest: repo_model::FileDigest::of(policy.as_bytes()),
            max_age_days: None,
            memo: repo_model::verify::Memo::default(),
        };
        let mut seen = Seen::default();
        let (base, updates) = (By::Copy("base"), By::Copy("updates"));
        seen.log(By::Server, &trust, &head(100, b"a")).unwrap();
        for (by, size, root, says) in [
            (base, 99, b"0", Some("it has shrunk")),
            (base, 103, b"c", None),
            (base, 103, b"x", Some("it has forked")),
            (updates, 101, b"b", None),
            (base, 101, b"b", Some("it has shrunk")),
            (By::Kept, 100, b"a", None),
            (By::Server, 102, b"d", Some("it has shrunk")),
            (By::Server, 103, b"c", None),
            (updates, 102, b"d", Some("it has shrunk")),
        ] {
            let told = seen.log(by, &trust, &head(size, root)).err();
            match says {
                None => assert_eq!(told, None, "{by:?} {size}"),
                Some(says) => assert!(told.unwrap().contains(says), "{by:?} {size}"),
            }
        }
    }
}
