//! Builds and their packages.

use super::{DbError, from_json, parsed, parsed_opt, to_json};
use repo_model::stage::{Event, Stage};
use repo_model::{FileDigest, HeaderDigest, Nevra, RepoName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// One build.
#[derive(Debug, Clone)]
pub struct BuildRow {
    /// Number.
    pub build_id: u64,
    /// Repository.
    pub repo: RepoName,
    /// Source package.
    pub source: Nevra,
    /// File name of the source package, as SOURCERPM has it.
    pub source_name: String,
    /// The .src.rpm.
    pub source_file: FileDigest,
    /// The buildinfo.
    pub buildinfo: FileDigest,
    /// The provenance envelope.
    pub provenance: Option<FileDigest>,
    /// When it came.
    pub received_at: Timestamp,
    /// When its stage changed last.
    pub changed_at: Timestamp,
    /// Where it is.
    pub stage: Stage,
}

/// A build as intake hands it over.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// SHA-256 of the manifest's canonical JSON.
    pub manifest: FileDigest,
    /// Repository.
    pub repo: RepoName,
    /// Source package.
    pub source: Nevra,
    /// File name of the source package.
    pub source_name: String,
    /// The .src.rpm.
    pub source_file: FileDigest,
    /// The buildinfo.
    pub buildinfo: FileDigest,
    /// The provenance envelope.
    pub provenance: Option<FileDigest>,
    /// Name of the token.
    pub uploaded_by: String,
    /// Packages, sorted by NEVRA.
    pub packages: Vec<NewPackage>,
}

/// A package as intake hands it over.
#[derive(Debug, Clone)]
pub struct NewPackage {
    /// Identity.
    pub nevra: Nevra,
    /// SUMMARY.
    pub summary: String,
    /// Main header.
    pub header: HeaderDigest,
    /// Unsigned file.
    pub file: FileDigest,
    /// Its size.
    pub size_bytes: u64,
}

/// One package.
#[derive(Debug, Clone)]
pub struct PackageRow {
    /// Number.
    pub package_id: u64,
    /// Its build.
    pub build_id: u64,
    /// Identity.
    pub nevra: Nevra,
    /// SUMMARY.
    pub summary: String,
    /// Main header.
    pub header: HeaderDigest,
    /// Unsigned file.
    pub unsigned_file: FileDigest,
    /// Its size.
    pub unsigned_size_bytes: u64,
    /// Path below the repository's base.
    pub href: String,
    /// What signing made, once it did.
    pub signed: Option<SignedFile>,
    /// Publish instant of the first release that has it.
    pub added_at: Option<Timestamp>,
}

/// What signing made of a package.
#[derive(Debug, Clone)]
pub struct SignedFile {
    /// The signed file.
    pub file: FileDigest,
    /// Its size.
    pub size_bytes: u64,
    /// Lead + signature header + main header.
    pub head_bytes: u64,
    /// Armoured detached signature over the file.
    pub detached_signature: FileDigest,
    /// The signer's verification summary.
    pub summary_statement: FileDigest,
}

/// The NEVRA or path is taken by other bytes. The uploader's fault: raise the release.
#[derive(Debug)]
pub struct NevraTaken {
    /// Which package.
    pub nevra: Nevra,
    /// What is there.
    pub by: HeaderDigest,
    /// Its build.
    pub build_id: u64,
}

/// What [`build_row`] reads.
pub(super) const BUILD_COLUMNS: &str = "build_id, repo, source_nevra, source_name, source_file, buildinfo, provenance, received_at, changed_at, stage_json";
const PACKAGE_COLUMNS: &str = "package_id, build_id, nevra, summary, header_digest, unsigned_file, unsigned_size_bytes, href, signed_file, signed_size_bytes, signed_head_bytes, detached_signature, summary_statement, added_at";

