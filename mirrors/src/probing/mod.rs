//! What a registered mirror really serves, found out by asking for it: `repomd.xml`, the files that it names, a
//! few packages, all compared by content. Nothing a mirror says about itself is believed.
//!
//! Polite and careful: one request at a time, bounded bytes, no redirects, and no address that the operator
//! has not allowed, whatever a mirror's name resolves to.

mod health;
mod public;

pub use health::{Rules, State, after};
pub use public::is_public;

use crate::http::{BadUrlError, Client, HttpError};
use crate::reading::{Algorithm, Hasher};
use repo_model::FileDigest;
use repo_model::wire::mirrors::Trouble;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Longest wait for the start of an answer, and for each next piece.
const STALL: Duration = Duration::from_secs(15);
/// Every file may take this long, however slow the mirror.
const LEAST_TIME: Duration = Duration::from_secs(20);
/// From so many bytes on, a speed is told from a wait.
const SPEED_FROM_BYTES: u64 = 64 << 10;
/// Largest file that is read whatever it is: `repomd.xml` and its signature. Ours have a few kilobytes.
const SMALL_BYTES: u64 = 256 << 10;

/// A file of which everything is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Path below the mirror's base.
    pub path: String,
    /// Its content.
    pub digest: FileDigest,
    /// Bytes.
    pub size_bytes: u64,
}

/// How fast a mirror was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// To the first byte, milliseconds; the best of all answers.
    pub latency_millis: Option<u64>,
    /// Bytes of files that were large enough to tell.
    bytes: u64,
    millis: u64,
}

impl Pace {
    /// Bytes a second over all files that were large enough to tell; none when there was none.
    pub fn bytes_per_sec(&self) -> Option<u64> {
        (self.bytes * 1_000).checked_div(self.millis)
    }

    fn add(&mut self, waited: Duration, whole: Duration, bytes: u64) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let waited = millis(waited);
        self.latency_millis = Some(self.latency_millis.map_or(waited, |best| best.min(waited)));
        if bytes >= SPEED_FROM_BYTES {
            self.bytes += bytes;
            self.millis += millis(whole).max(1);
        }
    }
}

/// One look at one address of a mirror.
#[derive(Debug)]
pub struct Look {
    client: Client,
    slowest_bytes_per_sec: u64,
    /// Bytes that may still be fetched.
    budget_bytes: u64,
    /// How fast it was so far.
    pub pace: Pace,
}

impl Look {
    /// * `url`: the mirror's base.
    /// * `private_too`: whether it may have an address that is not public.
    /// * `budget_bytes`: most that is fetched.
    pub fn at(
        url: &str,
        private_too: bool,
        slowest_bytes_per_sec: u64,
        budget_bytes: u64,
    ) -> Result<Self, BadUrlError> {
        let may: fn(IpAddr) -> bool = if private_too { |_| true } else { is_public };
        Ok(Self {
            client: Client::guarded(url, STALL, may)?,
            slowest_bytes_per_sec,
            budget_bytes,
            pace: Pace::default(),
        })
    }

    /// The URL of a path, for reports.
    pub fn url(&self, path: &str) -> String {
        self.client.url(path)
    }

    /// Whether a file of this size may still be fetched.
    pub fn affords(&self, size_bytes: u64) -> bool {
        size_bytes <= self.budget_bytes
    }

    /// Bytes that may still be fetched.
    pub fn left_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Lets no more be fetched than this: the looks at all addresses of a mirror share what one may cost.
    pub fn limit(&mut self, left_bytes: u64) {
        self.budget_bytes = self.budget_bytes.min(left_bytes);
    }

    /// The digest of a small file that moves, whatever it is; none when the mirror has none. With its bytes.
    /// Fails once nothing more may be fetched.
    pub fn pointer(&mut self, path: &str) -> Result<Option<(FileDigest, Vec<u8>)>, Trouble> {
        if self.budget_bytes == 0 {
            return Err(Trouble::Unreachable {
                url: self.url(path),
                why: "it was not asked for: what one look may fetch (mirrors.probe_bytes) is spent"
                    .to_owned(),
            });
        }
        let mut bytes = Vec::new();
        match self.read(path, SMALL_BYTES, |piece| bytes.extend_from_slice(piece)) {
            Ok(()) => Ok(Some((FileDigest::of(&bytes), bytes))),
            Err(Trouble::Missing { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Fetches a file and compares it with what was published.
    pub fn compare(&mut self, known: &Known) -> Result<(), Trouble> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        self.read(&known.path, known.size_bytes, |piece| hasher.update(piece))?;
        let raw: [u8; 32] = hasher.raw().try_into().unwrap_or_default();
        let found = FileDigest::from_bytes(raw);
        match found == known.digest {
            true => Ok(()),
            false => Err(Trouble::WrongContent {
                url: self.url(&known.path),
                found,
                want: known.digest,
            }),
        }
    }

    fn read(
        &mut self,
        path: &str,
        limit_bytes: u64,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<(), Trouble> {
        let url = self.url(path);
        let started = Instant::now();
        let mut answer = self
            .client
            .get(path, 0)
            .map_err(|error| trouble(&url, error))?;
        let waited = started.elapsed();
        let mut buffer = vec![0; 64 << 10];
        let mut bytes = 0_u64;
        loop {
            let read = answer
                .body
                .read(&mut buffer)
                .map_err(|error| Trouble::Unreachable {
                    url: url.clone(),
                    why: format!("it broke off after {bytes} bytes: {error}"),
                })?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            self.budget_bytes = self.budget_bytes.saturating_sub(read as u64);
            if bytes > limit_bytes {
                return Err(Trouble::TooLarge {
                    url,
                    want_bytes: limit_bytes,
                });
            }
            piece(&buffer[..read]);
            self.is_fast_enough(&url, started.elapsed(), bytes)?;
        }
        self.pace.add(waited, started.elapsed(), bytes);
        Ok(())
    }

    fn is_fast_enough(&self, url: &str, took: Duration, bytes: u64) -> Result<(), Trouble> {
        let want = self.slowest_bytes_per_sec;
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes_per_sec = bytes.saturating_mul(1_000) / millis;
        // Without a limit of the operator's an hour a file still ends it: a look must end.
        let too_long = took > Duration::from_secs(3_600);
        if too_long || (took > LEAST_TIME && bytes_per_sec < want) {
            return Err(Trouble::TooSlow {
                url: url.to_owned(),
                bytes_per_sec,
                want_bytes_per_sec: want,
            });
        }
        Ok(())
    }

    /// What the speed over all files says.
    pub fn judge_pace(&self) -> Result<(), Trouble> {
        match self.pace.bytes_per_sec() {
            Some(bytes_per_sec) if bytes_per_sec < self.slowest_bytes_per_sec => {
                Err(Trouble::TooSlow {
                    url: self.url(""),
                    bytes_per_sec,
                    want_bytes_per_sec: self.slowest_bytes_per_sec,
                })
            }
            _ => Ok(()),
        }
    }
}

fn trouble(url: &str, error: HttpError) -> Trouble {
    let url = url.to_owned();
    match error {
        HttpError::Missing => Trouble::Missing { url },
        HttpError::Refused { status } => Trouble::Refused { url, status },
        HttpError::Unusable(why) | HttpError::Unreachable(why) => Trouble::Unreachable { url, why },
    }
}

#[cfg(test)]
mod tests;
