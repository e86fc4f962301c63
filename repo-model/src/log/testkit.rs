//! For tests of this crate and of others: trees in memory, and heads of them.

use super::{Checkpoint, HashSource, LogKey, NodeHash, Note, leaf_hash, node_hash, root};
use crate::Timestamp;

/// All leaves of a tree.
#[derive(Debug, Clone, Default)]
pub struct Leaves(pub Vec<NodeHash>);

impl Leaves {
    /// `count` leaves; trees of another salt have no leaf in common with it.
    pub fn salted(count: u64, salt: &str) -> Self {
        let leaf = |n| leaf_hash(format!("{salt}{n}").as_bytes());
        Self((0..count).map(leaf).collect())
    }

    /// Root over them.
    pub fn root(&self) -> NodeHash {
        let Ok(root) = root(self.0.len() as u64, &mut self.clone());
        root
    }
}

impl HashSource for Leaves {
    type Error = std::convert::Infallible;

    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, Self::Error> {
        if level == 0 {
            return Ok(self.0[index as usize]);
        }
        let Ok(left) = self.hash(level - 1, index * 2);
        let Ok(right) = self.hash(level - 1, index * 2 + 1);
        Ok(node_hash(left, right))
    }
}

/// A head that the log's key signed.
///
/// # Panics
/// When the key cannot sign it: it never happens to a key with a short name.
pub fn signed(key: &LogKey, size: u64, root: NodeHash) -> Note {
    let checkpoint = Checkpoint {
        origin: key.public().name().to_owned(),
        size,
        root,
    };
    let text = checkpoint.to_string();
    let line = key.sign(&text, Timestamp::from_unix_secs(1_700_000_000));
    let signatures = vec![line.expect("a checkpoint can be signed")];
    Note { text, signatures }
}
