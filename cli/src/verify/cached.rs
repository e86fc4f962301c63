//! Evidence from a server with a folder of what it answered before, so that a machine without network can
//! verify what it fetched the evidence of. The folder is trusted no more than the server is.
//!
//! What is named by digest is taken from the folder, whoever can be asked. What changes is asked for anew,
//! and taken from the folder only when nobody answers. Files are named as in an evidence pack.

use super::ahead::builds_of;
use super::server::{MAX_MANY_BYTES, Server, is_transient, is_unreachable, take};
use super::source::{Item, Source, SourceError, in_memory};
use super::subject::each;
use crate::failure::chain;
use repo_model::bundle::Bundle;
use repo_model::rpm::{Head, HeadLimits};
use repo_model::wire::evidence::MAX_FILE_BYTES;
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

/// Most bytes of one file of the folder that are read.
const MAX_BYTES: u64 = 256 << 20;

/// What the folder has of one of many files.
enum Kept {
    Here(Vec<u8>),
    /// It is too large to be held with the others.
    Alone,
    Missing,
}

/// A server and the folder.
#[derive(Debug)]
pub struct Cached {
    dir: PathBuf,
    /// None: the folder alone.
    server: Option<Server>,
    /// Why the server is not asked any more: one wait for a dead server is enough.
    away: Mutex<Option<String>>,
}

impl Cached {
    /// Keeps in `dir` what `server` answers; without a server, what is in `dir` is all there is.
    pub fn new(dir: PathBuf, server: Option<Server>) -> Self {
        Self {
            dir,
            server,
            away: Mutex::new(None),
        }
    }

    /// Why the folder had to do: what the network said.
    pub fn away(&self) -> Option<String> {
        let away = self.away.lock();
        away.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the server; `Err(None)` when there is none that answers.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Server) -> Result<T, SourceError>,
    ) -> Result<T, Option<SourceError>> {
        let Some(server) = self.reachable() else {
            return Err(None);
        };
        match question(server) {
            Err(error) if is_transient(&error) => {
                self.give_up(&error);
                Err(None)
            }
            Err(SourceError::Read { source, .. }) => {
                self.give_up(&source);
                Err(None)
            }
            answer => answer.map_err(Some),
        }
    }

    /// Asks the server about many; none when there is none that answers, or not as it should. Only one that
    /// cannot be reached is away: what it did not say here may well be had one by one.
    fn ask_together<T>(
        &self,
        question: impl FnOnce(&Server) -> Result<T, SourceError>,
    ) -> Option<T> {
        match question(self.reachable()?) {
            Ok(answer) => Some(answer),
            Err(error) => {
                if is_unreachable(&error) {
                    self.give_up(&error);
                }
                tracing::debug!("evidence is asked for one by one: {}", chain(&error));
                None
            }
        }
    }

    fn reachable(&self) -> Option<&Server> {
        self.server.as_ref().filter(|_| self.away().is_none())
    }

    fn give_up(&self, error: &(dyn std::error::Error + 'static)) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get_or_insert_with(|| chain(error));
    }

    fn kept(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        match read(&self.dir.join(item.name())) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SourceError::Read {
                path: self.dir.join(item.name()).display().to_string(),
                source,
            }),
        }
    }

    /// One of many files, as long as they fit into what is left.
    fn kept_small(&self, item: &Item, left: &AtomicU64) -> Result<Kept, SourceError> {
        // Why it cannot be read, if so, is told by reading it.
        let size = fs::metadata(self.dir.join(item.name())).map_or(0, |metadata| metadata.len());
        if size > MAX_FILE_BYTES || !take(left, size) {
            return Ok(Kept::Alone);
        }
        let bytes = self.kept(item)?;
        Ok(match bytes.filter(|bytes| is_right(item, bytes)) {
            Some(bytes) => Kept::Here(bytes),
            None => Kept::Missing,
        })
    }

    /// What was kept of a name about packages that were not asked about now: the answer does not speak of them.
    fn unasked(
        &self,
        nevra: &Nevra,
        asked: &BTreeSet<HeaderDigest>,
    ) -> Result<Vec<BuildStatus>, SourceError> {
        let kept = self.kept(&Item::Builds(nevra.clone()))?;
        // What does not read is kept no longer.
        let kept: Vec<BuildStatus> =
            serde_json::from_slice(&kept.unwrap_or_default()).unwrap_or_default();
        let mut builds = builds_of(&kept, nevra);
        for build in &mut builds {
            let packages = &mut build.packages;
            packages.retain(|package| !asked.contains(&package.header));
        }
        builds.retain(|build| !build.packages.is_empty());
        Ok(builds)
    }

    fn keep(&self, item: &Item, bytes: &[u8]) -> Result<(), SourceError> {
        let path = self.dir.join(item.name());
        write(&path, bytes).map_err(|source| SourceError::Write { path, source })
    }

    /// What can be said when nobody answers and nothing was kept.
    fn nothing(&self, item: &Item) -> Result<(), SourceError> {
        // That a folder alone does not have something is an answer; that a dead server does not say is none.
        match self.away() {
            Some(why) => Err(SourceError::Away {
                path: item.path(),
                why,
            }),
            None => Ok(()),
        }
    }
}

