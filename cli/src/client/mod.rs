//! The machine that installs: what its package manager is about to install is verified, and refused when it
//! lacks evidence. Plug-ins of package managers ask; one process answers for a whole transaction.

mod check;
mod config;
pub mod dnf5;
mod fetch;
#[cfg(test)]
mod hostile;
mod metadata;
mod origin;
mod report;
mod seen;
mod transaction;
mod whose;

pub use check::check;
pub use config::{CONFIG_FILE, ClientConfig, parse, read};
pub use fetch::{Fetched, fetch};
pub use report::{Outcome, Report};
pub use transaction::Transaction;
