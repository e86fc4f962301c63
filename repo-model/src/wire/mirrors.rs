//! Mirrors of the published tree: who registered, how each fares, and why.
//!
//! * `POST /api/v1/mirrors`: [`Registration`]; 201 [`Registered`]. Anybody may ask; a token with the scope
//!   `operate` lets the mirror in at once.
//! * `GET /api/v1/mirrors`: [`MirrorStatus`] list. Everybody sees the approved public ones.
//! * `GET /api/v1/mirrors/{name}`: [`MirrorReport`]. The mirror's own token and `operate` see all of it.
//! * `POST /api/v1/mirrors/{name}/describe` ([`Registration`]), `/approve`, `/reject` ([`Reject`]), `/probe`;
//!   scope `operate`.
//! * `DELETE /api/v1/mirrors/{name}`: `operate`, or the mirror's own token.
//!
//! Nobody has to trust a mirror: clients check every byte. What is kept here decides who is sent where.

use crate::{
    Arch, ChannelName, Country, FileDigest, MirrorName, Netblock, ReleaseId, RepoName, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most URLs of a mirror.
pub const MAX_URLS: usize = 4;
/// Longest URL, bytes.
pub const MAX_URL_BYTES: usize = 400;
/// Most netblocks, and most autonomous systems, of a mirror.
pub const MAX_BLOCKS: usize = 64;
/// Longest [`Registration::contact`] and [`Reject::reason`], characters.
pub const MAX_TEXT_CHARS: usize = 300;
/// Greatest [`Registration::weight`].
pub const MAX_WEIGHT: u32 = 10_000;

/// A mirror as its operator describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// How it is called.
    pub name: MirrorName,
    /// Where the tree is, the best address first: `{channel}/{repo}/{arch}/repodata/repomd.xml` lies below
    /// each. `http://` or `https://`, without a slash at the end.
    pub urls: Vec<String>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Degrees north and east, for the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<(f32, f32)>,
    /// Autonomous systems whose clients are near.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asns: Vec<u32>,
    /// Addresses whose clients are nearest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub netblocks: Vec<Netblock>,
    /// Share of clients among mirrors that are as near: 200 gets twice as many as 100.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Only clients in its netblocks and autonomous systems are sent to it, and only they hear of it.
    #[serde(default)]
    pub private: bool,
    /// Comes before others that are as near.
    #[serde(default)]
    pub preferred: bool,
    /// Whom to ask.
    pub contact: String,
}

fn default_weight() -> u32 {
    100
}

/// The registration cannot be taken. The sender's fault; correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct RegistrationError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Registration {
    /// Refuses what could not be used or would be unbounded.
    pub fn check(&self) -> Result<(), RegistrationError> {
        let refuse = |field, why: String| Err(RegistrationError { field, why });
        if self.urls.is_empty() || self.urls.len() > MAX_URLS {
            return refuse(
                "urls",
                format!("{} URLs: want 1 to {MAX_URLS}", self.urls.len()),
            );
        }
        if let Some((url, why)) = self
            .urls
            .iter()
            .find_map(|url| Some((url, url_problem(url)?)))
        {
            let shown: String = url.chars().take(80).collect();
            return refuse("urls", format!("`{shown}` {why}"));
        }
        for (field, count) in [
            ("asns", self.asns.len()),
            ("netblocks", self.netblocks.len()),
        ] {
            if count > MAX_BLOCKS {
                return refuse(field, format!("{count} of them: want at most {MAX_BLOCKS}"));
            }
        }
        if !(1..=MAX_WEIGHT).contains(&self.weight) {
            return refuse("weight", format!("{}: want 1 to {MAX_WEIGHT}", self.weight));
        }
        if self.private && self.asns.is_empty() && self.netblocks.is_empty() {
            return refuse(
                "private",
                "nobody would be sent to it: name netblocks or asns".to_owned(),
            );
        }
        let chars = self.contact.chars().count();
        if chars == 0 || chars > MAX_TEXT_CHARS {
            return refuse(
                "contact",
                format!("{chars} characters: want 1 to {MAX_TEXT_CHARS}"),
            );
        }
        match self.coordinates {
            Some((north, east)) if !(north.abs() <= 90.0 && east.abs() <= 180.0) => refuse(
                "coordinates",
                "want degrees: -90 to 90, -180 to 180".to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("begins with neither https:// nor http://");
    };
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}@?#".contains(c);
    match () {
        () if url.len() > MAX_URL_BYTES => Some("is too long"),
        () if host.is_empty() || host.starts_with(':') => Some("names no host"),
        () if !rest.chars().all(plain) => {
            Some("has a character that a plain URL has not: no user name, query or blank")
        }
        () if url.ends_with('/') => Some("ends with a slash: drop it"),
        () if rest.split('/').any(|part| part == "." || part == "..") => Some("has dots as a part"),
        () => None,
    }
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Where it stands.
    pub standing: Standing,
    /// The mirror's own token, shown this once: with it its operator sees everything that is known of the
    /// mirror, and can take it off the list.
    pub token: String,
    /// Why the mirror will do no good as it is described, if that is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Body of `reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Told to the mirror's operator.
    pub reason: String,
}