/// Records a build and its packages, in stage received.
pub fn insert(
    tx: &Transaction<'_>,
    build: &NewBuild,
    now: Timestamp,
) -> Result<Result<u64, NevraTaken>, DbError> {
    for package in &build.packages {
        if let Some(taken) = taken(tx, &build.repo, package)? {
            return Ok(Err(taken));
        }
    }
    tx.execute(
        "INSERT INTO builds (manifest_digest, repo, source_nevra, source_name, source_file, buildinfo, provenance, uploaded_by, received_at, changed_at, stage, stage_json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11)",
        params![
            build.manifest.to_hex(),
            build.repo.as_str(),
            build.source.to_string(),
            build.source_name,
            build.source_file.to_hex(),
            build.buildinfo.to_hex(),
            build.provenance.map(|digest| digest.to_hex()),
            build.uploaded_by,
            now.unix_secs(),
            Stage::Received.name(),
            to_json(&Stage::Received, "stage")?,
        ],
    )?;
    let build_id = tx.last_insert_rowid().unsigned_abs();
    let mut insert = tx.prepare_cached(
        "INSERT INTO packages (build_id, repo, nevra, name, arch, summary, header_digest, unsigned_file, unsigned_size_bytes, href)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for package in &build.packages {
        insert.execute(params![
            build_id,
            build.repo.as_str(),
            package.nevra.to_string(),
            package.nevra.name,
            package.nevra.arch,
            package.summary,
            package.header.to_hex(),
            package.file.to_hex(),
            package.size_bytes,
            repo_model::manifest::package_path(&package.nevra),
        ])?;
    }
    Ok(Ok(build_id))
}

fn taken(
    connection: &Connection,
    repo: &RepoName,
    package: &NewPackage,
) -> Result<Option<NevraTaken>, DbError> {
    let sql = "SELECT nevra, header_digest, build_id FROM packages
               WHERE repo = ?1 AND (nevra = ?2 OR href = ?3) AND retired = 0";
    let href = repo_model::manifest::package_path(&package.nevra);
    let found = connection.query_row(
        sql,
        params![repo.as_str(), package.nevra.to_string(), href],
        |row| {
            Ok(NevraTaken {
                nevra: parsed(row, "nevra")?,
                by: parsed(row, "header_digest")?,
                build_id: row.get("build_id")?,
            })
        },
    );
    Ok(found.optional()?)
}

/// The build that came with this manifest.
pub fn by_manifest(
    connection: &Connection,
    manifest: FileDigest,
) -> Result<Option<BuildRow>, DbError> {
    let sql = format!("SELECT {BUILD_COLUMNS} FROM builds WHERE manifest_digest = ?1");
    one(connection, &sql, [manifest.to_hex()])
}

/// The build with this number.
pub fn by_id(connection: &Connection, build_id: u64) -> Result<Option<BuildRow>, DbError> {
    let sql = format!("SELECT {BUILD_COLUMNS} FROM builds WHERE build_id = ?1");
    one(connection, &sql, [build_id])
}

