//! Rebuilders and the server: lease a job, keep it, report it.
//!
//! * `POST /api/v1/worker/lease`: [`LeaseRequest`]; 200 [`LeasedJob`], or 204 after `wait_secs`.
//! * `POST /api/v1/worker/jobs/{job}/heartbeat`: [`Heartbeat`]; 204, or 409 when the lease is lost.
//! * `POST /api/v1/worker/jobs/{job}/report`: [`Report`]; 204, or 409 when the lease is lost.
//! * `GET` and `PUT /api/v1/blobs/{sha256}` as for builds.
//!
//! Each request carries the header `hallmark-worker: name=…,time=…,nonce=…,signature=…`: an ed25519
//! signature (hex) over [`request_bytes`]. Job and lease epoch are in the path and body that are
//! signed, so a request cannot be moved to another job, and the nonce stops it from being replayed.

use crate::statement::Resource;
use crate::{Arch, FileDigest, HeaderDigest, Nevra, Timestamp, WorkerName};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Name of the HTTP header.
pub const HEADER: &str = "hallmark-worker";
/// A request whose time is further than this from the server's clock is refused.
pub const MAX_SKEW_SECS: i64 = 300;

/// Asks for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Architectures it can build for.
    pub arches: Vec<Arch>,
    /// How long the server may wait for work before it answers 204; at most 60.
    pub wait_secs: u32,
}

/// One build to confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeasedJob {
    /// Number of the job.
    pub job: u64,
    /// Number of the build.
    pub build: u64,
    /// Grows with each lease of the job; reports of an older lease are refused.
    pub lease_epoch: u64,
    /// The lease ends this long after the last heartbeat.
    pub lease_secs: u32,
    /// The source package's file name.
    pub source_name: String,
    /// The source package.
    pub source: FileDigest,
    /// The buildinfo to replay.
    pub buildinfo: FileDigest,
    /// What the build made.
    pub packages: Vec<ExpectedPackage>,
}

/// One package that the rebuild should give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedPackage {
    /// Identity.
    pub nevra: Nevra,
    /// Unsigned file.
    pub file: FileDigest,
    /// Main header.
    pub header: HeaderDigest,
    /// Bytes.
    pub size_bytes: u64,
}

/// "Still at it."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// From [`LeasedJob`].
    pub lease_epoch: u64,
}

/// The result. Attachments must have been uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// From [`LeasedJob`].
    pub lease_epoch: u64,
    /// What came out.
    pub outcome: Outcome,
    /// Build log and comparison report.
    pub attachments: Vec<Resource>,
}

/// What came out of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The build ran and was compared (or failed by itself): one signed rebuild statement for each
    /// expected package, in the job's order, as stored DSSE blobs.
    Judged {
        /// Digests of the uploaded envelopes.
        statements: Vec<FileDigest>,
    },
    /// Nothing can be said; the server gives the job out again later.
    InfraFailed {
        /// What went wrong, for people.
        message: String,
    },
}

/// A request cannot be accepted as a worker's. The worker's fault (key, clock) unless it says
/// otherwise; retrying the very same request never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestAuthError {
    /// The header is malformed.
    #[error("the {HEADER} header is not `name=…,time=…,nonce=…,signature=…`")]
    Malformed,
    /// The signature does not verify.
    #[error("the request's signature does not verify with the key of {worker}")]
    Signature {
        /// Who it claims to be.
        worker: WorkerName,
    },
    /// Too old, or from the future.
    #[error(
        "the request's time is {skew_secs} s away from the server's clock; the limit is {MAX_SKEW_SECS} s"
    )]
    Skew {
        /// Distance.
        skew_secs: i64,
    },
}

/// Proof of who sends a request, as it stands in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAuth {
    /// The worker.
    pub worker: WorkerName,
    /// When it was signed.
    pub time: Timestamp,
    /// 32 hex digits, never used twice.
    pub nonce: String,
    signature: [u8; 64],
}

/// What is signed: a fixed text with every part that gives the request its meaning.
pub fn request_bytes(
    worker: &WorkerName,
    method: &str,
    path_and_query: &str,
    body: FileDigest,
    time: Timestamp,
    nonce: &str,
) -> Vec<u8> {
    let secs = time.unix_secs();
    format!("hallmark-worker-v1\n{worker}\n{method}\n{path_and_query}\n{body}\n{secs}\n{nonce}\n")
        .into_bytes()
}

impl RequestAuth {
    /// Signs a request. `nonce` is 16 random bytes.
    pub fn sign(
        key: &RequestKey,
        worker: &WorkerName,
        method: &str,
        path_and_query: &str,
        body: FileDigest,
        time: Timestamp,
        nonce: [u8; 16],
    ) -> Self {
        let nonce = hex::encode(nonce);
        let bytes = request_bytes(worker, method, path_and_query, body, time, &nonce);
        Self {
            worker: worker.clone(),
            time,
            nonce,
            signature: key.0.sign(&bytes).to_bytes(),
        }
    }

