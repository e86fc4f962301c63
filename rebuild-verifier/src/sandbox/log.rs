//! Keeps the first and the last half of what a build prints, on disk, whatever it prints.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// A log file of bounded size: head, a line that says how much was left out, tail.
///
/// While it is written the tail is a ring behind the head; [`LogKeeper::finish`] turns it straight.
pub struct LogKeeper {
    file: File,
    head_limit: u64,
    tail_limit: u64,
    seen: u64,
}

impl LogKeeper {
    /// Starts a log at `path` that keeps at most `limit_bytes` (at least 2) of what is written.
    pub fn create(path: &Path, limit_bytes: u64) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let head_limit = (limit_bytes / 2).max(1);
        let tail_limit = limit_bytes.saturating_sub(head_limit).max(1);
        Ok(Self {
            file,
            head_limit,
            tail_limit,
            seen: 0,
        })
    }

    /// Reads to the end of `source`, which may be endless as long as somebody closes it.
    pub fn drain(&mut self, mut source: impl Read) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => self.keep(&chunk[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the next bytes of the log.
    pub fn keep(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Of what comes at once only the end can stay: the rest would be written over in this call.
            if self.seen >= self.head_limit {
                let over = (bytes.len() as u64).saturating_sub(self.tail_limit);
                self.seen += over;
                bytes = &bytes[usize::try_from(over).unwrap_or(0)..];
            }
            let (at, room) = if self.seen < self.head_limit {
                (self.seen, self.head_limit - self.seen)
            } else {
                let in_tail = (self.seen - self.head_limit) % self.tail_limit;
                (self.head_limit + in_tail, self.tail_limit - in_tail)
            };
            let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.file.seek(SeekFrom::Start(at))?;
            self.file.write_all(&bytes[..count])?;
            self.seen += count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Brings head and tail into order and returns the bytes that were seen in all.
    pub fn finish(mut self) -> io::Result<u64> {
        let kept = self.head_limit + self.tail_limit;
        if self.seen > kept {
            let oldest = (self.seen - self.head_limit) % self.tail_limit;
            let mut tail = vec![0; usize::try_from(self.tail_limit).unwrap_or(0)];
            self.file.seek(SeekFrom::Start(self.head_limit))?;
            self.file.read_exact(&mut tail)?;
            tail.rotate_left(usize::try_from(oldest).unwrap_or(0));
            self.file.seek(SeekFrom::Start(self.head_limit))?;
            writeln!(
                self.file,
                "\n[... {} bytes of the log left out ...]",
                self.seen - kept
            )?;
            self.file.write_all(&tail)?;
        }
        self.file.flush()?;
        Ok(self.seen)
    }
}

/// The last `limit_bytes` of a log as text; unreadable logs give an empty text.
pub fn tail(path: &Path, limit_bytes: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(limit_bytes)))?;
        let mut text = Vec::new();
        file.take(limit_bytes).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(limit: u64, pieces: &[&[u8]]) -> (String, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut keeper = LogKeeper::create(&path, limit).unwrap();
        for piece in pieces {
            keeper.drain(*piece).unwrap();
        }
        let seen = keeper.finish().unwrap();
        (std::fs::read_to_string(path).unwrap(), seen)
    }

    #[test]
    fn a_short_log_is_kept_whole() {
        assert_eq!(
            kept(10, &[b"abc", b"defg", b"hij"]),
            ("abcdefghij".to_owned(), 10)
        );
    }

    #[test]
    fn a_long_log_keeps_its_first_and_last_half() {
        let (text, seen) = kept(8, &[b"abcd", b"efghij", b"klmnopq"]);
        assert_eq!(text, "abcd\n[... 9 bytes of the log left out ...]\nnopq");
        assert_eq!(seen, 17);
        // All at once, and in pieces larger than the tail.
        let others: [&[&[u8]]; 2] = [&[b"abcdefghijklmnopq"], &[b"ab", b"cdefghijkl", b"mnopq"]];
        for pieces in others {
            assert_eq!(kept(8, pieces), (text.clone(), 17));
        }
    }

    #[test]
    fn the_file_never_grows_past_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut keeper = LogKeeper::create(&path, 1 << 16).unwrap();
        keeper.drain(io::repeat(b'x').take(10 << 20)).unwrap();
        keeper.finish().unwrap();
        assert!(path.metadata().unwrap().len() < (1 << 16) + 100);
    }
}
