//! Tokens: scoped, expiring, hashed. Made and revoked by whoever can read the data directory.

use crate::db::tokens as rows;
use crate::db::{Db, DbError};
use repo_model::{FileDigest, MirrorName, RepoName, Timestamp};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Upload builds: to one repository, or to any.
    Publish(Option<RepoName>),
    /// Retry builds, move channels.
    Operate,
    /// Read blobs that are not public.
    Read,
    /// See all that is known of one mirror, and take it off the list.
    Mirror(MirrorName),
}

/// The text is no scope. The caller's fault.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a scope: want publish, publish:REPO, operate, read or mirror:NAME")]
pub struct ParseScopeError(String);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(None) => f.write_str("publish"),
            Self::Publish(Some(repo)) => write!(f, "publish:{repo}"),
            Self::Operate => f.write_str("operate"),
            Self::Read => f.write_str("read"),
            Self::Mirror(name) => write!(f, "mirror:{name}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;
    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let refuse = || ParseScopeError(text.chars().take(80).collect());
        match text.split_once(':') {
            None if text == "publish" => Ok(Self::Publish(None)),
            None if text == "operate" => Ok(Self::Operate),
            None if text == "read" => Ok(Self::Read),
            Some(("publish", repo)) => repo
                .parse()
                .map(|repo| Self::Publish(Some(repo)))
                .map_err(|_| refuse()),
            Some(("mirror", name)) => name.parse().map(Self::Mirror).map_err(|_| refuse()),
            _ => Err(refuse()),
        }
    }
}

/// A new token. The secret is shown once and kept nowhere.
pub struct CreatedToken {
    /// Number, for revoking it.
    pub id: u64,
    /// What the client sends as `Authorization: Bearer …`.
    pub secret: String,
}

/// A token as it can be listed.
#[derive(Debug, Clone)]
pub struct ListedToken {
    /// Number.
    pub id: u64,
    /// Who it was made for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token could not be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The data directory cannot be made. Check its path and owner.
    #[error("cannot make the data directory")]
    DataDir(#[source] std::io::Error),
    /// The database failed; retrying is safe.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The system gave no random bytes; retrying may help.
    #[error("the system gave no random bytes")]
    Random,
    /// There is no such token, or it is revoked already.
    #[error("there is no token {id} that could be revoked")]
    Unknown {
        /// The number asked for.
        id: u64,
    },
}

/// Makes a token; the server may be running.
pub async fn create(
    data_dir: &Path,
    name: &str,
    scopes: &[Scope],
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<CreatedToken, TokenError> {
    let db = open(data_dir)?;
    let secret = new_secret()?;
    let digest = secret_digest(&secret);
    let name = name.to_owned();
    let scopes = scopes
        .iter()
        .map(Scope::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let id = db
        .write(move |tx| {
            let id = rows::insert(tx, &name, &scopes, digest, expires_at, now)?;
            crate::db::audit(
                tx,
                now,
                "local administrator",
                "token-create",
                &name,
                &scopes,
            )?;
            Ok::<_, DbError>(id)
        })
        .await?;
    Ok(CreatedToken { id, secret })
}

/// All tokens by number.
pub async fn list(data_dir: &Path) -> Result<Vec<ListedToken>, TokenError> {
    let rows = open(data_dir)?.read(rows::all).await?;
    Ok(rows
        .into_iter()
        .map(|row| ListedToken {
            id: row.token_id,
            name: row.name,
            scopes: parse_scopes(&row.scopes),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
        .collect())
}

/// Revokes a token at once; a running server sees it with the next request.
pub async fn revoke(data_dir: &Path, id: u64, now: Timestamp) -> Result<(), TokenError> {
    let revoked = open(data_dir)?
        .write(move |tx| {
            let revoked = rows::revoke(tx, id, now)?;
            if revoked {
                crate::db::audit(
                    tx,
                    now,
                    "local administrator",
                    "token-revoke",
                    &id.to_string(),
                    "",
                )?;
            }
            Ok::<_, DbError>(revoked)
        })
        .await?;
    if revoked {
        Ok(())
    } else {
        Err(TokenError::Unknown { id })
    }
}

/// The secret of a new token: 256 random bits.
pub(crate) fn new_secret() -> Result<String, TokenError> {
    let mut raw = [0; 32];
    getrandom::fill(&mut raw).map_err(|_| TokenError::Random)?;
    Ok(format!("hallmark_{}", hex::encode(raw)))
}

/// What is stored instead of the secret. The secret has 256 random bits, so one round suffices.
pub(crate) fn secret_digest(secret: &str) -> FileDigest {
    FileDigest::of(secret.as_bytes())
}

/// Scopes as stored; what this version does not know grants nothing.
pub(crate) fn parse_scopes(text: &str) -> Vec<Scope> {
    text.split(' ')
        .filter_map(|scope| scope.parse().ok())
        .collect()
}

fn open(data_dir: &Path) -> Result<Db, TokenError> {
    std::fs::create_dir_all(data_dir).map_err(TokenError::DataDir)?;
    Ok(Db::open(&crate::layout::database(data_dir))?)
}
