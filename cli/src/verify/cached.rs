//! Evidence from a server with a folder of what it answered before, so that a machine without network can
//! verify what it fetched the evidence of. The folder is trusted no more than the server is.
//!
//! What is named by digest is taken from the folder, whoever can be asked. What changes is asked for anew,
//! and taken from the folder only when nobody answers. Files are named as in an evidence pack.

use super::ahead::without_packages;
use super::server::{Server, is_transient};
use super::source::{Item, Source, SourceError, in_memory};
use super::subject::each;
use crate::failure::chain;
use repo_model::bundle::Bundle;
use repo_model::rpm::{Head, HeadLimits};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Most bytes of one file of the folder that are read.
const MAX_BYTES: u64 = 256 << 20;

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
        let Some(server) = self.server.as_ref().filter(|_| self.away().is_none()) else {
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
        match self.ask(|server| server.packages(asked)) {
            Ok(Some(builds)) => {
                let names: BTreeSet<&Nevra> = asked.iter().map(|(nevra, _)| nevra).collect();
                let names: Vec<_> = names.into_iter().collect();
                let kept = each(&names, |nevra| {
                    let item = Item::Builds((*nevra).clone());
                    let alone = builds_of(&builds, nevra);
                    match serde_json::to_vec(&alone) {
                        Ok(json) => self.keep(&item, &json),
                        // It came as JSON.
                        Err(_) => Ok(()),
                    }
                });
                kept.into_iter().collect::<Result<(), _>>()?;
                Ok(Some(builds))
            }
            Ok(None) | Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    fn many(&self, items: &[Item]) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let here = each(items, |item| {
            let kept = self.kept(item)?;
            Ok::<_, SourceError>(kept.filter(|bytes| is_right(item, bytes)))
        });
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for (item, kept) in items.iter().zip(here) {
            match kept? {
                Some(bytes) => files.push((item.name(), bytes)),
                None => missing.push(item.clone()),
            }
        }
        if missing.is_empty() {
            return Ok(files);
        }
        let came = match self.ask(|server| server.many(&missing)) {
            Ok(came) => came,
            Err(None) => Vec::new(),
            Err(Some(error)) => return Err(error),
        };
        let came: HashMap<String, Vec<u8>> = came.into_iter().collect();
        let taken = each(&missing, |item| {
            let name = item.name();
            let Some(bytes) = came.get(&name).filter(|bytes| is_right(item, bytes)) else {
                return Ok(None);
            };
            self.keep(item, bytes)?;
            Ok::<_, SourceError>(Some((name, bytes.clone())))
        });
        for one in taken {
            files.extend(one?);
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

/// What the server would answer about this name alone.
fn builds_of(builds: &[BuildStatus], nevra: &Nevra) -> Vec<BuildStatus> {
    let mut found = Vec::new();
    for build in builds {
        let of_name = build.packages.iter().filter(|one| one.nevra == *nevra);
        let packages: Vec<_> = of_name.cloned().collect();
        if !packages.is_empty() {
            found.push(BuildStatus {
                packages,
                ..without_packages(build)
            });
        }
    }
    found
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
