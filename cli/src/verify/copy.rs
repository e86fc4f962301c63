//! Evidence from a copy of a repository alone: a mirror behind any web server, or a directory. The server is not asked,
//! and the copy is trusted no more than it is.
//!
//! `evidence.tar.zst` at the copy's root has what all packages share, `foo.rpm.evidence.tar.zst` beside each package the
//! rest ([`mirrors::evidence::beside`]). What was unpacked of packages lies in a temporary file, which memory need not
//! hold.

use super::server::{failure, is_unreachable};
use super::source::{Item, Source, SourceError, in_memory};
use super::subject::each;
use crate::api::Client;
use crate::failure::Failure;
use mirrors::evidence::beside::{
    COMMON, Files, MAX_COMMON_BYTES, MAX_PACKAGE_BYTES, SUFFIX, each_of_package, read_common,
};
use mirrors::evidence::gather::{path_in, query_free};
use repo_model::bundle::Bundle;
use repo_model::manifest::{is_plain_path, package_path};
use repo_model::wire::status::BuildStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes that are unpacked of packages in one run, where nobody says less; copies that say more are cut off.
const MAX_SPOOLED: u64 = 16 << 30;
/// Longest that a web server may take for one file, however it comes.
const MAX_BODY: Duration = Duration::from_secs(300);
/// A web server that sends less than this, bytes a second, is given up,
const SLOWEST: u64 = 4 << 10;
/// once it was waited for so long within one file.
const SLOW_WINDOW: Duration = Duration::from_secs(20);

/// A copy, with what all its packages share.
pub struct RepositoryCopy {
    place: Place,
    common: Files,
    packages: Mutex<Spool>,
}

/// What a copy may use.
#[derive(Debug, Clone)]
pub struct Room {
    /// Where what is unpacked lies meanwhile.
    pub dir: PathBuf,
    /// Most bytes of that.
    pub most_bytes: u64,
    /// Longest that a copy at a URL is asked, all in all; none: no limit.
    pub most_wait: Option<Duration>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            dir: std::env::temp_dir(),
            most_bytes: MAX_SPOOLED,
            most_wait: None,
        }
    }
}

/// Where it is.
enum Place {
    Url(Web),
    Directory(PathBuf),
}

/// A web server that is not trusted to come to an end.
struct Web {
    client: Client,
    until: Option<Instant>,
    /// It was waited for once, and is not asked any more.
    is_given_up: AtomicBool,
}

/// A body that must come on.
struct Steady<'w, R> {
    body: R,
    web: &'w Web,
    waited: Duration,
    bytes: u64,
}

/// What was unpacked of packages.
struct Spool {
    file: File,
    dir: PathBuf,
    end: u64,
    most_bytes: u64,
    /// Where each file's content is: offset and length.
    places: HashMap<String, (u64, usize)>,
    /// Packages whose evidence was asked for.
    asked: HashSet<String>,
}

impl RepositoryCopy {
    /// The copy at a URL (`http`, `https`, `file`) or in a directory; none: there is no evidence there.
    pub fn open(at: &str) -> Result<Option<Self>, Failure> {
        Self::open_in(at, Room::default())
    }

    /// The same with less room.
    pub fn open_in(at: &str, room: Room) -> Result<Option<Self>, Failure> {
        let place = match at.starts_with("http://") || at.starts_with("https://") {
            true => Place::Url(Web {
                client: Client::new(at, None)?,
                until: room.most_wait.map(|most| Instant::now() + most),
                is_given_up: AtomicBool::new(false),
            }),
            false => Place::Directory(PathBuf::from(at.strip_prefix("file://").unwrap_or(at))),
        };
        Self::of(place, room).map_err(|error| match error {
            SourceError::Asked(error) => failure(error),
            error => Failure::failed(error),
        })
    }

