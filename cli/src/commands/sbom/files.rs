//! Documents of packages: one each, or one about a whole build.

use super::{Args, DocumentError, Named, is_stdin, read, replace, streamed, unless_failed};
use crate::failure::{Failure, chain};
use crate::output;
use crate::progress::Progress;
use repo_model::buildinfo::BuildInfo;
use sbom_gen::{BuildInventory, Options, SbomFormat};
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Documents of all packages, on all processors; a package that has none stops no other.
pub(super) fn many(args: &Args, formats: &[&SbomFormat], options: &Options) -> Result<(), Failure> {
    let progress = Progress::items(args.files.len() as u64);
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(file) = args.files.get(next.fetch_add(1, Ordering::Relaxed)) {
            progress.message(file.display());
            match to_files(file, formats, options, args.output.as_deref(), &progress) {
                Ok(written) => written
                    .iter()
                    .for_each(|path| progress.plain(path.display())),
                Err(error) => {
                    progress.note(format!("error: {}: {}", file.display(), chain(&error)));
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            progress.add(1);
        }
    };
    on_all_processors(args.files.len(), work);
    drop(progress);
    unless_failed(failed.into_inner(), args.files.len(), "have no SBOM")
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
    progress: &Progress,
) -> Result<Vec<PathBuf>, DocumentError> {
    let found = read(file, options)?;
    for conflict in &found.conflicts {
        let (declared, observed) = (&conflict.declared, &conflict.observed);
        let text = format!("bundled() declares {declared}, the payload holds {observed}");
        progress.note(format!("warning: {}: {text}", file.display()));
    }
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
