//! Bearer tokens: only their SHA-256 is kept.

use super::{DbError, parsed};
use repo_model::{FileDigest, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// One token, without its secret.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Number.
    pub token_id: u64,
    /// Who it was made for.
    pub name: String,
    /// Space-separated scopes.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Stores a new token and gives its number.
pub fn insert(
    tx: &Transaction<'_>,
    name: &str,
    scopes: &str,
    secret: FileDigest,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<u64, DbError> {
    tx.execute(
        "INSERT INTO tokens (name, secret_sha256, scopes, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![name, secret.to_hex(), scopes, now.unix_secs(), expires_at.map(Timestamp::unix_secs)],
    )?;
    Ok(tx.last_insert_rowid().unsigned_abs())
}

/// The token with this secret, whatever its state.
pub fn by_secret(connection: &Connection, secret: FileDigest) -> Result<Option<TokenRow>, DbError> {
    let sql = "SELECT token_id, name, scopes, created_at, expires_at, revoked_at FROM tokens WHERE secret_sha256 = ?1";
    Ok(connection
        .query_row(sql, [secret.to_hex()], row)
        .optional()?)
}

/// The token with this number, whatever its state.
pub fn by_id(connection: &Connection, token_id: u64) -> Result<Option<TokenRow>, DbError> {
    let sql = "SELECT token_id, name, scopes, created_at, expires_at, revoked_at FROM tokens WHERE token_id = ?1";
    Ok(connection.query_row(sql, [token_id], row).optional()?)
}

/// All tokens by number.
pub fn all(connection: &Connection) -> Result<Vec<TokenRow>, DbError> {
    let sql = "SELECT token_id, name, scopes, created_at, expires_at, revoked_at FROM tokens ORDER BY token_id";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], row)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Revokes a token; `false` when there is none with this number that is not revoked yet.
pub fn revoke(tx: &Transaction<'_>, token_id: u64, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx.execute(
        "UPDATE tokens SET revoked_at = ?2 WHERE token_id = ?1 AND revoked_at IS NULL",
        params![token_id, now.unix_secs()],
    )?;
    Ok(changed == 1)
}

/// Revokes all tokens that have exactly these scopes.
pub fn revoke_scopes(tx: &Transaction<'_>, scopes: &str, now: Timestamp) -> Result<(), DbError> {
    tx.execute(
        "UPDATE tokens SET revoked_at = ?2 WHERE scopes = ?1 AND revoked_at IS NULL",
        params![scopes, now.unix_secs()],
    )?;
    Ok(())
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<TokenRow> {
    let time = |secs: i64| Timestamp::from_unix_secs(secs);
    Ok(TokenRow {
        token_id: row.get("token_id")?,
        name: parsed(row, "name")?,
        scopes: row.get("scopes")?,
        created_at: time(row.get("created_at")?),
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(time),
        revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(time),
    })
}
