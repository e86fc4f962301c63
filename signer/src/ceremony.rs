//! The root ceremony: what the holders of the offline keys do, on a directory that is a whole TUF
//! repository (see [`repo_model::trust`]). Carry the directory from one to the next; each adds a
//! signature. The signer only ever reads it.
//!
//! Keys are ed25519, PKCS #8 PEM; public halves SPKI PEM.

use crate::keys::{self, KeyError};
use crate::rules::PINNED_ROOT;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use repo_model::policy::{Policy, PolicyError};
use repo_model::trust::document::{DocumentError, Key, Pointer, Root, Signed, Targets};
use repo_model::trust::{
    SNAPSHOT_FILE, TARGETS_FILE, TIMESTAMP_FILE, TrustError, TrustedRoot, Vouched, root_file,
};
use repo_model::{FileDigest, Timestamp};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// File name of the policy in the directory.
pub const POLICY_FILE: &str = "policy.toml";

/// A step of the ceremony cannot be done. The caller's fault unless it is `Io`.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// Disk trouble, or a file that is not there.
    #[error("cannot {task} {}", path.display())]
    Io {
        /// `read`, `write`.
        task: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file would be lost.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not a key file.
    #[error("{} holds no ed25519 {kind} key in PEM form", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
    },
    /// Key files and the pinned root.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A document cannot be made or read.
    #[error("{file} cannot be used")]
    Document {
        /// Its file name.
        file: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// The chain does not hold.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No policy.
    #[error("the policy {} cannot be used", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// Whoever signs must be asked for.
    #[error("the key {key_id} has no voice in any document here")]
    NoVoice {
        /// Its id.
        key_id: String,
    },
    /// A policy must be told from the one before.
    #[error(
        "the policy has version {found}; the one signed before has {before} with other content: give it a higher version"
    )]
    PolicyVersion {
        /// In the new file.
        found: u64,
        /// In the old file.
        before: u64,
    },
}

/// How many signatures a document has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its file name.
    pub file: String,
    /// Whose threshold: `itself`, `root 1`.
    pub by: String,
    /// Distinct keys whose signature holds.
    pub have: usize,
    /// The threshold.
    pub want: u32,
}

/// Makes a key pair: `out` (0600) and, beside it, the public half with the ending `pub`.
pub fn keygen(out: &Path) -> Result<String, CeremonyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
    let key = SigningKey::from_bytes(&seed);
    let broken = |kind| CeremonyError::Key {
        path: out.to_owned(),
        kind,
    };
    let private = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| broken("private"))?;
    let public = key
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(|_| broken("public"))?;
    for (path, text, mode) in [
        (out.to_owned(), private.as_bytes(), 0o600),
        (out.with_extension("pub"), public.as_bytes(), 0o644),
    ] {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        if !keys::create(dir, &name, text, mode)? {
            return Err(CeremonyError::Exists { path });
        }
    }
    Ok(Key::of(&key.verifying_key()).id())
}

/// Reads a private key file, which must be readable by its owner only.
pub fn private_key(path: &Path) -> Result<SigningKey, CeremonyError> {
    let bytes = keys::read_private(path)?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|pem| SigningKey::from_pkcs8_pem(pem).ok())
        .ok_or_else(|| CeremonyError::Key {
            path: path.to_owned(),
            kind: "private",
        })
}

/// Reads a public key file.
pub fn public_key(path: &Path) -> Result<VerifyingKey, CeremonyError> {
    let bytes = read(path)?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|pem| VerifyingKey::from_public_key_pem(pem).ok())
        .ok_or_else(|| CeremonyError::Key {
            path: path.to_owned(),
            kind: "public",
        })
}

/// Pins `root` as the one that the signer with this state directory begins with. `false`: the same
/// one is pinned already. Another one is never replaced.
pub fn pin(root: &Path, state_dir: &Path) -> Result<(TrustedRoot, bool), CeremonyError> {
    let json = read(root)?;
    let trusted = TrustedRoot::pinned(&json)?;
    keys::make_state_dir(state_dir)?;
    if keys::create(state_dir, PINNED_ROOT, &json, 0o600)? {
        return Ok((trusted, true));
    }
    let path = state_dir.join(PINNED_ROOT);
    if TrustedRoot::pinned(&read(&path)?)?.digest() == trusted.digest() {
        return Ok((trusted, false));
    }
    Err(CeremonyError::Exists { path })
}

/// What a directory vouches for.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The newest root.
    pub root: TrustedRoot,
    /// What its targets document says of the policy.
    pub vouched: Vouched,
    /// The policy.
    pub policy: Policy,
}

