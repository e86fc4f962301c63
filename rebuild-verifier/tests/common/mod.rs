//! Small source packages made with rpmbuild, and a place to build them.
#![allow(dead_code, reason = "each test binary uses a part")]

use hallmark_rebuilder::build::{BuildRequest, Recorded};
use hallmark_rebuilder::buildroot::Store;
use hallmark_rebuilder::compare::Comparer;
use hallmark_rebuilder::profile;
use hallmark_rebuilder::sandbox::{Cancel, Limits, REBUILD_BACKENDS};
use hallmark_rebuilder::verify::{self, CheckRequest, Verified};
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

/// The words that start mock: HALLMARK_MOCK, or what is in the path. It is no package of Debian, PyPI, npm or
/// crates.io, so CI cannot have it, and a test skips by its name without it.
pub fn mock(test: &str) -> Option<Vec<String>> {
    let named = std::env::var("HALLMARK_MOCK")
        .ok()
        .filter(|name| !name.is_empty());
    let words: Vec<String> = named.into_iter().collect();
    let row = REBUILD_BACKENDS
        .iter()
        .find(|row| row.name == "mock")
        .unwrap();
    match (row.version)(&words) {
        Ok(version) => {
            eprintln!("{test}: mock {version}");
            Some(words)
        }
        Err(error) => {
            eprintln!("SKIPPED {test}: {error}");
            None
        }
    }
}

/// A configuration of mock's for the small distribution.
pub fn mock_config(lab: &Lab, repo: &Path) -> String {
    let text = format!(
        "config_opts['root'] = 'mini'\nconfig_opts['target_arch'] = '{arch}'\n\
         config_opts['legal_host_arches'] = ('{arch}',)\nconfig_opts['releasever'] = '1'\n\
         config_opts['chroot_setup_cmd'] = 'install lab-buildroot'\n\
         config_opts['package_manager'] = 'dnf5'\nconfig_opts['dnf_warning'] = False\n\
         config_opts['use_bootstrap'] = False\nconfig_opts['use_bootstrap_image'] = False\n\
         for plugin in list(config_opts['plugins']):\n    config_opts['plugin_conf'][plugin + '_enable'] = False\n\
         config_opts['dnf.conf'] = '''\n[main]\nreposdir=/dev/null\ngpgcheck=0\nassumeyes=1\ninstall_weak_deps=0\n\
         [mini]\nname=mini\nbaseurl=file://{repo}\n'''\n",
        arch = std::env::consts::ARCH,
        repo = repo.display()
    );
    let path = lab.path("mini.cfg");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// A line of the table of verdicts, for whoever runs the test by hand.
pub fn tell(how: &str, verified: &Verified) {
    for package in &verified.packages {
        let comparison = &package.comparison;
        let causes: Vec<String> = comparison
            .causes
            .iter()
            .map(|cause| {
                format!(
                    "{} {}",
                    cause.code,
                    cause.file.as_deref().unwrap_or_default()
                )
            })
            .collect();
        eprintln!("{how}: {} {} {causes:?}", package.nevra, comparison.verdict);
    }
}

/// A request that leaves mock the time and the space to install a root.
pub fn unhurried(lab: &Lab, srpm: &Path, out: &str) -> BuildRequest {
    let mut request = lab.request(srpm, out);
    request.limits.build_secs = 600;
    request.limits.memory_bytes = 2 << 30;
    request.limits.disk_bytes = 4 << 30;
    request
}

/// Checks what `recorded` made, as `hallmark rebuild` would in this process.
pub fn checked(lab: &Lab, recorded: &Recorded, srpm: &Path, store: &Store) -> Verified {
    verify::check(&CheckRequest {
        files: recorded.packages.clone(),
        srpm: srpm.to_owned(),
        buildinfo: recorded.buildinfo.clone(),
        log: lab.path("check.log"),
        profile: profile::plain(),
        limits: lab.limits(),
        work_dir: lab.path("work"),
        build_uid: 65_534,
        store: store.clone(),
        comparer: Comparer {
            program: env!("CARGO_BIN_EXE_hallmark-rebuilder").into(),
            work_dir: lab.path("work"),
            build_uid: 65_534,
        },
        cancel: Cancel::default(),
    })
    .unwrap()
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