impl Source for Cached {
    fn packages(
        &self,
        asked: &[(Nevra, HeaderDigest)],
    ) -> Result<Option<Vec<BuildStatus>>, SourceError> {
        let Some(Some(builds)) = self.ask_together(|server| server.packages(asked)) else {
            return Ok(None);
        };
        let mut names: BTreeMap<String, (&Nevra, BTreeSet<HeaderDigest>)> = BTreeMap::new();
        for (nevra, header) in asked {
            let name = names.entry(nevra.to_string());
            let (_, headers) = name.or_insert_with(|| (nevra, BTreeSet::new()));
            headers.insert(*header);
        }
        let names: Vec<_> = names.into_values().collect();
        let kept = each(&names, |(nevra, headers)| {
            let mut alone = builds_of(&builds, nevra);
            // A file may bear another's name: what is known of that one stays.
            let told = alone.iter().flat_map(|build| &build.packages);
            let told = told.map(|package| package.header);
            let told = told.chain(headers.iter().copied()).collect();
            alone.extend(self.unasked(nevra, &told)?);
            match serde_json::to_vec(&alone) {
                Ok(json) => self.keep(&Item::Builds((*nevra).clone()), &json),
                // It came as JSON.
                Err(_) => Ok(()),
            }
        });
        kept.into_iter().collect::<Result<(), _>>()?;
        Ok(Some(builds))
    }

    fn many(&self, items: &[Item]) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let left = AtomicU64::new(MAX_MANY_BYTES);
        let here = each(items, |item| self.kept_small(item, &left));
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for (item, kept) in items.iter().zip(here) {
            match kept? {
                Kept::Here(bytes) => files.push((item.name(), bytes)),
                Kept::Alone => {}
                Kept::Missing => missing.push(item.clone()),
            }
        }
        if missing.is_empty() {
            return Ok(files);
        }
        let came = self.ask_together(|server| server.many_within(&missing, &left));
        let came = came.unwrap_or_default();
        let names = missing.iter().map(|item| (item.name(), item));
        let by_name: HashMap<String, &Item> = names.collect();
        let kept = each(&came, |(name, bytes)| match by_name.get(name) {
            Some(item) if is_right(item, bytes) => self.keep(item, bytes).map(|()| true),
            _ => Ok(false),
        });
        for (file, kept) in came.into_iter().zip(kept) {
            if kept? {
                files.push(file);
            }
        }
        Ok(files)
    }

    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let kept = self.kept(item)?;
        if let Some(bytes) = kept.filter(|bytes| is_right(item, bytes)) {
            return Ok(Some(Box::new(Cursor::new(bytes))));
        }
        let asked = self.ask(|server| match server.open(item)? {
            None => Ok(None),
            Some(reader) => head(item, reader).map(Some),
        });
        match asked {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => {
                self.keep(item, &bytes)?;
                Ok(Some(Box::new(Cursor::new(bytes))))
            }
            Err(Some(error)) => Err(error),
            Err(None) => self.nothing(item).map(|()| None),
        }
    }

    fn fetch(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        if is_immutable(item)
            && let Some(bytes) = self.kept(item)?.filter(|bytes| is_right(item, bytes))
        {
            return Ok(Some(bytes));
        }
        match self.ask(|server| server.fetch(item)) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => {
                self.keep(item, &bytes)?;
                Ok(Some(bytes))
            }
            Err(Some(error)) => Err(error),
            Err(None) => match self.kept(item)?.filter(|bytes| is_right(item, bytes)) {
                Some(bytes) => Ok(Some(bytes)),
                None => self.nothing(item).map(|()| None),
            },
        }
    }
}

fn is_immutable(item: &Item) -> bool {
    match item {
        Item::Document(_) | Item::Bundle(_) | Item::Tile(_) | Item::Head { .. } => true,
        Item::Builds(_) | Item::Releases | Item::Checkpoint => false,
    }
}

