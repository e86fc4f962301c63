//! `hallmark monitor`: watches a repository's log for everybody who installs from it.

use super::createrepo::now;
use super::monitor_index;
use crate::api::Client;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::verify::TrustDir;
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::log::{Checkpoint, Note, Tile, VerifierKey, read_bundle};
use repo_model::monitor::{Finding, Memory, witnessed};
use repo_model::release::{ListedPackage, ReleaseDocument, read_package_list};
use repo_model::statement::{RELEASE, Statement};
use repo_model::wire::signer::PublishedKey;
use repo_model::wire::status::{ChannelStatus, ReleaseStatus};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Entries in a full bundle.
const FULL: u64 = 256;
/// Largest file of a log, package list or envelope, bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Arguments of `hallmark monitor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads every entry of the log once, and what is served now. Alarms: the log shrank or forked since the last look;
an entry has no statement; two packages have one name; a release or a package is served that the log does not
know; keys or policy changed; a key is shown or a channel points as the log does not say; witnesses of the policy
are missing or have been silent; nothing new was released for too long. Moves of channels, waivers and rebuilds that
differ are told too.

EXAMPLES:
  # One look, for cron; the state makes the next look short, and a fork visible
  hallmark monitor https://packages.example --trust trust/ --state monitor.json

  # Look every ten minutes, and say each finding as a line of JSON
  hallmark monitor https://packages.example --trust trust/ --state monitor.json --every 600 --json

  # Keep an index of who said what about which package, as files for a web server
  hallmark monitor https://packages.example --trust trust/ --state monitor.json --publish /srv/www/index

EXIT CODES:
  0  no alarm
  1  an alarm
  2  wrong usage, or the trust folder or the state cannot be used
  3  the server cannot be reached: try again later")]
pub struct Args {
    /// The repository's server
    #[arg(value_name = "URL")]
    url: String,
    /// The folder with the keys that count
    #[arg(long, value_name = "DIR", default_value = "/etc/hallmark/trust")]
    trust: PathBuf,
    /// What was seen so far: an index of the log, made when it is not there
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Alarm when the newest release is older than this
    #[arg(long, value_name = "DAYS")]
    max_age: Option<u32>,
    /// Alarm when no quorum of witnesses has seen the head of the log for so long
    #[arg(long, value_name = "HOURS")]
    max_head_age: Option<u32>,
    /// Write an index of the log by package into this folder: `index.json`, and `names/NAME.json` for each name
    #[arg(long, value_name = "DIR")]
    publish: Option<PathBuf>,
    /// Look again and again, with so many seconds between, until stopped; alarms do not end it
    #[arg(long, value_name = "SECS")]
    every: Option<u64>,
    /// Print JSON, one finding a line
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let trust = TrustDir::read(&args.trust, None, now()).map_err(|error| {
        Failure::usage(error)
            .with_hint("`hallmark trust fetch --server URL -o DIR` makes such a folder")
    })?;
    if args.max_head_age.is_some() && trust.trust.witness_policy().is_none() {
        return Err(Failure::usage(
            "--max-head-age needs witnesses, and neither policy nor trust folder names one",
        ));
    }
    let client = Client::new(&args.url, None)?;
    loop {
        let looked = look(args, &client, &trust);
        let Some(secs) = args.every else {
            return looked;
        };
        if let Err(failure) = looked {
            if failure.exit == Exit::Usage {
                return Err(failure);
            }
            output::note(failure.message());
        }
        std::thread::sleep(Duration::from_secs(secs));
    }
}

fn look(args: &Args, client: &Client, trust: &TrustDir) -> Result<(), Failure> {
    let mut memory = recall(&args.state)?;
    let mut alarms = 0_u64;
    let mut say = |finding: &Finding| -> Result<(), Failure> {
        alarms += u64::from(finding.is_alarm());
        if args.json {
            let json = serde_json::to_string(finding).map_err(Failure::failed)?;
            return output::line(json);
        }
        let word = if finding.is_alarm() { "ALARM" } else { "note" };
        output::line(format!("{word}: {finding}"))
    };
    let (note, head) = head(client, &trust.trust.log_keys)?;
    let before = memory.frontier.size();
    let followed = match memory.precedes(&head) {
        Err(shrunk) => {
            say(&shrunk)?;
            false
        }
        Ok(()) => {
            let mut next = memory.clone();
            for finding in read_on(client, &mut next, &head, trust)? {
                say(&finding)?;
            }
            match next.arrived(&head) {
                Ok(()) => {
                    memory = next;
                    true
                }
                Err(forked) => {
                    say(&forked)?;
                    false
                }
            }
        }
    };
    // What is compared with a log that lies would say nothing.
    if followed {
        for finding in beside(args, client, &memory, trust, &note)? {
            say(&finding)?;
        }
        for finding in served(args, client, &memory, trust)? {
            say(&finding)?;
        }
        keep(&args.state, &memory)?;
        if let Some(dir) = &args.publish {
            monitor_index::publish(dir, &memory, &head, before)?;
        }
    }
    if alarms > 0 {
        return Err(
            Failure::failed(format!("{alarms} alarms about {}", args.url))
                .with_hint("keep the state file: it is the proof of what was shown before"),
        );
    }
    let (size, new) = (head.size, head.size - before);
    output::note(format!(
        "{}: {size} entries, {new} of them new; no alarm",
        head.origin
    ));
    Ok(())
}

