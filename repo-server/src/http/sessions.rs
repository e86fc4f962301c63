//! Who is logged in on the web pages. Sessions are in memory alone: a restart ends them, and nothing that is
//! stored lets anybody in. A session is no more than its token: each request looks the token up again.

use crate::tokens::{TokenError, random_hex};
use repo_model::FileDigest;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A session ends so long after log-in.
pub const LIFE: Duration = Duration::from_secs(8 * 3_600);
/// It ends when it was not used for so long.
const IDLE: Duration = Duration::from_secs(3_600);
/// Most sessions; the one that was used least recently makes room.
const MAX_SESSIONS: usize = 256;
/// Most sessions of one token.
const MAX_OF_TOKEN: usize = 8;

/// Wrong tokens from one address within [`WINDOW`] before it has to wait.
const MAX_MISSES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Most addresses that are remembered; beyond, the oldest is forgotten.
const MAX_ADDRESSES: usize = 10_000;

/// Everybody who is logged in, and who tried in vain.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the digest of what the cookie holds.
    sessions: HashMap<FileDigest, Session>,
    misses: HashMap<IpAddr, (u32, Instant)>,
}

#[derive(Debug)]
struct Session {
    token_id: u64,
    csrf: Secret,
    begun: Instant,
    used: Instant,
}

/// Text that logs must not show.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the same; the time this takes tells nothing about where they differ.
    pub fn is(&self, given: &str) -> bool {
        FileDigest::of(self.0.as_bytes()) == FileDigest::of(given.as_bytes())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// A session that goes on.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose it is.
    pub token_id: u64,
    /// What each form has to send back.
    pub csrf: Secret,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.begun) >= LIFE || now.duration_since(self.used) >= IDLE
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; gives what the cookie holds.
    pub fn begin(&self, token_id: u64, now: Instant) -> Result<Secret, TokenError> {
        let (secret, csrf) = (random_hex()?, Secret(random_hex()?));
        let mut state = self.lock();
        state.sessions.retain(|_, session| !session.is_over(now));
        state.make_room(MAX_OF_TOKEN, |session| session.token_id == token_id);
        state.make_room(MAX_SESSIONS, |_| true);
        let session = Session {
            token_id,
            csrf,
            begun: now,
            used: now,
        };
        state.sessions.insert(key(&secret), session);
        Ok(Secret(secret))
    }

    /// The session of a cookie, which is used by this.
    pub fn find(&self, secret: &str, now: Instant) -> Option<Found> {
        let mut state = self.lock();
        let key = key(secret);
        let session = state.sessions.get_mut(&key)?;
        if session.is_over(now) {
            state.sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some(Found {
            token_id: session.token_id,
            csrf: session.csrf.clone(),
        })
    }

    /// Ends the session of a cookie, if there is one.
    pub fn end(&self, secret: &str) {
        self.lock().sessions.remove(&key(secret));
    }

    /// Whether this address may try a token now; otherwise for how long it may not.
    pub fn may_try(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let state = self.lock();
        match state.misses.get(&neighbourhood(address)) {
            Some((misses, since)) if *misses >= MAX_MISSES => {
                let left = WINDOW.saturating_sub(now.duration_since(*since));
                if left.is_zero() { Ok(()) } else { Err(left) }
            }
            _ => Ok(()),
        }
    }

    /// A token from this address was wrong.
    pub fn missed(&self, address: IpAddr, now: Instant) {
        let address = neighbourhood(address);
        let mut state = self.lock();
        if state.misses.len() >= MAX_ADDRESSES && !state.misses.contains_key(&address) {
            let is_fresh = |since: Instant| now.duration_since(since) < WINDOW;
            state.misses.retain(|_, (_, since)| is_fresh(*since));
            let oldest = state.misses.iter().min_by_key(|(_, (_, since))| *since);
            if state.misses.len() >= MAX_ADDRESSES
                && let Some(oldest) = oldest.map(|(address, _)| *address)
            {
                state.misses.remove(&oldest);
            }
        }
        let (misses, since) = state.misses.entry(address).or_insert((0, now));
        if now.duration_since(*since) >= WINDOW {
            (*misses, *since) = (0, now);
        }
        *misses = misses.saturating_add(1);
    }
}

