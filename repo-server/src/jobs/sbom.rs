//! `make-sbom`: every configured format of one package's SBOM, made of the unsigned file.

use super::JobError;
use crate::app::{App, now};
use crate::db::builds::PackageRow;
use crate::db::evidence::{Kind, NewEvidence};
use crate::db::jobs::JobRow;
use crate::db::{self, DbError};
use repo_model::FileDigest;
use repo_model::sbom_facts::MAX_BYTES;
use sbom_gen::{Inventory, Options, SBOM_FORMATS, SbomError, SbomFormat, inventory};
use std::io::{self, BufWriter, Seek as _, Write};
use tempfile::NamedTempFile;

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
    let made = documents(&app, &package).await?;
    app.db
        .write(move |tx| {
            for (format, digest) in made {
                db::evidence::insert(tx, &evidence(&package, format, digest), now())?;
            }
            crate::sbom_index::enqueue(tx)?;
            db::jobs::finish(tx, job.job_id)?;
            super::rebuilding::reopen(tx, package.build_id)?;
            // What is about all of them, and the judgement, are for the last.
            if !db::jobs::pending(tx, package.build_id, NAME)? {
                super::enqueue_build_sbom(tx, package.build_id)?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

/// All formats from one pass over the package, each stored; none is in memory as a whole.
async fn documents(
    app: &App,
    package: &PackageRow,
) -> Result<Vec<(&'static SbomFormat, FileDigest)>, JobError> {
    let options = Options::of_operator(&app.config.sbom, &app.config.server.public_url);
    let reader = app.store.blocking_reader(package.unsigned_file).await?;
    let nevra = package.nevra.clone();
    let scratch = app.clone();
    let made = tokio::task::spawn_blocking(move || {
        let refuse = |source| JobError::Sbom {
            nevra: nevra.clone(),
            source,
        };
        let inventory = inventory(reader, &options).map_err(refuse)?;
        let mut documents = Vec::new();
        for format in SBOM_FORMATS {
            let mut file = scratch.scratch_file()?;
            if !write(format, &inventory, &options, &mut file).map_err(refuse)? {
                tracing::warn!(
                    package = %nevra,
                    format = format.name,
                    "the {} SBOM of {nevra} is larger than {MAX_BYTES} bytes even without files; it is left out",
                    format.name
                );
                continue;
            }
            let digest = crate::app::file_digest(file.path())?;
            documents.push((format, file, digest));
        }
        Ok::<_, JobError>(documents)
    });
    let mut stored = Vec::new();
    for (format, file, digest) in made.await?? {
        app.store.put_file(file.path(), digest).await?;
        stored.push((format, digest));
    }
    Ok(stored)
}

/// Writes a document that the policy and the signer can read: without the list of files where that
/// would make it too long. `false` when it is too long even so.
fn write(
    format: &SbomFormat,
    inventory: &Inventory,
    options: &Options,
    file: &mut NamedTempFile,
) -> Result<bool, SbomError> {
    let without_files = Options {
        files: false,
        ..options.clone()
    };
    for options in [options, &without_files] {
        file.as_file_mut().set_len(0).map_err(SbomError::Write)?;
        file.rewind().map_err(SbomError::Write)?;
        let mut out = Capped {
            out: BufWriter::new(&mut *file),
            left: MAX_BYTES as u64,
            is_over: false,
        };
        let written = format.write(inventory, options, &mut out);
        if !out.is_over {
            written?;
            out.flush().map_err(SbomError::Write)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes so many bytes and no more.
struct Capped<W> {
    out: W,
    left: u64,
    is_over: bool,
}

impl<W: Write> Write for Capped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
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

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::rpm::testkit::Rpm;

    #[test]
    fn a_document_that_is_too_long_is_cut_off_at_the_limit() {
        let mut out = Capped {
            out: Vec::new(),
            left: 5,
            is_over: false,
        };
        assert!(out.write_all(b"hello").is_ok());
        assert!(out.write_all(b"!").is_err() && out.is_over);
        assert_eq!(out.out, b"hello");
    }

    #[test]
    fn a_package_with_too_many_files_has_an_sbom_without_them() {
        // Some 200 bytes a file in the document, and more than the limit in all.
        let mut rpm = Rpm::binary("many");
        let long = "x".repeat(200);
        for number in 0..40 {
            rpm = rpm.file(&format!("/usr/share/many/{number}{long}"), b"");
        }
        let options = Options::default();
        let inventory = inventory(rpm.bytes().as_slice(), &options).unwrap();
        let mut file = NamedTempFile::new().unwrap();
        assert!(write(&SBOM_FORMATS[0], &inventory, &options, &mut file).unwrap());
        let with_files = file.as_file().metadata().unwrap().len();
        let mut short = Inventory {
            files: Vec::new(),
            ..inventory.clone()
        };
        assert!(write(&SBOM_FORMATS[0], &short, &options, &mut file).unwrap());
        assert!(file.as_file().metadata().unwrap().len() < with_files);
        let one = inventory.files[0].clone();
        let needed = MAX_BYTES / 200;
        short.files = (0..needed)
            .map(|number| sbom_gen::FileRecord {
                path: format!("/{number}{long}"),
                ..one.clone()
            })
            .collect();
        assert!(write(&SBOM_FORMATS[0], &short, &options, &mut file).unwrap());
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(bytes.len() < MAX_BYTES);
        assert!(repo_model::sbom_facts::read(&bytes).is_ok());
    }
}