/// Whether the bytes are what they are kept as: a machine that lost power may have kept less.
fn is_right(item: &Item, bytes: &[u8]) -> bool {
    match item {
        Item::Document(digest) => FileDigest::of(bytes) == *digest,
        Item::Bundle(digest) => Bundle::from_json(bytes)
            .is_ok_and(|bundle| FileDigest::of(&bundle.envelope.to_json()) == *digest),
        Item::Head { header, .. } => {
            Head::parse(bytes).is_ok_and(|head| head.header_digest() == *header)
        }
        // Whole hashes; which they must be is found out by what is made of them.
        Item::Tile(_) => !bytes.is_empty() && bytes.len().is_multiple_of(32),
        Item::Builds(_) | Item::Releases | Item::Checkpoint => !bytes.is_empty(),
    }
}

/// The beginning of a package, up to its payload.
fn head(item: &Item, reader: Box<dyn Read + '_>) -> Result<Vec<u8>, SourceError> {
    let head = Head::read(reader, &HeadLimits::default());
    head.map(|head| head.to_bytes())
        .map_err(|error| SourceError::Shape {
            path: item.path(),
            why: error.to_string(),
        })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file so that it is there whole or not at all. It can be fetched again, so nothing waits for the
/// disk.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(dir)?;
    io::copy(&mut in_memory(bytes), &mut file)?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Client;
    use crate::testing;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const DOCUMENT: &str = "{\"a\":1}";

    fn item() -> Item {
        Item::Document(FileDigest::of(DOCUMENT.as_bytes()))
    }

    #[test]
    fn what_is_named_by_digest_is_fetched_once_and_a_damaged_copy_again() {
        let server = testing::Server::start(|_| testing::Answer::json(200, DOCUMENT));
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(&server.url(), None).unwrap();
        let cached = Cached::new(dir.path().to_owned(), Some(Server(client)));
        for _ in 0..3 {
            let bytes = cached.fetch(&item()).unwrap().unwrap();
            assert_eq!(bytes, DOCUMENT.as_bytes());
        }
        assert_eq!(server.requests().len(), 1);
        fs::write(dir.path().join(item().name()), "{").unwrap();
        assert!(cached.fetch(&item()).unwrap().is_some());
        assert_eq!(server.requests().len(), 2);
        assert_eq!(cached.away(), None);
    }

    #[test]
    fn of_what_is_kept_no_more_is_held_than_fits() {
        let dir = tempfile::tempdir().unwrap();
        let cached = Cached::new(dir.path().to_owned(), None);
        let left = AtomicU64::new(10);
        let kept = |left| cached.kept_small(&item(), left).unwrap();
        assert!(matches!(kept(&left), Kept::Missing));
        cached.keep(&item(), DOCUMENT.as_bytes()).unwrap();
        assert!(matches!(kept(&left), Kept::Here(_)));
        assert!(matches!(kept(&left), Kept::Alone));
        let large = vec![b' '; MAX_FILE_BYTES as usize + 1];
        cached.keep(&item(), &large).unwrap();
        assert!(matches!(kept(&AtomicU64::new(u64::MAX)), Kept::Alone));
    }

    #[test]
    fn a_server_that_is_away_is_waited_for_once_and_the_folder_answers_for_it() {
        let is_up = Arc::new(AtomicBool::new(true));
        let up = is_up.clone();
        let server = testing::Server::start(move |_| match up.load(Ordering::SeqCst) {
            true => testing::Answer::json(200, "[]"),
            false => testing::Answer::hang_up(),
        });
        let dir = tempfile::tempdir().unwrap();
        let connect = || Some(Server(Client::new(&server.url(), None).unwrap()));
        let cached = Cached::new(dir.path().to_owned(), connect());
        assert_eq!(cached.fetch(&Item::Releases).unwrap().unwrap(), b"[]");
        is_up.store(false, Ordering::SeqCst);
        let asked = server.requests().len();
        assert_eq!(cached.fetch(&Item::Releases).unwrap().unwrap(), b"[]");
        assert!(cached.away().is_some());
        let after = server.requests().len();
        assert!(after > asked);
        // Never asked, and nobody can be asked: that is not the same as that there is none.
        assert!(matches!(
            cached.fetch(&Item::Checkpoint),
            Err(SourceError::Away { .. })
        ));
        assert_eq!(server.requests().len(), after);
        let alone = Cached::new(dir.path().to_owned(), None);
        assert_eq!(alone.fetch(&Item::Releases).unwrap().unwrap(), b"[]");
        assert!(alone.fetch(&Item::Checkpoint).unwrap().is_none());
    }
}
