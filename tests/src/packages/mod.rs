//! What the stories publish.
//!
//! * [`bundled`]: the sample projects of `tests/bundled`, built in the rebuilder's own sandbox.
//! * [`Probe`]: a small package of any name and version, quick or slow to build.
//! * [`crafted`]: files made to order without a build, for worlds that ask for no rebuilds.
//!
//! Builds are kept below `target/tmp`, under the digest of all that goes into them.

pub mod crafted;

use crate::process::{self, binary, run, target_profile_dir};
use repo_model::dsse::StatementKey;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Name of the builder in every world's policy.
const BUILDER: &str = "test-builder";
/// Its key: that of tests, known to everybody.
const BUILDER_SEED: [u8; 32] = [0x5a; 32];

/// The bundled project that cannot be rebuilt bit for bit.
pub const CLOCKWORK: &str = "clockwork";

fn builder_key() -> StatementKey {
    StatementKey::from_seed(&BUILDER_SEED).expect("the seed is in range")
}

/// The policy's entry for the builder of all packages here.
pub fn builder_policy() -> String {
    let pem = builder_key().public().to_pem();
    format!(
        "[[builders]]\nname = \"{BUILDER}\"\noperator = \"tests\"\nstatement_key = \"\"\"\n{pem}\"\"\"\n\n"
    )
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace is there")
}

fn kept(kind: &str) -> PathBuf {
    let dir = target_profile_dir()
        .with_file_name("tmp")
        .join("hallmark-tests")
        .join(kind);
    fs::create_dir_all(&dir).expect("target is writable");
    dir
}

/// Makes `dir/key` with `make` unless it is there; other test processes wait meanwhile.
fn once(dir: &Path, key: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let done = dir.join(key);
    let lock = File::create(dir.join(format!("{key}.lock"))).expect("target is writable");
    lock.lock().expect("the lock is taken");
    if !done.exists() {
        let fresh = dir.join(format!("{key}.new"));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir(&fresh).expect("target is writable");
        make(&fresh);
        fs::rename(&fresh, &done).expect("target is writable");
    }
    done
}

/// Digest of files and texts, in order.
#[derive(Default)]
struct Key(Sha256);

impl Key {
    fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
        self
    }

    /// Content of a file, or of all files below a folder.
    fn tree(self, path: &Path) -> Self {
        let named = self.text(&path.file_name().unwrap_or_default().to_string_lossy());
        if !path.is_dir() {
            let content =
                fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            return named.text(&hex::encode(Sha256::digest(content)));
        }
        let mut entries: Vec<_> = fs::read_dir(path)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        entries.iter().fold(named, |key, entry| key.tree(entry))
    }

    /// Name, size and time of a file that is too large to read each time.
    fn stamp(self, path: &Path) -> Self {
        let Ok(meta) = path.metadata() else {
            return self.text("none");
        };
        let modified = meta
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        self.text(&format!("{} {} {:?}", path.display(), meta.len(), modified))
    }

    fn hex(self) -> String {
        hex::encode(&self.0.finalize()[..12])
    }
}

/// A folder with one finished build: source package, packages, buildinfo, provenance.
///
/// # Panics
/// When it cannot be built, with the builder's words.
pub fn built(srpm: &Path) -> PathBuf {
    let hallmark = binary("hallmark");
    // The build root is the machine's own: other packages installed, another build.
    let key = ["/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite"]
        .iter()
        .fold(Key::default().tree(srpm).stamp(&hallmark), |key, file| {
            key.stamp(Path::new(file))
        });
    once(&kept("builds"), &key.hex(), |dir| {
        let key_file = dir.join("builder.key");
        fs::write(&key_file, builder_key().to_pem().expect("a key has a PEM"))
            .expect("target is writable");
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let config = scratch.path().join("build.toml");
        let work_dir = scratch.path().join("work");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(scratch.path(), mode).expect("the folder is ours");
        fs::write(
            &config,
            format!("[rebuilder]\nwork_dir = \"{}\"\n", work_dir.display()),
        )
        .expect("it is ours");
        let mut command = process::command(&hallmark);
        command
            .arg("buildinfo")
            .arg(srpm)
            .arg("-o")
            .arg(dir)
            .arg("--key")
            .arg(&key_file);
        run(command.args(["--name", BUILDER, "--config"]).arg(&config));
        fs::remove_file(key_file).expect("it is ours");
    })
}

