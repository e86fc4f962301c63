//! `hallmark waiver`: two people let a held build out, by name, with a reason and an end.

use crate::api::{Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use crate::person_key::{self, failed, write_new};
use repo_model::dsse::{Envelope, IN_TOTO_PAYLOAD_TYPE};
use repo_model::policy::waivers::{PEOPLE, WAIVABLE, Waiver};
use repo_model::policy::{Policy, Reason};
use repo_model::stage::Stage;
use repo_model::wire::status::BuildStatus;
use repo_model::{OperatorName, Timestamp};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments of `hallmark waiver`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A waiver says that certain findings do not hold the packages of one build back. It takes two people whose keys
the policy lists in [[waiver_signers]]; it has an end; and the package's verification summary names it for ever.

EXAMPLES:
  # Alice writes and signs it, Bob signs it too, anybody with an `operate` token hands it in
  hallmark waiver create --build 17 --finding rebuild-differs --finding rebuilds-missing \\
    --finding operators-missing --reason 'CVE-2026-1234: cannot wait for the clock in the manual page' --days 7 -o waiver.json
  hallmark waiver sign waiver.json --key alice.key
  hallmark waiver sign waiver.json --key bob.key
  hallmark waiver submit waiver.json")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key for waivers, and print its table for the policy
    #[command(after_help = "\
EXAMPLES:
  hallmark waiver keygen alice.key --person alice >> policy.toml")]
    Keygen {
        /// Where the private key goes; must not exist
        file: PathBuf,
        /// Whose it is: several keys of one person are one voice
        #[arg(long, value_name = "NAME")]
        person: OperatorName,
    },
    /// Write a waiver for all packages of one build; not signed yet
    #[command(after_help = "\
EXAMPLES:
  hallmark waiver create --build 17 --finding sbom-missing --reason 'the tool is being mended' -o waiver.json")]
    Create(CreateArgs),
    /// Add one person's signature
    #[command(after_help = "\
Shows what it says first; look before you publish it.

EXAMPLES:
  hallmark waiver sign waiver.json --key alice.key")]
    Sign {
        /// The waiver; changed in place
        file: PathBuf,
        /// The private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Hand a signed waiver to the server, which has the build judged again
    #[command(after_help = "\
EXAMPLES:
  HALLMARK_TOKEN=... hallmark waiver submit waiver.json")]
    Submit {
        /// The waiver
        file: PathBuf,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Number of the build, as `hallmark status` shows it
    #[arg(long, value_name = "N")]
    build: u64,
    /// Code of a finding that is set aside; may be given more than once
    #[arg(long = "finding", value_name = "CODE", required = true, value_parser = WAIVABLE)]
    findings: Vec<String>,
    /// Why; shown to everybody
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long it counts, days; the policy has a limit
    #[arg(long, default_value_t = 7, value_name = "N")]
    days: u32,
    /// Where it goes; must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Keygen { file, person } => keygen(file, person),
        Command::Create(args) => create(args),
        Command::Sign { file, key } => sign(file, key),
        Command::Submit { file, server } => {
            let envelope = read(file)?;
            server.client()?.post("/api/v1/waivers", &envelope)?;
            output::note("the waiver was taken in; its builds are judged again");
            Ok(())
        }
    }
}

fn keygen(file: &Path, person: &OperatorName) -> Result<(), Failure> {
    let key = person_key::create(file)?;
    let public = key.public().to_pem();
    output::line(format!(
        "[[waiver_signers]]\nperson = \"{person}\"\nstatement_key = \"\"\"\n{public}\"\"\"\n"
    ))
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/builds/{}", args.build);
    let client = args.server.client()?;
    let build: BuildStatus = client.get_json(&path)?;
    let open = open_findings(&build.stage, &args.findings);
    let packages: Vec<_> = build
        .packages
        .into_iter()
        .map(|package| (package.nevra, package.header))
        .collect();
    let now = now()?;
    let waiver = Waiver {
        findings: args.findings.iter().cloned().collect(),
        reason: args.reason.clone(),
        issued_on: now,
        expires_on: now.plus_secs(i64::from(args.days) * 86_400),
    };
    let payload = serde_json::to_vec(&waiver.statement(&packages)).map_err(Failure::failed)?;
    let envelope = Envelope::unsigned(IN_TOTO_PAYLOAD_TYPE, &payload);
    write_new(&args.output, &envelope.to_json(), 0o644)?;
    output::note(format!(
        "{} is about {} packages of build {} and needs two signatures",
        args.output.display(),
        packages.len(),
        args.build
    ));
    if !open.is_empty() {
        output::note(format!(
            "warning: build {} is held by {} as well, so this waiver alone does not let it out",
            args.build,
            open.join(", ")
        ));
    }
    if lacks_signers(&client) == Some(true) {
        output::note(format!(
            "warning: the policy lists fewer than {PEOPLE} people in [[waiver_signers]], so no waiver counts yet: \
             `hallmark waiver keygen` prints the table"
        ));
    }
    Ok(())
}

/// Codes of the findings that hold the build and are not set aside, each once.
fn open_findings(stage: &Stage, waived: &[String]) -> Vec<&'static str> {
    let Stage::Held { reasons } = stage else {
        return Vec::new();
    };
    let codes: BTreeSet<_> = reasons.iter().map(Reason::code).collect();
    codes
        .into_iter()
        .filter(|code| !waived.iter().any(|waived| waived == code))
        .collect()
}

