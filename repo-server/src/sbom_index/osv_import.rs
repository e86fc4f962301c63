//! `hallmark sbom advisories`: a folder or a ZIP of OSV records into the index of a data directory. The
//! new set is filled beside the one in use and takes its place at once.

use super::SbomIndex;
use super::osv::Advisory;
use crate::db::{DbError, to_json};
use repo_model::Timestamp;
use rusqlite::{Transaction, params};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest record, bytes; the largest of osv.dev has some 10 MB.
const MAX_RECORD_BYTES: u64 = 32 << 20;
/// Most records of one set.
const MAX_RECORDS: u64 = 2_000_000;
/// Where the index keeps how many records are in use.
pub const OSV_RECORDS: &str = "osv_records";
/// And since when, seconds since 1970.
pub const OSV_IMPORTED_AT: &str = "osv_imported_at";
/// Records in one transaction: a running server writes between two.
const BATCH: usize = 500;

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records in use from now on.
    pub records: u64,
    /// Records that were withdrawn or are about other ecosystems.
    pub passed_over: u64,
    /// Records that could not be read: the first of them, with why.
    pub unreadable: Vec<(String, String)>,
    /// How many those are.
    pub unreadable_total: u64,
    /// Distributions that records were about and that were not named as ours, with their number.
    pub other_distributions: BTreeMap<String, u64>,
}

