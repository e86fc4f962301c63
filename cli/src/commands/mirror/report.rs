//! What a sync tells on its way: bars and lines for people, a JSON file for programs.

use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use mirrors::sync::{Action, FileReport, Watch};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failed files that are named on stderr; the report names all.
const NAMED_FAILURES: usize = 10;

/// Shows and records how a sync gets on.
pub struct Telling {
    progress: Mutex<Option<(Progress, u64)>>,
    failures: Mutex<usize>,
    report: Option<Mutex<Report>>,
}

/// `{"files":[…],"outcome":…}`, written as it comes, so that its size costs no memory.
struct Report {
    path: PathBuf,
    fresh: PathBuf,
    out: BufWriter<File>,
    is_first: bool,
    /// The first thing that went wrong; later ones follow from it.
    failure: Option<io::Error>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Telling {
    /// `report`: where the JSON file goes.
    pub fn new(report: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self {
            progress: Mutex::new(None),
            failures: Mutex::new(0),
            report: report.map(Report::begin).transpose()?.map(Mutex::new),
        })
    }

    /// Ends the bars, and the report with what came of it all.
    pub fn finish(self, outcome: &impl Serialize) -> Result<(), Failure> {
        drop(self.progress);
        let unnamed = locked(&self.failures).saturating_sub(NAMED_FAILURES);
        if unnamed > 0 {
            output::note(format!("... and {unnamed} files more"));
        }
        match self.report {
            None => Ok(()),
            Some(report) => report
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .finish(outcome),
        }
    }

    fn line(&self, text: &str) {
        // What a repository or a server says may hold anything: nothing of it may steer a terminal.
        let safe: String = text
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        match &*locked(&self.progress) {
            Some((progress, _)) => progress.note(safe),
            None => output::note(safe),
        }
    }
}

impl Watch for Telling {
    fn step(&self, what: &str) {
        let mut progress = locked(&self.progress);
        *progress = None;
        let spinner = Progress::spinner();
        spinner.message(what);
        *progress = Some((spinner, 0));
    }

    fn expect(&self, bytes: u64) {
        let mut progress = locked(&self.progress);
        if bytes > 0 {
            *progress = None;
            let bar = Progress::bytes(bytes);
            bar.message("fetching");
            *progress = Some((bar, bytes));
        }
    }

    fn came(&self, bytes: u64) {
        if let Some((bar, total)) = &*locked(&self.progress)
            && *total > 0
        {
            bar.add(bytes);
        }
    }

    fn take_back(&self, bytes: u64) {
        if let Some((bar, _)) = &*locked(&self.progress) {
            bar.take_back(bytes);
        }
    }

    fn note(&self, text: &str) {
        self.line(text);
    }

    fn file(&self, file: &FileReport<'_>) {
        if file.action == Action::Failed {
            let mut failures = locked(&self.failures);
            *failures += 1;
            if *failures <= NAMED_FAILURES {
                self.line(&format!("{}: {}", file.path, file.problems.join("; ")));
            }
        }
        if let Some(report) = &self.report {
            locked(report).add(file);
        }
    }
}

impl Report {
    fn begin(path: &Path) -> Result<Self, Failure> {
        let fresh = path.with_extension("json.new");
        let file = File::create(&fresh).map_err(|error| {
            Failure::usage(format!(
                "cannot write the report {}: {error}",
                fresh.display()
            ))
        })?;
        let mut out = BufWriter::new(file);
        let failure = out.write_all(b"{\"files\":[").err();
        Ok(Self {
            path: path.to_owned(),
            fresh,
            out,
            is_first: true,
            failure,
        })
    }

    fn add(&mut self, file: &FileReport<'_>) {
        if self.failure.is_some() {
            return;
        }
        let separator: &[u8] = if self.is_first { b"\n" } else { b",\n" };
        self.is_first = false;
        let written = self.out.write_all(separator);
        let written = written.and_then(|()| Ok(serde_json::to_writer(&mut self.out, file)?));
        self.failure = written.err();
    }

    fn finish(mut self, outcome: &impl Serialize) -> Result<(), Failure> {
        let ended = match self.failure.take() {
            Some(error) => Err(error),
            None => self.end(outcome),
        };
        ended.map_err(|error| {
            Failure::failed(format!(
                "cannot write the report {}: {error}",
                self.path.display()
            ))
        })
    }

    fn end(&mut self, outcome: &impl Serialize) -> io::Result<()> {
        self.out.write_all(b"\n],\n\"outcome\":")?;
        serde_json::to_writer(&mut self.out, outcome)?;
        self.out.write_all(b"}\n")?;
        self.out.flush()?;
        std::fs::rename(&self.fresh, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_json_that_names_every_file_and_the_outcome() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.json");
        let telling = Telling::new(Some(&path)).unwrap();
        for (path, action) in [("a.rpm", Action::Fetched), ("b.rpm", Action::Failed)] {
            telling.file(&FileReport {
                path,
                action,
                size_bytes: Some(1),
                sha256: None,
                upstream: None,
                fetched_bytes: None,
                problems: &["x".to_owned()],
            });
        }
        assert!(!path.exists());
        telling.finish(&"done").unwrap();
        let text = std::fs::read(&path).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(report["files"][1]["path"], "b.rpm");
        assert_eq!(report["files"][0]["action"], "fetched");
        assert_eq!(report["outcome"], "done");
    }
}
