//! The right edge of a tree: enough to go on with it and to know its root, without its leaves.

use super::{NodeHash, empty_root, node_hash};
use serde::{Deserialize, Serialize};

/// The roots of a tree's complete subtrees, largest first: one for each bit of its size.
///
/// Whoever keeps it and adds every later leaf has checked, when the root fits, both that the log only grew
/// and that these are its leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Frontier {
    size: u64,
    nodes: Vec<NodeHash>,
}

#[derive(Deserialize)]
struct Wire {
    size: u64,
    nodes: Vec<NodeHash>,
}

impl TryFrom<Wire> for Frontier {
    type Error = String;
    fn try_from(wire: Wire) -> Result<Self, String> {
        let (have, want) = (wire.nodes.len(), wire.size.count_ones());
        match have == want as usize {
            true => Ok(Self {
                size: wire.size,
                nodes: wire.nodes,
            }),
            false => Err(format!(
                "a tree of {} has {want} nodes, not {have}",
                wire.size
            )),
        }
    }
}

impl Frontier {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: NodeHash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(left, node);
            }
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// Root over all leaves.
    pub fn root(&self) -> NodeHash {
        let mut from_right = self.nodes.iter().rev().copied();
        let Some(last) = from_right.next() else {
            return empty_root();
        };
        from_right.fold(last, |right, left| node_hash(left, right))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::Leaves;
    use super::super::{leaf_hash, root};
    use super::*;

    #[test]
    fn a_tree_that_grows_leaf_by_leaf_has_the_root_of_the_whole() {
        let mut frontier = Frontier::default();
        let mut leaves = Leaves::default();
        assert_eq!(frontier.root(), empty_root());
        for n in 0..300_u32 {
            let leaf = leaf_hash(&n.to_be_bytes());
            frontier.push(leaf);
            leaves.0.push(leaf);
            let Ok(whole) = root(frontier.size(), &mut leaves);
            assert_eq!(frontier.root(), whole, "{n}");
            let json = serde_json::to_string(&frontier).unwrap();
            frontier = serde_json::from_str(&json).unwrap();
        }
        let cut = r#"{"size":3,"nodes":[]}"#;
        assert!(serde_json::from_str::<Frontier>(cut).is_err());
    }
}
