//! `GET /api/v1/search?q=TEXT`: packages, what they provide, and files, for the API and the web pages alike.

use serde::{Deserialize, Serialize};

/// Answers of one kind, best first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found<T> {
    /// As many as were asked for, or all.
    pub hits: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            hits: Vec::new(),
            more: false,
        }
    }
}

/// A package by its name or summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFound {
    /// Name.
    pub name: String,
    /// `[epoch:]version-release` of the newest one.
    pub evr: String,
    /// SUMMARY of the newest one.
    pub summary: String,
}

/// A package by what it provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityFound {
    /// What is provided, with its version: `pkgconfig(zlib) = 1.3`.
    pub capability: String,
    /// Name of the package.
    pub package: String,
}

/// A package by a file in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFound {
    /// Absolute path.
    pub path: String,
    /// Name of the package.
    pub package: String,
}

/// The whole answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchAnswer {
    /// By name and summary.
    pub names: Found<NameFound>,
    /// By what packages provide.
    pub provides: Found<CapabilityFound>,
    /// By files.
    pub files: Found<FileFound>,
}
