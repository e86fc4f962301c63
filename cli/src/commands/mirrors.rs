//! `hallmark mirrors`: who mirrors this repository, how each fares, and why clients are not sent to one.

mod seen;

use crate::api::{Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use repo_model::wire::mirrors::{
    Health, MirrorReport, MirrorStatus, Registered, Registration, Reject, Standing, span,
};
use repo_model::{Country, MirrorName, Netblock};
use std::fmt::Write as _;

/// Arguments of `hallmark mirrors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A mirror serves a copy of the tree, made with `hallmark mirror sync`, rsync or a proxy. The server looks at each
registered mirror, and sends clients (`metalink=`, `mirrorlist=`) to those that have what was published.

EXAMPLES:
  # Ask to be listed; the answer is a token that shows how the mirror fares
  hallmark mirrors add north https://mirror.example/hallmark --country NO --contact ops@mirror.example

  # What is wrong with mine?
  HALLMARK_TOKEN=... hallmark mirrors show north

  # Who asks to be listed, and let one in
  hallmark mirrors list
  hallmark mirrors approve north

  # A mirror for one network alone
  hallmark mirrors add campus http://mirror.campus.example --netblock 192.0.2.0/24 --private --contact noc@campus.example")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask to be listed; with an operator's token the mirror is let in at once
    #[command(after_help = "\
EXAMPLES:
  hallmark mirrors add north https://mirror.example/hallmark --country NO --asn 64500 --contact ops@mirror.example")]
    Add(AddArgs),
    /// List mirrors; with an operator's token also those that wait or are private
    #[command(after_help = "EXAMPLES:\n  hallmark mirrors list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Tell what a mirror was seen to have, and what is wrong with it
    #[command(after_help = "EXAMPLES:\n  HALLMARK_TOKEN=... hallmark mirrors show north")]
    Show {
        /// Its name
        name: MirrorName,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Check what the signer says was seen of mirrors
    Seen(seen::SeenArgs),
    /// Change how a mirror is described
    #[command(after_help = "EXAMPLES:\n  hallmark mirrors set north --weight 300 --preferred true")]
    Set(SetArgs),
    /// Let a mirror in
    #[command(after_help = "EXAMPLES:\n  hallmark mirrors approve north")]
    Approve(NameArgs),
    /// Turn a mirror away, also one that was let in; its operator is told why
    #[command(after_help = "EXAMPLES:\n  hallmark mirrors reject north --reason 'closes in March'")]
    Reject {
        #[command(flatten)]
        name: NameArgs,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Have a mirror looked at as soon as may be
    #[command(after_help = "EXAMPLES:\n  hallmark mirrors probe north")]
    Probe(NameArgs),
    /// Forget a mirror; with its own token or an operator's
    #[command(after_help = "EXAMPLES:\n  hallmark mirrors remove north")]
    Remove(NameArgs),
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// Its name
    name: MirrorName,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// How it is called
    name: MirrorName,
    /// Where the tree is, the best address first: {channel}/{repo}/{arch}/repodata/repomd.xml lies below each
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Share of clients among mirrors that are as near
    #[arg(long, default_value_t = 100)]
    weight: u32,
    /// Only for clients of its netblocks and autonomous systems
    #[arg(long)]
    private: bool,
    /// Before others that are as near
    #[arg(long)]
    preferred: bool,
    /// Whom to ask; not published
    #[arg(long)]
    contact: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Whose clients are near a mirror.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Where it stands, two letters
    #[arg(long, value_name = "CC")]
    country: Option<Country>,
    /// Degrees north and east, for the map: 59.9,10.7
    #[arg(long, value_name = "N,E", value_parser = coordinates, allow_hyphen_values = true)]
    coordinates: Option<(f32, f32)>,
    /// Autonomous system whose clients are near; may be given again
    #[arg(long, value_name = "NUMBER")]
    asn: Vec<u32>,
    /// Addresses whose clients are nearest; may be given again
    #[arg(long, value_name = "ADDRESS/BITS")]
    netblock: Vec<Netblock>,
}

/// What is not given stays as it is; of lists, what is given takes the place of all.
#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Its name
    name: MirrorName,
    /// Its addresses, the best first; may be given again
    #[arg(long = "address", value_name = "URL")]
    addresses: Vec<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Share of clients among mirrors that are as near
    #[arg(long)]
    weight: Option<u32>,
    /// Whether it is only for clients of its netblocks and autonomous systems
    #[arg(long)]
    private: Option<bool>,
    /// Whether it comes before others that are as near
    #[arg(long)]
    preferred: Option<bool>,
    /// Whom to ask
    #[arg(long)]
    contact: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

fn coordinates(text: &str) -> Result<(f32, f32), String> {
    let refuse =
        || format!("`{text}` is not a place: want degrees north and east such as 59.9,10.7");
    let (north, east) = text.split_once(',').ok_or_else(refuse)?;
    let degrees = |text: &str| text.trim().parse().map_err(|_| refuse());
    Ok((degrees(north)?, degrees(east)?))
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Add(args) => add(args),
        Command::List { json, server } => list(&server.client()?, *json),
        Command::Show { name, json, server } => show(&server.client()?, name, *json),
        Command::Seen(args) => seen::run(args),
        Command::Set(args) => set(args),
        Command::Approve(args) => approve(args),
        Command::Reject { name, reason } => {
            let reason = Reject {
                reason: reason.clone(),
            };
            act(name, "reject", &reason, "is turned away")
        }
        Command::Probe(args) => act(args, "probe", &serde_json::json!({}), "is looked at next"),
        Command::Remove(args) => {
            args.server
                .client()?
                .delete(&format!("/api/v1/mirrors/{}", args.name))?;
            output::note(format!("{} is forgotten", args.name));
            Ok(())
        }
    }
}

/// Addresses as they are registered: without the slash at the end.
fn trees(urls: &[String]) -> Vec<String> {
    urls.iter()
        .map(|url| url.trim_end_matches('/').to_owned())
        .collect()
}

fn checked(registration: &Registration) -> Result<(), Failure> {
    registration
        .check()
        .map_err(|error| Failure::usage(error.to_string()))
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let registration = Registration {
        name: args.name.clone(),
        urls: trees(&args.urls),
        country: args.place.country,
        coordinates: args.place.coordinates,
        asns: args.place.asn.clone(),
        netblocks: args.place.netblock.clone(),
        weight: args.weight,
        private: args.private,
        preferred: args.preferred,
        contact: args.contact.clone(),
    };
    checked(&registration)?;
    let answer: Registered = args
        .server
        .client()?
        .post_json("/api/v1/mirrors", &registration)?;
    let name = &args.name;
    output::note(match answer.standing {
        Standing::Approved => format!("{name} is let in and looked at next; its token:"),
        Standing::Pending | Standing::Rejected => format!(
            "{name} waits for this repository's operator; the token shows how it fares, keep it:"
        ),
    });
    warn(answer.warning.as_deref());
    output::line(answer.token)
}

fn warn(warning: Option<&str>) {
    if let Some(warning) = warning {
        output::note(format!("warning: {warning}"));
    }
}

fn approve(args: &NameArgs) -> Result<(), Failure> {
    act(args, "approve", &serde_json::json!({}), "is let in")?;
    let path = format!("/api/v1/mirrors/{}", args.name);
    let report: MirrorReport = args.server.client()?.get_json(&path)?;
    warn(report.warning.as_deref());
    Ok(())
}

fn set(args: &SetArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    let report: MirrorReport = client.get_json(&format!("/api/v1/mirrors/{}", args.name))?;
    let Some(mut new) = report.registration else {
        return Err(Failure::failed("this needs a token with the scope operate"));
    };
    if !args.addresses.is_empty() {
        new.urls = trees(&args.addresses);
    }
    if !args.place.asn.is_empty() {
        new.asns.clone_from(&args.place.asn);
    }
    if !args.place.netblock.is_empty() {
        new.netblocks.clone_from(&args.place.netblock);
    }
    new.country = args.place.country.or(new.country);
    new.coordinates = args.place.coordinates.or(new.coordinates);
    new.weight = args.weight.unwrap_or(new.weight);
    new.private = args.private.unwrap_or(new.private);
    new.preferred = args.preferred.unwrap_or(new.preferred);
    new.contact = args.contact.clone().unwrap_or(new.contact);
    checked(&new)?;
    client.post(&format!("/api/v1/mirrors/{}/describe", args.name), &new)?;
    output::note(format!("{} is described anew", args.name));
    Ok(())
}

fn act<B: serde::Serialize>(
    args: &NameArgs,
    what: &str,
    body: &B,
    done: &str,
) -> Result<(), Failure> {
    let client = args.server.client()?;
    client.post(&format!("/api/v1/mirrors/{}/{what}", args.name), body)?;
    output::note(format!("{} {done}", args.name));
    Ok(())
}

fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let all: Vec<MirrorStatus> = client.get_json("/api/v1/mirrors")?;
    if json {
        return output::json(&all);
    }
    output::raw(table(&all).as_bytes())
}

