//! The folder in which layers and their packages are kept.
//!
//! ```text
//! layers/<lock digest>/root/       the layer
//! layers/<lock digest>/layer.json  what is known of it; written last
//! layers/<lock digest>/in-use      locked shared by those who build in it
//! packages/<file digest>.rpm       packages that were locked or fetched
//! lock                             held while a layer is made or evicted
//! ```

use super::{DNF, LayerError, Root, install, lockfile, tree};
use crate::scratch;
use repo_model::FileDigest;
use repo_model::buildinfo::{Buildroot, LockedPackage};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Longest package that is fetched, bytes.
const MAX_PACKAGE_BYTES: u64 = 4 << 30;
/// Longest time for one package, seconds.
const FETCH_SECS: u64 = 600;
/// Layers that are being made lie under names with this prefix.
const UNFINISHED: &str = ".new-";

/// Where layers are kept, and how much of them.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    max_bytes: u64,
}

/// `layer.json`
#[derive(Debug, Serialize, Deserialize)]
struct Layer {
    tree_sha256: FileDigest,
    size_bytes: u64,
}

impl Store {
    /// A store in `dir`, made when first used. Layers that nobody builds in are removed, those used
    /// longest ago first, when all together are larger than `max_bytes`; and so are packages.
    pub fn new(dir: &Path, max_bytes: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            max_bytes,
        }
    }

    /// Where the package with this digest lies, whether it is there or not.
    pub fn package_path(&self, sha256: FileDigest) -> PathBuf {
        self.dir.join("packages").join(format!("{sha256}.rpm"))
    }

    /// Puts a package into the store, by its digest; an own copy.
    pub fn add_package(&self, path: &Path) -> Result<FileDigest, LayerError> {
        let packages = self.dir.join("packages");
        make_dir(&packages)?;
        let read = LayerError::io(format!("copy {}", path.display()));
        let new = packages.join(format!("{UNFINISHED}{}", std::process::id()));
        let (sha256, _) = scratch::copy_readable(path, &new).map_err(read)?;
        let kept = self.package_path(sha256);
        fs::rename(&new, &kept).map_err(LayerError::io(format!("write {}", kept.display())))?;
        Ok(sha256)
    }

    /// Fetches a package from where somebody says that it is, and locks what is found there.
    pub(crate) fn lock_from(&self, url: &str) -> Result<LockedPackage, LayerError> {
        let packages = self.dir.join("packages");
        make_dir(&packages)?;
        let new = packages.join(format!("{UNFINISHED}url-{}", std::process::id()));
        let locked = download(url, &new)
            .map_err(|why| LayerError::Io {
                action: format!("fetch {url}"),
                source: std::io::Error::other(why),
            })
            .and_then(|()| super::lock_package(&new, vec![url.to_owned()], self));
        let _ = fs::remove_file(&new);
        locked
    }

    /// The layer of a recorded build root, made when it is not there yet.
    ///
    /// Its tree is compared with the recorded one, when there is one.
    pub fn layer_of(&self, wanted: &Buildroot) -> Result<Root, LayerError> {
        let locked = &wanted.locked;
        if wanted.kind != DNF || locked.is_empty() {
            return Err(LayerError::Kind {
                kind: wanted.kind.clone(),
                packages: locked.len(),
            });
        }
        let found = lockfile::lock_digest(locked);
        if found != wanted.lock_sha256 {
            return Err(LayerError::LockDigest {
                found,
                wanted: wanted.lock_sha256,
            });
        }
        let rpm = ["rpm-build", "rpm"]
            .iter()
            .find_map(|name| locked.iter().find(|package| package.nevra.name == *name))
            .ok_or(LayerError::NoRpm)?;
        let dir = self.dir.join("layers").join(found.to_hex());
        let (layer, in_use) = match open(&dir)? {
            Some(there) => there,
            None => self.make(locked, &dir)?,
        };
        if let Some(recorded) = wanted.tree_sha256
            && recorded != layer.tree_sha256
        {
            return Err(LayerError::OtherTree {
                lock: found,
                found: layer.tree_sha256,
                wanted: recorded,
            });
        }
        let rpm_version = rpm.nevra.evr.version.clone();
        Ok(Root {
            kind: DNF,
            dir: dir.join("root"),
            lock: Arc::new(lockfile::root_lock(locked, rpm_version)),
            tree: Some(layer.tree_sha256),
            _in_use: Some(Arc::new(in_use)),
        })
    }

    /// A layer that is there, whichever; nothing of it is known but where it is, and that is enough to try a
    /// backend in it.
    pub fn some_layer(&self) -> Option<Root> {
        let entries = fs::read_dir(self.dir.join("layers")).ok()?;
        entries.flatten().find_map(|entry| {
            let sha256 = entry.file_name().to_str()?.parse().ok()?;
            let (layer, in_use) = open(&entry.path()).ok()??;
            let lock = lockfile::root_lock(&[], String::new());
            Some(Root {
                kind: DNF,
                dir: entry.path().join("root"),
                lock: Arc::new(crate::lock::RootLock { sha256, ..lock }),
                tree: Some(layer.tree_sha256),
                _in_use: Some(Arc::new(in_use)),
            })
        })
    }

    fn make(&self, locked: &[LockedPackage], dir: &Path) -> Result<(Layer, File), LayerError> {
        let lock = lockfile::lock_digest(locked);
        if !crate::sandbox::is_root() {
            return Err(LayerError::NeedsRoot { lock });
        }
        let layers = self.dir.join("layers");
        make_dir(&layers)?;
        let guard = self.dir.join("lock");
        let guard = File::create(&guard)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(LayerError::io(format!("lock {}", guard.display())))?;
        // Somebody else may have made it while this one waited.
        if let Some(there) = open(dir)? {
            return Ok(there);
        }
        sweep(&layers);
        let files = self.fetch(locked)?;
        tracing::info!("making the layer of {} packages, lock {lock}", locked.len());
        let unfinished = layers.join(format!("{UNFINISHED}{lock}"));
        let layer = build(&unfinished, &files);
        let made = layer.and_then(|layer| {
            fs::rename(&unfinished, dir)
                .map_err(LayerError::io(format!("write {}", dir.display())))?;
            Ok(layer)
        });
        if made.is_err() {
            let _ = fs::remove_dir_all(&unfinished);
        }
        made?;
        let there = open(dir)?.ok_or_else(|| LayerError::Io {
            action: format!("open {}", dir.display()),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        evict(&layers, self.max_bytes);
        evict(&self.dir.join("packages"), self.max_bytes);
        drop(guard);
        Ok(there)
    }

    /// Paths of all packages, in the lock's order, each checked against its digest.
    fn fetch(&self, locked: &[LockedPackage]) -> Result<Vec<PathBuf>, LayerError> {
        make_dir(&self.dir.join("packages"))?;
        let mut files = Vec::with_capacity(locked.len());
        for package in locked {
            let kept = self.package_path(package.sha256);
            if !is_file_of(&kept, package.sha256) {
                self.fetch_one(package)?;
            }
            touch(&kept);
            files.push(kept);
        }
        Ok(files)
    }

    fn fetch_one(&self, package: &LockedPackage) -> Result<(), LayerError> {
        let new = self
            .dir
            .join("packages")
            .join(format!("{UNFINISHED}{}", package.sha256));
        let kept = self.package_path(package.sha256);
        let mut tried = String::from(": it is not in the store");
        for url in &package.urls {
            let why = match download(url, &new) {
                Ok(()) if is_file_of(&new, package.sha256) => {
                    return fs::rename(&new, &kept)
                        .map_err(LayerError::io(format!("write {}", kept.display())));
                }
                Ok(()) => "other bytes".to_owned(),
                Err(why) => why,
            };
            let _ = fs::remove_file(&new);
            tried.push_str(&format!("; {url}: {why}"));
        }
        Err(LayerError::Missing {
            nevra: Box::new(package.nevra.clone()),
            sha256: package.sha256,
            tried,
        })
    }
}

/// A finished layer at `dir`, marked as in use until the file is closed.
fn open(dir: &Path) -> Result<Option<(Layer, File)>, LayerError> {
    let Ok(in_use) = File::open(dir.join("in-use")) else {
        return Ok(None);
    };
    in_use
        .lock_shared()
        .map_err(LayerError::io(format!("lock {}", dir.display())))?;
    // Evicted between opening and locking.
    let Ok(json) = fs::read(dir.join("layer.json")) else {
        return Ok(None);
    };
    let Ok(layer) = serde_json::from_slice(&json) else {
        return Ok(None);
    };
    touch(&dir.join("layer.json"));
    Ok(Some((layer, in_use)))
}

/// Makes a layer at the new directory `dir`.
fn build(dir: &Path, files: &[PathBuf]) -> Result<Layer, LayerError> {
    let root = dir.join("root");
    make_dir(&root)?;
    let work = dir.join("work");
    make_dir(&work)?;
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    let mut words = vec!["install".to_owned()];
    words.extend(files.iter().map(|file| file.to_string_lossy().into_owned()));
    install::run(&root, &work, false, &words)?;
    fs::remove_dir_all(&work).map_err(LayerError::io(format!("remove {}", work.display())))?;
    tree::settle(&root, started)?;
    let layer = Layer {
        tree_sha256: tree::tree_digest(&root)?,
        size_bytes: tree::size_bytes(&root)?,
    };
    let json = serde_json::to_vec(&layer).unwrap_or_default();
    File::create(dir.join("in-use"))
        .and_then(|_| fs::write(dir.join("layer.json"), json))
        .map_err(LayerError::io(format!("write {}", dir.display())))?;
    Ok(layer)
}

fn make_dir(dir: &Path) -> Result<(), LayerError> {
    crate::sandbox::make_passable_dir(dir).map_err(LayerError::from)
}

fn is_file_of(path: &Path, sha256: FileDigest) -> bool {
    scratch::hash_file(path).is_ok_and(|(found, _)| found == sha256)
}

/// Marks something as used now.
fn touch(path: &Path) {
    let _ = File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()));
}

