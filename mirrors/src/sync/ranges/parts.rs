//! Which ranges of a file are there, and who gave them.

use crate::sync::store::Partial;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};

/// A range is this long, or longer where a file would have more than `RANGES_MAX` of them.
const RANGE_BYTES: u64 = 1 << 20;
const RANGES_MAX: u64 = 64;

/// Bytes of a file from `start` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    pub fn bytes(self) -> u64 {
        self.end - self.start
    }
}

/// Who gave a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Giver {
    /// A sync that was cut off.
    Earlier,
    /// The upstream with this number.
    Peer(usize),
}

/// The ranges of one file.
pub(super) struct Parts {
    size_bytes: u64,
    step_bytes: u64,
    givers: Vec<Option<Giver>>,
    is_taken: Vec<bool>,
    /// Bytes from the start that had come in one piece.
    start_bytes: u64,
    /// Ranges that are there, for the next sync.
    list: File,
}

impl Parts {
    /// Goes on with what there is of a file of this size; none: no file of this machine can be so large.
    pub fn open(partial: &mut Partial, size_bytes: u64) -> io::Result<Option<Self>> {
        let step_bytes = RANGE_BYTES.max(size_bytes.div_ceil(RANGES_MAX));
        let count = usize::try_from(size_bytes.div_ceil(step_bytes)).unwrap_or_default();
        let path = partial.list_of_ranges();
        let had_list = path.exists();
        let mut parts = Self {
            size_bytes,
            step_bytes,
            givers: vec![None; count],
            is_taken: vec![false; count],
            start_bytes: 0,
            list: OpenOptions::new().create(true).append(true).open(&path)?,
        };
        // A list beside another file than the one that it was made with says nothing.
        let listed = match partial.size_bytes == size_bytes {
            true => fs::read(&path)?,
            false => Vec::new(),
        };
        for line in String::from_utf8_lossy(&listed).lines() {
            if let Some(number) = parts.number(line) {
                parts.givers[number] = Some(Giver::Earlier);
            }
        }
        if listed.is_empty() {
            parts.list.set_len(0)?;
            // What came in one piece is a start. A file that has its size and an empty list is all holes.
            parts.start_bytes = match partial.size_bytes {
                have if have > size_bytes || (have == size_bytes && had_list) => 0,
                have => have,
            };
            let came = |number: &usize| parts.span(*number).end <= parts.start_bytes;
            for number in (0..count).take_while(came).collect::<Vec<_>>() {
                parts.came(number, Giver::Earlier)?;
            }
            if let Err(error) = partial.file.set_len(size_bytes) {
                tracing::debug!("no file of {size_bytes} bytes can be made: {error}");
                return Ok(None);
            }
        }
        Ok(Some(parts))
    }

    /// The range that a line names.
    fn number(&self, line: &str) -> Option<usize> {
        let (start, end) = line.split_once('-')?;
        let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
        let number = usize::try_from(start / self.step_bytes).ok()?;
        let is_one = number < self.givers.len() && self.span(number) == Span { start, end };
        is_one.then_some(number)
    }

    pub fn span(&self, number: usize) -> Span {
        let start = number as u64 * self.step_bytes;
        Span {
            start,
            end: self.size_bytes.min(start.saturating_add(self.step_bytes)),
        }
    }

    /// Numbers of all ranges.
    pub fn numbers(&self) -> std::ops::Range<usize> {
        0..self.givers.len()
    }

    pub fn giver(&self, number: usize) -> Option<Giver> {
        self.givers[number]
    }

    /// Takes the next range that is missing and that nobody is at.
    pub fn take(&mut self) -> Option<(usize, Span)> {
        let number = self.numbers().find(|number| {
            let number = *number;
            self.givers[number].is_none() && !self.is_taken[number]
        })?;
        self.is_taken[number] = true;
        Some((number, self.span(number)))
    }

    /// Gives a range back that did not come.
    pub fn give_back(&mut self, number: usize) {
        self.is_taken[number] = false;
    }

    /// A range is there.
    pub fn came(&mut self, number: usize, giver: Giver) -> io::Result<()> {
        let Span { start, end } = self.span(number);
        self.list.write_all(format!("{start}-{end}\n").as_bytes())?;
        self.givers[number] = Some(giver);
        Ok(())
    }

    /// A range was replaced by somebody else's.
    pub fn replaced(&mut self, number: usize, giver: Giver) {
        self.givers[number] = Some(giver);
    }

    pub fn are_all_here(&self) -> bool {
        self.givers.iter().all(Option::is_some)
    }

    pub fn are_none_here(&self) -> bool {
        self.givers.iter().all(Option::is_none)
    }

