//! `hallmark token`: access tokens, made on the server's machine.

use crate::config_file::{self, ConfigArg};
use crate::failure::Failure;
use crate::output;
use repo_model::config::Config;
use repo_model::{RepoName, Timestamp};
use repo_server::tokens::{self, ListedToken, NewToken, Scope, TokenError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments of `hallmark token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # A token for a build system
  hallmark token create --name koji --scope publish --expires-days 90

  # All tokens, and an end to one
  hallmark token list
  hallmark token revoke 3")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token; it is printed once and kept nowhere
    #[command(after_help = "\
EXAMPLES:
  # May upload builds to one repository for a quarter
  hallmark token create --name koji --scope publish --repo base --expires-days 90

  # May retry builds and move channels; into a file that only its owner reads
  (umask 077; hallmark token create --name alice --scope operate > token)")]
    Create(CreateArgs),
    /// List all tokens, without their secrets
    #[command(after_help = "\
EXAMPLES:
  hallmark token list --config hallmark.toml")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// End a token at once
    #[command(after_help = "\
EXAMPLES:
  # The number is the one that `hallmark token list` shows
  hallmark token revoke 3")]
    Revoke {
        /// Number of the token
        id: u64,
        #[command(flatten)]
        config: ConfigArg,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Who or what it is for
    #[arg(long)]
    name: String,
    /// publish: upload builds; operate: retry and reject builds, move channels, log in on the web pages;
    /// read: read blobs that are not public; tokens: make and revoke tokens over the network. May be repeated
    #[arg(long, required = true, value_parser = ["publish", "operate", "read", "tokens"])]
    scope: Vec<String>,
    /// Only this repository may be published to; without it every one may
    #[arg(long, value_name = "NAME")]
    repo: Option<RepoName>,
    /// It ends by itself after so many days; 0: never
    #[arg(long, value_name = "D", default_value_t = 365, value_parser = clap::value_parser!(u32).range(0..=36_500))]
    expires_days: u32,
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        match &args.command {
            Command::Create(create) => run_create(create).await,
            Command::List { json, config } => run_list(&read(config)?, *json).await,
            Command::Revoke { id, config } => {
                let config = read(config)?;
                tokens::revoke(&config.server.data_dir, *id, now())
                    .await
                    .map_err(failure)?;
                output::note(format!("token {id} is revoked"));
                Ok(())
            }
        }
    })
}

fn read(config: &ConfigArg) -> Result<Config, Failure> {
    config_file::read(&config.config)
}

async fn run_create(args: &CreateArgs) -> Result<(), Failure> {
    let scopes = scopes(&args.scope, args.repo.as_ref())?;
    let config = read(&args.config)?;
    if let Some(repo) = args
        .repo
        .as_ref()
        .filter(|repo| config.repo(repo).is_none())
    {
        return Err(Failure::usage(format!(
            "there is no repository {repo} in {}",
            args.config.config.display()
        )));
    }
    let now = now();
    let expires_at = match args.expires_days {
        0 => None,
        days => Some(now.plus_secs(i64::from(days) * 86_400)),
    };
    let new = NewToken {
        name: args.name.clone(),
        scopes,
        expires_at,
    };
    let token = tokens::create(&config.server.data_dir, new, now)
        .await
        .map_err(failure)?;
    let end = expires_at.map_or_else(
        || "it never ends".to_owned(),
        |at| format!("it ends at {at}"),
    );
    output::note(format!(
        "token {} for {}: {end}, and is not shown again",
        token.id, args.name
    ));
    output::line(token.secret)
}

fn scopes(names: &[String], repo: Option<&RepoName>) -> Result<Vec<Scope>, Failure> {
    if repo.is_some() && !names.iter().any(|name| name == "publish") {
        return Err(Failure::usage(
            "--repo limits the scope publish, which is not asked for",
        ));
    }
    let mut scopes = Vec::new();
    for name in names {
        let scope = match name.as_str() {
            "publish" => Scope::Publish(repo.cloned()),
            other => other.parse().map_err(Failure::usage)?,
        };
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

async fn run_list(config: &Config, json: bool) -> Result<(), Failure> {
    let tokens = tokens::list(&config.server.data_dir)
        .await
        .map_err(failure)?;
    if json {
        let all: Vec<_> = tokens.iter().map(as_json).collect();
        return output::json(&all);
    }
    let mut rows = vec![
        ["ID", "NAME", "SCOPES", "MADE", "STATE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(tokens.iter().map(|token| {
        let scopes: Vec<_> = token.scopes.iter().map(Scope::to_string).collect();
        let made = token.created_at.to_string();
        vec![
            token.id.to_string(),
            token.name.clone(),
            scopes.join(" "),
            made,
            state(token, now()),
        ]
    }));
    output::raw(output::table(&rows).as_bytes())
}

fn as_json(token: &ListedToken) -> serde_json::Value {
    let scopes: Vec<_> = token.scopes.iter().map(Scope::to_string).collect();
    serde_json::json!({
        "id": token.id,
        "name": token.name,
        "scopes": scopes,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    })
}

fn state(token: &ListedToken, now: Timestamp) -> String {
    match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked at {at}"),
        (None, Some(at)) if at <= now => format!("ended at {at}"),
        (None, Some(at)) => format!("good until {at}"),
        (None, None) => "good".to_owned(),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn failure(error: TokenError) -> Failure {
    let hint = match &error {
        TokenError::Unknown { .. } => Some("`hallmark token list` shows the numbers"),
        TokenError::DataDir(_) | TokenError::Db(_) => Some(
            "tokens are made on the server's machine, by a user who can write its data directory",
        ),
        TokenError::BadName | TokenError::Random => None,
    };
    let failure = Failure::failed(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_narrows_the_scope_publish_and_no_other() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let repo: RepoName = "base".parse().unwrap();
        let narrow = scopes(&names(&["publish", "read", "publish"]), Some(&repo)).unwrap();
        assert_eq!(narrow, [Scope::Publish(Some(repo.clone())), Scope::Read]);
        assert_eq!(
            scopes(&names(&["operate"]), None).unwrap(),
            [Scope::Operate]
        );
        assert!(scopes(&names(&["operate"]), Some(&repo)).is_err());
    }
}
