//! Which ranges of a file are wrong, and whose they are.
//!
//! Metadata has one digest for the whole, so a range says nothing of itself: another upstream does. Ranges are compared
//! with what somebody else gives, one after the other. One that differs is replaced, unless a third upstream has the same,
//! and then the digest tells whether that was all. When it is right, all ranges are, so that whoever
//! gave another one gave a wrong one. What others give is kept aside until it is to replace something: who breaks off has
//! changed nothing.

use super::parts::{Giver, Span};
use super::{Hand, Spread, locked};
use crate::reading::{Algorithm, Hasher};
use crate::sync::fetch::Setback;
use crate::sync::peer::Problem;
use repo_model::FileDigest;
use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// After each of so many replaced ranges the whole file is read; then after every doubling, since that takes as long as
/// fetching many.
const LOOKS: usize = 8;
/// Read at once.
const PIECE_BYTES: usize = 128 << 10;

/// A range as somebody gave it.
struct Version {
    span: Span,
    giver: Giver,
    sha256: Vec<u8>,
}

/// A range as one more upstream gave it, in the file for such.
struct Word {
    by: usize,
    sha256: Vec<u8>,
    at: u64,
}

/// A search for wrong ranges.
struct Search<'r, 's, 'a> {
    spread: &'r Spread<'s, 'a>,
    hands: &'r mut [Hand<'a>],
    versions: Vec<Version>,
    /// How often each upstream was alone with what it gave, by its number.
    alone: Vec<u32>,
    unchecked: Vec<usize>,
    /// Up to two ranges that others gave; has no name.
    words: File,
    buffer: Vec<u8>,
}

impl<'a> Spread<'_, 'a> {
    /// Replaces the ranges that are wrong; the file's digest, or none when it is not right in the end.
    pub(super) fn repair(&self, hands: &mut [Hand<'a>]) -> io::Result<Option<FileDigest>> {
        let mut search = Search {
            spread: self,
            hands,
            versions: Vec::new(),
            alone: vec![0; self.fetcher.peers.len()],
            unchecked: locked(&self.parts).numbers().collect(),
            words: tempfile::tempfile_in(self.directory)?,
            buffer: Vec::new(),
        };
        let mut replaced: usize = 0;
        while let Some(number) = search.next() {
            if !search.compare(number)? {
                continue;
            }
            replaced += 1;
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
}

/// Reads bytes of a file, a piece at a time.
fn pieces(
    file: &File,
    from: u64,
    bytes: u64,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    buffer.resize(PIECE_BYTES, 0);
    let mut at = 0;
    while at < bytes {
        let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(PIECE_BYTES)];
        file.read_exact_at(piece, from + at)?;
        each(at, piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn sha256_of(file: &File, from: u64, bytes: u64, buffer: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    pieces(file, from, bytes, buffer, |_, piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(hasher.raw())
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

    /// Compares a range with what others give; whether it was replaced. What nobody else can be asked about stays.
    fn compare(&mut self, number: usize) -> io::Result<bool> {
        let (span, giver) = {
            let parts = locked(&self.spread.parts);
            (parts.span(number), parts.giver(number))
        };
        let Some(giver) = giver else {
            return Ok(false);
        };
        let mut others = self.others(giver);
        if others.is_empty() {
            return Ok(false);
        }
        let before = sha256_of(self.spread.file, span.start, span.bytes(), &mut self.buffer)?;
        let Some(second) = self.ask(span, &mut others, 0)? else {
            return Ok(false);
        };
        if second.sha256 == before {
            return Ok(false);
        }
        self.remember(span, giver, &before);
        self.remember(span, Giver::Peer(second.by), &second.sha256);
        let mut right = second;
        // Who was alone before is not worth a third word; and where nobody has one the second is believed.
        let is_known =
            matches!(giver, Giver::Peer(giver) if self.alone[giver] > self.alone[right.by]);
        if !is_known && let Some(third) = self.ask(span, &mut others, span.bytes())? {
            self.remember(span, Giver::Peer(third.by), &third.sha256);
            if third.sha256 == before {
                self.alone[right.by] += 1;
                return Ok(false);
            }
            match giver {
                Giver::Peer(giver) if third.sha256 == right.sha256 => self.alone[giver] += 1,
                _ => {}
            }
            right = third;
        }
        self.take_over(span, &right)?;
        locked(&self.spread.parts).replaced(number, Giver::Peer(right.by));
        Ok(true)
    }

    fn remember(&mut self, span: Span, giver: Giver, sha256: &[u8]) {
        let sha256 = sha256.to_vec();
        self.versions.push(Version {
            span,
            giver,
            sha256,
        });
    }

    /// Upstreams other than this one that can be asked, as places among the hands: the most believable is the last.
    fn others(&self, giver: Giver) -> Vec<usize> {
        let is_other = |place: &usize| {
            let hand = &self.hands[*place];
            hand.left.is_none() && giver != Giver::Peer(hand.number)
        };
        let mut others: Vec<usize> = (0..self.hands.len()).filter(is_other).collect();
        others.sort_by_key(|place| {
            let hand = &self.hands[*place];
            let suspicion = (hand.peer.has_lied(), self.alone[hand.number], hand.number);
            Reverse(suspicion)
        });
        others
    }

    /// A range as the next of these has it. Who fails is asked again behind the others, until it has failed as often as
    /// an upstream may.
    fn ask(&mut self, span: Span, others: &mut Vec<usize>, at: u64) -> io::Result<Option<Word>> {
        let patience = self.spread.fetcher.patience;
        while let Some(place) = others.pop() {
            let hand = &mut self.hands[place];
            let _busy = hand.peer.busy();
            std::thread::sleep(patience.pause * hand.strikes);
            let into = (&self.words, at);
            match self.spread.bring(hand.peer, span, into, &mut self.buffer) {
                Ok(()) => {
                    hand.strikes = 0;
                    hand.peer.judge(Ok(()));
                    let sha256 = sha256_of(&self.words, at, span.bytes(), &mut self.buffer)?;
                    let by = hand.number;
                    return Ok(Some(Word { by, sha256, at }));
                }
                Err(Setback::Local(error)) => return Err(error),
                Err(Setback::Upstream(problem)) => {
                    hand.failed(&problem, patience.attempts);
                    self.spread.tell(hand.peer, &problem);
                    if hand.left.is_none() {
                        others.insert(0, place);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Puts what somebody gave in the place of what is there.
    fn take_over(&mut self, span: Span, word: &Word) -> io::Result<()> {
        let file = self.spread.file;
        pieces(
            &self.words,
            word.at,
            span.bytes(),
            &mut self.buffer,
            |at, piece| file.write_all_at(piece, span.start + at),
        )
    }

    /// Tells who gave which ranges wrong, now that all are right.
    fn tell(&mut self) -> io::Result<()> {
        let mut wrong: Vec<(Giver, Vec<Span>)> = Vec::new();
        self.versions.sort_by_key(|version| version.span.start);
        for version in std::mem::take(&mut self.versions) {
            let Span { start, end } = version.span;
            let right = sha256_of(self.spread.file, start, end - start, &mut self.buffer)?;
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
