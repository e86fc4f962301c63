//! `hallmark sbom`: software bills of materials of local packages, as the server makes them.

use crate::config_file;
use crate::failure::{Failure, chain};
use crate::output;
use crate::progress::Progress;
use repo_model::config::Config;
use sbom_gen::{Options, SBOM_FORMATS, SbomError, SbomFormat, Supplier, format_named, inventory};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Arguments of `hallmark sbom`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # CycloneDX of one package, on stdout
  hallmark sbom hello-2.12-1.x86_64.rpm

  # Both formats for many packages, as files in a folder
  hallmark sbom --format cyclonedx-1.6,spdx-2.3 -o sboms/ *.rpm

  # The very document that the server publishes: with its [sbom] settings and public URL
  hallmark sbom --config /etc/hallmark/hallmark.toml --format spdx-2.3 hello-2.12-1.x86_64.rpm")]
pub struct Args {
    /// RPM packages, binary or source
    #[arg(required = true, value_name = "FILE.rpm")]
    files: Vec<PathBuf>,
    /// cyclonedx-1.6 or spdx-2.3; several with commas
    #[arg(long, value_delimiter = ',', default_value = "cyclonedx-1.6", value_parser = known_format)]
    format: Vec<String>,
    /// Write into this folder; without it one document goes to stdout, several beside the packages
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Take supplier, namespace and document addresses from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
    let names: Vec<_> = SBOM_FORMATS.iter().map(|format| format.name).collect();
    match format_named(name) {
        Some(format) => Ok(format.name.to_owned()),
        None => Err(format!("the formats are {}", names.join(", "))),
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = match &args.config {
        Some(path) => config_file::read(path)?,
        None => Config::default(),
    };
    let options = options(&config);
    let mut formats: Vec<_> = args
        .format
        .iter()
        .filter_map(|name| format_named(name))
        .collect();
    formats.dedup_by_key(|format| format.name);
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::failed(format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    if let ([file], [format], None) = (args.files.as_slice(), formats.as_slice(), &args.output) {
        return to_stdout(file, format, &options).map_err(|error| {
            Failure::failed(Named {
                path: file.clone(),
                source: error,
            })
        });
    }
    let progress = Progress::items(args.files.len() as u64);
    let mut failed = 0;
    for file in &args.files {
        progress.message(file.display());
        match to_files(file, &formats, &options, args.output.as_deref()) {
            Ok(written) => written
                .iter()
                .for_each(|path| progress.plain(path.display())),
            Err(error) => {
                progress.note(format!("error: {}: {}", file.display(), chain(&error)));
                failed += 1;
            }
        }
        progress.add(1);
    }
    drop(progress);
    if failed == 0 {
        return Ok(());
    }
    let total = args.files.len();
    Err(Failure::failed(format!(
        "{failed} of {total} packages have no SBOM; see above"
    )))
}

/// Which package it was.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct Named {
    path: PathBuf,
    source: DocumentError,
}

fn options(config: &Config) -> Options {
    let sbom = &config.sbom;
    let supplier = Supplier::new(
        &sbom.supplier_name,
        &sbom.supplier_url,
        &sbom.supplier_email,
    );
    Options::new(&sbom.namespace, supplier, &config.server.public_url)
}

fn to_stdout(file: &Path, format: &SbomFormat, options: &Options) -> Result<(), DocumentError> {
    let package = File::open(file).map_err(DocumentError::Open)?;
    let found = inventory(package, options)?;
    let mut out = output::stream();
    let written = format
        .write(&found, options, &mut out)
        .and_then(|()| out.flush().map_err(SbomError::Write));
    match written {
        Err(SbomError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes one file a format; a file that is there is replaced as a whole or not at all.
fn to_files(
    file: &Path,
    formats: &[&SbomFormat],
    options: &Options,
    folder: Option<&Path>,
) -> Result<Vec<PathBuf>, DocumentError> {
    let package = File::open(file).map_err(DocumentError::Open)?;
    let found = inventory(package, options)?;
    let mut written = Vec::new();
    for format in formats {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format.file_suffix);
        let path = match folder {
            Some(folder) => folder.join(name),
            None => file.with_file_name(name),
        };
        let fail = |source| DocumentError::Write {
            path: path.clone(),
            source,
        };
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".part");
        let mut out = io::BufWriter::new(File::create(&unfinished).map_err(fail)?);
        format.write(&found, options, &mut out)?;
        out.flush()
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(fail)?;
        written.push(path);
    }
    Ok(written)
}