fn table(all: &[MirrorStatus]) -> String {
    let head = [
        "NAME",
        "COUNTRY",
        "STATE",
        "BEHIND",
        "FIRST BYTE",
        "LOOKED AT",
        "URL",
        "WHY",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|mirror| {
        let unknown = || "-".to_owned();
        vec![
            mirror.name.to_string(),
            mirror
                .country
                .map_or_else(unknown, |country| country.to_string()),
            state(mirror).to_owned(),
            behind(mirror),
            mirror
                .latency_millis
                .map_or_else(unknown, |millis| format!("{millis} ms")),
            mirror
                .probed_at
                .map_or_else(|| "never".to_owned(), |at| at.to_string()),
            mirror.urls.first().cloned().unwrap_or_default(),
            mirror.why.clone().unwrap_or_default(),
        ]
    }));
    output::table(&rows)
}

fn state(mirror: &MirrorStatus) -> &'static str {
    match (mirror.standing, mirror.health) {
        (Standing::Approved, Health::New) => "not looked at",
        (Standing::Approved, health) => health.name(),
        (other, _) => other.name(),
    }
}

fn behind(mirror: &MirrorStatus) -> String {
    match mirror.lag() {
        None => "-".to_owned(),
        Some((_, 0)) => "no".to_owned(),
        Some((secs, releases)) => format!("{releases} releases, {}", span(secs)),
    }
}

