//! Small packages that commands make: files in their places, as a source package and, when asked for, as the
//! package itself. Equal files and an equal time give equal bytes.

use crate::failure::Failure;
use repo_model::Timestamp;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

/// One file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name of the source, and of the file.
    pub name: String,
    /// Folder it is installed in.
    pub dir: String,
    /// Kept when an operator changed it.
    pub is_config: bool,
    /// Permissions.
    pub mode: u32,
    /// What it holds.
    pub content: Vec<u8>,
}

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The source package, to go the way of every package.
    Source,
    /// The package too.
    SourceAndBinary,
}

/// Everything that goes into it.
#[derive(Debug)]
pub struct SourcePackage {
    /// Name.
    pub name: String,
    /// The whole spec.
    pub spec: String,
    /// Its sources.
    pub members: Vec<Member>,
    /// The only time that gets into the packages.
    pub changed: Timestamp,
}

/// Refuses what would not do as a package's name, or would mean something to rpmbuild.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(Failure::usage(format!("`{name}` is no name of a package"))),
    }
}

/// `Source0: NAME` and so on. A file that goes to several folders is one source.
pub fn sources(out: &mut String, members: &[Member]) {
    for (number, member) in members.iter().enumerate() {
        let first = members.iter().position(|other| other.name == member.name);
        if first == Some(number) {
            // Writing into a String cannot fail.
            let _ = writeln!(out, "Source{number}: {}", member.name);
        }
    }
}

/// The lines of `%install`. The shell's variables, not macros: a package holds its spec with the macros replaced,
/// and must not tell where it was made.
pub fn install(out: &mut String, members: &[Member]) {
    for Member {
        name, dir, mode, ..
    } in members
    {
        let _ = writeln!(
            out,
            "install -D -p -m {mode:04o} \"$RPM_SOURCE_DIR/{name}\" \"$RPM_BUILD_ROOT{dir}/{name}\""
        );
    }
}

/// `%files` with its lines.
pub fn files(out: &mut String, members: &[Member]) {
    out.push_str("\n%files\n");
    for member in members {
        let prefix = if member.is_config {
            "%config(noreplace) "
        } else {
            ""
        };
        let _ = writeln!(out, "{prefix}{}/{}", member.dir, member.name);
    }
}

/// `Sat Nov 21 2026`, of `Sat, 21 Nov 2026 06:05:36 GMT`.
pub fn changelog_day(day: Timestamp) -> String {
    let secs = u64::try_from(day.unix_secs()).unwrap_or(0);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs));
    let mut words = date.split([' ', ',']).filter(|word| !word.is_empty());
    let mut word = || words.next().unwrap_or_default();
    let (weekday, day, month, year) = (word(), word(), word(), word());
    format!("{weekday} {month} {day} {year}")
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot {what} {}: {error}", path.display()))
}

impl SourcePackage {
    /// Writes spec and sources into a folder and has rpmbuild make the packages there; where they are.
    pub fn build(&self, dir: &Path, build: Build) -> Result<Vec<PathBuf>, Failure> {
        let sources = dir.join("SOURCES");
        fs::create_dir_all(&sources).map_err(|error| cannot("make", &sources, &error))?;
        for member in &self.members {
            self.write(&sources.join(&member.name), &member.content)?;
        }
        let spec = dir.join(format!("{}.spec", self.name));
        self.write(&spec, self.spec.as_bytes())?;
        self.rpmbuild(dir, &spec, build)
    }

    /// A source package has its sources' times.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), Failure> {
        let secs = u64::try_from(self.changed.unix_secs()).unwrap_or(0);
        let time = UNIX_EPOCH + Duration::from_secs(secs);
        let written = fs::File::create(path).and_then(|mut file| {
            file.write_all(content)?;
            file.set_modified(time)
        });
        written.map_err(|error| cannot("write", path, &error))
    }

    fn rpmbuild(&self, dir: &Path, spec: &Path, build: Build) -> Result<Vec<PathBuf>, Failure> {
        let absolute =
            |path: &Path| fs::canonicalize(path).map_err(|error| cannot("find", path, &error));
        let (dir, spec) = (absolute(dir)?, absolute(spec)?);
        let mut command = Command::new("rpmbuild");
        command.arg(match build {
            Build::Source => "-bs",
            Build::SourceAndBinary => "-ba",
        });
        for define in [
            format!("_topdir {}", dir.display()),
            format!("_srcrpmdir {}", dir.display()),
            format!("_rpmdir {}", dir.display()),
            // Whose machine it was, and when it ran, must not show.
            "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned(),
            "_buildhost reproducible".to_owned(),
            "use_source_date_epoch_as_buildtime 1".to_owned(),
            "clamp_mtime_to_source_date_epoch 1".to_owned(),
            "build_mtime_policy clamp_to_source_date_epoch".to_owned(),
        ] {
            command.arg("--define").arg(define);
        }
        let output = command
            .arg(&spec)
            .env("LC_ALL", "C")
            .env("SOURCE_DATE_EPOCH", self.changed.unix_secs().to_string())
            .output()
            .map_err(|error| {
                Failure::failed(format!("cannot run rpmbuild: {error}"))
                    .with_hint("install the package `rpm` (Debian) or `rpm-build` (Fedora)")
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::failed(format!("rpmbuild failed: {}", said.trim())));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let written = said.lines().filter_map(|line| line.strip_prefix("Wrote: "));
        Ok(written.map(PathBuf::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rpmbuild_would_expand_are_refused() {
        assert!(check_name("hallmark-keys_2.0+x").is_ok());
        for name in ["", "%{nil}", "a b", "../a", "a/b", "a\n"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_member_stands_in_every_list_with_its_folder_and_permissions() {
        let member = |name: &str, dir: &str, is_config, mode| Member {
            name: name.to_owned(),
            dir: dir.to_owned(),
            is_config,
            mode,
            content: Vec::new(),
        };
        let members = [
            member("a.toml", "/etc/x", true, 0o644),
            member("b", "/usr/bin", false, 0o755),
            member("b", "/usr/sbin", false, 0o755),
        ];
        let mut out = String::new();
        sources(&mut out, &members);
        install(&mut out, &members);
        files(&mut out, &members);
        assert_eq!(
            out,
            "Source0: a.toml\nSource1: b\n\
             install -D -p -m 0644 \"$RPM_SOURCE_DIR/a.toml\" \"$RPM_BUILD_ROOT/etc/x/a.toml\"\n\
             install -D -p -m 0755 \"$RPM_SOURCE_DIR/b\" \"$RPM_BUILD_ROOT/usr/bin/b\"\n\
             install -D -p -m 0755 \"$RPM_SOURCE_DIR/b\" \"$RPM_BUILD_ROOT/usr/sbin/b\"\n\
             \n%files\n%config(noreplace) /etc/x/a.toml\n/usr/bin/b\n/usr/sbin/b\n"
        );
    }
}
