//! `release-sboms`: what is made of each repository of a release after it was published. One SBOM a format
//! about all of its packages, and which package needs which, for questions.
//!
//! Not part of the release itself, because reading and writing tens of thousands of packages takes longer
//! than publishing one may. What ties a document to the release is the digest of `repomd.xml` in it, and
//! that anyone can make it again: `hallmark sbom --release` reads the same metadata with the same code.

use crate::app::{App, now_millis};
use crate::db::jobs::JobRow;
use crate::db::release_documents::{self, ReleaseDocumentRow};
use crate::db::releases::ReleaseRepoRow;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use crate::repocheck::{
    REPOMD, REPOMD_MAX_BYTES, Repomd, Source, SourceError, Stream, read_release,
};
use crate::sbom_index::requirements::{self, Requirements};
use crate::store::{Store, StoreError};
use repo_model::{FileDigest, ReleaseId};
use rusqlite::Transaction;
use sbom_gen::{Options, Release, ReleaseInfo, SBOM_FORMATS};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use tempfile::NamedTempFile;

/// Name in the database.
pub const NAME: &str = "release-sboms";
/// Compression of what is kept for ever and read seldom.
const ZSTD_LEVEL: i32 = 9;

/// Asks for it; asking again before it starts changes nothing.
pub fn enqueue(tx: &Transaction<'_>, release: ReleaseId) -> Result<(), DbError> {
    db::jobs::enqueue(tx, NAME, &release.to_string(), None, now_millis())
}

/// Asks at start for what releases lack that clients meet: those of servers from before it was made.
pub async fn ensure(app: &App) -> Result<(), DbError> {
    app.db
        .write(|tx| {
            for release in release_documents::lacking(tx)? {
                enqueue(tx, release)?;
            }
            Ok(())
        })
        .await
}

/// Asks for what a release lacks that a channel was just moved to.
pub fn enqueue_lacking(tx: &Transaction<'_>, release: ReleaseId) -> Result<(), DbError> {
    match release_documents::lacking(tx)?.contains(&release) {
        true => enqueue(tx, release),
        false => Ok(()),
    }
}

/// Runs it; the input is a release's number. Of a release that clients meet no more nothing is made: where
/// releases come faster than their documents are made, the newest are not kept waiting.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let release: ReleaseId = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no release", job.input)))?;
    for repo in app
        .db
        .read(move |connection| db::releases::repos(connection, release))
        .await?
    {
        let (name, arch) = (repo.repo.clone(), repo.arch.clone());
        let is_wanted = app
            .db
            .read(move |connection| {
                let made = release_documents::of_repo(connection, release, &name, &arch)?;
                Ok::<_, DbError>(made.is_empty() && release_documents::is_met(connection, release)?)
            })
            .await?;
        if !is_wanted {
            continue;
        }
        let rows = make(&app, release, &repo).await?;
        app.db
            .write(move |tx| {
                rows.iter()
                    .try_for_each(|row| release_documents::insert(tx, release, row))
            })
            .await?;
    }
    app.db
        .write(move |tx| db::jobs::finish(tx, job.job_id))
        .await
        .map_err(JobError::Db)
}

