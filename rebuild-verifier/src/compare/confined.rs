//! Comparing payloads where they can do no harm.
//!
//! Unpacking what somebody else built runs decompressors and archive readers on hostile bytes. A
//! rebuilder holds keys, so it has this done by another process of its own program, in the sandbox that
//! builds run in: without network, keys or other files, with limits on time, memory and processes.

use super::{CompareError, Comparison, Context};
use crate::plan;
use crate::sandbox::{self, Cancel, Job, Limits, OUT_DIR, SandboxError};
use crate::scratch::Scratch;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The parts inside.
const PROGRAM: &str = "/builddir/compare";
const EXPECTED: &str = "/builddir/expected.rpm";
const REBUILT: &str = "/builddir/rebuilt.rpm";
const CONTEXT: &str = "/builddir/context.json";
const RESULT: &str = "comparison.json";
/// What a comparison may use, when the build's limits are not lower.
const LIMITS: Limits = Limits {
    build_secs: 1_800,
    memory_bytes: 2 << 30,
    disk_bytes: 64 << 20,
    max_processes: 64,
    log_bytes: 64 << 10,
};
/// Longest result that is read, bytes.
const MAX_RESULT: u64 = 4 << 20;
/// Of a failed comparison's words, what is quoted, bytes.
const QUOTED: u64 = 1 << 10;

/// Has packages compared by a confined process.
#[derive(Debug, Clone)]
pub struct Comparer {
    /// A program with the command `compare` of `hallmark-rebuilder`, to be started confined.
    pub program: PathBuf,
    /// Scratch space.
    pub work_dir: PathBuf,
    /// User that it runs as when we are root.
    pub build_uid: u32,
}

impl Comparer {
    /// As [`super::compare`], but in this process only headers are read; payloads are unpacked in the
    /// other one.
    pub fn compare(
        &self,
        expected: &Path,
        rebuilt: &Path,
        context: &Context,
        cancel: &Cancel,
    ) -> Result<Comparison, CompareError> {
        if let Some(done) = super::compare_heads(expected, rebuilt)? {
            return Ok(done);
        }
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CompareError::Io { path, source }
        };
        let scratch = Scratch::create(&self.work_dir).map_err(io(&self.work_dir))?;
        let file = |name: &str| scratch.dir().join(name);
        for (from, name) in [(expected, "expected.rpm"), (rebuilt, "rebuilt.rpm")] {
            crate::scratch::copy_readable(from, &file(name)).map_err(io(from))?;
        }
        // The program may lie where the build user cannot go.
        fs::copy(&self.program, file("compare")).map_err(io(&self.program))?;
        let json = serde_json::to_vec(context).unwrap_or_default();
        fs::write(file("context.json"), json).map_err(io(&file("context.json")))?;
        for name in ["compare", "context.json"] {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(file(name), fs::Permissions::from_mode(0o755))
                .map_err(io(&file(name)))?;
        }
        self.run(&scratch, cancel)
    }

    fn run(&self, scratch: &Scratch, cancel: &Cancel) -> Result<Comparison, CompareError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CompareError::Io { path, source }
        };
        let out = scratch
            .dir_of("compared", self.build_uid)
            .map_err(io(scratch.dir()))?;
        let inputs = [
            ("compare", PROGRAM),
            ("expected.rpm", EXPECTED),
            ("rebuilt.rpm", REBUILT),
            ("context.json", CONTEXT),
        ];
        let result = format!("{OUT_DIR}/{RESULT}");
        let words = [
            PROGRAM,
            "compare",
            EXPECTED,
            REBUILT,
            "--context",
            CONTEXT,
            "--output",
            &result,
        ];
        let log = scratch.dir().join("compare.log");
        let ended = (sandbox::REBUILD_BACKENDS[0].run)(&Job {
            dir: scratch.dir(),
            root: Path::new("/"),
            inputs: &inputs.map(|(name, inside)| (scratch.dir().join(name), inside.to_owned())),
            out: &out,
            backend_command: &[],
            command: &words.map(str::to_owned),
            env: &BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            identity: &plan::identity(),
            extras: sandbox::Extras::default(),
            limits: &LIMITS,
            build_uid: self.build_uid,
            log: &log,
            cancel,
        })?;
        if ended.exit_code != 0 {
            return Err(CompareError::Confined {
                exit_code: ended.exit_code,
                said: sandbox::log_tail(&log, QUOTED).trim().to_owned(),
            });
        }
        let path = out.join(RESULT);
        let unusable = |said: String| CompareError::Confined { exit_code: 0, said };
        if fs::metadata(&path).is_ok_and(|found| found.len() > MAX_RESULT) {
            return Err(unusable(format!(
                "its result is longer than {MAX_RESULT} bytes"
            )));
        }
        let json = fs::read(&path).map_err(io(&path))?;
        serde_json::from_slice(&json).map_err(|error| unusable(format!("its result: {error}")))
    }
}

impl From<SandboxError> for CompareError {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(Box::new(error))
    }
}
