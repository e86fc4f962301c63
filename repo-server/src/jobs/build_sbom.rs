//! `make-build-sbom`: one document a format about a whole build, once every package of it has its own: the
//! source package, all that was made from it, and how, as its buildinfo tells.
//!
//! Not for the policy, which judges packages, and so of a kind of its own. A source package that cannot be read
//! through has no such document; that keeps no package back.

use super::JobError;
use crate::app::{App, file_digest, now};
use crate::db::builds::BuildRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use crate::store::Store;
use repo_model::buildinfo::{self, BuildInfo};
use repo_model::{FileDigest, Nevra};
use rusqlite::Transaction;
use sbom_gen::{BuildInventory, Inventory, Options, SBOM_FORMATS, SbomError, SbomFormat};
use std::io::{BufWriter, Write as _};
use tempfile::NamedTempFile;
use tokio::runtime::Handle;

/// Name in the database.
pub const NAME: &str = "make-build-sbom";

/// Runs it; the input is a build's number.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let build_id: u64 = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no build", job.input)))?;
    let made = made(&app, build_id).await?;
    app.db
        .write(move |tx| {
            record(tx, build_id, made)?;
            db::jobs::finish(tx, job.job_id)?;
            super::enqueue_judge(tx, build_id)
        })
        .await?;
    Ok(())
}

/// A document that is in the object store.
type Made = (&'static SbomFormat, FileDigest);

/// Makes the documents about a build and stores them; none where its packages do not allow of one.
pub(super) async fn made(app: &App, build_id: u64) -> Result<Vec<Made>, JobError> {
    let (build, packages) = app
        .db
        .read(move |connection| {
            let build = db::builds::by_id(connection, build_id)?;
            let packages = db::builds::packages(connection, build_id)?;
            Ok::<_, DbError>((build, packages))
        })
        .await?;
    let build = build.ok_or_else(|| JobError::Broken(format!("there is no build {build_id}")))?;
    let files = packages.into_iter();
    let files = files.map(|package| (package.nevra, package.unsigned_file));
    documents(app, &build, files.collect()).await
}

/// Records them as evidence.
pub(super) fn record(tx: &Transaction<'_>, build_id: u64, made: Vec<Made>) -> Result<(), DbError> {
    made.into_iter().try_for_each(|(format, digest)| {
        db::evidence::insert(tx, &evidence(build_id, format, digest), now())
    })
}

/// A package and its unsigned file.
type Stored = (Nevra, FileDigest);

async fn documents(
    app: &App,
    build: &BuildRow,
    packages: Vec<Stored>,
) -> Result<Vec<Made>, JobError> {
    let options = Options::of_operator(&app.config.sbom, &app.config.server.public_url);
    let json = app
        .store
        .get(build.buildinfo, buildinfo::MAX_BYTES as u64)
        .await?;
    let info = BuildInfo::from_json(&json)
        .map_err(|error| JobError::Broken(format!("a stored buildinfo does not parse: {error}")))?;
    let (source, scratch) = ((build.source.clone(), build.source_file), app.clone());
    let reader = Reader {
        store: app.store.clone(),
        runtime: Handle::current(),
    };
    let made = tokio::task::spawn_blocking(move || {
        let made = written(&scratch, &reader, &source, &packages, &info, &options);
        match made {
            Err(JobError::Sbom { nevra, source: why }) if is_of_the_package(&why) => {
                let (of, why) = (&source.0, super::chain(&why));
                tracing::warn!(
                    package = %nevra,
                    error = why,
                    "the build of {of} has no SBOM, because of {nevra}: {why}"
                );
                Ok(Vec::new())
            }
            made => made,
        }
    });
    let mut stored = Vec::new();
    for (format, file, digest) in made.await?? {
        app.store.put_file(file.path(), digest).await?;
        stored.push((format, digest));
    }
    Ok(stored)
}

/// Whether trying again ends the same way.
fn is_of_the_package(error: &SbomError) -> bool {
    !matches!(error, SbomError::Read(_) | SbomError::Write(_))
}

/// Packages in the object store. For blocking threads.
struct Reader {
    store: Store,
    runtime: Handle,
}

impl Reader {
    fn inventory(&self, package: &Stored, options: &Options) -> Result<Inventory, JobError> {
        let (nevra, file) = package;
        let reader = self.runtime.block_on(self.store.blocking_reader(*file))?;
        sbom_gen::inventory(reader, options).map_err(|source| JobError::Sbom {
            nevra: nevra.clone(),
            source,
        })
    }
}

type Written = (&'static SbomFormat, NamedTempFile, FileDigest);

fn written(
    app: &App,
    reader: &Reader,
    source: &Stored,
    packages: &[Stored],
    info: &BuildInfo,
    options: &Options,
) -> Result<Vec<Written>, JobError> {
    let nevra = &source.0;
    let source = reader.inventory(source, options)?;
    let mut made = Vec::with_capacity(packages.len());
    for package in packages {
        // Files of packages are in the packages' own documents.
        made.push(Inventory {
            files: Vec::new(),
            ..reader.inventory(package, options)?
        });
    }
    let build = BuildInventory {
        source: &source,
        packages: &made,
        build_info: Some(info),
    };
    let mut documents = Vec::new();
    for format in SBOM_FORMATS {
        let mut file = app.scratch_file()?;
        let mut out = BufWriter::new(&mut file);
        let written = format.write_whole_build(&build, options, &mut out);
        written.map_err(|error| JobError::Sbom {
            nevra: nevra.clone(),
            source: error,
        })?;
        out.flush()?;
        drop(out);
        let digest = file_digest(file.path())?;
        documents.push((format, file, digest));
    }
    Ok(documents)
}

fn evidence(build_id: u64, format: &SbomFormat, digest: FileDigest) -> NewEvidence {
    NewEvidence {
        build_id,
        package_id: None,
        kind: Kind::BuildSbom,
        label: format.name.to_owned(),
        digest,
        media_type: format.media_type,
    }
}