/// A directory with the documents of the ceremony.
#[derive(Debug, Clone)]
pub struct Ceremony {
    dir: PathBuf,
}

impl Ceremony {
    /// Nothing is read or made yet.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Makes the first root, unsigned: `threshold` of `keys` decide.
    pub fn init(
        &self,
        keys: &[VerifyingKey],
        threshold: u32,
        expires: Timestamp,
    ) -> Result<(), CeremonyError> {
        let path = self.dir.join(root_file(1));
        if path.exists() {
            return Err(CeremonyError::Exists { path });
        }
        fs::create_dir_all(&self.dir).map_err(io_error("make", &self.dir))?;
        self.put_root(&Root::new(keys, threshold, 1, expires))
    }

    /// Makes the next root, unsigned: without the keys `remove` (ids), with `add`, and with
    /// `threshold` if there is one. The newest root must be complete.
    pub fn rotate(
        &self,
        add: &[VerifyingKey],
        remove: &[String],
        threshold: Option<u32>,
        expires: Timestamp,
    ) -> Result<u64, CeremonyError> {
        let newest = self.newest_root(None)?;
        let mut keys: Vec<VerifyingKey> = Vec::new();
        let voices = newest.document().voices("root");
        for id in remove {
            if !voices.keys.contains_key(id.as_str()) {
                return Err(CeremonyError::NoVoice { key_id: id.clone() });
            }
        }
        let staying = voices
            .keys
            .iter()
            .filter(|(id, _)| !remove.iter().any(|gone| gone == *id));
        keys.extend(staying.map(|(_, key)| *key));
        keys.extend(add);
        let version = newest.version().saturating_add(1);
        let threshold = threshold.unwrap_or(voices.threshold);
        self.put_root(&Root::new(&keys, threshold, version, expires))?;
        Ok(version)
    }

    fn put_root(&self, root: &Root) -> Result<(), CeremonyError> {
        let file = root_file(root.version);
        root.check().map_err(in_file(&file))?;
        self.put(&file, &Signed::unsigned(root).map_err(in_file(&file))?)
    }

    /// Takes `policy` in and makes the three documents that lead to it, unsigned.
    pub fn take_policy(&self, policy: &Path, expires: Timestamp) -> Result<u64, CeremonyError> {
        let bytes = read(policy)?;
        let parsed = parse_policy(policy, &bytes)?;
        let here = self.dir.join(POLICY_FILE);
        if let Ok(old) = fs::read(&here)
            && let Ok(before) = parse_policy(&here, &old)
            && old != bytes
            && before.version >= parsed.version
            && self.dir.join(TARGETS_FILE).exists()
        {
            return Err(CeremonyError::PolicyVersion {
                found: parsed.version,
                before: before.version,
            });
        }
        let version = match self.get(TARGETS_FILE) {
            Ok(signed) => {
                let old: Targets = signed.document("targets").map_err(in_file(TARGETS_FILE))?;
                old.version.saturating_add(1)
            }
            Err(CeremonyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => 1,
            Err(error) => return Err(error),
        };
        replace(&here, &bytes)?;
        let targets = Targets::of_one(POLICY_FILE, &bytes, version, expires);
        let snapshot = Pointer::to("snapshot", TARGETS_FILE, version, expires);
        let timestamp = Pointer::to("timestamp", SNAPSHOT_FILE, version, expires);
        for (file, signed) in [
            (TARGETS_FILE, Signed::unsigned(&targets)),
            (SNAPSHOT_FILE, Signed::unsigned(&snapshot)),
            (TIMESTAMP_FILE, Signed::unsigned(&timestamp)),
        ] {
            self.put(file, &signed.map_err(in_file(file))?)?;
        }
        Ok(parsed.version)
    }

    /// Adds `key`'s signature to every document that asks for it.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<Progress>, CeremonyError> {
        let key_id = Key::of(&key.verifying_key()).id();
        let mut had_a_voice = false;
        for (file, asked) in self.documents()? {
            let has_voice = asked
                .iter()
                .any(|(root, role, _)| root.voices(role).keys.contains_key(key_id.as_str()));
            if has_voice {
                had_a_voice = true;
                let mut signed = self.get(&file)?;
                signed.sign(key).map_err(in_file(&file))?;
                self.put(&file, &signed)?;
            }
        }
        if !had_a_voice {
            return Err(CeremonyError::NoVoice { key_id });
        }
        self.progress()
    }