/// Everything about one repository, stored.
async fn make(
    app: &App,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<Vec<ReleaseDocumentRow>, JobError> {
    let source = stored(app, release, repo).await?;
    let options = Options::of_operator(&app.config.sbom, &app.config.server.public_url);
    let info = about(app, release, repo);
    let place = format!("{} {} of release {release}", repo.repo, repo.arch);
    let scratch = app.clone();
    let made = tokio::task::spawn_blocking(move || {
        let read = read_release(&source, info, &options);
        let release = read.map_err(|source| JobError::ReleaseMetadata {
            place: place.clone(),
            source,
        })?;
        documents(&scratch, &release, &options, &place)
    });
    let mut rows = Vec::new();
    for (label, made) in made.await?? {
        app.store.put_file(made.file.path(), made.packed.0).await?;
        rows.push(ReleaseDocumentRow {
            repo: repo.repo.clone(),
            arch: repo.arch.clone(),
            label: label.to_owned(),
            digest: made.plain.0,
            size_bytes: made.plain.1,
            packed: made.packed.0,
            packed_size_bytes: made.packed.1,
        });
    }
    Ok(rows)
}

/// What the documents call the repository: the same in each of its releases but for the number.
fn about(app: &App, release: ReleaseId, repo: &ReleaseRepoRow) -> ReleaseInfo {
    let server = &app.config.server;
    let base = server.channels.first().map(|channel| {
        format!(
            "{}/{channel}/{}/{}",
            server.public_url, repo.repo, repo.arch
        )
    });
    ReleaseInfo {
        name: format!("{} {} {}", app.config.sbom.namespace, repo.repo, repo.arch),
        version: Some(release.to_string()),
        repository_url: base,
        ..ReleaseInfo::default()
    }
}

/// One document after the other, each streamed into a file.
fn documents(
    app: &App,
    release: &Release,
    options: &Options,
    place: &str,
) -> Result<Vec<(&'static str, Made)>, JobError> {
    let mut made = Vec::new();
    for format in SBOM_FORMATS {
        let written = packed(app.scratch_file()?, |out| {
            let written = format.write_release(release, options, out);
            written.map_err(|source| JobError::ReleaseSbom {
                place: place.to_owned(),
                source,
            })
        });
        made.push((format.name, written?));
    }
    let needs = Requirements::of(release);
    let written = packed(app.scratch_file()?, |out| Ok(needs.write(out)?))?;
    made.push((requirements::LABEL, written));
    Ok(made)
}

/// A document in a scratch file: digest and bytes of itself and of the compressed form, which is there.
struct Made {
    plain: (FileDigest, u64),
    packed: (FileDigest, u64),
    file: NamedTempFile,
}

fn packed(
    file: NamedTempFile,
    write: impl FnOnce(&mut dyn Write) -> Result<(), JobError>,
) -> Result<Made, JobError> {
    let compressor = zstd::Encoder::new(Hashed::new(BufWriter::new(file)), ZSTD_LEVEL)?;
    let mut plain = Hashed::new(compressor);
    write(&mut plain)?;
    let (compressor, plain) = plain.ended();
    let (file, packed) = compressor.finish()?.ended();
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Made {
        plain,
        packed,
        file,
    })
}

/// Counts and hashes what flows through.
struct Hashed<W> {
    out: W,
    sha256: Sha256,
    size_bytes: u64,
}

impl<W> Hashed<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            sha256: Sha256::new(),
            size_bytes: 0,
        }
    }

    fn ended(self) -> (W, (FileDigest, u64)) {
        let digest = FileDigest::from_bytes(self.sha256.finalize().into());
        (self.out, (digest, self.size_bytes))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The metadata of one repository of a release, in the object store. For blocking threads.
struct StoredMetadata {
    store: Store,
    runtime: tokio::runtime::Handle,
    files: HashMap<String, FileDigest>,
}

async fn stored(
    app: &App,
    release: ReleaseId,
    repo: &ReleaseRepoRow,
) -> Result<StoredMetadata, JobError> {
    let text = app.store.get(repo.repomd, REPOMD_MAX_BYTES).await?;
    let repomd = Repomd::parse(&text).map_err(|error| {
        JobError::Broken(format!("a stored repomd.xml does not parse: {error}"))
    })?;
    let (name, arch, digest) = (repo.repo.clone(), repo.arch.clone(), repo.repomd);
    let files = app
        .db
        .read(move |connection| {
            let mut files = HashMap::from([(REPOMD.to_owned(), digest)]);
            for record in &repomd.records {
                let file =
                    db::releases::repodata_file(connection, &name, &arch, &record.href, release)?;
                files.extend(file.map(|file| (file.name, file.file)));
            }
            Ok::<_, DbError>(files)
        })
        .await?;
    Ok(StoredMetadata {
        store: app.store.clone(),
        runtime: tokio::runtime::Handle::current(),
        files,
    })
}

impl StoredMetadata {
    fn digest(&self, path: &str) -> Result<FileDigest, SourceError> {
        self.files.get(path).copied().ok_or(SourceError::Missing)
    }
}

fn unread(error: StoreError) -> SourceError {
    match error {
        StoreError::Missing { .. } => SourceError::Missing,
        error => SourceError::Read(io::Error::other(error)),
    }
}

impl Source for StoredMetadata {
    fn open(&self, path: &str) -> Result<Stream<'_>, SourceError> {
        let reader = self.store.blocking_reader(self.digest(path)?);
        Ok(Stream {
            reader: Box::new(self.runtime.block_on(reader).map_err(unread)?),
            size_bytes: None,
        })
    }

    fn size_bytes(&self, path: &str) -> Result<Option<u64>, SourceError> {
        let size = self.store.size_bytes(self.digest(path)?);
        self.runtime.block_on(size).map_err(unread)
    }

    fn tells_sizes_cheaply(&self) -> bool {
        false
    }
}
