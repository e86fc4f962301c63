//! Small source packages made with rpmbuild, and a place to build them.
#![allow(dead_code, reason = "each test binary uses a part")]

use hallmark_rebuilder::build::BuildRequest;
use hallmark_rebuilder::sandbox::Limits;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        let output = Command::new("rpmbuild")
            .args(["-bs", "--define", &format!("_topdir {}", top.display())])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        the_rpm(&top.join("SRPMS"))
    }
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
    let output = Command::new(call[0])
        .args(&call[1..])
        .args(["--define", &format!("_topdir {}", top.display())])
        .args(options)
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    the_rpm(&top.join("RPMS"))
}
