//! What the signer is shown before it signs a package: that all evidence about a build is in the log, under one
//! head that it signed itself and, where the policy demands witnesses, that a quorum of them has seen.
//!
//! The log advances once for all evidence that waits, that of other builds included, so a batch of packages costs
//! one head.

use super::tiles::Tiles;
use super::witnesses::{demand_quorum, head_for};
use super::{LogError, advance, directory, key, open};
use crate::app::App;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use repo_model::FileDigest;
use repo_model::log::{HashSource as _, VerifierKey, inclusion_proof, verify_inclusion};
use repo_model::policy::logged::{LogPlace, LogProofs};
use std::collections::HashMap;
use std::path::Path;

/// Places of statements under one head.
#[derive(Debug, Clone)]
pub struct Shown {
    head: String,
    places: HashMap<FileDigest, LogPlace>,
}

impl Shown {
    /// For a request with these statements, in this order. What has no place is shown without one: when it
    /// counts, the signer says that it is missing.
    pub fn proofs(&self, statements: &[FileDigest]) -> LogProofs {
        let place = |statement| self.places.get(statement).cloned();
        LogProofs {
            head: self.head.clone(),
            places: statements.iter().map(place).collect(),
        }
    }
}

/// Has everything that waits logged, then proves these statements. `None` when none of them is in the log,
/// because no key that anybody knows has signed it.
pub async fn show(app: &App, statements: Vec<FileDigest>) -> Result<Option<Shown>, JobError> {
    advance(app, &[]).await?;
    let mut places = indexes(app, statements.clone()).await?;
    let mut unlogged = statements;
    unlogged.retain(|statement| !places.contains_key(statement));
    if !unlogged.is_empty() {
        // They came before their key was known, and are not looked at again by themselves.
        advance(app, &unlogged).await?;
        places.extend(indexes(app, unlogged).await?);
    }
    let last = places.iter().max_by_key(|(_, index)| **index);
    let Some((statement, index)) = last.map(|(statement, index)| (*statement, *index)) else {
        return Ok(None);
    };
    demand_quorum(app, statement).await?;
    let head = head_for(app, index).await?.ok_or_else(|| {
        JobError::Broken("the log has entries, but no head that covers them".to_owned())
    })?;
    let (directory, key) = (directory(&app.config.server.data_dir), key(app).await?);
    let proven = tokio::task::spawn_blocking(move || prove(&directory, head, &key, &places));
    Ok(Some(proven.await??))
}

async fn indexes(
    app: &App,
    statements: Vec<FileDigest>,
) -> Result<HashMap<FileDigest, u64>, DbError> {
    app.db
        .read(move |connection| {
            let mut places = HashMap::with_capacity(statements.len());
            for statement in statements {
                if let Some(index) = db::log::index_of(connection, statement)? {
                    places.insert(statement, index);
                }
            }
            Ok(places)
        })
        .await
}

/// Proofs from the files of the log, each checked before it is given out: the signer would hold the build for
/// one that is damaged.
fn prove(
    directory: &Path,
    head: String,
    key: &VerifierKey,
    indexes: &HashMap<FileDigest, u64>,
) -> Result<Shown, LogError> {
    let checkpoint = open(&head, key)?;
    let (size, root) = (checkpoint.size, checkpoint.root);
    let mut tree = Tiles::open(directory, size);
    let mut places = HashMap::with_capacity(indexes.len());
    for (statement, index) in indexes {
        let index = *index;
        let hashes = inclusion_proof(index, size, &mut tree)?;
        let leaf = tree.hash(0, index)?;
        if verify_inclusion(index, size, leaf, &hashes, root).is_err() {
            return Err(LogError::NotProven { index });
        }
        places.insert(*statement, LogPlace { index, hashes });
    }
    Ok(Shown { head, places })
}
