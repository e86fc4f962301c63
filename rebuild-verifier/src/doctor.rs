//! `hallmark-rebuilder doctor`: does everything that a rebuild needs once, and says what to do about
//! what does not work.

use crate::buildroot::{self, Root, Store};
use crate::keys::RebuilderKeys;
use crate::plan::{MACROS_INSIDE, Plan, SourcePackage};
use crate::sandbox::{self, Cancel, Extras, Job, Limits};
use crate::scratch::Scratch;
use crate::{lock, plan, profile, shift};
use repo_model::HeaderDigest;
use repo_model::config::RebuilderConfig;
use repo_model::nevra::{Evr, Nevra};
use std::fs;
use std::process::Command;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Works.
    Good,
    /// Works with less: rebuilds are possible.
    Weak,
    /// Rebuilds are not possible.
    Bad,
}

/// One row of the doctor's table.
#[derive(Debug)]
pub struct Finding {
    /// What was tried.
    pub name: &'static str,
    /// How it ended.
    pub health: Health,
    /// What was seen.
    pub seen: String,
    /// What to do; empty when nothing.
    pub remedy: &'static str,
}

type Check = fn(&RebuilderConfig) -> Result<String, String>;

struct CheckRow {
    name: &'static str,
    /// What a failure means.
    failing: Health,
    remedy: &'static str,
    check: Check,
}

