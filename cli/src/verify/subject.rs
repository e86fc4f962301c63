//! The chains of packages: files, names at the repository, what is installed, heads from a pack.

use super::ahead::Ahead;
use super::gather::{Common, Gathered, find, gather, published_head};
use super::source::{Source, SourceError};
use super::trust_dir::TrustDir;
use repo_model::rpm::{Head, HeadLimits, Package};
use repo_model::verify::{Chain, chain};
use repo_model::wire::status::{BuildStatus, PackageStatus};
use repo_model::{FileDigest, HeaderDigest, Nevra, Timestamp};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Most packages that are looked at at once: a server far away is waited for, not the processor.
const MOST_AT_ONCE: usize = 8;
/// Packages whose evidence is asked for together, and held in memory.
const TOGETHER: usize = 256;

/// One package to look at.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A whole file.
    File {
        /// Up to the payload.
        head: Box<Head>,
        /// Of all its bytes.
        digest: FileDigest,
    },
    /// A name at the repository.
    Named(Nevra),
    /// In the package database.
    Installed {
        /// Name.
        nevra: Nevra,
        /// What was installed.
        header: HeaderDigest,
    },
    /// Its header alone.
    Head(Box<Head>),
}

/// Why there is no chain to show.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Evidence cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be read. The reader's to mend.
    #[error("cannot read {name}")]
    Read {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no package, or its header is damaged. The same file fails again.
    #[error("{name} is no package: {why}")]
    NoPackage {
        /// Which.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Source packages are neither signed nor released: nothing is said about such a file that a chain could show.
    #[error("{0} is a source package, and those are not published")]
    SourcePackage(Nevra),
    /// The repository knows it and does not serve it.
    #[error("the newest release does not serve {0}: it was withdrawn, or is not published yet")]
    NotServed(Nevra),
    /// What the repository has under this name is something else. Nobody may install it: tell the operator.
    #[error("the repository has another header for {nevra} than {header}, which is installed")]
    OtherHeader {
        /// Name.
        nevra: Nevra,
        /// The installed one.
        header: HeaderDigest,
    },
}

impl Subject {
    /// Reads a whole package once: its head, and the digest of all of it.
    pub fn read(reader: impl Read, name: &str) -> Result<Self, SubjectError> {
        let mut hashing = Hashing {
            inner: BufReader::with_capacity(1 << 20, reader),
            hasher: Sha256::new(),
        };
        let head = Head::read(&mut hashing, &HeadLimits::default()).map_err(|error| {
            SubjectError::NoPackage {
                name: name.to_owned(),
                why: error.to_string(),
            }
        })?;
        let rest = io::copy(&mut hashing, &mut io::sink());
        rest.map_err(|source| SubjectError::Read {
            name: name.to_owned(),
            source,
        })?;
        Ok(Self::File {
            head: Box::new(head),
            digest: FileDigest::from_bytes(hashing.hasher.finalize().into()),
        })
    }

    /// Reads a file.
    pub fn of_file(path: &Path) -> Result<Self, SubjectError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::read(file, &name),
            Err(source) => Err(SubjectError::Read { name, source }),
        }
    }
}

/// A package of the kind that is published.
fn published(head: &Head) -> Result<Package, SubjectError> {
    let package = Package::from_head(head).map_err(|error| SubjectError::NoPackage {
        name: head.header_digest().to_string(),
        why: error.to_string(),
    })?;
    match package.is_source {
        true => Err(SubjectError::SourcePackage(package.nevra)),
        false => Ok(package),
    }
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// What is the same for all packages of one source.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// Whom to trust.
    pub trust: &'a TrustDir,
    /// Who has the evidence.
    pub source: &'a (dyn Source + Sync),
    /// The newest release.
    pub common: &'a Common,
    /// The time of this run.
    pub now: Timestamp,
}

