//! `hallmark sbom reindex` and `hallmark sbom advisories`: on the server's machine, while it runs or not.

use crate::config_file::{self, ConfigArg};
use crate::failure::Failure;
use crate::output;
use repo_server::osv_import::{Imported, import};
use std::path::PathBuf;

/// Arguments of `hallmark sbom reindex`.
#[derive(Debug, clap::Args)]
pub struct ReindexArgs {
    #[command(flatten)]
    config: ConfigArg,
}

/// Arguments of `hallmark sbom advisories`.
#[derive(Debug, clap::Args)]
pub struct AdvisoriesArgs {
    /// Folder or ZIP of OSV records
    path: PathBuf,
    /// A distribution whose package names and versions are this repository's, as OSV names its
    /// ecosystem; may be repeated. Advisories of others are passed over
    #[arg(long, value_name = "ECOSYSTEM")]
    distribution: Vec<String>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs `hallmark sbom reindex`.
pub fn reindex(args: &ReindexArgs) -> Result<(), Failure> {
    let config = config_file::read(&args.config.config)?;
    runtime()?
        .block_on(repo_server::reindex(&config.server.data_dir))
        .map_err(Failure::failed)?;
    output::note("the index is empty; the server fills it again, now or when it starts");
    Ok(())
}

/// Runs `hallmark sbom advisories`.
pub fn advisories(args: &AdvisoriesArgs) -> Result<(), Failure> {
    let config = config_file::read(&args.config.config)?;
    let done = runtime()?
        .block_on(import(
            &config.server.data_dir,
            &args.path,
            &args.distribution,
        ))
        .map_err(Failure::failed)?;
    report(&done);
    Ok(())
}

fn report(done: &Imported) {
    for (name, why) in &done.unreadable {
        output::note(format!("warning: {name}: {why}"));
    }
    if done.unreadable_total > 0 {
        output::note(format!(
            "warning: {} records cannot be read",
            done.unreadable_total
        ));
    }
    if !done.other_distributions.is_empty() {
        let names = done.other_distributions.iter();
        let names: Vec<_> = names
            .map(|(name, records)| format!("{name} ({records})"))
            .collect();
        output::note(format!(
            "hint: passed over {}; name those that are yours with --distribution",
            names.join(", ")
        ));
    }
    output::note(format!(
        "{} advisories are in use; {} are about nothing that is known here",
        done.records, done.passed_over
    ));
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))
}
