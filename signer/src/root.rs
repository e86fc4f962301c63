//! `hallmark-signer root`: the ceremony's commands.

use crate::output;
use crate::{ConfigArg, Failure, now};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use hallmark_signer::ceremony::{self, Ceremony, Progress, spoken};
use repo_model::Timestamp;
use std::path::PathBuf;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Root {
    /// Make a key for one holder: FILE and, beside it, the public half with the ending `.pub`.
    #[command(after_help = "\
Do this on a machine that never goes online, and keep FILE there. The other holders need only the .pub file.

Examples:
  hallmark-signer root keygen alice.key")]
    Keygen {
        /// Where the private key goes; must not exist.
        file: PathBuf,
    },
    /// Make the first root document: THRESHOLD of these keys decide. Not signed yet.
    #[command(after_help = "\
Examples:
  hallmark-signer root init policy --key alice.pub --key bob.pub --key carol.pub --threshold 2")]
    Init {
        /// The directory of the documents; made if it is not there.
        dir: PathBuf,
        /// A holder's public key; once for each.
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// How many of them must sign.
        #[arg(long, value_name = "N")]
        threshold: u32,
        #[command(flatten)]
        days: RootDays,
    },
    /// Make the next root document: other keys, another threshold, or only a later expiry. Not signed yet.
    #[command(after_help = "\
It must be signed by the thresholds of the root before and of itself. targets.json must be signed again if
keys of its signers left.

Examples:
  hallmark-signer root rotate policy --remove carol.pub --add dave.pub
  hallmark-signer root rotate policy --threshold 3 --days 365")]
    Rotate {
        /// The directory of the documents.
        dir: PathBuf,
        /// A new holder's public key.
        #[arg(long, value_name = "FILE")]
        add: Vec<PathBuf>,
        /// The public key of a holder who leaves.
        #[arg(long, value_name = "FILE")]
        remove: Vec<PathBuf>,
        /// How many must sign from then on; without it, as many as before.
        #[arg(long, value_name = "N")]
        threshold: Option<u32>,
        #[command(flatten)]
        days: RootDays,
    },
    /// Take a policy in and make the documents that lead to it. Not signed yet.
    #[command(after_help = "\
Examples:
  hallmark-signer root policy policy new-policy.toml
  hallmark-signer root policy policy policy/policy.toml --days 90     (the same policy, a later expiry)")]
    Policy {
        /// The directory of the documents.
        dir: PathBuf,
        /// The policy.
        policy: PathBuf,
        /// How long it may be used, days.
        #[arg(long, default_value_t = 365, value_name = "N")]
        days: u32,
    },
    /// Add one holder's signature to every document that asks for it.
    #[command(after_help = "\
Look at policy.toml and at the newest root before you sign. Prints how many signatures each document has.

Examples:
  hallmark-signer root sign policy --key alice.key")]
    Sign {
        /// The directory of the documents.
        dir: PathBuf,
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Check the documents as the signer will.
    #[command(after_help = "\
Exits with 1 when the signer would not use the policy, and says why.

Examples:
  hallmark-signer root verify policy
  hallmark-signer root verify policy --from /var/lib/hallmark-signer/pinned.root.json")]
    Verify {
        /// The directory of the documents.
        dir: PathBuf,
        /// The root to begin with; without it, the first of the directory.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Tell this machine's signer which root to begin with.
    #[command(after_help = "\
Compare the printed digest with the holders of the keys by other means. What is pinned is never replaced.

Examples:
  hallmark-signer root pin policy/1.root.json --config /etc/hallmark/hallmark.toml")]
    Pin {
        /// A root document.
        root: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
    },
}

#[derive(Debug, Args)]
pub struct RootDays {
    /// How long the root may be used, days.
    #[arg(long, default_value_t = 730, value_name = "N")]
    days: u32,
}

fn in_days(days: u32) -> anyhow::Result<Timestamp> {
    Ok(now()?.plus_secs(i64::from(days) * 86_400))
}

pub fn run(command: Root) -> Result<(), Failure> {
    match command {
        Root::Keygen { file } => {
            let id = ceremony::keygen(&file).context("cannot make the key")?;
            output::line(&format!("key  {id}"))?;
        }
        Root::Init {
            dir,
            keys,
            threshold,
            days,
        } => {
            let ceremony = Ceremony::in_dir(&dir);
            let made = public_keys(&keys)
                .and_then(|keys| Ok(ceremony.init(&keys, threshold, in_days(days.days)?)?));
            made.context("cannot make the first root")?;
            show(&ceremony.progress().context("cannot read it back")?)?;
        }
        Root::Rotate {
            dir,
            add,
            remove,
            threshold,
            days,
        } => rotate(&dir, &add, &remove, threshold, days.days)?,
        Root::Policy { dir, policy, days } => {
            let ceremony = Ceremony::in_dir(&dir);
            let version = ceremony
                .take_policy(&policy, in_days(days)?)
                .context("cannot take the policy in")?;
            output::note(&format!("policy {version} waits for signatures"));
            show(&ceremony.progress().context("cannot read it back")?)?;
        }
        Root::Sign { dir, key } => {
            let signed = ceremony::private_key(&key)
                .and_then(|key| Ceremony::in_dir(&dir).sign(&key))
                .context("cannot sign")?;
            show(&signed)?;
        }
        Root::Verify { dir, from } => verify(&dir, from)?,
        Root::Pin { root, config } => {
            let config = config.read()?;
            let (root, new) =
                ceremony::pin(&root, &config.state_dir).context("cannot pin the root")?;
            if !new {
                output::note("it was pinned before; nothing was changed");
            }
            output::line(&format!("root    {}", root.version()))?;
            output::line(&format!("digest  {}", spoken(root.digest())))?;
        }
    }
    Ok(())
}

fn public_keys(files: &[PathBuf]) -> anyhow::Result<Vec<ed25519_dalek::VerifyingKey>> {
    let keys = files.iter().map(|file| ceremony::public_key(file));
    Ok(keys.collect::<Result<_, _>>()?)
}

fn rotate(
    dir: &std::path::Path,
    add: &[PathBuf],
    remove: &[PathBuf],
    threshold: Option<u32>,
    days: u32,
) -> anyhow::Result<()> {
    let ceremony = Ceremony::in_dir(dir);
    let leaving: Vec<String> = public_keys(remove)?
        .iter()
        .map(|key| repo_model::trust::document::Key::of(key).id())
        .collect();
    let version = ceremony
        .rotate(&public_keys(add)?, &leaving, threshold, in_days(days)?)
        .context("cannot make the next root")?;
    output::note(&format!("root {version} waits for signatures"));
    show(&ceremony.progress()?)
}

fn verify(dir: &std::path::Path, from: Option<PathBuf>) -> anyhow::Result<()> {
    let pinned = match &from {
        None => None,
        Some(path) => {
            Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
    };
    let verified = Ceremony::in_dir(dir)
        .verify(pinned.as_deref(), now()?)
        .with_context(|| format!("{} cannot be used", dir.display()))?;
    let root = verified.root.document();
    let voices = root.voices("targets");
    output::line(&format!(
        "root     {}, {} of {} keys, until {}",
        root.version,
        voices.threshold,
        voices.keys.len(),
        root.expires
    ))?;
    output::line(&format!("digest   {}", spoken(verified.root.digest())))?;
    for id in voices.keys.keys() {
        output::line(&format!("key      {id}"))?;
    }
    output::line(&format!(
        "policy   {}, {}",
        verified.policy.version, verified.vouched.file
    ))?;
    output::line(&format!("expires  {}", verified.vouched.expires))
}

fn show(progress: &[Progress]) -> anyhow::Result<()> {
    for one in progress {
        let Progress {
            file,
            by,
            have,
            want,
        } = one;
        output::line(&format!("{file}  {have} signatures; {by} demands {want}"))?;
    }
    Ok(())
}
