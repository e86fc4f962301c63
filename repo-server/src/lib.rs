//! The Hallmark server: intake, store, database, jobs, publishing and HTTP. The only crate with
//! axum and rusqlite.

pub mod adopt;
mod app;
mod beside;
mod catalogue;
pub mod createrepo;
mod db;
mod decisions;
pub mod exporting;
mod fleet;
mod http;
mod intake;
mod jobs;
mod json_list;
mod layout;
mod log;
#[cfg(test)]
mod measured;
pub mod mirroring;
mod publish;
pub mod repocheck;
pub mod repodata;
mod sbom_index;
mod serve;
pub mod signer_link;
mod status;
mod store;
mod stored;
pub mod tokens;
mod upstreams;
pub mod witness;

pub use app::ServeError;
pub use sbom_index::{osv_import, reindex};
pub use serve::serve;
