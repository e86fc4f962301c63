//! Who asks: bearer tokens for people and build systems, signed requests for rebuilders.

use super::error::ApiError;
use crate::app::{App, now};
use crate::db::tokens::TokenRow;
use crate::db::{self, DbError};
use crate::tokens::{Scope, parse_scopes, secret_digest};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use repo_model::dsse::StatementPublicKey;
use repo_model::wire::worker::{
    HEADER, MAX_SKEW_SECS, PROTOCOL, RequestAuth, RequestAuthError, RequestPublicKey, Target,
    authority,
};
use repo_model::{FileDigest, MirrorName, OperatorName, RepoName, WorkerName};

/// Somebody with a valid token. Extracted before a byte of the body is read.
#[derive(Debug, Clone)]
pub struct Bearer {
    token_id: u64,
    name: String,
    scopes: Vec<Scope>,
}

impl Bearer {
    /// Whoever has the token with this secret.
    pub async fn with_secret(app: &App, secret: &str) -> Result<Self, ApiError> {
        let digest = secret_digest(secret.trim());
        let row = app
            .db
            .read(move |connection| db::tokens::by_secret(connection, digest))
            .await?;
        Self::of(row)
    }

    /// Whoever has the token with this number, as long as the token is good.
    pub async fn with_token(app: &App, token_id: u64) -> Result<Self, ApiError> {
        let row = app
            .db
            .read(move |connection| db::tokens::by_id(connection, token_id))
            .await?;
        Self::of(row)
    }

    fn of(row: Option<TokenRow>) -> Result<Self, ApiError> {
        let row = row.ok_or_else(|| ApiError::unauthorized("the token is not known here"))?;
        if row.revoked_at.is_some() {
            return Err(ApiError::unauthorized(format!(
                "token {} was revoked",
                row.name
            )));
        }
        if let Some(expires_at) = row.expires_at
            && expires_at <= now()
        {
            return Err(ApiError::unauthorized(format!(
                "token {} expired at {expires_at}",
                row.name
            )));
        }
        Ok(Self {
            token_id: row.token_id,
            name: format!("{} (token {})", row.name, row.token_id),
            scopes: parse_scopes(&row.scopes),
        })
    }

    /// The token's number.
    pub fn token_id(&self) -> u64 {
        self.token_id
    }

    /// The token's name and number, for the audit trail and for ownership of uploads.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Refuses a token that cannot publish at all.
    pub fn may_upload(&self) -> Result<(), ApiError> {
        let may = self
            .scopes
            .iter()
            .any(|scope| matches!(scope, Scope::Publish(_)));
        self.demand(may, "publish")
    }

    /// Refuses a token that cannot publish to this repository.
    pub fn may_publish(&self, repo: &RepoName) -> Result<(), ApiError> {
        let may = self.scopes.iter().any(|scope| match scope {
            Scope::Publish(only) => only.as_ref().is_none_or(|only| only == repo),
            Scope::Operate | Scope::Read | Scope::Mirror(_) | Scope::Tokens => false,
        });
        self.demand(may, &format!("publish:{repo}"))
    }

    /// Refuses a token that cannot operate.
    pub fn may_operate(&self) -> Result<(), ApiError> {
        self.demand(self.operates(), "operate")
    }

    /// Whether it can operate.
    pub fn operates(&self) -> bool {
        self.scopes.contains(&Scope::Operate)
    }

    /// Whether it can operate, or is this mirror's own.
    pub fn speaks_for(&self, mirror: &MirrorName) -> bool {
        let own = |scope: &Scope| matches!(scope, Scope::Mirror(name) if name == mirror);
        self.operates() || self.scopes.iter().any(own)
    }

    /// Refuses a token that is neither this mirror's own nor can operate.
    pub fn must_speak_for(&self, mirror: &MirrorName) -> Result<(), ApiError> {
        self.demand(self.speaks_for(mirror), &format!("mirror:{mirror}"))
    }

    /// Refuses a token that cannot read what is not public.
    pub fn may_read(&self) -> Result<(), ApiError> {
        self.demand(self.scopes.contains(&Scope::Read), "read")
    }

    /// Refuses a token that cannot make or revoke tokens.
    pub fn may_manage_tokens(&self) -> Result<(), ApiError> {
        self.demand(self.manages_tokens(), "tokens")
    }

    /// Whether it can make and revoke tokens.
    pub fn manages_tokens(&self) -> bool {
        self.scopes.contains(&Scope::Tokens)
    }

    fn demand(&self, may: bool, scope: &str) -> Result<(), ApiError> {
        if may {
            return Ok(());
        }
        let message = format!("token {} lacks the scope {scope}", self.name);
        Err(
            ApiError::client(StatusCode::FORBIDDEN, "forbidden", message)
                .hint("`hallmark token create` makes a token with another scope"),
        )
    }
}

impl FromRequestParts<App> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let value = parts
            .headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| ApiError::unauthorized("this needs a token"))?;
        let secret = value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| {
                ApiError::unauthorized("the Authorization header is not `Bearer TOKEN`")
            })?;
        Self::with_secret(app, secret).await
    }
}

