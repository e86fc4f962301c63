//! Evidence about packages from a server or from a pack, and whom to trust: what [`repo_model::verify`]
//! needs and must not fetch itself.

mod gather;
mod installed;
mod pack;
mod remembered;
mod source;
mod trust_dir;

pub use gather::{Common, Gathered, find, gather, published_head};
pub use installed::installed;
pub use pack::{Pack, PackError, pack_packages, pack_release};
pub use remembered::{RememberError, remember};
pub use source::{Server, Source, SourceError};
pub use trust_dir::{TrustDir, fetch_trust};
