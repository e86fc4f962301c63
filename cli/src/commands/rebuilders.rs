//! `hallmark rebuilders`: who rebuilds, who asks to be let in, and who gets work.

use crate::api::{Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use hallmark_rebuilder::keys;
use repo_model::WorkerName;
use repo_model::wire::rebuilders::{Decide, Mode, RebuilderStatus, SetMode, Standing};
use repo_model::wire::worker::RequestPublicKey;

/// Shortest beginning of a key that names it, hex digits.
const MIN_KEY_DIGITS: usize = 16;

/// Arguments of `hallmark rebuilders`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A rebuilder whose standing is `policy` counts towards the quorum. One that is `approved` gets work, and what
it says is shown, but does not count until the policy lists it: `approve` prints the table for that.

EXAMPLES:
  # Who rebuilds, and who asks to
  hallmark rebuilders list

  # Let one in whose key its operator read out to you
  hallmark rebuilders approve rb-c --key 5d3b0c64a1f29e77 >>policy.toml

  # No new work for it, for a while; or for good
  hallmark rebuilders pause rb-a
  hallmark rebuilders drain rb-a
  hallmark rebuilders resume rb-a")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List all rebuilders
    #[command(after_help = "EXAMPLES:\n  hallmark rebuilders list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a rebuilder work; prints the table that would make its word count
    #[command(after_help = "EXAMPLES:\n  hallmark rebuilders approve rb-c --key 5d3b0c64a1f29e77")]
    Approve(DecideArgs),
    /// Turn a rebuilder away, also one that was let in
    #[command(after_help = "EXAMPLES:\n  hallmark rebuilders reject rb-c --key 5d3b0c64a1f29e77")]
    Reject(DecideArgs),
    /// Give a rebuilder no new rebuilds; builds go on waiting for it
    #[command(after_help = "EXAMPLES:\n  hallmark rebuilders pause rb-a")]
    Pause(ModeArgs),
    /// Give a rebuilder no new rebuilds and let no build wait for it; it still tells its answers
    #[command(after_help = "EXAMPLES:\n  hallmark rebuilders drain rb-a")]
    Drain(ModeArgs),
    /// Give a rebuilder work again
    #[command(after_help = "EXAMPLES:\n  hallmark rebuilders resume rb-a")]
    Resume(ModeArgs),
}

#[derive(Debug, clap::Args)]
struct DecideArgs {
    /// Its name
    name: WorkerName,
    /// The beginning of its request key, 16 hex digits or more, from its operator and not from this
    /// server's list: anybody can ask under any name
    #[arg(long, value_name = "HEX")]
    key: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct ModeArgs {
    /// Its name
    name: WorkerName,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::List { json, server } => list(&server.client()?, *json),
        Command::Approve(args) => approve(args),
        Command::Reject(args) => {
            let client = args.server.client()?;
            let found = asking(&client, args)?;
            decide(&client, &found, "reject")?;
            output::note(format!("{} is turned away", args.name));
            Ok(())
        }
        Command::Pause(args) => set_mode(args, Mode::Paused),
        Command::Drain(args) => set_mode(args, Mode::Draining),
        Command::Resume(args) => set_mode(args, Mode::Active),
    }
}

fn all(client: &Client) -> Result<Vec<RebuilderStatus>, Failure> {
    Ok(client.get_json("/api/v1/rebuilders")?)
}

fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let all = all(client)?;
    if json {
        return output::json(&all);
    }
    output::raw(table(&all).as_bytes())
}

fn table(all: &[RebuilderStatus]) -> String {
    let head = [
        "NAME",
        "OPERATOR",
        "STANDING",
        "MODE",
        "LEASED",
        "SEALED",
        "LAST SEEN",
        "REQUEST KEY",
        "CONTACT",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|row| {
        let key = row.request_key.as_ref();
        vec![
            row.name.to_string(),
            row.operator.to_string(),
            row.standing.name().to_owned(),
            mode(row).to_owned(),
            row.leased.to_string(),
            row.sealed.to_string(),
            row.last_seen
                .map_or_else(|| "never".to_owned(), |at| at.to_string()),
            key.map_or_else(|| "none".to_owned(), RequestPublicKey::to_string),
            row.contact.clone().unwrap_or_default(),
        ]
    }));
    output::table(&rows)
}

/// How it is treated; of one that may work and has never asked for any, that builds wait for nobody yet.
fn mode(row: &RebuilderStatus) -> &'static str {
    let may_work = matches!(row.standing, Standing::Policy | Standing::Approved);
    match (row.mode, row.last_seen) {
        (Mode::Active, None) if may_work => "not started",
        (mode, _) => mode.name(),
    }
}

