//! Building a source package in the sandbox, and recording how: `hallmark buildinfo`.

use crate::buildroot::{self, Root};
use crate::plan::{self, Plan, RootError, SourceError, SourcePackage};
use crate::sandbox::{self, Cancel, Ended, Extras, Job, Limits, SandboxError};
use crate::scratch::{self, Scratch};
use crate::shift;
use repo_model::buildinfo::{
    self, BuildInfo, Buildroot, Machine, Macros, Output, RpmBuild, Sandbox, Source,
};
use repo_model::config::RebuilderConfig;
use repo_model::dsse::{Envelope, StatementKey};
use repo_model::rpm::Package;
use repo_model::statement::{
    BUILD_TYPE, BuildDefinition, BuilderId, PROVENANCE, Provenance, Resource, RunDetails,
    RunMetadata, Statement, StatementError, Subject,
};
use repo_model::{FileDigest, HeaderDigest, Nevra, Timestamp, WorkerName};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most packages that are taken from one build.
const MAX_PACKAGES: usize = 20_000;
/// Of a failed build's log, what an error quotes, bytes.
const QUOTED: u64 = 2 << 10;

/// What to build and where to put what comes out.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The .src.rpm.
    pub srpm: PathBuf,
    /// Where the packages, the buildinfo and the log go; made when it is not there.
    pub out_dir: PathBuf,
    /// Scratch space, emptied afterwards.
    pub work_dir: PathBuf,
    /// What the build may use.
    pub limits: Limits,
    /// User that the build runs as when we are root.
    pub build_uid: u32,
    /// What the build runs in; none: the machine's own root.
    pub root: Option<Root>,
    /// Stops the build.
    pub cancel: Cancel,
}

impl BuildRequest {
    /// A build with the default limits and scratch space of `[rebuilder]`.
    pub fn new(srpm: &Path, out_dir: &Path) -> Self {
        let config = RebuilderConfig::default();
        Self {
            srpm: srpm.to_owned(),
            out_dir: out_dir.to_owned(),
            limits: Limits::from_config(&config),
            build_uid: config.build_uid,
            // Anybody may make a directory of their own there, and nobody else can touch it.
            work_dir: "/var/tmp".into(),
            root: None,
            cancel: Cancel::default(),
        }
    }
}

/// A build did not give packages.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No usable source package. The caller's fault; do not retry.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Times would be clamped to a moment that has not come, so every build would differ. Correct the
    /// date of the newest changelog entry, or the clock.
    #[error(
        "the build's time {epoch} is in the future (now {now}): correct the changelog's date or the clock"
    )]
    Future {
        /// SOURCE_DATE_EPOCH.
        epoch: Timestamp,
        /// The clock.
        now: Timestamp,
    },
    /// The root cannot be recorded. The machine's fault.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Packages were installed or removed while it ran, so nobody knows what it ran in. Try again.
    #[error(
        "the machine's packages changed while the build ran (lock {before}, now {after}): build again"
    )]
    RootChanged {
        /// The root's lock at the start.
        before: FileDigest,
        /// At the end.
        after: FileDigest,
    },
    /// Limits or the sandbox stopped it; see there whether to retry.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// rpmbuild failed: the package's fault, or a build dependency is missing. The log tells.
    #[error("rpmbuild ended with status {exit_code}; the log is {log}; its end: {tail}")]
    Failed {
        /// Its exit status.
        exit_code: i32,
        /// The whole log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The build failed or gave something else where it could not write into its root, which it could when it
    /// was recorded. Never a mismatch. A machine whose kernel mounts overlays tells more.
    #[error(
        "rpmbuild ended with status {exit_code} and the build is not confirmed, which says nothing: its root is read-only here, and the recorded build could write into its root"
    )]
    NarrowRoot {
        /// Its exit status.
        exit_code: i32,
    },
    /// The build ended well but what it left is no set of packages. The package's fault.
    #[error("the build left {what}")]
    Output {
        /// What is wrong with it.
        what: String,
    },
    /// A file cannot be read or written. The machine's fault.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn io(action: String) -> impl FnOnce(std::io::Error) -> BuildError {
    move |source| BuildError::Io { action, source }
}

