//! Everything that a verifier, a witness, a monitor or a mirror reads from somebody else, by name: changed, cut and
//! blown up, each reader answers or refuses, soon and without a panic. What is signed is believed unchanged or not at
//! all: that is tried beside the formats (`log/mutation.rs`) and here for envelopes.
//!
//! Seeds are fixed, so a failure comes again: the message names reader and seed. `HALLMARK_FUZZ_SECS` goes on with
//! further seeds for so long, shared among the readers.
//!
//! What is read elsewhere is tried there, by the same rules:
//!
//! | what | where |
//! |---|---|
//! | inclusion and consistency proofs over any sizes | `log/mutation.rs` |
//! | the chain of a package, each of its documents changed | `verify/tests.rs` |
//! | RPM headers | `rpm/tests/mutation.rs`, `repo-server/tests/hostile_input.rs` |
//! | `repomd.xml`, `primary.xml` and the others, which a monitor reads too | `repo-server/tests/hostile_input.rs` |
//! | evidence packs, those beside packages, and the tar in them | `mirrors/src/evidence/beside.rs`, `mirrors/src/tar.rs` |
//! | answers to many questions at once | `cli/src/verify/ahead.rs`, `server.rs` |
//! | tiles of hashes | `cli/src/verify/remembered.rs` |
//! | libdnf5's answers, a transaction on stdin, the client's own files | `cli/src/client/hostile.rs` |
//!
//! `trusted_root.json` is written only: nothing of ours reads one.

pub mod changed;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
