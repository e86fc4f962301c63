//! Evidence from a copy of a repository alone: a mirror behind any web server, or a directory. The server is not asked,
//! and the copy is trusted no more than it is.
//!
//! `evidence.tar.zst` at the copy's root has what all packages share, `foo.rpm.evidence.tar.zst` beside each package the
//! rest ([`mirrors::evidence::beside`]). What was unpacked of packages lies in a temporary file, which memory need not
//! hold.

use super::server::failure;
use super::source::{Item, Source, SourceError, in_memory};
use super::subject::each;
use crate::api::Client;
use crate::failure::Failure;
use mirrors::evidence::beside::{COMMON, Files, SUFFIX, read_common, read_package};
use repo_model::manifest::{is_plain_path, package_path};
use repo_model::wire::status::BuildStatus;
use repo_model::{HeaderDigest, Nevra};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Most bytes that are unpacked of packages in one run; copies that say more are cut off.
const MAX_SPOOLED: u64 = 16 << 30;

/// A copy, with what all its packages share.
pub struct RepositoryCopy {
    place: Place,
    common: Files,
    packages: Mutex<Spool>,
}

/// Where it is.
enum Place {
    Url(Client),
    Directory(PathBuf),
}

/// What was unpacked of packages.
struct Spool {
    file: File,
    end: u64,
    /// Where each file's content is: offset and length. Whose name comes first counts.
    places: HashMap<String, (u64, usize)>,
    /// Packages whose evidence was asked for.
    asked: HashSet<String>,
}

impl RepositoryCopy {
    /// The copy at a URL (`http`, `https`, `file`) or in a directory; none: there is no evidence there.
    pub fn open(at: &str) -> Result<Option<Self>, Failure> {
        let place = match at.starts_with("http://") || at.starts_with("https://") {
            true => Place::Url(Client::new(at, None)?),
            false => Place::Directory(PathBuf::from(at.strip_prefix("file://").unwrap_or(at))),
        };
        Self::of(place).map_err(|error| match error {
            SourceError::Asked(error) => failure(error),
            error => Failure::failed(error),
        })
    }

    fn of(place: Place) -> Result<Option<Self>, SourceError> {
        let Some(packed) = place.open(COMMON)? else {
            return Ok(None);
        };
        let common = read_common(packed).map_err(|error| unreadable(COMMON, &error))?;
        let file = tempfile::tempfile().map_err(|source| SourceError::Write {
            path: std::env::temp_dir(),
            source,
        })?;
        Ok(Some(Self {
            place,
            common,
            packages: Mutex::new(Spool {
                file,
                end: 0,
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
        let files = read_package(packed).map_err(|error| unreadable(&path, &error))?;
        let kept = self.spool().keep(files);
        kept.map_err(|source| SourceError::Write {
            path: std::env::temp_dir(),
            source,
        })
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
    fn keep(&mut self, files: Files) -> io::Result<()> {
        for (name, content) in files {
            if self.places.contains_key(&name) {
                continue;
            }
            let end = self.end.saturating_add(content.len() as u64);
            if end > MAX_SPOOLED {
                return Err(io::Error::other("the evidence is larger than any"));
            }
            self.file.write_all(&content)?;
            self.places.insert(name, (self.end, content.len()));
            self.end = end;
        }
        Ok(())
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

impl Place {
    /// A file below it, by its path in a repository.
    fn open(&self, path: &str) -> Result<Option<Box<dyn Read>>, SourceError> {
        match self {
            Self::Directory(directory) => open_below(directory, path),
            Self::Url(client) => match client.get(&format!("/{}", in_url(path))) {
                Ok(answer) => {
                    // Whoever unpacks it has its own limits.
                    let body = answer.into_body().into_with_config().limit(u64::MAX);
                    Ok(Some(Box::new(body.reader())))
                }
                Err(error) if matches!(error.refused_with(), Some(403 | 404 | 410)) => Ok(None),
                Err(error) => Err(SourceError::Asked(Box::new(error))),
            },
        }
    }
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

/// Some web servers take a `+` for a space.
fn in_url(path: &str) -> String {
    path.replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
        .replace('+', "%2B")
        .replace('^', "%5E")
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
                return match &self.place {
                    // It is encoded already.
                    Place::Url(client) => match client.get(&format!("/{below}")) {
                        Ok(answer) => {
                            let body = answer.into_body().into_with_config().limit(u64::MAX);
                            Ok(Some(Box::new(body.reader())))
                        }
                        Err(error) if error.refused_with() == Some(404) => Ok(None),
                        Err(error) => Err(SourceError::Asked(Box::new(error))),
                    },
                    Place::Directory(_) => self.place.open(&decoded(below)),
                };
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

/// [`in_url`] undone.
fn decoded(path: &str) -> String {
    path.replace("%5E", "^")
        .replace("%2B", "+")
        .replace("%23", "#")
        .replace("%3F", "?")
        .replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Answer};
    use mirrors::evidence::beside::write_package;
    use repo_model::FileDigest;
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
}
