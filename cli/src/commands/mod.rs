//! One file for each group of commands: arguments with examples, and `run`.

pub mod buildinfo;
pub mod channels;
pub mod config;
pub mod evidence;
pub mod publish;
pub mod repofile;
pub mod sbom;
pub mod serve;
pub mod status;
mod status_view;
pub mod token;