impl OptionalFromRequestParts<App> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, ApiError> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            return <Self as FromRequestParts<App>>::from_request_parts(parts, app)
                .await
                .map(Some);
        }
        Ok(None)
    }
}

/// A rebuilder that may work: the policy lists it, or an operator let it in.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its name.
    pub name: WorkerName,
    /// Who runs it.
    pub operator: OperatorName,
    /// Signs its statements.
    pub statement_key: StatementPublicKey,
}

/// A request that claims to be a known rebuilder's; its signature is not looked at yet, because that
/// takes the body.
#[derive(Debug)]
pub struct WorkerClaim {
    auth: RequestAuth,
    worker: Worker,
    key: RequestPublicKey,
}

fn bad_signature(message: String) -> ApiError {
    ApiError::client(StatusCode::UNAUTHORIZED, "bad-worker-signature", message).hint(
        "compare the rebuilder's name and request key with the server's policy, its server_url with the \
         server's public_url and worker_urls, and its clock",
    )
}

/// The header of a rebuilder's request.
pub fn header(headers: &HeaderMap) -> Result<RequestAuth, ApiError> {
    let value = headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            bad_signature(format!(
                "this needs a request signed by a rebuilder ({HEADER} header)"
            ))
        })?;
    value.parse().map_err(|error: RequestAuthError| match error {
        RequestAuthError::Version { found } => {
            let older = if found < PROTOCOL { "hallmark-rebuilder" } else { "the server" };
            ApiError::client(StatusCode::BAD_REQUEST, "protocol-version", error.to_string()).hint(
                format!(
                    "upgrade {older}: this server is Hallmark {}, and both have to speak version {PROTOCOL}",
                    env!("CARGO_PKG_VERSION")
                ),
            )
        }
        RequestAuthError::Malformed
        | RequestAuthError::Signature { .. }
        | RequestAuthError::Skew { .. } => bad_signature(error.to_string()),
    })
}

impl WorkerClaim {
    /// The rebuilder that the header names, with its key: of the policy, or approved.
    pub async fn read(app: &App, headers: &HeaderMap) -> Result<Self, ApiError> {
        let auth = header(headers)?;
        if let Some(holder) = app.policy.rebuilder(&auth.worker) {
            let key = holder.request_key.clone().ok_or_else(|| {
                bad_signature(format!("the policy has no request key of {}", auth.worker))
            })?;
            let worker = Worker {
                name: holder.name.clone(),
                operator: holder.operator.clone(),
                statement_key: holder.statement_key.clone(),
            };
            return Ok(Self { auth, worker, key });
        }
        let name = auth.worker.clone();
        let row = app
            .db
            .read(move |connection| db::rebuilders::approved(connection, &name))
            .await
            .map_err(|error: DbError| ApiError::from(error))?;
        let Some(row) = row else {
            let name = &auth.worker;
            return Err(bad_signature(format!("there is no rebuilder {name} here"))
                .hint("`hallmark-rebuilder enrol` asks to be let in; then the server's operator decides"));
        };
        let worker = Worker {
            name: row.name,
            operator: row.operator,
            statement_key: row.statement_key,
        };
        Ok(Self::of(auth, worker, row.request_key))
    }

    /// A claim to be proven with this key.
    pub fn of(auth: RequestAuth, worker: Worker, key: RequestPublicKey) -> Self {
        Self { auth, worker, key }
    }

    /// Verifies the signature over this method, path and body digest, for one of this server's addresses,
    /// and that the request was not made before.
    pub async fn prove(
        self,
        app: &App,
        method: &str,
        path_and_query: &str,
        body: FileDigest,
    ) -> Result<Worker, ApiError> {
        let Self { auth, worker, key } = self;
        if auth.worker != worker.name {
            return Err(bad_signature(format!(
                "the request is of {}, not of {}",
                auth.worker, worker.name
            )));
        }
        let at = now();
        let server = &app.config.server;
        let mut verified = Ok(());
        for url in [&server.public_url].into_iter().chain(&server.worker_urls) {
            let authority = authority(url);
            let target = Target {
                authority: &authority,
                method,
                path_and_query,
                body,
            };
            verified = auth.verify(&key, &target, at);
            if verified.is_ok() {
                break;
            }
        }
        verified.map_err(|error| bad_signature(error.to_string()))?;
        let nonce = auth.nonce.clone();
        let fresh = app
            .db
            .write(move |tx| {
                let forget_before = at.plus_secs(-2 * MAX_SKEW_SECS);
                db::rebuilds::remember_nonce(tx, &nonce, at, forget_before)
            })
            .await
            .map_err(|error: DbError| ApiError::from(error))?;
        match fresh {
            true => Ok(worker),
            false => Err(bad_signature(
                "this very request was made before".to_owned(),
            )),
        }
    }
}

/// Path and query as they were sent, whatever routers made of them.
pub fn path_and_query(parts: &Parts) -> String {
    let uri = parts
        .extensions
        .get::<axum::extract::OriginalUri>()
        .map_or(&parts.uri, |original| &original.0);
    let path = uri.path_and_query();
    path.map_or_else(String::new, |path| path.as_str().to_owned())
}
