//! `[mirrors]`: how registered mirrors are looked at, and how clients are sent to them.

use super::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

/// `[mirrors]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MirrorsConfig {
    /// Each mirror is looked at so often, seconds, give or take a tenth; after a first failure it is
    /// looked at again after a quarter of it.
    pub probe_secs: u64,
    /// Mirrors that are looked at side by side; each gets one request at a time.
    pub probes_at_once: usize,
    /// Packages of each repository that are fetched and compared in one look.
    pub packages_per_probe: u32,
    /// Most bytes that one look fetches from a mirror.
    pub probe_bytes: u64,
    /// A mirror that gives less than this many bytes a second is too slow; 0: none is.
    pub slowest_bytes_per_sec: u64,
    /// Whether mirrors may have addresses of private networks or of this machine. Otherwise they are not
    /// asked: whoever registers a mirror must not make the server knock on doors inside.
    pub allow_private_addresses: bool,
    /// A repository that lags behind its channel for longer than this, seconds, is called stale.
    pub behind_secs: u64,
    /// Earlier releases of a channel that metalinks still accept, at most so many.
    pub alternates: usize,
    /// And only those that the channel left within this time, seconds.
    pub alternates_secs: u64,
    /// Most mirrors in one answer; the server's own address comes on top.
    pub answer_mirrors: usize,
    /// MaxMind DB file that tells the country of an address; read again when it changes.
    pub country_db: Option<PathBuf>,
    /// MaxMind DB file that tells the autonomous system of an address; read again when it changes.
    pub asn_db: Option<PathBuf>,
    /// What the signer says about where each channel points holds for so many seconds, and is renewed when
    /// half of that is over; 0: nothing is said. At most `signer.freshness_max_secs`.
    pub freshness_secs: u64,
    /// Results of looks are kept for so many days.
    pub history_days: u32,
    /// Registrations that wait for a decision; further ones are refused until some are decided.
    pub max_pending: u32,
}

impl Default for MirrorsConfig {
    fn default() -> Self {
        Self {
            probe_secs: 900,
            probes_at_once: 4,
            packages_per_probe: 3,
            probe_bytes: 64 << 20,
            slowest_bytes_per_sec: 20_000,
            allow_private_addresses: false,
            behind_secs: 43_200,
            alternates: 5,
            alternates_secs: 86_400,
            answer_mirrors: 20,
            country_db: None,
            asn_db: None,
            freshness_secs: 172_800,
            history_days: 90,
            max_pending: 50,
        }
    }
}

impl MirrorsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let zero = [
            ("probe_secs", self.probe_secs == 0),
            ("probes_at_once", self.probes_at_once == 0),
            ("answer_mirrors", self.answer_mirrors == 0),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(ConfigError::Contradiction(format!(
                "`mirrors.{name}` is 0: want 1 or more"
            ))),
            None => Ok(()),
        }
    }
}
