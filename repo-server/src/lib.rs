//! The Hallmark server: intake, store, database, jobs, publishing and HTTP. The only crate with
//! axum and rusqlite.

mod app;
pub mod createrepo;
mod db;
mod http;
mod intake;
mod jobs;
mod layout;
mod publish;
pub mod repocheck;
pub mod repodata;
mod serve;
mod status;
mod store;
pub mod tokens;

pub use app::ServeError;
pub use serve::serve;
