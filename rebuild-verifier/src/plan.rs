//! How this version of Hallmark builds a source package: one fixed plan, recorded in a buildinfo and
//! replayed from it. Equal plan, root and source package give equal packages, unless the package
//! itself is at fault.
//!
//! The sandbox's call and the macros were measured to be necessary and sufficient with rpm 4.18:
//! dropping any of the four macros changes every package.

use crate::buildroot::Root;
use crate::lock::LockError;
use crate::mock_plan;
use crate::sandbox::{self, Cancel, Extras, HOME_DIR, Job, Limits, OUT_DIR, SandboxError};
use crate::scratch::Scratch;
use crate::shift;
use repo_model::buildinfo::{Identity, TimeRules};
use repo_model::rpm::{Head, HeadLimits, HeaderError, Package, tag};
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// rpmbuild's mode: binaries carry the COOKIE of the SRPM, so all rebuilds start from the same one.
pub const MODE: &str = "rebuild";
/// `_topdir`: reaches build-ids and debug data, so it is always the same.
pub const BUILD_PATH: &str = "/builddir/build";
/// The source package inside.
pub const SRPM_INSIDE: &str = "/builddir/in.src.rpm";
/// The macro file inside.
pub const MACROS_INSIDE: &str = "/builddir/in.macros";
/// The same file once more, as the user's own macros: where `BuildArch` makes rpm 6 read its configuration again, it
/// forgets what was loaded by name, and a package without an architecture would carry the clock.
pub const MACROS_OF_USER: &str = "/builddir/.rpmmacros";
/// rpm before 4.20 clamps with one macro, later ones with another.
const MTIME_POLICY_SINCE: (u32, u32) = (4, 20);

/// Macros whose values reach headers or compilers' flags.
static EVALUATED: &[&str] = &[
    "_arch",
    "_binary_payload",
    "_buildhost",
    "_host",
    "_libdir",
    "_prefix",
    "_target_cpu",
    "_target_platform",
    "_topdir",
    "__brp_compress",
    "__os_install_post",
    "bugurl",
    "build_cflags",
    "build_ldflags",
    "debug_package",
    "dist",
    "distribution",
    "optflags",
    "packager",
    "vendor",
];

/// What has to be known of a source package before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePackage {
    /// Identity; its arch is `src` or `nosrc`.
    pub nevra: Nevra,
    /// SHA-256 of its main header.
    pub header: HeaderDigest,
    /// COOKIE.
    pub cookie: Option<String>,
    /// SOURCE_DATE_EPOCH that rpm takes from the newest changelog entry, seconds since 1970.
    pub changelog_epoch: Option<i64>,
    /// When the SRPM was made, seconds since 1970.
    pub build_time: i64,
}

/// The file is not a source package that can be built. Its maker's fault; do not retry.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Not an RPM.
    #[error("{path} is not a usable RPM")]
    Header {
        /// The file.
        path: PathBuf,
        /// Tag and offset.
        #[source]
        source: HeaderError,
    },
    /// A binary package.
    #[error("{nevra} is a binary package; a source package (.src.rpm) is needed")]
    Binary {
        /// What it is.
        nevra: Nevra,
    },
}

/// Reads lead and headers of an RPM file.
pub fn read_head(path: &Path) -> Result<Head, SourceError> {
    let file = File::open(path).map_err(|source| SourceError::Read {
        path: path.to_owned(),
        source,
    })?;
    Head::read(BufReader::new(file), &HeadLimits::default()).map_err(|source| SourceError::Header {
        path: path.to_owned(),
        source,
    })
}

/// Reads what has to be known of the source package at `path`.
pub fn read_source(path: &Path) -> Result<SourcePackage, SourceError> {
    let head = read_head(path)?;
    let package = Package::from_head(&head).map_err(|source| SourceError::Header {
        path: path.to_owned(),
        source,
    })?;
    if !package.is_source {
        return Err(SourceError::Binary {
            nevra: package.nevra,
        });
    }
    let newest = head
        .main()
        .u32s(tag::CHANGELOGTIME)
        .first()
        .map(|secs| i64::from(*secs));
    Ok(SourcePackage {
        nevra: package.nevra,
        header: package.header_digest,
        cookie: package.cookie,
        changelog_epoch: newest.map(epoch_of_changelog),
        build_time: package.build_time.unix_secs(),
    })
}

/// rpm writes the day of a changelog entry as noon, and takes midnight of it for
/// SOURCE_DATE_EPOCH (rpm `build/parseSpec.c`).
fn epoch_of_changelog(secs: i64) -> i64 {
    const DAY: i64 = 86_400;
    if secs.rem_euclid(DAY) == DAY / 2 {
        secs - DAY / 2
    } else {
        secs
    }
}

