//! `hallmark repo check`: is a repository what its metadata says?

use super::createrepo::{now, workers};
use super::repo_check_http::HttpSource;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::PackageBar;
use repo_server::repocheck::{
    Certificate, CheckError, CheckOptions, Directory, Finding, Packages, Report, Severity, Source,
    check,
};
use std::path::{Path, PathBuf};

/// Arguments of `hallmark repo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Is everything there that this repository lists?
  hallmark repo check /srv/repo")]
pub struct Args {
    #[command(subcommand)]
    command: RepoCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RepoCommand {
    /// Compare a repository's files with what its metadata says of them
    Check(CheckArgs),
}

/// Arguments of `hallmark repo check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # A directory: metadata and presence of all packages, and some packages in full
  hallmark repo check /srv/repo

  # Before a mirror is announced: every byte, and the signature
  hallmark repo check --packages all --gpgkey RPM-GPG-KEY-example https://mirror.example/repo

  # For a script
  hallmark repo check --json /srv/repo | jq '.findings[].code'

Exit code 0: no errors (warnings may be there); 1: errors; 3: the server cannot be reached.")]
struct CheckArgs {
    /// The directory that holds repodata, or its URL
    #[arg(value_name = "DIR|URL")]
    location: String,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
    /// Which packages to look at: none, sample or all
    #[arg(long, value_name = "WHICH", default_value = "sample", value_parser = packages)]
    packages: Packages,
    /// OpenPGP keys, of which one must have signed repomd.xml; may be repeated
    #[arg(long, value_name = "FILE")]
    gpgkey: Vec<PathBuf>,
    /// The keys must have made every signature of each package that is read, too
    #[arg(long, requires = "gpgkey")]
    package_signatures: bool,
    /// Threads that read packages [default: as many as there are processors]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

fn packages(which: &str) -> Result<Packages, String> {
    match which {
        "none" => Ok(Packages::None),
        "sample" => Ok(Packages::Sample),
        "all" => Ok(Packages::All),
        _ => Err("want none, sample or all".to_owned()),
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let RepoCommand::Check(args) = &args.command;
    let source = source(&args.location)?;
    let options = CheckOptions {
        packages: args.packages,
        keys: keys(&args.gpgkey)?,
        package_signatures: args.package_signatures,
        now: now(),
        workers: workers(args.workers),
    };
    let bar = PackageBar::new("looking at packages");
    let outcome = check(source.as_ref(), &options, &bar);
    drop(bar);
    let report = outcome.map_err(|error| match error {
        CheckError::Unreachable(_) => Failure::new(Exit::Unreachable, error),
    })?;
    if args.json {
        output::json(&report)?;
    } else {
        output::raw(text(&report).as_bytes())?;
    }
    match report.errors {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "the repository is not what its metadata says: {count} errors"
        ))),
    }
}

/// A directory, or what lies below a URL.
pub(super) fn source(location: &str) -> Result<Box<dyn Source>, Failure> {
    let path = match location.strip_prefix("file://") {
        Some(path) => path,
        None if location.contains("://") => return Ok(Box::new(HttpSource::new(location)?)),
        None => location,
    };
    if !Path::new(path).is_dir() {
        return Err(Failure::usage(format!("{path} is no directory")));
    }
    Ok(Box::new(Directory::new(path)))
}

/// The certificates of all files.
pub(super) fn keys(paths: &[PathBuf]) -> Result<Vec<Certificate>, Failure> {
    let mut keys = Vec::new();
    for path in paths {
        let unusable =
            |why: String| Failure::usage(format!("cannot use the key {}: {why}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let read = Certificate::all_from_bytes(&bytes);
        keys.append(&mut read.map_err(|error| unusable(crate::failure::chain(&error)))?);
    }
    Ok(keys)
}

/// The report for people: a line for each finding, a line at the end.
pub(super) fn text(report: &Report) -> String {
    let mut out: String = report.findings.iter().map(line).collect();
    let kept = report.findings.len() as u64;
    let all = report.errors + report.warnings;
    if all > kept {
        out.push_str(&format!("... and {} more of the same kinds\n", all - kept));
    }
    let signature = if report.signature_verified {
        "; signature good"
    } else {
        ""
    };
    out.push_str(&format!(
        "{} metadata files, {} packages, {} of them found, {} read; {} errors, {} warnings{signature}\n",
        report.files.len(),
        report.packages,
        report.packages_found,
        report.packages_read,
        report.errors,
        report.warnings
    ));
    out
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = match finding.offset {
        Some(offset) => format!("{}, byte {offset}", finding.file),
        None => finding.file.clone(),
    };
    let package = match &finding.package {
        Some(package) => format!(" ({package})"),
        None => String::new(),
    };
    // What a repository says may hold anything: nothing of it may steer a terminal.
    let text = format!("{place}: {}{package}", finding.message);
    let safe: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    format!("{severity}[{}] {safe}\n", finding.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_cannot_steer_a_terminal() {
        let finding = Finding {
            severity: Severity::Error,
            code: "package-missing",
            file: "a\x1b[31m.rpm".to_owned(),
            offset: Some(7),
            package: Some("a-1-1.noarch".to_owned()),
            message: "gone\nfor good".to_owned(),
        };
        assert_eq!(
            line(&finding),
            "error[package-missing] a\u{fffd}[31m.rpm, byte 7: gone\u{fffd}for good (a-1-1.noarch)\n"
        );
    }
}
