//! Repositories of others: reading them, copying them, and telling clients where copies are.
//!
//! * [`reading`]: what any repository's metadata says. Knows no network.
//! * [`sync`]: copies a repository so that its copy is whole at every moment.
//! * [`bucket`]: a place in an S3 bucket.
//! * [`bundle`]: what another machine lacks of a tree, signed, in one file.
//! * [`evidence`]: what there is about packages, from whoever has it, and packs of it.
//! * [`export`]: a published tree as plain files, whole at every moment.
//! * [`compare`]: whether a copy is what a manifest lists.
//! * [`pull`]: a repository that is fetched when somebody asks for it.
//! * [`metalink`]: names a channel's current `repomd.xml` by digest and says where it can be had.
//! * [`nearness`]: which mirrors a client is sent to, in which order.
//! * [`probing`]: what registered mirrors really serve, and whether clients are sent to them.
//!
//! Who signed what is not judged here: the sync is given a [`sync::Signatures`] that does.

pub mod bucket;
pub mod bundle;
pub mod compare;
pub mod evidence;
pub mod export;
pub mod http;
pub mod metalink;
pub mod nearness;
pub mod pattern;
pub mod probing;
pub mod pull;
pub mod reading;
pub mod switch;
pub mod sync;
pub mod tar;