/// Whether a mirror may be listed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nobody has decided yet. It is not looked at.
    Pending,
    /// It may.
    Approved,
    /// Turned away, or taken off by hand.
    Rejected,
}

impl Standing {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// Whether clients are sent to an approved mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Not looked at yet.
    #[default]
    New,
    /// They are.
    Listed,
    /// They are not, until it has done well for a while.
    Dropped,
}

impl Health {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Listed => "listed",
            Self::Dropped => "dropped",
        }
    }
}

/// What is wrong with a mirror, with values; [`fmt::Display`] tells its operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trouble {
    /// No answer, or one that broke off.
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        why: String,
    },
    /// It answers with an error, or wants to lead elsewhere.
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Something that its own metadata promises is not there, or nothing of ours is.
    Missing {
        /// What was asked for.
        url: String,
    },
    /// Other bytes than were published under this name.
    WrongContent {
        /// What was asked for.
        url: String,
        /// SHA-256 of what came.
        found: FileDigest,
        /// SHA-256 of what was published.
        want: FileDigest,
    },
    /// A `repomd.xml` that was never published.
    NeverPublished {
        /// What was asked for.
        url: String,
        /// SHA-256 of what came.
        found: FileDigest,
    },
    /// More bytes than were published under this name.
    TooLarge {
        /// What was asked for.
        url: String,
        /// Bytes that were published.
        want_bytes: u64,
    },
    /// Slower than the server's operator wants to send clients to.
    TooSlow {
        /// What was asked for.
        url: String,
        /// Bytes a second that came.
        bytes_per_sec: u64,
        /// Bytes a second that are wanted.
        want_bytes_per_sec: u64,
    },
    /// It has an old release for too long.
    Stale {
        /// Channel.
        channel: ChannelName,
        /// What it has.
        release: ReleaseId,
        /// What the channel points to.
        current: ReleaseId,
        /// For how long it lags, seconds.
        behind_secs: u64,
    },
}

impl Trouble {
    /// Whether the mirror gave something that nobody published: damaged, or a lie.
    pub fn is_wrong_content(&self) -> bool {
        matches!(
            self,
            Self::WrongContent { .. } | Self::NeverPublished { .. } | Self::TooLarge { .. }
        )
    }

