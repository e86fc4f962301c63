//! Evidence about packages from a server or from a pack, and whom to trust: what [`repo_model::verify`]
//! needs and must not fetch itself.

mod ahead;
mod cached;
mod copy;
mod installed;
mod remembered;
mod server;
mod subject;
mod trust_dir;

use mirrors::evidence::{gather, source};

pub use cached::{Cached, write};
pub use copy::{RepositoryCopy, Room};
pub use gather::Common;
pub use installed::installed;
pub use mirrors::evidence::pack::{Pack, PackError, pack_packages, pack_release};
pub use remembered::{RememberError, remember};
pub use server::{Server, failure, is_transient};
pub use source::{Item, Source, SourceError};
pub use subject::{Subject, SubjectError, Verifier};
pub use trust_dir::{TrustDir, TrustDirError, fetch_trust};
