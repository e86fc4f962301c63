//! What Hallmark's processes agree on, without I/O, clock, randomness or async.
//!
//! Everything here is a pure function or a plain type: digests, package identity, the RPM reader
//! that meets hostile input first, statements and their signatures, the policy that the server
//! *and* the signer run, the release document, the stage machine, and the wire types.

pub mod announcement;
pub mod bisection;
pub mod buildinfo;
pub mod bundle;
pub mod config;
pub mod digest;
pub mod dsse;
pub mod freshness;
#[cfg(any(test, feature = "testkit"))]
pub mod hostile;
pub mod in_toto;
pub mod log;
pub mod manifest;
pub mod monitor;
pub mod names;
pub mod network;
pub mod nevra;
pub mod policy;
pub mod release;
pub mod rpm;
pub mod sbom_facts;
pub mod sealed;
pub mod sightings;
pub mod stage;
pub mod statement;
pub mod timestamp;
pub mod trust;
pub mod verdict;
pub mod verify;
pub mod wire;

pub use digest::{FileDigest, HeaderDigest};
pub use names::{Arch, ChannelName, MirrorName, OperatorName, ReleaseId, RepoName, WorkerName};
pub use network::{Country, Netblock};
pub use nevra::{Evr, Nevra};
pub use timestamp::Timestamp;
