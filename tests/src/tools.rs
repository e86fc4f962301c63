//! What a test needs of the machine. A missing tool skips the test loudly and by name; where the
//! machine should have it (`CI` is set on a system of Debian's family) it is a failure.

use std::path::{Path, PathBuf};

/// Something a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A program on the search path.
    Program(&'static str),
    /// A program in the client root (see `scripts/make-forky.sh`).
    InClientRoot(&'static str),
    /// A real browser and what drives it (see `tests/lab/make-browser.sh`).
    Browser,
    /// A server that speaks S3 (see `tests/lab/make-venv.sh`).
    S3Server,
    /// Root rights: install roots are entered by chroot.
    Root,
}

/// What the rebuild sandbox needs.
pub const BUILDING: &[Need] = &[
    Need::Program("rpmbuild"),
    Need::Program("bwrap"),
    Need::Program("openssl"),
];

/// Where the client root is: `$HALLMARK_CACHE/forky`, or below `/var/cache/hallmark`.
pub fn client_root() -> PathBuf {
    cache().join("forky")
}

/// Where Playwright and axe-core are: `$HALLMARK_CACHE/browser`, or below `/var/cache/hallmark`.
pub fn browser_tools() -> PathBuf {
    cache().join("browser")
}

/// moto's server, which speaks S3: `$HALLMARK_CACHE/venv-s3`, or below `/var/cache/hallmark`.
pub fn s3_server() -> PathBuf {
    cache().join("venv-s3/bin/moto_server")
}

fn cache() -> PathBuf {
    std::env::var_os("HALLMARK_CACHE").map_or_else(|| "/var/cache/hallmark".into(), PathBuf::from)
}

/// Chromium, by the name that this distribution gives it.
pub fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser"]
        .into_iter()
        .find_map(on_path)
}

impl Need {
    /// What is missing, in words; none when it is there.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Program(name) => on_path(name)
                .is_none()
                .then(|| format!("{name} is not installed")),
            Self::InClientRoot(name) => {
                let root = client_root();
                let there = root.join("usr/bin").join(name).exists();
                (!there).then(|| {
                    format!(
                        "{} has no {name} (scripts/make-forky.sh makes it)",
                        root.display()
                    )
                })
            }
            Self::Browser => {
                let tools = browser_tools();
                if chromium().is_none() {
                    Some("chromium is not installed".to_owned())
                } else if on_path("node").is_none() {
                    Some("node is not installed".to_owned())
                } else {
                    let there = tools.join("node_modules/playwright-core").is_dir();
                    (!there).then(|| {
                        let shown = tools.display();
                        format!("{shown} has no Playwright (tests/lab/make-browser.sh makes it)")
                    })
                }
            }
            Self::S3Server => {
                let program = s3_server();
                (!program.is_file()).then(|| {
                    let shown = program.display();
                    format!("{shown} is not there (tests/lab/make-venv.sh s3 makes it)")
                })
            }
            Self::Root => {
                (!rustix::process::geteuid().is_root()).then(|| "root rights are needed".to_owned())
            }
        }
    }
}

/// The program's path.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Whether the test may run. Prints the `SKIP` line when not.
///
/// # Panics
/// When something is missing on a machine that should have it all.
pub fn all_there(test: &str, needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find_map(|need| need.missing()) else {
        return true;
    };
    let should_have = std::env::var_os("CI").is_some() && Path::new("/etc/debian_version").exists();
    assert!(
        !should_have,
        "{test} cannot run on this CI machine: {missing}"
    );
    eprintln!("SKIP {test}: {missing}");
    false
}

/// Ends the test with a `SKIP` line unless every [`Need`] is met: `require!(BUILDING)`.
#[macro_export]
macro_rules! require {
    ($($needs:expr),+ $(,)?) => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        let name = name.strip_suffix("::here").unwrap_or(name);
        let needs: Vec<$crate::tools::Need> = [$(&$needs[..]),+].concat();
        if !$crate::tools::all_there(name, &needs) {
            return;
        }
    }};
}
