//! mock, and the small distribution that it builds in.

use super::Lab;
use hallmark_rebuilder::build::{BuildRequest, Recorded};
use hallmark_rebuilder::buildroot::Store;
use hallmark_rebuilder::mock_build::{self, MockError, MockRequest};
use hallmark_rebuilder::sandbox;
use hallmark_rebuilder::verify::Verified;
use std::fs;
use std::path::{Path, PathBuf};

/// A place where mock builds.
pub struct InMock {
    pub lab: Lab,
    /// The words that start mock.
    pub mock: Vec<String>,
    /// The small distribution.
    pub repo: PathBuf,
    pub store: Store,
}

impl InMock {
    /// Without mock or the small distribution `test` skips by its name.
    pub fn new(test: &str) -> Option<Self> {
        let mock = mock(test)?;
        let repo = super::repository(test)?;
        let lab = Lab::new();
        let store = Store::new(&lab.path("store"), 8 << 30);
        Some(Self {
            lab,
            mock,
            repo,
            store,
        })
    }

    /// A configuration of mock's for the small distribution.
    pub fn config(&self) -> String {
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
            repo = self.repo.display()
        );
        let path = self.lab.path("mini.cfg");
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// Builds into the lab's directory `out`.
    pub fn record(&self, srpm: &Path, out: &str, config: &str) -> Result<Recorded, MockError> {
        mock_build::record(&MockRequest {
            build: unhurried(&self.lab, srpm, out),
            config: config.to_owned(),
            program: self.mock.clone(),
            store: self.store.clone(),
        })
    }

    /// Checks what `recorded` made with what `store` has, and prints a line of the table of verdicts for whoever
    /// runs the test by hand.
    pub fn checked(&self, how: &str, recorded: &Recorded, srpm: &Path, store: &Store) -> Verified {
        let verified = super::checked(&self.lab, recorded, srpm, store);
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
        verified
    }
}

/// The words that start mock: HALLMARK_MOCK, or what is in the path. It is no package of Debian, PyPI, npm or
/// crates.io, so CI cannot have it, and a test skips by its name without it.
fn mock(test: &str) -> Option<Vec<String>> {
    let named = std::env::var("HALLMARK_MOCK")
        .ok()
        .filter(|name| !name.is_empty());
    let words: Vec<String> = named.into_iter().collect();
    let row = sandbox::backend("mock").unwrap();
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

/// A request that leaves mock the time and the space to install a root.
fn unhurried(lab: &Lab, srpm: &Path, out: &str) -> BuildRequest {
    let mut request = lab.request(srpm, out);
    request.limits.build_secs = 600;
    request.limits.memory_bytes = 2 << 30;
    request.limits.disk_bytes = 4 << 30;
    request
}
