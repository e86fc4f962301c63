//! `make-sbom`: every configured format of one package's SBOM, made of the unsigned file.

use super::JobError;
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use repo_model::FileDigest;
use repo_model::config::SbomConfig;
use sbom_gen::{Options, SBOM_FORMATS, SbomFormat, Supplier, inventory};

/// Name in the database.
pub const NAME: &str = "make-sbom";

/// Runs it; the input is a package's number.
pub async fn run(app: App, job: JobRow) -> Result<(), JobError> {
    let package_id: u64 = job
        .input
        .parse()
        .map_err(|_| JobError::Broken(format!("`{}` is no package", job.input)))?;
    let package = app
        .db
        .read(move |connection| db::builds::package(connection, package_id))
        .await?
        .ok_or_else(|| JobError::Broken(format!("there is no package {package_id}")))?;
    let mut made = Vec::new();
    for (format, document) in documents(&app, &package).await? {
        made.push((format, app.store.put(document).await?));
    }
    app.db
        .write(move |tx| {
            for (format, digest) in made {
                db::evidence::insert(tx, &evidence(&package, format, digest), now())?;
            }
            crate::sbom_index::enqueue(tx)?;
            db::jobs::finish(tx, job.job_id)?;
            super::rebuilding::reopen(tx, package.build_id)?;
            // Nothing is judged before the last of them.
            if !db::jobs::pending(tx, package.build_id, NAME)? {
                super::enqueue_judge(tx, package.build_id)?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

/// All formats from one pass over the package.
async fn documents(
    app: &App,
    package: &PackageRow,
) -> Result<Vec<(&'static SbomFormat, Vec<u8>)>, JobError> {
    let options = options(&app.config.sbom, &app.config.server.public_url);
    let reader = app.store.blocking_reader(package.unsigned_file).await?;
    let nevra = package.nevra.clone();
    let made = tokio::task::spawn_blocking(move || {
        let inventory = inventory(reader, &options)?;
        let mut documents = Vec::new();
        for format in SBOM_FORMATS {
            let mut document = Vec::new();
            format.write(&inventory, &options, &mut document)?;
            documents.push((format, document));
        }
        Ok(documents)
    });
    made.await
        .map_err(std::io::Error::other)?
        .map_err(|source| JobError::Sbom { nevra, source })
}

fn options(config: &SbomConfig, public_url: &str) -> Options {
    Options {
        namespace: config.namespace.clone(),
        supplier: Supplier {
            name: config.supplier_name.clone(),
            url: config.supplier_url.clone(),
            email: config.supplier_email.clone(),
        },
        document_base_url: format!("{public_url}/sbom"),
        ..Options::default()
    }
}

fn evidence(package: &PackageRow, format: &SbomFormat, digest: FileDigest) -> NewEvidence {
    NewEvidence {
        build_id: package.build_id,
        package_id: Some(package.package_id),
        kind: Kind::Sbom,
        label: format.name.to_owned(),
        digest,
        media_type: format.media_type,
    }
}

impl From<tokio::task::JoinError> for JobError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Scratch(std::io::Error::other(error))
    }
}

impl From<rusqlite::Error> for JobError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(DbError::from(error))
    }
}
