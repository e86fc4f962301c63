//! What the signer is shown before it signs a package: that all evidence about a build is in the log, under one
//! head that it signed itself and, where the policy demands witnesses, that a quorum of them has seen.
//!
//! The log advances once for all evidence that waits, that of other builds included, so a batch of packages costs
//! one head.

use super::tiles::Tiles;
use super::witnesses::{demand_quorum, head_for};
use super::{LogError, advance, check_root, directory, key, open, sign_head};
use crate::app::App;
use crate::db::{self, DbError};
use crate::jobs::JobError;
use crate::signer_link;
use repo_model::FileDigest;
use repo_model::config::ServerConfig;
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
    let server = app.config.server.clone();
    // The signer is led on from where it stands: nobody else may move it meanwhile.
    let _one_at_a_time = app.sequencer.lock().await;
    let proven = tokio::task::spawn_blocking(move || {
        remind(&server, &directory, &head, &key)?;
        prove(&directory, head, &key, &places)
    });
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

/// Leads a signer that was put back from an older copy on to the head, which it signed but does not remember: it would
/// hold every build until the log has something new.
fn remind(
    server: &ServerConfig,
    directory: &Path,
    head: &str,
    key: &VerifierKey,
) -> Result<(), LogError> {
    let size = open(head, key)?.size;
    let known = signer_link::connect(server)?.last_checkpoint()?;
    if known >= size {
        return Ok(());
    }
    let mut tree = Tiles::open(directory, size);
    // It would sign a fork of the log just as well.
    check_root(&mut tree, Some(head), key)?;
    sign_head(server, &mut tree, key)?;
    tracing::warn!(
        log.size = size,
        "the signer knew {known} entries of the log, {size} are published: its state is older than the log"
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::log::LogEntry;
    use repo_model::log::testkit::signed;
    use repo_model::log::{Checkpoint, LogKey, SignatureKind, leaf_hash};

    fn entry(n: u32) -> Vec<u8> {
        format!("entry {n}").into_bytes()
    }

    fn statement(n: u32) -> FileDigest {
        FileDigest::of(&n.to_be_bytes())
    }

    /// A log of 300 entries in `directory`; its head and its key.
    fn written(directory: &Path) -> (String, VerifierKey) {
        let key = LogKey::from_seed("log.example", SignatureKind::Log, &[1; 32]).unwrap();
        let entries = (0..300).map(|n| LogEntry {
            statement: statement(n),
            entry: entry(n),
        });
        let mut tree = Tiles::open(directory, 0);
        tree.extend(entries.collect()).unwrap();
        let root = tree.root().unwrap();
        tree.write().unwrap();
        (signed(&key, 300, root).to_string(), key.public())
    }

    #[test]
    fn statements_are_shown_in_the_order_of_the_request_under_one_head() {
        let dir = tempfile::tempdir().unwrap();
        let (head, key) = written(dir.path());
        let indexes = HashMap::from([(statement(7), 7), (statement(299), 299)]);
        let shown = prove(dir.path(), head.clone(), &key, &indexes).unwrap();
        let proofs = shown.proofs(&[statement(299), statement(1), statement(7)]);
        assert_eq!(proofs.head, head);
        let [Some(last), None, Some(seventh)] = proofs.places.as_slice() else {
            panic!("{proofs:?}")
        };
        let Checkpoint { size, root, .. } = open(&head, &key).unwrap();
        for (place, n) in [(last, 299), (seventh, 7)] {
            assert_eq!(place.index, u64::from(n));
            let leaf = leaf_hash(&entry(n));
            verify_inclusion(place.index, size, leaf, &place.hashes, root).unwrap();
        }
    }

    #[test]
    fn a_damaged_tile_is_our_trouble_and_not_shown_to_the_signer() {
        let dir = tempfile::tempdir().unwrap();
        let (head, key) = written(dir.path());
        let tile = dir.path().join("tile/0/000");
        let mut bytes = std::fs::read(&tile).unwrap();
        bytes[32 * 7] ^= 1;
        std::fs::write(&tile, bytes).unwrap();
        let indexes = HashMap::from([(statement(7), 7)]);
        let refused = prove(dir.path(), head, &key, &indexes).unwrap_err();
        assert!(
            matches!(refused, LogError::NotProven { index: 7 }),
            "{refused}"
        );
    }
}