static CHECKS: &[CheckRow] = &[
    CheckRow {
        name: "rpmbuild",
        failing: Health::Bad,
        remedy: "install it: `apt-get install rpm` or `dnf install rpm-build`",
        check: |_| version_of("rpmbuild"),
    },
    CheckRow {
        name: "package list",
        failing: Health::Bad,
        remedy: "a root without dpkg or rpm database cannot be recorded; use a Debian or Fedora like machine",
        check: |_| {
            let lock = lock::host().map_err(|error| error.to_string())?;
            Ok(format!(
                "{} packages by {}, lock {}",
                lock.packages, lock.installer, lock.sha256
            ))
        },
    },
    CheckRow {
        name: "bwrap",
        failing: Health::Bad,
        remedy: "install bubblewrap 0.8 or later",
        // Packages are compared in it, whatever builds them.
        check: |_| {
            let row = &sandbox::REBUILD_BACKENDS[0];
            (row.version)(&[]).map_err(|error| error.to_string())
        },
    },
    CheckRow {
        name: "mock",
        failing: Health::Bad,
        remedy: "install mock 6, name it in rebuilder.backend_command, and run as root: mock makes its chroots as root \
                 and drops to the build user for rpmbuild",
        check: |config| {
            if config.backend != sandbox::mock::BACKEND.name {
                return Ok("not the configured backend".to_owned());
            }
            sandbox::backend_version().map_err(|error| error.to_string())
        },
    },
    CheckRow {
        name: "build root",
        failing: Health::Bad,
        remedy: "make a layer, which this backend builds in: `hallmark-rebuilder buildroot make LOCK`",
        check: |config| root_for(config).map(|root| root.dir.display().to_string()),
    },
    CheckRow {
        name: "prlimit",
        failing: Health::Bad,
        remedy: "install util-linux",
        check: |_| version_of("prlimit"),
    },
    CheckRow {
        name: "setpriv",
        failing: Health::Bad,
        remedy: "install util-linux",
        check: |_| version_of("setpriv"),
    },
    CheckRow {
        name: "sandbox",
        failing: Health::Bad,
        remedy: "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns=0); let the build user pass through rebuilder.work_dir",
        check: |config| {
            in_sandbox(config, Extras::default(), "id -u")
                .and_then(|said| wanted(said.trim() == "1000", &said))
        },
    },
    CheckRow {
        name: "network off",
        failing: Health::Bad,
        remedy: "allow network namespaces",
        check: |config| {
            let said = in_sandbox(
                config,
                Extras::default(),
                "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n'",
            )?;
            wanted(said == "lo", &said).map(|_| "only the loopback device".to_owned())
        },
    },
    CheckRow {
        name: "scratch space",
        failing: Health::Bad,
        remedy: "allow tmpfs mounts in user namespaces (kernel 4.18 or later)",
        check: |config| {
            let said = in_sandbox(
                config,
                Extras::default(),
                "df -P /builddir | tail -n 1 | cut -d' ' -f1",
            )?;
            // mock's chroot is an overlay whose upper half is a tmpfs.
            wanted(["tmpfs", "overlay"].contains(&said.trim()), &said)
        },
    },
    CheckRow {
        name: "macros",
        failing: Health::Bad,
        remedy: "check the rpm installation: `rpm --eval %{_arch}`",
        check: |config| {
            let plan = some_plan().map_err(|error| error.to_string())?;
            let root = root_for(config)?;
            let values = plan::evaluate(&plan, &root, &config.work_dir, config.build_uid)
                .map_err(|error| error.to_string())?;
            let host = values.get("_buildhost").cloned().unwrap_or_default();
            wanted(host == "reproducible", &format!("_buildhost is `{host}`"))?;
            Ok(format!(
                "{} values, target {}",
                values.len(),
                values.get("_target_cpu").cloned().unwrap_or_default()
            ))
        },
    },
    CheckRow {
        name: "layers",
        failing: Health::Weak,
        remedy: "install dnf5 or dnf to make build roots of locked packages; builds in the machine's own root need none",
        check: |config| {
            let tool = buildroot::tool().map_err(|error| error.to_string())?;
            let place = config.layers_dir.display();
            Ok(match sandbox::is_root() {
                true => format!("made by {tool} in {place}"),
                false => format!("those in {place}; making one needs root"),
            })
        },
    },
    CheckRow {
        name: "overlay",
        failing: Health::Weak,
        remedy: "use Linux 5.11 or later with overlayfs (modprobe overlay); builds in layers cannot write into their root \
                 until then, which few want to",
        check: |config| {
            sandbox::try_overlay(&config.work_dir, config.build_uid)
                .map(|()| "builds in layers may write into their root".to_owned())
                .map_err(|error| error.to_string())
        },
    },
    CheckRow {
        name: "directory order",
        failing: Health::Weak,
        remedy: "install disorderfs, load FUSE (modprobe fuse) and let everybody open /dev/fuse; the profile \
                 `reversed-directories` and the factor `directory-order` need it, nothing else",
        check: reverses_directories,
    },
    CheckRow {
        name: "another day",
        failing: Health::Weak,
        remedy: "install libfaketime; the profile `later-day`, which has to be named in rebuilder.profiles, and the \
                 factor `date` need it, nothing else",
        check: moves_clock,
    },
    CheckRow {
        name: "control groups",
        failing: Health::Weak,
        remedy: "run as root or with a delegated cgroup v2 (systemd: Delegate=yes); else statements say `limits: weak`",
        check: |_| {
            if sandbox::has_cgroups() {
                Ok("memory and pids".to_owned())
            } else {
                Err("not writable".to_owned())
            }
        },
    },
    CheckRow {
        name: "key file",
        failing: Health::Weak,
        remedy: "make one: `hallmark-rebuilder keygen --out FILE`, and set rebuilder.key_file",
        check: |config| {
            let keys = RebuilderKeys::read(&config.key_file).map_err(|error| error.to_string())?;
            Ok(format!(
                "statement key {}",
                keys.statement.public().key_id()
            ))
        },
    },
    CheckRow {
        name: "server",
        failing: Health::Weak,
        remedy: "set rebuilder.server_url, and start the server",
        check: |config| {
            let url = format!("{}/healthz", config.server_url.trim_end_matches('/'));
            let agent = ureq::Agent::config_builder()
                .timeout_global(Some(std::time::Duration::from_secs(5)))
                .build();
            agent
                .new_agent()
                .get(&url)
                .call()
                .map(|_| config.server_url.clone())
                .map_err(|error| error.to_string())
        },
    },
];

/// Runs every check, in the table's order.
pub fn examine(config: &RebuilderConfig) -> Vec<Finding> {
    CHECKS
        .iter()
        .map(|row| match (row.check)(config) {
            Ok(seen) => Finding {
                name: row.name,
                health: Health::Good,
                seen,
                remedy: "",
            },
            Err(seen) => Finding {
                name: row.name,
                health: row.failing,
                seen,
                remedy: row.remedy,
            },
        })
        .collect()
}

