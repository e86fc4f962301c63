//! `hallmark sbom`: software bills of materials of local packages, as the server makes them. With a
//! question in place of packages, see [`sbom_questions`].

mod files;
mod release;

use super::sbom_questions;
use crate::config_file;
use crate::failure::Failure;
use crate::output;
use repo_model::config::Config;
use sbom_gen::{
    Inventory, OLDER_FORMATS, Options, SBOM_FORMATS, SbomError, SbomFormat, format_named, inventory,
};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Arguments of `hallmark sbom`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
EXAMPLES:
  # CycloneDX of one package, on stdout
  hallmark sbom hello-2.12-1.x86_64.rpm

  # All formats for many packages, as files in a folder
  hallmark sbom --format cyclonedx-1.6,cyclonedx-1.7,spdx-2.3,spdx-3.0.1 -o sboms/ *.rpm

  # One document about a source package and all that was built from it
  hallmark sbom --build hello-2.12-1.src.rpm hello-2.12-1.x86_64.rpm hello-doc-2.12-1.noarch.rpm

  # The same, with the toolchain that its buildinfo names
  hallmark sbom --build --buildinfo hello.buildinfo hello-2.12-1.src.rpm hello-2.12-1.x86_64.rpm

  # One document about all packages of a repository, and which of them needs which
  hallmark sbom --release https://repo.example/42 --release-name 'Example Linux' --release-version 42

  # The same of a folder of packages, with what is inside each
  hallmark sbom --release rpms/ --contents -o sboms/

  # A package that is not on disk
  curl -s https://repo.example/hello-2.12-1.x86_64.rpm | hallmark sbom --format spdx-3.0.1 -

  # Ask a server about what it has published
  hallmark sbom who-ships pkg:golang/golang.org/x/net '< 0.38'

  # The very document that the server publishes: with its [sbom] settings and public URL
  hallmark sbom --config /etc/hallmark/hallmark.toml --format spdx-2.3 hello-2.12-1.x86_64.rpm")]
pub struct Args {
    #[command(subcommand)]
    question: Option<sbom_questions::Question>,
    /// RPM packages, binary or source; - reads one from stdin
    #[arg(required_unless_present = "release", value_name = "FILE.rpm")]
    files: Vec<PathBuf>,
    /// cyclonedx-1.6, cyclonedx-1.7, spdx-2.3 or spdx-3.0.1, also cyclonedx-1.5; several with commas
    #[arg(long, value_delimiter = ',', default_value = "cyclonedx-1.6", value_parser = known_format)]
    format: Vec<String>,
    /// Write into this folder; without it one document goes to stdout, several beside the packages
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Take supplier, namespace and document addresses from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One document a format about the whole build: one source package and what was made from it
    #[arg(long)]
    build: bool,
    /// How the build was made: adds the toolchain to the document
    #[arg(long, value_name = "FILE", requires = "build")]
    buildinfo: Option<PathBuf>,
    /// One document a format about all packages of a repository: the folder or URL that holds
    /// repodata, or a folder of packages
    #[arg(long, value_name = "DIR|URL", conflicts_with_all = ["files", "build"])]
    release: Option<String>,
    #[command(flatten)]
    about: release::About,
    /// Do not list the packages' files
    #[arg(long)]
    no_files: bool,
    /// Add the hashes of the packages themselves, which signing would change (BSI TR-03183-2 asks
    /// for them)
    #[arg(long)]
    package_hashes: bool,
}

/// A package has no document.
#[derive(Debug, thiserror::Error)]
enum DocumentError {
    #[error("cannot read the package")]
    Open(#[source] io::Error),
    #[error(transparent)]
    Sbom(#[from] SbomError),
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn known_format(name: &str) -> Result<String, String> {
    let all = SBOM_FORMATS.iter().chain(OLDER_FORMATS);
    let names: Vec<_> = all.map(|format| format.name).collect();
    match format_named(name) {
        Some(format) => Ok(format.name.to_owned()),
        None => Err(format!("the formats are {}", names.join(", "))),
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(question) = &args.question {
        return sbom_questions::run(question);
    }
    let config = match &args.config {
        Some(path) => config_file::read(path)?,
        None => Config::default(),
    };
    let options = Options {
        files: !args.no_files,
        file_hashes: args.package_hashes,
        ..Options::of_operator(&config.sbom, &config.server.public_url)
    };
    let formats = formats(args);
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::failed(format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    if let Some(location) = &args.release {
        return release::run(location, args, &formats, &options);
    }
    if args.build {
        return files::whole_build(args, &formats, &options);
    }
    if let ([file], [format], None) = (args.files.as_slice(), formats.as_slice(), &args.output) {
        return to_stdout(file, format, &options).map_err(|error| {
            Failure::failed(Named {
                path: file.clone(),
                source: error,
            })
        });
    }
    match args.files.iter().filter(|file| is_stdin(file)).count() {
        0 => {}
        1 if args.output.is_some() => {}
        1 => {
            return Err(Failure::usage(
                "the documents of stdin need a folder: --output DIR",
            ));
        }
        _ => return Err(Failure::usage("stdin can be read only once")),
    }
    files::many(args, &formats, &options)
}

/// Every format once, in the order asked for.
fn formats(args: &Args) -> Vec<&'static SbomFormat> {
    let mut formats: Vec<&SbomFormat> = Vec::new();
    for format in args.format.iter().filter_map(|name| format_named(name)) {
        if !formats.iter().any(|known| known.name == format.name) {
            formats.push(format);
        }
    }
    formats
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read(file: &Path, options: &Options) -> Result<Inventory, DocumentError> {
    if is_stdin(file) {
        return Ok(inventory(io::stdin().lock(), options)?);
    }
    let package = File::open(file).map_err(DocumentError::Open)?;
    Ok(inventory(package, options)?)
}

/// Which package it was.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct Named {
    path: PathBuf,
    source: DocumentError,
}

/// What its packager should look into, a line each.
fn warnings<'a>(file: &'a Path, found: &'a Inventory) -> impl Iterator<Item = String> + 'a {
    found.conflicts.iter().map(|conflict| {
        let (declared, observed) = (&conflict.declared, &conflict.observed);
        let place = file.display();
        format!("warning: {place}: bundled() declares {declared}, the payload holds {observed}")
    })
}

fn to_stdout(file: &Path, format: &SbomFormat, options: &Options) -> Result<(), DocumentError> {
    let found = read(file, options)?;
    warnings(file, &found).for_each(output::note);
    streamed(|out| format.write(&found, options, out))
}

/// A reader of stdout that has seen enough is no failure.
fn streamed(
    write: impl FnOnce(&mut dyn Write) -> Result<(), SbomError>,
) -> Result<(), DocumentError> {
    let mut out = output::stream();
    let written = write(&mut out).and_then(|()| out.flush().map_err(SbomError::Write));
    match written {
        Err(SbomError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes a file that is there as a whole or not at all.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), SbomError>,
) -> Result<(), DocumentError> {
    let fail = |source| DocumentError::Write {
        path: path.to_owned(),
        source,
    };
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".part");
    let mut out = io::BufWriter::new(File::create(&unfinished).map_err(fail)?);
    write(&mut out)?;
    out.flush()
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(fail)
}

/// The end of a run in which some packages may have failed, each with a line of its own.
fn unless_failed(failed: usize, total: usize, what: &str) -> Result<(), Failure> {
    match failed {
        0 => Ok(()),
        _ => Err(Failure::failed(format!(
            "{failed} of {total} packages {what}; see above"
        ))),
    }
}