impl Verifier<'_> {
    /// The chain of one package; none when the repository does not know what is asked for by name.
    pub fn chain(&self, subject: &Subject) -> Result<Option<Chain>, SubjectError> {
        let fetched;
        let (head, file) = match subject {
            Subject::File { head, digest } => (&**head, Some(*digest)),
            Subject::Head(head) => (&**head, None),
            Subject::Named(nevra) => {
                let Some((build, package)) = find(self.source, nevra, None)? else {
                    return Ok(None);
                };
                fetched = self.fetch_head(&build, &package)?;
                (&fetched, None)
            }
            Subject::Installed { nevra, header } => {
                let Some((build, package)) = find(self.source, nevra, Some(*header))? else {
                    return Ok(None);
                };
                fetched = self.fetch_head(&build, &package)?;
                if fetched.header_digest() != *header {
                    return Err(SubjectError::OtherHeader {
                        nevra: nevra.clone(),
                        header: *header,
                    });
                }
                return self.judge(&fetched, None, Some((build, package))).map(Some);
            }
        };
        let package = published(head)?;
        let found = find(self.source, &package.nevra, Some(head.header_digest()))?;
        self.judge(head, file, found).map(Some)
    }

    /// The chains of many packages, in their order: evidence is asked for together.
    ///
    /// * `read`: what there is to look at; a few are read side by side, and not all are held at once.
    /// * `done`: told of each.
    pub fn chains<T: Sync, E: From<SubjectError> + Send + Sync>(
        &self,
        items: &[T],
        read: impl Fn(&T) -> Result<Subject, E> + Sync,
        mut done: impl FnMut(&T, Result<Option<Chain>, E>),
    ) {
        for some in items.chunks(TOGETHER) {
            let start = Instant::now();
            let subjects = each(some, &read);
            let read_in = start.elapsed();
            let ahead = Ahead::of(self.source, subjects.iter().flatten());
            let ahead = ahead.unwrap_or_else(|error| {
                // Each package tells it again, with what it means.
                tracing::debug!("evidence is asked for one by one: {error}");
                Ahead::nothing(self.source)
            });
            let asked_in = start.elapsed() - read_in;
            let verifier = Verifier {
                source: &ahead,
                ..*self
            };
            let found = each(&subjects, |subject| match subject {
                Ok(subject) => verifier.chain(subject).map_err(E::from),
                Err(_) => Ok(None),
            });
            let judged_in = start.elapsed() - read_in - asked_in;
            tracing::debug!(
                verify.packages = some.len(),
                verify.read_micros = read_in.as_micros(),
                verify.ask_micros = asked_in.as_micros(),
                verify.judge_micros = judged_in.as_micros(),
                "{} packages: read in {read_in:?}, evidence asked for in {asked_in:?}, judged in {judged_in:?}",
                some.len()
            );
            for ((item, subject), found) in some.iter().zip(subjects).zip(found) {
                done(item, subject.and(found));
            }
        }
    }

    fn judge(
        &self,
        head: &Head,
        file: Option<FileDigest>,
        found: Option<(BuildStatus, PackageStatus)>,
    ) -> Result<Chain, SubjectError> {
        // What nobody knows has a chain too: one without evidence.
        let gathered = match found {
            Some((build, package)) => gather(self.source, self.common, &build, &package)?,
            None => Gathered::default(),
        };
        let evidence = gathered.about(head, file, self.trust.signature(head));
        Ok(chain(&self.trust.trust, &evidence, self.now))
    }

    fn fetch_head(
        &self,
        build: &BuildStatus,
        package: &PackageStatus,
    ) -> Result<Head, SubjectError> {
        let found = published_head(self.source, self.common, build, package)?;
        found.ok_or_else(|| SubjectError::NotServed(package.nevra.clone()))
    }
}

/// Does one piece of work for each item, a few at once, and returns the results in the items' order.
pub fn each<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(items.len()));
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = items.len().min(MOST_AT_ONCE).min(cores * 4);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::rpm::testkit::Rpm;

    #[test]
    fn results_come_in_the_order_of_the_items_whoever_is_done_first() {
        let items: Vec<u64> = (0..100).collect();
        let doubled = each(&items, |item| {
            std::thread::sleep(std::time::Duration::from_micros(100 - item));
            item * 2
        });
        assert_eq!(doubled, items.iter().map(|i| i * 2).collect::<Vec<_>>());
        assert!(each::<u64, u64>(&[], |item| *item).is_empty());
    }

    #[test]
    fn a_source_package_is_not_called_broken() {
        let head = |rpm: Rpm| Head::parse(&rpm.bytes()).unwrap();
        let error = published(&head(Rpm::source("assayed"))).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(" is a source package, and those are not published"),
            "{error}"
        );
        assert!(published(&head(Rpm::binary("assayed"))).is_ok());
    }

    #[test]
    fn what_is_no_package_is_named_and_not_read_into_memory() {
        for bytes in [&b""[..], b"\xed\xab\xee\xdb", &[0xed; 200]] {
            let error = Subject::read(bytes, "a.rpm").unwrap_err();
            assert!(
                error.to_string().starts_with("a.rpm is no package: "),
                "{error}"
            );
        }
        let error = Subject::of_file(Path::new("/nonexistent/a.rpm")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/a.rpm");
    }
}
