//! `hallmark-signer key`: what keys there are, and the steps of their lives.

use crate::output;
use anyhow::Context as _;
use clap::Subcommand;
use hallmark_signer::desk;
use hallmark_signer::keys::life;
use hallmark_signer::keys::ring::RingKey;
use repo_model::Timestamp;
use repo_model::config::SignerConfig;
use repo_model::wire::signer::{Identity, KeyRole, PublishedKey, PublishedLogKey, listed};

use super::ConfigArg;

/// Subcommands of `hallmark-signer key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// List all keys with their state, age and what is wrong with them.
    #[command(after_help = "\
Reads the files, which needs the signer's user. Warns of age, algorithm, expiry, and of whatever some
client refuses. `hallmark key status` tells the same from the server, to anybody.

Examples:
  hallmark-signer key status
  hallmark-signer key status --json | jq -r '.[] | select(.role == \"package\" and .state == \"current\").fingerprint'")]
    Status {
        #[command(flatten)]
        config: ConfigArg,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the next key of a role, so that clients get it before it signs.
    #[command(after_help = "\
The server shows it in RPM-GPG-KEY (post-quantum ones: RPM-GPG-KEY-pqc) as soon as the signer runs
again; it signs nothing before `key rotate`. Stop the signer first: the journal has one writer.

Examples:
  systemctl stop hallmark-signer
  hallmark-signer key stage package && systemctl start hallmark-signer
  hallmark-signer key stage package-pqc    # post-quantum: a key and a life of its own")]
    Stage {
        /// package, metadata, statement, package-pqc or metadata-pqc.
        role: KeyRole,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Let the staged key sign; the current one is retired.
    #[command(after_help = "\
Refused until the key was staged for 14 days. What the retired key signed stays good; a retired metadata
key signs beside the new one for 90 days more.

Examples:
  hallmark-signer key rotate package
  hallmark-signer key rotate metadata --at-once   # nobody uses the repository yet")]
    Rotate {
        /// package, metadata, statement, package-pqc or metadata-pqc.
        role: KeyRole,
        /// Although clients may not have it yet: they would refuse what it signs.
        #[arg(long)]
        at_once: bool,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Take a key back; the staged key takes the place of a current one, at once.
    #[command(after_help = "\
The certificate says so from then on (RPM-GPG-KEY-revoked, -revoked-pqc), and no key file for clients has
it. rpm keeps what it imported: remove it there with `rpmkeys --delete FINGERPRINT`, and publish again what
it signed.

Examples:
  hallmark-signer key revoke package-key --compromised --reason 'found on a build host'
  hallmark-signer key revoke metadata-key-2 --reason 'never used'")]
    Revoke {
        /// Its label: see `hallmark-signer key status`.
        label: String,
        /// Somebody else may have it.
        #[arg(long)]
        compromised: bool,
        /// Why; stands in the certificate and in the journal.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// Runs one.
pub fn run(command: Key, now: Timestamp) -> Result<(), super::Failure> {
    match command {
        Key::Status { config, json } => Ok(status(&config.read()?, json, now)?),
        Key::Stage { role, config } => {
            let key = life::stage(&config.read()?, role, now).context("cannot stage a key")?;
            output::note(&format!(
                "{} is staged: start the signer, and give clients time to fetch it before `key rotate {role}`",
                key.label
            ));
            told(&key)
        }
        Key::Rotate {
            role,
            at_once,
            config,
        } => {
            let key = life::rotate(&config.read()?, role, at_once, now);
            told(&key.context("cannot rotate")?)
        }
        Key::Revoke {
            label,
            compromised,
            reason,
            config,
        } => {
            let key = life::revoke(&config.read()?, &label, compromised, &reason, now);
            told(&key.context("cannot revoke")?)
        }
    }
}

fn told(key: &RingKey) -> Result<(), super::Failure> {
    let line = format!("{}  {}  {}", key.role, key.state.name(), key.label);
    Ok(output::line(&line)?)
}

fn status(config: &SignerConfig, json: bool, now: Timestamp) -> anyhow::Result<()> {
    let Identity { keys, log_keys, .. } = desk::identity_from_files(config, now)?;
    if json {
        return output::line(&serde_json::to_string_pretty(&listed(&keys, &log_keys))?);
    }
    for key in &keys {
        output::line(&in_words(key))?;
        for warning in key.warnings(now) {
            output::line(&format!("    warning: {warning}"))?;
        }
    }
    for key in &log_keys {
        output::line(&log_key_in_words(key))?;
    }
    Ok(())
}

fn log_key_in_words(key: &PublishedLogKey) -> String {
    format!(
        "{:<12}  {:<7}  {:<18}  {}  made {}  {}",
        key.role.name(),
        key.state.name(),
        key.label,
        key.algorithm,
        made_in_words(key.made),
        key.fingerprint
    )
}

fn made_in_words(made: Option<Timestamp>) -> String {
    made.map_or_else(|| "unknown".to_owned(), |made| made.to_string())
}

fn in_words(key: &PublishedKey) -> String {
    let made = made_in_words(key.made);
    let rotate = key
        .may_rotate_at()
        .map_or_else(String::new, |at| format!("  may take over from {at} on"));
    format!(
        "{:<12}  {:<7}  {:<18}  {}  made {made}  {}{rotate}",
        key.role.name(),
        key.state.name(),
        key.label,
        key.algorithm,
        key.fingerprint
    )
}