    /// How bad it is; greater is worse.
    pub fn gravity(&self) -> u8 {
        match self {
            Self::Stale { .. } => 1,
            Self::TooSlow { .. } => 2,
            Self::Missing { .. } | Self::Refused { .. } => 3,
            Self::Unreachable { .. } => 4,
            Self::TooLarge { .. } | Self::WrongContent { .. } | Self::NeverPublished { .. } => 5,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, why } => write!(f, "{url} cannot be reached: {why}"),
            Self::Refused { url, status } if (300..400).contains(status) => write!(
                f,
                "{url} leads elsewhere (status {status}): register the address it leads to"
            ),
            Self::Refused { url, status } => write!(f, "{url} is answered with status {status}"),
            Self::Missing { url } => write!(f, "{url} is not there"),
            Self::WrongContent { url, found, want } => {
                write!(f, "{url} has SHA-256 {found}, published was {want}")
            }
            Self::NeverPublished { url, found } => {
                write!(f, "{url} has SHA-256 {found}, which was never published")
            }
            Self::TooLarge { url, want_bytes } => {
                write!(
                    f,
                    "{url} has more than the {want_bytes} bytes that were published"
                )
            }
            Self::TooSlow {
                url,
                bytes_per_sec,
                want_bytes_per_sec,
            } => write!(
                f,
                "{url} comes with {bytes_per_sec} bytes a second; wanted are {want_bytes_per_sec}"
            ),
            Self::Stale {
                channel,
                release,
                current,
                behind_secs,
            } => write!(
                f,
                "{channel} is at release {release} there and at {current} here, since {}",
                span(*behind_secs)
            ),
        }
    }
}

/// `3 h 20 min`, for people.
pub fn span(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} min", secs / 60),
        7_200..=172_799 => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} days", secs / 86_400),
    }
}

/// A mirror in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// How it is called.
    pub name: MirrorName,
    /// Where the tree is.
    pub urls: Vec<String>,
    /// Where it stands.
    pub country: Option<Country>,
    /// Degrees north and east.
    pub coordinates: Option<(f32, f32)>,
    /// Share of clients.
    pub weight: u32,
    /// Whether only its own network hears of it.
    pub private: bool,
    /// Whether it comes before others that are as near.
    pub preferred: bool,
    /// Whether it may be listed.
    pub standing: Standing,
    /// Whether clients are sent to it.
    pub health: Health,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What was wrong when it was looked at last.
    pub trouble: Option<Trouble>,
    /// `trouble` in words.
    pub why: Option<String>,
    /// When it was looked at last.
    pub probed_at: Option<Timestamp>,
    /// Time to the first byte, last time, milliseconds.
    pub latency_millis: Option<u64>,
    /// Bytes a second, last time.
    pub bytes_per_sec: Option<u64>,
    /// Repositories it has, sorted.
    pub places: Vec<PlaceStatus>,
}

impl MirrorStatus {
    /// How far the worst of its repositories lags: seconds, and releases. Of what was never seen there, or could not
    /// be looked at last time, nothing is known.
    pub fn lag(&self) -> Option<(u64, u64)> {
        let seen = self.places.iter().filter(|place| place.is_seen());
        seen.map(|place| (place.behind_secs, place.releases_behind))
            .max()
    }

    /// Whether everybody may hear of it.
    pub fn is_open(&self) -> bool {
        self.standing == Standing::Approved && !self.private
    }
}

/// One repository of a channel on a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceStatus {
    /// Channel.
    pub channel: ChannelName,
    /// Repository.
    pub repo: RepoName,
    /// Architecture.
    pub arch: Arch,
    /// The release it has; none: not this repository, or something that was never published.
    pub release: Option<ReleaseId>,
    /// Releases between that and the channel's.
    pub releases_behind: u64,
    /// For how long it lags, seconds.
    pub behind_secs: u64,
    /// When it was looked at last.
    pub checked_at: Timestamp,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

impl PlaceStatus {
    /// Whether `release` is what was there last time, and not what was there before it could not be looked at.
    pub fn is_seen(&self) -> bool {
        let hidden = |trouble: &Trouble| {
            matches!(
                trouble,
                Trouble::Unreachable { .. } | Trouble::Refused { .. }
            )
        };
        self.release.is_some() && !self.trouble.as_ref().is_some_and(hidden)
    }
}

