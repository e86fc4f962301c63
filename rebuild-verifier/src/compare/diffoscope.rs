//! What diffoscope says of two packages, where it is installed: for people, never for a verdict.

use super::confined::Comparer;
use crate::plan;
use crate::profile;
use crate::sandbox::{self, Cancel, Job, Limits};
use crate::scratch::Scratch;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Longest report, bytes; diffoscope says in it what it left out.
const MAX_REPORT: u64 = 1 << 20;
/// It unpacks into scratch space and starts a tool for each kind of file.
const LIMITS: Limits = Limits {
    build_secs: 600,
    memory_bytes: 2 << 30,
    disk_bytes: 1 << 30,
    max_processes: 256,
    log_bytes: 64 << 10,
};
/// Status 1 says that they differ, which is known.
const LINE: &str = "diffoscope --no-progress --text /builddir/out/report --max-text-report-size \"$0\" \
                    --timeout 500 /builddir/built.rpm /builddir/rebuilt.rpm; test $? -le 1";

impl Comparer {
    /// diffoscope's report on two packages, at most 1 MiB; `None` when it is not installed or has
    /// nothing to say within its limits. Runs as confined as [`Comparer::compare`].
    pub fn diffoscope(&self, expected: &Path, rebuilt: &Path, cancel: &Cancel) -> Option<Vec<u8>> {
        profile::installed(Path::new("/"), "diffoscope").ok()?;
        let said = self.run_diffoscope(expected, rebuilt, cancel);
        if let Err(error) = &said {
            tracing::warn!("no report of diffoscope: {error}");
        }
        said.ok()
    }

    fn run_diffoscope(
        &self,
        expected: &Path,
        rebuilt: &Path,
        cancel: &Cancel,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let scratch = Scratch::create(&self.work_dir)?;
        let (built, again) = (
            scratch.dir().join("built.rpm"),
            scratch.dir().join("rebuilt.rpm"),
        );
        crate::scratch::copy_readable(expected, &built)?;
        crate::scratch::copy_readable(rebuilt, &again)?;
        let out = scratch.dir_of("report", self.build_uid)?;
        let log = scratch.dir().join("diffoscope.log");
        let env = [
            ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
            ("HOME", "/builddir"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
        ];
        let ended = (sandbox::REBUILD_BACKENDS[0].run)(&Job {
            dir: scratch.dir(),
            root: Path::new("/"),
            inputs: &[
                (built, "/builddir/built.rpm".to_owned()),
                (again, "/builddir/rebuilt.rpm".to_owned()),
            ],
            out: &out,
            backend_command: &[],
            command: &["sh", "-c", LINE, &MAX_REPORT.to_string()].map(str::to_owned),
            env: &BTreeMap::from(env.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            identity: &plan::identity(),
            extras: sandbox::Extras::default(),
            limits: &LIMITS,
            build_uid: self.build_uid,
            log: &log,
            cancel,
        })?;
        if ended.exit_code != 0 {
            return Err(sandbox::log_tail(&log, 400).trim().to_owned().into());
        }
        let path = out.join("report");
        if !path.exists() {
            return Err("it sees no difference".into());
        }
        let mut report = Vec::new();
        File::open(&path)?
            .take(MAX_REPORT)
            .read_to_end(&mut report)?;
        Ok(report)
    }
}
