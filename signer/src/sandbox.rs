//! The signer locks itself in: after keys and journal are open and the socket is bound it gives up
//! what it does not need, so that a bug in reading hostile headers cannot be used to reach out.
//!
//! * Landlock: no file can be opened but those below `state_dir` and, to read, those beside the
//!   policy; no TCP.
//! * seccomp: no socket but Unix ones, no new program, no tracing, no io_uring (which could open
//!   sockets past the filter), no kernel interfaces that a signer has no use for.
//!
//! Both hold for the calling thread and every thread it starts later. Where the kernel has neither,
//! the log says so and the signer runs on: the service file asks systemd for the same.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use repo_model::config::SignerConfig;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Newest kernel interface whose rules are asked for; older kernels enforce what they know.
const LANDLOCK_ABI: ABI = ABI::V6;

/// System calls that nothing here needs. They fail with EPERM.
static DENIED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
];

/// The sandbox could not be built, on a kernel that has what it needs. Ours.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Landlock.
    #[error("cannot apply the Landlock rules")]
    Landlock(#[from] RulesetError),
    /// seccomp.
    #[error("cannot build the seccomp filter")]
    Seccomp(#[from] seccompiler::BackendError),
}

/// What holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// `full`, `partial` or `none`.
    pub landlock: &'static str,
    /// Whether the system call filter is in force.
    pub seccomp: bool,
}

/// Confines the calling thread and its future children.
pub fn confine(config: &SignerConfig) -> Result<Confinement, SandboxError> {
    let landlock = match apply_landlock(config)? {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    };
    Ok(Confinement {
        landlock,
        seccomp: apply_seccomp()?,
    })
}

fn apply_landlock(config: &SignerConfig) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::from_all(LANDLOCK_ABI))?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    let journal = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::Truncate;
    let socket_dir = config.socket.parent().unwrap_or(Path::new("/"));
    let policy_dir = config.policy_file.parent().unwrap_or(Path::new("."));
    let allowed: [(&Path, BitFlags<AccessFs>); 3] = [
        (&config.state_dir, journal),
        // To read the policy again.
        (policy_dir, AccessFs::ReadFile.into()),
        // To take the socket away at the end.
        (socket_dir, AccessFs::RemoveFile.into()),
    ];
    for (path, access) in allowed {
        if let Ok(fd) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    // What a token's module keeps its state in; it makes and removes files of its own there.
    let module_state = journal | AccessFs::MakeReg | AccessFs::RemoveFile;
    for path in config.pkcs11.iter().flat_map(|token| &token.paths) {
        if let Ok(fd) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(fd, module_state))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// `false` when this kernel or processor has no filters.
fn apply_seccomp() -> Result<bool, SandboxError> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(false);
    };
    match seccompiler::apply_filter(&filter(arch)?) {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::warn!("no seccomp filter: {error}");
            Ok(false)
        }
    }
}

fn filter(arch: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let not_unix = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        libc::AF_UNIX as u64,
    )?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in with_x32(libc::SYS_socket) {
        rules.insert(call, vec![SeccompRule::new(vec![not_unix.clone()])?]);
    }
    for call in DENIED.iter().copied().flat_map(with_x32) {
        rules.insert(call, Vec::new());
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

/// On x86_64 every call has a second number, of the x32 interface.
fn with_x32(call: libc::c_long) -> impl Iterator<Item = i64> {
    const X32: i64 = 0x4000_0000;
    let second = cfg!(target_arch = "x86_64").then_some(call | X32);
    std::iter::once(call).chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_confined_thread_has_no_network_no_programs_and_no_foreign_files() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = tempfile::NamedTempFile::new().unwrap();
        let foreign = foreign.path().to_owned();
        std::fs::write(dir.path().join("mine"), b"x").unwrap();
        let config = SignerConfig {
            state_dir: dir.path().to_owned(),
            socket: dir.path().join("socket"),
            policy_file: dir.path().join("policy.toml"),
            ..SignerConfig::default()
        };
        // In a thread of its own: nothing lifts a sandbox.
        let check = move || {
            let confinement = confine(&config).unwrap();
            if confinement.seccomp {
                let refused = TcpListener::bind("127.0.0.1:0").unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
                let refused = std::process::Command::new("/bin/true")
                    .status()
                    .unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
                UnixStream::pair().unwrap();
            } else {
                eprintln!("SKIPPED: no seccomp on this kernel");
            }
            if confinement.landlock == "none" {
                eprintln!("SKIPPED: no Landlock on this kernel");
            } else {
                assert!(std::fs::read(&foreign).is_err());
            }
            assert_eq!(std::fs::read(config.state_dir.join("mine")).unwrap(), b"x");
        };
        std::thread::spawn(check).join().unwrap();
    }
}
