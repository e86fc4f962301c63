//! Putting a bundle's tree in place.
//!
//! ```text
//! DIR/.hallmark/bundle/sha256/…   objects that came, until the tree is in place
//! DIR/.hallmark/applied           when the last bundle that was applied was made, and in a second line of which
//!                                tree it is
//! ```

use super::survey::survey;
use super::{
    BUNDLE, BundleError, BundlePredicate, FILES, FILES_MAX_BYTES, HEAD, HEAD_MAX_BYTES, Listed,
    Trusted, is_tree_name, object_name, read_files,
};
use crate::export::{Content, Entry, Request, Switched, Tree, export_locked};
use crate::switch::sync_directory;
use crate::sync::claim::{Claim, Sum};
use crate::sync::site::{is_absent, lock, remove_tree};
use crate::sync::store::{Store, is_file, make_parent};
use crate::sync::tree::write;
use crate::sync::{OWN_DIRECTORY, Watch};
use crate::tar;
use repo_model::dsse::Envelope;
use repo_model::statement::{Statement, sha256_set};
use repo_model::{FileDigest, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How far ahead of ours the maker's clock may be.
const AHEAD_MAX_SECS: i64 = 86_400;
/// Largest window of the compression, as a power of two: 128 MiB of memory.
const WINDOW_LOG_MAX: u32 = 27;

/// Where and how to apply a bundle.
#[derive(Debug)]
pub struct Apply<'a> {
    /// Where the tree goes.
    pub directory: &'a Path,
    /// Keys of which one must have signed the bundle.
    pub trusted: Trusted<'a>,
    /// What the tree has no longer is removed after so long.
    pub grace: Duration,
    /// Now.
    pub now: Timestamp,
    /// Take a bundle that was made before the last one applied.
    pub allow_older: bool,
    /// Take a bundle of another tree than that of the last one applied.
    pub allow_other_tree: bool,
}

/// What a bundle changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// When it was made.
    pub created: Timestamp,
    /// Objects that were taken from it.
    pub objects: u64,
    /// What became of the tree.
    pub tree: crate::export::Summary,
}

/// Applies a bundle.
///
/// Nothing of it is visible before its signature, its times, its list and every object were found right, and before
/// it is noted that no earlier one may follow. A bundle that is applied again changes nothing, or goes on.
pub fn apply(
    request: &Apply<'_>,
    input: impl Read,
    watch: &dyn Watch,
) -> Result<Applied, BundleError> {
    let mut archive = zstd::Decoder::new(input)
        .and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Ok(BufReader::with_capacity(1 << 16, decoder))
        })
        .map_err(|source| BundleError::reading(0, source))?;
    let (predicate, files) = read_head(request, &mut archive)?;
    let own = request.directory.join(OWN_DIRECTORY);
    fs::create_dir_all(&own).map_err(BundleError::local(&own))?;
    let kept = own.join("bundle");
    let _lock = held(request, &own)?;
    let mark = own.join("applied");
    let last = LastApplied::read(&mark).map_err(BundleError::local(&mark))?;
    refuse_other(request, &last, &predicate)?;
    watch.step("looking at what is here");
    let here = survey(request.directory)?;
    let mut objects = Receiver::new(request.directory, &kept, &files, &here)?;
    watch.step("objects");
    objects.receive(&mut archive)?;
    objects.check_all(&files)?;
    // Before anything of it can be seen: were the machine to stop right after that, an earlier bundle would
    // find no mark. This one can be applied again.
    LastApplied::write(&own, &predicate).map_err(BundleError::local(&mark))?;
    let summary = export_locked(
        &tree(&files, &objects),
        &Request {
            directory: request.directory.to_owned(),
            grace: request.grace,
            now: request.now,
        },
        watch,
    )?;
    remove_tree(&kept).map_err(BundleError::local(&kept))?;
    Ok(Applied {
        created: predicate.created,
        objects: objects.came,
        tree: summary,
    })
}

