//! One file for each group of commands: arguments with examples, and `run`.

pub mod buildinfo;
pub mod channels;
pub mod compare;
pub mod config;
pub mod createrepo;
mod createrepo_args;
pub mod evidence;
pub mod in_toto;
pub mod mergerepo;
pub mod modifyrepo;
mod modifyrepo_batch;
pub mod publish;
pub mod rebuild;
pub mod rebuilders;
pub mod repo_check;
mod repo_check_http;
pub mod repofile;
pub mod sbom;
pub mod serve;
pub mod status;
mod status_view;
pub mod token;
mod upstream;
pub mod waiver;