/// One way to build one source package on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How rpmbuild is called: [`MODE`], or one of [`crate::mock_plan`].
    pub mode: &'static str,
    /// The macro file, whole.
    pub macros: String,
    /// Options between `rpmbuild` and the SRPM's path.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// What the build sees of user and machine.
    pub identity: Identity,
    /// Where SOURCE_DATE_EPOCH comes from.
    pub time: TimeRules,
    /// Programs with their options that start rpmbuild: none, or those of a challenge profile.
    pub before: Vec<String>,
    /// The library that moves the build's clock, if that is asked for: see [`crate::shift`].
    pub clock: Option<PathBuf>,
    /// What the sandbox is asked for; an overlay only counts in a layer.
    pub extras: Extras,
}

impl Plan {
    /// The plan for `source` with an rpm of `rpm_version`. Pure: equal input, equal plan.
    pub fn new(source: &SourcePackage, rpm_version: &str) -> Self {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let mut env = BTreeMap::from(
            [
                ("HOME", HOME_DIR),
                ("LC_ALL", "C.UTF-8"),
                ("PATH", "/usr/bin:/usr/sbin:/bin:/sbin"),
                ("TZ", "UTC"),
                ("USER", "mockbuild"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let (epoch, origin) = match source.changelog_epoch {
            Some(epoch) => (epoch, "changelog"),
            // Without a changelog the clock would be everywhere; the SRPM's own time is as good.
            None => (source.build_time, "env"),
        };
        if origin == "env" {
            env.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string());
        }
        Self {
            mode: MODE,
            macros: macros(rpm_version),
            argv: words(&[
                "--nodeps",
                "--load",
                MACROS_INSIDE,
                "--rebuild",
                "--define",
                &format!("_topdir {BUILD_PATH}"),
                "--define",
                &format!("_rpmdir {OUT_DIR}"),
            ]),
            env,
            identity: identity(),
            time: TimeRules {
                source_date_epoch: Some(epoch),
                origin: origin.to_owned(),
                mtime_policy: "clamp".to_owned(),
            },
            before: Vec::new(),
            clock: None,
            extras: Extras {
                overlay: true,
                reversed: false,
            },
        }
    }

    /// `rpmbuild` with what starts it and all its arguments.
    pub fn command(&self) -> Vec<String> {
        let mut command = self.before.clone();
        if self.mode != MODE {
            command.extend(mock_plan::command(&self.argv));
            return command;
        }
        command.push("rpmbuild".to_owned());
        command.extend(self.argv.iter().cloned());
        command.push(SRPM_INSIDE.to_owned());
        command
    }

    /// How far the clock that the build reads is ahead of the machine's, seconds.
    pub(crate) fn secs_ahead(&self) -> i64 {
        self.clock.as_ref().map_or(0, |_| shift::SHIFT_SECS)
    }

    /// The options that shape macros, without those that say what rpmbuild does.
    fn macro_options(&self) -> Vec<String> {
        if self.mode == MODE {
            let shapes = |word: &&String| !["--nodeps", "--rebuild"].contains(&word.as_str());
            return self.argv.iter().filter(shapes).cloned().collect();
        }
        let mut options = ["--load", MACROS_INSIDE].map(str::to_owned).to_vec();
        let target = self.argv.iter().skip_while(|word| *word != "--target");
        options.extend(target.take(2).cloned());
        options
    }
}

/// Who and where everything in the sandbox believes to be.
pub(crate) fn identity() -> Identity {
    Identity {
        hostname: "mockbuild".to_owned(),
        uid: 1000,
        gid: 1000,
        user: "mockbuild".to_owned(),
        umask: "0022".to_owned(),
    }
}

/// The macro file. It is loaded with `--load`, which rpm reads before the command line's defines, and lies where
/// rpm finds it again ([`MACROS_OF_USER`]); paths are given as defines, which survive that too.
fn macros(rpm_version: &str) -> String {
    let mut parts = rpm_version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let clamp = if version >= MTIME_POLICY_SINCE {
        "%build_mtime_policy clamp_to_source_date_epoch"
    } else {
        "%clamp_mtime_to_source_date_epoch 1"
    };
    format!(
        "%_buildhost reproducible\n%source_date_epoch_from_changelog 1\n\
         %use_source_date_epoch_as_buildtime 1\n{clamp}\n"
    )
}

/// The build root and its values cannot be found out. The machine's fault.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// No list of packages.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The sandbox does not run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// rpm does not expand macros.
    #[error("rpm in the build root cannot expand macros: {said}")]
    Macros {
        /// What it said.
        said: String,
    },
}

/// What a macro that is not defined expands to, in our record.
const UNDEFINED: &str = "";

/// Values of [`EVALUATED`] inside the sandbox with the plan's macro file. Asked once for each root
/// and macro file in a process, as it takes a sandbox of its own.
pub fn evaluate(
    plan: &Plan,
    root: &Root,
    work_dir: &Path,
    build_uid: u32,
) -> Result<BTreeMap<String, String>, RootError> {
    type Key = (FileDigest, String);
    static CACHE: Mutex<Option<(Key, BTreeMap<String, String>)>> = Mutex::new(None);
    let key = (root.lock.sha256, plan.macros.clone());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, values)) = cache.as_ref()
        && *known == key
    {
        return Ok(values.clone());
    }
    let values = evaluate_anew(plan, root, work_dir, build_uid)?;
    *cache = Some((key, values.clone()));
    Ok(values)
}