fn held(request: &Apply<'_>, own: &Path) -> Result<File, BundleError> {
    let lock = lock(own).map_err(BundleError::local(own))?;
    lock.ok_or_else(|| BundleError::Busy {
        directory: request.directory.to_owned(),
    })
}

/// The statement, verified, and the list that it is about.
fn read_head(
    request: &Apply<'_>,
    archive: &mut impl Read,
) -> Result<(BundlePredicate, Vec<Listed>), BundleError> {
    let head = read_named(archive, HEAD, HEAD_MAX_BYTES)?;
    let envelope = Envelope::from_json(&head)
        .map_err(|error| BundleError::malformed(format!("{HEAD}: {error}")))?;
    let mut opened = request
        .trusted
        .iter()
        .filter_map(|key| Statement::<BundlePredicate>::open(&envelope, key, BUNDLE).ok());
    let statement = opened.next().ok_or(BundleError::Untrusted)?;
    let BundlePredicate {
        created, expires, ..
    } = statement.predicate;
    let now = request.now;
    if now >= expires {
        return Err(BundleError::Expired { expires, now });
    }
    if created > now.plus_secs(AHEAD_MAX_SECS) {
        return Err(BundleError::FromFuture { created, now });
    }
    if !is_tree_name(&statement.predicate.tree) {
        return Err(BundleError::malformed("the name of its tree is no name"));
    }
    let list = read_named(archive, FILES, FILES_MAX_BYTES)?;
    let wanted = sha256_set(FileDigest::of(&list));
    let about = |subject: &repo_model::statement::Subject| {
        subject.name == FILES && subject.digest == wanted
    };
    if !statement.subject.iter().any(about) {
        return Err(BundleError::malformed(
            "its list is not the one that was signed",
        ));
    }
    let list =
        String::from_utf8(list).map_err(|_| BundleError::malformed("its list is no text"))?;
    let files = read_files(&list)?;
    if files.len() as u64 != statement.predicate.files {
        return Err(BundleError::malformed(
            "its list has another length than was signed",
        ));
    }
    Ok((statement.predicate, files))
}

fn read_named(archive: &mut impl Read, name: &str, limit: u64) -> Result<Vec<u8>, BundleError> {
    let (found, size) = next_file(archive, 0)?
        .ok_or_else(|| BundleError::malformed(format!("it ends before {name}")))?;
    if found != name {
        return Err(BundleError::malformed(format!(
            "it has {found:?} where {name} should be"
        )));
    }
    if size > limit {
        return Err(BundleError::malformed(format!(
            "{name} has {size} bytes; at most {limit} are read"
        )));
    }
    let mut bytes = Vec::new();
    let cut = |source| BundleError::reading(0, source);
    archive.take(size).read_to_end(&mut bytes).map_err(cut)?;
    if bytes.len() as u64 != size {
        return Err(cut(ErrorKind::UnexpectedEof.into()));
    }
    tar::skip_padding(archive, size).map_err(cut)?;
    Ok(bytes)
}

fn next_file(archive: &mut impl Read, objects: u64) -> Result<Option<(String, u64)>, BundleError> {
    tar::next_file(archive).map_err(|source| BundleError::reading(objects, source))
}

/// What is remembered of the bundle that was applied last.
#[derive(Debug, Default)]
struct LastApplied {
    created: Option<Timestamp>,
    tree: Option<String>,
}

impl LastApplied {
    /// Reads it; nothing when none was applied.
    fn read(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let damaged = |_| io::Error::new(ErrorKind::InvalidData, "it is no time: remove it");
        let mut lines = text.lines();
        let created = lines.next().unwrap_or_default();
        let created = created.trim().parse::<Timestamp>();
        Ok(Self {
            created: Some(created.map_err(damaged)?),
            tree: lines.next().map(str::to_owned),
        })
    }

