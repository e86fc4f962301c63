//! Repositories of others: reading them, copying them, and telling clients where copies are.
//!
//! * [`reading`]: what any repository's metadata says. Knows no network.
//! * [`sync`]: copies a repository so that its copy is whole at every moment.
//! * [`metalink`]: names a channel's current `repomd.xml` by digest and says where it can be had.
//!
//! Who signed what is not judged here: the sync is given a [`sync::Signatures`] that does.

pub mod http;
pub mod metalink;
pub mod pattern;
pub mod reading;
pub mod switch;
pub mod sync;
