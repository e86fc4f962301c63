//! One file on its way, for all who wait for it.

use super::{Pull, UNCLAIMED_MAX_BYTES, locked};
use crate::sync::Unwatched;
use crate::sync::fetch::{Failure, Fetcher};
use crate::sync::pace::Limit;
use crate::sync::peer::Peer;
use crate::sync::plan::Item;
use repo_model::FileDigest;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A file that is being fetched.
#[derive(Debug)]
pub struct Flight {
    partial: PathBuf,
    outcome: Mutex<Option<Result<Arrived, String>>>,
}

/// A file that is here and right.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its SHA-256.
    pub digest: FileDigest,
    /// Bytes.
    pub size_bytes: u64,
    /// The file, which may be removed at once and can be read all the same.
    pub file: Arc<File>,
}

/// How far a flight is.
#[derive(Debug, Clone)]
pub enum Progress {
    /// More is to come; what there is lies in [`Flight::partial`] and may still turn out wrong.
    Coming,
    /// All of it is here and right.
    Arrived(Arrived),
    /// No upstream has it, or none has it right.
    Lost {
        /// What the last one said.
        why: String,
    },
}

impl Flight {
    pub(super) fn new(partial: PathBuf) -> Self {
        Self {
            partial,
            outcome: Mutex::default(),
        }
    }

    /// Where its first bytes are, once there are some. The file may be cut off or replaced when an upstream turns out to
    /// be wrong: whoever reads it along must compare what was read with the digest at the end.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        match &*locked(&self.outcome) {
            None => Progress::Coming,
            Some(Ok(arrived)) => Progress::Arrived(arrived.clone()),
            Some(Err(why)) => Progress::Lost { why: why.clone() },
        }
    }

    pub(super) fn end(&self, outcome: Result<Arrived, String>) {
        *locked(&self.outcome) = Some(outcome);
    }
}

/// Fetches a file into the store: digest, place and size, or what the last upstream said.
pub(super) fn fetch(pull: &Pull, item: &Item) -> Result<(FileDigest, PathBuf, u64), String> {
    // What an upstream did wrong counts for one file: it may be well again for the next.
    let peers = Peer::all(&pull.request);
    let fetcher = Fetcher {
        peers: &peers,
        store: &pull.store,
        journal: &pull.journal,
        limit: Limit::new(None),
        patience: pull.settings.patience,
        unclaimed_max_bytes: UNCLAIMED_MAX_BYTES,
        signatures: None,
        watch: &Unwatched,
        in_ranges: false,
    };
    let outcome = match fetcher.fetch(item, &mut Vec::new()) {
        Ok(fetched) => {
            let path = pull.store.object(fetched.digest);
            Ok((fetched.digest, path, fetched.data.len()))
        }
        Err(Failure::Local(error)) => Err(format!("it cannot be kept here: {error}")),
        Err(Failure::Upstreams { problems, .. }) => {
            Err(problems.last().cloned().unwrap_or_default())
        }
    };
    if let Err(why) = &outcome {
        tracing::warn!("{} cannot be had: {why}", item.path);
    }
    outcome
}
