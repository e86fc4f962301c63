//! Repositories of others: reading them, and telling clients where copies are.
//!
//! * [`reading`]: what any repository's metadata says. Knows no network.
//! * [`metalink`]: names a channel's current `repomd.xml` by digest and says where it can be had.

pub mod http;
pub mod metalink;
pub mod pattern;
pub mod reading;
pub mod switch;
