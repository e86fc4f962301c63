//! `[rebuilder]`: for whom a rebuilder works, and within which limits.

use crate::{OperatorName, WorkerName};
use serde::Deserialize;
use std::path::PathBuf;

/// `[rebuilder]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RebuilderConfig {
    /// The server it works for.
    pub server_url: String,
    /// Its name in the policy.
    pub name: Option<WorkerName>,
    /// Who runs it.
    pub operator: Option<OperatorName>,
    /// Its two private keys.
    pub key_file: PathBuf,
    /// Scratch space; emptied after each job.
    pub work_dir: PathBuf,
    /// Longest build, seconds.
    pub build_secs: u64,
    /// Memory for one build, bytes.
    pub memory_bytes: u64,
    /// Scratch space for one build, bytes.
    pub disk_bytes: u64,
    /// Processes in one build.
    pub max_processes: u64,
    /// Longest build log that is kept, bytes; the end is kept when it is longer.
    pub log_bytes: u64,
    /// User id that builds run as when the rebuilder is root.
    pub build_uid: u32,
    /// Challenge profiles that it offers; the server chooses one for each rebuild. Empty: all that this
    /// machine can do.
    pub profiles: Vec<String>,
    /// What runs builds: `bwrap`, `mock` (only builds in layers of locked packages), or `exec` for a program of
    /// your own.
    pub backend: String,
    /// With `mock`: mock with its options, when it is not `mock` in the path. With `exec`: that program with its
    /// options; it gets the job's directory as its last argument.
    pub backend_command: Vec<String>,
    /// Build roots that are made of locked packages, and these packages.
    pub layers_dir: PathBuf,
    /// Those used longest ago are removed when all are larger than this, bytes.
    pub layers_bytes: u64,
}

impl Default for RebuilderConfig {
    fn default() -> Self {
        Self {
            server_url: "http://127.0.0.1:8080".to_owned(),
            name: None,
            operator: None,
            key_file: "/etc/hallmark/rebuilder.key".into(),
            work_dir: "/var/tmp/hallmark-rebuilder".into(),
            build_secs: 3_600,
            memory_bytes: 4 << 30,
            disk_bytes: 8 << 30,
            max_processes: 4_096,
            log_bytes: 16 << 20,
            build_uid: 65_534,
            profiles: Vec::new(),
            backend: "bwrap".to_owned(),
            backend_command: Vec::new(),
            layers_dir: "/var/cache/hallmark-rebuilder".into(),
            layers_bytes: 20 << 30,
        }
    }
}