/// Everything about one mirror.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorReport {
    /// As in the list.
    #[serde(flatten)]
    pub status: MirrorStatus,
    /// The registration; only for its own operator and the server's.
    pub registration: Option<Registration>,
    /// Why it was turned away; only for those.
    pub rejected_because: Option<String>,
    /// Why it does no good as it is described, whatever it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Looks at it, newest first.
    pub probes: Vec<Probe>,
    /// When it was first seen to have a release, newest first.
    pub arrivals: Vec<Arrival>,
}

/// One look at a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When.
    pub at: Timestamp,
    /// What was wrong.
    pub trouble: Option<Trouble>,
    /// Releases that its oldest repository lags behind.
    pub releases_behind: u64,
    /// Time to the first byte, milliseconds.
    pub latency_millis: Option<u64>,
    /// Bytes a second.
    pub bytes_per_sec: Option<u64>,
}

/// When a release was first seen on a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Mirror.
    pub mirror: MirrorName,
    /// Channel.
    pub channel: ChannelName,
    /// Release.
    pub release: ReleaseId,
    /// When the channel moved to it.
    pub moved_at: Timestamp,
    /// Seconds from then until the mirror was seen to have it everywhere.
    pub secs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        Registration {
            name: "north".parse().unwrap(),
            urls: vec!["https://mirror.example/hallmark".to_owned()],
            country: None,
            coordinates: Some((59.9, 10.7)),
            asns: Vec::new(),
            netblocks: Vec::new(),
            weight: 100,
            private: false,
            preferred: false,
            contact: "ops@mirror.example".to_owned(),
        }
    }

    #[test]
    fn a_registration_is_bounded_and_its_urls_are_plain() {
        registration().check().unwrap();
        for bad in [
            "ftp://mirror.example",
            "https://",
            "https://:80/x",
            "https://u:p@mirror.example/x",
            "https://mirror.example/x/",
            "https://mirror.example/x?y",
            "https://mirror.example/a b",
            "https://mirror.example/a/../b",
            "https://mirror.example/<x>",
        ] {
            let one = Registration {
                urls: vec![bad.to_owned()],
                ..registration()
            };
            assert_eq!(one.check().unwrap_err().field, "urls", "{bad}");
        }
        for (field, one) in [
            (
                "urls",
                Registration {
                    urls: Vec::new(),
                    ..registration()
                },
            ),
            (
                "weight",
                Registration {
                    weight: 0,
                    ..registration()
                },
            ),
            (
                "private",
                Registration {
                    private: true,
                    ..registration()
                },
            ),
            (
                "contact",
                Registration {
                    contact: String::new(),
                    ..registration()
                },
            ),
            (
                "coordinates",
                Registration {
                    coordinates: Some((f32::NAN, 0.0)),
                    ..registration()
                },
            ),
            (
                "asns",
                Registration {
                    asns: vec![1; 65],
                    ..registration()
                },
            ),
        ] {
            assert_eq!(one.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn troubles_are_told_in_words_with_their_values() {
        let url = "https://m.example/stable/base/x86_64/repodata/repomd.xml".to_owned();
        let moved = Trouble::Refused {
            url: url.clone(),
            status: 301,
        };
        assert!(moved.to_string().contains("leads elsewhere"), "{moved}");
        let stale = Trouble::Stale {
            channel: "stable".parse().unwrap(),
            release: ReleaseId(3),
            current: ReleaseId(5),
            behind_secs: 90_000,
        };
        assert_eq!(
            stale.to_string(),
            "stable is at release 3 there and at 5 here, since 25 h 0 min"
        );
        assert!(
            Trouble::NeverPublished {
                url,
                found: FileDigest::of(b"")
            }
            .is_wrong_content()
        );
    }
}
