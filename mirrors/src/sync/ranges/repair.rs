//! Which ranges of a file are wrong, and whose they are.
//!
//! Metadata has one digest for the whole, so a range says nothing of itself: another upstream does. Ranges are compared
//! with what somebody else gives, one after the other. One that differs is replaced, unless a third upstream has the same,
//! and then the digest tells whether that was all. When it is right, all ranges are, so that whoever
//! gave another one gave a wrong one.

use super::parts::{Giver, Span};
use super::{Hand, Left, Spread, locked};
use crate::reading::{Algorithm, Hasher};
use crate::sync::fetch::Setback;
use crate::sync::peer::Problem;
use repo_model::FileDigest;
use std::cmp::Reverse;
use std::io;
use std::os::unix::fs::FileExt as _;

/// After each of so many replaced ranges the whole file is read; then after every doubling, since that takes as long as
/// fetching many.
const LOOKS: usize = 8;

/// A range as somebody gave it.
struct Version {
    span: Span,
    giver: Giver,
    sha256: Vec<u8>,
}

/// What comparing a range came to.
enum Compared {
    Same,
    Replaced,
    /// Nobody else can be asked.
    Lost,
}

/// A search for wrong ranges.
struct Search<'r, 's, 'a> {
    spread: &'r Spread<'s, 'a>,
    hands: &'r [Hand<'a>],
    versions: Vec<Version>,
    /// How often each upstream was alone with what it gave, by its number.
    alone: Vec<u32>,
    unchecked: Vec<usize>,
    buffer: Vec<u8>,
}

impl<'a> Spread<'_, 'a> {
    /// Replaces the ranges that are wrong; the file's digest, or none when it is not right in the end.
    pub(super) fn repair(&self, hands: &[Hand<'a>]) -> io::Result<Option<FileDigest>> {
        let mut search = Search {
            spread: self,
            hands,
            versions: Vec::new(),
            alone: vec![0; self.fetcher.peers.len()],
            unchecked: locked(&self.parts).numbers().collect(),
            buffer: Vec::new(),
        };
        let mut replaced: usize = 0;
        while let Some(number) = search.next() {
            match search.compare(number)? {
                Compared::Same => continue,
                Compared::Replaced => replaced += 1,
                Compared::Lost => return Ok(None),
            }
            let is_time = replaced <= LOOKS || replaced.is_power_of_two();
            if is_time && let Ok(digest) = self.whole()? {
                search.tell()?;
                return Ok(Some(digest));
            }
        }
        let digest = self.whole()?.ok();
        if digest.is_some() {
            search.tell()?;
        }
        Ok(digest)
    }

    fn sha256_of(&self, span: Span, buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        buffer.resize(128 << 10, 0);
        let mut at = span.start;
        while at < span.end {
            let left = usize::try_from(span.end - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(128 << 10)];
            self.file.read_exact_at(piece, at)?;
            hasher.update(piece);
            at += piece.len() as u64;
        }
        Ok(hasher.raw())
    }
}

