//! Software bills of materials for RPM packages.
//!
//! Two steps, and nothing between them but plain data:
//!
//! 1. [`inventory`] reads one package in a single streaming pass: header, then payload. Every file
//!    is hashed with SHA-1, SHA-256 and SHA-512 while it flows by, compared with what the header
//!    says of it, and looked into for components (Go and Rust binaries, ELF package notes, Python
//!    and npm manifests); `bundled()` provides are added. Every claim carries its evidence.
//! 2. A row of [`SBOM_FORMATS`] writes the inventory as one document: the inventory becomes one
//!    graph, the graph becomes CycloneDX 1.6 or 1.7, SPDX 2.3 or SPDX 3.0.1.
//!
//! A whole build is one document as well ([`BuildInventory`]), and so is a release
//! ([`ReleaseBuilder`]), whose packages come from headers, inventories or a repository's metadata.
//!
//! Documents are reproducible: equal package, equal options, equal bytes, on any machine at any
//! time. No clock, host name, locale or path is read; the time in a document is
//! [`Options::created`] or else the package's own BUILDTIME; the serial number and the document
//! namespace are made from the digest of the document itself.
//!
//! A document speaks about the package as named by its header digest, so the same document holds
//! before and after signing: whatever signing changes (the file's hash, the signature header) is
//! left out unless [`Options::file_hashes`] asks for it; the digest of main header and payload takes
//! its place. The header digest stands in the document
//! as the property (CycloneDX) or annotation (SPDX) `package:rpm:sha256header`.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sbom_gen::{Options, SBOM_FORMATS, Supplier, inventory};
//! let supplier = Supplier::new("Example Linux", "https://linux.example", "security@linux.example");
//! let options = Options::new("example", supplier, "https://repo.linux.example/sbom");
//! let package = std::fs::File::open("hello-1.0-1.x86_64.rpm")?;
//! let inventory = inventory(package, &options)?;
//! for format in SBOM_FORMATS {
//!     let mut out = std::fs::File::create(format!("hello{}", format.file_suffix))?;
//!     format.write(&inventory, &options, &mut out)?;
//! }
//! # Ok(())
//! # }
//! ```

mod component;
mod error;
mod format;
mod graph;
mod hashes;
mod inspect;
mod inventory;
mod licence;
mod merge;
mod options;
mod payload;
mod purl;
mod release;

pub use component::{Component, Evidence, Role, Scope, Technique};
pub use error::SbomError;
pub use format::{OLDER_FORMATS, SBOM_FORMATS, SbomFormat, format_named};
pub use hashes::{Algorithm, Hashes};
pub use inventory::{BuildInventory, FileRecord, Inventory, NotInspected, inventory};
pub use licence::{Licence, is_copyleft};
pub use merge::{Conflict, Identity};
pub use options::{Limits, Options, Supplier};
pub use release::{FileDigests, IndexFile, Member, Release, ReleaseBuilder, ReleaseInfo};
