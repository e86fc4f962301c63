//! Programs of the system and the packages made with them. A missing program skips by name; with
//! `CI` set it fails.

use super::Rpm;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether `name` can be run; says so when not.
pub fn have(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|dir| dir.join(name).is_file());
    if !found {
        missing(name);
    }
    found
}

/// Says that a test is skipped; with `CI` set it fails instead.
pub fn missing(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is missing on the test machine"
    );
    eprintln!("SKIPPED: {what} is not installed");
}

/// Runs a program in the C locale.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap()
}

/// Both outputs as text.
pub fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// Runs a program that must succeed.
pub fn ok<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program}: {}", text(&output));
    text(&output)
}

/// The Python of the test set-up if it has `module`; see `tests/lab/make-venv.sh`.
pub fn python_with(module: &str) -> Option<String> {
    let cache = std::env::var("HALLMARK_CACHE").unwrap_or_else(|_| "/var/cache/hallmark".into());
    let venv = std::env::var("HALLMARK_VENV").unwrap_or_else(|_| format!("{cache}/venv"));
    let python = format!("{venv}/bin/python");
    let found = Path::new(&python).exists()
        && run(&python, &["-c", &format!("import {module}")])
            .status
            .success();
    if !found {
        missing(&format!("the Python module {module} (in {venv})"));
    }
    found.then_some(python)
}

/// The program of `tests/oracles/NAME`, built now unless it was before. It is no part of the
/// workspace, so that what it needs does not meet what we need; `None` without network.
pub fn oracle(name: &str) -> Option<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/oracles")
        .join(name);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("oracles")
        .join(name);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(sources.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    if !built.status.success() {
        eprintln!("{}", text(&built));
        missing(&format!("the oracle {name}, which cannot be built here,"));
        return None;
    }
    Some(
        target
            .join(format!("debug/oracle-{name}"))
            .display()
            .to_string(),
    )
}

/// Builds noarch packages of these names with rpmbuild; `None` without rpmbuild.
pub fn built(dir: &Path, names: &[&str]) -> Option<Vec<Rpm>> {
    if !have("rpmbuild") {
        return None;
    }
    Some(names.iter().map(|name| build(dir, name, "1.0")).collect())
}

/// One noarch package in each of these versions; `None` without rpmbuild.
pub fn versions(dir: &Path, name: &str, versions: &[&str]) -> Option<Vec<Rpm>> {
    let each = |version: &&str| build(dir, name, version);
    have("rpmbuild").then(|| versions.iter().map(each).collect())
}

fn build(dir: &Path, name: &str, version: &str) -> Rpm {
    let spec = dir.join(format!("{name}.spec"));
    let content = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: A test\nLicense: MIT\n\
         BuildArch: noarch\n%description\nA test.\n%install\n\
         mkdir -p %{{buildroot}}/usr/share/{name}\n\
         seq 1 5000 > %{{buildroot}}/usr/share/{name}/data\n\
         %files\n/usr/share/{name}\n"
    );
    std::fs::write(&spec, content).unwrap();
    let top = format!("_topdir {}", dir.join("rpmbuild").display());
    ok(
        "rpmbuild",
        &["-bb", "--define", &top, spec.to_str().unwrap()],
    );
    Rpm::read(&dir.join(format!(
        "rpmbuild/RPMS/noarch/{name}-{version}-1.noarch.rpm"
    )))
}

/// Unsigned packages of the shared collection that carry SHA-256 digests; `None` when it is absent.
pub fn shared_unsigned() -> Option<Vec<(String, Rpm)>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/rpms");
    let Ok(manifest) = std::fs::read_to_string(dir.join("MANIFEST.tsv")) else {
        eprintln!("SKIPPED: the shared packages are not here");
        return None;
    };
    let row = |line: &str| {
        let columns: Vec<_> = line.split('\t').collect();
        let fit = columns[5] == "no" && columns[6].contains("hdr-sha256:ok");
        fit.then(|| (columns[0].to_owned(), Rpm::read(&dir.join(columns[0]))))
    };
    Some(manifest.lines().skip(1).filter_map(row).collect())
}

/// What stands before a command that runs in the Debian root which the test set-up caches, with `dir`
/// as `/mnt` and no network; `None` when `program` is not there.
pub fn in_forky(dir: &Path, program: &str) -> Option<Vec<String>> {
    let root =
        std::env::var("HALLMARK_FORKY").unwrap_or_else(|_| "/var/cache/hallmark/forky".to_owned());
    if !Path::new(&root).join("usr/bin").join(program).exists() {
        eprintln!("SKIPPED: {program} of the Debian root (no root at {root})");
        return None;
    }
    if !have("bwrap") {
        return None;
    }
    let dir = dir.to_str().unwrap();
    let words = [
        "bwrap",
        "--unshare-net",
        "--ro-bind",
        &root,
        "/",
        "--bind",
        dir,
        "/mnt",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        "/tmp",
        "--setenv",
        "HOME",
        "/tmp",
    ];
    Some(words.map(str::to_owned).to_vec())
}

/// One rpm to check packages with.
pub struct RpmKeys {
    /// Shown in failures.
    pub name: &'static str,
    /// What stands before `rpmkeys`; `DIR` in it becomes the folder that holds the files.
    prefix: Vec<String>,
    /// That folder as this rpm sees it.
    seen_as: PathBuf,
}

impl RpmKeys {
    /// The system's own rpm, and rpm 6 from the Debian root that the test set-up caches. Files
    /// must lie in `dir`.
    pub fn all(dir: &Path) -> Vec<Self> {
        let mut found = Vec::new();
        if have("rpmkeys") {
            found.push(Self {
                name: "system rpm",
                prefix: Vec::new(),
                seen_as: dir.to_owned(),
            });
        }
        if let Some(prefix) = in_forky(dir, "rpmkeys") {
            found.push(Self {
                name: "rpm 6",
                prefix,
                seen_as: PathBuf::from("/mnt"),
            });
        }
        found
    }

    fn run(&self, database: &str, arguments: &[&str]) -> Output {
        let database = self
            .seen_as
            .join(format!("{}-{database}", self.name.replace(' ', "-")));
        let mut words = self.prefix.clone();
        words.extend(["rpmkeys", "--dbpath"].map(str::to_owned));
        words.push(database.display().to_string());
        for argument in arguments {
            words.push(argument.replace("DIR", &self.seen_as.display().to_string()));
        }
        run(&words[0], &words[1..])
    }

    /// Whether the key `file` can be imported.
    pub fn imports(&self, database: &str, file: &str) -> bool {
        let output = self.run(database, &["--import", &format!("DIR/{file}")]);
        output.status.success()
    }

    /// Imports the key `file`, a path below the folder.
    pub fn import(&self, database: &str, file: &str) {
        let output = self.run(database, &["--import", &format!("DIR/{file}")]);
        assert!(
            output.status.success(),
            "{}: import: {}",
            self.name,
            text(&output)
        );
    }

    /// Whether digests and signatures of `file` are good at the strictest level, and what rpm says.
    pub fn check(&self, database: &str, file: &str) -> (bool, String) {
        let file = format!("DIR/{file}");
        let output = self.run(
            database,
            &["-Kv", "--define", "_pkgverify_level all", &file],
        );
        (output.status.success(), text(&output))
    }
}
