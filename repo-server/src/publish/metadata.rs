//! repodata of one repository, rendered into scratch files from stored packages.

use crate::app::App;
use crate::db::builds::PackageRow;
use crate::jobs::JobError;
use crate::repodata::{
    Entry, ExtraRecord, Inputs, Options, PackageSource, Record, Sink, SourceError, build_into, sort,
};
use crate::store::Store;
use repo_model::rpm::{Head, Package};
use repo_model::{FileDigest, Timestamp};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::NamedTempFile;

/// What was rendered.
pub struct Metadata {
    /// `repomd.xml`.
    pub repomd: Vec<u8>,
    /// The files it names.
    pub files: Vec<MetadataFile>,
}

/// One rendered file.
pub struct MetadataFile {
    /// Name, digest, size.
    pub record: Record,
    /// Its bytes.
    pub scratch: NamedTempFile,
}

/// Renders the metadata of signed packages, and further records; `added_at` of each package must be set.
pub async fn make(
    app: &App,
    packages: &[PackageRow],
    extras: Vec<ExtraRecord>,
    options: Options,
    issued: Timestamp,
) -> Result<Metadata, JobError> {
    let mut entries = Vec::with_capacity(packages.len());
    let mut heads = HashMap::with_capacity(packages.len());
    for package in packages {
        let (entry, head_bytes) = entry(package)?;
        heads.insert(entry.file_digest, head_bytes);
        entries.push(entry);
    }
    sort(&mut entries);
    let mut sink = ScratchFiles {
        directory: crate::layout::scratch(&app.config.server.data_dir),
        open: Vec::new(),
        finished: Vec::new(),
    };
    let source = StoredHeads {
        store: app.store.clone(),
        runtime: tokio::runtime::Handle::current(),
        head_bytes: heads,
        file_digests: options.filelists_ext,
    };
    let app = app.clone();
    tokio::task::spawn_blocking(move || {
        let inputs = Inputs {
            entries: &entries,
            packages: &source,
            extras: &extras,
            cache: &app.frames,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        };
        let manifest = build_into(&inputs, &options, issued, &mut sink)?;
        Ok(Metadata {
            repomd: manifest.repomd,
            files: sink.finished,
        })
    })
    .await?
}

fn entry(package: &PackageRow) -> Result<(Entry, u64), JobError> {
    let broken =
        |why: &str| JobError::Broken(format!("{} cannot be published: {why}", package.nevra));
    let signed = package
        .signed
        .as_ref()
        .ok_or_else(|| broken("it is not signed"))?;
    let entry = Entry {
        nevra: Arc::new(package.nevra.clone()),
        file_digest: signed.file,
        sha512: None,
        file_size_bytes: signed.size_bytes,
        href: package
            .href
            .parse()
            .map_err(|_| broken("its path is not fit for metadata"))?,
        added_at: package
            .added_at
            .ok_or_else(|| broken("it has no publish instant"))?,
    };
    Ok((entry, signed.head_bytes))
}

/// Headers read from the start of stored files, and only for groups that are not cached.
struct StoredHeads {
    store: Store,
    runtime: tokio::runtime::Handle,
    head_bytes: HashMap<FileDigest, u64>,
    /// Whether the metadata shows digests of files.
    file_digests: bool,
}

impl PackageSource for StoredHeads {
    fn load(&self, entry: &Entry) -> Result<Cow<'_, Package>, SourceError> {
        let head_bytes = self
            .head_bytes
            .get(&entry.file_digest)
            .copied()
            .unwrap_or_default();
        let start = self.store.get_start(entry.file_digest, head_bytes);
        let bytes = self.runtime.block_on(start)?;
        Ok(Cow::Owned(Package::for_listing(
            &Head::parse(&bytes)?,
            self.file_digests,
        )?))
    }
}

/// Files in the scratch directory, written side by side.
struct ScratchFiles {
    directory: PathBuf,
    open: Vec<Option<BufWriter<NamedTempFile>>>,
    finished: Vec<MetadataFile>,
}

impl Sink for ScratchFiles {
    fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        while self.open.len() <= file {
            let scratch = NamedTempFile::new_in(&self.directory)?;
            self.open.push(Some(BufWriter::new(scratch)));
        }
        match &mut self.open[file] {
            Some(writer) => writer.write_all(bytes),
            None => Err(io::Error::other("a finished metadata file was written to")),
        }
    }

    fn finish(&mut self, file: usize, record: &Record) -> io::Result<()> {
        let Some(writer) = self.open.get_mut(file).and_then(Option::take) else {
            return Err(io::Error::other("a metadata file was finished twice"));
        };
        let scratch = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        self.finished.push(MetadataFile {
            record: record.clone(),
            scratch,
        });
        Ok(())
    }
}