fn download(url: &str, to: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let file = File::create(to).map_err(text)?;
    if let Some(path) = url.strip_prefix("file://") {
        let from = File::open(path).map_err(text)?;
        return scratch::copy_hashed(from, file, MAX_PACKAGE_BYTES)
            .map(|_| ())
            .map_err(text);
    }
    let config =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(FETCH_SECS)));
    let mut answer = config
        .build()
        .new_agent()
        .get(url)
        .call()
        .map_err(|error| error.to_string())?;
    scratch::copy_hashed(answer.body_mut().as_reader(), file, MAX_PACKAGE_BYTES)
        .map(|_| ())
        .map_err(text)
}

/// Removes what a crash left half made. The store's lock is held, so nobody is making a layer.
fn sweep(layers: &Path) {
    for entry in fs::read_dir(layers).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes what was used longest ago until the rest is not larger than `max_bytes`. Layers that
/// somebody builds in stay.
fn evict(dir: &Path, max_bytes: u64) {
    struct Kept {
        path: PathBuf,
        bytes: u64,
        used: SystemTime,
    }
    let mut kept: Vec<Kept> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let about = if path.is_dir() {
            path.join("layer.json")
        } else {
            path.clone()
        };
        let Ok(found) = fs::metadata(&about) else {
            continue;
        };
        let bytes = if path.is_dir() {
            let layer = fs::read(&about).ok();
            let layer = layer.and_then(|json| serde_json::from_slice::<Layer>(&json).ok());
            layer.map_or(0, |layer| layer.size_bytes)
        } else {
            found.len()
        };
        kept.push(Kept {
            path,
            bytes,
            used: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        });
    }
    kept.sort_by_key(|kept| kept.used);
    let mut total: u64 = kept.iter().map(|kept| kept.bytes).sum();
    for Kept { path, bytes, .. } in kept {
        if total <= max_bytes {
            return;
        }
        if remove(&path) {
            total = total.saturating_sub(bytes);
            tracing::info!("evicted {}", path.display());
        }
    }
}