fn evaluate_anew(
    plan: &Plan,
    root: &Root,
    work_dir: &Path,
    build_uid: u32,
) -> Result<BTreeMap<String, String>, RootError> {
    let mut command: Vec<String> = vec!["rpm".to_owned()];
    command.extend(plan.macro_options());
    for name in EVALUATED {
        command.extend(["--eval".to_owned(), format!("={name}=%{{?{name}}}")]);
    }
    let (status, said) = ask(plan, root, work_dir, build_uid, &command)?;
    if status != 0 {
        return Err(RootError::Macros {
            said: said.chars().take(400).collect(),
        });
    }
    Ok(read_values(&said))
}

/// Runs a command as a build of `plan` would run in `root`: its exit status, and what it printed.
pub(crate) fn ask(
    plan: &Plan,
    root: &Root,
    work_dir: &Path,
    build_uid: u32,
    command: &[String],
) -> Result<(i32, String), SandboxError> {
    let io = |action: &str| SandboxError::io(format!("{action} below {}", work_dir.display()));
    let scratch = Scratch::create(work_dir).map_err(io("make a directory"))?;
    let out = scratch
        .dir_of("out", build_uid)
        .map_err(io("make a directory"))?;
    let macros = write_macros(plan, &scratch)?;
    let mut inputs = vec![(macros, MACROS_INSIDE.to_owned())];
    inputs.extend(shift::input(plan));
    let log = scratch.dir().join("log");
    let ended = (sandbox::chosen_backend().run)(&Job {
        dir: scratch.dir(),
        root: &root.dir,
        inputs: &inputs,
        out: &out,
        backend_command: sandbox::backend_command(),
        command,
        env: &plan.env,
        identity: &plan.identity,
        extras: Extras::default(),
        limits: &Limits {
            build_secs: 60,
            log_bytes: 1 << 20,
            ..Limits::default()
        },
        build_uid,
        log: &log,
        cancel: &Cancel::default(),
    })?;
    let said = std::fs::read_to_string(&log).map_err(io("read the log"))?;
    Ok((ended.exit_code, said))
}

fn read_values(said: &str) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut names = EVALUATED.iter().peekable();
    let mut current = "";
    for line in said.lines() {
        let start = names.peek().and_then(|name| {
            line.strip_prefix('=')?
                .strip_prefix(**name)?
                .strip_prefix('=')
        });
        match start {
            Some(value) => {
                current = names.next().copied().unwrap_or_default();
                values.insert(current.to_owned(), value.to_owned());
            }
            None => {
                if let Some(value) = values.get_mut(current) {
                    value.push('\n');
                    value.push_str(line);
                }
            }
        }
    }
    values.retain(|_, value| value != UNDEFINED);
    values
}

/// Writes the plan's macro file where the sandbox can mount it from.
pub fn write_macros(plan: &Plan, scratch: &Scratch) -> Result<PathBuf, SandboxError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = scratch.dir().join("macros");
    std::fs::write(&path, &plan.macros)
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)))
        .map_err(SandboxError::io(format!("write {}", path.display())))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rpm_4_20_renamed_the_macro_that_clamps_file_times() {
        for (version, wanted) in [
            ("4.16.1.3", "%clamp_mtime_to_source_date_epoch 1"),
            ("4.18.0", "%clamp_mtime_to_source_date_epoch 1"),
            ("4.20.1", "%build_mtime_policy clamp_to_source_date_epoch"),
            ("6.0.0", "%build_mtime_policy clamp_to_source_date_epoch"),
        ] {
            let text = macros(version);
            assert_eq!(text.lines().last(), Some(wanted), "{version}");
            assert_eq!(text.lines().count(), 4);
        }
    }

    #[test]
    fn values_of_several_lines_stay_together_and_undefined_ones_are_left_out() {
        let values = read_values("=_arch=x86_64\n=_binary_payload=w9\nmore\n=_buildhost=\n");
        assert_eq!(
            values.get("_binary_payload").map(String::as_str),
            Some("w9\nmore")
        );
        assert!(!values.contains_key("_buildhost"));
    }

    #[test]
    fn a_package_without_changelog_takes_the_time_of_its_srpm() {
        let source = |changelog_epoch| SourcePackage {
            nevra: "a-1-1.src".parse().unwrap(),
            header: HeaderDigest::of(b""),
            cookie: None,
            changelog_epoch,
            build_time: 77,
        };
        let with = Plan::new(&source(Some(5)), "4.18.0");
        assert!(!with.env.contains_key("SOURCE_DATE_EPOCH"));
        let without = Plan::new(&source(None), "4.18.0");
        assert_eq!(without.env["SOURCE_DATE_EPOCH"], "77");
        assert_eq!(epoch_of_changelog(1_736_510_400), 1_736_467_200);
    }
}
