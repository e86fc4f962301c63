//! What a command left in its output directory, on its way out of the sandbox.
//!
//! The directory is a tmpfs of limited size inside; the sandbox's own shell writes its files to one
//! file of the machine, one after another: a line `<bytes> <path>`, then the bytes. That file can never
//! grow past the file size limit, whatever the command does, and the command cannot make entries,
//! links or anything else on the machine.

use super::SandboxError;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Component, Path};

/// Most files that are taken out.
const MAX_FILES: usize = 50_000;
/// Longest line before a file's bytes.
const MAX_LINE: u64 = 5_000;

/// Unpacks `exported` into the directory `out`.
pub fn unpack(exported: &Path, out: &Path) -> Result<(), SandboxError> {
    let io = |action: String| SandboxError::io(action);
    let file = File::open(exported).map_err(io(format!("read {}", exported.display())))?;
    let mut from = BufReader::new(file);
    for _ in 0..MAX_FILES {
        let mut line = Vec::new();
        from.by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(io(format!("read {}", exported.display())))?;
        if line.is_empty() {
            return Ok(());
        }
        let (bytes, name) = parse(&line).ok_or_else(|| garbled(&line))?;
        let target = out.join(name);
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).map_err(io(format!("make {}", dir.display())))?;
        }
        let written = File::create(&target)
            .and_then(|mut to| io::copy(&mut from.by_ref().take(bytes), &mut to))
            .map_err(io(format!("write {}", target.display())))?;
        if written != bytes {
            return Err(garbled(&line));
        }
    }
    Err(SandboxError::Setup {
        said: format!("the build left more than {MAX_FILES} files"),
    })
}

/// Length and relative path of one file: no `..`, nothing absolute, at most two directories.
fn parse(line: &[u8]) -> Option<(u64, &Path)> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (bytes, name) = line.split_once(' ')?;
    let path = Path::new(name);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let depth = path.components().count();
    (plain && (1..=3).contains(&depth)).then_some((bytes.parse().ok()?, path))
}

fn garbled(line: &[u8]) -> SandboxError {
    SandboxError::Setup {
        said: format!(
            "the output directory changed while it was read, or holds a name that no file should have: {:?}",
            String::from_utf8_lossy(&line[..line.len().min(80)])
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<(), SandboxError>) {
        let dir = tempfile::tempdir().unwrap();
        let exported = dir.path().join("export");
        fs::write(&exported, bytes).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let result = unpack(&exported, &out);
        (dir, result)
    }

    #[test]
    fn files_come_out_with_their_bytes_and_directories() {
        let (dir, result) = unpacked(b"3 a.rpm\nabc0 empty\n5 x/y/z b.rpm\n1 2\n3");
        result.unwrap();
        let read = |name: &str| fs::read(dir.path().join("out").join(name)).unwrap();
        assert_eq!(read("a.rpm"), b"abc");
        assert_eq!(read("empty"), b"");
        assert_eq!(read("x/y/z b.rpm"), b"1 2\n3");
    }

    #[test]
    fn a_forged_export_cannot_leave_its_directory() {
        for bad in [
            &b"1 ../evil\nx"[..],
            b"1 /etc/evil\nx",
            b"1 a/b/c/d\nx",
            b"1 a/../../b\nx",
            b"9 short\nx",
            b"x a\n",
            b"1 no line end",
            b"\xff\xfe a\nx",
        ] {
            let (dir, result) = unpacked(bad);
            assert!(result.is_err(), "{}", String::from_utf8_lossy(bad));
            let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
            assert_eq!(beside.len(), 2);
        }
    }
}
