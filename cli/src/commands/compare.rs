//! `hallmark compare`: two files of one package, and why they differ.

use crate::failure::Failure;
use crate::output;
use hallmark_rebuilder::compare;
use std::path::PathBuf;

/// Arguments of `hallmark compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints JSON: the verdict (identical, identical-unsigned, same-content, same-files, differs) and causes with
file, tag and what to change. Signatures do not matter.

EXAMPLES:
  hallmark compare theirs/hello-2.12-1.x86_64.rpm ours/hello-2.12-1.x86_64.rpm")]
pub struct Args {
    /// The package as it was built, or published
    #[arg(value_name = "RPM")]
    expected: PathBuf,
    /// The package as it was made again
    #[arg(value_name = "REBUILT_RPM")]
    rebuilt: PathBuf,
    /// What is known of the two builds, JSON
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Write the result here instead of to stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let json = compare::compare_to_json(&args.expected, &args.rebuilt, args.context.as_deref())
        .map_err(Failure::failed)?;
    match &args.output {
        Some(path) => std::fs::write(path, json)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display()))),
        None => output::raw(&json),
    }
}
