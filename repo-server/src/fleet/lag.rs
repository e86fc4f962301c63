//! How far behind its channel something is that has an older release.

use crate::db::channels::Move;
use repo_model::{ReleaseId, Timestamp};
use std::collections::BTreeSet;

/// A lag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Releases that the channel moved to since.
    pub releases: u64,
    /// Since the first of these moves, seconds.
    pub secs: u64,
}

/// The lag of what has `release`.
///
/// * `moves`: of the channel, newest first; the first of them is where it points.
///
/// Something that is ahead, because the channel was moved back, lags since that move.
pub fn of(moves: &[Move], release: ReleaseId, now: Timestamp) -> Lag {
    let Some(current) = moves.first() else {
        return Lag::default();
    };
    if release == current.release {
        return Lag::default();
    }
    let later = |one: &&Move| release < one.release && one.release <= current.release;
    let missed: Vec<&Move> = moves.iter().filter(later).collect();
    let since = missed
        .iter()
        .map(|one| one.moved_at)
        .min()
        .unwrap_or(current.moved_at);
    let releases: BTreeSet<ReleaseId> = missed.iter().map(|one| one.release).collect();
    Lag {
        releases: (releases.len() as u64).max(1),
        secs: u64::try_from(now.unix_secs().saturating_sub(since.unix_secs())).unwrap_or(0),
    }
}

/// Earlier releases that a client may still be given, newest first: those that the channel moved on from, at
/// most `most` and not before `since`. One that it was moved back from is not among them, nor anything newer
/// than where it points.
pub fn alternates(moves: &[Move], most: usize, since: Timestamp) -> Vec<ReleaseId> {
    let Some(current) = moves.first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for pair in moves.windows(2) {
        let (left_at, release) = (pair[0].moved_at, pair[1].release);
        if found.len() >= most || left_at < since {
            break;
        }
        if release < current.release && !found.contains(&release) {
            found.push(release);
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves to these releases, a hundred seconds apart, newest first.
    fn moves(releases: &[u64]) -> Vec<Move> {
        let mut moves: Vec<Move> = releases
            .iter()
            .zip(1..)
            .map(|(id, at)| Move {
                release: ReleaseId(*id),
                moved_at: Timestamp::from_unix_secs(at * 100),
                actor: "server".to_owned(),
            })
            .collect();
        moves.reverse();
        moves
    }

    #[test]
    fn the_lag_counts_from_the_first_release_that_was_missed() {
        let now = Timestamp::from_unix_secs(1_000);
        let of = |moved: &[u64], has: u64| {
            let lag = of(&moves(moved), ReleaseId(has), now);
            (lag.releases, lag.secs)
        };
        assert_eq!(of(&[1, 2, 3, 4], 4), (0, 0));
        assert_eq!(of(&[1, 2, 3, 4], 3), (1, 600));
        assert_eq!(of(&[1, 2, 3, 4], 1), (3, 800));
        // Moved back from 4 to 3: who has 4 is as wrong as who has 2.
        assert_eq!(of(&[1, 2, 3, 4, 3], 4), (1, 500));
        assert_eq!(of(&[1, 2, 3, 4, 3], 2), (1, 700));
        assert_eq!(of(&[], 2), (0, 0));
    }

    #[test]
    fn what_a_channel_was_moved_back_from_is_no_alternate() {
        let ids = |moved: &[u64], most, since| {
            let since = Timestamp::from_unix_secs(since);
            let found = alternates(&moves(moved), most, since);
            found.into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[1, 2, 3, 4], 9, 0), [3, 2, 1]);
        assert_eq!(ids(&[1, 2, 3, 4], 2, 0), [3, 2]);
        // 3 was left at 400, 2 at 300.
        assert_eq!(ids(&[1, 2, 3, 4], 9, 350), [3]);
        assert_eq!(ids(&[1, 2, 3, 4, 3], 9, 0), [2, 1]);
        assert_eq!(ids(&[1, 2, 3, 4, 3, 5], 9, 0), [4, 3, 2, 1]);
        assert!(ids(&[1], 9, 0).is_empty());
    }
}
