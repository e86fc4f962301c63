//! Tokens: scoped, expiring, hashed. Made and revoked by whoever can write the data directory, and by whoever
//! has a token with scope `tokens`.

use crate::db::tokens as rows;
use crate::db::{Db, DbError};
use repo_model::wire::operator::MAX_TOKEN_NAME_CHARS;
use repo_model::{FileDigest, MirrorName, RepoName, Timestamp};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Upload builds: to one repository, or to any.
    Publish(Option<RepoName>),
    /// Retry and reject builds, move channels, look at what operators see.
    Operate,
    /// Read blobs that are not public.
    Read,
    /// See all that is known of one mirror, and take it off the list.
    Mirror(MirrorName),
    /// Make and revoke tokens, with any scope.
    Tokens,
}

/// The text is no scope. The caller's fault.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a scope: want publish, publish:REPO, operate, read, mirror:NAME or tokens")]
pub struct ParseScopeError(String);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(None) => f.write_str("publish"),
            Self::Publish(Some(repo)) => write!(f, "publish:{repo}"),
            Self::Operate => f.write_str("operate"),
            Self::Read => f.write_str("read"),
            Self::Mirror(name) => write!(f, "mirror:{name}"),
            Self::Tokens => f.write_str("tokens"),
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
            None if text == "tokens" => Ok(Self::Tokens),
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
    /// The name is not one that can be listed and kept in the audit trail. The caller's fault.
    #[error(
        "a token's name has 1 to {MAX_TOKEN_NAME_CHARS} characters and at most {MAX_NAME_BYTES} bytes, none of them a control character"
    )]
    BadName,
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

/// Longest name of a token, bytes.
const MAX_NAME_BYTES: usize = 200;

/// Who acts when somebody works on the data directory itself, in the audit trail.
const LOCAL: &str = "local administrator";

/// What a new token shall be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Who or what it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ends by itself; none: never.
    pub expires_at: Option<Timestamp>,
}

/// Makes a token; the server may be running.
pub async fn create(
    data_dir: &Path,
    new: NewToken,
    now: Timestamp,
) -> Result<CreatedToken, TokenError> {
    create_in(&open(data_dir)?, LOCAL, new, now).await
}

/// Makes a token.
///
/// * `actor`: as the audit trail names whoever makes it.
pub(crate) async fn create_in(
    db: &Db,
    actor: &str,
    new: NewToken,
    now: Timestamp,
) -> Result<CreatedToken, TokenError> {
    check_name(&new.name)?;
    let secret = new_secret()?;
    let digest = secret_digest(&secret);
    let scopes: Vec<_> = new.scopes.iter().map(Scope::to_string).collect();
    let (actor, scopes) = (actor.to_owned(), scopes.join(" "));
    let id = db
        .write(move |tx| {
            let id = rows::insert(tx, &new.name, &scopes, digest, new.expires_at, now)?;
            let about = format!("token {id}");
            let detail = format!("{}: {scopes}", new.name);
            crate::db::audit(tx, now, &actor, "token-create", &about, &detail)?;
            Ok::<_, DbError>(id)
        })
        .await?;
    Ok(CreatedToken { id, secret })
}

/// The same for everybody who makes tokens, on the command line, the pages and over the API.
fn check_name(name: &str) -> Result<(), TokenError> {
    let chars = name.chars().count();
    let good = !name.trim().is_empty()
        && chars <= MAX_TOKEN_NAME_CHARS
        && name.len() <= MAX_NAME_BYTES
        && !name.chars().any(char::is_control);
    match good {
        true => Ok(()),
        false => Err(TokenError::BadName),
    }
}

/// 256 random bits as 64 hex digits.
pub(crate) fn random_hex() -> Result<String, TokenError> {
    let mut raw = [0; 32];
    getrandom::fill(&mut raw).map_err(|_| TokenError::Random)?;
    Ok(hex::encode(raw))
}

/// All tokens by number.
pub async fn list(data_dir: &Path) -> Result<Vec<ListedToken>, TokenError> {
    list_in(&open(data_dir)?).await
}

/// All tokens by number.
pub(crate) async fn list_in(db: &Db) -> Result<Vec<ListedToken>, TokenError> {
    let rows = db.read(rows::all).await?;
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
    revoke_in(&open(data_dir)?, LOCAL, id, now).await
}

/// Revokes a token at once.
///
/// * `actor`: as the audit trail names whoever does it.
pub(crate) async fn revoke_in(
    db: &Db,
    actor: &str,
    id: u64,
    now: Timestamp,
) -> Result<(), TokenError> {
    let actor = actor.to_owned();
    let revoked = db
        .write(move |tx| {
            let revoked = rows::revoke(tx, id, now)?;
            if revoked {
                crate::db::audit(tx, now, &actor, "token-revoke", &format!("token {id}"), "")?;
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
    Ok(format!("hallmark_{}", random_hex()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_s_name_is_short_in_characters_and_in_bytes() {
        for good in ["ci", "Zoë's laptop", &"x".repeat(100), &"é".repeat(100)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "  ", "a\nb", &"x".repeat(101), &"\u{1f511}".repeat(51)] {
            assert!(matches!(check_name(bad), Err(TokenError::BadName)), "{bad}");
        }
    }
}
