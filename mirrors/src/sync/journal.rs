//! What a sync under way has done so far, so that one that was cut off goes on instead of beginning
//! anew. One line for each thing, appended when it has happened:
//!
//! ```text
//! boot 1b4e28ba-2fa1-11d2-883f-0016d3cca427
//! have ba7816bf…15ad -
//! have 3a985da7…a4ea sha512:2bbc…
//! doubt 3a985da7…a4ea
//! rechecked
//! place ba7816bf…15ad Packages/a-1-1.noarch.rpm
//! settled
//! ```
//!
//! `have`: an object is whole; with the claim it fulfils when that is no SHA-256. `place`: it goes to this place
//! now, which the state does not know yet. `settled`: all objects above are on the disk. After a crash of
//! the program every object counts, since the kernel has what was written; after a crash of the machine those
//! that were not settled are read again. `doubt`: an object that must be read again; `rechecked`: all of
//! those were.
//!
//! Every run begins by writing the journal of the run before anew without what it says twice, so that syncs
//! which fail again and again do not make it grow.

use super::claim::Claim;
use repo_model::FileDigest;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where the kernel says which run of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The journal of one copy.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    /// Objects that were read to their end in this run.
    sound: Mutex<HashSet<FileDigest>>,
}

/// What the run before has left.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// SHA-256 of files by what metadata claims of them, where that is another kind.
    pub by_claim: HashMap<Claim, FileDigest>,
    /// Objects that may be damaged: the machine went down before they were on the disk.
    pub doubtful: HashSet<FileDigest>,
    /// Objects that are whole unless the machine goes down.
    unsettled: HashSet<FileDigest>,
    /// Places that objects went to.
    placed: BTreeMap<Box<str>, FileDigest>,
}

impl Journal {
    /// Reads what there is and goes on with it.
    pub fn open(path: &Path) -> io::Result<(Self, Replayed)> {
        Self::open_in_boot(path, &boot_id())
    }

    fn open_in_boot(path: &Path, boot: &str) -> io::Result<(Self, Replayed)> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            // Damaged: as good as none, and every file is then looked at.
            Err(error) if error.kind() == ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(error),
        };
        let mut replayed = replay(&text);
        if text.lines().next() != Some(&format!("boot {boot}")) {
            let unsettled = std::mem::take(&mut replayed.unsettled);
            replayed.doubtful.extend(unsettled);
        }
        let fresh = path.with_extension("new");
        write_anew(&fresh, boot, &replayed)?;
        fs::rename(&fresh, path)?;
        let journal = Self {
            path: path.to_owned(),
            file: Mutex::new(OpenOptions::new().append(true).open(path)?),
            sound: Mutex::default(),
        };
        Ok((journal, replayed))
    }

    /// An object is whole.
    pub fn have(&self, digest: FileDigest, claim: &Claim) -> io::Result<()> {
        self.read_again(digest);
        match claim.sha256() {
            Some(_) => self.append(&format!("have {digest} -\n")),
            None => self.append(&format!("have {digest} {claim}\n")),
        }
    }

    /// All doubtful objects were read again.
    pub fn rechecked(&self) -> io::Result<()> {
        self.append("rechecked\n")
    }

    /// An object was read to its end in this run, and is what it should be.
    pub fn read_again(&self, digest: FileDigest) {
        let mut sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        sound.insert(digest);
    }

    /// Whether an object was read to its end in this run.
    pub fn is_sound(&self, digest: FileDigest) -> bool {
        let sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        sound.contains(&digest)
    }

    /// An object goes to its place: should nothing ever name it there, it is found again by this.
    pub fn place(&self, digest: FileDigest, path: &str) -> io::Result<()> {
        self.append(&format!("place {digest} {path}\n"))
    }

    /// The places so far that nothing else tells of: there may be as many as packages, and nearly all are known.
    pub fn placed(
        &self,
        is_known: impl Fn(&str) -> bool,
    ) -> io::Result<BTreeMap<Box<str>, FileDigest>> {
        let mut placed = BTreeMap::new();
        for line in BufReader::new(File::open(&self.path)?).lines() {
            let line = line?;
            let mut words = line.splitn(3, ' ');
            if let (Some("place"), Some(digest), Some(path)) =
                (words.next(), words.next(), words.next())
                && !is_known(path)
                && let Ok(digest) = digest.parse::<FileDigest>()
            {
                placed.insert(path.into(), digest);
            }
        }
        Ok(placed)
    }

    /// Brings everything on the file system of `directory` to the disk, and notes it: objects that were
    /// noted before are then safe. Others wait meanwhile.
    pub fn settle(&self, directory: &File) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::fs::syncfs(directory)?;
        file.write_all(b"settled\n")
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }

    /// The sync is done: what it did is remembered elsewhere.
    pub fn finish(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Writes what was replayed, so that replaying it again gives the same; durably.
fn write_anew(path: &Path, boot: &str, replayed: &Replayed) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "boot {boot}")?;
    for digest in &replayed.doubtful {
        writeln!(out, "doubt {digest}")?;
    }
    for (claim, digest) in &replayed.by_claim {
        writeln!(out, "have {digest} {claim}")?;
    }
    writeln!(out, "settled")?;
    for digest in &replayed.unsettled {
        writeln!(out, "have {digest} -")?;
    }
    for (place, digest) in &replayed.placed {
        writeln!(out, "place {digest} {place}")?;
    }
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()
}

