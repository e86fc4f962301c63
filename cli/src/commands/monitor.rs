//! `hallmark monitor`: watches a repository's log for everybody who installs from it.

use super::createrepo::now;
use super::{monitor_index, monitor_metadata};
use crate::api::Client;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::verify::TrustDir;
use repo_model::dsse::Envelope;
use repo_model::log::{Checkpoint, Note, Tile, read_bundle};
use repo_model::monitor::{Finding, Memory, clock, witnessed};
use repo_model::release::{ListedPackage, ReleaseDocument, read_package_list};
use repo_model::rpm::Head;
use repo_model::statement::{RELEASE, Statement};
use repo_model::verify::{Signature, Trust, cosigned};
use repo_model::wire::signer::PublishedKey;
use repo_model::wire::status::{ChannelStatus, ReleaseStatus};
use repo_model::{FileDigest, RepoName};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// Entries in a full bundle.
const FULL: u64 = 256;
/// Largest file of a log, package list or envelope, bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Arguments of `hallmark monitor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads every entry of the log once, and what is served now. Alarms: the log shrank or forked since the last look;
an entry has no statement; two packages have one name; a release or a package is served that the log does not
know; a channel's metadata is of no release, or lists a package that its release does not, signed by the repository's
key or not; two people waived findings; keys or policy changed; a key is shown or a channel points as the log does not
say; witnesses of the policy are missing or have been silent; nothing new was released for too long. Moves of channels
and rebuilds that differ are told too.

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

/// One look. An alarm is its result, whatever else goes wrong after it.
fn look(args: &Args, client: &Client, trust: &TrustDir) -> Result<(), Failure> {
    let mut teller = Teller {
        as_json: args.json,
        alarms: 0,
    };
    let compared = compare(args, client, trust, &mut teller);
    if teller.alarms == 0 {
        return compared.map(output::note);
    }
    if let Err(failure) = compared {
        output::note(failure.message());
    }
    Err(
        Failure::failed(format!("{} alarms about {}", teller.alarms, args.url))
            .with_hint("keep the state file: it is the proof of what was shown before"),
    )
}

/// Tells people what was found, and counts.
struct Teller {
    as_json: bool,
    alarms: u64,
}

impl Teller {
    fn tell(&mut self, findings: &[Finding]) -> Result<(), Failure> {
        // All of them count, also when nobody can be told.
        let alarms = findings.iter().filter(|finding| finding.is_alarm());
        self.alarms += alarms.count() as u64;
        for finding in findings {
            if self.as_json {
                output::line(serde_json::to_string(finding).map_err(Failure::failed)?)?;
                continue;
            }
            let word = if finding.is_alarm() { "ALARM" } else { "note" };
            output::line(format!("{word}: {finding}"))?;
        }
        Ok(())
    }
}

/// Reads on and compares, and keeps what was read when it leads to the signed root; returns what to say when
/// nothing is wrong.
fn compare(
    args: &Args,
    client: &Client,
    trust: &TrustDir,
    teller: &mut Teller,
) -> Result<String, Failure> {
    let mut memory = recall(&args.state)?;
    let (note, head) = head(client, &trust.trust)?;
    let before = memory.frontier.size();
    let said = || {
        let (size, new) = (head.size, head.size.saturating_sub(before));
        format!(
            "{}: {size} entries, {new} of them new; no alarm",
            head.origin
        )
    };
    // What is compared with a log that lies would say nothing.
    if let Err(shrunk) = memory.precedes(&head) {
        return teller.tell(&[shrunk]).map(|()| said());
    }
    let mut findings = Vec::new();
    let read = read_on(client, &mut memory, &head, &trust.trust, &mut findings);
    teller.tell(&findings)?;
    read?;
    if let Err(forked) = memory.arrived(&head) {
        return teller.tell(&[forked]).map(|()| said());
    }
    let mut findings = Vec::new();
    let shown = beside(args, client, &mut memory, trust, &note, &mut findings);
    let released = served(args, client, &mut memory, trust).map(|found| findings.extend(found));
    let signer = &trust.trust.statement_keys;
    let is_signed = |head: &Head| matches!(trust.signature(head), Signature::Good { .. });
    let listed = monitor_metadata::compare(client, &mut memory, signer, &is_signed, now());
    let listed = listed.map(|found| findings.extend(found));
    teller.tell(&findings)?;
    keep(&args.state, &memory)?;
    if let Some(dir) = &args.publish {
        monitor_index::publish(dir, &memory, &head, before)?;
    }
    shown.and(released).and(listed).map(|()| said())
}

