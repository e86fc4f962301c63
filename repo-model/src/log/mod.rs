//! The transparency log's formats: Merkle tree and proofs (RFC 6962), tiles (C2SP `tlog-tiles`),
//! signed notes and checkpoints (`signed-note`, `tlog-checkpoint`), cosignatures (`tlog-cosignature`),
//! proofs beside a package (`tlog-proof@v1`), and the entry that stands for a statement.
//!
//! Pure, like all of this crate: who stores tiles and who signs is for the server and the signer.

mod checkpoint;
mod entry;
mod frontier;
#[cfg(test)]
mod mutation;
mod note;
mod proof;
mod tile;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use entry::{EntryError, entry, entry_key};
pub use frontier::Frontier;
pub use note::{LogKey, Note, NoteError, NoteSignature, SignatureKind, VerifierKey};
pub use proof::{LogProof, LogProofError};
pub use tile::{Tile, TilePathError, read_bundle, tiles_of, write_bundle};
pub use tree::{
    HashSource, NodeHash, ProofError, consistency_proof, empty_root, inclusion_proof, leaf_hash,
    node_hash, root, verify_consistency, verify_inclusion,
};