/// Builds of all bundled projects, by name, in the order of `tests/bundled/projects.tsv`.
///
/// # Panics
/// When one cannot be built.
pub fn bundled() -> Vec<(String, PathBuf)> {
    let top = workspace();
    let script = top.join("scripts/fetch-sources.sh");
    let inputs = [
        script.clone(),
        top.join("tests/bundled"),
        top.join("tests/specs/prelude.inc"),
        top.join("LICENSE"),
    ];
    let key = inputs
        .iter()
        .fold(Key::default(), |key, path| key.tree(path))
        .hex();
    let sources = once(&kept("sources"), &key, |dir| {
        run(process::command(&script).arg("--bundled").arg(dir));
    });
    let list = fs::read_to_string(sources.join("sources.tsv")).expect("the list of sources");
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let (name, srpm) = (fields.next()?.to_owned(), fields.nth(2)?);
        Some((name, built(&sources.join(srpm))))
    };
    list.lines()
        .map(|text| line(text).unwrap_or_else(|| panic!("`{text}` in sources.tsv")))
        .collect()
}

/// The build of one bundled project.
///
/// # Panics
/// When there is none of this name, or it cannot be built.
pub fn bundled_one(name: &str) -> PathBuf {
    let found = bundled().into_iter().find(|(other, _)| other == name);
    found
        .unwrap_or_else(|| panic!("no bundled project is called {name}"))
        .1
}

/// A package that does nothing, quickly or slowly.
#[derive(Debug, Clone)]
pub struct Probe {
    /// NAME.
    pub name: String,
    /// VERSION.
    pub version: String,
    /// How long its build takes, seconds: room for something to happen meanwhile.
    pub build_secs: u32,
}

impl Probe {
    /// Version 1.0, built at once.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            build_secs: 0,
        }
    }

    /// The same with a build that takes so long.
    pub fn slow(name: &str, build_secs: u32) -> Self {
        Self {
            build_secs,
            ..Self::new(name)
        }
    }

    fn spec(&self) -> String {
        let Self {
            name,
            version,
            build_secs,
        } = self;
        format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: A probe\nLicense: Apache-2.0\nBuildArch: noarch\n\
             \n%description\nMade for a test.\n\n%prep\n\n%build\nsleep {build_secs}\n\n%install\n\
             mkdir -p %{{buildroot}}/usr/share/{name}\necho {version} > %{{buildroot}}/usr/share/{name}/version\n\n\
             %files\n/usr/share/{name}\n\n\
             %changelog\n* Fri Jan 10 2025 Hallmark tests <tests@hallmark.invalid> - {version}-1\n- First package\n"
        )
    }

    /// The folder of its build, see [`built`].
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn built(&self) -> PathBuf {
        of_spec(&self.name, &self.spec())
    }
}

/// The folder of the build of a spec file that needs no sources, see [`built`].
///
/// # Panics
/// When it cannot be built.
pub fn of_spec(name: &str, spec: &str) -> PathBuf {
    let sources = once(&kept("sources"), &Key::default().text(spec).hex(), |dir| {
        let file = format!("{name}.spec");
        fs::write(dir.join(&file), spec).expect("target is writable");
        let mut command = process::command("rpmbuild");
        command.args([
            "-bs",
            "--nodeps",
            "--quiet",
            "--define",
            "_topdir .",
            "--define",
            "_srcrpmdir .",
        ]);
        run(command.arg(file).current_dir(dir));
    });
    built(&only_srpm(&sources))
}

fn only_srpm(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path());
    let mut srpms = files.filter(|path| path.to_string_lossy().ends_with(".src.rpm"));
    srpms
        .next()
        .unwrap_or_else(|| panic!("no source package in {}", dir.display()))
}
