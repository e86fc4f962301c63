//! Small files beside `repomd.xml` that no metadata names: the key that openSUSE's repositories hold there, and the
//! signed manifest of ours (`repo_model::manifest`) with what it lists besides.
//!
//! They are copied for those who read the copy. What belongs to another state than the copy's, or cannot be checked,
//! is left out, and the copy is none the worse.

use super::peer::{Peer, Problem};
use super::pointer::{Pointer, with_causes};
use super::request::Watch;
use super::round::Job;
use crate::reading::{REPOMD, SIGNATURE_MAX_BYTES};
use repo_model::FileDigest;
use repo_model::manifest::{MANIFEST, MANIFEST_MAX_BYTES, Manifest};

/// Largest `repomd.xml.key`.
const KEY_MAX_BYTES: u64 = 1 << 20;
/// The other signature of `repomd.xml`; the manifest has its digest.
const REPOMD_POST_QUANTUM: &str = "repodata/repomd.xml.pqc.asc";

/// A file and its bytes, by its path below the copy.
pub(super) type Beside = (String, Vec<u8>);

impl Job<'_> {
    /// What is to lie beside this `repomd.xml`.
    pub(super) fn beside(&self, pointer: &Pointer) -> Vec<Beside> {
        let key = self.key().map(|key| (format!("{REPOMD}.key"), key));
        let mut all: Vec<Beside> = key.into_iter().collect();
        // A copy of a part is not what the manifest lists.
        if !self.request.filters.is_active() {
            all.extend(self.manifest(pointer));
        }
        all
    }

    /// The key that openSUSE's repositories hold beside `repomd.xml`; served, never used. No signature covers
    /// it and clients are asked to trust it for good, so it must be one that the caller knows.
    fn key(&self) -> Option<Vec<u8>> {
        let signatures = self.verify.repomd()?;
        self.peers.iter().find_map(|peer| {
            match peer.read_small(&format!("{REPOMD}.key"), KEY_MAX_BYTES) {
                Ok(key) if signatures.is_pinned(&key) => Some(key),
                Ok(_) => {
                    let label = peer.label();
                    self.watch.note(&format!(
                        "{label}: {REPOMD}.key is not one of the given keys, and is left out"
                    ));
                    None
                }
                Err(problem) => {
                    debug(peer, &format!("{REPOMD}.key"), &problem);
                    None
                }
            }
        })
    }

    /// The manifest and its signatures, from the first upstream whose is about this state.
    fn manifest(&self, pointer: &Pointer) -> Vec<Beside> {
        let found = self
            .peers
            .iter()
            .find_map(|peer| match self.manifest_of(peer, pointer) {
                Ok(found) => Some(found),
                Err(problem) => {
                    match problem {
                        Problem::Signature(_) | Problem::Unusable(_) => {
                            note(self.watch, peer, &problem);
                        }
                        other => debug(peer, MANIFEST, &other),
                    }
                    None
                }
            });
        found.unwrap_or_default()
    }

    fn manifest_of(&self, peer: &Peer, pointer: &Pointer) -> Result<Vec<Beside>, Problem> {
        let text = peer.read_small(MANIFEST, MANIFEST_MAX_BYTES)?;
        let name = format!("{MANIFEST}.asc");
        let signature = peer.read_small(&name, SIGNATURE_MAX_BYTES)?;
        if let Some(signatures) = self.verify.repomd() {
            signatures
                .repomd(&text, &signature)
                .map_err(|error| Problem::Signature(with_causes(error.as_ref())))?;
        }
        let manifest = str::from_utf8(&text).map_err(|_| unusable("it is not text"))?;
        let manifest = Manifest::read(manifest).map_err(|error| unusable(&error.to_string()))?;
        let lists = |path: &str, bytes: &[u8]| {
            let listed = manifest.files.get(path);
            listed == Some(&FileDigest::of(bytes))
        };
        let own = pointer.signature.as_deref().unwrap_or_default();
        if !lists(REPOMD, &pointer.text) || !lists(&format!("{REPOMD}.asc"), own) {
            return Err(unusable("it is about another state than the copy's"));
        }
        let mut all = Vec::new();
        if manifest.files.contains_key(REPOMD_POST_QUANTUM) {
            let other = peer.read_small(REPOMD_POST_QUANTUM, SIGNATURE_MAX_BYTES)?;
            if !lists(REPOMD_POST_QUANTUM, &other) {
                return Err(unusable("it is about another state than the copy's"));
            }
            all.push((REPOMD_POST_QUANTUM.to_owned(), other));
        }
        // No releases but those with a post-quantum key have this one; whoever reads it checks it.
        let other = format!("{MANIFEST}.pqc.asc");
        match peer.read_small(&other, SIGNATURE_MAX_BYTES) {
            Ok(bytes) => all.push((other, bytes)),
            Err(problem) => debug(peer, &other, &problem),
        }
        all.push((name, signature));
        all.push((MANIFEST.to_owned(), text));
        Ok(all)
    }
}

/// Whether a name below `repodata` means another file after each change: an old one beside new metadata would belong
/// to nothing.
pub(super) fn belongs_to_repomd(name: &str) -> bool {
    let manifest = MANIFEST.strip_prefix("repodata/").unwrap_or(MANIFEST);
    name.starts_with("repomd.xml") || name.starts_with(manifest)
}

fn unusable(why: &str) -> Problem {
    Problem::Unusable(why.to_owned())
}

fn note(watch: &dyn Watch, peer: &Peer, problem: &Problem) {
    let label = peer.label();
    watch.note(&format!("{label}: {MANIFEST} is left out: {problem}"));
}

fn debug(peer: &Peer, path: &str, problem: &Problem) {
    if !matches!(problem, Problem::Missing) {
        tracing::debug!("{}: {path}: {problem}", peer.label());
    }
}
