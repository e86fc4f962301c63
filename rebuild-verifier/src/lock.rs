//! The lock of a build root: which packages, in which versions, it holds.
//!
//! For the root `host` that is what the machine's own package manager has installed, as sorted lines
//! `name version arch`. The SHA-256 of these lines names the root; a replay in another root would
//! say nothing about the package, so it is refused.

use repo_model::FileDigest;
use repo_model::buildinfo::LockedPackage;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The packages of the root cannot be listed. The machine's fault; `doctor` tells more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LockError {
    /// Neither dpkg nor rpm keeps a database here.
    #[error("this machine has neither a dpkg nor an rpm database, so its root cannot be recorded")]
    NoDatabase,
    /// The package manager's tool failed.
    #[error("{tool} cannot list the installed packages: {why}")]
    Tool {
        /// `dpkg-query`, `rpm` or `rpmbuild`.
        tool: &'static str,
        /// What it said.
        why: String,
    },
}

/// What is installed in a build root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootLock {
    /// SHA-256 over the sorted lines, each with its newline.
    pub sha256: FileDigest,
    /// `dpkg` or `rpm`.
    pub installer: &'static str,
    /// Number of packages.
    pub packages: u32,
    /// The lines of packages that shape what is built.
    pub toolchain: Vec<String>,
    /// Version of rpm in the root.
    pub rpm_version: String,
    /// The packages by digest, when the root was made of them.
    pub locked: Vec<LockedPackage>,
}

/// Names (without version suffixes such as `-12`) of packages that shape what is built.
static TOOLCHAIN: &[&str] = &[
    "gcc",
    "g++",
    "gcc-c++",
    "cpp",
    "clang",
    "llvm",
    "rustc",
    "rust",
    "cargo",
    "golang",
    "binutils",
    "glibc",
    "libc6",
    "libc6-dev",
    "glibc-devel",
    "make",
    "cmake",
    "meson",
    "autoconf",
    "automake",
    "libtool",
    "python3",
    "perl",
    "rpm",
    "rpm-build",
    "rpm-common",
    "librpm9",
    "librpmbuild9",
    "debugedit",
    "dwz",
    "bash",
    "dash",
    "coreutils",
    "tar",
    "gzip",
    "xz-utils",
    "xz",
    "zstd",
    "bubblewrap",
];

/// A database of installed packages: file that changes with it, name, tool and arguments.
struct Database {
    files: &'static [&'static str],
    installer: &'static str,
    tool: &'static str,
    arguments: &'static [&'static str],
}

static DATABASES: &[Database] = &[
    Database {
        files: &["/var/lib/dpkg/status"],
        installer: "dpkg",
        tool: "dpkg-query",
        arguments: &[
            "-W",
            "-f",
            "${db:Status-Abbrev}\t${Package} ${Version} ${Architecture}\n",
        ],
    },
    Database {
        files: &[
            "/usr/lib/sysimage/rpm/rpmdb.sqlite",
            "/usr/lib/sysimage/rpm/Packages.db",
            "/var/lib/rpm/rpmdb.sqlite",
            "/var/lib/rpm/Packages.db",
            "/var/lib/rpm/Packages",
        ],
        installer: "rpm",
        tool: "rpm",
        arguments: &[
            "-qa",
            "--qf",
            "ii \t%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}\n",
        ],
    },
];

/// The lock of the machine's own root. Asked again only when the package database has changed.
pub fn host() -> Result<Arc<RootLock>, LockError> {
    static CACHE: Mutex<Option<(SystemTime, Arc<RootLock>)>> = Mutex::new(None);
    let (database, changed) = database().ok_or(LockError::NoDatabase)?;
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, lock)) = cache.as_ref()
        && *at == changed
    {
        return Ok(Arc::clone(lock));
    }
    // Two questions to two programs, which take their time.
    let (listed, version) = std::thread::scope(|scope| {
        let listed = scope.spawn(|| said(database.tool, database.arguments));
        let version = rpm_version();
        (listed.join(), version)
    });
    let listed = listed.map_err(|_| LockError::Tool {
        tool: database.tool,
        why: "the thread that asks has stopped".to_owned(),
    })??;
    let lock = Arc::new(lock_of(&listed, database.installer, version?));
    *cache = Some((changed, Arc::clone(&lock)));
    Ok(lock)
}

fn database() -> Option<(&'static Database, SystemTime)> {
    DATABASES.iter().find_map(|database| {
        let metadata = database
            .files
            .iter()
            .find_map(|file| fs::metadata(Path::new(file)).ok())?;
        let changed = metadata.modified().ok()?;
        (metadata.len() > 0).then_some((database, changed))
    })
}

fn lock_of(listed: &str, installer: &'static str, rpm_version: String) -> RootLock {
    let mut lines: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(status, _)| status.get(1..2) == Some("i"))
        .map(|(_, line)| line)
        .collect();
    lines.sort_unstable();
    let (sha256, toolchain) = of_lines(&lines);
    RootLock {
        sha256,
        installer,
        packages: u32::try_from(lines.len()).unwrap_or(u32::MAX),
        toolchain,
        rpm_version,
        locked: Vec::new(),
    }
}

/// Digest of sorted lines, each with its newline, and those of packages that shape what is built.
pub(crate) fn of_lines(lines: &[impl AsRef<str>]) -> (FileDigest, Vec<String>) {
    let lines = lines.iter().map(AsRef::as_ref);
    let text: String = lines.clone().flat_map(|line| [line, "\n"]).collect();
    let toolchain = lines.filter(|line| is_toolchain(line)).map(str::to_owned);
    (FileDigest::of(text.as_bytes()), toolchain.collect())
}

fn is_toolchain(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    let stem = name
        .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
        .trim_end_matches('-');
    TOOLCHAIN.contains(&name) || TOOLCHAIN.contains(&stem)
}

fn rpm_version() -> Result<String, LockError> {
    let line = said("rpmbuild", &["--version"])?;
    line.split_whitespace()
        .last()
        .map(str::to_owned)
        .ok_or(LockError::Tool {
            tool: "rpmbuild",
            why: "it does not tell its version".to_owned(),
        })
}

fn said(tool: &'static str, arguments: &[&str]) -> Result<String, LockError> {
    let refuse = |why: String| LockError::Tool { tool, why };
    let output = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .map_err(|error| refuse(error.to_string()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(refuse(format!("{}: {}", output.status, why.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_depends_on_what_is_installed_and_not_on_its_order() {
        let lock = |listed: &str| lock_of(listed, "dpkg", "4.18.0".to_owned());
        let one = lock("ii \tgcc-12 12.2 amd64\nii \tbash 5 amd64\nrc \told 1 amd64\n");
        let two = lock("hi \tbash 5 amd64\nii \tgcc-12 12.2 amd64\n");
        assert_eq!(one, two);
        assert_eq!(one.packages, 2);
        assert_eq!(one.toolchain, ["bash 5 amd64", "gcc-12 12.2 amd64"]);
        assert_eq!(
            one.sha256,
            FileDigest::of(b"bash 5 amd64\ngcc-12 12.2 amd64\n")
        );
        assert_ne!(
            one.sha256,
            lock("ii \tbash 6 amd64\nii \tgcc-12 12.2 amd64\n").sha256
        );
    }
}
