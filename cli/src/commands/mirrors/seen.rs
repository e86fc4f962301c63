//! `hallmark mirrors seen`: what was seen of mirrors, by a statement that the signer signed.

use super::super::createrepo::now;
use crate::api::ServerArgs;
use crate::failure::{Failure, chain};
use crate::output;
use repo_model::dsse::Envelope;
use repo_model::sightings::{self, PATH, Sightings};
use std::path::PathBuf;

/// Arguments of `hallmark mirrors seen`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # The key is at /keys/statement.pub; compare it by another way
  hallmark mirrors seen --key statement.pub

  # A statement that was kept
  hallmark mirrors seen --key statement.pub --file seen.json

Exit code 0: one of the keys signed it and it holds now; 1: not.")]
pub struct SeenArgs {
    /// Public key of statements (PEM), of which one must have signed it; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// Read the statement from this file, and ask nobody
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &SeenArgs) -> Result<(), Failure> {
    let keys = super::super::mirror::statement_keys(&args.key)?;
    let text = match &args.file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?,
        None => args.server.client()?.get_text(PATH)?,
    };
    let envelope = Envelope::from_json(text.as_bytes())
        .map_err(|error| Failure::failed(format!("this is no statement: {}", chain(&error))))?;
    let said = sightings::open(&envelope, &keys, now()).map_err(Failure::failed)?;
    if args.json {
        return output::json(&said);
    }
    output::note(format!(
        "said by the signer at {}, good until {}",
        said.issued, said.expires
    ));
    output::raw(table(&said).as_bytes())
}

fn table(said: &Sightings) -> String {
    let head = [
        "MIRROR",
        "CHANNEL",
        "REPO",
        "ARCH",
        "RELEASE",
        "LOOKED AT",
        "LISTED",
        "WHY",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for mirror in &said.mirrors {
        let listed = if mirror.listed { "yes" } else { "no" };
        let name = mirror.name.to_string();
        if mirror.places.is_empty() {
            let nothing = ["-"; 5].map(str::to_owned);
            let mut row = vec![name.clone()];
            row.extend(nothing);
            row.extend([
                listed.to_owned(),
                "nothing of this repository was seen".to_owned(),
            ]);
            rows.push(row);
        }
        rows.extend(mirror.places.iter().map(|place| {
            vec![
                name.clone(),
                place.channel.to_string(),
                place.repo.to_string(),
                place.arch.to_string(),
                place.release.to_string(),
                place.checked.to_string(),
                listed.to_owned(),
                place.trouble.clone().unwrap_or_default(),
            ]
        }));
    }
    output::table(&rows)
}
