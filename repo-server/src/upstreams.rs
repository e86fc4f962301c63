//! Repositories of others that the server fronts, as the configuration names them.

use crate::mirroring::PinnedKeys;
use hallmark_signer::verify::{Certificate, VerifyError};
use mirrors::http::BadUrlError;
use mirrors::pull::{Pull, PullError, Settings};
use mirrors::sync::{Patience, Signatures, Upstream};
use repo_model::RepoName;
use repo_model::config::{Config, UpstreamConfig};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Longest wait for the start of upstream's answer, and for each next piece of it.
const STALL: Duration = Duration::from_secs(20);

/// What is kept is brought to the disk, and swept, this often.
const TEND_EACH: Duration = Duration::from_secs(600);
/// Whether they are served still is looked at this often.
const LOOK_EACH: Duration = Duration::from_secs(10);

/// All of them by name.
pub type Upstreams = HashMap<RepoName, Arc<Pull>>;

/// A repository cannot be fronted. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// One of its URLs is none.
    #[error("upstream {name}")]
    Url {
        /// Which.
        name: RepoName,
        /// What is wrong.
        #[source]
        source: BadUrlError,
    },
    /// A key file cannot be read.
    #[error("cannot read the key {} of upstream {name}", path.display())]
    KeyFile {
        /// Which.
        name: RepoName,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key file holds no key.
    #[error("cannot use the key {} of upstream {name}", path.display())]
    Key {
        /// Which.
        name: RepoName,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// No thread can be had for looking after them.
    #[error("cannot look after the upstreams")]
    Thread(#[source] std::io::Error),
    /// What is kept of it cannot be used.
    #[error("upstream {name}")]
    Kept {
        /// Which.
        name: RepoName,
        /// Why.
        #[source]
        source: PullError,
    },
}

/// Opens what is kept of each; asks nobody.
pub fn open(config: &Config) -> Result<Upstreams, UpstreamError> {
    let directory = crate::layout::upstreams(&config.server.data_dir);
    let mut all = Upstreams::new();
    for upstream in &config.upstream {
        let name = upstream.name.clone();
        let (signatures, key) = signatures(upstream)?;
        let settings = Settings {
            directory: directory.join(name.as_str()),
            upstreams: places(upstream)?,
            signatures,
            key,
            fresh: Duration::from_secs(u64::from(upstream.fresh_secs)),
            keep_bytes: upstream.keep_bytes,
            keep_for: Duration::from_secs(u64::from(upstream.keep_days) * 86_400),
            patience: Patience::default(),
        };
        if settings.signatures.is_none() {
            tracing::warn!("the signature of upstream {name} is not verified, as configured");
        }
        let opened = Pull::open(settings);
        let pull = opened.map_err(|source| UpstreamError::Kept {
            name: name.clone(),
            source,
        })?;
        pull.sweep();
        all.insert(name, Arc::new(pull));
    }
    if !all.is_empty() {
        let pulls: Vec<_> = all.values().map(Arc::downgrade).collect();
        std::thread::Builder::new()
            .name("upstreams".to_owned())
            .spawn(move || tend(&pulls))
            .map_err(UpstreamError::Thread)?;
    }
    Ok(all)
}

/// Looks after what is kept for as long as it is served.
fn tend(pulls: &[Weak<Pull>]) {
    let mut tended = Instant::now();
    while pulls.iter().any(|pull| pull.strong_count() > 0) {
        std::thread::sleep(LOOK_EACH);
        if tended.elapsed() < TEND_EACH {
            continue;
        }
        for pull in pulls.iter().filter_map(Weak::upgrade) {
            pull.settle();
            pull.sweep();
        }
        tended = Instant::now();
    }
}

fn places(upstream: &UpstreamConfig) -> Result<Vec<Upstream>, UpstreamError> {
    let each = upstream.urls.iter().map(|url| Upstream::new(url, STALL));
    each.collect::<Result<_, _>>()
        .map_err(|source| UpstreamError::Url {
            name: upstream.name.clone(),
            source,
        })
}

/// What judges signatures, and the keys for clients as far as they are armoured.
type Keys = (Option<Box<dyn Signatures + Send>>, Vec<u8>);

fn signatures(upstream: &UpstreamConfig) -> Result<Keys, UpstreamError> {
    let mut armored = Vec::new();
    if !upstream.verify_signature {
        return Ok((None, armored));
    }
    let name = || upstream.name.clone();
    let mut certificates = Vec::new();
    for path in &upstream.keys {
        let bytes = std::fs::read(path).map_err(|source| UpstreamError::KeyFile {
            name: name(),
            path: path.clone(),
            source,
        })?;
        let read = Certificate::all_from_bytes(&bytes).map_err(|source| UpstreamError::Key {
            name: name(),
            path: path.clone(),
            source,
        })?;
        certificates.extend(read);
        if bytes.starts_with(b"-----BEGIN PGP") {
            armored.extend(bytes);
        }
    }
    Ok((Some(Box::new(PinnedKeys::new(certificates))), armored))
}