/// Whether builds here can be shown directories in reverse; tried once for real.
pub fn reverses_directories(config: &RebuilderConfig) -> Result<String, String> {
    profile::reverses().map_err(|error| error.to_string())?;
    let reversed = Extras {
        reversed: true,
        ..Extras::default()
    };
    let said = in_sandbox(config, reversed, "df -P . | tail -n 1 | cut -d' ' -f1")?;
    wanted(said.trim() == "disorderfs", &said).map(|_| "disorderfs reverses it".to_owned())
}

/// Whether builds here can be given another day; tried once for real.
pub fn moves_clock(config: &RebuilderConfig) -> Result<String, String> {
    let mut plan = some_plan().map_err(|error| error.to_string())?;
    if !shift::put_into(&mut plan) {
        return Err("libfaketime is not installed".to_owned());
    }
    let root = root_for(config)?;
    shift::works(&plan, &root, &config.work_dir, config.build_uid)?;
    Ok("libfaketime moves the clock".to_owned())
}

/// Whether rebuilds are possible.
pub fn is_usable(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.health != Health::Bad)
}

fn wanted(holds: bool, said: &str) -> Result<String, String> {
    let said = said.trim().to_owned();
    if holds { Ok(said) } else { Err(said) }
}

fn version_of(tool: &str) -> Result<String, String> {
    let output = Command::new(tool)
        .arg("--version")
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    wanted(
        output.status.success(),
        text.lines().next().unwrap_or("it says nothing"),
    )
}

/// A plan for no package in particular.
fn some_plan() -> Result<Plan, lock::LockError> {
    let nothing = SourcePackage {
        nevra: Nevra {
            name: "doctor".to_owned(),
            evr: Evr {
                epoch: 0,
                version: "1".to_owned(),
                release: "1".to_owned(),
            },
            arch: "src".to_owned(),
        },
        header: HeaderDigest::of(b""),
        cookie: None,
        changelog_epoch: Some(0),
        build_time: 0,
    };
    Ok(Plan::new(&nothing, &lock::host()?.rpm_version))
}

/// What builds run in with the configured backend: the machine's own root, or some layer.
fn root_for(config: &RebuilderConfig) -> Result<Root, String> {
    if sandbox::chosen_backend().host_root {
        return Root::host().map_err(|error| error.to_string());
    }
    Store::new(&config.layers_dir, config.layers_bytes)
        .some_layer()
        .ok_or_else(|| format!("no layer in {}", config.layers_dir.display()))
}

/// Runs a shell line as a build would run, and returns what it prints.
fn in_sandbox(config: &RebuilderConfig, extras: Extras, line: &str) -> Result<String, String> {
    let text = |error: std::io::Error| format!("{}: {error}", config.work_dir.display());
    let plan = some_plan().map_err(|error| error.to_string())?;
    let scratch = Scratch::create(&config.work_dir).map_err(text)?;
    let out = scratch.dir_of("out", config.build_uid).map_err(text)?;
    let macros = plan::write_macros(&plan, &scratch).map_err(|error| error.to_string())?;
    let log = scratch.dir().join("log");
    let root = root_for(config)?;
    let ended = (sandbox::chosen_backend().run)(&Job {
        dir: scratch.dir(),
        root: &root.dir,
        inputs: &[(macros, MACROS_INSIDE.to_owned())],
        out: &out,
        backend_command: sandbox::backend_command(),
        command: &["sh", "-c", line].map(str::to_owned),
        env: &plan.env,
        identity: &plan.identity,
        extras,
        limits: &Limits {
            build_secs: 20,
            ..Limits::from_config(config)
        },
        build_uid: config.build_uid,
        log: &log,
        cancel: &Cancel::default(),
    })
    .map_err(|error| error.to_string())?;
    let said = fs::read_to_string(&log).map_err(text)?;
    if ended.exit_code == 0 {
        Ok(said)
    } else {
        Err(format!("status {}: {}", ended.exit_code, said.trim()))
    }
}
