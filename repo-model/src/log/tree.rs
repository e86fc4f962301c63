//! RFC 6962 §2.1: Merkle tree hashes, inclusion and consistency proofs; their verification follows
//! RFC 9162 §2.1.3.2 and §2.1.4.2.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A hash in the tree: of a leaf or of a subtree. Not the digest of any file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeHash([u8; 32]);

impl NodeHash {
    /// Takes 32 bytes from a tile, a checkpoint or a proof.
    pub const fn from_bytes(raw: [u8; 32]) -> Self {
        Self(raw)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Standard base64, as notes and proofs carry it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads standard base64 of 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        let raw = STANDARD.decode(text).ok()?;
        Some(Self(raw.try_into().ok()?))
    }
}

impl Serialize for NodeHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for NodeHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).ok_or_else(|| serde::de::Error::custom("not base64 of 32 bytes"))
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeHash({})", hex::encode(self.0))
    }
}

/// Why a proof proves nothing. Whoever gave the proof, or the log, is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf.
    #[error("index {index} is not in a tree of {size} leaves")]
    Index {
        /// Asked for.
        index: u64,
        /// Leaves.
        size: u64,
    },
    /// A tree does not shrink.
    #[error("a tree of {old} leaves is not a start of one of {new}")]
    Sizes {
        /// The earlier tree.
        old: u64,
        /// The later tree.
        new: u64,
    },
    /// Too many or too few hashes.
    #[error("the proof has {found} hashes, which is not what these sizes need")]
    Length {
        /// Hashes given.
        found: usize,
    },
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// Hash of a leaf.
pub fn leaf_hash(entry: &[u8]) -> NodeHash {
    let mut hasher = Sha256::new_with_prefix([0]);
    hasher.update(entry);
    NodeHash(hasher.finalize().into())
}

/// Hash over two subtrees.
pub fn node_hash(left: NodeHash, right: NodeHash) -> NodeHash {
    let mut hasher = Sha256::new_with_prefix([1]);
    hasher.update(left.0);
    hasher.update(right.0);
    NodeHash(hasher.finalize().into())
}

/// The root of the tree without leaves.
pub fn empty_root() -> NodeHash {
    NodeHash(Sha256::digest([]).into())
}

/// Where the hashes of complete subtrees come from: tiles, or memory.
pub trait HashSource {
    /// Why a hash is not to be had.
    type Error;

    /// Hash of the subtree over leaves `index << level .. (index + 1) << level`, all of which exist.
    fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, Self::Error>;
}

/// Root of the first `size` leaves.
pub fn root<S: HashSource>(size: u64, source: &mut S) -> Result<NodeHash, S::Error> {
    match size {
        0 => Ok(empty_root()),
        size => subtree(0, size, source),
    }
}

/// Proof that leaf `index` is in the tree of the first `size` leaves: siblings from the leaf up.
///
/// The caller has checked that `index < size`; other indexes give an empty proof.
pub fn inclusion_proof<S: HashSource>(
    index: u64,
    size: u64,
    source: &mut S,
) -> Result<Vec<NodeHash>, S::Error> {
    let mut siblings = Vec::new();
    let (mut low, mut high) = (0, size);
    while index < size && high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            siblings.push(subtree(middle, high, source)?);
            high = middle;
        } else {
            siblings.push(subtree(low, middle, source)?);
            low = middle;
        }
    }
    siblings.reverse();
    Ok(siblings)
}

/// Proof that the first `old` leaves are a start of the first `new` (RFC 6962 §2.1.2); empty when
/// `old` is 0 or not smaller than `new`.
pub fn consistency_proof<S: HashSource>(
    old: u64,
    new: u64,
    source: &mut S,
) -> Result<Vec<NodeHash>, S::Error> {
    let mut hashes = Vec::new();
    if old == 0 || old >= new {
        return Ok(hashes);
    }
    let (mut low, mut high) = (0, new);
    let mut on_left_edge = true;
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            hashes.push(subtree(middle, high, source)?);
            high = middle;
        } else {
            hashes.push(subtree(low, middle, source)?);
            low = middle;
            on_left_edge = false;
        }
    }
    if !on_left_edge {
        hashes.push(subtree(low, high, source)?);
    }
    hashes.reverse();
    Ok(hashes)
}

/// Largest power of two smaller than `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// Hash over leaves `low..high`, where `low` is a multiple of the subtree's width.
fn subtree<S: HashSource>(low: u64, high: u64, source: &mut S) -> Result<NodeHash, S::Error> {
    let count = high - low;
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        // At most 63.
        return source.hash(u8::try_from(level).unwrap_or(63), low >> level);
    }
    let middle = low + split(count);
    let left = subtree(low, middle, source)?;
    Ok(node_hash(left, subtree(middle, high, source)?))
}

/// Checks that `leaf` is at `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: NodeHash,
    proof: &[NodeHash],
    root: NodeHash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let length = ProofError::Length { found: proof.len() };
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(*sibling, hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        (_, _) => Err(length),
    }
}

