//! Answers from the index. Each question is one function of a read-only connection: the release it is
//! about, what is asked, and which page.
//!
//! A page ends with where it ended (`next`), and the next one starts there (`after`). Items come in the
//! order in which they are stored, so that a page costs as much as it holds.

mod built_with;
mod components;
mod contents;
mod difference;
mod files;
mod licences;
mod needing;
mod page;
mod stated;
mod vulnerabilities;
mod why;
mod why_here;

pub use built_with::built_with;
pub use components::{Wanted, licensed, who_ships};
pub use contents::contents;
pub use difference::{Differences, component_differences, package_differences};
pub use files::{FileDigestQuery, files};
pub use licences::licences;
pub use needing::needing;
#[cfg(test)]
pub use page::After;
pub use page::{Paging, Scope};
pub use vulnerabilities::{Cursor, VulnerabilityQuery, vulnerabilities};
pub use why::why;
pub use why_here::{Depth, Packages, why_here};

use super::versions::ParseRangeError;
use crate::db::DbError;

/// The question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The range of versions is none. The asker's fault.
    #[error(transparent)]
    Range(#[from] ParseRangeError),
    /// The package URL is none. The asker's fault.
    #[error("`{text}` is no package URL")]
    Purl {
        /// What was asked.
        text: String,
    },
    /// Another parameter is wrong. The asker's fault.
    #[error("{what} `{text}` {why}")]
    Parameter {
        /// Which.
        what: &'static str,
        /// Its value.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The database failed. Ours; retrying is safe.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<rusqlite::Error> for AskError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(error.into())
    }
}

impl AskError {
    /// A parameter that is wrong, its value cut to what a sentence can hold.
    pub fn parameter(what: &'static str, text: &str, why: &'static str) -> Self {
        Self::Parameter {
            what,
            text: text.chars().take(120).collect(),
            why,
        }
    }
}
