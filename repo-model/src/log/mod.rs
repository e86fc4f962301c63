//! The transparency log's formats: Merkle tree and proofs (RFC 6962), tiles (C2SP `tlog-tiles`),
//! signed notes and checkpoints (`signed-note`, `tlog-checkpoint`), cosignatures (`tlog-cosignature`), what
//! witnesses are asked (`tlog-witness`) and how many must have agreed (`tlog-policy`), proofs beside a package
//! (`tlog-proof@v1`), and the entry that stands for a statement.
//!
//! Pure, like all of this crate: who stores tiles and who signs is for the server and the signer.

mod checkpoint;
mod entry;
mod frontier;
mod key;
#[cfg(test)]
mod mutation;
mod note;
mod proof;
mod quorum;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod tile;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError};
pub(crate) use entry::entry_signed;
pub use entry::{EntryError, entry, entry_key};
pub use frontier::Frontier;
pub use key::{LogKey, VerifierKey};
pub use note::{Note, NoteError, NoteSignature, SignatureKind};
pub use proof::{LogProof, LogProofError};
pub use quorum::{NoQuorum, Seen, Witness, WitnessPolicy, WitnessPolicyError};
pub use tile::{Tile, TilePathError, read_bundle, tiles_of, write_bundle};
pub use tree::{
    HashSource, NodeHash, ProofError, consistency_proof, empty_root, inclusion_proof, leaf_hash,
    node_hash, root, verify_consistency, verify_inclusion,
};
pub use witness::{
    AddCheckpoint, MAX_REQUEST_BYTES, Refusal, SIZE_MEDIA_TYPE, read_cosignatures, read_size,
};