fn one(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Option<BuildRow>, DbError> {
    let row = connection.query_row(sql, params, |row| Ok(build_row(row)));
    row.optional()?.transpose()
}

/// Number of builds in each stage.
pub fn counts(connection: &Connection) -> Result<Vec<(String, u64)>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT stage, count(*) FROM builds GROUP BY stage")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ids of all builds in a stage, oldest first.
pub fn in_stage(connection: &Connection, stage: &str) -> Result<Vec<u64>, DbError> {
    let mut statement = connection
        .prepare_cached("SELECT build_id FROM builds WHERE stage = ?1 ORDER BY build_id")?;
    let rows = statement.query_map([stage], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves a build to the stage after `event`; an event that cannot happen now is an error and
/// changes nothing.
pub fn advance(
    tx: &Transaction<'_>,
    build_id: u64,
    event: Event,
    now: Timestamp,
) -> Result<Stage, DbError> {
    let build = by_id(tx, build_id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let stage = build.stage.after(event)?;
    tx.execute(
        "UPDATE builds SET stage = ?2, stage_json = ?3, changed_at = ?4 WHERE build_id = ?1",
        params![
            build_id,
            stage.name(),
            to_json(&stage, "stage")?,
            now.unix_secs()
        ],
    )?;
    if matches!(stage, Stage::Rejected { .. }) {
        tx.execute(
            "UPDATE packages SET retired = 1 WHERE build_id = ?1",
            [build_id],
        )?;
    }
    let detail = stage
        .reasons()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ");
    super::audit(
        tx,
        now,
        "server",
        stage.name(),
        &format!("build {build_id}"),
        &detail,
    )?;
    Ok(stage)
}

/// A build's packages, sorted by NEVRA.
pub fn packages(connection: &Connection, build_id: u64) -> Result<Vec<PackageRow>, DbError> {
    let sql = format!("SELECT {PACKAGE_COLUMNS} FROM packages WHERE build_id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([build_id], package_row)?;
    let mut packages: Vec<PackageRow> = rows.collect::<Result<_, _>>()?;
    packages.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    Ok(packages)
}

/// The packages with this header that are not retired: the same bytes may be in several repositories.
pub fn with_header(
    connection: &Connection,
    header: HeaderDigest,
) -> Result<Vec<PackageRow>, DbError> {
    let sql =
        format!("SELECT {PACKAGE_COLUMNS} FROM packages WHERE header_digest = ?1 AND retired = 0");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([header.to_hex()], package_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One package.
pub fn package(connection: &Connection, package_id: u64) -> Result<Option<PackageRow>, DbError> {
    let sql = format!("SELECT {PACKAGE_COLUMNS} FROM packages WHERE package_id = ?1");
    Ok(connection
        .query_row(&sql, [package_id], package_row)
        .optional()?)
}

/// Records what signing made; `false` when another run was first: then what it made counts, and what
/// this one made must not be recorded beside it.
pub fn set_signed(
    tx: &Transaction<'_>,
    package_id: u64,
    signed: &SignedFile,
) -> Result<bool, DbError> {
    let changed = tx.execute(
        "UPDATE packages SET signed_file = ?2, signed_size_bytes = ?3, signed_head_bytes = ?4, detached_signature = ?5, summary_statement = ?6
         WHERE package_id = ?1 AND signed_file IS NULL",
        params![
            package_id,
            signed.file.to_hex(),
            signed.size_bytes,
            signed.head_bytes,
            signed.detached_signature.to_hex(),
            signed.summary_statement.to_hex(),
        ],
    )?;
    Ok(changed > 0)
}

/// Records by which certificate a package is signed; its fingerprint in hex.
pub fn set_signer(tx: &Transaction<'_>, package_id: u64, certificate: &str) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO package_signers (package_id, certificate) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![package_id, certificate],
    )?;
    Ok(())
}

/// Reads [`BUILD_COLUMNS`].
pub(super) fn build_row(row: &Row<'_>) -> Result<BuildRow, DbError> {
    Ok(BuildRow {
        build_id: row.get("build_id")?,
        repo: parsed(row, "repo")?,
        source: parsed(row, "source_nevra")?,
        source_name: row.get("source_name")?,
        source_file: parsed(row, "source_file")?,
        buildinfo: parsed(row, "buildinfo")?,
        provenance: parsed_opt(row, "provenance")?,
        received_at: Timestamp::from_unix_secs(row.get("received_at")?),
        changed_at: Timestamp::from_unix_secs(row.get("changed_at")?),
        stage: from_json(&row.get::<_, String>("stage_json")?, "stage")?,
    })
}

/// Reads [`PACKAGE_COLUMNS`].
pub(super) fn package_row(row: &Row<'_>) -> rusqlite::Result<PackageRow> {
    let signed = match parsed_opt(row, "signed_file")? {
        None => None,
        Some(file) => Some(SignedFile {
            file,
            size_bytes: row.get("signed_size_bytes")?,
            head_bytes: row.get("signed_head_bytes")?,
            detached_signature: parsed(row, "detached_signature")?,
            summary_statement: parsed(row, "summary_statement")?,
        }),
    };
    Ok(PackageRow {
        package_id: row.get("package_id")?,
        build_id: row.get("build_id")?,
        nevra: parsed(row, "nevra")?,
        summary: row.get("summary")?,
        header: parsed(row, "header_digest")?,
        unsigned_file: parsed(row, "unsigned_file")?,
        unsigned_size_bytes: row.get("unsigned_size_bytes")?,
        href: row.get("href")?,
        signed,
        added_at: row
            .get::<_, Option<i64>>("added_at")?
            .map(Timestamp::from_unix_secs),
    })
}

/// [`PACKAGE_COLUMNS`] with a table's name before each.
pub(super) fn package_columns(table: &str) -> String {
    PACKAGE_COLUMNS
        .split(", ")
        .map(|column| format!("{table}.{column}"))
        .collect::<Vec<_>>()
        .join(", ")
}
