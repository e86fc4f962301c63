//! Evidence about packages from a server or from a pack, and whom to trust: what [`repo_model::verify`]
//! needs and must not fetch itself.

mod cached;
mod gather;
mod installed;
mod pack;
mod remembered;
mod source;
mod subject;
mod trust_dir;

pub use cached::{Cached, write};
pub use gather::Common;
pub use installed::installed;
pub use pack::{Pack, PackError, pack_packages, pack_release};
pub use remembered::{RememberError, remember};
pub use source::{Item, Server, Source, SourceError};
pub use subject::{Subject, SubjectError, Verifier, each};
pub use trust_dir::{TrustDir, fetch_trust};