    /// Writes it, durably and in one step.
    fn write(own: &Path, of: &BundlePredicate) -> io::Result<()> {
        let fresh = own.join("applied.new");
        write(&fresh, format!("{}\n{}\n", of.created, of.tree).as_bytes())?;
        fs::rename(&fresh, own.join("applied"))?;
        sync_directory(own)?;
        // It may be new.
        own.parent().map_or(Ok(()), sync_directory)
    }
}

/// Refuses a bundle of another tree than the last one's, and one that was made before it.
fn refuse_other(
    request: &Apply<'_>,
    last: &LastApplied,
    predicate: &BundlePredicate,
) -> Result<(), BundleError> {
    if let Some(here) = &last.tree
        && *here != predicate.tree
        && !request.allow_other_tree
    {
        return Err(BundleError::OtherTree {
            tree: predicate.tree.clone(),
            here: here.clone(),
            directory: request.directory.to_owned(),
        });
    }
    match last.created {
        Some(applied) if predicate.created < applied && !request.allow_older => {
            Err(BundleError::Older {
                created: predicate.created,
                applied,
            })
        }
        _ => Ok(()),
    }
}

/// Where each file of the tree comes from.
struct Receiver {
    store: Store,
    incoming: PathBuf,
    /// Sizes of objects that were not here before the bundle, and have not come yet.
    wanted: HashMap<FileDigest, u64>,
    /// Where objects are.
    places: HashMap<FileDigest, PathBuf>,
    /// Objects that came.
    came: u64,
}

impl Receiver {
    fn new(
        directory: &Path,
        kept: &Path,
        files: &[Listed],
        here: &[Listed],
    ) -> Result<Self, BundleError> {
        let store = Store::open(kept, false).map_err(BundleError::local(kept))?;
        let mut places = steady(directory, files, here);
        let elsewhere: HashMap<FileDigest, &Listed> =
            here.iter().map(|file| (file.digest, file)).collect();
        let mut wanted = HashMap::new();
        for file in files {
            if places.contains_key(&file.digest) {
                continue;
            }
            let object = store.object(file.digest);
            if let Some(found) = elsewhere.get(&file.digest) {
                // Its place may get another file before this one is put where it belongs.
                let from = directory.join(&found.path);
                store
                    .place_from(&from, file.digest, &object)
                    .map_err(BundleError::local(&from))?;
                places.insert(file.digest, object);
                continue;
            }
            // From an earlier try, which may have ended with the machine: it is read again.
            match is_file(&object, &Claim::of(file.digest)) {
                Ok(Some(_)) => {
                    places.insert(file.digest, object);
                }
                Err(error) if !is_absent(&error) => {
                    return Err(BundleError::local(&object)(error));
                }
                Ok(None) | Err(_) => {
                    wanted.insert(file.digest, file.size_bytes);
                }
            }
        }
        Ok(Self {
            incoming: kept.join("incoming"),
            store,
            wanted,
            places,
            came: 0,
        })
    }

    /// Takes every object that is wanted; reads to the archive's end.
    fn receive(&mut self, archive: &mut impl Read) -> Result<(), BundleError> {
        while let Some((name, size)) = next_file(archive, self.came)? {
            let digest: FileDigest = name
                .strip_prefix("sha256/")
                .and_then(|hex| hex.parse().ok())
                .filter(|digest| object_name(*digest) == name)
                .ok_or_else(|| BundleError::malformed(format!("{name:?} is no object's name")))?;
            match self.wanted.remove(&digest) {
                Some(wanted) if wanted != size => {
                    return Err(BundleError::malformed(format!(
                        "{name} has {size} bytes, its list says {wanted}"
                    )));
                }
                Some(_) => self.take(archive, digest, size)?,
                // It was here already, or is there twice.
                None if self.places.contains_key(&digest) => self.pass_over(archive, size)?,
                None => {
                    return Err(BundleError::malformed(format!("{name} is not in its list")));
                }
            }
            tar::skip_padding(archive, size)
                .map_err(|source| BundleError::reading(self.came, source))?;
        }
        Ok(())
    }