fn boot_id() -> String {
    // Without one, every run counts as after a crash of the machine: slower, never wrong.
    let id = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let id = id.trim();
    match id.is_empty() {
        true => format!("unknown-{}", std::process::id()),
        false => id.to_owned(),
    }
}

fn replay(text: &str) -> Replayed {
    let mut replayed = Replayed::default();
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("have"), Some(digest), Some(claim)) => {
                let Ok(digest) = digest.parse::<FileDigest>() else {
                    continue;
                };
                replayed.unsettled.insert(digest);
                if let Ok(claim) = claim.parse::<Claim>() {
                    replayed.by_claim.insert(claim, digest);
                }
            }
            (Some("place"), Some(digest), Some(path)) => {
                if let Ok(digest) = digest.parse::<FileDigest>() {
                    replayed.placed.insert(path.into(), digest);
                }
            }
            (Some("doubt"), Some(digest), None) => {
                replayed.doubtful.extend(digest.parse::<FileDigest>().ok());
            }
            (Some("rechecked"), None, None) => replayed.doubtful.clear(),
            (Some("settled"), None, None) => replayed.unsettled.clear(),
            _ => {}
        }
    }
    replayed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_settled_before_the_machine_went_down_is_doubtful() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let [a, b] = [FileDigest::of(b"a"), FileDigest::of(b"b")];
        let sha1: Claim = "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"
            .parse()
            .unwrap();
        let (journal, _) = Journal::open_in_boot(&path, "1").unwrap();
        journal.have(a, &Claim::of(a)).unwrap();
        journal
            .settle(&File::open(directory.path()).unwrap())
            .unwrap();
        journal.have(b, &sha1).unwrap();
        journal.place(b, "a b.rpm").unwrap();
        journal.append("have torn").unwrap();
        drop(journal);
        let (again, replayed) = Journal::open_in_boot(&path, "1").unwrap();
        assert!(replayed.doubtful.is_empty());
        assert_eq!(replayed.by_claim.get(&sha1), Some(&b));
        again.have(a, &Claim::of(a)).unwrap();
        drop(again);
        let (after, replayed) = Journal::open_in_boot(&path, "2").unwrap();
        assert_eq!(replayed.doubtful, HashSet::from([a, b]));
        drop(after);
        // Reading them again was cut off, by whatever.
        for boot in ["2", "3", "3"] {
            let (_, replayed) = Journal::open_in_boot(&path, boot).unwrap();
            assert_eq!(replayed.doubtful, HashSet::from([a, b]), "{boot}");
        }
        let (done, _) = Journal::open_in_boot(&path, "3").unwrap();
        done.rechecked().unwrap();
        let (last, replayed) = Journal::open_in_boot(&path, "4").unwrap();
        assert!(replayed.doubtful.is_empty());
        assert_eq!(replayed.by_claim.get(&sha1), Some(&b));
        assert_eq!(
            last.placed(|_| false).unwrap(),
            BTreeMap::from([("a b.rpm".into(), b)])
        );
        assert!(last.placed(|path| path == "a b.rpm").unwrap().is_empty());
        last.finish().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn syncs_that_fail_again_and_again_do_not_make_the_journal_grow() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut sizes = HashSet::new();
        for _ in 0..3 {
            let (journal, _) = Journal::open_in_boot(&path, "1").unwrap();
            for n in 0..100_u32 {
                let digest = FileDigest::of(&n.to_le_bytes());
                journal.have(digest, &Claim::of(digest)).unwrap();
                journal.place(digest, &format!("p{n}.rpm")).unwrap();
            }
            drop(journal);
            drop(Journal::open_in_boot(&path, "1").unwrap());
            sizes.insert(fs::metadata(&path).unwrap().len());
        }
        assert_eq!(sizes.len(), 1, "{sizes:?}");
    }

    #[test]
    fn a_journal_of_rubbish_is_as_good_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        fs::write(&path, b"have \xff\xfe\nhave x y\nsettled now\n").unwrap();
        let (_, replayed) = Journal::open_in_boot(&path, "1").unwrap();
        assert!(replayed.doubtful.is_empty() && replayed.by_claim.is_empty());
    }
}
