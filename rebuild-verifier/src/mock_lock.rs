//! mock's `buildroot_lock.json` as the `buildroot` part of a buildinfo.
//!
//! The lock names each package by name, version and arch, and its bytes by MD5 only; so what [`buildroot`] takes
//! over is *which* packages the root has. [`locked`] fetches them from the lock's URLs and names them by digest. The lock's digest is made as [`crate::lock`] makes it of an
//! RPM-based machine: a machine with the same packages has the same digest.
//!
//! `{"version": "1.0.0", "buildroot": {"rpms": [{"name": "bash", "epoch": null, "version": "5.2.26",
//! "release": "3.fc40", "arch": "x86_64", "sigmd5": "…", …}]}, "config": {"package_manager": "dnf5", …}}`
//! (mock `plugins/buildroot_lock.py`).

use crate::buildroot::{LayerError, Store};
use crate::{lock, plan};
use repo_model::buildinfo::{Buildroot, LockedPackage};
use repo_model::rpm::tag;
use serde::Deserialize;

/// Value of `buildroot.kind`. A replay in the machine's own root refuses it.
pub const KIND: &str = "mock";
/// Longest lock that is read, bytes.
const MAX_BYTES: usize = 64 << 20;
/// The format's major version that is understood; mock keeps it while old readers can still read.
const MAJOR: &str = "1";

