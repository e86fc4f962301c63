//! The signer: the only process that holds private keys. It judges again, from raw evidence, what
//! it is asked to sign; signs; and keeps a line in its journal for each decision.
//!
//! | who | uses |
//! |---|---|
//! | `hallmark-signer` | [`keys::init`], [`server::run`], [`journal::verify`] |
//! | the holders of the root keys | [`ceremony`]: whoever signs the policy |
//! | the repository server | [`client::Client`] to ask, [`verify`] to check the answer before it is stored |
//!
//! Trusted for: signing only what the policy allows. Not trusted for availability. It never keeps a
//! payload and never speaks to a network.

pub mod ceremony;
pub mod client;
pub mod desk;
mod flush;
pub mod frame;
pub mod index;
pub mod journal;
pub mod keys;
mod notify;
mod patience;
pub mod protect;
pub mod rules;
pub mod sandbox;
pub mod server;
pub mod unlogged;
pub mod verify;