fn show(client: &Client, name: &MirrorName, json: bool) -> Result<(), Failure> {
    let report: MirrorReport = client.get_json(&format!("/api/v1/mirrors/{name}"))?;
    if json {
        return output::json(&report);
    }
    output::raw(text(&report).as_bytes())
}

fn text(report: &MirrorReport) -> String {
    let status = &report.status;
    let since = status
        .since
        .map_or_else(String::new, |at| format!(" since {at}"));
    let mut out = format!("{}: {}{since}\n", status.name, state(status));
    // Writing into a String cannot fail.
    for url in &status.urls {
        let _ = writeln!(out, "  {url}");
    }
    if let Some(why) = &report.rejected_because {
        let _ = writeln!(out, "turned away: {why}");
    }
    if let Some(warning) = &report.warning {
        let _ = writeln!(out, "warning: {warning}");
    }
    if let (Some(why), Some(at)) = (&status.why, status.probed_at) {
        let _ = writeln!(out, "at {at}: {why}");
    }
    let head = ["CHANNEL", "REPOSITORY", "ARCH", "RELEASE", "BEHIND", "WHY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.places.iter().map(|place| {
        let release = place
            .release
            .map_or_else(|| "-".to_owned(), |release| release.to_string());
        let behind = match place.releases_behind {
            _ if !place.is_seen() => "-".to_owned(),
            0 => "no".to_owned(),
            count => format!("{count} releases, {}", span(place.behind_secs)),
        };
        let why = place.trouble.as_ref().map(ToString::to_string);
        let [channel, repo, arch] = [
            place.channel.to_string(),
            place.repo.to_string(),
            place.arch.to_string(),
        ];
        vec![
            channel,
            repo,
            arch,
            release,
            behind,
            why.unwrap_or_default(),
        ]
    }));
    out.push_str(&output::table(&rows));
    for arrival in report.arrivals.iter().take(10) {
        let (channel, release, took) = (&arrival.channel, arrival.release, span(arrival.secs));
        let _ = writeln!(
            out,
            "{channel} release {release}: seen {took} after it came out"
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::ReleaseId;
    use repo_model::wire::mirrors::{PlaceStatus, Trouble};

    fn status() -> MirrorStatus {
        let trouble = Trouble::Missing {
            url: "https://m.example/x".to_owned(),
        };
        MirrorStatus {
            name: "north".parse().unwrap(),
            urls: vec!["https://m.example".to_owned()],
            country: "NO".parse().ok(),
            coordinates: None,
            weight: 100,
            private: false,
            preferred: false,
            standing: Standing::Approved,
            health: Health::Dropped,
            since: None,
            why: Some(trouble.to_string()),
            trouble: Some(trouble),
            probed_at: Some(repo_model::Timestamp::from_unix_secs(0)),
            latency_millis: Some(12),
            bytes_per_sec: None,
            places: vec![PlaceStatus {
                channel: "stable".parse().unwrap(),
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                release: Some(ReleaseId(3)),
                releases_behind: 2,
                behind_secs: 7_300,
                checked_at: repo_model::Timestamp::from_unix_secs(0),
                trouble: None,
            }],
        }
    }

    #[test]
    fn a_mirror_is_told_what_is_wrong_and_how_far_behind_it_is() {
        let table = table(&[status()]);
        for part in [
            "north",
            "NO",
            "dropped",
            "2 releases, 2 h 1 min",
            "12 ms",
            "is not there",
        ] {
            assert!(table.contains(part), "{part}: {table}");
        }
        let report = MirrorReport {
            status: status(),
            registration: None,
            rejected_because: Some("closes".to_owned()),
            warning: Some("http://10.0.0.1 is no public address".to_owned()),
            probes: Vec::new(),
            arrivals: Vec::new(),
        };
        let text = text(&report);
        for part in [
            "turned away: closes",
            "warning: http://10.0.0.1 is",
            "at 1970-01-01T00:00:00Z: ",
            "stable",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn of_a_mirror_that_cannot_be_looked_at_nobody_says_that_it_is_not_behind() {
        let mut away = status();
        away.places[0].releases_behind = 0;
        assert_eq!(behind(&away), "no");
        away.places[0].trouble = Some(Trouble::Unreachable {
            url: "https://m.example".to_owned(),
            why: "it is closed".to_owned(),
        });
        assert_eq!(behind(&away), "-");
    }

    #[test]
    fn places_are_degrees() {
        assert_eq!(coordinates("-33.9, 18.4"), Ok((-33.9, 18.4)));
        assert!(coordinates("Oslo").is_err());
    }
}