    fn of(place: Place, room: Room) -> Result<Option<Self>, SourceError> {
        let common = match place.open(COMMON)? {
            None => return Ok(None),
            Some(packed) => read_common(packed.take(MAX_COMMON_BYTES)),
        };
        let common = common.map_err(|error| unreadable(COMMON, &error))?;
        let file = tempfile::tempfile_in(&room.dir).map_err(|source| SourceError::Write {
            path: room.dir.clone(),
            source,
        })?;
        Ok(Some(Self {
            place,
            common,
            packages: Mutex::new(Spool {
                file,
                dir: room.dir,
                end: 0,
                most_bytes: room.most_bytes,
                places: HashMap::new(),
                asked: HashSet::new(),
            }),
        }))
    }

    /// Unpacks what lies beside a package, once.
    fn unpack(&self, nevra: &Nevra) -> Result<(), SourceError> {
        let name = nevra.to_string();
        if !self.spool().asked.insert(name.clone()) {
            return Ok(());
        }
        let unpacked = self.unpack_anew(nevra);
        if unpacked.is_err() {
            // Whoever asks again is told again.
            self.spool().asked.remove(&name);
        }
        unpacked
    }

    fn unpack_anew(&self, nevra: &Nevra) -> Result<(), SourceError> {
        let path = format!("{}{SUFFIX}", package_path(nevra));
        let mut packed = self.place.open(&path)?;
        if let (None, Place::Directory(directory)) = (&packed, &self.place) {
            // Packages that were carried somewhere lie beside each other.
            packed = open_below(directory, &format!("{}{SUFFIX}", nevra.file_name()))?;
        }
        let Some(packed) = packed else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        let read = packed.take(MAX_PACKAGE_BYTES).read_to_end(&mut bytes);
        read.map_err(|source| SourceError::Read {
            path: path.clone(),
            source,
        })?;
        // One after the other: some are fetched side by side, and unpacked they may be large.
        self.spool().keep(nevra, &path, &bytes)
    }

    fn spool(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.packages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unpacked(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        let found = self.spool().read(&item.name());
        found.map_err(|source| SourceError::Read {
            path: item.name(),
            source,
        })
    }
}

impl Spool {
    /// Keeps what a package's pack says about it, or nothing of the pack.
    fn keep(&mut self, nevra: &Nevra, path: &str, packed: &[u8]) -> Result<(), SourceError> {
        let (mut end, mut places, mut unwritten) = (self.end, HashMap::new(), None);
        let read = each_of_package(packed, |name, content| {
            if self.places.contains_key(&name) || !is_right(nevra, &name, &content) {
                return Ok(());
            }
            match self.write(end, &content) {
                Ok(after) => {
                    places.insert(name, (end, content.len()));
                    end = after;
                    Ok(())
                }
                Err(error) => {
                    unwritten = Some(error);
                    Err(io::ErrorKind::Other.into())
                }
            }
        });
        if let Some(source) = unwritten {
            let path = self.dir.clone();
            return Err(SourceError::Write { path, source });
        }
        read.map_err(|error| unreadable(path, &error))?;
        self.places.extend(places);
        self.end = end;
        Ok(())
    }

