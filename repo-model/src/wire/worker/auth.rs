//! Who sends a request: an ed25519 signature over everything that gives it its meaning.
//!
//! ```text
//! hallmark-worker: version=2,name=rb-a,time=1763600000,nonce=32-hex-digits,signature=128-hex-digits
//! ```

use super::{HEADER, PROTOCOL};
use crate::{FileDigest, Timestamp, WorkerName};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A request whose time is further than this from the server's clock is refused.
pub const MAX_SKEW_SECS: i64 = 300;

/// A request cannot be accepted as a worker's. The worker's fault (key, clock) unless it says
/// otherwise; retrying the very same request never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestAuthError {
    /// The header is malformed.
    #[error("the {HEADER} header is not `version=…,name=…,time=…,nonce=…,signature=…`")]
    Malformed,
    /// Another version of the protocol. Upgrade the older of the two.
    #[error(
        "the request speaks version {found} of the worker protocol; this is version {PROTOCOL}"
    )]
    Version {
        /// In the header.
        found: u32,
    },
    /// The signature does not verify.
    #[error(
        "the request's signature does not verify with the key of {worker} for this server's address"
    )]
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

/// What a request does, to whom.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// [`authority`] of the server's address, as the client calls it.
    pub authority: &'a str,
    /// `GET`, ...
    pub method: &'a str,
    /// From the first slash on.
    pub path_and_query: &'a str,
    /// SHA-256 of the body; for a blob that is put, the one in the path.
    pub body: FileDigest,
}

/// Host and, unless it is the scheme's own, port of a URL: `https://Packages.example:443/x` gives
/// `packages.example`.
pub fn authority(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].to_ascii_lowercase();
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    match host.strip_suffix(default_port) {
        Some(bare) => bare.to_owned(),
        None => host,
    }
}

/// What is signed: a fixed text with every part that gives the request its meaning.
fn request_bytes(
    worker: &WorkerName,
    target: &Target<'_>,
    time: Timestamp,
    nonce: &str,
) -> Vec<u8> {
    let Target {
        authority,
        method,
        path_and_query,
        body,
    } = target;
    let secs = time.unix_secs();
    format!(
        "hallmark-worker-v{PROTOCOL}\n{authority}\n{worker}\n{method}\n{path_and_query}\n{body}\n{secs}\n{nonce}\n"
    )
    .into_bytes()
}

impl RequestAuth {
    /// Signs a request. `nonce` is 16 random bytes.
    pub fn sign(
        key: &RequestKey,
        worker: &WorkerName,
        target: &Target<'_>,
        time: Timestamp,
        nonce: [u8; 16],
    ) -> Self {
        let nonce = hex::encode(nonce);
        let bytes = request_bytes(worker, target, time, &nonce);
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
        target: &Target<'_>,
        now: Timestamp,
    ) -> Result<(), RequestAuthError> {
        let skew_secs = (now.unix_secs() - self.time.unix_secs()).saturating_abs();
        if skew_secs > MAX_SKEW_SECS {
            return Err(RequestAuthError::Skew { skew_secs });
        }
        let bytes = request_bytes(&self.worker, target, self.time, &self.nonce);
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
            "version={PROTOCOL},name={},time={},nonce={},signature={}",
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
        // Version 1 did not say which it is, and began with the name.
        let found = match text.split_once(',').map(|(first, _)| first) {
            Some(first) if first.starts_with("name=") => Some(1),
            Some(first) => first
                .strip_prefix("version=")
                .and_then(|version| version.parse().ok()),
            None => None,
        };
        match found {
            Some(PROTOCOL) => read_auth(text).ok_or(RequestAuthError::Malformed),
            Some(found) => Err(RequestAuthError::Version { found }),
            None => Err(RequestAuthError::Malformed),
        }
    }
}

fn read_auth(text: &str) -> Option<RequestAuth> {
    let mut parts = text.split(',');
    let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
    part("version")?;
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

    fn target<'a>(path_and_query: &'a str, body: &[u8]) -> Target<'a> {
        Target {
            authority: "packages.example",
            method: "POST",
            path_and_query,
            body: FileDigest::of(body),
        }
    }

    #[test]
    fn a_request_is_good_for_one_server_one_path_one_body_and_a_short_time() {
        let key = RequestKey::from_seed(&[7; 32]);
        let worker: WorkerName = "rb-a".parse().unwrap();
        let now = Timestamp::from_unix_secs(1_000_000);
        let meant = target("/api/v1/worker/lease", b"{}");
        let auth = RequestAuth::sign(&key, &worker, &meant, now, [1; 16]);
        let auth: RequestAuth = auth.to_string().parse().unwrap();
        let public = key.public();
        assert!(auth.verify(&public, &meant, now).is_ok());
        let elsewhere = Target {
            authority: "evil.example",
            ..meant
        };
        let put = Target {
            method: "PUT",
            ..meant
        };
        let other_path = target("/api/v1/worker/jobs/1/report", b"{}");
        let other_body = target("/api/v1/worker/lease", b"");
        for other in [elsewhere, put, other_path, other_body] {
            assert!(auth.verify(&public, &other, now).is_err(), "{other:?}");
        }
        for wrong_time in [now.plus_secs(301), now.plus_secs(-301)] {
            let error = auth.verify(&public, &meant, wrong_time).unwrap_err();
            assert_eq!(error, RequestAuthError::Skew { skew_secs: 301 });
        }
        let other = RequestKey::from_seed(&[8; 32]).public();
        assert!(auth.verify(&other, &meant, now).is_err());
    }

    #[test]
    fn another_version_of_the_protocol_is_told_from_a_malformed_header() {
        for bad in [
            "",
            "name=rb-a",
            "version=2,name=rb-a",
            "version=x,name=rb-a,time=x,nonce=,signature=",
        ] {
            assert_eq!(
                bad.parse::<RequestAuth>(),
                Err(RequestAuthError::Malformed),
                "{bad}"
            );
        }
        for (text, found) in [
            ("name=rb-a,time=1,nonce=00,signature=00", 1),
            ("version=3,token=whatever", 3),
        ] {
            assert_eq!(
                text.parse::<RequestAuth>(),
                Err(RequestAuthError::Version { found })
            );
        }
    }

    #[test]
    fn one_server_has_one_authority_however_its_address_is_written() {
        for (url, wanted) in [
            ("https://packages.example", "packages.example"),
            ("https://Packages.Example:443/", "packages.example"),
            ("http://packages.example:80/x?y", "packages.example"),
            ("http://packages.example:443", "packages.example:443"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            assert_eq!(authority(url), wanted, "{url}");
        }
    }
}