/// Whether the server's policy lists too few people; `None` when it cannot be looked at, which is no reason not to
/// write a waiver.
fn lacks_signers(client: &Client) -> Option<bool> {
    let text = client.get_text("/keys/trust/policy.toml").ok()?;
    let policy = Policy::from_toml(&text).ok()?;
    let people: BTreeSet<_> = policy
        .waiver_signers
        .iter()
        .map(|signer| &signer.person)
        .collect();
    Some(people.len() < PEOPLE)
}

fn sign(file: &Path, key: &Path) -> Result<(), Failure> {
    let mut envelope = read(file)?;
    let key = person_key::read(key)?;
    let payload = envelope.unverified_payload().map_err(Failure::failed)?;
    let shown: serde_json::Value = serde_json::from_slice(&payload).map_err(Failure::failed)?;
    output::json(&shown)?;
    envelope.add_signature(&key).map_err(Failure::failed)?;
    let temporary = file.with_extension("new");
    fs::write(&temporary, envelope.to_json())
        .and_then(|()| fs::rename(&temporary, file))
        .map_err(|error| failed("write", file, &error))?;
    let count = envelope.signatures.len();
    output::note(format!("{} has {count} of 2 signatures", file.display()));
    Ok(())
}

fn read(file: &Path) -> Result<Envelope, Failure> {
    let json = fs::read(file).map_err(|error| failed("read", file, &error))?;
    Envelope::from_json(&json).map_err(Failure::failed)
}

fn now() -> Result<Timestamp, Failure> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(Failure::failed)?;
    let secs = i64::try_from(since.as_secs()).map_err(Failure::failed)?;
    Ok(Timestamp::from_unix_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};

    #[test]
    fn what_else_holds_the_build_is_told_each_once() {
        let stage: Stage = serde_json::from_value(serde_json::json!({"stage": "held", "reasons": [
            {"code": "rebuilds-missing", "have": 0, "want": 2},
            {"code": "operators-missing", "have": 0, "want": 2},
            {"code": "operators-missing", "have": 1, "want": 2},
        ]}))
        .unwrap();
        let waived = ["rebuilds-missing".to_owned()];
        assert_eq!(open_findings(&stage, &waived), ["operators-missing"]);
        let all = ["rebuilds-missing", "operators-missing"].map(str::to_owned);
        assert!(open_findings(&stage, &all).is_empty());
        assert!(open_findings(&Stage::Received, &[]).is_empty());
    }

    #[test]
    fn a_policy_without_people_for_waivers_is_noticed() {
        let policy = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\nrequire_provenance = false\n";
        let server = Server::start(move |request| match request.path.as_str() {
            "/keys/trust/policy.toml" => Answer::bytes(policy.as_bytes().to_vec()),
            _ => Answer::status(404),
        });
        let client = Client::new(&server.url(), None).unwrap();
        assert_eq!(lacks_signers(&client), Some(true));
        let silent = Server::start(|_| Answer::status(404));
        let client = Client::new(&silent.url(), None).unwrap();
        assert_eq!(lacks_signers(&client), None);
    }
}
