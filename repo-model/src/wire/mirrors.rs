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

mod registration;
mod trouble;

pub use registration::{
    MAX_BLOCKS, MAX_TEXT_CHARS, MAX_URL_BYTES, MAX_URLS, MAX_WEIGHT, Registered, Registration,
    RegistrationError, Reject,
};
pub use trouble::{Trouble, span};

use crate::{Arch, ChannelName, Country, MirrorName, ReleaseId, RepoName, Timestamp};
use serde::{Deserialize, Serialize};

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
