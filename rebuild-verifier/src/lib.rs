//! Rebuilding RPMs bit for bit: a sandbox, the record of a build, its replay, the comparison of what
//! came out with what was built, and signed statements about it.
//!
//! * [`build::record`] builds a source package and writes its buildinfo (`hallmark buildinfo`).
//! * [`mock_build::record`] records a build that mock makes (`hallmark buildinfo --mock`).
//! * [`replay::check`] and [`replay::replay`] make a recorded build again.
//! * [`verify::check`] does both for packages that somebody published (`hallmark rebuild`).
//! * [`compare::compare`] judges two files of one package and names the causes of a difference.
//! * [`bisect::bisect`] finds what a file depends on by building again with one factor changed.
//! * [`worker::run`] does this for a server, job after job.

pub mod attest;
mod backoff;
pub mod bisect;
pub mod build;
pub mod buildroot;
pub mod client;
pub mod compare;
pub mod doctor;
pub mod enrol;
pub mod job;
pub mod keys;
pub mod lock;
pub mod mock_build;
pub mod mock_lock;
pub mod mock_plan;
pub mod offer;
pub mod plan;
pub mod pledge;
pub mod profile;
pub mod replay;
mod reveal;
mod runs;
pub mod sandbox;
pub mod scratch;
pub mod shift;
pub mod verify;
pub mod worker;