    /// How far each document is.
    pub fn progress(&self) -> Result<Vec<Progress>, CeremonyError> {
        let mut all = Vec::new();
        for (file, asked) in self.documents()? {
            let signed = self.get(&file)?;
            for (root, role, by) in asked {
                let voices = root.voices(role);
                let have = signed.signed_by(&voices).map_err(in_file(&file))?.len();
                all.push(Progress {
                    file: file.clone(),
                    by,
                    have,
                    want: voices.threshold,
                });
            }
        }
        Ok(all)
    }

    /// Checks everything as the signer does at its start, from `pinned` (a file's bytes) or, without
    /// it, from the first root of the directory.
    pub fn verify(&self, pinned: Option<&[u8]>, now: Timestamp) -> Result<Verified, CeremonyError> {
        let root = self.newest_root(pinned)?;
        let path = self.dir.join(POLICY_FILE);
        let bytes = read(&path)?;
        let targets = read(&self.dir.join(TARGETS_FILE))?;
        let vouched = root.vouch(&targets, POLICY_FILE, &bytes, now)?;
        Ok(Verified {
            root,
            vouched,
            policy: parse_policy(&path, &bytes)?,
        })
    }

    fn newest_root(&self, pinned: Option<&[u8]>) -> Result<TrustedRoot, CeremonyError> {
        let mut root = match pinned {
            Some(json) => TrustedRoot::pinned(json)?,
            None => TrustedRoot::pinned(&read(&self.dir.join(root_file(1)))?)?,
        };
        loop {
            let next = self.dir.join(root_file(root.version().saturating_add(1)));
            if !next.exists() {
                return Ok(root);
            }
            root = root.followed_by(&read(&next)?)?;
        }
    }

    /// The documents that people sign now, each with those whose threshold it must meet.
    fn documents(&self) -> Result<Vec<(String, Asked)>, CeremonyError> {
        let mut version: u64 = 1;
        while self.dir.join(root_file(version.saturating_add(1))).exists() {
            version += 1;
        }
        let newest = self.root(version)?;
        let mut roots: Asked = Vec::new();
        if version > 1 {
            let before = version - 1;
            roots.push((self.root(before)?, "root", format!("root {before}")));
        }
        roots.push((newest.clone(), "root", "itself".to_owned()));
        let mut all = vec![(root_file(version), roots)];
        for (file, role) in [
            (TARGETS_FILE, "targets"),
            (SNAPSHOT_FILE, "snapshot"),
            (TIMESTAMP_FILE, "timestamp"),
        ] {
            if self.dir.join(file).exists() {
                let by = format!("root {version}");
                all.push((file.to_owned(), vec![(newest.clone(), role, by)]));
            }
        }
        Ok(all)
    }

    fn root(&self, version: u64) -> Result<Root, CeremonyError> {
        let file = root_file(version);
        let root: Root = self.get(&file)?.document("root").map_err(in_file(&file))?;
        root.check().map_err(in_file(&file))?;
        Ok(root)
    }

    fn get(&self, file: &str) -> Result<Signed, CeremonyError> {
        Signed::read(&read(&self.dir.join(file))?).map_err(in_file(file))
    }

    fn put(&self, file: &str, signed: &Signed) -> Result<(), CeremonyError> {
        let json = signed.to_json().map_err(in_file(file))?;
        replace(&self.dir.join(file), &json)
    }
}

/// Roots with the role whose threshold counts, and that root's name for people.
type Asked = Vec<(Root, &'static str, String)>;

fn in_file(file: &str) -> impl FnOnce(DocumentError) -> CeremonyError + use<> {
    let file = file.to_owned();
    move |source| CeremonyError::Document { file, source }
}

fn io_error<'p>(
    task: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> CeremonyError + 'p {
    move |source| CeremonyError::Io {
        task,
        path: path.to_owned(),
        source,
    }
}

fn parse_policy(path: &Path, bytes: &[u8]) -> Result<Policy, CeremonyError> {
    let text = std::str::from_utf8(bytes).map_err(|source| CeremonyError::Io {
        task: "read",
        path: path.to_owned(),
        source: io::Error::new(ErrorKind::InvalidData, source),
    })?;
    Policy::from_toml(text).map_err(|source| CeremonyError::Policy {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CeremonyError> {
    fs::read(path).map_err(io_error("read", path))
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CeremonyError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(io_error("write", path))
}

/// SHA-256 of a pinned root document's signed part, to be read out on the telephone.
pub fn spoken(digest: FileDigest) -> String {
    let hex = digest.to_hex();
    let groups: Vec<_> = hex
        .as_bytes()
        .chunks(8)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    groups.join(" ")
}