    /// Bytes from the start up to the first that is missing; none: nothing is.
    pub fn bytes_before_missing(&self) -> Option<u64> {
        let number = self.givers.iter().position(Option::is_none)?;
        let Span { start, end } = self.span(number);
        let goes_on = (start..end).contains(&self.start_bytes);
        Some(if goes_on { self.start_bytes } else { start })
    }

    /// Bytes of the ranges behind this place that came now, and not to an earlier sync.
    pub fn came_now_bytes(&self, from: u64) -> u64 {
        let came = |number: &usize| self.is_taken[*number] && self.givers[*number].is_some();
        let spans = self.numbers().filter(came).map(|number| self.span(number));
        let behind = spans.filter(|span| span.start >= from);
        behind.map(Span::bytes).sum()
    }

    /// The upstream that gave most of the file.
    pub fn main_giver(&self) -> Option<usize> {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for giver in self.givers.iter().flatten() {
            let Giver::Peer(peer) = *giver else {
                continue;
            };
            match counts.iter_mut().find(|(other, _)| *other == peer) {
                Some((_, count)) => *count += 1,
                None => counts.push((peer, 1)),
            }
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(peer, _)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::claim::Claim;
    use crate::sync::store::Store;
    use repo_model::FileDigest;

    const SIZE: u64 = (9 << 20) + 5;

    fn opened(partial: &mut Partial) -> Parts {
        Parts::open(partial, SIZE).unwrap().unwrap()
    }

    fn there(parts: &Parts) -> Vec<usize> {
        let is_there = |number: &usize| parts.giver(*number).is_some();
        parts.numbers().filter(is_there).collect()
    }

    #[test]
    fn ranges_that_came_are_known_to_the_next_sync_and_a_list_of_another_file_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), false).unwrap();
        let claim = Claim::of(FileDigest::of(b"big"));
        {
            let mut partial = store.partial(&claim).unwrap();
            let mut parts = opened(&mut partial);
            assert_eq!(parts.numbers().len(), 10);
            assert_eq!(parts.span(9).bytes(), 5);
            assert_eq!(parts.take().map(|(number, _)| number), Some(0));
            assert_eq!(parts.take().map(|(number, _)| number), Some(1));
            parts.give_back(0);
            assert_eq!(parts.take().map(|(number, _)| number), Some(0));
            parts.came(1, Giver::Peer(3)).unwrap();
            parts.came(9, Giver::Peer(3)).unwrap();
            parts.list.write_all(b"0-17\n99-\nrubbish").unwrap();
            assert_eq!(parts.main_giver(), Some(3));
            assert_eq!(parts.bytes_before_missing(), Some(0));
            // The last was nobody's to bring.
            assert_eq!(parts.came_now_bytes(0), RANGE_BYTES);
            assert_eq!(parts.came_now_bytes(RANGE_BYTES + 1), 0);
        }
        let mut partial = store.partial(&claim).unwrap();
        let parts = opened(&mut partial);
        assert_eq!(there(&parts), [1, 9]);
        assert_eq!(parts.main_giver(), None);
        assert_eq!(parts.came_now_bytes(0), 0);

        // The file went and another one was begun; of that a piece has come in one go.
        partial.file.set_len((2 << 20) + 1).unwrap();
        partial.size_bytes = (2 << 20) + 1;
        let parts = opened(&mut partial);
        assert_eq!(there(&parts), [0, 1]);
        assert_eq!(parts.bytes_before_missing(), Some((2 << 20) + 1));
        partial.size_bytes = SIZE + 1;
        assert!(there(&opened(&mut partial)).is_empty());
    }

    #[test]
    fn a_file_of_holes_is_not_taken_for_data_and_one_that_came_in_one_piece_is() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), false).unwrap();
        let claim = Claim::of(FileDigest::of(b"big"));
        // A sync that was killed before the first range came leaves the file at its size and an empty list.
        assert!(there(&opened(&mut store.partial(&claim).unwrap())).is_empty());
        let mut partial = store.partial(&claim).unwrap();
        assert_eq!(partial.size_bytes, SIZE);
        assert!(there(&opened(&mut partial)).is_empty());
        drop(partial);

        // All of it came in one piece: its short end, too.
        let claim = Claim::of(FileDigest::of(b"other"));
        let mut partial = store.partial(&claim).unwrap();
        partial.file.set_len(SIZE).unwrap();
        partial.size_bytes = SIZE;
        assert_eq!(there(&opened(&mut partial)).len(), 10);
    }

    #[test]
    fn a_size_that_no_file_can_have_is_no_failure_of_this_machine() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), false).unwrap();
        let claim = Claim::of(FileDigest::of(b"big"));
        let mut partial = store.partial(&claim).unwrap();
        assert!(Parts::open(&mut partial, u64::MAX).unwrap().is_none());
    }
}
