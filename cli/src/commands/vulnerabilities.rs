//! `hallmark vulnerabilities` and `hallmark vex`: what is known about vulnerabilities in a release, and the
//! documents that say whether they matter.

use super::sbom_questions::{Ask, ScopeArgs, read_file};
use crate::api::ServerArgs;
use crate::failure::Failure;
use crate::output;
use repo_model::FileDigest;
use repo_model::wire::sbom::{Advisories, Finding, Page, VexDocument};
use std::path::PathBuf;

/// Arguments of `hallmark vulnerabilities`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # What matters or may matter in what everybody gets
  hallmark vulnerabilities --release stable --status affected,under_investigation

  # One vulnerability, under any of its names, with what was stated about it
  hallmark vulnerabilities CVE-2025-22870 --json")]
pub struct Args {
    /// Only this one, under any of its names
    vulnerability: Option<String>,
    /// affected, not_affected, fixed, under_investigation; several with commas
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// Arguments of `hallmark vex`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # OpenVEX or CSAF; needs a token with the scope operate
  hallmark vex add openvex.json

  # What counts, and an end to one document
  hallmark vex list
  hallmark vex withdraw 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")]
pub struct VexArgs {
    #[command(subcommand)]
    command: VexCommand,
}

#[derive(Debug, clap::Subcommand)]
enum VexCommand {
    /// Upload a document
    #[command(after_help = "\
EXAMPLES:
  hallmark vex add openvex.json csaf.json")]
    Add {
        /// OpenVEX or CSAF (profile csaf_vex), JSON
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the documents
    #[command(after_help = "\
EXAMPLES:
  hallmark vex list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Take a document out of use
    #[command(after_help = "\
EXAMPLES:
  # The digest is the one that `hallmark vex list` shows
  hallmark vex withdraw 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")]
    Withdraw {
        /// Digest of the document
        digest: FileDigest,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `hallmark vulnerabilities`.
pub fn run(args: &Args) -> Result<(), Failure> {
    Ask::new("/api/v1/vulnerabilities", args.scope.answer())?
        .with("vulnerability", args.vulnerability.as_deref())
        .with("status", args.status.as_deref())
        .within(&args.scope)
        .answer_or(
            &[
                "VULNERABILITY",
                "STATUS",
                "PACKAGE",
                "COMPONENT",
                "FIXED IN",
                "WHY",
            ],
            finding,
            nothing,
        )
}

/// What it means that nothing was found. Without advisories it means nothing.
fn nothing(page: &Page<Finding>) -> String {
    let release = page.release;
    let found = format!("nothing is known to be vulnerable in release {release}");
    match page.advisories {
        Some(Advisories { records: 0, .. }) => format!(
            "no advisories are imported at this server, so that nothing can be said of release {release}\n\
             hint: `hallmark sbom advisories` on the server's machine imports them"
        ),
        Some(Advisories {
            records,
            imported_at: Some(at),
        }) => format!("{found}, by {records} advisories imported at {at}"),
        Some(Advisories { records, .. }) => format!("{found}, by {records} advisories"),
        // A server from before it said so.
        None => found,
    }
}

fn finding(item: &Finding) -> Vec<String> {
    let why: Vec<&str> = [&item.justification, &item.remark]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    vec![
        item.vulnerability.clone(),
        item.status.name().to_owned(),
        item.package.nevra.to_string(),
        item.component.clone(),
        item.fixed_in.clone().unwrap_or_default(),
        format!("{}: {}", item.said_by, why.join("; "))
            .trim_end_matches([':', ' '])
            .to_owned(),
    ]
}

/// Runs `hallmark vex`.
pub fn vex(args: &VexArgs) -> Result<(), Failure> {
    match &args.command {
        VexCommand::Add { files, server } => {
            let client = server.client()?;
            for file in files {
                let document: VexDocument = client.post_raw("/api/v1/vex", &read_file(file)?)?;
                output::note(format!(
                    "{}: {} statements of {} count",
                    file.display(),
                    document.statements,
                    document.name
                ));
                output::line(document.digest)?;
            }
            Ok(())
        }
        VexCommand::List { json, server } => {
            let documents: Vec<VexDocument> =
                server.client()?.get_json("/api/v1/vex?limit=1000")?;
            if *json {
                return output::json(&documents);
            }
            let heads = [
                "DIGEST",
                "FORMAT",
                "NAME",
                "ISSUED",
                "STATEMENTS",
                "WITHDRAWN",
            ];
            let mut rows = vec![heads.map(str::to_owned).to_vec()];
            rows.extend(documents.iter().map(|document| {
                vec![
                    document.digest.to_string(),
                    document.format.clone(),
                    document.name.clone(),
                    document.issued.clone(),
                    document.statements.to_string(),
                    document
                        .withdrawn_at
                        .map_or_else(String::new, |at| at.to_string()),
                ]
            }));
            output::raw(output::table(&rows).as_bytes())
        }
        VexCommand::Withdraw { digest, server } => {
            server.client()?.delete(&format!("/api/v1/vex/{digest}"))?;
            output::note(format!("VEX document {digest} does not count any more"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_advisories_nobody_says_that_nothing_is_vulnerable() {
        let said = |advisories: serde_json::Value| {
            let page = serde_json::json!({"release": 2, "items": [], "next": null, "advisories": advisories});
            nothing(&serde_json::from_value(page).unwrap())
        };
        let none = said(serde_json::json!({"records": 0, "imported_at": null}));
        assert!(none.starts_with("no advisories are imported"), "{none}");
        assert!(!none.contains("vulnerable"), "{none}");
        let some = said(serde_json::json!({"records": 7, "imported_at": "2026-11-20T10:00:00Z"}));
        assert_eq!(
            some,
            "nothing is known to be vulnerable in release 2, by 7 advisories imported at 2026-11-20T10:00:00Z"
        );
        let old = said(serde_json::Value::Null);
        assert_eq!(old, "nothing is known to be vulnerable in release 2");
    }
}