/// The file is no lock that can be taken over. Whoever gave it is at fault; do not retry.
#[derive(Debug, thiserror::Error)]
pub enum MockLockError {
    /// Longer than any lock.
    #[error("the lock has {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, or fields are missing.
    #[error("not a buildroot_lock.json")]
    Json(#[source] serde_json::Error),
    /// Another major version of the format.
    #[error("the lock has version `{found}`; versions {MAJOR}.x are understood")]
    Version {
        /// What it says.
        found: String,
    },
    /// A value that cannot stand in a line of its own.
    #[error("the lock has a package with {field} {value:?}")]
    Value {
        /// `name`, `version`, ...
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// No package at all, or one of them twice.
    #[error("the lock has {what}")]
    Packages {
        /// What is wrong.
        what: String,
    },
    /// mock does not say where it had a package from. Its repositories' metadata were gone; build again.
    #[error("the lock does not say where {package} can be had")]
    NoUrl {
        /// `name [epoch:]version-release arch`.
        package: String,
    },
    /// Another package is at the URL. The repository changed in between; build again.
    #[error("{url} is {found}, but the lock says {wanted}")]
    OtherPackage {
        /// Where it is.
        url: String,
        /// What is there: name or MD5.
        found: String,
        /// What the lock says.
        wanted: String,
    },
    /// It cannot be fetched or read; see there whether to retry.
    #[error("{package} cannot be locked")]
    Fetch {
        /// `name [epoch:]version-release arch`.
        package: String,
        /// Why.
        #[source]
        source: LayerError,
    },
}

#[derive(Deserialize)]
struct Document {
    version: String,
    buildroot: Root,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
struct Root {
    rpms: Vec<Rpm>,
}

#[derive(Default, Deserialize)]
struct Config {
    package_manager: Option<String>,
}

#[derive(Deserialize)]
struct Rpm {
    name: String,
    epoch: Option<serde_json::Value>,
    version: String,
    release: String,
    arch: String,
    /// MD5 of header and payload; absent from packages of format 6.
    #[serde(default)]
    sigmd5: Option<String>,
    #[serde(default)]
    url: Option<String>,
}

impl Rpm {
    /// `name [epoch:]version-release arch`.
    fn line(&self) -> Result<String, MockLockError> {
        for (field, value) in [
            ("name", &self.name),
            ("version", &self.version),
            ("release", &self.release),
            ("arch", &self.arch),
        ] {
            let bad = |c: char| c.is_whitespace() || c.is_control();
            if value.is_empty() || value.contains(bad) {
                return Err(MockLockError::Value {
                    field,
                    value: value.chars().take(80).collect(),
                });
            }
        }
        let epoch = match &self.epoch {
            None | Some(serde_json::Value::Null) => String::new(),
            Some(serde_json::Value::String(text)) if text == "(none)" => String::new(),
            Some(value) => {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                let number: u32 = text.parse().map_err(|_| MockLockError::Value {
                    field: "epoch",
                    value: text.chars().take(80).collect(),
                })?;
                format!("{number}:")
            }
        };
        let Self {
            name,
            version,
            release,
            arch,
            ..
        } = self;
        Ok(format!("{name} {epoch}{version}-{release} {arch}"))
    }
}

/// Fetches the packages of a lock into `store` and locks them by digest: a layer can be made of them.
///
/// mock's MD5 is only good for telling that a URL has another package by now.
pub fn locked(json: &[u8], store: &Store) -> Result<Vec<LockedPackage>, MockLockError> {
    // Whatever `buildroot` refuses is no lock.
    buildroot(json)?;
    let document: Document = serde_json::from_slice(json).map_err(MockLockError::Json)?;
    let rpms = document.buildroot.rpms.iter();
    rpms.map(|rpm| lock_one(rpm, store)).collect()
}

fn lock_one(rpm: &Rpm, store: &Store) -> Result<LockedPackage, MockLockError> {
    let package = rpm.line()?;
    let Some(url) = &rpm.url else {
        return Err(MockLockError::NoUrl { package });
    };
    let fetched = store
        .lock_from(url)
        .map_err(|source| MockLockError::Fetch {
            package: package.clone(),
            source,
        })?;
    let other = |found: String, wanted: &str| MockLockError::OtherPackage {
        url: url.clone(),
        found,
        wanted: wanted.to_owned(),
    };
    let nevra = &fetched.nevra;
    let found = format!("{} {} {}", nevra.name, nevra.evr, nevra.arch);
    // An epoch of 0 may be written or not.
    if found != package.replacen(" 0:", " ", 1) {
        return Err(other(found, &package));
    }
    if let Some(wanted) = rpm.sigmd5.as_deref().filter(|md5| *md5 != "(none)") {
        let head = plan::read_head(&store.package_path(fetched.sha256));
        let head = head.map_err(|error| other(error.to_string(), &package))?;
        let found = head.signature().bin(tag::SIG_MD5).map(hex::encode);
        if found.as_deref() != Some(wanted) {
            let found = found.unwrap_or_else(|| "without an MD5".to_owned());
            return Err(other(found, wanted));
        }
    }
    Ok(fetched)
}

/// Reads a lock of mock. `installer` is mock's package manager, `rpm` when the lock does not tell.
pub fn buildroot(json: &[u8]) -> Result<Buildroot, MockLockError> {
    if json.len() > MAX_BYTES {
        return Err(MockLockError::TooLarge { bytes: json.len() });
    }
    let document: Document = serde_json::from_slice(json).map_err(MockLockError::Json)?;
    if document.version.split('.').next() != Some(MAJOR) {
        return Err(MockLockError::Version {
            found: document.version.chars().take(80).collect(),
        });
    }
    let mut lines: Vec<String> = document
        .buildroot
        .rpms
        .iter()
        .map(Rpm::line)
        .collect::<Result<_, _>>()?;
    lines.sort_unstable();
    if let Some(pair) = lines.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(MockLockError::Packages {
            what: format!("{} twice", pair[0]),
        });
    }
    if lines.is_empty() {
        return Err(MockLockError::Packages {
            what: "no package".to_owned(),
        });
    }
    let (lock_sha256, toolchain) = lock::of_lines(&lines);
    Ok(Buildroot {
        kind: KIND.to_owned(),
        lock_sha256,
        installer: document
            .config
            .package_manager
            .unwrap_or_else(|| "rpm".to_owned()),
        packages: u32::try_from(lines.len()).unwrap_or(u32::MAX),
        toolchain,
        tree_sha256: None,
        locked: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::FileDigest;
    use serde_json::{Value, json};

    fn rpm(name: &str, epoch: Value) -> Value {
        json!({
            "name": name, "epoch": epoch, "version": "5.2", "release": "3.fc40", "arch": "x86_64",
            "license": "GPL-3.0-or-later", "sigmd5": "0123", "signature": null, "url": "https://m.example/x.rpm",
        })
    }

    fn read(version: &str, rpms: Vec<Value>) -> Result<Buildroot, MockLockError> {
        let document = json!({
            "version": version,
            "buildroot": {"rpms": rpms},
            "bootstrap": {"image_digest": "sha256:00"},
            "config": {"package_manager": "dnf5", "target_arch": "x86_64"},
        });
        buildroot(document.to_string().as_bytes())
    }

    #[test]
    fn the_packages_are_taken_over_as_a_machines_own_lock_would_list_them() {
        let rpms = vec![
            rpm("gcc", json!(2)),
            rpm("bash", Value::Null),
            rpm("zlib", json!("1")),
        ];
        let root = read("1.1.0", rpms).unwrap();
        let lines = "bash 5.2-3.fc40 x86_64\ngcc 2:5.2-3.fc40 x86_64\nzlib 1:5.2-3.fc40 x86_64\n";
        assert_eq!(root.lock_sha256, FileDigest::of(lines.as_bytes()));
        assert_eq!((root.kind.as_str(), root.packages), ("mock", 3));
        assert_eq!(root.installer, "dnf5");
        assert_eq!(
            root.toolchain,
            ["bash 5.2-3.fc40 x86_64", "gcc 2:5.2-3.fc40 x86_64"]
        );
    }

    #[test]
    fn packages_are_locked_by_digest_and_another_one_at_the_url_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("store"), 1 << 30);
        let file = dir.path().join("a.rpm");
        let package = repo_model::rpm::testkit::Rpm::binary("a").set_signature(
            tag::SIG_MD5,
            repo_model::rpm::testkit::Field::Bin(vec![0xAB; 16]),
        );
        std::fs::write(&file, package.bytes()).unwrap();
        let head = plan::read_head(&file).unwrap();
        let nevra = repo_model::rpm::Package::from_head(&head).unwrap().nevra;
        let lock = |version: &str, md5: &str| {
            json!({"version": "1.1.0", "buildroot": {"rpms": [{
                "name": nevra.name, "epoch": null, "version": version, "release": nevra.evr.release,
                "arch": nevra.arch, "sigmd5": md5, "url": format!("file://{}", file.display()),
            }]}})
            .to_string()
        };
        let version = nevra.evr.version.clone();
        let good = lock(&version, &"ab".repeat(16));
        let found = locked(good.as_bytes(), &store).unwrap();
        assert_eq!(found[0].sha256, FileDigest::of(&package.bytes()));
        assert!(store.package_path(found[0].sha256).exists());
        for (bad, why) in [
            (lock("9", &"ab".repeat(16)), "but the lock says"),
            (lock(&version, &"cd".repeat(16)), "abab"),
            (good.replace("\"url\"", "\"uri\""), "where a"),
            (good.replace("a.rpm", "b.rpm"), "cannot be locked"),
        ] {
            let error = locked(bad.as_bytes(), &store).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_is_no_lock_is_refused() {
        let error = |result: Result<Buildroot, MockLockError>| result.unwrap_err().to_string();
        assert!(error(read("2.0.0", vec![rpm("a", Value::Null)])).contains("2.0.0"));
        assert!(error(read("1.0.0", vec![])).contains("no package"));
        assert!(error(read("1.0.0", vec![rpm("a", Value::Null); 2])).contains("twice"));
        assert!(error(read("1.0.0", vec![rpm("a b", Value::Null)])).contains("a b"));
        assert!(error(read("1.0.0", vec![rpm("a", json!("x"))])).contains("epoch"));
        assert!(matches!(buildroot(b"{}"), Err(MockLockError::Json(_))));
    }
}