    fn pass_over(&self, archive: &mut impl Read, size: u64) -> Result<(), BundleError> {
        let passed = io::copy(&mut archive.take(size), &mut io::sink());
        match passed {
            Ok(bytes) if bytes == size => Ok(()),
            Ok(_) => Err(BundleError::reading(
                self.came,
                ErrorKind::UnexpectedEof.into(),
            )),
            Err(source) => Err(BundleError::reading(self.came, source)),
        }
    }

    fn take(
        &mut self,
        archive: &mut impl Read,
        digest: FileDigest,
        size: u64,
    ) -> Result<(), BundleError> {
        let claim = Claim::of(digest);
        let mut sum = Sum::new(&claim);
        let mut out = File::create(&self.incoming).map_err(BundleError::local(&self.incoming))?;
        let mut left = size;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let count = match archive.read(&mut buffer[..most]) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                outcome => outcome,
            };
            let count = count.map_err(|source| BundleError::reading(self.came, source))?;
            sum.update(&buffer[..count]);
            out.write_all(&buffer[..count])
                .map_err(BundleError::local(&self.incoming))?;
            left -= count as u64;
        }
        if let Err(found) = sum.finish(&claim) {
            return Err(BundleError::malformed(format!(
                "an object that should have SHA-256 {digest} has {found}"
            )));
        }
        let object = self.store.object(digest);
        make_parent(&object)
            .and_then(|()| fs::rename(&self.incoming, &object))
            .map_err(BundleError::local(&object))?;
        self.places.insert(digest, object);
        self.came += 1;
        Ok(())
    }

    /// Whether everything is here now.
    fn check_all(&self, files: &[Listed]) -> Result<(), BundleError> {
        let lacking: Vec<&Listed> = files
            .iter()
            .filter(|file| !self.places.contains_key(&file.digest))
            .collect();
        match lacking.first() {
            None => Ok(()),
            Some(first) => Err(BundleError::Lacking {
                count: lacking.len(),
                first: first.path.clone(),
            }),
        }
    }
}

/// Files that are where the tree wants them: they stay there.
fn steady(directory: &Path, files: &[Listed], here: &[Listed]) -> HashMap<FileDigest, PathBuf> {
    let here: HashMap<&str, FileDigest> = here
        .iter()
        .map(|file| (file.path.as_str(), file.digest))
        .collect();
    let steady = files
        .iter()
        .filter(|file| here.get(file.path.as_str()) == Some(&file.digest));
    steady
        .map(|file| (file.digest, directory.join(&file.path)))
        .collect()
}

/// Of one at any depth, or of one that is the whole tree.
fn is_pointer_of_repository(path: &str) -> bool {
    let above = path.strip_suffix("repodata/repomd.xml");
    above.is_some_and(|above| above.is_empty() || above.ends_with('/'))
}

/// The tree, in the order in which an export puts it in place: a directory with a `repomd.xml` changes in one step,
/// packages and what lies beside them come before it, all else after it.
fn tree(files: &[Listed], receiver: &Receiver) -> Tree {
    let parent = |path: &str| {
        path.rsplit_once('/')
            .map_or("", |(parent, _)| parent)
            .to_owned()
    };
    let switched: BTreeSet<String> = files
        .iter()
        .filter(|file| is_pointer_of_repository(&file.path))
        .map(|file| parent(&file.path))
        .collect();
    let mut tree = Tree::default();
    let mut in_one_step: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for file in files {
        let Some(path) = receiver.places.get(&file.digest) else {
            continue;
        };
        let entry = Entry {
            path: file.path.clone(),
            content: Content::Object {
                path: path.clone(),
                digest: file.digest,
            },
        };
        let above = parent(&file.path);
        if switched.contains(&above) {
            in_one_step.entry(above).or_default().push(entry);
        } else if file.path.contains(".rpm") {
            tree.content.push(entry);
        } else {
            tree.pointers.push(entry);
        }
    }
    let switched = in_one_step.into_iter();
    tree.switched = switched
        .map(|(path, files)| Switched { path, files })
        .collect();
    tree
}
