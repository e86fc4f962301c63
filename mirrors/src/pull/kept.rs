//! What is kept, and what goes when there is no room: that which nobody has asked for the longest.

use crate::sync::claim::Claim;
use repo_model::FileDigest;
use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The time of the last use is written down when it is this much later than what stands there.
const NOTED_EACH: Duration = Duration::from_secs(3600);

/// Objects that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    objects: HashMap<FileDigest, Object>,
    total_bytes: u64,
    /// SHA-256 of files by what metadata claims of them, where that is another kind.
    by_claim: HashMap<Claim, FileDigest>,
}

#[derive(Debug, Clone, Copy)]
struct Object {
    size_bytes: u64,
    used: SystemTime,
    /// What the file says of its last use.
    noted: SystemTime,
}

impl Kept {
    /// Looks what is in a store.
    pub fn open(root: &Path, by_claim: HashMap<Claim, FileDigest>) -> io::Result<Self> {
        let mut kept = Self {
            by_claim,
            ..Self::default()
        };
        for fan in fs::read_dir(root.join("sha256"))? {
            let fan = fan?;
            for object in fs::read_dir(fan.path())? {
                let object = object?;
                let name = [fan.file_name(), object.file_name()];
                let hex: String = name.iter().map(|part| part.to_string_lossy()).collect();
                let Ok(digest) = hex.parse() else {
                    continue;
                };
                let data = object.metadata()?;
                let used = data.accessed().or_else(|_| data.modified())?;
                kept.insert(digest, data.len(), used);
            }
        }
        Ok(kept)
    }

    fn insert(&mut self, digest: FileDigest, size_bytes: u64, used: SystemTime) {
        let object = Object {
            size_bytes,
            used,
            noted: used,
        };
        if let Some(old) = self.objects.insert(digest, object) {
            self.total_bytes -= old.size_bytes;
        }
        self.total_bytes += size_bytes;
    }

    /// The SHA-256 of a file of which metadata claims this, where it is known.
    pub fn digest(&self, claim: &Claim) -> Option<FileDigest> {
        claim.sha256().or_else(|| self.by_claim.get(claim).copied())
    }

    /// A file has come.
    pub fn came(&mut self, claim: &Claim, digest: FileDigest, size_bytes: u64, path: &Path) {
        if claim.sha256().is_none() {
            self.by_claim.insert(claim.clone(), digest);
        }
        self.used(digest, size_bytes, path);
    }

    /// A file was asked for.
    pub fn used(&mut self, digest: FileDigest, size_bytes: u64, path: &Path) {
        let now = SystemTime::now();
        let noted = self.objects.get(&digest).map(|object| object.noted);
        self.insert(digest, size_bytes, now);
        let due = |noted: SystemTime| now.duration_since(noted).is_ok_and(|age| age > NOTED_EACH);
        match noted {
            Some(noted) if !due(noted) => {
                if let Some(object) = self.objects.get_mut(&digest) {
                    object.noted = noted;
                }
            }
            // For the next start; without it the file is only thought to be older than it is.
            _ => {
                let times = FileTimes::new().set_accessed(now);
                let _ = File::open(path).and_then(|file| file.set_times(times));
            }
        }
    }

    /// What is to be removed: first what nobody asked for in `keep_for`, then the longest unused until at most `keep_bytes`
    /// are left.
    pub fn due(&self, keep_bytes: u64, keep_for: Duration) -> Vec<FileDigest> {
        let now = SystemTime::now();
        let mut all: Vec<_> = self.objects.iter().collect();
        all.sort_by_key(|(digest, object)| (object.used, **digest));
        let mut left = self.total_bytes;
        let mut due = Vec::new();
        for (digest, object) in all {
            let old = now
                .duration_since(object.used)
                .is_ok_and(|age| age > keep_for);
            if old || left > keep_bytes {
                left -= object.size_bytes;
                due.push(*digest);
            }
        }
        due
    }

    /// A file was removed.
    pub fn gone(&mut self, digest: FileDigest) {
        if let Some(object) = self.objects.remove(&digest) {
            self.total_bytes -= object.size_bytes;
        }
        self.by_claim.retain(|_, of| *of != digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_the_longest_goes_first_and_what_is_too_old_in_any_case() {
        let mut kept = Kept::default();
        let ago = |secs| SystemTime::now() - Duration::from_secs(secs);
        let [a, b, c] = ["a", "b", "c"].map(|name| FileDigest::of(name.as_bytes()));
        kept.insert(a, 100, ago(30));
        kept.insert(b, 100, ago(20));
        kept.insert(c, 100, ago(10));
        let hour = Duration::from_secs(3600);
        assert_eq!(kept.due(300, hour), []);
        assert_eq!(kept.due(299, hour), [a]);
        assert_eq!(kept.due(100, hour), [a, b]);
        assert_eq!(kept.due(300, Duration::from_secs(15)), [a, b]);
        kept.used(a, 100, Path::new("/nowhere"));
        assert_eq!(kept.due(100, hour), [b, c]);
        kept.gone(b);
        assert_eq!(kept.due(100, hour), [c]);
        assert_eq!(kept.total_bytes, 200);
    }
}