impl State {
    /// Leaves fewer than `limit` sessions of those that `are` meant.
    fn make_room(&mut self, limit: usize, are: impl Fn(&Session) -> bool) {
        while self
            .sessions
            .values()
            .filter(|session| are(session))
            .count()
            >= limit
        {
            let meant = self.sessions.iter().filter(|(_, session)| are(session));
            let Some(oldest) = meant
                .min_by_key(|(_, session)| session.used)
                .map(|(key, _)| *key)
            else {
                return;
            };
            self.sessions.remove(&oldest);
        }
    }
}

fn key(secret: &str) -> FileDigest {
    FileDigest::of(secret.as_bytes())
}

/// Whoever has one IPv6 address has 2^64 of them.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_session_ends_by_log_out_by_idleness_and_by_age() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let cookie = sessions.begin(7, start).unwrap();
        let mut now = start;
        while now.duration_since(start) < LIFE {
            let found = sessions.find(cookie.reveal(), now).expect("it is in use");
            assert_eq!(found.token_id, 7);
            assert!(found.csrf.is(found.csrf.reveal()) && !found.csrf.is("x"));
            now += IDLE - secs(1);
        }
        assert!(sessions.find(cookie.reveal(), now).is_none(), "too old");
        let idle = sessions.begin(7, start).unwrap();
        assert!(sessions.find(idle.reveal(), start + IDLE).is_none());
        let left = sessions.begin(7, start).unwrap();
        sessions.end(left.reveal());
        assert!(sessions.find(left.reveal(), start).is_none());
        assert!(sessions.find("anything", start).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_one_that_rests_longest_goes_first() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let first = sessions.begin(1, start).unwrap();
        let second = sessions.begin(1, start).unwrap();
        sessions.find(first.reveal(), start + secs(1)).unwrap();
        for _ in 0..MAX_OF_TOKEN - 1 {
            sessions.begin(1, start + secs(2)).unwrap();
        }
        assert!(sessions.find(second.reveal(), start + secs(2)).is_none());
        assert!(sessions.find(first.reveal(), start + secs(2)).is_some());
        for token in 2..2 + MAX_SESSIONS as u64 {
            sessions.begin(token, start + secs(3)).unwrap();
        }
        assert_eq!(sessions.lock().sessions.len(), MAX_SESSIONS);
    }

    #[test]
    fn whoever_guesses_has_to_wait_and_nobody_else() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let [guesser, other]: [IpAddr; 2] =
            ["203.0.113.1", "203.0.113.2"].map(|a| a.parse().unwrap());
        for _ in 0..MAX_MISSES {
            assert_eq!(sessions.may_try(guesser, now), Ok(()));
            sessions.missed(guesser, now);
        }
        assert_eq!(
            sessions.may_try(guesser, now + secs(60)),
            Err(WINDOW - secs(60))
        );
        assert_eq!(sessions.may_try(other, now), Ok(()));
        assert_eq!(sessions.may_try(guesser, now + WINDOW), Ok(()));
        let [here, neighbour]: [IpAddr; 2] =
            ["2001:db8::1", "2001:db8::2"].map(|a| a.parse().unwrap());
        for _ in 0..MAX_MISSES {
            sessions.missed(here, now);
        }
        assert!(sessions.may_try(neighbour, now).is_err());
    }

    #[test]
    fn addresses_that_guess_do_not_fill_the_memory() {
        let sessions = Sessions::default();
        let now = Instant::now();
        for number in 0..MAX_ADDRESSES as u32 + 50 {
            sessions.missed(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        assert_eq!(sessions.lock().misses.len(), MAX_ADDRESSES);
    }

    #[test]
    fn secrets_do_not_show_in_logs() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(1, Instant::now()).unwrap();
        assert!(!format!("{cookie:?} {sessions:?}").contains(cookie.reveal()));
    }
}
