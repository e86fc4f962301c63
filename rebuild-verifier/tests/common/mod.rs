//! Small source packages made with rpmbuild, and a place to build them.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod attempt;
pub mod in_mock;

use hallmark_rebuilder::build::{BuildRequest, Recorded};
use hallmark_rebuilder::buildroot::{LockFile, Store, Wanted, resolve};
use hallmark_rebuilder::compare::Comparer;
use hallmark_rebuilder::profile;
use hallmark_rebuilder::sandbox::{Cancel, Limits};
use hallmark_rebuilder::verify::{self, CheckRequest, Verified};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Options that make plain rpmbuild as reproducible as the sandbox's macros.
pub const PINNED: [&str; 8] = [
    "--define",
    "_buildhost reproducible",
    "--define",
    "source_date_epoch_from_changelog 1",
    "--define",
    "use_source_date_epoch_as_buildtime 1",
    "--define",
    "clamp_mtime_to_source_date_epoch 1",
];

/// Whether rpmbuild and bwrap are there. Without them a test skips by its name, or fails in CI.
pub fn tools(test: &str) -> bool {
    let runs = |tool: &str| {
        Command::new(tool)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let missing: Vec<&str> = ["rpmbuild", "bwrap", "prlimit", "setpriv"]
        .into_iter()
        .filter(|tool| !runs(tool))
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{test}: {missing:?} missing in CI"
    );
    eprintln!("SKIPPED {test}: {missing:?} missing");
    false
}

/// The small distribution's repository; without it, or without root and DNF, a test skips by its name.
pub fn repository(test: &str) -> Option<PathBuf> {
    if !tools(test) {
        return None;
    }
    let skip = |why: &str| {
        eprintln!("SKIPPED {test}: {why}");
        None
    };
    if !hallmark_rebuilder::sandbox::is_root() {
        return skip("making a layer needs root");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/make-minidistro.sh");
    let output = Command::new(script).output().unwrap();
    if output.status.code() == Some(3) {
        return skip(String::from_utf8_lossy(&output.stderr).trim());
    }
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().trim().into())
}

/// A lock of the small distribution's build root.
pub fn locked(lab: &Lab, repo: &Path, store: &Store) -> LockFile {
    let wanted = Wanted {
        repos: vec![format!("file://{}", repo.display())],
        packages: vec!["lab-buildroot".to_owned()],
    };
    resolve(&wanted, store, &lab.path("work")).unwrap()
}

/// Checks what `recorded` made, as `hallmark rebuild` would in this process.
pub fn checked(lab: &Lab, recorded: &Recorded, srpm: &Path, store: &Store) -> Verified {
    verify::check(&check_request(lab, recorded, srpm, store)).unwrap()
}

/// Asks whether all that `recorded` made comes out the same.
pub fn check_request(lab: &Lab, recorded: &Recorded, srpm: &Path, store: &Store) -> CheckRequest {
    CheckRequest {
        files: recorded.packages.clone(),
        srpm: srpm.to_owned(),
        buildinfo: recorded.buildinfo.clone(),
        log: lab.path("check.log"),
        profile: profile::plain(),
        limits: lab.limits(),
        work_dir: lab.path("work"),
        build_uid: 65_534,
        store: store.clone(),
        comparer: comparer(lab),
        cancel: Cancel::default(),
    }
}

pub fn comparer(lab: &Lab) -> Comparer {
    Comparer {
        program: env!("CARGO_BIN_EXE_hallmark-rebuilder").into(),
        work_dir: lab.path("work"),
        build_uid: 65_534,
    }
}

/// A temporary directory that the build user can pass through.
pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn limits(&self) -> Limits {
        Limits {
            build_secs: 60,
            memory_bytes: 1 << 30,
            disk_bytes: 256 << 20,
            max_processes: 500,
            log_bytes: 1 << 20,
        }
    }

    pub fn request(&self, srpm: &Path, out: &str) -> BuildRequest {
        BuildRequest {
            work_dir: self.path("work"),
            limits: self.limits(),
            ..BuildRequest::new(srpm, &self.path(out))
        }
    }

    /// Makes a source package of `spec`.
    pub fn srpm(&self, name: &str, spec: &str) -> PathBuf {
        let top = self.path(&format!("top-{name}"));
        fs::create_dir_all(&top).unwrap();
        let file = top.join(format!("{name}.spec"));
        fs::write(&file, spec).unwrap();
        let mut command = Command::new("rpmbuild");
        command.args(["-bs", "--define", &format!("_topdir {}", top.display())]);
        succeeds(command.arg(&file));
        the_rpm(&top.join("SRPMS"))
    }
}

/// Runs a command that has to end well.
pub fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The only .rpm below a directory.
pub fn the_rpm(dir: &Path) -> PathBuf {
    let mut found = rpms(dir);
    assert_eq!(found.len(), 1, "{}: {found:?}", dir.display());
    found.remove(0)
}

/// All .rpm below a directory, sorted.
pub fn rpms(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rpms(&path));
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A spec whose package holds /usr/share/NAME/data, made by `install` (shell).
pub fn spec(name: &str, install: &str) -> String {
    format!(
        "Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: Test\nLicense: Apache-2.0\nBuildArch: noarch\n\
         %description\nTest.\n%prep\n%build\n%install\nmkdir -p %{{buildroot}}/usr/share/{name}\n\
         cd %{{buildroot}}/usr/share/{name}\n{install}\n%files\n/usr/share/{name}\n%changelog\n\
         * Fri Jan 10 2025 Tester <t@example.invalid> - 1\n- First\n"
    )
}

/// Builds a spec directly, outside any sandbox, with rpmbuild options; returns the one package.
pub fn plain_build(lab: &Lab, name: &str, spec: &str, options: &[&str]) -> PathBuf {
    plain_build_below(lab, name, &["rpmbuild", "-bb"], spec, options)
}

/// The same with another call of rpmbuild: programs before it, and its mode.
pub fn plain_build_below(
    lab: &Lab,
    name: &str,
    call: &[&str],
    spec: &str,
    options: &[&str],
) -> PathBuf {
    let top = lab.path(&format!("plain-{name}"));
    fs::create_dir_all(&top).unwrap();
    let file = top.join("package.spec");
    fs::write(&file, spec).unwrap();
    let mut command = Command::new(call[0]);
    command.args(&call[1..]);
    command.args(["--define", &format!("_topdir {}", top.display())]);
    succeeds(command.args(options).arg(&file));
    the_rpm(&top.join("RPMS"))
}