/// Removes a package, or a layer that nobody builds in; whether it did.
fn remove(path: &Path) -> bool {
    if path.is_file() {
        return fs::remove_file(path).is_ok();
    }
    let Ok(in_use) = File::open(path.join("in-use")) else {
        return false;
    };
    match in_use.try_lock() {
        // What says that it is whole goes first.
        Ok(()) => {
            fs::remove_file(path.join("layer.json")).is_ok() && fs::remove_dir_all(path).is_ok()
        }
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(layers: &Path, name: &str, size_bytes: u64, used: u64) -> PathBuf {
        let dir = layers.join(name);
        fs::create_dir_all(dir.join("root")).unwrap();
        fs::write(dir.join("in-use"), "").unwrap();
        let layer = Layer {
            tree_sha256: FileDigest::of(name.as_bytes()),
            size_bytes,
        };
        fs::write(dir.join("layer.json"), serde_json::to_vec(&layer).unwrap()).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
        let file = File::options()
            .append(true)
            .open(dir.join("layer.json"))
            .unwrap();
        file.set_modified(time).unwrap();
        dir
    }

    #[test]
    fn the_layer_used_longest_ago_goes_first_and_one_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let busy = layer(dir.path(), "busy", 10, 1);
        let old = layer(dir.path(), "old", 10, 2);
        let new = layer(dir.path(), "new", 10, 3);
        let in_use = open(&busy).unwrap().unwrap();
        // Opening is using; make it the oldest again.
        layer(dir.path(), "busy", 10, 1);
        evict(dir.path(), 30);
        assert!(busy.exists() && old.exists() && new.exists());
        evict(dir.path(), 20);
        assert!(busy.exists() && !old.exists() && new.exists());
        evict(dir.path(), 0);
        assert!(busy.exists() && !new.exists());
        drop(in_use);
        evict(dir.path(), 0);
        assert!(!busy.exists());
    }

    #[test]
    fn a_package_that_nobody_has_is_named_with_what_was_tried() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other.rpm");
        fs::write(&other, "other").unwrap();
        let store = Store::new(&dir.path().join("store"), 1 << 30);
        let mut package = LockedPackage {
            nevra: "rpm-1-1.x86_64".parse().unwrap(),
            sha256: FileDigest::of(b"wanted"),
            header_sha256: repo_model::HeaderDigest::of(b""),
            size_bytes: 6,
            urls: vec![
                "file:///nonexistent/rpm.rpm".to_owned(),
                format!("file://{}", other.display()),
            ],
            signer: None,
        };
        let error = store
            .fetch(std::slice::from_ref(&package))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("rpm-1-1.x86_64") && error.contains("other bytes"),
            "{error}"
        );
        fs::write(&other, "wanted").unwrap();
        assert_eq!(
            store.fetch(std::slice::from_ref(&package)).unwrap().len(),
            1
        );
        // From now on it is in the store.
        package.urls.clear();
        assert_eq!(store.fetch(&[package]).unwrap().len(), 1);
    }
}
