//! `repomd.xml` and its signature are two requests; a release between them must not give a client
//! the signature of another file. So each client that fetched `repomd.xml` gets, for a short while,
//! the signature that belongs to it (librepo#311, tdnf#475).

use repo_model::{Arch, ReleaseId, RepoName};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a client is given the signature of what it fetched.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most clients that are remembered; when it is full, old ones are dropped first.
const MAX_CLIENTS: usize = 100_000;

/// One client's view of one moving repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Viewer {
    /// The client's address.
    pub address: IpAddr,
    /// Its name of the repository: channel, repo, arch.
    pub place: (String, RepoName, Arch),
}

/// Which release's `repomd.xml` each client got last.
#[derive(Debug, Default)]
pub struct HandedOut(Mutex<HashMap<Viewer, (ReleaseId, Instant)>>);

impl HandedOut {
    /// The client got the `repomd.xml` of this release.
    pub fn remember(&self, viewer: Viewer, release: ReleaseId, now: Instant) {
        let Ok(mut map) = self.0.lock() else { return };
        if map.len() >= MAX_CLIENTS && !map.contains_key(&viewer) {
            map.retain(|_, (_, at)| now.duration_since(*at) < REMEMBERED);
            if map.len() >= MAX_CLIENTS {
                return;
            }
        }
        map.insert(viewer, (release, now));
    }

    /// The release whose `repomd.xml` the client got within the last minute.
    pub fn recall(&self, viewer: &Viewer, now: Instant) -> Option<ReleaseId> {
        let map = self.0.lock().ok()?;
        let (release, at) = map.get(viewer)?;
        (now.duration_since(*at) < REMEMBERED).then_some(*release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_signature_of_what_it_fetched_for_a_minute() {
        let handed_out = HandedOut::default();
        let viewer = Viewer {
            address: IpAddr::from([127, 0, 0, 1]),
            place: (
                "preview".to_owned(),
                "base".parse().unwrap(),
                "x86_64".parse().unwrap(),
            ),
        };
        let start = Instant::now();
        assert_eq!(handed_out.recall(&viewer, start), None);
        handed_out.remember(viewer.clone(), ReleaseId(3), start);
        assert_eq!(
            handed_out.recall(&viewer, start + REMEMBERED / 2),
            Some(ReleaseId(3))
        );
        assert_eq!(handed_out.recall(&viewer, start + REMEMBERED), None);
    }
}
