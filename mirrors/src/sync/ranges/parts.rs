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
    /// Ranges that are there, for the next sync.
    list: File,
}

impl Parts {
    /// Goes on with what there is of a file of this size.
    pub fn open(partial: &mut Partial, size_bytes: u64) -> io::Result<Self> {
        let step_bytes = RANGE_BYTES.max(size_bytes.div_ceil(RANGES_MAX));
        let count = usize::try_from(size_bytes.div_ceil(step_bytes)).unwrap_or_default();
        let path = partial.list_of_ranges();
        let mut parts = Self {
            size_bytes,
            step_bytes,
            givers: vec![None; count],
            is_taken: vec![false; count],
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
            // What came in one piece is a start.
            let whole = match partial.size_bytes > size_bytes {
                true => 0,
                false => partial.size_bytes / step_bytes,
            };
            for number in 0..count.min(usize::try_from(whole).unwrap_or_default()) {
                parts.came(number, Giver::Earlier)?;
            }
            partial.file.set_len(size_bytes)?;
        }
        Ok(parts)
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
            end: self.size_bytes.min(start + self.step_bytes),
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
            let mut parts = Parts::open(&mut partial, SIZE).unwrap();
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
        }
        let mut partial = store.partial(&claim).unwrap();
        let parts = Parts::open(&mut partial, SIZE).unwrap();
        assert_eq!(there(&parts), [1, 9]);
        assert_eq!(parts.main_giver(), None);

        // The file went and another one was begun; of that a piece has come in one go.
        partial.file.set_len((2 << 20) + 1).unwrap();
        partial.size_bytes = (2 << 20) + 1;
        let parts = Parts::open(&mut partial, SIZE).unwrap();
        assert_eq!(there(&parts), [0, 1]);
        partial.size_bytes = SIZE + 1;
        assert!(there(&Parts::open(&mut partial, SIZE).unwrap()).is_empty());
    }
}