    /// Writes content at this place; where the next one begins.
    fn write(&self, at: u64, content: &[u8]) -> io::Result<u64> {
        let end = at.saturating_add(content.len() as u64);
        if end > self.most_bytes {
            return Err(io::Error::other("the evidence is larger than any"));
        }
        self.file.write_all_at(content, at)?;
        Ok(end)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((offset, length)) = self.places.get(name) else {
            return Ok(None);
        };
        let mut content = vec![0; *length];
        self.file.read_exact_at(&mut content, *offset)?;
        Ok(Some(content))
    }
}

/// Whether a file of a package's pack is what its name says, so that no pack can stand in the way of another's.
fn is_right(nevra: &Nevra, name: &str, content: &[u8]) -> bool {
    if name.starts_with("builds/") {
        return name == Item::Builds(nevra.clone()).name();
    }
    let is = match Bundle::from_json(content) {
        Ok(bundle) if name.starts_with("bundles/") => {
            Item::Bundle(FileDigest::of(&bundle.envelope.to_json()))
        }
        _ => Item::Document(FileDigest::of(content)),
    };
    name == is.name()
}

impl Place {
    /// A file below it, by its path in a repository.
    fn open(&self, path: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match self {
            Self::Directory(directory) => open_below(directory, path),
            Self::Url(web) => web.open(path),
        }
    }
}

impl Web {
    fn open(&self, path: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        let now = Instant::now();
        let left = self.until.map(|until| until.saturating_duration_since(now));
        if self.is_given_up.load(Ordering::Relaxed) || left.is_some_and(|left| left.is_zero()) {
            return Err(SourceError::Read {
                path: path.to_owned(),
                source: io::Error::new(io::ErrorKind::TimedOut, "the copy was waited for too long"),
            });
        }
        let most = left.map_or(MAX_BODY, |left| left.min(MAX_BODY));
        let url = format!("/{}", query_free(path));
        match self.client.get_within(&url, Some(most)) {
            Ok(answer) => {
                // Whoever reads it has its own limits.
                let body = answer.into_body().into_with_config().limit(u64::MAX);
                Ok(Some(Box::new(Steady {
                    body: body.reader(),
                    web: self,
                    waited: Duration::ZERO,
                    bytes: 0,
                })))
            }
            Err(error) if matches!(error.refused_with(), Some(403 | 404 | 410)) => Ok(None),
            Err(error) => {
                let error = SourceError::Asked(Box::new(error));
                if is_unreachable(&error) {
                    self.give_up();
                }
                Err(error)
            }
        }
    }

    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl<R: Read> Read for Steady<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let read = self.body.read(buffer);
        self.waited += begun.elapsed();
        let too_slow = match &read {
            Ok(bytes) => {
                self.bytes += *bytes as u64;
                is_too_slow(self.bytes, self.waited)
            }
            // It breaks off, or has taken as long as one file may.
            Err(_) => self.waited >= SLOW_WINDOW,
        };
        if too_slow {
            self.web.give_up();
            let why = format!("it sends less than {SLOWEST} bytes a second");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        read
    }
}

fn is_too_slow(bytes: u64, waited: Duration) -> bool {
    waited >= SLOW_WINDOW && bytes < waited.as_secs().saturating_mul(SLOWEST)
}

/// A file of a directory; what copies and packages say must not lead out of it.
fn open_below(directory: &Path, path: &str) -> Result<Option<Box<dyn Read>>, SourceError> {
    if !is_plain_path(path) {
        return Ok(None);
    }
    let path = directory.join(path);
    match File::open(&path) {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SourceError::Read {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn unreadable(path: &str, error: &io::Error) -> SourceError {
    SourceError::Shape {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

impl Source for RepositoryCopy {
    /// Has the evidence of all of them unpacked, a few side by side; each is then asked about by itself.
    fn packages(
        &self,
        asked: &[(Nevra, HeaderDigest)],
    ) -> Result<Option<Vec<BuildStatus>>, SourceError> {
        for unpacked in each(asked, |(nevra, _)| self.unpack(nevra)) {
            if let Err(error) = unpacked {
                // Whoever asks about that package is told.
                tracing::debug!("{}", crate::failure::chain(&error));
            }
        }
        Ok(None)
    }

    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match item {
            Item::Builds(nevra) => self.unpack(nevra)?,
            Item::Head { path, .. } => {
                // `/r/RELEASE/REPO/ARCH/…`: the copy is of that repository.
                let below = path.splitn(6, '/').nth(5).unwrap_or_default();
                // It is encoded already.
                return self.place.open(&path_in(below));
            }
            _ => {}
        }
        if let Some(bytes) = self.common.get(&item.name()) {
            return Ok(Some(in_memory(bytes)));
        }
        let found = self.unpacked(item)?;
        Ok(found.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read>))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Answer};
    use mirrors::evidence::beside::write_package;
    use std::fs;

    /// A server that knows the package `p` with one SBOM.
    struct One;

    fn nevra() -> Nevra {
        "p-1-1.noarch".parse().unwrap()
    }

    fn header() -> HeaderDigest {
        HeaderDigest::of(b"p")
    }

    fn builds() -> String {
        let sbom = FileDigest::of(b"{}");
        serde_json::json!([{
            "build": 1, "repo": "base", "source": "p-1-1.src", "source_file": sbom, "buildinfo": sbom,
            "provenance": null, "stage": "received", "received_at": "2026-11-20T10:06:00Z",
            "changed_at": "2026-11-20T10:06:00Z", "rebuilds": [], "jobs": [], "packages": [{
                "nevra": "p-1-1.noarch", "header": header(), "unsigned_file": sbom, "signed_file": sbom,
                "href": "Packages/p/p-1-1.noarch.rpm", "size_bytes": 1, "summary": "",
                "evidence": [{"kind": "sbom", "label": "a", "digest": sbom}]
            }]
        }])
        .to_string()
    }

    impl Source for One {
        fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
            let bytes = match item {
                Item::Builds(_) => builds(),
                Item::Document(_) => "{}".to_owned(),
                _ => return Ok(None),
            };
            Ok(Some(Box::new(io::Cursor::new(bytes))))
        }
    }

    /// A directory with evidence of `p`, at this place.
    fn copy(place: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let found = mirrors::evidence::gather::find(&One, &nevra(), Some(header()));
        let (build, package) = found.unwrap().unwrap();
        let packed = write_package(&One, &build, &package).unwrap();
        // Any pack says what it has to here.
        fs::write(dir.path().join(COMMON), &packed).unwrap();
        let file = dir.path().join(format!("{place}{SUFFIX}"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, packed).unwrap();
        dir
    }

    fn knows(copy: &RepositoryCopy) -> bool {
        let builds = copy.fetch(&Item::Builds(nevra())).unwrap();
        let sbom = Item::Document(FileDigest::of(b"{}"));
        builds.is_some() && copy.fetch(&sbom).unwrap().as_deref() == Some(b"{}")
    }

    #[test]
    fn a_directory_answers_whether_packages_lie_as_in_a_repository_or_side_by_side() {
        for place in ["Packages/p/p-1-1.noarch.rpm", "p-1-1.noarch.rpm"] {
            let dir = copy(place);
            let copy = RepositoryCopy::open(dir.path().to_str().unwrap())
                .unwrap()
                .unwrap();
            assert!(knows(&copy), "{place}");
            let other = Item::Builds("q-1-1.noarch".parse().unwrap());
            assert_eq!(copy.fetch(&other).unwrap(), None);
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(
            RepositoryCopy::open(empty.path().to_str().unwrap())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_web_server_is_asked_once_for_each_package_and_a_broken_answer_is_told_each_time() {
        let dir = copy("Packages/p/p-1-1.noarch.rpm");
        let root = dir.path().to_owned();
        let server = testing::Server::start(move |request| {
            match fs::read(root.join(request.path.trim_start_matches('/'))) {
                Ok(bytes) if request.path.contains("/b/") => Answer::bytes(bytes[..20].to_vec()),
                Ok(bytes) => Answer::bytes(bytes),
                Err(_) => Answer::status(404),
            }
        });
        let copy = RepositoryCopy::open(&server.url()).unwrap().unwrap();
        let asked = [(nevra(), header()), (nevra(), header())];
        assert!(copy.packages(&asked).unwrap().is_none());
        assert!(knows(&copy) && knows(&copy));
        assert_eq!(
            server.requests().len(),
            2,
            "the repository's and the package's"
        );
        let broken: Nevra = "broken-1-1.noarch".parse().unwrap();
        let file = dir
            .path()
            .join(format!("{}{SUFFIX}", package_path(&broken)));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(dir.path().join(COMMON), &file).unwrap();
        for _ in 0..2 {
            let error = copy.fetch(&Item::Builds(broken.clone())).unwrap_err();
            assert!(matches!(error, SourceError::Shape { .. }), "{error}");
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_directory_finds_nothing() {
        let dir = copy("p-1-1.noarch.rpm");
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        for path in [
            "../evidence.tar.zst",
            "/etc/passwd",
            "a/../../evidence.tar.zst",
        ] {
            assert!(open_below(&below, path).unwrap().is_none(), "{path}");
        }
    }

    #[test]
    fn a_pack_says_nothing_about_other_packages_and_nothing_under_a_wrong_name() {
        let dir = copy("Packages/p/p-1-1.noarch.rpm");
        // The pack of `q` says all that the one of `p` does.
        let place = |nevra: &Nevra| dir.path().join(format!("{}{SUFFIX}", package_path(nevra)));
        let other: Nevra = "q-1-1.noarch".parse().unwrap();
        fs::create_dir_all(place(&other).parent().unwrap()).unwrap();
        fs::copy(place(&nevra()), place(&other)).unwrap();
        fs::remove_file(place(&nevra())).unwrap();
        let copy = RepositoryCopy::open(dir.path().to_str().unwrap());
        let copy = copy.unwrap().unwrap();
        copy.unpack(&other).unwrap();
        let builds = Item::Builds(nevra()).name();
        assert!(!copy.spool().places.contains_key(&builds));
        let sbom = Item::Document(FileDigest::of(b"{}")).name();
        assert!(copy.spool().places.contains_key(&sbom), "it is what it is");

        let bundle = Item::Bundle(FileDigest::of(b"{}")).name();
        assert!(is_right(&nevra(), &sbom, b"{}") && is_right(&nevra(), &builds, b"[]"));
        assert!(!is_right(&nevra(), &sbom, b"{ }") && !is_right(&nevra(), &bundle, b"{}"));
    }

    #[test]
    fn what_does_not_fit_into_the_room_is_left_out_whole() {
        let dir = copy("Packages/p/p-1-1.noarch.rpm");
        let room = Room {
            dir: dir.path().to_owned(),
            most_bytes: 10,
            most_wait: None,
        };
        let copy = RepositoryCopy::open_in(dir.path().to_str().unwrap(), room);
        let copy = copy.unwrap().unwrap();
        let error = copy.fetch(&Item::Builds(nevra())).unwrap_err();
        assert!(matches!(error, SourceError::Write { .. }), "{error}");
        let spool = copy.spool();
        assert!(spool.end == 0 && spool.places.is_empty());
    }

    #[test]
    fn a_web_server_that_trickles_or_takes_too_long_is_given_up() {
        assert!(!is_too_slow(0, SLOW_WINDOW / 2));
        assert!(is_too_slow(19 * SLOWEST, SLOW_WINDOW));
        assert!(!is_too_slow(20 * SLOWEST, SLOW_WINDOW));
        // It says what all packages share, and then does not come on.
        let dir = copy("Packages/p/p-1-1.noarch.rpm");
        let common = fs::read(dir.path().join(COMMON)).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 1024];
                let read = io::Read::read(&mut stream, &mut request).unwrap_or(0);
                let is_common = request[..read].starts_with(b"GET /evidence.tar.zst ");
                let length = if is_common { common.len() } else { 1 << 20 };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                let body = if is_common { &common[..] } else { &b"("[..] };
                for part in [head.as_bytes(), body] {
                    let _ = io::Write::write_all(&mut stream, part);
                }
                open.push(stream);
            }
        });
        let room = Room {
            most_wait: Some(Duration::from_secs(3)),
            ..Room::default()
        };
        let begun = Instant::now();
        let copy = RepositoryCopy::open_in(&url, room).unwrap().unwrap();
        for _ in 0..3 {
            let error = copy.fetch(&Item::Builds(nevra())).unwrap_err();
            assert!(matches!(error, SourceError::Read { .. }), "{error}");
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
