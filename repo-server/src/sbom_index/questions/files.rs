//! Which package holds a file with a digest.

use super::AskError;
use super::page::{After, IN_SCOPE, Items, PACKAGE, PACKAGES_OF_DOCUMENT, Paging, Scope, package};
use repo_model::wire::sbom::{FileHit, Page};
use rusqlite::{Connection, Row, named_params};

/// A digest of a file: which column, and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigestQuery {
    column: &'static str,
    digest: Vec<u8>,
}

impl FileDigestQuery {
    /// SHA-1, SHA-256 or SHA-512 in hex, told apart by length; `sha256:` in front is allowed.
    pub fn parse(text: &str) -> Result<Self, AskError> {
        let refuse = |why| AskError::parameter("digest", text, why);
        let hex = text.split_once(':').map_or(text, |(_, hex)| hex);
        let digest = hex::decode(hex).map_err(|_| refuse("is not hexadecimal"))?;
        let column = match digest.len() {
            20 => "sha1",
            32 => "sha256",
            64 => "sha512",
            _ => return Err(refuse("is no SHA-1, SHA-256 or SHA-512")),
        };
        Ok(Self { column, digest })
    }
}

/// Files of the release with the digest, in the order in which they are stored.
pub fn files(
    connection: &Connection,
    scope: &Scope,
    wanted: &FileDigestQuery,
    paging: Paging,
) -> Result<Page<FileHit>, AskError> {
    let column = wanted.column;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {PACKAGE}, p.package_id, f.file_id, f.path, f.sha1, f.sha256, f.sha512
         FROM files f CROSS JOIN documents d ON d.document_id = f.document_id {PACKAGES_OF_DOCUMENT}
         WHERE substr(f.{column}, 1, 8) = substr(:digest, 1, 8) AND f.{column} = :digest AND f.file_id >= :file
           AND (f.file_id, p.package_id) > (:file, :after_package) AND {IN_SCOPE}
         ORDER BY f.file_id, p.package_id"
    ))?;
    let After([file, package_id, ..]) = paging.after;
    let mut rows = statement.query(named_params! {
        ":digest": wanted.digest, ":file": file, ":after_package": package_id,
        ":release": scope.release.0, ":repo": scope.repo(), ":arch": scope.arch(), ":package": scope.package,
    })?;
    let hex =
        |row: &Row<'_>, column| Ok::<_, AskError>(hex::encode(row.get::<_, Vec<u8>>(column)?));
    let mut items = Items::new(paging);
    while let Some(row) = rows.next()? {
        let hit = FileHit {
            package: package(row)?,
            path: row.get("path")?,
            sha1: hex(row, "sha1")?,
            sha256: hex(row, "sha256")?,
            sha512: hex(row, "sha512")?,
        };
        if !items.add(
            After([row.get("file_id")?, row.get("package_id")?, 0, 0]),
            hit,
        ) {
            break;
        }
    }
    Ok(items.page(scope.release))
}
