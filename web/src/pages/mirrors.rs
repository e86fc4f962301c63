//! `/mirrors`: where copies are, how each fares and why, and how fast releases reach them.

use super::{Command, Frame, Here, Site};
use crate::RenderError;
use crate::spread::{self, ReleaseSpread};
use crate::text::{Chip, Tone, When, count, counted, size};
use crate::world;
use askama::Template;
use repo_model::Timestamp;
use repo_model::wire::mirrors::{Arrival, Health, MirrorStatus, PlaceStatus, Trouble, span};
use std::collections::BTreeMap;

/// A mirror that was not looked at for so long is shown as not looked at, seconds.
const UNSEEN_SECS: i64 = 86_400;

/// Who mirrors.
#[derive(Debug, Clone, Copy)]
pub struct MirrorsView<'a> {
    /// The server.
    pub site: &'a Site<'a>,
    /// Mirrors that everybody may hear of, by name.
    pub mirrors: &'a [MirrorStatus],
    /// When releases were first seen on them; those of other mirrors are left out.
    pub arrivals: &'a [Arrival],
    /// When the signer said of them what is shown, and until when that holds; none: it has said nothing.
    pub said: Option<(Timestamp, Timestamp)>,
    /// The time now.
    pub now: Timestamp,
}

#[derive(Template)]
#[template(path = "mirrors.html")]
struct Page<'a> {
    frame: Frame<'a>,
    summary: String,
    rows: Vec<Row<'a>>,
    plot: String,
    spreads: Vec<SpreadRow>,
    map: String,
    countries: Vec<CountryRow>,
    said: Option<Said>,
    join: Command,
}

/// That the signer has said it, and how to check that.
struct Said {
    at: When,
    until: When,
    check: Command,
}

struct Row<'a> {
    name: &'a str,
    url: &'a str,
    country: &'a str,
    chip: Chip,
    preferred: bool,
    since: Option<When>,
    why: Option<&'a str>,
    behind: String,
    places: Vec<PlaceRow>,
    latency: String,
    speed: String,
    seen: Option<When>,
}

struct PlaceRow {
    words: String,
    why: Option<String>,
}

struct SpreadRow {
    channel: String,
    release: String,
    href: String,
    mirrors: String,
    first: String,
    median: String,
    last: String,
}

struct CountryRow {
    code: String,
    listed: String,
    dropped: String,
}

/// Renders the mirrors.
pub fn mirrors(view: &MirrorsView<'_>) -> Result<String, RenderError> {
    let spreads = spread::spreads(view.mirrors, view.arrivals);
    let listed = view
        .mirrors
        .iter()
        .filter(|one| one.health == Health::Listed)
        .count() as u64;
    let all = view.mirrors.len() as u64;
    let url = view.site.public_url;
    Page {
        frame: Frame::new(view.site, "Mirrors", Here::Mirrors),
        summary: format!("Clients are sent to {} of {}.", count(listed), counted(all, "mirror", "mirrors")),
        rows: view.mirrors.iter().map(|one| row(one, view.now)).collect(),
        plot: spread::svg(&spreads),
        spreads: spreads.iter().rev().map(spread_row).collect(),
        map: world::svg(view.mirrors),
        countries: countries(view.mirrors),
        said: view.said.map(|(at, until)| Said {
            at: When::from(at),
            until: When::from(until),
            check: Command {
                label: "Check what is said of them".to_owned(),
                text: format!("hallmark mirrors seen --server {url} --key statement.pub"),
            },
        }),
        join: Command {
            label: "Ask to be listed".to_owned(),
            text: format!(
                "hallmark mirrors add --server {url} NAME https://MIRROR/PATH --country CC --contact MAIL"
            ),
        },
    }
    .render()
}

fn row(one: &MirrorStatus, now: Timestamp) -> Row<'_> {
    Row {
        name: one.name.as_str(),
        url: one.urls.first().map_or("", String::as_str),
        country: one.country.as_ref().map_or("", repo_model::Country::as_str),
        chip: chip(one, now),
        preferred: one.preferred,
        since: one.since.map(When::from),
        why: one.why.as_deref(),
        behind: match one.lag() {
            None if one.places.is_empty() => "nothing seen".to_owned(),
            None => "not known now".to_owned(),
            Some((_, 0)) => "up to date".to_owned(),
            Some((secs, releases)) => {
                format!(
                    "{} behind, {}",
                    counted(releases, "release", "releases"),
                    span(secs)
                )
            }
        },
        places: one.places.iter().map(place_row).collect(),
        latency: one
            .latency_millis
            .map_or_else(String::new, |millis| format!("{} ms", count(millis))),
        speed: one
            .bytes_per_sec
            .map_or_else(String::new, |bytes| format!("{} a second", size(bytes))),
        seen: one.probed_at.map(When::from),
    }
}

