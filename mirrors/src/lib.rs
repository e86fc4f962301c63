//! What mirrors and their clients read. Today: the metalink that names a channel's current
//! `repomd.xml` by digest and says where it can be had.
//!
//! Nothing here reads a disk, a clock or a network.

pub mod metalink;