    /// Checks signature and time; the caller still has to refuse a nonce seen before.
    pub fn verify(
        &self,
        key: &RequestPublicKey,
        method: &str,
        path_and_query: &str,
        body: FileDigest,
        now: Timestamp,
    ) -> Result<(), RequestAuthError> {
        let skew_secs = (now.unix_secs() - self.time.unix_secs()).abs();
        if skew_secs > MAX_SKEW_SECS {
            return Err(RequestAuthError::Skew { skew_secs });
        }
        let bytes = request_bytes(
            &self.worker,
            method,
            path_and_query,
            body,
            self.time,
            &self.nonce,
        );
        key.0
            .verify_strict(&bytes, &Signature::from_bytes(&self.signature))
            .map_err(|_| RequestAuthError::Signature {
                worker: self.worker.clone(),
            })
    }
}

impl fmt::Display for RequestAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "name={},time={},nonce={},signature={}",
            self.worker,
            self.time.unix_secs(),
            self.nonce,
            hex::encode(self.signature)
        )
    }
}

impl FromStr for RequestAuth {
    type Err = RequestAuthError;
    fn from_str(text: &str) -> Result<Self, RequestAuthError> {
        read_auth(text).ok_or(RequestAuthError::Malformed)
    }
}

fn read_auth(text: &str) -> Option<RequestAuth> {
    let mut parts = text.split(',');
    let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
    let worker = part("name")?.parse().ok()?;
    let time = Timestamp::from_unix_secs(part("time")?.parse().ok()?);
    let nonce = part("nonce")?.to_owned();
    let mut signature = [0; 64];
    hex::decode_to_slice(part("signature")?, &mut signature).ok()?;
    let nonce_ok = nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_hexdigit());
    (nonce_ok && parts.next().is_none()).then_some(RequestAuth {
        worker,
        time,
        nonce,
        signature,
    })
}

/// ed25519 private key that signs a worker's requests; no useful `Debug`.
#[derive(Clone)]
pub struct RequestKey(SigningKey);

impl RequestKey {
    /// Any 32 random bytes are a key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the key file.
    pub fn to_seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> RequestPublicKey {
        RequestPublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestKey({})", self.public())
    }
}

/// ed25519 public key, 64 lowercase hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPublicKey(VerifyingKey);

impl fmt::Display for RequestPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

/// The text is not an ed25519 public key. Correct the policy file.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an ed25519 public key: want 64 lowercase hex digits")]
pub struct ParseRequestKeyError {
    text: String,
}

impl FromStr for RequestPublicKey {
    type Err = ParseRequestKeyError;
    fn from_str(text: &str) -> Result<Self, ParseRequestKeyError> {
        let mut raw = [0; 32];
        hex::decode_to_slice(text, &mut raw)
            .ok()
            .and_then(|()| VerifyingKey::from_bytes(&raw).ok())
            .map(Self)
            .ok_or_else(|| ParseRequestKeyError {
                text: text.chars().take(80).collect(),
            })
    }
}

impl Serialize for RequestPublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestPublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_good_for_one_path_one_body_and_a_short_time() {
        let key = RequestKey::from_seed(&[7; 32]);
        let worker: WorkerName = "rb-a".parse().unwrap();
        let now = Timestamp::from_unix_secs(1_000_000);
        let body = FileDigest::of(b"{}");
        let auth = RequestAuth::sign(
            &key,
            &worker,
            "POST",
            "/api/v1/worker/lease",
            body,
            now,
            [1; 16],
        );
        let auth: RequestAuth = auth.to_string().parse().unwrap();
        let public = key.public();
        assert!(
            auth.verify(&public, "POST", "/api/v1/worker/lease", body, now)
                .is_ok()
        );
        assert!(
            auth.verify(&public, "POST", "/api/v1/worker/jobs/1/report", body, now)
                .is_err()
        );
        assert!(
            auth.verify(
                &public,
                "POST",
                "/api/v1/worker/lease",
                FileDigest::of(b""),
                now
            )
            .is_err()
        );
        assert!(
            auth.verify(
                &public,
                "POST",
                "/api/v1/worker/lease",
                body,
                now.plus_secs(301)
            )
            .is_err()
        );
        let other = RequestKey::from_seed(&[8; 32]).public();
        assert!(
            auth.verify(&other, "POST", "/api/v1/worker/lease", body, now)
                .is_err()
        );
        for bad in ["", "name=rb-a", "name=rb-a,time=x,nonce=,signature="] {
            assert!(bad.parse::<RequestAuth>().is_err(), "{bad}");
        }
    }
}
