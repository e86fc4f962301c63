//! The buildinfo of a build that ended well.

use super::{BuiltPackage, Input};
use crate::buildroot::Root;
use crate::plan::Plan;
use repo_model::FileDigest;
use repo_model::buildinfo::{
    self, BuildInfo, Buildroot, Machine, Macros, Output, RpmBuild, Sandbox, Source,
};
use std::collections::BTreeMap;
use std::fs;

/// What is known of a build that ended well.
pub(crate) struct Description<'a> {
    pub input: &'a Input,
    pub plan: &'a Plan,
    pub root: &'a Root,
    pub evaluated: BTreeMap<String, String>,
    pub sandbox: Sandbox,
}

impl Description<'_> {
    /// Its buildinfo, with what came out.
    pub fn info(self, built: &[BuiltPackage]) -> BuildInfo {
        let Self {
            input, plan, root, ..
        } = self;
        let source = &input.source;
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
                sha256: input.sha256,
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

fn machine() -> Machine {
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