fn head(client: &Client, trust: &Trust) -> Result<(Note, Checkpoint), Failure> {
    let text = client.get_text("/log/checkpoint")?;
    let note = Note::parse(text.as_bytes()).map_err(Failure::failed)?;
    let mut problem = "the trust folder has no log.pub".to_owned();
    for key in &trust.log_keys {
        match Checkpoint::open(&note, key) {
            Ok(head) => match cosigned(&trust.log_cosigners, &note, &head) {
                Ok(()) => return Ok((note, head)),
                Err(why) => problem = why,
            },
            Err(error) => problem = error.to_string(),
        }
    }
    Err(Failure::failed(format!("the head of the log: {problem}")))
}

/// Takes in every entry up to `head`. What was found before an error is among the findings, too.
fn read_on(
    client: &Client,
    memory: &mut Memory,
    head: &Checkpoint,
    trust: &Trust,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
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
            findings.extend(memory.take(entry, envelope.as_ref(), &trust.statement_keys));
        }
    }
    Ok(())
}

/// The envelope with this digest; none when the server says that there is none, or hands out something else. Whoever
/// gives no answer, or asks to be left alone for a while, has not said that.
pub(super) fn envelope(client: &Client, digest: FileDigest) -> Result<Option<Envelope>, Failure> {
    let path = format!("/evidence/sha256/{digest}");
    let bytes = match client.get(&path) {
        Ok(answer) => read_body(answer, &path)?,
        Err(error) if error.refused_with() == Some(404) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_it = FileDigest::of(&bytes) == digest;
    Ok(Envelope::from_json(&bytes).ok().filter(|_| is_it))
}

/// What witnesses say of the head, and what channels and keys are shown. What was found before an error is among the
/// findings, too.
fn beside(
    args: &Args,
    client: &Client,
    memory: &mut Memory,
    trust: &TrustDir,
    head: &Note,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    if let Some(policy) = trust.trust.witness_policy() {
        let hours = args.max_head_age.map(i64::from);
        let limit = hours.map(|hours| now().plus_secs(-3_600 * hours));
        findings.extend(witnessed(policy, head, limit, now()));
    }
    let channels: Vec<ChannelStatus> = client.get_json("/api/v1/channels")?;
    findings.extend(memory.pointing(&channels, now()));
    let keys: Vec<PublishedKey> = client.get_json("/keys/keys.json")?;
    findings.extend(memory.shown(&keys, now()));
    Ok(())
}

/// Compares the newest release with the log.
fn served(
    args: &Args,
    client: &Client,
    memory: &mut Memory,
    trust: &TrustDir,
) -> Result<Vec<Finding>, Failure> {
    let releases: Vec<ReleaseStatus> = client.get_json("/api/v1/releases")?;
    let Some(newest) = releases.into_iter().next() else {
        return Ok(memory.doubts(&[], now()));
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
    let mut lists: Vec<(RepoName, Vec<ListedPackage>)> = Vec::new();
    for repo in &document.repos {
        let list = fetch(client, &format!("/evidence/sha256/{}", repo.package_list))?;
        if FileDigest::of(&list) != repo.package_list {
            let at = format!("{}/{}", repo.repo, repo.arch);
            return Err(Failure::failed(format!("{at} has another package list")));
        }
        let text = String::from_utf8_lossy(&list);
        let packages = read_package_list(&text).map_err(Failure::failed)?;
        lists.push((repo.repo.clone(), packages));
    }
    let doubts = memory.doubts(&lists, now());
    let mut listed: Vec<_> = lists.into_iter().flat_map(|(_, list)| list).collect();
    listed.sort_by_key(|package| package.header);
    listed.dedup_by_key(|package| package.header);
    let limit = args
        .max_age
        .map(|days| now().plus_secs(-86_400 * i64::from(days)));
    let mut findings = memory.served(&document, newest.envelope, &listed, limit);
    findings.extend(doubts);
    findings.extend(clock(document.issued, now()));
    Ok(findings)
}

pub(super) fn fetch(client: &Client, path: &str) -> Result<Vec<u8>, Failure> {
    read_body(client.get(path)?, path)
}

fn read_body(answer: Response<Body>, path: &str) -> Result<Vec<u8>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};
    use repo_model::log::{Frontier, LogKey, SignatureKind, leaf_hash, write_bundle};
    use repo_model::policy::Policy;
    use repo_model::{Timestamp, verify::Memo};

    const ENTRIES: [&[u8]; 3] = [b"a", b"b", b"c"];

    fn log() -> LogKey {
        LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap()
    }

    fn trust() -> Trust {
        let policy = "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\n";
        Trust {
            statement_keys: Vec::new(),
            log_keys: vec![log().public()],
            log_cosigners: Vec::new(),
            witnesses: None,
            policy: Policy::from_toml(policy).unwrap(),
            policy_digest: FileDigest::of(b""),
            max_age_days: None,
            memo: Memo::default(),
        }
    }

    /// A log of three entries whose head says that it has so many.
    fn claiming(size: u64) -> Server {
        let mut frontier = Frontier::default();
        ENTRIES
            .iter()
            .for_each(|entry| frontier.push(leaf_hash(entry)));
        let text = format!("log.example\n{size}\n{}\n", frontier.root().to_base64());
        let line = log().sign(&text, Timestamp::from_unix_secs(0)).unwrap();
        let signatures = vec![line];
        let head = Note { text, signatures }.to_string();
        Server::start(move |request| match &*request.path {
            "/log/checkpoint" => Answer::json(200, &head),
            path if path.starts_with("/log/tile/entries/") => {
                let shown = ENTRIES.into_iter().take(size.min(3) as usize);
                Answer::bytes(write_bundle(shown).unwrap())
            }
            path if path.starts_with("/log/statements/") => Answer::bytes(vec![7; 96]),
            _ => Answer::json(404, "{}"),
        })
    }

    #[test]
    fn a_log_that_lies_about_its_size_is_refused_soon_whatever_it_says() {
        let trust = trust();
        for (size, says) in [
            (3, None),
            (4, Some("tile/entries/000.p/4 is cut short")),
            (300, Some("tile/entries/000 is cut short")),
            (1 << 60, Some("tile/entries/000 is cut short")),
            (u64::MAX, Some("tile/entries/000 is cut short")),
            (2, Some("the log has forked")),
        ] {
            let server = claiming(size);
            let client = Client::new(&server.url(), None).unwrap();
            let (_, head) = head(&client, &trust).unwrap();
            assert_eq!(head.size, size);
            let mut memory = Memory::default();
            let read = read_on(&client, &mut memory, &head, &trust, &mut Vec::new());
            let problem = match read {
                Err(failure) => Some(failure.message()),
                Ok(()) => memory.arrived(&head).err().map(|forked| forked.to_string()),
            };
            match says {
                None => assert_eq!(problem, None),
                Some(says) => {
                    let problem = problem.unwrap();
                    assert!(problem.contains(says), "{size}: {problem}");
                    assert!(server.requests().len() < 10, "{size}");
                }
            }
        }
    }

    #[test]
    fn only_an_answer_that_there_is_none_is_a_missing_statement() {
        let asked = |status: u16| {
            let server = Server::start(move |_| Answer::json(status, "{}"));
            let client = Client::new(&server.url(), None).unwrap();
            envelope(&client, FileDigest::of(b"statement"))
        };
        for status in [404, 200] {
            assert!(asked(status).unwrap().is_none(), "{status}");
        }
        for status in [403, 429, 500, 503, 0] {
            assert!(asked(status).is_err(), "{status}");
        }
    }
}