/// A recorded build.
#[derive(Debug)]
pub struct Recorded {
    /// The record.
    pub info: BuildInfo,
    /// Where its JSON is: `<name>-<version>-<release>.buildinfo.json`.
    pub buildinfo: PathBuf,
    /// The packages, in the order of `info.outputs`.
    pub packages: Vec<PathBuf>,
    /// The build log.
    pub log: PathBuf,
    /// When rpmbuild was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

/// Builds a source package in the sandbox and writes the packages, `….buildinfo.json` and
/// `….build.log` to `out_dir`. A log is written also when the build fails.
pub fn record(request: &BuildRequest) -> Result<Recorded, BuildError> {
    let work_dir = request.work_dir.display();
    let scratch = Scratch::create(&request.work_dir)
        .map_err(io(format!("make a directory below {work_dir}")))?;
    let srpm = scratch.dir().join("in.src.rpm");
    // The backend is asked who it is while everything else is found out; it answers once.
    let asked = std::thread::spawn(sandbox::backend_version);
    let (srpm_digest, _) = scratch::copy_readable(&request.srpm, &srpm)
        .map_err(io(format!("copy {}", request.srpm.display())))?;
    let source = plan::read_source(&srpm)?;
    let root = match &request.root {
        Some(root) => root.clone(),
        None => Root::host().map_err(RootError::from)?,
    };
    // What it says is read again for the record.
    let _ = asked.join();
    let plan = Plan::new(&source, &root.lock.rpm_version);
    refuse_future(&plan)?;

    fs::create_dir_all(&request.out_dir)
        .map_err(io(format!("make {}", request.out_dir.display())))?;
    let stem = file_stem(&source.nevra)?;
    let log = request.out_dir.join(format!("{stem}.build.log"));
    let run = Run {
        scratch: &scratch,
        limits: &request.limits,
        build_uid: request.build_uid,
        cancel: &request.cancel,
    };
    // What the macros are is for the record alone, so the build does not wait for it.
    let (evaluated, executed) = std::thread::scope(|scope| {
        let ask = || plan::evaluate(&plan, &root, &request.work_dir, request.build_uid);
        let evaluated = scope.spawn(ask);
        let executed = execute(&plan, &root, &srpm, &run, &log);
        (evaluated.join(), executed)
    });
    let executed = executed?;
    if executed.ended.exit_code != 0 {
        let tail = sandbox::log_tail(&log, QUOTED);
        return Err(BuildError::Failed {
            exit_code: executed.ended.exit_code,
            log,
            tail,
        });
    }
    let evaluated = evaluated.map_err(|_| RootError::Macros {
        said: "the thread that asks has stopped".to_owned(),
    })??;
    let built = collect(&executed.out)?;
    let backend = sandbox::chosen_backend();
    let confined = Sandbox {
        kind: sandbox::kind(backend, executed.ended.overlay),
        version: sandbox::backend_version()?,
        network: "none".to_owned(),
        build_path: plan::BUILD_PATH.to_owned(),
        limits: executed.ended.limits.to_owned(),
    };
    let info = Description {
        source: &source,
        srpm: srpm_digest,
        plan: &plan,
        root: &root,
        evaluated,
        sandbox: confined,
    }
    .info(&built);
    let (packages, buildinfo) = put_out(&request.out_dir, &stem, &built, &info)?;
    let Executed {
        started, finished, ..
    } = executed;
    Ok(Recorded {
        info,
        buildinfo,
        packages,
        log,
        started,
        finished,
    })
}

/// Copies the packages to `out_dir` and writes the buildinfo beside them; where they are.
pub(crate) fn put_out(
    out_dir: &Path,
    stem: &str,
    built: &[BuiltPackage],
    info: &BuildInfo,
) -> Result<(Vec<PathBuf>, PathBuf), BuildError> {
    let mut packages = Vec::with_capacity(built.len());
    for package in built {
        let path = out_dir.join(&package.file_name);
        scratch::copy_readable(&package.path, &path)
            .map_err(io(format!("write {}", path.display())))?;
        packages.push(path);
    }
    let path = out_dir.join(format!("{stem}.buildinfo.json"));
    fs::write(&path, info.to_json()).map_err(io(format!("write {}", path.display())))?;
    Ok((packages, path))
}

pub(crate) fn refuse_future(plan: &Plan) -> Result<(), BuildError> {
    let now = now();
    match plan.time.source_date_epoch.map(Timestamp::from_unix_secs) {
        Some(epoch) if epoch > now => Err(BuildError::Future { epoch, now }),
        _ => Ok(()),
    }
}

/// Where and within what a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Scratch space of this run.
    pub scratch: &'a Scratch,
    /// What the build may use.
    pub limits: &'a Limits,
    /// User that the build runs as when we are root.
    pub build_uid: u32,
    /// Stops the build.
    pub cancel: &'a Cancel,
}

/// A plan that was carried out; its packages are in `out`, below the scratch directory.
pub(crate) struct Executed {
    pub ended: Ended,
    pub out: PathBuf,
    pub started: Timestamp,
    pub finished: Timestamp,
}