fn chip(one: &MirrorStatus, now: Timestamp) -> Chip {
    let unseen = |at: Timestamp| now.unix_secs().saturating_sub(at.unix_secs()) > UNSEEN_SECS;
    let (tone, words) = match (one.health, &one.trouble) {
        (Health::New, _) => (Tone::Busy, "not looked at yet"),
        (Health::Dropped, Some(trouble)) if trouble.is_wrong_content() => {
            (Tone::Bad, "dropped: wrong content")
        }
        (Health::Dropped, Some(Trouble::Stale { .. })) => (Tone::Warn, "dropped: stale"),
        (Health::Dropped, Some(_)) => (Tone::Bad, "dropped"),
        (Health::Dropped, None) => (Tone::Warn, "coming back"),
        (Health::Listed, Some(_)) => (Tone::Warn, "listed, failed once"),
        (Health::Listed, None) if one.probed_at.is_none_or(unseen) => {
            (Tone::Idle, "listed, not looked at for a day")
        }
        (Health::Listed, None) => (Tone::Good, "listed"),
    };
    Chip {
        tone,
        words: words.to_owned(),
    }
}

fn place_row(place: &PlaceStatus) -> PlaceRow {
    let at = format!("{} {} {}", place.channel, place.repo, place.arch);
    let has = match (place.release, place.releases_behind) {
        (None, _) => "nothing of ours".to_owned(),
        (Some(release), _) if !place.is_seen() => {
            format!("release {release} when it was seen last")
        }
        (Some(release), 0) => format!("release {release}"),
        (Some(release), _) => format!(
            "release {release}, since {} behind",
            span(place.behind_secs)
        ),
    };
    PlaceRow {
        words: format!("{at}: {has}"),
        why: place.trouble.as_ref().map(ToString::to_string),
    }
}

fn spread_row(one: &ReleaseSpread) -> SpreadRow {
    let took = |secs: Option<u64>| secs.map_or_else(|| "–".to_owned(), span);
    SpreadRow {
        channel: one.channel.to_string(),
        release: format!("Release {}", one.release),
        href: crate::url::release(one.release),
        mirrors: counted(one.secs.len() as u64, "mirror", "mirrors"),
        first: took(one.secs.first().copied()),
        median: took(one.median()),
        last: took(one.secs.last().copied()),
    }
}

fn countries(mirrors: &[MirrorStatus]) -> Vec<CountryRow> {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for one in mirrors {
        let code = one
            .country
            .map_or_else(|| "unknown".to_owned(), |country| country.to_string());
        let (listed, others) = counts.entry(code).or_default();
        match one.health {
            Health::Listed => *listed += 1,
            Health::New | Health::Dropped => *others += 1,
        }
    }
    let row = |(code, (listed, others))| CountryRow {
        code,
        listed: count(listed),
        dropped: count(others),
    };
    counts.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(trouble: Option<Trouble>) -> MirrorStatus {
        MirrorStatus {
            name: "north".parse().unwrap(),
            urls: vec!["http://127.0.0.1:9".to_owned()],
            country: None,
            coordinates: None,
            weight: 100,
            private: false,
            preferred: false,
            standing: repo_model::wire::mirrors::Standing::Approved,
            health: Health::Dropped,
            since: None,
            why: trouble.as_ref().map(ToString::to_string),
            trouble: trouble.clone(),
            probed_at: None,
            latency_millis: None,
            bytes_per_sec: None,
            places: vec![PlaceStatus {
                channel: "stable".parse().unwrap(),
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                release: Some(repo_model::ReleaseId(3)),
                releases_behind: 0,
                behind_secs: 0,
                checked_at: Timestamp::default(),
                trouble,
            }],
        }
    }

    #[test]
    fn a_mirror_that_cannot_be_looked_at_is_not_called_up_to_date() {
        let away = mirror(Some(Trouble::Unreachable {
            url: "http://127.0.0.1:9".to_owned(),
            why: "its address 127.0.0.1 is not a public one".to_owned(),
        }));
        let shown = row(&away, Timestamp::default());
        assert_eq!(shown.behind, "not known now");
        assert_eq!(
            shown.places[0].words,
            "stable base x86_64: release 3 when it was seen last"
        );
        let back = mirror(None);
        let shown = row(&back, Timestamp::default());
        assert_eq!(shown.behind, "up to date");
        assert_eq!(shown.places[0].words, "stable base x86_64: release 3");
    }
}
