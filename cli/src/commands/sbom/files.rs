//! Documents of packages: one each, or one about a whole build.

use super::{
    Args, DocumentError, Named, is_stdin, read, replace, streamed, unless_failed, warnings,
};
use crate::failure::{Failure, chain};
use crate::output;
use crate::progress::Progress;
use repo_model::buildinfo::BuildInfo;
use sbom_gen::{BuildInventory, Options, SbomFormat};
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Documents of all packages, on all processors; a package that has none stops no other. What is said of them
/// comes in the order of the arguments.
pub(super) fn many(args: &Args, formats: &[&SbomFormat], options: &Options) -> Result<(), Failure> {
    let progress = Progress::items(args.files.len() as u64);
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let said = Mutex::new(InOrder::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = args.files.get(number) else {
                break;
            };
            progress.message(file.display());
            let mut lines = Vec::new();
            match to_files(file, formats, options, args.output.as_deref(), &mut lines) {
                Ok(written) => {
                    let written = written.iter().map(|path| path.display().to_string());
                    lines.extend(written.map(Line::Written));
                }
                Err(error) => {
                    let error = format!("error: {}: {}", file.display(), chain(&error));
                    lines.push(Line::Note(error));
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Whoever held it and fell has told less than was to be told, and nothing wrong.
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            for line in said.after(number, lines) {
                line.show(&progress);
            }
            progress.add(1);
        }
    };
    on_all_processors(args.files.len(), work);
    drop(progress);
    unless_failed(failed.into_inner(), args.files.len(), "have no SBOM")
}

/// Something to say about a package.
#[derive(Debug, PartialEq)]
enum Line {
    /// In any case.
    Note(String),
    /// The path of a document, where no bar shows how far it is.
    Written(String),
}

impl Line {
    fn show(&self, progress: &Progress) {
        match self {
            Self::Note(text) => progress.note(text),
            Self::Written(path) => progress.plain(path),
        }
    }
}

/// What is said of packages that are ready before those in front of them.
#[derive(Default)]
struct InOrder {
    next: usize,
    waiting: BTreeMap<usize, Vec<Line>>,
}

impl InOrder {
    /// What can be said now that this package is ready.
    fn after(&mut self, number: usize, lines: Vec<Line>) -> Vec<Line> {
        self.waiting.insert(number, lines);
        let mut ready = Vec::new();
        while let Some(lines) = self.waiting.remove(&self.next) {
            ready.extend(lines);
            self.next += 1;
        }
        ready
    }
}

/// Runs `work` on as many threads as there are processors, or pieces of work.
pub(super) fn on_all_processors(pieces: usize, work: impl Fn() + Sync) {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..processors.min(pieces) {
            scope.spawn(&work);
        }
        work();
    });
}

/// One document a format about the source package among the files and what was made from it.
pub(super) fn whole_build(
    args: &Args,
    formats: &[&SbomFormat],
    options: &Options,
) -> Result<(), Failure> {
    let progress = Progress::items(args.files.len() as u64);
    let (mut sources, mut packages) = (Vec::new(), Vec::new());
    for file in &args.files {
        progress.message(file.display());
        let found = read(file, options).map_err(|source| {
            let path = file.clone();
            Failure::failed(Named { path, source })
        })?;
        warnings(file, &found).for_each(|warning| progress.note(warning));
        match found.package.is_source {
            true => sources.push((file, found)),
            false => packages.push(found),
        }
        progress.add(1);
    }
    drop(progress);
    let [(file, source)] = sources.as_slice() else {
        let count = sources.len();
        return Err(Failure::usage(format!(
            "--build wants one source package among the files, not {count}"
        )));
    };
    let info = args.buildinfo.as_deref().map(build_info).transpose()?;
    let build = BuildInventory {
        source,
        packages: &packages,
        build_info: info.as_ref(),
    };
    let write =
        |format: &SbomFormat, out: &mut dyn Write| format.write_whole_build(&build, options, out);
    let done = match (formats, &args.output) {
        ([format], None) => streamed(|out| write(format, out)),
        (formats, folder) => formats.iter().try_for_each(|format| {
            let name = format!(
                "{}.build{}",
                source.package.nevra.file_name(),
                format.file_suffix
            );
            let name = name.replace('/', "_");
            let path = match folder {
                Some(folder) => folder.join(name),
                None => file.with_file_name(name),
            };
            replace(&path, |out| write(format, out))?;
            output::note(path.display());
            Ok(())
        }),
    };
    done.map_err(|source| {
        let path = (*file).clone();
        Failure::failed(Named { path, source })
    })
}

fn build_info(path: &Path) -> Result<BuildInfo, Failure> {
    let unusable = |why: String| {
        Failure::usage(format!(
            "cannot use the buildinfo {}: {why}",
            path.display()
        ))
    };
    let json = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    BuildInfo::from_json(&json).map_err(|error| unusable(chain(&error)))
}

/// Writes one file a format; a file that is there is replaced as a whole or not at all.
fn to_files(
    file: &Path,
    formats: &[&SbomFormat],
    options: &Options,
    folder: Option<&Path>,
    lines: &mut Vec<Line>,
) -> Result<Vec<PathBuf>, DocumentError> {
    let found = read(file, options)?;
    lines.extend(warnings(file, &found).map(Line::Note));
    let mut written = Vec::new();
    for format in formats {
        // What comes from stdin has the name that its header gives it.
        let mut name = match file.file_name() {
            Some(name) if !is_stdin(file) => name.to_owned(),
            _ => found.package.nevra.file_name().replace('/', "_").into(),
        };
        name.push(format.file_suffix);
        let path = match folder {
            Some(folder) => folder.join(name),
            None => file.with_file_name(name),
        };
        replace(&path, |out| format.write(&found, options, out))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_early_waits_for_what_stands_before_it() {
        let mut said = InOrder::default();
        let line = |number: usize| vec![Line::Written(number.to_string())];
        assert_eq!(said.after(2, line(2)), []);
        assert_eq!(said.after(1, Vec::new()), []);
        let both: Vec<Line> = line(0).into_iter().chain(line(2)).collect();
        assert_eq!(said.after(0, line(0)), both);
        assert_eq!(said.after(3, line(3)), line(3));
    }
}