/// Runs rpmbuild in `root` as `plan` says on `srpm`, which lies in the scratch directory.
pub(crate) fn execute(
    plan: &Plan,
    root: &Root,
    srpm: &Path,
    run: &Run<'_>,
    log: &Path,
) -> Result<Executed, BuildError> {
    let out = run
        .scratch
        .dir_of("out", run.build_uid)
        .map_err(io(format!(
            "make a directory below {}",
            run.scratch.dir().display()
        )))?;
    let macros = plan::write_macros(plan, run.scratch)?;
    let mut inputs = vec![
        (srpm.to_owned(), plan::SRPM_INSIDE.to_owned()),
        (macros.clone(), plan::MACROS_INSIDE.to_owned()),
        (macros, plan::MACROS_OF_USER.to_owned()),
    ];
    inputs.extend(shift::input(plan));
    let started = now();
    let ended = (sandbox::chosen_backend().run)(&Job {
        dir: run.scratch.dir(),
        root: &root.dir,
        inputs: &inputs,
        out: &out,
        backend_command: sandbox::backend_command(),
        command: &plan.command(),
        env: &plan.env,
        identity: &plan.identity,
        extras: Extras {
            overlay: plan.extras.overlay && root.kind == buildroot::DNF,
            ..plan.extras
        },
        limits: run.limits,
        build_uid: run.build_uid,
        log,
        cancel: run.cancel,
    })?;
    if let Some(after) = root.changed().map_err(RootError::from)? {
        let before = root.lock.sha256;
        return Err(BuildError::RootChanged { before, after });
    }
    Ok(Executed {
        ended,
        out,
        started,
        finished: now(),
    })
}

/// One package that a build left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltPackage {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name from its own header: `name-version-release.arch.rpm`.
    pub file_name: String,
    /// Identity.
    pub nevra: Nevra,
    /// The file.
    pub file: FileDigest,
    /// Its main header.
    pub header: HeaderDigest,
    /// Bytes.
    pub size_bytes: u64,
    /// Its payload as its header says, packed and unpacked.
    pub payload: (Option<FileDigest>, Option<FileDigest>),
}

/// Finds the packages below `dir`, sorted by NEVRA. Links and other files are passed over: the build
/// is not trusted.
pub(crate) fn collect(dir: &Path) -> Result<Vec<BuiltPackage>, BuildError> {
    let mut found = Vec::new();
    let mut dirs = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        let entries = fs::read_dir(&dir).map_err(io(format!("list {}", dir.display())))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && depth < 2 {
                dirs.push((path, depth + 1));
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rpm")
            {
                found.push(read_built(path)?);
            }
            if found.len() > MAX_PACKAGES {
                return Err(BuildError::Output {
                    what: format!("more than {MAX_PACKAGES} packages"),
                });
            }
        }
    }
    found.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    if let Some(pair) = found.windows(2).find(|pair| pair[0].nevra == pair[1].nevra) {
        return Err(BuildError::Output {
            what: format!("{} twice", pair[0].nevra),
        });
    }
    if found.is_empty() {
        return Err(BuildError::Output {
            what: "no package".to_owned(),
        });
    }
    Ok(found)
}

fn read_built(path: PathBuf) -> Result<BuiltPackage, BuildError> {
    let unusable = |why: &dyn std::fmt::Display| BuildError::Output {
        what: format!(
            "an unusable package {}: {why}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ),
    };
    let head = plan::read_head(&path).map_err(|error| unusable(&error))?;
    let package = Package::from_head(&head).map_err(|error| unusable(&error))?;
    let file_name = package.nevra.file_name();
    if file_name.contains(['/', '\0']) || file_name.starts_with('.') {
        return Err(unusable(&"its name is no file name"));
    }
    let (file, size_bytes) =
        scratch::hash_file(&path).map_err(io(format!("read {}", path.display())))?;
    Ok(BuiltPackage {
        file_name,
        nevra: package.nevra,
        file,
        header: package.header_digest,
        size_bytes,
        payload: (
            package
                .payload_sha256
                .as_deref()
                .and_then(|hex| hex.parse().ok()),
            package
                .payload_sha256_alt
                .as_deref()
                .and_then(|hex| hex.parse().ok()),
        ),
        path,
    })
}

pub(crate) fn file_stem(nevra: &Nevra) -> Result<String, BuildError> {
    let stem = format!("{}-{}-{}", nevra.name, nevra.evr.version, nevra.evr.release);
    if stem.contains(['/', '\0']) || stem.starts_with('.') {
        return Err(BuildError::Output {
            what: format!("a source name that is no file name: {stem:?}"),
        });
    }
    Ok(stem)
}

/// What is known of a build that ended well.
pub(crate) struct Description<'a> {
    pub source: &'a SourcePackage,
    pub srpm: FileDigest,
    pub plan: &'a Plan,
    pub root: &'a Root,
    pub evaluated: BTreeMap<String, String>,
    pub sandbox: Sandbox,
}