/// The one that asks under this name with this key.
fn asking(client: &Client, args: &DecideArgs) -> Result<Asking, Failure> {
    choose(all(client)?, &args.name, &args.key)
}

/// A rebuilder that has a request key.
#[derive(Debug)]
struct Asking {
    status: RebuilderStatus,
    request_key: RequestPublicKey,
}

fn choose(all: Vec<RebuilderStatus>, name: &WorkerName, key: &str) -> Result<Asking, Failure> {
    let key = key.to_ascii_lowercase();
    if key.len() < MIN_KEY_DIGITS || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "`{key}` does not name a key: want {MIN_KEY_DIGITS} hex digits or more"
        ))
        .with_hint("`hallmark-rebuilder enrol` prints it on the rebuilder's machine"));
    }
    let fits = |status: RebuilderStatus| {
        let request_key = status.request_key.clone()?;
        let fits = status.name == *name
            && status.standing != Standing::Policy
            && request_key.to_string().starts_with(&key);
        fits.then_some(Asking {
            status,
            request_key,
        })
    };
    let mut found: Vec<Asking> = all.into_iter().filter_map(fits).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Failure::usage(format!(
            "more than one {name} asks with a key that begins with {key}"
        ))
        .with_hint("give more digits")),
        (None, _) => Err(Failure::failed(format!(
            "no {name} asks to be let in with a key that begins with {key}"
        ))
        .with_hint("`hallmark rebuilders list` shows who asks")),
    }
}

fn decide(client: &Client, found: &Asking, what: &str) -> Result<(), Failure> {
    let body = Decide {
        request_key: found.request_key.clone(),
    };
    client.post(
        &format!("/api/v1/rebuilders/{}/{what}", found.status.name),
        &body,
    )?;
    Ok(())
}

fn approve(args: &DecideArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    let found = asking(&client, args)?;
    decide(&client, &found, "approve")?;
    output::note(format!(
        "{} may work; what it says counts once the policy of server and signer has this table",
        args.name
    ));
    let status = &found.status;
    let snippet = keys::rebuilder_snippet(
        &status.name,
        &status.operator,
        &status.statement_key,
        &found.request_key,
    );
    output::raw(snippet.as_bytes())
}

fn set_mode(args: &ModeArgs, mode: Mode) -> Result<(), Failure> {
    let client = args.server.client()?;
    let path = format!("/api/v1/rebuilders/{}/mode", args.name);
    client.post(&path, &SetMode { mode })?;
    output::note(format!("{} is {}", args.name, mode.name()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::dsse::StatementKey;
    use repo_model::wire::worker::RequestKey;

    fn status(name: &str, seed: u8, standing: Standing) -> RebuilderStatus {
        RebuilderStatus {
            name: name.parse().unwrap(),
            operator: "op".parse().unwrap(),
            standing,
            mode: Mode::Active,
            request_key: Some(RequestKey::from_seed(&[seed; 32]).public()),
            statement_key: StatementKey::from_seed(&[seed; 32]).unwrap().public(),
            contact: None,
            last_seen: None,
            leased: 0,
            sealed: 0,
        }
    }

    #[test]
    fn a_name_alone_lets_nobody_in() {
        let all = || {
            vec![
                status("rb-c", 1, Standing::Pending),
                status("rb-c", 2, Standing::Pending),
                status("rb-a", 3, Standing::Policy),
            ]
        };
        let name = |text: &str| text.parse::<WorkerName>().unwrap();
        let key = |seed: u8| RequestKey::from_seed(&[seed; 32]).public().to_string();
        let chosen = choose(all(), &name("rb-c"), &key(2)[..16]).unwrap();
        assert_eq!(chosen.request_key.to_string(), key(2));
        for (who, key, words) in [
            ("rb-c", String::new(), "does not name a key"),
            ("rb-c", key(2)[..15].to_owned(), "does not name a key"),
            ("rb-c", key(3), "no rb-c asks"),
            ("rb-a", key(3), "no rb-a asks"),
        ] {
            let failure = choose(all(), &name(who), &key).unwrap_err();
            assert!(failure.message().contains(words), "{}", failure.message());
        }
        assert!(table(&all()).contains(&key(1)));
        let mut listed = status("rb-a", 3, Standing::Policy);
        assert_eq!(mode(&listed), "not started");
        listed.last_seen = Some(repo_model::Timestamp::from_unix_secs(0));
        assert_eq!(mode(&listed), "active");
    }
}