/// Checks that the tree of `old` leaves with `old_root` is a start of the one of `new` leaves with
/// `new_root`.
pub fn verify_consistency(
    old: u64,
    old_root: NodeHash,
    new: u64,
    new_root: NodeHash,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    let length = ProofError::Length { found: proof.len() };
    if old > new {
        return Err(ProofError::Sizes { old, new });
    }
    if old == 0 || old == new {
        let same = if old == 0 {
            old_root == empty_root() && (new != 0 || new_root == empty_root())
        } else {
            old_root == new_root
        };
        return match (proof.is_empty(), same) {
            (false, _) => Err(length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut rest = proof.iter();
    // A whole old tree is its own first hash.
    let first = match old.is_power_of_two() {
        true => old_root,
        false => *rest.next().ok_or(length.clone())?,
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(*sibling, old_hash);
            new_hash = node_hash(*sibling, new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(new_hash, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, old_hash == old_root && new_hash == new_root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        (_, _) => Err(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// All leaves in memory.
    struct Leaves(Vec<NodeHash>);

    impl HashSource for Leaves {
        type Error = Infallible;
        fn hash(&mut self, level: u8, index: u64) -> Result<NodeHash, Infallible> {
            let low = (index << level) as usize;
            Ok(plain(&self.0[low..low + (1 << level)]))
        }
    }

    /// The definition of RFC 6962 §2.1, word for word.
    fn plain(leaves: &[NodeHash]) -> NodeHash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            leaves => {
                let mut middle = 1;
                while middle * 2 < leaves.len() {
                    middle *= 2;
                }
                node_hash(plain(&leaves[..middle]), plain(&leaves[middle..]))
            }
        }
    }

    fn leaves(count: u64) -> Leaves {
        Leaves((0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect())
    }

    fn known(size: u64) -> NodeHash {
        let Ok(root) = root(size, &mut leaves(size));
        root
    }

    #[test]
    fn the_roots_are_those_of_the_test_vectors_of_certificate_transparency() {
        // The eight inputs and roots that certificate-transparency-go's merkle tests use.
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut all = Leaves(Vec::new());
        for (input, expected) in inputs.iter().zip(roots) {
            all.0.push(leaf_hash(&hex::decode(input).unwrap()));
            let Ok(found) = root(all.0.len() as u64, &mut all);
            assert_eq!(hex::encode(found.0), expected, "{} leaves", all.0.len());
        }
    }

    #[test]
    fn every_inclusion_proof_verifies_for_its_leaf_and_for_no_other() {
        for size in 1..=70 {
            let mut all = leaves(size);
            let root = known(size);
            for index in 0..size {
                let Ok(proof) = inclusion_proof(index, size, &mut all);
                let leaf = all.0[index as usize];
                verify_inclusion(index, size, leaf, &proof, root).unwrap();
                let other = leaf_hash(b"other");
                assert!(verify_inclusion(index, size, other, &proof, root).is_err());
                assert!(verify_inclusion(index + 1, size, leaf, &proof, root).is_err());
                let mut long = proof.clone();
                long.push(other);
                assert!(verify_inclusion(index, size, leaf, &long, root).is_err());
                if !proof.is_empty() {
                    let short = &proof[1..];
                    assert!(verify_inclusion(index, size, leaf, short, root).is_err());
                }
            }
        }
    }

    #[test]
    fn every_consistency_proof_verifies_and_a_forked_tree_has_none() {
        for new in 0..=40 {
            for old in 0..=new {
                let Ok(proof) = consistency_proof(old, new, &mut leaves(new));
                verify_consistency(old, known(old), new, known(new), &proof).unwrap();
                let mut fork = leaves(new);
                if let Some(first) = fork.0.first_mut() {
                    *first = leaf_hash(b"forked");
                    let Ok(forked) = root(new, &mut fork);
                    let Ok(its_proof) = consistency_proof(old, new, &mut fork);
                    let result = verify_consistency(old, known(old), new, forked, &its_proof);
                    assert_eq!(result.is_ok(), old == 0, "{old} to {new}");
                }
                let mut long = proof.clone();
                long.push(known(1));
                assert!(verify_consistency(old, known(old), new, known(new), &long).is_err());
                if new > old {
                    assert!(verify_consistency(new, known(new), old, known(old), &proof).is_err());
                }
            }
        }
    }

    #[test]
    fn numbers_near_the_end_do_not_overflow() {
        let hash = known(1);
        let many = vec![hash; 70];
        assert!(verify_inclusion(u64::MAX - 1, u64::MAX, hash, &many, hash).is_err());
        assert!(verify_consistency(u64::MAX - 1, hash, u64::MAX, hash, &many).is_err());
        assert!(verify_consistency(1 << 63, hash, u64::MAX, hash, &many).is_err());
    }
}