impl Description<'_> {
    /// Its buildinfo, with what came out.
    pub fn info(self, built: &[BuiltPackage]) -> BuildInfo {
        let Self {
            source, plan, root, ..
        } = self;
        let outputs = built.iter().map(|package| Output {
            nevra: package.nevra.clone(),
            file_sha256: package.file,
            header_sha256: package.header,
            size_bytes: package.size_bytes,
            payload_sha256: package.payload.0,
            payload_alt_sha256: package.payload.1,
        });
        let target = self.evaluated.get("_target_cpu").cloned();
        BuildInfo {
            schema: buildinfo::SCHEMA.to_owned(),
            source: Source {
                nevra: source.nevra.clone(),
                sha256: self.srpm,
                header_sha256: source.header,
                cookie: source.cookie.clone(),
            },
            rpmbuild: RpmBuild {
                version: root.lock.rpm_version.clone(),
                mode: plan.mode.to_owned(),
                argv: plan.argv.clone(),
                target: target.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            },
            macros: Macros {
                file_sha256: FileDigest::of(plan.macros.as_bytes()),
                text: plan.macros.clone(),
                evaluated: self.evaluated,
            },
            time: plan.time.clone(),
            env: plan.env.clone(),
            identity: plan.identity.clone(),
            machine: machine(),
            buildroot: Buildroot {
                kind: root.kind.to_owned(),
                lock_sha256: root.lock.sha256,
                installer: root.lock.installer.to_owned(),
                packages: root.lock.packages,
                toolchain: root.lock.toolchain.clone(),
                tree_sha256: root.tree,
                locked: root.lock.locked.clone(),
            },
            sandbox: self.sandbox,
            outputs: outputs.collect(),
        }
    }
}

pub(crate) fn machine() -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let ncpu = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine {
        arch: std::env::consts::ARCH.to_owned(),
        kernel: kernel.trim().to_owned(),
        ncpu: u32::try_from(ncpu).unwrap_or(u32::MAX),
        page_size: page_size().unwrap_or(4096),
        cpu_flags_sha256: cpu_flags(),
        memory_mib: memory_mib(),
    }
}

/// Digest of the first processor's flags, sorted, each with a newline.
fn cpu_flags() -> Option<FileDigest> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let mut flags: Vec<&str> = line.split_once(':')?.1.split_whitespace().collect();
    flags.sort_unstable();
    let lines: String = flags.iter().flat_map(|flag| [*flag, "\n"]).collect();
    Some(FileDigest::of(lines.as_bytes()))
}

fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1_024)
}

/// `KernelPageSize: 4 kB`, the first in smaps.
fn page_size() -> Option<u32> {
    let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
    let line = smaps
        .lines()
        .find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    let kilobytes: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The clock, in whole seconds.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The builder's signed SLSA provenance of a recorded build: subjects are all its packages.
///
/// * `builder_name`: the builder's name in the policy.
/// * `started`, `finished`: when rpmbuild ran, as in [`Recorded`].
pub fn provenance(
    info: &BuildInfo,
    key: &StatementKey,
    builder_name: &WorkerName,
    started: Timestamp,
    finished: Timestamp,
) -> Result<Envelope, StatementError> {
    let buildinfo = FileDigest::of(&info.to_json());
    let subjects = info.outputs.iter().map(|output| {
        Subject::unsigned_rpm(
            &output.nevra.file_name(),
            output.file_sha256,
            output.header_sha256,
        )
    });
    let predicate = Provenance {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE.to_owned(),
            external_parameters: serde_json::json!({
                "source": info.source.sha256,
                "buildinfo": buildinfo,
                "target": info.rpmbuild.target,
            }),
            internal_parameters: serde_json::json!({
                "sourceDateEpoch": info.time.source_date_epoch,
                "sandbox": info.sandbox,
            }),
            resolved_dependencies: vec![
                Resource::file(&info.source.nevra.file_name(), info.source.sha256),
                Resource::file("buildroot", info.buildroot.lock_sha256),
            ],
        },
        run_details: RunDetails {
            builder: BuilderId {
                id: format!("https://hallmark.example/builder/{builder_name}"),
            },
            metadata: RunMetadata {
                invocation_id: buildinfo.to_hex(),
                started_on: started,
                finished_on: finished,
            },
        },
    };
    Statement::new(PROVENANCE, subjects.collect(), predicate).sign(key)
}