impl Search<'_, '_, '_> {
    /// The range to look at next: of who was alone most often, then of an earlier sync, then of the upstream that was
    /// named last.
    fn next(&mut self) -> Option<usize> {
        let parts = locked(&self.spread.parts);
        let suspicion = |number: usize| match parts.giver(number) {
            Some(Giver::Peer(peer)) => (self.alone[peer], peer, Reverse(number)),
            Some(Giver::Earlier) | None => (0, usize::MAX, Reverse(number)),
        };
        let places = 0..self.unchecked.len();
        let place = places.max_by_key(|place| suspicion(self.unchecked[*place]))?;
        drop(parts);
        Some(self.unchecked.swap_remove(place))
    }

    fn compare(&mut self, number: usize) -> io::Result<Compared> {
        let (span, giver) = {
            let parts = locked(&self.spread.parts);
            (parts.span(number), parts.giver(number))
        };
        let Some(giver) = giver else {
            return Ok(Compared::Lost);
        };
        let mut others = self.others(giver);
        if others.is_empty() {
            return Ok(Compared::Same);
        }
        let before = self.spread.sha256_of(span, &mut self.buffer)?;
        let Some((other, found)) = self.replace(span, &mut others)? else {
            return Ok(Compared::Lost);
        };
        if found == before {
            return Ok(Compared::Same);
        }
        self.remember(span, giver, &before);
        self.remember(span, Giver::Peer(other), &found);
        let mut by = other;
        // Who was alone before is not worth a third word.
        let is_known = matches!(giver, Giver::Peer(giver) if self.alone[giver] > self.alone[other]);
        if !is_known && !others.is_empty() {
            let Some((third, word)) = self.replace(span, &mut others)? else {
                return Ok(Compared::Lost);
            };
            self.remember(span, Giver::Peer(third), &word);
            if word == before {
                self.alone[other] += 1;
                return Ok(Compared::Same);
            }
            match giver {
                Giver::Peer(giver) if word == found => self.alone[giver] += 1,
                _ => {}
            }
            by = third;
        }
        locked(&self.spread.parts).replaced(number, Giver::Peer(by));
        Ok(Compared::Replaced)
    }

    fn remember(&mut self, span: Span, giver: Giver, sha256: &[u8]) {
        let sha256 = sha256.to_vec();
        self.versions.push(Version {
            span,
            giver,
            sha256,
        });
    }

    /// Upstreams other than this one, as places among the hands: the most believable is the last.
    fn others(&self, giver: Giver) -> Vec<usize> {
        let is_other = |place: &usize| {
            let hand = &self.hands[*place];
            let is_there = !matches!(hand.left, Some(Left::GivesNoRanges | Left::Useless));
            is_there && giver != Giver::Peer(hand.number)
        };
        let mut others: Vec<usize> = (0..self.hands.len()).filter(is_other).collect();
        others.sort_by_key(|place| {
            let hand = &self.hands[*place];
            let suspicion = (hand.peer.has_lied(), self.alone[hand.number], hand.number);
            Reverse(suspicion)
        });
        others
    }

    /// Writes a range as the next of these has it; who that was, and its digest.
    fn replace(
        &mut self,
        span: Span,
        others: &mut Vec<usize>,
    ) -> io::Result<Option<(usize, Vec<u8>)>> {
        while let Some(place) = others.pop() {
            let hand = &self.hands[place];
            match self.spread.bring(hand.peer, span, &mut self.buffer) {
                Ok(()) => {
                    let sha256 = self.spread.sha256_of(span, &mut self.buffer)?;
                    return Ok(Some((hand.number, sha256)));
                }
                Err(Setback::Local(error)) => return Err(error),
                Err(Setback::Upstream(problem)) => self.spread.tell(hand.peer, &problem),
            }
        }
        Ok(None)
    }

    /// Tells who gave which ranges wrong, now that all are right.
    fn tell(&mut self) -> io::Result<()> {
        let mut wrong: Vec<(Giver, Vec<Span>)> = Vec::new();
        self.versions.sort_by_key(|version| version.span.start);
        for version in std::mem::take(&mut self.versions) {
            let right = self.spread.sha256_of(version.span, &mut self.buffer)?;
            if version.sha256 == right {
                continue;
            }
            match wrong.iter_mut().find(|(giver, _)| *giver == version.giver) {
                Some((_, spans)) => add(spans, version.span),
                None => wrong.push((version.giver, vec![version.span])),
            }
        }
        for (giver, spans) in wrong {
            let shown = |span: &Span| format!("{}-{}", span.start, span.end - 1);
            let shown = spans.iter().map(shown).collect::<Vec<_>>().join(", ");
            match giver {
                Giver::Peer(number) => {
                    let peer = &self.spread.fetcher.peers[number];
                    let problem = Problem::WrongRanges(shown);
                    peer.judge(Err(&problem));
                    self.spread.tell(peer, &problem);
                }
                Giver::Earlier => locked(&self.spread.problems).push(format!(
                    "bytes {shown} that an earlier sync had left were wrong"
                )),
            }
        }
        Ok(())
    }
}

/// Adds a range, to the last one where it goes on from there.
fn add(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.end == span.start => last.end = span.end,
        Some(last) if *last == span => {}
        _ => spans.push(span),
    }
}