/// The advisories cannot be imported; those in use stay.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The folder or ZIP cannot be read. The operator's to mend.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no ZIP. The operator's to mend.
    #[error("{path} is neither a folder nor a ZIP archive")]
    Zip {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// No record in it could be read. The operator's to mend.
    #[error("there is no OSV record that can be read in {path}")]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// More records than are kept.
    #[error("there are more than {MAX_RECORDS} records")]
    TooMany,
    /// The database failed. Retrying is safe.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Imports the records of a folder (and those below it) or a ZIP; they replace the ones imported before.
///
/// * `distributions`: OSV ecosystems whose packages are this repository's, such as `AlmaLinux:9`.
pub async fn import(
    data_dir: &Path,
    from: &Path,
    distributions: &[String],
) -> Result<Imported, ImportError> {
    let index = SbomIndex::open(data_dir)?;
    let (sender, mut batches) = tokio::sync::mpsc::channel::<Vec<Advisory>>(4);
    let (path, distributions) = (from.to_owned(), distributions.to_vec());
    let reading = tokio::task::spawn_blocking(move || {
        read_all(&path, &distributions, |batch| {
            sender.blocking_send(batch).is_ok()
        })
    });
    let generation: i64 = index.db.write(begin).await?;
    while let Some(batch) = batches.recv().await {
        index
            .db
            .write(move |tx| insert(tx, generation, &batch))
            .await?;
    }
    let read = reading.await.map_err(|error| ImportError::Read {
        path: from.to_owned(),
        source: std::io::Error::other(error),
    })??;
    if read.records == 0 && read.passed_over == 0 {
        return Err(ImportError::Nothing {
            path: from.to_owned(),
        });
    }
    let (records, at) = (read.records, crate::app::now());
    index
        .db
        .write(move |tx| {
            switch(tx, generation)?;
            note(tx, records, at)
        })
        .await?;
    Ok(read)
}

/// A number that no set has; what an import that died left behind goes.
fn begin(tx: &Transaction<'_>) -> Result<i64, DbError> {
    let current = "(SELECT value FROM state WHERE key = 'osv_generation')";
    tx.execute_batch(&format!(
        "DELETE FROM osv_affected WHERE generation <> {current}; DELETE FROM osv_advisories WHERE generation <> {current};"
    ))?;
    let sql = "SELECT value + 1 FROM state WHERE key = 'osv_generation'";
    Ok(tx.query_row(sql, [], |row| row.get(0))?)
}

fn insert(tx: &Transaction<'_>, generation: i64, batch: &[Advisory]) -> Result<(), DbError> {
    let mut advisory = tx.prepare_cached(
        "INSERT INTO osv_advisories (generation, id, aliases, summary, severity, modified) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut affected = tx.prepare_cached(
        "INSERT INTO osv_affected (advisory_id, generation, ecosystem, name, affected) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for record in batch {
        advisory.execute(params![
            generation,
            record.id,
            to_json(&record.aliases, "list")?,
            record.summary,
            record.severity,
            record.modified
        ])?;
        let id = tx.last_insert_rowid();
        for (target, versions) in &record.affected {
            let versions = to_json(versions, "affected versions")?;
            affected.execute(params![
                id,
                generation,
                target.ecosystem,
                target.name,
                versions
            ])?;
        }
    }
    Ok(())
}

fn switch(tx: &Transaction<'_>, generation: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM exposed", [])?;
    tx.execute(
        "DELETE FROM osv_affected WHERE generation <> ?1",
        [generation],
    )?;
    tx.execute(
        "DELETE FROM osv_advisories WHERE generation <> ?1",
        [generation],
    )?;
    tx.execute(
        "UPDATE state SET value = ?1 WHERE key = 'osv_generation'",
        [generation],
    )?;
    tx.execute(
        "INSERT INTO exposed (affected_id, name_id) SELECT a.affected_id, n.name_id FROM names n
         CROSS JOIN osv_affected a ON a.name = n.name AND a.ecosystem = n.ecosystem AND a.generation = ?1",
        [generation],
    )?;
    Ok(())
}

/// For those who ask what an answer rests on.
fn note(tx: &Transaction<'_>, records: u64, at: Timestamp) -> Result<(), DbError> {
    let sql =
        "INSERT INTO state VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    tx.execute(sql, params![OSV_RECORDS, records])?;
    tx.execute(sql, params![OSV_IMPORTED_AT, at.unix_secs()])?;
    Ok(())
}

/// Hands batches on until they are not wanted any more.
fn read_all(
    from: &Path,
    distributions: &[String],
    mut give: impl FnMut(Vec<Advisory>) -> bool,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let mut batch = Vec::new();
    let take = |name: String, json: Result<Vec<u8>, String>| -> Result<bool, ImportError> {
        let record = json.and_then(|json| {
            Advisory::read(&json, distributions).map_err(|error| crate::jobs::chain(&error))
        });
        match record {
            Ok(Some(record)) => {
                for other in &record.other_distributions {
                    *imported
                        .other_distributions
                        .entry(other.clone())
                        .or_default() += 1;
                }
                match record.affected.is_empty() {
                    true => imported.passed_over += 1,
                    false => {
                        imported.records += 1;
                        batch.push(record);
                    }
                }
            }
            Ok(None) => imported.passed_over += 1,
            Err(why) => {
                imported.unreadable_total += 1;
                if imported.unreadable.len() < 10 {
                    imported.unreadable.push((name, why));
                }
            }
        }
        if imported.records > MAX_RECORDS {
            return Err(ImportError::TooMany);
        }
        if batch.len() >= BATCH {
            return Ok(give(std::mem::take(&mut batch)));
        }
        Ok(true)
    };
    match from.is_dir() {
        true => folder(from, take)?,
        false => archive(from, take)?,
    }
    if !batch.is_empty() {
        give(batch);
    }
    Ok(imported)
}

fn is_record(name: &str) -> bool {
    name.ends_with(".json")
}

fn folder(
    from: &Path,
    mut take: impl FnMut(String, Result<Vec<u8>, String>) -> Result<bool, ImportError>,
) -> Result<(), ImportError> {
    let mut open = vec![from.to_owned()];
    while let Some(path) = open.pop() {
        let fail = |source| ImportError::Read {
            path: path.clone(),
            source,
        };
        for entry in std::fs::read_dir(&path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && is_record(&entry.file_name().to_string_lossy()) {
                let file = entry.path();
                let json = File::open(&file)
                    .map_err(|error| error.to_string())
                    .and_then(bounded);
                if !take(file.display().to_string(), json)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn archive(
    from: &Path,
    mut take: impl FnMut(String, Result<Vec<u8>, String>) -> Result<bool, ImportError>,
) -> Result<(), ImportError> {
    let file = File::open(from).map_err(|source| ImportError::Read {
        path: from.to_owned(),
        source,
    })?;
    let refuse = |source| ImportError::Zip {
        path: from.to_owned(),
        source,
    };
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(refuse)?;
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(refuse)?;
        if !is_record(entry.name()) {
            continue;
        }
        let name = format!("{}: {}", from.display(), entry.name());
        let json = bounded(entry);
        if !take(name, json)? {
            break;
        }
    }
    Ok(())
}

/// A record, however much a ZIP claims it unfolds to.
fn bounded(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    let read = reader.take(MAX_RECORD_BYTES + 1).read_to_end(&mut json);
    match read {
        Ok(bytes) if bytes as u64 > MAX_RECORD_BYTES => {
            Err(format!("it is larger than {MAX_RECORD_BYTES} bytes"))
        }
        Ok(_) => Ok(json),
        Err(error) => Err(error.to_string()),
    }
}