fn head(client: &Client, keys: &[VerifierKey]) -> Result<(Note, Checkpoint), Failure> {
    let text = client.get_text("/log/checkpoint")?;
    let note = Note::parse(text.as_bytes()).map_err(Failure::failed)?;
    let mut problem = "the trust folder has no log.pub".to_owned();
    for key in keys {
        match Checkpoint::open(&note, key) {
            Ok(head) => return Ok((note, head)),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(Failure::failed(format!("the head of the log: {problem}")))
}

/// Takes in every entry up to `head`.
fn read_on(
    client: &Client,
    memory: &mut Memory,
    head: &Checkpoint,
    trust: &TrustDir,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    while memory.frontier.size() < head.size {
        let index = memory.frontier.size() / FULL;
        let width = (head.size - index * FULL).min(FULL);
        let tile = Tile {
            level: None,
            index,
            width: u16::try_from(width).unwrap_or(256),
        };
        let path = tile.to_string();
        let bundle = fetch(client, &format!("/log/{path}"))?;
        let entries = read_bundle(&bundle)
            .filter(|entries| entries.len() as u64 == width)
            .ok_or_else(|| Failure::failed(format!("{path} is cut short")))?;
        let statements = path.replace("tile/entries/", "statements/");
        let digests = fetch(client, &format!("/log/{statements}"))?;
        let (digests, _) = digests.as_chunks::<32>();
        let first = memory.frontier.size() - index * FULL;
        for (at, entry) in entries
            .iter()
            .enumerate()
            .skip(usize::try_from(first).unwrap_or(0))
        {
            let digest = digests.get(at).map(|raw| FileDigest::from_bytes(*raw));
            let envelope = match digest {
                Some(digest) => envelope(client, digest)?,
                None => None,
            };
            findings.extend(memory.take(entry, envelope.as_ref(), &trust.trust.statement_keys));
        }
    }
    Ok(findings)
}

/// The envelope with this digest; none when it is not to be had or is something else.
fn envelope(client: &Client, digest: FileDigest) -> Result<Option<Envelope>, Failure> {
    let bytes = match fetch(client, &format!("/evidence/sha256/{digest}")) {
        Ok(bytes) => bytes,
        Err(failure) if failure.exit == Exit::Failed => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let is_it = FileDigest::of(&bytes) == digest;
    Ok(Envelope::from_json(&bytes).ok().filter(|_| is_it))
}

/// What witnesses say of the head, and what channels and keys are shown.
fn beside(
    args: &Args,
    client: &Client,
    memory: &Memory,
    trust: &TrustDir,
    head: &Note,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    if let Some(policy) = trust.trust.witness_policy() {
        let hours = args.max_head_age.map(i64::from);
        let limit = hours.map(|hours| now().plus_secs(-3_600 * hours));
        findings.extend(witnessed(policy, head, limit, now()));
    }
    let channels: Vec<ChannelStatus> = client.get_json("/api/v1/channels")?;
    findings.extend(memory.pointing(&channels, now()));
    let keys: Vec<PublishedKey> = client.get_json("/keys/keys.json")?;
    findings.extend(memory.shown(&keys, now()));
    Ok(findings)
}

/// Compares the newest release with the log.
fn served(
    args: &Args,
    client: &Client,
    memory: &Memory,
    trust: &TrustDir,
) -> Result<Vec<Finding>, Failure> {
    let releases: Vec<ReleaseStatus> = client.get_json("/api/v1/releases")?;
    let Some(newest) = releases.into_iter().next() else {
        return Ok(Vec::new());
    };
    let envelope = envelope(client, newest.envelope)?;
    let document = envelope.and_then(|envelope| {
        let mut keys = trust.trust.statement_keys.iter();
        keys.find_map(|key| Statement::<ReleaseDocument>::open(&envelope, key, RELEASE).ok())
    });
    let document = document
        .map(|statement| statement.predicate)
        .ok_or_else(|| {
            Failure::failed(format!("release {} is not signed by the signer", newest.id))
        })?;
    let mut listed: Vec<ListedPackage> = Vec::new();
    for repo in &document.repos {
        let list = fetch(client, &format!("/evidence/sha256/{}", repo.package_list))?;
        if FileDigest::of(&list) != repo.package_list {
            let at = format!("{}/{}", repo.repo, repo.arch);
            return Err(Failure::failed(format!("{at} has another package list")));
        }
        let text = String::from_utf8_lossy(&list);
        listed.extend(read_package_list(&text).map_err(Failure::failed)?);
    }
    listed.sort_by_key(|package| package.header);
    listed.dedup_by_key(|package| package.header);
    let limit = args
        .max_age
        .map(|days| now().plus_secs(-86_400 * i64::from(days)));
    Ok(memory.served(&document, newest.envelope, &listed, limit))
}

fn fetch(client: &Client, path: &str) -> Result<Vec<u8>, Failure> {
    let answer = client.get(path)?;
    let mut bytes = Vec::new();
    let body = answer.into_body().into_with_config().limit(MAX_BYTES);
    body.reader()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Unreachable, format!("{path}: {error}")))?;
    Ok(bytes)
}

fn recall(path: &Path) -> Result<Memory, Failure> {
    let unusable = |error: String| Failure::usage(format!("{}: {error}", path.display()));
    match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json).map_err(|error| unusable(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// Whole or not at all: a monitor that forgets what it saw cannot show a fork.
fn keep(path: &Path, memory: &Memory) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {error}", path.display()))
    };
    let json = serde_json::to_vec(memory).map_err(Failure::failed)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = std::fs::File::create(&new).map_err(failed)?;
    file.write_all(&json).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}
